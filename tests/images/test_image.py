"""Pictures in and out."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from vlae_codec import errors
from vlae_codec.images import image, pillow
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.limits import Limits

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


def same(one, other):
    assert (one.mode, one.levels) == (other.mode, other.levels)
    assert one.pixels.dtype == other.pixels.dtype
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.palette is None) == (other.palette is None)
    assert one.palette is None or np.array_equal(one.palette, other.palette)


@pytest.mark.parametrize("pixels", [GREY, RGB, GREY[:1, :1], RGB[:, :1], BILEVEL, BILEVEL[:1, :1]])
@pytest.mark.parametrize(
    "suffix", [".png", ".PNG", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm"]
)
def test_sanity(tmp_path, pixels, suffix):
    path, picture = tmp_path / f"picture{suffix}", Picture(pixels)
    only = {".ppm": "RGB", ".pgm": "L", ".pbm": "1", ".webp": "RGB", ".pfm": "floats"}
    if only.get(suffix, picture.mode) != picture.mode:
        for wanted in (picture, picture.mode):
            with pytest.raises(errors.OutputError, match=r"use \.png"):
                image.output_format(path, wanted)
        with pytest.raises(errors.OutputError, match=r"use \.png"):
            image.save(path, picture)
        assert list(tmp_path.iterdir()) == []
        return
    image.output_format(path, picture)
    assert image.save(path, [picture]) == []
    loaded = image.load(path)
    same(loaded, picture)
    assert loaded.metadata == {}
    assert image.size(path) == pixels.shape[1::-1]
    if pixels.dtype == bool and suffix != ".pam":
        with Image.open(path) as opened:
            assert opened.mode == "1"


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_metadata(tmp_path, metadata, suffix):
    path = tmp_path / f"picture{suffix}"
    assert image.save(path, Picture(RGB, metadata)) == []
    assert image.load(path).metadata == metadata
    assert image.load(path, keep="icc").metadata == {"icc": metadata["icc"]}
    assert image.load(path, keep="none").metadata == {}


def test_strict(tmp_path, metadata):
    path = tmp_path / "picture.ppm"
    with pytest.raises(errors.OutputError, match="cannot hold the ICC profile, the EXIF: use another format"):
        image.save(path, Picture(RGB, metadata), strict=True)
    assert not path.exists()
    assert image.save(path, Picture(RGB, metadata)) == ["the ICC profile", "the EXIF"]
    assert image.save(tmp_path / "picture.png", Picture(RGB, metadata), strict=True) == []


def test_metadata_of_jpeg(tmp_path, metadata):
    path = tmp_path / "picture.jpg"
    exif = b"Exif\0\0" + metadata["exif"]
    Image.fromarray(RGB).save(path, icc_profile=metadata["icc"], exif=exif)
    loaded = image.load(path)
    assert loaded.metadata == metadata
    image.save(tmp_path / "picture.png", loaded)
    with Image.open(tmp_path / "picture.png") as reopened:
        assert reopened.getexif()[0x010E] == "a description"


SAMPLES = {mode: np.uint16 for mode in Image.MODES if mode.startswith("I;16")} | {"I": np.int32, "F": np.float32}
SAVED = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", Image.MODES)
def test_modes_of_pillow(mode):
    """Each has a mode here, with the same samples."""
    count = len(Image.new(mode, (7, 5)).tobytes())
    base = Image.frombytes(mode, (7, 5), RNG.integers(0, 128, count, np.uint8).tobytes())
    if mode in ("P", "PA"):
        base.putpalette(bytes(range(30)))
    picture = check_picture(pillow.take(base))
    assert picture.mode == ("L" if mode in SAMPLES else mode)
    assert picture.pixels.dtype == (bool if mode == "1" else SAMPLES.get(mode, np.uint8))
    assert np.array_equal(picture.pixels, np.asarray(base))
    assert picture.palette is None or picture.palette.tobytes() == bytes(range(30))


@pytest.mark.parametrize("kind", ["BMP", "DDS", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "SPIDER", "TGA", "WEBP"])
def test_formats_of_pillow(tmp_path, kind):
    """What Pillow reads of a file is what is read here."""
    colours = Image.fromarray(np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8))
    path, found = tmp_path / f"picture.{kind.lower()}", set()
    for mode in SAVED:
        base = colours.convert({"I;16": "L", "PA": "P"}.get(mode, "RGB")).convert(mode)
        try:
            base.save(path, kind, sizes=[(16, 16)])
        except (OSError, ValueError):  # there is no such file
            continue
        with Image.open(path) as opened:
            opened.load()
        if (kind, mode) == ("JPEG2000", "YCbCr"):
            with pytest.raises(errors.UnsupportedImage, match="JPEG 2000 of 8 bits with YCbCr"):
                image.load(path)
            continue
        picture = image.load(path)
        assert image.size(path) == (16, 16)
        if (kind, mode) == ("BMP", "RGBA"):  # whose alpha Pillow does not read
            assert np.array_equal(picture.pixels, np.asarray(base))
            continue
        if kind == "GIF" and opened.mode == "L":  # a palette of greys
            assert picture.palette is not None
            assert np.array_equal(picture.palette[picture.pixels][..., 0], np.asarray(opened))
            continue
        assert picture.mode == ("L" if opened.mode in SAMPLES else opened.mode)
        assert np.array_equal(picture.pixels, np.asarray(opened))
        if opened.mode == "P":
            assert picture.palette is not None
            shown = np.asarray(opened.convert("RGBA"))[..., : picture.palette.shape[1]]
            assert np.array_equal(picture.palette[picture.pixels], shown)
        found.add(picture.mode)
    assert found


@pytest.mark.parametrize("transparency", [3, bytes([0, 9, 255])])
def test_transparent_index(tmp_path, transparency):
    path = tmp_path / "picture.gif"
    base = Image.fromarray(GREY % 4).convert("L")
    base.putpalette(bytes(range(12)))
    base.info["transparency"] = transparency
    palette = check_picture(pillow.take(base)).palette
    assert palette is not None
    expected = [255, 255, 255, 0] if transparency == 3 else [0, 9, 255, 255]
    assert palette[:, 3].tolist() == expected
    assert path.suffix == ".gif"


def test_16_bit(tmp_path):
    """Pillow opens these as 8-bit RGB."""
    ppm = tmp_path / "wide.ppm"
    ppm.write_bytes(b"P6 2 1 65535\n" + bytes(range(12)))
    plain = tmp_path / "plain.ppm"
    plain.write_bytes(b"P3 1 1 1023\n1 2 1003\n")
    assert image.load(ppm).pixels.tolist() == [[[1, 515, 1029], [1543, 2057, 2571]]]
    assert image.load(plain).pixels.tolist() == [[[1, 2, 1003]]]
    for pixels in (GREY.astype(np.uint16) * 257, RGB.astype(np.uint16) * 200):
        image.save(tmp_path / "wide.png", pixels, force=True)
        same(image.load(tmp_path / "wide.png"), Picture(pixels))


def test_several(tmp_path):
    path = tmp_path / "picture.pgm"
    image.save(path, [Picture(GREY), Picture(GREY[:2])])
    for loaded, pixels in zip(image.load_all(path), (GREY, GREY[:2])):
        assert np.array_equal(loaded.pixels, pixels)
    with pytest.raises(errors.UnsupportedImage, match="2 frames or pages"):
        image.load(path)
    image.save(tmp_path / "pages.tif", [Picture(RGB), Picture(GREY)])
    assert [picture.mode for picture in image.load_all(tmp_path / "pages.tif")] == ["RGB", "L"]
    for suffix in (".webp", ".png"):
        with pytest.raises(errors.OutputError, match="2 pictures"):
            image.save(tmp_path / f"picture{suffix}", [Picture(RGB)] * 2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_unsupported_animation(tmp_path, kind):
    path = tmp_path / "picture"
    Image.fromarray(RGB).save(path, kind, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    with pytest.raises(errors.UnsupportedImage, match=r"frames|animated"):
        image.load(path)


def test_unsupported_drawings(tmp_path):
    """No program is started for them."""
    path = tmp_path / "picture.eps"
    Image.fromarray(RGB).save(path, "EPS")
    with pytest.raises(errors.UnsupportedImage, match="EPS is made of shapes"):
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
        with pytest.raises(errors.UnsupportedImage, match=r"image|damaged"):
            image.load(path)


def test_large(tmp_path, monkeypatch):
    path = tmp_path / "picture.tif"
    image.save(path, RGB)
    monkeypatch.setattr(pillow, "PART", 3)
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
    path = tmp_path / "picture.webp"
    image.save(path, np.zeros((300, 300, 3), np.uint8))
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    with ThreadPoolExecutor(4) as pool:
        assert {picture.pixels.shape for picture in pool.map(image.load, [path] * 40)} == {(300, 300, 3)}
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_save_invalid(tmp_path):
    for name in ("picture.jpg", "picture", "picture.vlae"):
        with pytest.raises(errors.OutputError, match=r"lossless|made of a JPEG"):
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


@pytest.mark.parametrize("pixels", [RGB.astype(np.int64), RGB[None], RGB[:0], GREY[:, :0], RGB > 9])
def test_save_no_picture(tmp_path, pixels):
    with pytest.raises(errors.UnsupportedImage):
        image.save(tmp_path / "picture.png", Picture(np.asarray(pixels)))
    assert list(tmp_path.iterdir()) == []


def test_check_picture():
    turned = check_picture(Picture(RGB.transpose(1, 0, 2))).pixels
    assert turned.flags.c_contiguous
    assert np.array_equal(turned, RGB.transpose(1, 0, 2))
    odd = np.array([[0, 1, 2, 255]], np.uint8).view(bool)  # of a view of other data a True may be any byte
    assert check_picture(Picture(odd)).pixels.view(np.uint8).tolist() == [[0, 1, 1, 1]]
