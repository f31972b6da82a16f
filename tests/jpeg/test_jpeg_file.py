"""JPEG files are taken apart and put together byte for byte, or told to be of no such kind."""

import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import CorruptFile, ImageTooLarge
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.file import join, split
from vlae_codec.jpeg.likeness import likeness
from vlae_codec.limits import DEFAULT, Limits


def picture(width: int = 83, height: int = 61, mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(7)
    waves = [128 + 90 * np.sin(x / (5 + 3 * i) + y / (9 - 2 * i)) + rng.normal(0, 9, x.shape) for i in range(3)]
    return Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8)).convert(mode)


def written(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


OPTIONS: list[dict[str, object]] = [
    {},
    {"optimize": True, "quality": 93},
    {"progressive": True},
    {"progressive": True, "quality": 98, "subsampling": 0},
    {"progressive": True, "quality": 10, "subsampling": 1},
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1, "progressive": True},
    {"quality": 100, "subsampling": 1},
]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_back(mode: str, options: dict[str, object]) -> None:
    data = written(picture(mode=mode), **options)
    found = split(data, DEFAULT)
    assert found is not None
    coefficients, recipe = found
    assert (coefficients.width, coefficients.height) == (83, 61)
    assert join(coefficients, recipe, DEFAULT) == data
    assert len(recipe) < (600 if options.get("progressive") or options.get("optimize") else 60)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 8), (16, 16), (200, 3)])
def test_sizes(size: tuple[int, int]) -> None:
    for options in OPTIONS:
        data = written(picture(*size), **options)
        found = split(data, DEFAULT)
        assert found is not None
        assert join(*found, DEFAULT) == data
        for i, blocks in enumerate(found[0].blocks):
            rows, columns = found[0].grid(i)
            assert blocks.shape[0] >= rows
            assert blocks.shape[1] >= columns


def test_coefficients() -> None:
    """They are those of the picture: of a flat one 8 (value - 128) / step, and tables are what Pillow says."""
    data = written(Image.new("L", (24, 16), 100), quality=75)
    found = split(data, DEFAULT)
    assert found is not None
    coefficients = found[0]
    with Image.open(io.BytesIO(data)) as image:
        assert list(coefficients.tables[0]) == list(image.quantization[0])  # type: ignore[attr-defined]
    (blocks,) = coefficients.blocks
    assert blocks.shape == (2, 3, 64)
    assert blocks.dtype == np.int16
    assert (blocks[..., 0] == round(8 * (100 - 128) / coefficients.tables[0][0])).all()
    assert not blocks[..., 1:].any()


def test_what_else_a_file_holds() -> None:
    """Metadata and what is behind the end come back; what compresses well is small in the recipe."""
    icc = b"profile " * 4000
    data = written(picture(), icc_profile=icc, comment="a comment", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    for file in (data, data + b"behind the end" * 100, data + data):
        found = split(file, DEFAULT)
        assert found is not None
        assert join(*found, DEFAULT) == file
    assert len(split(data, DEFAULT)[1]) < 600  # type: ignore[index]


def header(coefficients: Coefficients, scans: list[tuple[int, ...]], padding: int = 255) -> bytes:
    """A recipe, as it is, of a sequential file with a scan of each of the groups of components."""
    like = likeness(coefficients)
    head = like[like.rindex(b"\xff\xd8\xff\xe0") : like.rindex(b"\xff\xda")]
    text = bytes([padding]) + head
    for group in scans:
        chosen = b"".join(bytes([i + 1, 0x11 if i else 0]) for i in group)
        text += b"\xff\xda" + bytes([0, 6 + 2 * len(group), len(group)]) + chosen + b"\0\x3f\0"
    return b"\0" + text + b"\xff\xd9"


SAMPLINGS = [
    ((4, 1), (1, 1), (1, 1)),
    ((2, 2), (2, 1), (1, 2)),
    ((1, 1), (2, 2), (1, 1)),
    ((3, 2), (1, 1), (2, 1)),
    ((1, 2), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("scans", [[(0, 1, 2)], [(0,), (1,), (2,)], [(0,), (1, 2)]], ids=str)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("padding", [255, 0])
def test_samplings(sampling: tuple[tuple[int, int], ...], scans: list[tuple[int, ...]], padding: int) -> None:
    """Files that are made of coefficients: any sampling, scans of their own, other padding. Pillow can read them."""
    width, height, rng = 75, 49, np.random.default_rng(3)
    most_h, most_v = (max(factors) for factors in zip(*sampling, strict=True))
    tables = tuple(np.arange(1, 65, dtype=np.int32) + i for i in (0, 1, 1))
    shapes = [(-(-height // (8 * most_v)) * v, -(-width // (8 * most_h)) * h, 64) for h, v in sampling]
    blocks = tuple((rng.laplace(0, 3, s) * (rng.random(s) < 0.2)).astype(np.int16) for s in shapes)
    coefficients = Coefficients(width, height, sampling, tables, blocks)
    for i in range(3):  # what a scan of one component leaves out cannot come back
        if (i,) in scans:
            rows, columns = coefficients.grid(i)
            blocks[i][rows:], blocks[i][:, columns:] = 0, 0
    data = join(coefficients, header(coefficients, scans, padding), DEFAULT)
    if most_h != 3:  # libjpeg cannot enlarge 2 samples to 3
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    found = split(data, DEFAULT)
    assert found is not None
    assert all(np.array_equal(a, b) for a, b in zip(found[0].blocks, blocks, strict=True))
    assert found[0].sampling == sampling
    assert len(found[1]) < 80


def test_mixed_padding() -> None:
    """A byte for each interval, where they differ."""
    data = bytearray(written(picture(), restart_marker_blocks=1))
    places = [i for i in range(len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] < 0xD8]
    changed = 0
    for place in places[:3]:  # ones at the end of a byte that may be padding become zeros
        if data[place - 1] & 1 and data[place - 2] != 0xFF:
            other = bytes(data[: place - 1]) + bytes([data[place - 1] & 0xFE]) + bytes(data[place:])
            found = split(other, DEFAULT)
            if found is not None:
                assert join(*found, DEFAULT) == other
                changed += 1
    assert changed


def test_refused() -> None:
    """Other kinds of files, and files that end early, are None."""
    data = written(picture())
    start = data.index(b"\xff\xc0")
    others = [b"", b"\xff\xd8", b"no JPEG", data[:-2], data[:-40], data[: start + 7]]
    others += [data[: start + 1] + bytes([marker]) + data[start + 2 :] for marker in (0xC3, 0xC9, 0xCA, 0xC5, 0xCF)]
    others.append(data[: start + 4] + b"\x0c" + data[start + 5 :])  # 12 bits
    others.append(data[: start + 5] + b"\0\0" + data[start + 7 :])  # a height that DNL says
    assert [split(other, DEFAULT) for other in others] == [None] * len(others)
    assert split(data, Limits(pixels=83 * 61 - 1)) is None


@pytest.mark.parametrize("options", [{}, {"progressive": True, "restart_marker_blocks": 4}], ids=str)
def test_damaged_files(options: dict[str, object]) -> None:
    """What is taken apart comes back, whatever the bytes."""
    data, rng = written(picture(40, 30), **options), np.random.default_rng(5)
    apart = 0
    for _ in range(400):
        hurt = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            hurt[place] = rng.integers(256)
        found = split(bytes(hurt), DEFAULT)
        if found is not None:
            apart += 1
            assert join(*found, DEFAULT) == hurt
    assert apart  # metadata may be anything


@pytest.mark.parametrize("options", [{}, {"progressive": True, "restart_marker_blocks": 4}], ids=str)
def test_damaged_recipes(options: dict[str, object]) -> None:
    """A damaged recipe makes another file or raises a typed error."""
    found = split(written(picture(40, 30), **options), DEFAULT)
    assert found is not None
    coefficients, recipe = found
    rng = np.random.default_rng(6)
    for _ in range(400):
        hurt = bytearray(recipe)
        for place in rng.integers(0, len(recipe), rng.integers(1, 4)):
            hurt[place] = rng.integers(256)
        with suppress(CorruptFile):
            join(coefficients, bytes(hurt), DEFAULT)
    for other in (b"", b"\x07", recipe[:-1], recipe + b"\0"):
        with pytest.raises(CorruptFile):
            join(coefficients, other, DEFAULT)
    with pytest.raises(ImageTooLarge):
        join(coefficients, recipe, Limits(memory=1000))
    wider = tuple(np.pad(blocks, ((0, 0), (0, 1), (0, 0))) for blocks in coefficients.blocks)
    with pytest.raises(CorruptFile):
        join(Coefficients(40, 30, coefficients.sampling, coefficients.tables, wider), recipe, DEFAULT)


def test_coefficients_without_codes() -> None:
    """Values that a file's codes cannot express are no crash."""
    found = split(written(picture(40, 30), optimize=True, quality=20), DEFAULT)
    assert found is not None
    coefficients, recipe = found
    for value in (-32768, 32767, 999):
        blocks = tuple(np.full_like(b, value) for b in coefficients.blocks)
        with pytest.raises(CorruptFile):
            join(Coefficients(40, 30, coefficients.sampling, coefficients.tables, blocks), recipe, DEFAULT)


def test_known_passages() -> None:
    """Metadata that stand elsewhere, too, take no room in the recipe: a profile in pieces, EXIF; in any order."""
    rng = np.random.default_rng(8)
    profile, exif, comment = rng.bytes(150_000), b"Exif\0\0II*\0\x08\0\0\0" + rng.bytes(300), b"short"
    data = written(picture(24, 16), icc_profile=profile, exif=exif, comment=comment)
    sizes = []
    for known in ([], [exif[6:], profile], [profile, exif[6:]], [comment, rng.bytes(99), exif[6:] + b"more", profile]):
        found = split(data, DEFAULT, known)
        assert found is not None
        coefficients, recipe = found
        assert join(coefficients, recipe, DEFAULT, known) == data
        sizes.append(len(recipe))
    assert sizes[0] > 150_000
    assert max(sizes[1:]) < 250
    with pytest.raises(CorruptFile):
        join(coefficients, recipe, DEFAULT, [exif[6:]])
    with pytest.raises(ImageTooLarge):
        join(coefficients, recipe, Limits(memory=150_000), known)


@pytest.mark.parametrize(
    "text", [b"", b"\0", b"\xff" * 6, b"\x01\0\0\0\xff", b"\x01\0\x7f\x04\xff", b"\x7f\1\1", b"\xff\x7f"]
)
def test_impossible_passages(text) -> None:
    coefficients = split(written(picture(24, 16)), DEFAULT)
    assert coefficients is not None
    with pytest.raises(CorruptFile):
        join(coefficients[0], b"\x04" + text, DEFAULT, [b"known"])
