"""Pictures in and out."""

import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from vlae_codec import errors
from vlae_codec.limits import Limits
from vlae_codec.pictures import image

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)
BILEVEL = RNG.integers(0, 2, (5, 19)).astype(bool)


@pytest.fixture(scope="module")
def metadata():
    exif = Image.Exif()
    exif[0x010E] = "a description"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"icc": profile, "exif": exif.tobytes().removeprefix(b"Exif\0\0")}


@pytest.mark.parametrize("pixels", [GREY, RGB, GREY[:1, :1], RGB[:, :1], BILEVEL, BILEVEL[:1, :1]])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"])
def test_sanity(tmp_path, pixels, suffix):
    path = tmp_path / f"picture{suffix}"
    if image._ONE_MODE.get(suffix, image.Picture(pixels).mode) != image.Picture(pixels).mode:
        with pytest.raises(errors.OutputError, match=r"use \.png"):
            image.save(path, pixels)
        assert list(tmp_path.iterdir()) == []
        return
    image.save(path, pixels)
    loaded = image.load(path)
    assert loaded.pixels.dtype == pixels.dtype
    assert np.array_equal(loaded.pixels, pixels)
    assert loaded.metadata == {}
    if pixels.dtype == bool:
        with Image.open(path) as opened:
            assert opened.mode == "1"


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_metadata(tmp_path, metadata, suffix):
    path = tmp_path / f"picture{suffix}"
    image.save(path, RGB, metadata)
    assert image.load(path).metadata == metadata


def test_metadata_of_jpeg(tmp_path, metadata):
    path = tmp_path / "picture.jpg"
    exif = b"Exif\0\0" + metadata["exif"]
    Image.fromarray(RGB).save(path, icc_profile=metadata["icc"], exif=exif)
    loaded = image.load(path)
    assert loaded.metadata == metadata
    image.save(tmp_path / "picture.png", loaded.pixels, loaded.metadata)
    with Image.open(tmp_path / "picture.png") as reopened:
        assert reopened.getexif()[0x010E] == "a description"


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_unsupported_modes(tmp_path, mode):
    path = tmp_path / "picture.tif"
    base = Image.new(mode, (4, 4)) if mode == "I;16" else Image.new("L", (4, 4)).convert(mode)
    base.save(path)
    with pytest.raises(errors.UnsupportedImage, match="convert it to 8-bit"):
        image.load(path)


def test_unsupported_16_bit_rgb(tmp_path):
    """Pillow opens these as 8-bit RGB."""
    ppm = tmp_path / "wide.ppm"
    ppm.write_bytes(b"P6 2 1 65535\n" + bytes(12))
    plain = tmp_path / "plain.ppm"
    plain.write_bytes(b"P3 1 1 1023\n1 2 3\n")
    png = tmp_path / "wide.png"
    png.write_bytes(_png_16_bit())
    for path in (ppm, plain, png):
        with pytest.raises(errors.UnsupportedImage, match="8-bit"):
            image.load(path)


def _png_16_bit() -> bytes:
    def chunk(kind: bytes, payload: bytes) -> bytes:
        return len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big")

    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    data = zlib.compress(b"\0" + bytes(range(12)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_unsupported_transparent_colour(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(RGB).save(path, transparency=(1, 2, 3))
    with pytest.raises(errors.UnsupportedImage, match="transparent"):
        image.load(path)


def test_unsupported_animation(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    with pytest.raises(errors.UnsupportedImage, match="several frames"):
        image.load(path)


def test_invalid(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("no picture")
    with pytest.raises(errors.UnsupportedImage, match="not an image"):
        image.load(path)
    for missing in (tmp_path / "missing.png", tmp_path, path / "below", "nul\0l"):
        with pytest.raises(errors.InputError, match="cannot read"):
            image.load(missing)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "PPM"])
def test_truncated(tmp_path, kind):
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(RGB, 9, axis=0)).save(buffer, kind)
    data = buffer.getvalue()
    path = tmp_path / "cut"
    for length in [0, 1, 8, 20, len(data) // 2]:
        path.write_bytes(data[:length])
        with pytest.raises(errors.UnsupportedImage, match="image"):
            image.load(path)


def test_large(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    image.save(path, RGB)
    monkeypatch.setattr(image, "PART", 3)
    for limit in (20, 10):  # Pillow's own limit, from which on it warns, and twice that, from which on it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(image.load(path).pixels, RGB)
            assert image.size(path) == (7, 5)
        assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(errors.ImageTooLarge, match=r"35 pixels .*34.*split"):
        image.load(path, Limits(pixels=34))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_settings_of_pillow(tmp_path):
    """Threads that load side by side leave them as they were."""
    path = tmp_path / "picture.png"
    image.save(path, np.zeros((300, 300, 3), np.uint8))
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    with ThreadPoolExecutor(4) as pool:
        assert {picture.pixels.shape for picture in pool.map(image.load, [path] * 40)} == {(300, 300, 3)}
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_save_invalid(tmp_path):
    for name in ("picture.jpg", "picture", "picture.vlae"):
        with pytest.raises(errors.OutputError, match="lossless"):
            image.save(tmp_path / name, RGB)
    with pytest.raises(errors.OutputError, match=r"use \.png"):
        image.save(tmp_path / "wide.webp", np.zeros((1, 20000, 3), np.uint8))
    path = tmp_path / "picture.png"
    path.write_text("precious")
    with pytest.raises(errors.OutputExists, match="--force"):
        image.save(path, RGB)
    assert path.read_text() == "precious"
    image.save(path, RGB, force=True)
    assert np.array_equal(image.load(path).pixels, RGB)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "pixels", [RGB.astype(np.int32), RGB / 255, RGB[..., :2], RGB[None], RGB[:0], GREY[:, :0], np.uint8(3), RGB > 9]
)
def test_check_pixels_invalid(pixels):
    with pytest.raises(errors.UnsupportedImage):
        image.check_pixels(pixels)


def test_check_pixels():
    turned = image.check_pixels(RGB.transpose(1, 0, 2))
    assert turned.flags.c_contiguous
    assert np.array_equal(turned, RGB.transpose(1, 0, 2))


def test_check_pixels_bilevel():
    """Of a view of other data a True may be any byte."""
    odd = np.array([[0, 1, 2, 255]], np.uint8).view(bool)
    assert image.check_pixels(odd).view(np.uint8).tolist() == [[0, 1, 1, 1]]
    assert image.Picture(odd).mode == "1"
