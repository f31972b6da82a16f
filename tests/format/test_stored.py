"""Tiles without a model."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlae_codec import errors
from vlae_codec.format import container, stored
from vlae_codec.format.container import Method
from vlae_codec.format.header import MAX_TILE, Planes

RNG = np.random.default_rng(5)
CONSTANT = np.full((64, 48, 3), 200, np.uint8)
NOISE = RNG.integers(0, 256, (33, 47, 3), np.uint8)
RAMP = (np.arange(64 * 64 * 3) // 3 % 251).astype(np.uint8).reshape(64, 64, 3)


def restore(method, data, shape, levels=256):
    """The tile (h, w, C) of a stream."""
    (pixels,) = stored.restore(method, data, [shape[:2]], shape[2], levels)
    assert pixels.shape == shape
    return pixels


@pytest.mark.parametrize("tile", [CONSTANT, NOISE, RAMP, NOISE[:1, :1], RAMP[..., :1], RAMP[:, ::2]])
def test_sanity(tile):
    method, data = stored.store(tile, 256)
    assert len(data) <= tile.size
    restored = restore(method, data, tile.shape)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, tile)


LEVELS = [2, 3, 4, 5, 16, 17, 255, 256, 257, 4096, 65536]


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 5),
    st.sampled_from(LEVELS),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_round_trip(height, width, channels, levels, seed, webp):
    """Of any number of levels and channels, by each of the streams; what is packed takes the bits that it says."""
    rng = np.random.default_rng(seed)
    kind = np.uint8 if levels <= 256 else np.uint16
    tile = rng.integers(0, rng.choice([2, levels]), (height, width, channels)).astype(kind)
    method, data = stored.store(tile, levels, webp and channels <= 4)
    restored = restore(method, data, tile.shape, levels)
    assert restored.dtype == kind
    assert np.array_equal(restored, tile)
    raw = stored.pack(tile, levels).tobytes()
    assert len(raw) == height * -(-width * channels * stored.bits_of(levels) // 8) >= len(data)
    assert np.array_equal(restore(Method.RAW, raw, tile.shape, levels), tile)


def test_bytes():
    """RAW by hand."""
    row = np.array([[[1], [0], [3], [2], [1]]], np.uint8)
    assert stored.pack(row, 4).tobytes() == b"\x4e\x40"
    assert stored.pack(row, 16).tobytes() == b"\x10\x32\x10"
    assert stored.pack(row % 2, 2).tobytes() == b"\xa8"
    assert stored.pack(row, 17).tobytes() == b"\1\0\3\2\1"
    assert stored.pack(row.astype(np.uint16) + 256, 257).tobytes() == b"\1\1\0\1\3\1\2\1\1\1"


def test_choice():
    assert stored.store(NOISE, 256) == (Method.RAW, NOISE.tobytes())
    method, data = stored.store(CONSTANT, 256)
    assert method == Method.LZMA
    assert len(data) < 100
    two = RNG.integers(0, 2, (60, 60, 1), np.uint8).repeat(3, axis=2) * np.uint8(255)
    assert stored.store(two, 256, webp=True)[0] == Method.WEBP


@pytest.mark.parametrize("levels", [3, 5, 17, 200, 257, 4095])
def test_symbols_that_there_are_not(levels):
    kind = np.uint8 if levels <= 256 else np.uint16
    good, bad = np.full((3, 5, 1), levels - 1, kind), np.full((3, 5, 1), levels, kind)
    for method in (Method.RAW, Method.WEBP) if levels <= 256 else (Method.RAW,):
        for tile in (good, bad):
            data = stored.pack(tile, levels).tobytes() if method == Method.RAW else stored.pack_webp(tile, 0)
            if tile is good:
                assert np.array_equal(restore(method, data, tile.shape, levels), tile)
            else:
                with pytest.raises(errors.CorruptFile):
                    restore(method, data, tile.shape, levels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp(channels):
    """Every channel comes back, colours under alpha 0 too; sizes other than the tile's are refused."""
    tile = RNG.integers(0, 256, (13, 17, channels), np.uint8)
    tile[:5, :, -1] = 0
    opaque = tile.copy()
    opaque[..., -1] = 255
    for one in (tile, opaque, tile[:1, :1], tile[:, :, ::-1]):
        data = stored.pack_webp(np.ascontiguousarray(one), 50)
        assert data[0] == 0x2F
        assert np.array_equal(restore(Method.WEBP, data, one.shape), one)
    data = stored.pack_webp(tile, 50)
    for bad in (b"", data[:4], data[:5], data[:-9], b"RIFF" + data, data[1:], b"\x2f" + bytes(40)):
        with pytest.raises(errors.CorruptFile):
            restore(Method.WEBP, bad, tile.shape)
    for shape in ((13, 18), (12, 17), (17, 13), (13 + 16384, 17)):
        with pytest.raises(errors.CorruptFile, match="size"):
            restore(Method.WEBP, data, (*shape, channels))


def test_large_webp():
    """Pillow neither refuses nor warns of the largest tile."""
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_TILE**2 < Image.MAX_IMAGE_PIXELS
    assert MAX_TILE < 2**14


def test_quick_bound():
    assert stored.quick_bound(CONSTANT) < 200
    assert NOISE.size < stored.quick_bound(NOISE) < NOISE.size + 100


def test_invalid():
    shape = CONSTANT.shape
    _, data = stored.store(CONSTANT, 256)
    for bad in [b"", data[:1], b"\x07" + data[1:], data + b"?", b"\0" + b"\xff" * 50]:
        with pytest.raises(errors.CorruptFile):
            restore(Method.LZMA, bad, shape)
    for wrong in [(64, 48, 1), (64, 49, 3), (1, 1, 3)]:
        with pytest.raises(errors.CorruptFile):
            restore(Method.LZMA, data, wrong)
        with pytest.raises(errors.CorruptFile):
            restore(Method.RAW, CONSTANT.tobytes(), wrong)
    with pytest.raises(ValueError, match="not a stored one"):
        restore(Method.LATENTS, data, shape)


def test_truncated():
    _, data = stored.store(RAMP, 256)
    for length in range(len(data)):
        with pytest.raises(errors.CorruptFile):
            restore(Method.LZMA, data[:length], RAMP.shape)


def test_bomb(monkeypatch):
    """A stream that unpacks to 64 MiB gives an error after one byte more than the shape holds."""
    bomb = b"\0" + lzma.compress(bytes(2**26), lzma.FORMAT_RAW, filters=stored._filters(0, 1))
    sizes = []

    class Watched:
        def __init__(self, *args, **options):
            self.decoder = lzma.LZMADecompressor(*args, **options)

        def decompress(self, data, max_length):
            raw = self.decoder.decompress(data, max_length)
            sizes.append(len(raw))
            return raw

        def __getattr__(self, name):
            return getattr(self.decoder, name)

    monkeypatch.setattr(stored, "lzma", type("Module", (), {**vars(lzma), "LZMADecompressor": Watched}))
    with pytest.raises(errors.CorruptFile):
        restore(Method.LZMA, bomb, (4, 4, 1))
    assert sizes == [16, 1]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=5),
    st.sampled_from([1, 3, 4]),
    st.sampled_from(LEVELS),
    st.integers(0, 2**32 - 1),
)
def test_pictures(shapes, channels, levels, seed):
    """Several pictures as one stream; the rows of each are packed on their own."""
    rng = np.random.default_rng(seed)
    kind = np.uint8 if levels <= 256 else np.uint16
    pictures = [rng.integers(0, levels, (*shape, channels)).astype(kind) for shape in shapes]
    planes = Planes(channels, levels, chains=1)
    record = stored.keep(planes, [(i, (0, 0, *shape)) for i, shape in enumerate(shapes)], pictures)
    raw = sum(h * -(-w * channels * stored.bits_of(levels) // 8) for h, w in shapes)
    assert len(record.data) <= raw
    restored = stored.restore(record.method, record.data, shapes, channels, levels)
    for one, other in zip(pictures, restored, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_bits_behind_a_row():
    assert next(stored.restore(Method.RAW, b"\xff\x80", [(1, 9)], 1, 2)).all()
    for bad in (b"\xff\xc0", b"\xff\x01", b"\xff", b"\xff\x80\0"):
        with pytest.raises(errors.CorruptFile):
            list(stored.restore(Method.RAW, bad, [(1, 9)], 1, 2))


def test_blank():
    """All samples are equal, and LZMA takes fewer bytes than a file asks of a model."""
    white = np.full((256, 512), 255, np.uint8)
    assert stored.is_blank([white])
    assert stored.is_blank([white[:100], white[:156]])
    assert not stored.is_blank([white[:255]])
    assert not stored.is_blank([white[:128], white[:128] - 1])
    spot = white.copy()
    spot[7, 9] = 254
    assert not stored.is_blank([spot])
    planes, pieces = Planes(1, 256), [(0, (0, 0, 256, 512))]
    record = stored.keep(planes, pieces, [white[..., None]])
    assert record.stored
    assert container.sparse(Method.NO_LATENTS, len(record.data), planes, pieces)
    assert not container.sparse(Method.NO_LATENTS, 120, planes, pieces)
    (back,) = stored.restore(record.method, record.data, [(256, 512)], 1, 256)
    assert np.array_equal(back[..., 0], white)


@pytest.mark.parametrize(("most", "searches"), [(float("inf"), 2), (1 << 20, 2), (100, 1)])
def test_long_search(most, searches, synthetic, monkeypatch):
    """WebP's long search, which takes seconds, is left out where what it finds would be of no use."""
    plain, tried = stored.pack_webp, []

    def noted(symbols, quality):
        tried.append(quality)
        return plain(symbols, quality)

    monkeypatch.setattr(stored, "pack_webp", noted)
    stored.keep(Planes(3, 256), [(0, (0, 0, 40, 48))], [synthetic(40, 48, 1)], most)
    assert tried == [stored.QUICK, stored.BEST][:searches]
