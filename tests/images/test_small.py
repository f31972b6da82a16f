"""Formats with readers of their own because Pillow would change their samples, and those that imagecodecs reads."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import ImageTooLarge, UnsupportedImage
from vlae_codec.images import image, small, wide_headers
from vlae_codec.images.picture import check_picture
from vlae_codec.limits import DEFAULT, Limits

codecs = pytest.importorskip("imagecodecs")
CASES = Path(os.environ.get("VLAE_CODEC_CASES", "nowhere"))
cases = pytest.mark.skipif(not CASES.is_dir(), reason="VLAE_CODEC_CASES is not set")


def samples(height, width, channels, dtype, seed=1, top=None):
    """With runs of equal samples."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, top or np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)
    found[:, width // 3 : width // 2] = found[:, width // 3 : width // 3 + 1]
    return found if channels > 1 else found[..., 0]


def load(data, limits=DEFAULT):
    (picture,) = image._reader(data)(data, limits)
    return check_picture(picture)


# ---------------------------------------------------------------------------------------------------- SGI


def packed(row):
    """A run-length coded row, its runs cut at every change from equal to unequal samples."""
    out, at = [], 0
    while at < len(row):
        end = at + 1
        while end < len(row) and end - at < 127 and row[end] == row[at]:
            end += 1
        if end - at > 2:
            out += [end - at, row[at]]
        else:
            end = min(len(row), at + 5)
            out += [0x80 | end - at, *row[at:end]]
        at = end
    return np.array([*out, 0], row.dtype.newbyteorder(">")).tobytes()


def sgi(pixels, rle, name=b"no name"):
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    planes = np.moveaxis(pixels.reshape(height, width, channels), -1, 0)[:, ::-1]
    numbers = (1 if height == channels == 1 else 2 if channels == 1 else 3, width, height, channels)
    head = b"\x01\xda" + bytes([rle, pixels.itemsize]) + b"".join(n.to_bytes(2, "big") for n in numbers)
    head = (head + bytes(12) + name.ljust(80, b"\0")).ljust(512, b"\0")
    if not rle:
        return head + planes.astype(pixels.dtype.newbyteorder(">")).tobytes()
    rows = [packed(row) for row in planes.reshape(-1, width)]
    begins = 512 + 8 * len(rows) + np.cumsum([0, *map(len, rows)])[:-1]
    return head + begins.astype(">u4").tobytes() + np.array([*map(len, rows)], ">u4").tobytes() + b"".join(rows)


@pytest.mark.parametrize("rle", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_sgi(monkeypatch, rle, dtype, channels):
    monkeypatch.setattr(small, "_BAND", 500)
    for height, width in [(1, 1), (1, 300), (37, 61)]:
        pixels = samples(height, width, channels, dtype)
        data = sgi(pixels, rle)
        picture = load(data)
        assert picture.pixels.dtype == dtype
        assert np.array_equal(picture.pixels, pixels)
        assert picture.mode == ["", "L", "LA", "RGB", "RGBA", "bands"][channels]
        assert picture.metadata == {}
        if dtype == np.uint8 and channels in (1, 3, 4) and height > 1:
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert load(sgi(pixels, rle, b"a name")).metadata == {"description": b"a name"}


def test_sgi_invalid():
    pixels = samples(9, 21, 3, np.uint16)
    for rle in (0, 1):
        data = sgi(pixels, rle)
        for length in (12, 511, 512, 600, len(data) - 3):
            with pytest.raises(UnsupportedImage, match="damaged"):
                load(data[:length])
        with pytest.raises(UnsupportedImage, match="damaged"):
            load(data[:6] + b"\0\0" + data[8:])
        with pytest.raises(UnsupportedImage, match="colour map"):
            load(data[:107] + b"\1" + data[108:])
        with pytest.raises(ImageTooLarge):
            load(data, Limits(pixels=100))
    rng = np.random.default_rng(0)
    for _ in range(300):  # whatever is changed, it is read or refused
        changed = bytearray(data)
        changed[rng.integers(512, len(data))] = rng.integers(256)
        try:
            assert load(bytes(changed)).pixels.shape == pixels.shape
        except UnsupportedImage as error:
            assert "damaged" in str(error)  # noqa: PT017


@cases
def test_sgi_case():
    path = CASES / "sgi16rgb.sgi"
    picture = image.load(path)
    assert picture.pixels.dtype == np.uint16
    planes = np.frombuffer(path.read_bytes()[512:], ">u2").reshape(3, 48, 64)
    assert np.array_equal(np.moveaxis(picture.pixels[::-1], -1, 0), planes)


# ---------------------------------------------------------------------------------------------------- BMP


@pytest.mark.parametrize("down", [False, True])
def test_bmp_alpha(down):
    pixels = samples(5, 7, 4, np.uint8)
    head = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    head += (7).to_bytes(4, "little") + (-5 if down else 5).to_bytes(4, "little", signed=True)
    head += b"\1\0\x20\0" + bytes(8) + (2835).to_bytes(4, "little") * 2 + bytes(8)
    rows = pixels[..., [2, 1, 0, 3]][:: 1 if down else -1]
    picture = load(head + rows.tobytes())
    assert picture.mode == "RGBA"
    assert np.array_equal(picture.pixels, pixels)
    assert picture.metadata == {"resolution": b"2835/1 2835/1 metre"}
    opaque = rows.copy()
    opaque[..., 3] = 0
    picture = load(head + opaque.tobytes())
    assert picture.mode == "RGB"
    assert np.array_equal(picture.pixels, pixels[..., :3])
    with pytest.raises(UnsupportedImage, match="too early"):
        load(head + rows.tobytes()[:-1])
    with pytest.raises(ImageTooLarge):
        load(head + rows.tobytes(), Limits(pixels=34))


def test_bmp_16(tmp_path):
    """5 bits a sample become 8 so that they can be told, and a note says so."""
    values = np.arange(32, dtype="<u2").reshape(4, 8)
    head = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + (8).to_bytes(4, "little")
    head += (4).to_bytes(4, "little") + b"\1\0\x10\0" + bytes(24)
    picture = load(head + (values << 10 | values)[::-1].tobytes())
    assert len(np.unique(picture.pixels[..., 0])) == 32
    assert picture.notes == ("that samples had 5 or 6 bits, which Pillow made 8",)


@cases
def test_bmp_case():
    path = CASES / "bmp32alpha.bmp"
    stored = np.frombuffer(path.read_bytes()[54:], np.uint8).reshape(48, 64, 4)
    assert np.array_equal(image.load(path).pixels, stored[::-1, :, [2, 1, 0, 3]])


# ---------------------------------------------------------------------------------------------------- imagecodecs


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [5, 8, 10, 12, 16])
@pytest.mark.parametrize("kind", ["jp2", "j2k"])
def test_jpeg_2000(kind, bits, channels):
    dtype = np.uint8 if bits <= 8 else np.uint16
    pixels = samples(20, 31, channels, dtype, top=1 << bits)
    data = codecs.jpeg2k_encode(pixels, level=0, bitspersample=bits, codecformat=kind)
    picture = load(data)
    assert picture.levels == 1 << bits
    assert np.array_equal(picture.pixels, pixels)
    assert picture.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]


def test_jpeg_2000_signed():
    pixels = samples(20, 31, 1, np.uint16, top=4096).astype(np.int16) - 2048
    picture = load(codecs.jpeg2k_encode(pixels, level=0, bitspersample=12, codecformat="j2k"))
    assert picture.pixels.dtype == np.int16
    assert np.array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif(bits):
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = samples(20, 32, 3, dtype, top=1 << bits)
    data = codecs.avif_encode(pixels, level=100, bitspersample=bits, pixelformat="444", codec="aom")
    picture = load(data)
    assert picture.levels == 1 << bits
    assert np.array_equal(picture.pixels, codecs.avif_decode(data))


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (16, np.uint16), (0, np.float32)])
@pytest.mark.parametrize("shape", [(1, 1), (20, 33), (24, 16), (300, 270)])
def test_jpeg_xl(shape, bits, dtype):
    pixels = samples(shape[0], shape[1], 3, np.uint16, top=1 << (bits or 10)).astype(dtype)
    data = codecs.jpegxl_encode(pixels, lossless=True, **({"bitspersample": bits} if bits else {}))
    picture = load(data)
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, pixels)
    assert picture.levels == (1 << bits if bits else 0)
    with pytest.raises(ImageTooLarge):
        load(data, Limits(pixels=shape[0] * shape[1] - 1))


def test_jpeg_ls():
    """Its reader never ends on some damaged files."""
    with pytest.raises(UnsupportedImage, match="JPEG-LS of 8 bits"):
        load(codecs.jpegls_encode(samples(20, 31, 1, np.uint8)))


def test_radiance():
    pixels = np.array([[[0.5, 1, 2], [4, 8, 16]], [[0, 0, 0], [1024, 1, 1024]]], np.float32)
    data = codecs.rgbe_encode(pixels)
    picture = load(data)
    assert picture.pixels.dtype == np.float32
    assert np.array_equal(picture.pixels, codecs.rgbe_decode(data))
    assert picture.metadata["comment"].startswith(b"#?RADIANCE")
    with pytest.raises(UnsupportedImage, match="order of pixels"):
        load(data.replace(b"-Y", b"+Y"))


def test_size(tmp_path):
    pixels = samples(20, 33, 3, np.uint8)
    made = {
        "jxl": codecs.jpegxl_encode(pixels, lossless=True),
        "jls": codecs.jpegls_encode(pixels),
        "hdr": codecs.rgbe_encode(pixels.astype(np.float32)),
        "jp2": codecs.jpeg2k_encode(pixels.astype(np.uint16) << 4, level=0, bitspersample=12, codecformat="jp2"),
        "avif": codecs.avif_encode(pixels.astype(np.uint16) << 2, level=100, bitspersample=10, pixelformat="444"),
        "sgi": sgi(pixels, 0),
    }
    for suffix, data in made.items():
        path = tmp_path / f"picture.{suffix}"
        path.write_bytes(data)
        assert image.size(path) == (33, 20), suffix


def test_without_imagecodecs(monkeypatch):
    data = codecs.jpeg2k_encode(samples(20, 31, 1, np.uint16), level=0, codecformat="j2k")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UnsupportedImage, match=r"JPEG 2000 of 16 bits.*pip install 'vlae-codec\[formats\]'") as caught:
        load(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["jp2", "j2k", "avif", "jxl", "hdr"])
def test_wide_invalid(kind):
    """Whatever is changed or cut, it is read or refused with one line."""
    pixels = samples(20, 33, 3, np.uint8)
    deep = pixels.astype(np.uint16) << 2
    data = {
        "jp2": lambda: codecs.jpeg2k_encode(deep, level=0, bitspersample=10, codecformat="jp2"),
        "j2k": lambda: codecs.jpeg2k_encode(deep, level=0, bitspersample=10, codecformat="j2k"),
        "avif": lambda: codecs.avif_encode(deep, level=100, bitspersample=10, pixelformat="444"),
        "jxl": lambda: codecs.jpegxl_encode(pixels, lossless=True),
        "hdr": lambda: codecs.rgbe_encode(pixels.astype(np.float32)),
    }[kind]()
    rng = np.random.default_rng(0)
    for turn in range(120):
        changed = bytearray(data)
        if turn % 2:
            changed = changed[: rng.integers(4, len(data))]
        else:
            changed[rng.integers(4, min(len(data), 300))] = rng.integers(256)
        try:
            load(bytes(changed), Limits(pixels=10**6))
        except (UnsupportedImage, ImageTooLarge) as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_boxes():
    """Lengths that lie neither loop nor reach behind the end."""
    assert list(wide_headers.boxes(b"\0\0\0\1abcd" + bytes(8))) == []
    assert list(wide_headers.boxes(b"\0\0\0\4abcd")) == []
    assert list(wide_headers.boxes(b"\xff\0\0\0abcdef")) == [(b"abcd", 8, 10)]
    assert list(wide_headers.boxes(b"\0\0\0\0abcdef")) == [(b"abcd", 8, 10)]


@cases
@pytest.mark.parametrize(
    ("name", "bits", "codec"),
    [("avif10.avif", 10, "avif"), ("jp2_12rgb.j2k", 12, "jpeg2k"), ("jp2_9grey.j2k", 9, "jpeg2k")],
)
def test_wide_cases(name, bits, codec):
    picture = image.load(CASES / name)
    assert picture.bits == bits
    assert np.array_equal(picture.pixels, getattr(codecs, f"{codec}_decode")((CASES / name).read_bytes()))


# ---------------------------------------------------------------------------------------------------- PSD


def psd(mode, channels, pixels):
    height, width = pixels.shape[1:]
    numbers = channels.to_bytes(2, "big") + height.to_bytes(4, "big") + width.to_bytes(4, "big")
    return (
        b"8BPS\0\1" + bytes(6) + numbers + b"\0\x08" + mode.to_bytes(2, "big") + bytes(12) + b"\0\0" + pixels.tobytes()
    )


@pytest.mark.parametrize(("channels", "ok"), [(3, True), (5, False)])
def test_psd(channels, ok):
    pixels = np.moveaxis(samples(5, 7, channels, np.uint8), -1, 0)
    data = psd(3, channels, pixels)
    if ok:
        assert np.array_equal(load(data).pixels, np.moveaxis(pixels, 0, -1))
        return
    with pytest.raises(UnsupportedImage, match="a PSD of mode 3 with 5 channels"):
        load(data)
