"""TIFF in and out, against tifffile and Pillow as readers and writers of their own."""

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from vlae_codec.errors import ImageTooLarge, OutputError, UnsupportedImage
from vlae_codec.images import ifd, tiff
from vlae_codec.images.picture import Picture
from vlae_codec.images.png_chunks import pack
from vlae_codec.images.tiff_layout import meaning
from vlae_codec.limits import DEFAULT, Limits

RNG = np.random.default_rng(15)
TYPES = ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"]
CASES = Path(os.environ.get("VLAE_CODEC_CASES", ""))


def samples(shape, dtype, most=None):
    """Numbers of the whole range, next to each other alike."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        found = RNG.normal(0, 100, shape).astype(dtype)
        found.flat[0] = np.nan
        return found
    info = np.iinfo(dtype)
    least, most = (0, most) if most else (info.min, info.max)
    return RNG.integers(least, most, shape, dtype, endpoint=True)


def written(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def stored(data) -> Any:
    """tifffile's first page of a file."""
    return tifffile.TiffFile(io.BytesIO(data)).pages[0]


def same(first, second):
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def read_back(pictures):
    """What `write` gives, read again; all that a picture has is the same."""
    data, notes = tiff.write(pictures)
    again = tiff.read(data, DEFAULT)
    assert len(again) == len(pictures)
    for picture, other in zip(pictures, again):
        assert same(picture.pixels, other.pixels)
        assert (picture.mode, picture.levels, picture.metadata) == (other.mode, other.levels, other.metadata)
        if picture.palette is not None:
            assert other.palette is not None
            assert np.array_equal(picture.palette, other.palette[: len(picture.palette)])
    return data, notes


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "how", ["strips", "tiles", "planes", "tiled planes", "deflate", "predictor", "lzw", "packbits"]
)
def test_layouts(dtype, order, how):
    array = samples((37, 53, 3), dtype)
    how_to: dict[str, Any] = {
        "strips": {"rowsperstrip": 5},
        "tiles": {"tile": (16, 32)},
        "planes": {"planarconfig": "separate", "rowsperstrip": 8},
        "tiled planes": {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
        "deflate": {"compression": "zlib", "rowsperstrip": 7},
        "predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 7},
        "lzw": {"compression": "lzw", "predictor": dtype != "f2" and dtype != "f8", "rowsperstrip": 7},
        "packbits": {"compression": "packbits", "rowsperstrip": 7},
    }
    options = how_to[how]
    stored = np.ascontiguousarray(np.moveaxis(array, 2, 0)) if "planes" in how else array
    data = written(stored, photometric="rgb", byteorder=order, bigtiff=how == "tiles", metadata=None, **options)
    (picture,) = tiff.read(data, DEFAULT)
    assert picture.mode == "RGB"
    assert same(picture.pixels, array)
    again, _ = read_back([picture])
    assert same(tifffile.imread(io.BytesIO(again)), array)


@pytest.mark.parametrize("compression", ["zstd", "lzma", "webp", "jpegxl", "lerc", "jpeg2000"])
def test_compressions(compression):
    array = samples((40, 50, 3), np.uint8)
    options: Any = {"compressionargs": {"lossless": True}} if compression in ("webp", "jpegxl") else {}
    (picture,) = tiff.read(written(array, photometric="rgb", compression=compression, **options), DEFAULT)
    assert same(picture.pixels, array)


def test_needs_packages(monkeypatch):
    data = written(samples((40, 50), np.uint16), compression="jpegxl", compressionargs={"lossless": True})
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(UnsupportedImage, match=r"pip install 'vlae-codec\[formats\]'"):
        tiff.read(data, DEFAULT)


def test_jpeg():
    array = np.add.outer(np.arange(48), np.arange(64))[..., None].astype(np.uint8) * np.array([1, 2, 1], np.uint8)
    data = written(array, photometric="rgb", compression="jpeg", tile=(16, 32))
    (picture,) = tiff.read(data, DEFAULT)
    with Image.open(io.BytesIO(data)) as image:
        assert same(picture.pixels, np.asarray(image))
    assert picture.notes == ("the JPEG stream of a page",)
    read_back([picture])


def test_grey_jpeg():
    array = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    for photometric in ("minisblack", "miniswhite"):
        (picture,) = tiff.read(written(array, photometric=photometric, compression="jpeg"), DEFAULT)
        assert picture.mode == "L"
        expected = array if photometric == "minisblack" else 255 - array
        assert np.abs(picture.pixels.astype(int) - expected).max() < 9
        assert stored(read_back([picture])[0]).photometric == (photometric == "minisblack")


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("channels", [1, 3])
def test_bits(bits, channels):
    dtype = np.uint8 if bits <= 8 else np.uint16
    array = samples((9, 11, channels), dtype, (1 << bits) - 1)
    array.flat[0] = (1 << bits) - 1
    packed = b"".join(imagecodecs.packints_encode(row.ravel(), bits) if bits % 8 else row.tobytes() for row in array)
    tags: ifd.Directory = {
        256: ifd.tag(ifd.LONG, 11),
        257: ifd.tag(ifd.LONG, 9),
        258: ifd.tag(ifd.SHORT, *[bits] * channels),
        262: ifd.tag(ifd.SHORT, 1 if channels == 1 else 2),
        273: ifd.tag(ifd.LONG, 8),
        277: ifd.tag(ifd.SHORT, channels),
        279: ifd.tag(ifd.LONG, len(packed)),
    }
    start = 8 + len(packed) + len(packed) % 2
    data = (ifd.header(False, start) + packed).ljust(start, b"\0") + ifd.pack(tags, start)[0]
    (picture,) = tiff.read(data, DEFAULT)
    assert picture.levels == 1 << bits
    expected = array[..., 0] if channels == 1 else array
    assert same(picture.pixels, expected != 0 if bits == channels == 1 else expected)
    again, notes = read_back([picture])
    assert notes == []
    page = stored(again)
    assert page.bitspersample == (bits if bits in (1, 2, 4, 8, 12, 16) else 8 if bits < 8 else 16)
    assert np.array_equal(page.asarray(), expected)


def test_levels_of_a_maximum():
    array = samples((9, 11), np.uint8, 99)
    data, notes = tiff.write([Picture(array, levels=100)])
    assert notes == ["the maximum value 99"]
    assert same(tiff.read(data, DEFAULT)[0].pixels, array)
    # the largest value of a picture that happens to be in it is no depth
    (picture,) = tiff.read(written(array, extratags=[(281, "H", 1, 99, True)]), DEFAULT)
    assert picture.levels == 256


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("L", 1), ("LA", 2), ("La", 2), ("RGB", 3), ("RGBA", 4), ("RGBa", 4), ("CMYK", 4), ("bands", 5), ("bands", 1)],
)
@pytest.mark.parametrize("dtype", TYPES)
def test_modes(mode, channels, dtype):
    array = samples((12, 17, channels), dtype)
    array = array[..., 0] if channels == 1 and mode != "bands" else array
    data, notes = tiff.write([Picture(array, mode=mode)])
    (picture,) = tiff.read(data, DEFAULT)
    if mode == "bands" and channels == 1:
        array, mode = array[..., 0], "L"  # nothing says more of it
    assert notes == []
    assert picture.mode == mode
    assert same(picture.pixels, array)
    assert same(tifffile.imread(io.BytesIO(data)).reshape(array.shape), array)
    read_back([picture])


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"]
)
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_modes_of_pillow(mode, compression):
    grey = Image.fromarray(samples((21, 34), np.uint8))
    if mode in ("LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"):
        bands = {"LA": 2, "PA": 2, "YCbCr": 3, "LAB": 3}.get(mode, 4)
        image = Image.frombytes(mode, (34, 21), samples((21, 34, bands), np.uint8).tobytes())
        if mode == "PA":
            image.putpalette(samples((256, 3), np.uint8).tobytes())
    elif mode == "P":
        image = grey.convert("RGB").quantize(40)
    elif mode == "I;16":
        image = Image.fromarray(samples((21, 34), np.uint16))
    elif mode in "IF":
        image = Image.fromarray(samples((21, 34), np.int32 if mode == "I" else np.float32))
    else:
        image = grey.convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression)
    (picture,) = tiff.read(file.getvalue(), DEFAULT)
    assert picture.mode == {"I;16": "L", "I": "L", "F": "L", "RGBX": "bands"}.get(mode, mode)
    expected = np.array(image)
    expected = expected != 0 if mode == "1" else expected
    assert same(picture.pixels, expected)
    data, _ = read_back([picture])
    if mode == "YCbCr" and compression:
        return  # of which Pillow makes RGB
    with Image.open(io.BytesIO(data)) as other, Image.open(io.BytesIO(file.getvalue())) as before:
        assert other.mode == before.mode
        assert other.tobytes() == before.tobytes()


def test_white_is_zero():
    array = samples((9, 20), np.uint8)
    data = written(array, photometric="miniswhite")
    (picture,) = tiff.read(data, DEFAULT)
    assert same(picture.pixels, 255 - array)
    again, _ = read_back([picture])
    page = stored(again)
    assert page.photometric == 0
    assert same(page.asarray(), array)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax(compression):
    bits = RNG.random((40, 77)) < 0.9
    file = io.BytesIO()
    Image.fromarray(bits).save(file, "TIFF", compression=compression)
    (picture,) = tiff.read(file.getvalue(), DEFAULT)
    assert same(picture.pixels, bits)
    read_back([picture])


def test_pages():
    arrays = [samples((8, 9), np.uint8), samples((5, 4, 3), np.uint16), samples((7, 7), np.float32)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for array in arrays:
            writer.write(array, photometric="rgb" if array.ndim == 3 else "minisblack", metadata=None)
    pictures = tiff.read(file.getvalue(), DEFAULT)
    assert all(map(same, [picture.pixels for picture in pictures], arrays))
    data, notes = read_back(pictures)
    assert notes == []
    assert all(same(page.asarray(), array) for page, array in zip(tifffile.TiffFile(io.BytesIO(data)).pages, arrays))


def test_metadata():
    exif = Image.Exif()
    exif[271], exif[274], exif[270] = "ACME", 6, "a house"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1] = "N"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    tags = {700: b"<x:xmpmeta/>", 33723: b"\x1c\x02\x05\0\1a", 33550: (0.5, 0.5, 0.0), 65000: "private", 305: "made by"}
    info = Image.Exif()
    info.load(exif.tobytes())
    for number, value in tags.items():
        info[number] = value
    Image.fromarray(samples((9, 8, 3), np.uint8)).save(file, "TIFF", exif=info, icc_profile=icc, dpi=(600, 300))
    (picture,) = tiff.read(file.getvalue(), DEFAULT)
    metadata = picture.metadata
    assert set(metadata) == {"icc", "exif", "xmp", "iptc", "resolution", "description", "tiff"}
    assert metadata["icc"] == icc
    assert metadata["description"] == b"a house"
    assert metadata["resolution"].split()[2] == b"inch"
    assert [eval(part) for part in metadata["resolution"].decode().split()[:2]] == [600, 300]
    block = Image.Exif()
    block.load(metadata["exif"])
    assert (block[271], block[274], block[305]) == ("ACME", 6, "made by")
    assert block.get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
    assert block.get_ifd(0x8825)[1] == "N"
    left, more = ifd.parse(metadata["tiff"], DEFAULT)
    assert set(left) == {33550, 65000}
    assert not more
    data, notes = read_back([picture])
    assert notes == []
    image: Any
    with Image.open(io.BytesIO(data)) as image:
        assert image.tag_v2[271] == "ACME"
        assert image.tag_v2[33550] == (0.5, 0.5, 0.0)
        assert image.tag_v2[700] == b"<x:xmpmeta/>"
        assert image.getexif().get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
        assert image.info["icc_profile"] == icc
    assert picture.pixels.shape == (9, 8, 3)  # not turned
    assert tiff.size(file.getvalue()) == (8, 9)


def test_metadata_of_others():
    time_of, colours = bytes([7, 234, 11, 28, 23, 5, 59]), struct.pack(">8L", *range(31270, 31278))
    chunks = pack([
        (b"gAMA", bytes(4)), (b"cHRM", colours), (b"IDAT", b""), (b"tIME", time_of), (b"tEXt", b"Author\0me"),
        (b"tEXt", b"Title\0a house"),
    ])  # fmt: skip
    metadata = {
        "comment": b"roll 12",
        "resolution": b"11811/1 11811/1 metre",
        "png": chunks,
        "frame": b"delay=1/10",
        "exif": b"no block",
    }
    data, notes = tiff.write([Picture(samples((3, 4), np.uint8), metadata)])
    assert notes == ["the PNG chunk gAMA", "the PNG chunk tEXt", "the times of frames", "EXIF, which is damaged"]
    (picture,) = tiff.read(data, DEFAULT)
    tags, _ = ifd.parse(picture.metadata.pop("tiff"), DEFAULT)
    assert picture.metadata == {"description": b"roll 12", "resolution": b"11811/100 11811/100 centimetre"}
    page = stored(data)
    assert page.tags[306].value == "2026:11:28 23:05:59"
    assert page.tags[315].value == "me"
    assert page.tags[318].value == (31270, 100000, 31271, 100000)
    assert set(tags) == {306, 315, 318, 319}


def test_palette():
    colours = samples((16, 3), np.uint8)
    indices = samples((9, 10), np.uint8, 15)
    picture = Picture(indices, {}, "P", 16, colours)
    data, notes = read_back([picture])
    assert notes == []
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), colours[indices])
    wide = samples((3, 256), np.uint16)
    data = written(samples((9, 10), np.uint8), photometric="palette", colormap=wide)
    (picture,) = tiff.read(data, DEFAULT)
    again, _ = read_back([picture])
    assert np.array_equal(stored(again).colormap, wide)
    clear = Picture(indices, {}, "P", 16, np.column_stack([colours, np.arange(16, dtype=np.uint8)]))
    data, notes = tiff.write([clear])
    assert notes == ["the alpha of the palette, other than as a channel"]
    assert np.array_equal(tiff.read(data, DEFAULT)[0].pixels[..., 1], indices)


def test_bands():
    array = samples((9, 10, 4), np.uint8)
    data = written(array, photometric="rgb", extrasamples=[0])
    (picture,) = tiff.read(data, DEFAULT)
    assert picture.mode == "bands"
    page = stored(read_back([picture])[0])
    assert (page.photometric, page.extrasamples, same(page.asarray(), array)) == (2, (0,), True)
    kept, _ = ifd.parse(meaning(picture.metadata["tiff"]), DEFAULT)
    assert set(kept) == {262, 338}


def test_big():
    """Values that only BigTIFF has make a BigTIFF."""
    file = written(samples((5, 5), np.uint8), bigtiff=True, extratags=[(65000, 16, 1, 1 << 40, True)])
    (picture,) = tiff.read(file, DEFAULT)
    data, _ = read_back([picture])
    assert data[2] == 43
    assert stored(data).tags[65000].value == 1 << 40


def test_not_held():
    with pytest.raises(OutputError, match="no mode HSV"):
        tiff.write([Picture(samples((3, 3, 3), np.uint8), mode="HSV")])


def test_refused():
    with pytest.raises(UnsupportedImage, match="64 bits"):
        tiff.read(written(samples((3, 3), np.int64)), DEFAULT)
    with pytest.raises(UnsupportedImage, match="complex"):
        tiff.read(written(np.ones((3, 3), np.complex64)), DEFAULT)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(samples((8, 8), np.uint8), subifds=1)
        writer.write(samples((8, 8), np.uint8))
    with pytest.raises(UnsupportedImage, match="SubIFDs"):
        tiff.read(file.getvalue(), DEFAULT)
    with pytest.raises(UnsupportedImage, match="ImageJ stack of 5"):
        tiff.read(written(samples((3, 3), np.uint8), description="ImageJ=1.11a\nimages=5\n", metadata=None), DEFAULT)


def test_reduced_copies():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(samples((8, 8), np.uint8), subifds=1)
        writer.write(samples((4, 4), np.uint8), subfiletype=1)
    (picture,) = tiff.read(file.getvalue(), DEFAULT)
    assert picture.notes == ("reduced copies in SubIFDs",)


def page(**changes):
    """A classic file of one page of 4 x 4 bytes whose tags are changed: tNUMBER=(type, count, value)."""
    tags = {
        256: (3, 1, 4),
        257: (3, 1, 4),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        279: (4, 1, 16),
    }
    tags |= {int(name[1:]): value for name, value in changes.items()}
    entries = b"".join(struct.pack("<HHLL", number, *tags[number]) for number in sorted(tags))
    return struct.pack("<2sHL", b"II", 42, 24) + bytes(16) + struct.pack("<H", len(tags)) + entries + bytes(4)


HOSTILE = {
    "no header": b"II*\0",
    "no directory": b"II*\0\0\0\0\0",
    "outside": b"II*\0\xff\xff\xff\xff",
    "loop": page()[:-4] + struct.pack("<L", 24),
    "many tags": struct.pack("<2sHLH", b"II", 42, 8, 65535),
    "count": page(t273=(4, 0xFFFFFFFF, 8)),
    "strip": page(t273=(4, 1, 0xFFFFFFF0)),
    "strip of all": page(t279=(4, 1, 0xFFFFFFFF)),
    "wide": page(t256=(4, 1, 0xFFFFFFFF)),
    "large": page(t256=(4, 1, 0xFFFF), t257=(4, 1, 0xFFFF)),
    "none": page(t256=(3, 1, 0)),
    "strips": page(t278=(4, 1, 1)),
    "tiles": page(t322=(4, 1, 0x7FFFFFF0), t323=(4, 1, 0x7FFFFFF0), t324=(4, 1, 8), t325=(4, 1, 16)),
    "no tiles": page(t322=(4, 1, 0), t323=(4, 1, 0), t324=(4, 1, 8), t325=(4, 1, 16)),
    "samples": page(t277=(3, 1, 65535)),
    "bits": page(t258=(3, 1, 65535)),
    "no bits": page(t258=(3, 1, 0)),
    "format": page(t339=(3, 1, 77)),
    "deflate": page(t259=(3, 1, 8)),
    "lzw": page(t259=(3, 1, 5)),
    "compression": page(t259=(3, 1, 9999)),
    "colours": page(t262=(3, 1, 2)),
    "palette": page(t262=(3, 1, 3)),
    "sub": page(t330=(4, 1, 24)),
    "text": page(t256=(2, 4, 0x41414141)),
    "subsampling": page(t262=(3, 1, 6), t277=(3, 1, 3), t530=(3, 2, 0x20002)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    with pytest.raises((UnsupportedImage, ImageTooLarge)) as error:
        tiff.read(HOSTILE[name], DEFAULT)
    assert "\n" not in str(error.value)


def test_bomb():
    """Strips that are the same bytes, and bytes that inflate to much."""
    bomb = zlib.compress(bytes(1 << 25))
    data = bytearray(page(t259=(3, 1, 8), t273=(4, 1, 1 << 12), t279=(4, 1, len(bomb))).ljust(1 << 12, b"\0") + bomb)
    (picture,) = tiff.read(bytes(data), DEFAULT)
    assert same(picture.pixels, np.zeros((4, 4), np.uint8))
    count = 1 << 16
    tables = struct.pack("<L", 1 << 12) * count + struct.pack("<L", len(bomb)) * count
    at = len(data)
    data = page(
        t257=(4, 1, count), t259=(3, 1, 8), t273=(4, count, at), t278=(3, 1, 1), t279=(4, count, at + 4 * count)
    ).ljust(1 << 12, b"\0") + bomb + tables  # fmt: skip
    with pytest.raises(UnsupportedImage, match="outside the file"):
        tiff.read(data, DEFAULT)


def test_limits():
    data = written(samples((30, 50, 50), np.uint8), metadata=None)
    with pytest.raises(ImageTooLarge, match="pixels"):
        tiff.read(data, Limits(pixels=50 * 50 * 29))
    with pytest.raises(ImageTooLarge, match="pictures"):
        tiff.read(data, Limits(pictures=29))
    with pytest.raises(ImageTooLarge, match="memory"):
        tiff.read(data, Limits(memory=10000))


def test_damaged_anywhere():
    """Any byte may be another: a picture, or one typed error."""
    data = written(
        samples((16, 16, 3), np.uint16), photometric="rgb", compression="zlib", predictor=True, tile=(16, 16)
    )
    for at in RNG.integers(0, len(data), 600):
        damaged = bytearray(data)
        damaged[at] ^= int(RNG.integers(1, 256))
        with suppress(UnsupportedImage, ImageTooLarge):
            tiff.read(bytes(damaged), Limits(memory=1 << 24))
    for end in range(0, len(data), 37):
        with pytest.raises(UnsupportedImage):
            tiff.read(data[:end], DEFAULT)


@pytest.mark.skipif(not CASES.is_dir() or not CASES.name, reason="VLAE_CODEC_CASES is not set")
@pytest.mark.parametrize("name", ["16planar", "exif", "grey_extra", "meta", "rgbnir", "signed8"])
def test_cases(name):
    data = (CASES / f"tif_{name}.tif").read_bytes()
    (picture,) = tiff.read(data, DEFAULT)
    array = tifffile.imread(io.BytesIO(data))
    assert same(picture.pixels, np.moveaxis(array, 0, 2) if name == "16planar" else array)
    assert picture.notes == ()
    again, notes = read_back([picture])
    assert notes == []
    assert np.array_equal(tifffile.imread(io.BytesIO(again)), picture.pixels)
