"""PNG, against a naive writer of our own and against what Pillow and libpng read."""

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlae_codec.errors import CorruptFile, ImageTooLarge, OutputError, UnsupportedImage
from vlae_codec.images import image, png, png_chunks, png_rows
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.png_chunks import CHANNELS, DEPTHS, SIGNATURE, chunk, pack
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.native.rows import filter_rows, unfilter

codecs = pytest.importorskip("imagecodecs")
SUITE = sorted(Path(os.environ.get("VLAE_CODEC_PNGSUITE", "nowhere")).glob("*.png"))
MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]
COLOURS = bytes(range(12))  # four colours of a palette


def predict(kind, a, b, c):
    if kind == 4:
        distances = [abs(b - c), abs(a - c), abs(a + b - 2 * c)]
        return (a, b, c)[distances.index(min(distances))]
    return (0, a, b, (a + b) // 2)[kind]


def filtered(rows, step, kinds):
    """Rows of bytes, each filtered by the next of the kinds."""
    out = bytearray()
    for y, row in enumerate(rows):
        kind = kinds[y % len(kinds)]
        above = rows[y - 1] if y else bytes(len(row))
        out.append(kind)
        for i, byte in enumerate(row):
            a, c = (row[i - step], above[i - step]) if i >= step else (0, 0)
            out.append((byte - predict(kind, a, above[i], c)) & 255)
    return bytes(out)


def pack_row(row, depth):
    bits = "".join(f"{int(sample):0{depth}b}" for sample in row.ravel())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def make(samples, colour, depth, interlaced=False, kinds=(0,), before=b"", after=b"", cut=1 << 30):
    """A PNG file of (H, W, C) samples; before and after: chunks before and after the pixels."""
    height, width = samples.shape[:2]
    step = max(1, CHANNELS[colour] * depth // 8)
    data = b""
    for x, y, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::dy, x::dx]
        if part.size:
            data += filtered([pack_row(row, depth) for row in part], step, kinds)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, interlaced])
    packed = zlib.compress(data)
    pixels = [chunk(b"IDAT", packed[i : i + cut]) for i in range(0, len(packed), cut)]
    return SIGNATURE + chunk(b"IHDR", header) + before + b"".join(pixels) + after + chunk(b"IEND", b"")


@pytest.fixture(autouse=True)
def bands(monkeypatch):
    """Small pictures are of several bands and slices, too."""
    monkeypatch.setattr(png_rows, "BAND", 64)
    monkeypatch.setattr(png_rows, "PART", 50)


def samples_of(colour, depth, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << depth, (height, width, CHANNELS[colour]))


def same(one, other):
    assert (one.mode, one.levels, one.metadata) == (other.mode, other.levels, other.metadata)
    assert one.pixels.dtype == other.pixels.dtype
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.palette is None) == (other.palette is None)
    assert one.palette is None or np.array_equal(one.palette, other.palette)


def chunks_of(data):
    """The chunks of a file, with one IDAT of no data."""
    found = []
    for kind, body in png_chunks.read_chunks(data, DEFAULT)[0]:
        if kind != b"IDAT":
            found.append((kind, bytes(body)))
        elif not found or found[-1][0] != b"IDAT":
            found.append((kind, b""))
    return found


def read(data, limits=DEFAULT):
    (picture,) = png.read(data, limits)
    return check_picture(picture)


def back(data):
    """The picture in a file, after it was written and read again; all chunks come back."""
    picture = read(data)
    written, notes = png.write([picture])
    assert notes == []
    assert chunks_of(written) == chunks_of(data)
    same(read(written), picture)
    return picture


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_sanity(colour, depth, interlaced):
    before = chunk(b"PLTE", COLOURS) if colour == 3 else b""
    for seed, (height, width) in enumerate([(1, 1), (1, 13), (7, 1), (3, 5), (19, 23)]):
        samples = samples_of(colour, depth, height, width, seed)
        picture = back(make(samples, colour, depth, interlaced, range(5), before, cut=17))
        expected = samples if CHANNELS[colour] > 1 else samples[..., 0]
        assert np.array_equal(picture.pixels, expected)
        assert picture.levels == 1 << depth
        assert picture.mode == ("1" if (colour, depth) == (0, 1) else MODES[colour])
        assert picture.notes == ()
        if colour == 3:
            assert picture.palette.tobytes() == COLOURS


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_written(data):
    """What is written is what libpng and Pillow read."""
    mode, dtype = data.draw(
        st.sampled_from([(m, d) for m in ("L", "LA", "RGB", "RGBA") for d in (np.uint8, np.uint16)] + [("1", bool)])
    )
    height, width, seed = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99)))
    channels = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.integers(-3, 4, (height, width, channels)), axis=1)
    top = 2 if dtype is bool else np.iinfo(dtype).max + 1
    pixels = (smooth % top).astype(dtype)
    picture = Picture(pixels if channels > 1 else pixels[..., 0], {}, mode)
    written, notes = png.write([picture])
    assert notes == []
    same(read(written), picture)
    if mode == "1":
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(written))), picture.pixels)
    else:
        assert np.array_equal(codecs.png_decode(written), picture.pixels)


@pytest.mark.parametrize("levels", [2, 4, 16, 256])
def test_indices(levels):
    """The order of a palette, its unused and equal entries, and indices beyond it."""
    for seed, count in enumerate([1, 2, levels]):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, levels, (9, 11), np.uint8)
        palette = rng.integers(0, 2, (count, 4), np.uint8) * 255
        for colours in (palette[:, :3], palette):
            picture = Picture(pixels, {}, "P", levels, colours)
            written, notes = png.write([picture])
            assert notes == []
            same(read(written), picture)
            opened = Image.open(io.BytesIO(written))
            assert opened.mode == "P"
            assert np.array_equal(np.asarray(opened), pixels)


@pytest.mark.parametrize(
    ("pixels", "levels", "note"),
    [
        (np.full((2, 3), 99, np.uint8), 100, "the maximum value 99"),
        (np.full((2, 3), 1023, np.uint16), 1024, "the maximum value 1023"),
        (np.full((2, 3, 3), 3, np.uint8), 4, "the maximum value 3"),
    ],
)
def test_levels(pixels, levels, note):
    written, notes = png.write([Picture(pixels, levels=levels)])
    assert notes == [note]
    assert np.array_equal(read(written).pixels, pixels)


@pytest.mark.parametrize(
    "picture",
    [
        Picture(np.zeros((2, 3), np.int16)),
        Picture(np.zeros((2, 3), np.float32)),
        Picture(np.zeros((2, 3, 4), np.uint8), mode="CMYK"),
        Picture(np.zeros((2, 3, 5), np.uint8)),
        Picture(np.zeros((2, 3, 2), np.uint8), mode="PA", palette=np.zeros((1, 3), np.uint8)),
    ],
)
def test_not_written(picture):
    with pytest.raises(OutputError, match=r"use \.tif"):
        png.write([check_picture(picture)])


def text(keyword, data):
    return chunk(b"tEXt", keyword + b"\0" + data)


def test_chunks():
    """All come back byte for byte, in their groups and order."""
    before = (
        chunk(b"gAMA", (45455).to_bytes(4, "big")),
        chunk(b"cHRM", bytes(32)),
        chunk(b"iCCP", b"a name\0\0" + zlib.compress(b"profile" * 50, 9)),
        chunk(b"sBIT", bytes([5, 5, 5])),
        chunk(b"PLTE", COLOURS),
        chunk(b"tRNS", bytes([3, 255])),
        chunk(b"bKGD", b"\1"),
        chunk(b"pHYs", bytes([0, 0, 11, 19] * 2 + [1])),
        text(b"parameters", b"of an image, \xe4"),
        chunk(b"zTXt", b"Long\0\0" + zlib.compress(b"text" * 99, 1)),
    )
    after = (
        chunk(b"tIME", bytes(7)),
        chunk(b"iTXt", b"Title\0\0\0de\0Titel\0" + "größer".encode()),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
        chunk(b"eXIf", b"MM\0*data"),
        chunk(b"prVe", b"of somebody, safe to copy"),
        text(b"a", b""),
    )
    data = make(samples_of(3, 2, 4, 6), 3, 2, before=b"".join(before), after=b"".join(after))
    picture = back(data)
    metadata = picture.metadata
    assert metadata["icc"] == b"profile" * 50
    assert metadata["xmp"] == b"<x/>"
    assert metadata["exif"] == b"MM\0*data"
    assert metadata["resolution"] == b"2835/1 2835/1 metre"
    assert b"profile" not in metadata["png"]
    assert picture.palette[:, 3].tolist() == [3, 255, 255, 255]


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"iCCP", b"n\0\0" + zlib.compress(b"profile")[:-1]),  # damaged: stays as it is, and is no profile
        chunk(b"iCCP", b"n\0\0" + zlib.compress(b"profile", 6)) * 2,
        chunk(b"iCCP", b"n\0\0" + zlib.compress(b"profile") + b"more"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x/>" * 20, 9)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compressobj(9, 8, 9, 1).flush()),
        chunk(b"pHYs", bytes([0, 0, 0, 1, 0, 0, 0, 4, 0])),
        chunk(b"pHYs", bytes(9)),
        chunk(b"pHYs", bytes(3)),
        chunk(b"eXIf", b""),
        chunk(b"tRNS", bytes(6)),
        chunk(b"PLTE", COLOURS) + chunk(b"hIST", bytes(8)),  # a palette that RGB is recommended to be shown with
    ],
)
def test_odd_chunks(chunks):
    back(make(samples_of(2, 8, 4, 6), 2, 8, before=chunks))


@pytest.mark.parametrize("alpha", [b"\xff", b"\1", b"\1\xff", b"\1\xff\xff\xff", b"\1" * 9, b""])
def test_transparent_palette(alpha):
    chunks = chunk(b"PLTE", COLOURS) + chunk(b"tRNS", alpha)
    picture = back(make(samples_of(3, 2, 4, 6), 3, 2, before=chunks))
    if 0 < len(alpha) < 5:
        assert picture.palette[:, 3].tobytes() == alpha.ljust(4, b"\xff")


def test_transparent_colour():
    """It is no alpha, and stays when metadata are dropped."""
    picture = back(make(samples_of(2, 16, 4, 6), 2, 16, before=chunk(b"tRNS", bytes(6))))
    assert picture.mode == "RGB"
    assert picture.metadata["png"] == pack([(b"tRNS", bytes(6)), (b"IDAT", b"")])


def test_notes():
    damaged = text(b"a", b"b")[:-1] + b"\0"
    unsafe = chunk(b"iDOT", b"places in the file")
    picture = read(make(samples_of(0, 8, 2, 2), 0, 8, before=damaged + unsafe) + b"more")
    assert picture.notes == (
        "the damaged chunk tEXt",
        "4 bytes after the end of the picture",
        "the PNG chunk iDOT, which belongs to the file",
    )


def test_changed_metadata():
    """A value that was changed, or dropped, takes the place of the one that was read."""
    chunks = (
        chunk(b"gAMA", bytes(4)),
        chunk(b"iCCP", b"n\0\0" + zlib.compress(b"profile") + b"more"),
        chunk(b"eXIf", b"MM"),
    )
    picture = read(make(samples_of(0, 8, 2, 2), 0, 8, before=b"".join(chunks)))
    changed = picture.replaced(metadata=picture.metadata | {"icc": b"new", "exif": b"II", "xmp": b"<x/>"})
    written = read(png.write([changed])[0])
    assert {key: written.metadata[key] for key in ("icc", "exif", "xmp")} == {
        "icc": b"new",
        "exif": b"II",
        "xmp": b"<x/>",
    }
    dropped = picture.replaced(metadata={"png": picture.metadata["png"]})
    assert chunks_of(png.write([dropped])[0]) == [(b"gAMA", bytes(4)), (b"IDAT", b"")]


def test_other_metadata():
    """What has no chunk of its own becomes text."""
    metadata = {
        "comment": "größer\0plain".encode(),
        "description": b"a picture\0",
        "iptc": b"\x1c\2\0\0\2\0\4",
        "resolution": b"600/1 300/1 inch",
        "tiff": b"tags",
    }
    written, notes = png.write([Picture(np.zeros((2, 3), np.uint8), metadata)])
    assert notes == ["the TIFF tags"]
    assert [kind for kind, _ in chunks_of(written)] == [b"pHYs", b"iTXt", b"tEXt", b"tEXt", b"zTXt", b"IDAT"]
    opened: Any = Image.open(io.BytesIO(written))
    assert opened.info["dpi"] == pytest.approx((600, 300), abs=0.01)
    assert (opened.text["Description"], opened.text["Comment"]) == ("a picture", "plain")
    assert opened.text["Raw profile type iptc"].split() == ["iptc", "7", "1c020000020004"]


def test_pillow_reads_metadata():
    exif = Image.Exif()
    exif[0x010E] = "a description"
    metadata = {"icc": b"profile" * 9, "exif": exif.tobytes().removeprefix(b"Exif\0\0"), "xmp": b"<x/>"}
    opened = Image.open(io.BytesIO(png.write([Picture(np.zeros((2, 3), np.uint8), metadata)])[0]))
    assert opened.info["icc_profile"] == metadata["icc"]
    assert opened.getexif()[0x010E] == "a description"
    assert opened.info["xmp"] == metadata["xmp"]


# ---------------------------------------------------------------------------------------------------- damaged files

GOOD = make(samples_of(0, 8, 5, 6), 0, 8)
HEADER = GOOD[16:29]


def with_header(at, value):
    header = bytearray(HEADER)
    header[at : at + len(value)] = value
    return SIGNATURE + chunk(b"IHDR", bytes(header)) + GOOD[33:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SIGNATURE, "does not begin with a header"),
        (GOOD[:40], "ends too early"),
        (GOOD[:-1], "ends too early"),
        (GOOD[:20] + b"\1" + GOOD[21:], "checksum of its header"),
        (GOOD[:45] + bytes([GOOD[45] ^ 1]) + GOOD[46:], "checksum of IDAT"),
        (GOOD[:33] + b"\xff\xff\xff\xff" + GOOD[37:], "ends too early"),
        (GOOD[:33] + b"\0\0\0\0\0\0\0\0" + bytes(4) + GOOD[33:], "without a name"),
        (GOOD[:33] + chunk(b"ABCD", b"") + GOOD[33:], "chunk ABCD, which no reader knows"),
        (GOOD[:33] + chunk(b"IEND", b""), "no pixels"),
        (GOOD[:33] + chunk(b"IDAT", b"") + text(b"a", b"") + GOOD[33:], "several places"),
        (GOOD[:33] + chunk(b"IDAT", b"no stream") + GOOD[-12:], "damaged image"),
        (GOOD[:33] + chunk(b"IDAT", zlib.compress(bytes(34))) + GOOD[-12:], "pixels are missing"),
        (GOOD[:33] + chunk(b"IDAT", zlib.compress(b"\5" + bytes(34))) + GOOD[-12:], "unknown filter"),
        (with_header(0, bytes(4)), "size of 0x5"),
        (with_header(4, b"\xff"), "size of"),
        (with_header(8, b"\3"), "3 bits of colour type 0"),
        (with_header(9, b"\7"), "8 bits of colour type 7"),
        (with_header(10, b"\1"), "unknown method"),
        (with_header(12, b"\2"), "unknown method"),
        (with_header(9, b"\3"), "no palette"),
        (make(samples_of(3, 8, 2, 2), 3, 8, before=chunk(b"PLTE", COLOURS) * 2), "palette"),
        (make(samples_of(3, 8, 2, 2), 3, 8, before=chunk(b"PLTE", COLOURS[:-1])), "palette"),
        (make(samples_of(3, 8, 2, 2), 3, 8, before=chunk(b"PLTE", b"")), "palette"),
        (make(samples_of(3, 8, 2, 2), 3, 8, after=chunk(b"PLTE", COLOURS)), "palette"),
        (make(samples_of(0, 8, 2, 2), 0, 8, before=chunk(b"acTL", bytes(8))), "animated"),
    ],
)
def test_invalid(data, message):
    with pytest.raises(UnsupportedImage, match=message) as caught:
        png.read(data, DEFAULT)
    assert "\n" not in str(caught.value)


def test_too_much():
    picture = read(GOOD[:33] + chunk(b"IDAT", zlib.compress(bytes(10**7))) + GOOD[-12:])
    assert picture.notes == ("data behind the last row",)
    assert not picture.pixels.any()


def test_large():
    """Nothing is inflated or allocated for a size that is over the limits."""
    for edge in (b"\x7f\xff\xff\xff", b"\0\1\0\0"):
        with pytest.raises(ImageTooLarge):
            png.read(with_header(0, edge * 2), DEFAULT)
    with pytest.raises(ImageTooLarge, match="pixels"):
        png.read(GOOD, Limits(pixels=29))
    many = make(samples_of(0, 8, 5, 6), 0, 8, before=chunk(b"teSt", b"") * 3000)
    with pytest.raises(ImageTooLarge, match="chunks"):
        png.read(many, Limits(memory=1 << 19))
    assert len(read(many).metadata["png"]) == 8 * 3001


def test_bombs(monkeypatch):
    """Texts are not inflated, and of a profile no more than a bound."""
    from vlae_codec.images import png_places

    monkeypatch.setattr(png_places, "MOST_INFLATED", 1 << 16)
    bomb = zlib.compress(bytes(1 << 20))
    chunks = chunk(b"zTXt", b"a\0\0" + bomb) + chunk(b"iCCP", b"a\0\0" + bomb)
    picture = back(make(samples_of(0, 8, 2, 2), 0, 8, before=chunks))
    assert "icc" not in picture.metadata
    assert len(picture.metadata["png"]) < 3000


@settings(max_examples=200, deadline=None)
@given(st.integers(8, len(GOOD) - 1), st.integers(1, 255), st.booleans())
def test_any_damage(at, change, cut):
    data = GOOD[:at] if cut else GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :]
    with pytest.raises((UnsupportedImage, ImageTooLarge)):
        png.read(data, DEFAULT)


@pytest.mark.parametrize(
    "packed",
    [b"\0", b"\0\0\0\5tEXt", pack([(b"IDAT", b"")] * 2), pack([(b"IDAT", b"x")]), pack([(b"IEND", b"")]), bytes(8)],
)
def test_damaged_metadata(packed):
    with pytest.raises(CorruptFile):
        png.write([Picture(np.zeros((2, 3), np.uint8), {"png": packed})])


# ---------------------------------------------------------------------------------------------------- rows


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.sampled_from([1, 2, 3, 4, 6, 8]), st.integers(0, 99))
def test_rows(height, stride, step, seed):
    rng = np.random.default_rng(seed)
    plain = rng.integers(0, 256, (height, stride), np.uint8)
    kinds = rng.integers(0, 5, height)
    expected = np.frombuffer(filtered([bytes(row) for row in plain], step, kinds), np.uint8).reshape(height, -1)
    out = np.empty_like(plain)
    assert unfilter(expected.copy(), step, out)
    assert np.array_equal(out, plain)
    best = filter_rows(plain, step)
    sums = np.minimum(best[:, 1:], 256 - best[:, 1:].astype(int)).sum(1)
    for kind in range(5):
        other = np.frombuffer(filtered([bytes(row) for row in plain], step, [kind]), np.uint8).reshape(height, -1)
        assert np.all(sums[1:] <= np.minimum(other[1:, 1:], 256 - other[1:, 1:].astype(int)).sum(1))
    out[:] = 0
    for first in range(0, height, 2):  # in bands
        assert unfilter(best[first : first + 2], step, out, first)
    assert np.array_equal(out, plain)


def test_rows_invalid():
    from vlae_codec.native.library import CoreError

    out = np.empty((2, 4), np.uint8)
    assert not unfilter(np.full((2, 5), 5, np.uint8), 1, out)
    for rows, first in [((2, 4), 0), ((3, 5), 0), ((2, 5), 1), ((1, 5), -1)]:
        with pytest.raises(ValueError, match="are not in an array"):
            unfilter(np.zeros(rows, np.uint8), 1, out, first)
    for step in (5, 0, -1):
        with pytest.raises(CoreError):
            unfilter(np.zeros((2, 5), np.uint8), step, out)


# ---------------------------------------------------------------------------------------------------- PngSuite


@pytest.mark.skipif(not SUITE, reason="VLAE_CODEC_PNGSUITE is not set")
@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.stem)
def test_suite(path):
    if path.name.startswith("x"):
        with pytest.raises(UnsupportedImage, match=r"damaged image|not an image") as caught:
            image.load(path)
        assert "\n" not in str(caught.value)
        return
    picture = back(path.read_bytes())
    opened = Image.open(path)
    alpha = picture.palette is not None and picture.palette.shape[1] == 4
    shown = np.asarray(opened.convert("RGBA"))
    written = png.write([picture])[0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(written)).convert("RGBA")), shown)
    if picture.mode == "P":
        assert np.array_equal(shown[..., : 3 + alpha], picture.palette[picture.pixels])
    elif picture.pixels.dtype == np.uint8 and picture.levels == 256:
        assert np.array_equal(np.asarray(opened), picture.pixels)
    elif path.name[3] != "i":
        assert np.array_equal(codecs.png_decode(path.read_bytes()), codecs.png_decode(written))
