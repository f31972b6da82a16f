"""The plugin, tested as Pillow tests its own: opening, closing, saving, frames, metadata, damaged files."""

from __future__ import annotations

import gc
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

import vlae_codec
import vlae_codec.pillow  # registers
from vlae_codec import Picture
from vlae_codec.format.chunks import pack, scan
from vlae_codec.format.container import MAGIC, START, VERSION

RNG = np.random.default_rng(17)
SMOOTH = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8)
RGB = np.stack([SMOOTH, 2 * SMOOTH, 255 - SMOOTH], axis=-1)
DATA = Path(__file__).parent.parent / "data"


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "VLAE", **({"effort": 1} | options))
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def file_of(picture: Picture | np.ndarray | list[Picture]) -> bytes:
    return vlae_codec.compress(picture, effort=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pillow") / "picture.vlae"
    Image.fromarray(RGB).save(path, effort=1)
    return path


# Opening and closing


def test_sanity(path: Path) -> None:
    with Image.open(path) as image:
        assert image._im is None  # type: ignore[attr-defined]
        assert (image.format, image.mode, image.size) == ("VLAE", "RGB", (32, 24))
        assert image.get_format_mimetype() == "image/vlae"
        assert image.format_description == "VLAE lossless image"
        image.load()
        assert np.array_equal(np.asarray(image), RGB)
    assert Image.registered_extensions()[".vlae"] == "VLAE"
    assert (vlae_codec.decompress(path.read_bytes()) == RGB).all()


class Watched(io.BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.taken += len(found)
        return found


def test_the_header_is_lazy() -> None:
    data = file_of(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    file = Watched(data)
    with Image.open(file) as image:
        assert image.size == (200, 200)
        assert file.taken < 500 < len(data)


def test_no_warning_with_context_manager(path: Path) -> None:
    with warnings.catch_warnings(), Image.open(path) as image:
        warnings.simplefilter("error")
        image.load()
        del image
        gc.collect()


def test_unclosed_file(path: Path) -> None:
    def open_and_forget() -> None:
        Image.open(path)
        gc.collect()

    with pytest.warns(ResourceWarning):
        open_and_forget()


def test_loading_closes_the_file(path: Path) -> None:
    image = Image.open(path)
    file = image.fp  # type: ignore[attr-defined]
    image.load()
    assert file is not None
    assert file.closed
    image.close()


def test_closed_file(path: Path) -> None:
    image = Image.open(path)
    image.close()
    with pytest.raises(ValueError, match="closed"):
        image.load()


def test_file_object_stays_open(path: Path) -> None:
    with open(path, "rb") as file:
        with Image.open(file) as image:
            image.load()
        assert not file.closed
        file.seek(0)
        assert file.read(5) == MAGIC[:5]


def test_copy_and_pickle(path: Path) -> None:
    with Image.open(path) as image:
        assert image.copy().tobytes() == RGB.tobytes()
        again = pickle.loads(pickle.dumps(image))
        assert again.tobytes() == RGB.tobytes()
        assert again.crop((1, 2, 5, 6)).tobytes() == RGB[2:6, 1:5].tobytes()


def test_verify(path: Path) -> None:
    with Image.open(path) as image:
        image.verify()
    damaged = bytearray(path.read_bytes())
    damaged[-8] ^= 1
    with opened(bytes(damaged)) as image, pytest.raises(OSError, match="damaged"):
        image.verify()


# Modes


MODES = [
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
]


@pytest.mark.parametrize("mode", MODES)
def test_modes_come_back(mode: str) -> None:
    size = len(Image.new(mode, (8, 1)).tobytes()) * 4  # of 32 pixels
    samples = RNG.integers(0, 256, size * 10, dtype=np.uint8).tobytes()
    if mode == "F":
        samples = RNG.random(320, np.float32).tobytes()
    image = Image.frombytes(mode, (32, 10), samples)
    if mode in ("P", "PA"):
        image.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    with opened(saved(image)) as again:
        assert again.mode == mode
        assert again.tobytes() == image.tobytes()
        assert again.getpalette() == image.getpalette()
        assert "lost" not in again.info


@pytest.mark.parametrize(
    ("kind", "mode", "shown"),
    [("int8", "I", "int32"), ("int16", "I", "int32"), ("float16", "F", "float32"), ("float64", "F", "float32")],
)
def test_types(kind: str, mode: str, shown: str) -> None:
    pixels = RNG.integers(-100, 100, (5, 6)).astype(kind)
    with opened(file_of(pixels)) as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image), pixels.astype(shown))
        assert ("lost" in image.info) == (kind == "float64")


def test_wide_samples() -> None:
    grey = (SMOOTH.astype(np.uint16) * 37) % 4096
    with opened(file_of(Picture(grey, levels=4096))) as image:
        assert (image.mode, image.info["levels"]) == ("I;16", 4096)
        assert np.array_equal(np.asarray(image), grey)
    colours = RGB.astype(np.uint16) * 256 + 200
    with opened(file_of(colours)) as image:
        assert (image.mode, image.info["lost"]) == ("RGB", "all but 8 of 16 bits a sample")
        assert np.array_equal(np.asarray(image), RGB)


def test_narrow_samples_are_shown_as_a_png_shows_them(tmp_path: Path) -> None:
    picture = Picture(SMOOTH % 16, levels=16)
    data = file_of(picture)
    assert len(data) < 1000
    with opened(data) as image:
        assert (image.mode, image.info["levels"]) == ("L", 16)
        assert np.array_equal(np.asarray(image), SMOOTH % 16 * 17)


def test_transparent_colours() -> None:
    image = Image.fromarray(SMOOTH % 4, "L").convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.info["transparency"] = 2
    with opened(saved(image)) as again:
        assert again.info["transparency"][:4] == b"\xff\xff\x00\xff"
        assert again.convert("RGBA").getpixel((2, 0)) == (0, 255, 0, 0)
    with opened(saved(Image.fromarray(RGB), transparency=(1, 2, 3))) as again:
        assert again.info["transparency"] == (1, 2, 3)


def test_modes_that_there_are_not() -> None:
    with pytest.raises(OSError, match="no mode for 7 bands"):
        opened(file_of(RNG.integers(0, 9, (4, 5, 7), dtype=np.uint8)))
    with pytest.raises(OSError, match="no mode for RGB of float32"):
        opened(file_of(RNG.random((4, 5, 3), np.float32)))


# Regions


def test_crop_decodes_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.repeat(np.repeat(RNG.integers(0, 256, (12, 20), dtype=np.uint8), 100, 0), 100, 1)  # 3 x 4 tiles
    asked = []
    decode = vlae_codec.api.decompress_picture

    def watched(data: bytes, **options: Any) -> Picture:
        asked.append(options["region"])
        return decode(data, **options)

    monkeypatch.setattr(vlae_codec.api, "decompress_picture", watched)
    with opened(file_of(pixels)) as image:
        assert np.array_equal(np.asarray(image.crop((10, 20, 60, 50))), pixels[20:50, 10:60])
        assert asked == [(10, 20, 50, 30)]
        assert image._im is None  # type: ignore[attr-defined]
        beyond = np.asarray(image.crop((1980, 1190, 2010, 1210)))
        assert np.array_equal(beyond[:10, :20], pixels[1190:, 1980:])
        assert not beyond[10:].any()
        assert not beyond[:, 20:].any()
        assert len(asked) == 2
        for _ in range(10):  # in the end it is less work to load it all
            assert np.array_equal(np.asarray(image.crop((0, 0, 600, 40))), pixels[:40, :600])
        assert len(asked) < 6
        assert image._im is not None  # type: ignore[attr-defined]


def test_crop_of_palettes() -> None:
    pixels = np.repeat(np.repeat(RNG.integers(0, 3, (20, 20), dtype=np.uint8), 60, 0), 60, 1)
    palette = np.array([[9, 8, 7, 255], [1, 2, 3, 0], [4, 5, 6, 255]], np.uint8)
    with opened(file_of(Picture(pixels, {}, "P", 0, palette))) as image:
        part = image.crop((3, 4, 70, 80))
        assert image._im is None  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(part.convert("RGBA")), palette[pixels[4:80, 3:70]])


# Saving


def test_save_to_a_path_and_a_file(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    image.save(tmp_path / "a.vlae", effort=1)
    assert (tmp_path / "a.vlae").read_bytes() == saved(image)


def test_options() -> None:
    image = Image.fromarray(SMOOTH)
    with pytest.raises(ValueError, match="effort"):
        saved(image, effort=10)
    with pytest.raises(OSError, match="no model"):
        saved(image, model="0123456789abcdef")
    assert saved(image, origin="none", verify=False, threads=1, seed=3)


def test_a_failed_save_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="effort"):
        Image.fromarray(SMOOTH).save(tmp_path / "a.vlae", effort=10)
    assert not list(tmp_path.iterdir())


# Metadata


def test_exif_comes_back() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "somebody"
    for given in (exif, exif.tobytes()):
        with opened(saved(Image.fromarray(RGB), exif=given)) as image:
            assert image.info["exif"] == exif.tobytes()
            assert dict(image.getexif()) == dict(exif)
            again = saved(image, exif=image.info["exif"])
        assert vlae_codec.decompress_picture(again).metadata["exif"] == exif.tobytes()[6:]


def test_metadata_come_back() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a slope")
    text.add_text("Comment", "kept " * 300, zip=True)
    text.add_itxt("Author", "Zoë", "en", "Author")
    options = {
        "icc_profile": b"a profile",
        "xmp": b"<x:xmpmeta/>",
        "dpi": (300, 150),
        "comment": "hello",
        "gamma": 0.45455,
    }
    with opened(saved(Image.fromarray(RGB), pnginfo=text, **options)) as image:
        assert image.info["icc_profile"] == b"a profile"
        assert image.info["xmp"] == b"<x:xmpmeta/>"
        assert image.info["dpi"] == (300.0, 150.0)
        assert image.info["comment"] == b"hello"
        assert image.info["gamma"] == 0.45455
        assert image.text == {"Title": "a slope", "Comment": "kept " * 300, "Author": "Zoë"}  # type: ignore[attr-defined]
        assert image.info["Title"] == "a slope"
        again = saved(image)
    assert list(vlae_codec.decompress_picture(again).metadata) == [
        "icc"
    ]  # as with a PNG: the others are given or not kept


def test_metadata_of_a_png(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a slope")
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=text, dpi=(254, 254), icc_profile=b"a profile")
    with opened(vlae_codec.compress(tmp_path / "a.png", effort=1)) as image, Image.open(tmp_path / "a.png") as png:
        png.load()
        assert image.info.items() >= {"Title": "a slope", "icc_profile": b"a profile"}.items()
        assert image.info["dpi"] == pytest.approx(png.info["dpi"])


def test_a_text_that_swells_is_left_out() -> None:
    import zlib

    from vlae_codec.images import png_chunks

    bomb = b"Comment\0\0" + zlib.compress(bytes(1 << 22))
    data = file_of(Picture(RGB, {"png": png_chunks.pack([(b"zTXt", bomb), (b"tEXt", b"Title\0yes")])}))
    with opened(data) as image:
        assert "Comment" not in image.info
        assert image.info["Title"] == "yes"


# Frames


def frames() -> list[Image.Image]:
    return [Image.fromarray(np.roll(RGB, shift, 1)) for shift in range(4)]


def test_frames_with_times() -> None:
    first, *others = frames()
    data = saved(first, save_all=True, append_images=others, duration=[40, 50, 60, 1000 / 30], loop=3)
    with opened(data) as image:
        assert (image.n_frames, image.is_animated, image.tell()) == (4, True, 0)  # type: ignore[attr-defined]
        for number in (0, 2, 1, 3):
            image.seek(number)
            assert image.tell() == number
            assert np.array_equal(np.asarray(image), np.roll(RGB, number, 1))
            assert image.info["duration"] == pytest.approx([40, 50, 60, 1000 / 30][number], abs=1e-2)
            assert image.info["loop"] == 3
        assert saved(image, save_all=True, loop=3) == data


def test_eof() -> None:
    first, *others = frames()
    with opened(saved(first, save_all=True, append_images=others)) as image:
        count = image.n_frames  # type: ignore[attr-defined]
        with pytest.raises(EOFError):
            image.seek(count)
        with pytest.raises(EOFError):
            image.seek(-1)
        assert image.tell() < count
        image.seek(count - 1)
        assert "duration" not in image.info  # they are pages
        image.load()


def test_seek_after_close(tmp_path: Path) -> None:
    first, *others = frames()
    first.save(tmp_path / "a.vlae", save_all=True, append_images=others, effort=1)
    for load in (False, True):
        image = Image.open(tmp_path / "a.vlae")
        if load:
            image.load()
        image.close()
        with pytest.raises(ValueError, match="closed"):
            image.seek(1)


def test_one_frame_of_several_is_saved_without_save_all() -> None:
    first, *others = frames()
    with opened(saved(first, save_all=True, append_images=others)) as image:
        image.seek(2)
        with opened(saved(image)) as one:
            assert one.n_frames == 1  # type: ignore[attr-defined]
            assert np.array_equal(np.asarray(one), np.roll(RGB, 2, 1))


def test_pages_of_several_kinds() -> None:
    pages = [Picture(RGB), Picture(SMOOTH[:7]), Picture(SMOOTH > 20)]
    with opened(file_of(pages)) as image:
        found = []
        for number in range(3):
            image.seek(number)
            found.append((image.mode, image.size))
            assert np.array_equal(np.asarray(image), pages[number].pixels)
        assert found == [("RGB", (32, 24)), ("L", (32, 7)), ("1", (32, 24))]


def test_animations_of_others(tmp_path: Path) -> None:
    first, *others = frames()
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=70, lossless=True, loop=2)
    with Image.open(tmp_path / "a.webp") as webp, opened(saved(webp, save_all=True, loop=2)) as image:
        image.seek(3)
        assert (image.info["duration"], image.info["loop"]) == (70, 2)
        assert np.array_equal(np.asarray(image.convert("RGB")), np.roll(RGB, 3, 1))
        assert webp.tell() == 0


# Damage


def test_invalid_file() -> None:
    with pytest.raises(SyntaxError):
        vlae_codec.pillow.VlaeImageFile(io.BytesIO(b"something else entirely"))
    with pytest.raises(UnidentifiedImageError):
        opened(MAGIC)


def test_truncated_files() -> None:
    whole = file_of(Picture(RGB, {"icc": bytes(range(200))}))
    *_, last = scan(whole, START)
    for size in range(len(whole)):
        if size <= last.start:
            with pytest.raises(UnidentifiedImageError):
                opened(whole[:size])
        elif size % 7 == 0:
            with opened(whole[:size]) as image, pytest.raises(OSError, match="ends early"):
                image.load()


def test_damaged_files() -> None:
    whole = file_of(Picture(RGB, {"icc": bytes(range(200))}))
    for at in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[at] ^= 0x21
        with (
            pytest.raises(OSError, match=r"damaged|cannot identify|update to read|ends early|later"),
            opened(bytes(damaged)) as image,
        ):
            image.load()


def test_other_versions_say_so() -> None:
    with pytest.raises(OSError, match="format version 9"):
        opened(MAGIC + b"\x09" + bytes(50))


def hostile(*chunks: bytes) -> bytes:
    return MAGIC + bytes([VERSION]) + b"".join(chunks)


def test_hostile_files() -> None:
    huge = b"H" + b"\xff" * 8 + b"\x7f"  # 2^63 - 1 bytes
    for data in (hostile(huge), hostile(b"m" + huge[1:]), hostile(b"H\x80\x00"), hostile(b"*" * 40), hostile()):
        with pytest.raises(UnidentifiedImageError):
            opened(data)


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = file_of(SMOOTH)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(Image.DecompressionBombError):
        opened(wide)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with opened(wide) as image:
        image.load()


def test_more_metadata_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of(Picture(SMOOTH, {"icc": bytes(2000)}))
    monkeypatch.setattr(vlae_codec.pillow.file, "DEFAULT", vlae_codec.Limits(memory=1000))
    with pytest.raises(Image.DecompressionBombError):
        opened(data)


def test_a_chunk_of_a_later_version_is_skipped() -> None:
    whole = file_of(SMOOTH)
    first, *_ = scan(whole, START)
    more = whole[: first.end + 4] + pack(b"z", b"something new") + whole[first.end + 4 :]
    with opened(more) as image:
        assert image.size == (32, 24)


def test_models_that_are_not_there() -> None:
    with Image.open(DATA / "grey.vlae") as image:
        assert image.mode == "L"
        with pytest.raises(OSError, match="no model with id"):
            image.load()


def test_parser() -> None:
    parser = ImageFile.Parser()
    data = file_of(SMOOTH)
    parser.feed(data)
    with parser.close() as image:
        assert np.array_equal(np.asarray(image), SMOOTH)
