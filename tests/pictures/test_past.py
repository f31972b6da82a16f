"""Pictures with a past: their origin is found, their files are smaller and exact, and no other file is larger."""

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image

import vlae_codec
from vlae_codec.errors import CorruptFile, InputError
from vlae_codec.format import container
from vlae_codec.format.header import JPEG, SOURCE_PLANES, VALUES, Kind
from vlae_codec.images.picture import Picture
from vlae_codec.origins import origin as origins
from vlae_codec.origins.conversions import CONVERSIONS, family
from vlae_codec.origins.names import NAMES
from vlae_codec.pictures.sources import words
from vlae_codec.views.describe import describe

SIZE = 56, 72  # whole blocks, but no whole number of units of 16


def photo(height: int, width: int, seed: int = 1) -> np.ndarray:
    """(height, width, 3) uint8: smooth fields of colour with a little noise, none of it clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    fields = []
    for i in range(3):
        rough = rng.normal(size=(height // 12 + 2, width // 12 + 2)).astype(np.float32)
        smooth = np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))
        fields.append(125 + 22 * smooth + 20 * np.sin(x / (15 + 4 * i) + y / (21 - 3 * i)))
    common = rng.normal(0, 3, (height, width, 1))
    return np.rint(np.stack(fields, -1) + common).clip(8, 247).astype(np.uint8)


def through(pixels: np.ndarray, kind: str, **options: object) -> np.ndarray:
    """What a lossy file of a picture decodes to."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file))


def photocd(pixels: np.ndarray) -> np.ndarray:
    """A picture as a PhotoCD of it would be converted."""
    height, width, _ = pixels.shape
    r, g, b = (pixels[..., c].astype(float) for c in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    planes = [luma / 1.3584, ((b - luma) / 2.2179 + 156)[::2, ::2], ((r - luma) / 1.8215 + 137)[::2, ::2]]
    whole = [np.rint(plane).clip(0, 255).astype(np.uint8) for plane in planes]
    return origins.rebuild(origins.Origin("photocd", "photocd", (2, 2)), whole, width, height)


def with_text(pixels: np.ndarray) -> np.ndarray:
    """The picture with an overlay."""
    out = pixels.copy()
    out[20:30, 30:70] = (255, 0, 0)
    out[22:28:2, 32:68] = (0, 0, 255)
    return out


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    alpha = np.add.outer(np.arange(pixels.shape[0]), np.arange(pixels.shape[1]))
    return np.dstack([pixels, alpha.astype(np.uint8)])


@cache
def past(way: str) -> np.ndarray:
    """A picture that went some way."""
    if way == "photocd":
        return photocd(photo(*SIZE))
    if way == "webp":
        return through(photo(*SIZE), "WEBP", quality=80)
    if way == "jpeg":
        return through(photo(*SIZE), "JPEG", quality=90)
    if way == "jpeg 4:4:4":
        return through(photo(*SIZE), "JPEG", quality=90, subsampling=0)
    if way == "grey jpeg":
        return through(photo(*SIZE)[..., 1], "JPEG", quality=90)
    if way == "grey as rgb":
        return np.repeat(photo(*SIZE)[..., 1:2], 3, 2)
    if way == "alpha":
        return with_alpha(past("jpeg"))
    if way == "overlay":
        return with_text(past("jpeg"))
    if way == "cropped jpeg":
        return np.ascontiguousarray(through(photo(64, 80), "JPEG", quality=90)[5:60, 3:76])
    if way == "long grey crop":  # its blocks stand in two tiles
        return np.ascontiguousarray(through(photo(32, 2080)[..., 1], "JPEG", quality=80)[5:27, 3:2075])
    if way == "cropped photocd":
        return np.ascontiguousarray(photocd(photo(88, 104))[3:86, 5:102])  # its first samples of chroma are cut off
    assert way == "wide"  # three tiles of luma, one of them narrow, and flat between lively ends
    pixels = np.full((10, 1048, 3), (90, 120, 60), np.uint8)
    pixels[:, 460:580] = photo(10, 120)
    pixels[:, 990:] = photo(10, 58, 2)
    return photocd(pixels)


WAYS = {  # of each the words that say what it was
    "photocd": "from a PhotoCD, 4:2:0",
    "webp": "decoded from a lossy WebP",
    "jpeg": "a JPEG, 4:2:0, its coefficients",
    "jpeg 4:4:4": "a JPEG, 4:4:4, its coefficients",
    "grey jpeg": "a JPEG, its coefficients",
    "grey as rgb": "grey, stored as RGB",
    "alpha": "a JPEG, 4:2:0, its coefficients",
    "overlay": "JPEG",
    "cropped jpeg": "a part of a JPEG, 4:2:0, its coefficients",
    "long grey crop": "a part of a JPEG, its coefficients",
    "cropped photocd": "from a PhotoCD",
    "wide": "from a PhotoCD, 4:2:0",
}
compress = vlae_codec.compress


@cache
def packed(way: str, origin: str = "auto") -> bytes:
    """A file that is not decoded when it is made, since the tests do that."""
    return compress(past(way), effort=1, threads=1, origin=origin, verify=False)


def origin_in(data: bytes):
    (layout,) = container.read(data).header.layouts
    return layout.origin


def size_without(pixels: np.ndarray) -> int:
    return len(compress(pixels, effort=1, threads=1, origin="none", verify=False))


@pytest.mark.parametrize("way", WAYS)
def test_smaller_and_exact(way):
    data, pixels = packed(way), past(way)
    assert len(data) < size_without(pixels)
    found = origin_in(data)
    assert found is not None
    assert WAYS[way] in words(found)
    assert np.array_equal(vlae_codec.decompress(data, threads=1), pixels)


@pytest.mark.parametrize("way", WAYS)
def test_region(way):
    """Any region is the crop, also where it needs samples of the tiles beside it."""
    data, pixels = packed(way), past(way)
    height, width = pixels.shape[:2]
    inner = width // 3, height // 3, 20, height // 2
    regions = [(0, 0, 1, 1), (width - 1, height - 1, 1, 1), inner, (0, height // 2, width, 3)]
    if way == "wide":
        regions += [(510, 3, 5, 6), (511, 0, 1, 10), (512, 9, 1, 1), (513, 8, 511, 2), (1022, 1, 4, 9)]
    if way == "long grey crop":
        regions += [(2040, 3, 5, 6), (2043, 0, 9, 22), (2048, 20, 1, 1), (2071, 0, 1, 2)]
    for x, y, w, h in regions:
        found = vlae_codec.decompress(data, region=(x, y, w, h), threads=1)
        assert np.array_equal(found, pixels[y : y + h, x : x + w]), (x, y, w, h)


def test_tiles_of_chroma():
    """Halved chroma has tiles of its own: more of them than one, each beside the luma at its place."""
    parts = container.read(packed("wide")).parts
    assert [part.planes.kind for part in parts] == [Kind.SOURCE] * 3 + [Kind.EXCEPTIONS]
    assert [part.pictures[0][1:] for part in parts] == [(1048, 10), (524, 5), (524, 5), (1048, 10)]
    assert [part.tile_count for part in parts] == [3, 3, 3, 3]


def test_names():
    """A name is the only origin that is looked for; the form of the file tells which it was."""
    forms = {"jpeg": JPEG, "jfif": SOURCE_PLANES, "values": VALUES}
    for name, form in forms.items():
        data = packed("jpeg 4:4:4", name)
        found = origin_in(data)
        assert found is not None
        assert found.form == form, name
        assert np.array_equal(vlae_codec.decompress(data, threads=1), past("jpeg 4:4:4"))
        x, y, w, h = region = (9, 11, 40, 30)
        part = vlae_codec.decompress(data, region=region, threads=1)
        assert np.array_equal(part, past("jpeg 4:4:4")[y : y + h, x : x + w])
    for way, name in (("photocd", "photocd"), ("photocd", "values"), ("webp", "webp"), ("grey as rgb", "grey")):
        assert origin_in(packed(way, name)) is not None


def test_values():
    """Where two channels leave few values of the third, a file takes a sixth less at least, also with an adapter."""
    pixels = past("jpeg 4:4:4")
    for effort in (1, 2):
        sizes = [len(compress(pixels, effort=effort, threads=1, origin=name)) for name in ("values", "none")]
        assert 6 * sizes[0] < 5 * sizes[1], effort


def test_none():
    for way in ("jpeg", "grey as rgb"):
        data = packed(way, "none")
        assert origin_in(data) is None
        assert np.array_equal(vlae_codec.decompress(data, threads=1), past(way))


def test_all_names():
    assert set(NAMES) == {"jpeg", "grey", *map(family, CONVERSIONS), "values"}


def test_other_names():
    """What a picture was not is not found; what no picture was is refused."""
    assert origin_in(packed("photocd", "webp")) is None
    assert origin_in(packed("webp", "jpeg")) is None
    with pytest.raises(InputError, match="no origin 'vhs': give auto, none, jpeg, grey"):
        compress(past("jpeg"), origin="vhs")


def test_model(tiny):
    """A model that is asked for codes the picture as it is, unless an origin is asked for, too."""
    pixels = past("grey as rgb")
    assert origin_in(compress(pixels, model=tiny, effort=1, threads=1)) is None
    data = compress(pixels, model=tiny, effort=1, threads=1, origin="grey")
    assert origin_in(data) is not None
    assert np.array_equal(vlae_codec.decompress(data, threads=1), pixels)


def test_effort():
    """An adapter of luma, and of chroma beside it."""
    pixels = past("photocd")
    data = compress(pixels, effort=2, threads=1)
    parts = container.read(data).parts
    assert len(data) <= len(packed("photocd"))
    assert [part.planes.kind for part in parts] == [Kind.SOURCE] * 3 + [Kind.EXCEPTIONS]
    assert np.array_equal(vlae_codec.decompress(data, threads=1), pixels)


SMALL = [(1, 1), (1, 2), (2, 1), (1, 17), (17, 1), (2, 2), (3, 5), (7, 8), (8, 8), (9, 7), (15, 16), (16, 16), (17, 17)]


@pytest.mark.parametrize("kind", ["jpeg", "photocd", "grey as rgb", "noise"])
def test_small(kind):
    """Sizes at which planes, blocks and regions end."""
    rng = np.random.default_rng(3)
    for height, width in SMALL:
        if kind == "noise":
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        elif kind == "jpeg":
            pixels = through(photo(height, width), "JPEG", quality=90)
        else:
            pixels = photocd(photo(height, width)) if kind == "photocd" else photo(height, width)[..., [0, 0, 0]]
        data = compress(pixels, effort=1, threads=1)
        assert np.array_equal(vlae_codec.decompress(data, threads=1), pixels), (height, width)
        assert len(data) <= size_without(pixels), (height, width)


@pytest.mark.parametrize("name", ["jpeg", "grey", "jfif", "photocd", "webp", "values"])
@pytest.mark.parametrize("size", [(1, 1), (17, 16)])
def test_small_by_name(name, size):
    pixels = photo(*size)
    data = compress(pixels, effort=1, threads=1, origin=name)
    assert np.array_equal(vlae_codec.decompress(data, threads=1), pixels)


def untouched() -> dict[str, np.ndarray]:
    y, x = np.mgrid[:48, :64]
    steps = np.add.outer(np.arange(48), np.arange(64))
    return {
        "noise": np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8),
        "flat": np.full((48, 64, 3), (10, 200, 90), np.uint8),
        "black": np.zeros((48, 64, 3), np.uint8),
        "gradient": np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8),
        "ramp": np.repeat(steps[..., None], 3, 2).astype(np.uint8),
        "slant": np.stack([steps, steps // 2, 200 - steps], -1).astype(np.uint8),
        "photo": photo(48, 64),
        "two colours": np.where((steps % 5 == 0)[..., None], [250, 20, 30], [20, 30, 250]).astype(np.uint8),
    }


@pytest.mark.parametrize("name", untouched())
def test_never_larger(name):
    pixels = untouched()[name]
    data = compress(pixels, effort=1, threads=1)
    assert len(data) <= size_without(pixels)
    assert np.array_equal(vlae_codec.decompress(data, threads=1), pixels)


def test_only_one_picture():
    """Several pictures, other modes and more levels have no origin."""
    grey = past("grey as rgb")
    several = vlae_codec.compress_many([grey, grey[::-1].copy()], effort=1, threads=1)
    deep = compress(grey.astype(np.uint16) * 3, effort=1, threads=1)
    other = compress(Picture(grey, mode="YCbCr"), effort=1, threads=1)
    for data in (several, deep, other):
        assert all(layout.origin is None for layout in container.read(data).header.layouts)


def with_streams(data: bytes, kind: Kind, stream: bytes) -> bytes:
    """A good file but for these streams of all groups of a kind, whose checksums are right."""
    contents = container.read(data)
    parts = []
    for part in contents.parts:
        records = part.records
        if part.planes.kind == kind:
            records = tuple(replace(record, data=stream or record.data[:-9]) for record in records)
        parts.append(replace(part, records=records))
    return container.write(contents.header, parts, contents.metadata)


@pytest.mark.parametrize(
    ("way", "kind", "stream"),
    [("jpeg", Kind.COEFFICIENTS, b""), ("jpeg", Kind.COEFFICIENTS, b"\xff" * 9), ("photocd", Kind.EXCEPTIONS, b"\x81")],
)
def test_damaged_streams(way, kind, stream):
    """The tile is named."""
    damaged = with_streams(packed(way), kind, stream)
    for region in (None, (3, 4, 5, 6)):
        with pytest.raises(CorruptFile, match=r"^tile 0 \(top left pixel x=0, y=0\)"):
            vlae_codec.decompress(damaged, region=region, threads=1)


def test_another_conversion():
    """Parameters that say what there is not."""
    contents = container.read(packed("photocd"))
    (layout,) = contents.header.layouts
    assert layout.origin is not None
    for numbers in (b"\x63\x03#", b"\x02\x09#", b"\x02\x02#", b"\x00\x03#", b"\x02\x03\x03"):
        other = replace(layout, origin=replace(layout.origin, data=numbers))
        if numbers[2] == 3:  # chroma that is not cosited, of a PhotoCD
            planes = (replace(one, geometry=3 if one.geometry else 0) for one in layout.planes)
            other = replace(other, planes=tuple(planes))
        head = replace(contents.header, layouts=(other,))
        data = container.write(head, contents.parts)
        with pytest.raises(CorruptFile, match="origin that does not exist"):
            vlae_codec.decompress(data, threads=1)
        with pytest.raises(CorruptFile, match="origin that does not exist"):
            describe(data)
