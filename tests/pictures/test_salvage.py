"""Damaged files: all that is good comes back, the rest is grey, and its places are named."""

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

import vlae_codec
from vlae_codec.errors import CorruptFile, NotAVlaeFile, VlaeError
from vlae_codec.format import container
from vlae_codec.format.chunks import scan
from vlae_codec.images.picture import Picture
from vlae_codec.origins import origin as origins

TINY = make_golden.DATA / "tiny.safetensors"
RNG = np.random.default_rng(1)
NAMES = ["tiles", "adapted", "alpha", "frames", "many", "signed", "palette", "floats", "past-photocd", "past-jpeg"]


def data_of(name: str) -> bytes:
    return (make_golden.DATA / f"{name}.vlae").read_bytes()


def salvage(data: bytes) -> vlae_codec.Salvaged:
    return vlae_codec.salvage(data, model=TINY, threads=1)


def start_of_streams(data: bytes) -> tuple[int, int]:
    """(where the header ends, where the streams begin)."""
    chunks = list(scan(data, container.START))
    return chunks[0].end + 4, chunks[-1].payload


def check(found: vlae_codec.Salvaged, pictures: list[Picture]) -> int:
    """All outside of the holes is as it was. Returns the samples that are not in holes."""
    good = 0
    assert len(found.pictures) == len(pictures)
    for number, (one, other) in enumerate(zip(found.pictures, pictures)):
        shape = one.pixels.shape
        assert (shape, one.pixels.dtype, one.mode) == (other.pixels.shape, other.pixels.dtype, other.mode)
        lost = np.zeros((*shape[:2], 1 if len(shape) == 2 else shape[2]), bool)
        for hole in found.holes:
            if hole.picture == number:
                place = np.s_[hole.y : hole.y + hole.height, hole.x : hole.x + hole.width]
                assert lost[place].shape[:2] == (hole.height, hole.width)
                lost[place][..., hole.first : hole.first + hole.channels] = True
        lost = lost.reshape(shape)
        same = one.pixels.view(np.uint8) == other.pixels.view(np.uint8) if one.pixels.dtype != bool else None
        same = (one.pixels == other.pixels) if same is None else same.reshape(*shape, -1).all(-1)
        assert same[~lost].all()
        good += int(np.count_nonzero(~lost))
    return good


@pytest.mark.parametrize("name", NAMES)
def test_a_byte(name):
    """Whichever byte behind the header is damaged."""
    data = data_of(name)
    pictures = vlae_codec.decompress_pictures(data, model=TINY, threads=1)
    whole = sum(picture.pixels.size for picture in pictures)
    assert check(salvage(data), pictures) == whole
    header, streams = start_of_streams(data)
    for position in RNG.integers(header, len(data), 12):
        bad = bytearray(data)
        bad[position] ^= RNG.integers(1, 256)
        try:
            found = salvage(bytes(bad))
        except CorruptFile as error:
            assert "nothing can be brought back" in str(error)  # noqa: PT017
            continue
        good = check(found, pictures)
        assert good < whole or found.lost or not streams <= position < len(data) - 4


@pytest.mark.parametrize("name", NAMES)
def test_cut_off(name):
    """Streams that are whole come back."""
    data = data_of(name)
    pictures = vlae_codec.decompress_pictures(data, model=TINY, threads=1)
    header, streams = start_of_streams(data)
    for end in (len(data) - 1, *RNG.integers(streams, len(data) - 4, 4)):
        try:
            found = salvage(data[:end])
        except CorruptFile as error:
            assert "nothing can be brought back" in str(error)  # noqa: PT017
            continue
        assert check(found, pictures) or any(hole.inexact for hole in found.holes)
        assert found.lost or found.holes or end == len(data) - 1
    with pytest.raises(CorruptFile, match="none of the file's streams is good"):
        salvage(data[:header])


def test_one_tile():
    """Grey, and the other tiles are not."""
    data = bytearray(data_of("tiles"))
    contents = container.read(bytes(data))
    records = contents.records
    _, streams = start_of_streams(bytes(data))
    data[streams + len(records[0].data) + 3] ^= 1  # in the second of 2 x 3 tiles of 32
    with pytest.raises(CorruptFile, match="tile 1 "):
        vlae_codec.decompress(bytes(data), model=TINY)
    found = salvage(bytes(data))
    (hole,) = found.holes
    assert hole[:8] == (0, 32, 0, 32, 32, 0, 3, False)
    assert hole.reason.startswith("tile 1 (top left pixel x=32, y=0) is damaged")
    assert (found.pictures[0].pixels[:32, 32:64] == 128).all()


def test_metadata(synthetic):
    """Damaged metadata are named, and neither the pixels nor other metadata are lost."""
    picture = Picture(synthetic(20, 20, 1), {"comment": b"hello there", "icc": b"a profile", "xmp": b"<xmp/>"})
    data = vlae_codec.compress(picture, model=TINY, effort=1, threads=1)
    kinds = [chunk for chunk in scan(data, container.START) if chunk.kind == b"m"]
    assert len(kinds) == 3
    for number, chunk in enumerate(kinds):
        for position in (chunk.start, chunk.start + 1, chunk.end - 1):
            bad = bytearray(data)
            bad[position] ^= 5
            found = salvage(bytes(bad))
            assert not found.holes
            assert np.array_equal(found.pictures[0].pixels, picture.pixels)
            kept = found.pictures[0].metadata.items()
            assert kept < picture.metadata.items()
            assert len(kept) == 2 or (position == chunk.start + 1 and len(kept) >= number)
            assert found.lost
    bad = bytearray(data)
    last = list(scan(data, container.START))[-1]
    bad[last.start] ^= 7  # the type of chunk D
    found = salvage(bytes(bad))
    assert np.array_equal(found.pictures[0].pixels, picture.pixels)


def test_origin():
    """Around a lost tile of luma the exceptions are lost, too: what was rebuilt stays, and is said to be inexact."""
    rng = np.random.default_rng(1)
    luma = (90 + 40 * np.sin(np.arange(1200) / 40) + rng.normal(0, 2, (24, 1200))).astype(np.uint8)
    chroma = [np.full((12, 600), 150, np.uint8) + (np.arange(600) // 80).astype(np.uint8) for _ in range(2)]
    pixels = origins.rebuild(origins.Origin("photocd", "photocd", (2, 2)), [luma, *chroma], 1200, 24)
    pixels[::7, ::9] ^= 1  # exceptions
    whole = vlae_codec.compress(pixels, effort=1, threads=2, verify=False)
    data = bytearray(whole)
    contents = container.read(bytes(data))
    assert len(contents.parts) == 4
    assert [len(part.records) for part in contents.parts][::3] == [3, 3]
    _, streams = start_of_streams(bytes(data))
    data[streams + 5] ^= 1  # the first tile of luma
    found = vlae_codec.salvage(bytes(data), threads=2)
    assert check(found, [Picture(pixels)]) >= 24 * 3 * (1200 - 1024)
    assert {hole.inexact for hole in found.holes} == {False, True}
    (grey,) = (hole for hole in found.holes if not hole.inexact and hole.width > 500)
    assert grey[1:5] == (0, 0, 516, 24)
    near = np.abs(found.pictures[0].pixels[:, 560:1024].astype(int) - pixels[:, 560:1024])
    assert near.max() <= 4
    data = bytearray(whole)
    data[-10] ^= 1  # the last tile of exceptions
    found = vlae_codec.salvage(bytes(data), threads=2)
    assert [hole[:8] for hole in found.holes] == [(0, 1024, 0, 176, 24, 0, 3, True)]


def test_very_file(tmp_path, synthetic):
    """A JPEG with a hole is no file any more, but its pixels come back."""
    from PIL import Image

    Image.fromarray(synthetic(40, 60, 1)).save(tmp_path / "a.jpg", quality=90)
    data = bytearray(vlae_codec.compress(tmp_path / "a.jpg", effort=1, threads=1))
    assert "file" in salvage(bytes(data)).pictures[0].metadata
    data[-10] ^= 1
    found = salvage(bytes(data))
    assert found.holes
    assert "file" not in found.pictures[0].metadata
    assert "the very file" in found.lost


def test_differences(monkeypatch, synthetic):
    """A frame that is coded as differences from a lost one is lost."""
    frames = [Picture(synthetic(40, 40, 1)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.pixels[5, 5 + number] = 9
    data = bytearray(vlae_codec.compress(frames, model=TINY, effort=1, threads=1))
    records = container.read(bytes(data)).records
    assert [record.differences for record in records] == [False, True, True]
    _, streams = start_of_streams(bytes(data))
    data[streams + 20] ^= 1
    found = salvage(bytes(data))
    assert [hole.picture for hole in found.holes] == [0, 1, 2]
    assert "differences" in found.holes[2].reason
    data[streams + 20] ^= 1
    data[streams + len(records[0].data) + 2] ^= 1
    assert [hole.picture for hole in salvage(bytes(data)).holes] == [1, 2]


@pytest.mark.parametrize(
    ("mode", "dtype", "grey"),
    [("L", np.uint8, 128), ("L", np.uint16, 32768), ("L", np.int16, 0), ("L", np.float32, 0), ("1", bool, True)],
)
def test_colour(mode, dtype, grey):
    """Grey is half of the levels, or 0; of bilevel pictures white."""
    pixels = (RNG.integers(0, 2, (30, 31)) * 77).astype(dtype)
    pair = [Picture(pixels, mode=mode), Picture(pixels[::-1, ::-1].copy()[:20], mode=mode)]
    data = bytearray(vlae_codec.compress(pair, effort=1, threads=1))
    _, streams = start_of_streams(bytes(data))
    data[streams + 1] ^= 1
    found = salvage(bytes(data))
    check(found, pair)
    assert {hole.picture for hole in found.holes} == {0}
    if dtype != np.float32:  # whose bytes are streams of their own, and one of them is lost
        assert (found.pictures[0].pixels == grey).all()


def test_alpha_and_palette(monkeypatch, synthetic):
    """Lost alpha is opaque; a lost picture of a palette has its first colour."""
    monkeypatch.setattr("vlae_codec.pictures.planes.TILE_SIZE", 512)
    alpha = RNG.integers(0, 256, (24, 24, 1), np.uint8)
    data = bytearray(vlae_codec.compress(np.dstack([synthetic(24, 24, 1), alpha]), model=TINY, effort=1, threads=1))
    data[-9] ^= 1
    found = salvage(bytes(data))
    assert [hole[5:7] for hole in found.holes] == [(3, 1)]
    assert (found.pictures[0].pixels[..., 3] == 255).all()
    indices, palette = RNG.integers(0, 5, (20, 20), np.uint8), RNG.integers(0, 256, (9, 3), np.uint8)
    pair = [Picture(some, mode="P", palette=palette) for some in (indices, indices[:9, ::-1].copy())]
    data = bytearray(vlae_codec.compress(pair, effort=1, threads=1))
    data[-9] ^= 1
    assert (vlae_codec.salvage(bytes(data), threads=1).pictures[1].pixels == 0).all()


def test_refused():
    """Nothing comes back without a header."""
    data = bytearray(data_of("tiles"))
    for end in (0, 5, 9, 20):
        with pytest.raises(VlaeError):
            salvage(bytes(data[:end]))
    data[20] ^= 1
    with pytest.raises(CorruptFile, match="header"):
        salvage(bytes(data))
    with pytest.raises(NotAVlaeFile):
        salvage(b"no file at all")
