"""Picture files <-> arrays, and the metadata that travels along.

The codec takes 8-bit grey ("L"), 8-bit RGB and 1-bit ("1") pictures in any format that Pillow opens. It refuses what
would not come back sample by sample (palettes, transparency, 16 bits, CMYK, several frames), with a line that says what
to do. It keeps the ICC profile ("icc") and the EXIF block ("exif", from its TIFF header onwards).
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlae_codec.errors import OutputError, UnsupportedImage, VlaeError
from vlae_codec.files import open_file, write_file
from vlae_codec.format.container import tile_grid
from vlae_codec.limits import DEFAULT, Limits

_LAYOUTS = {
    "P": "palette",
    "PA": "palette with transparency",
    "LA": "grey with transparency",
    "La": "grey with transparency",
    "RGBA": "RGB with transparency",
    "RGBa": "RGB with transparency",
    "CMYK": "CMYK",
    "I": "more than 8 bits per sample",
    "F": "floating-point",
}
_SUFFIXES = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
}
_ONE_MODE = {".ppm": "RGB", ".pgm": "L", ".pbm": "1", ".webp": "RGB"}  # WebP would turn grey into RGB
PART = 2048  # edge of the parts in which pixels are taken over from Pillow
_EXIF_PREFIX = b"Exif\0\0"  # some formats store it, some do not


@dataclass(frozen=True)
class Picture:
    """Pixels, and metadata with the keys "icc" and "exif" where there are any.

    pixels: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool of a bilevel picture, True being white.
    """

    pixels: np.ndarray
    metadata: dict[str, bytes] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        return "1" if self.pixels.dtype == bool else "L" if self.pixels.ndim == 2 else "RGB"


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """``pixels`` as a contiguous array, if they are a picture: (H, W) or (H, W, 3) uint8 or (H, W) bool, not empty.

    Raises UnsupportedImage.
    """
    pixels = np.asarray(pixels)
    grey = pixels.ndim == 2 and pixels.dtype in (np.uint8, np.bool_)
    if not grey and not (pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8):
        raise UnsupportedImage(
            f"an array of {pixels.dtype} {pixels.shape} is no picture: give uint8 of shape (H, W) or (H, W, 3), or "
            "bool of shape (H, W)"
        )
    if pixels.size == 0:
        raise UnsupportedImage(f"a picture of shape {pixels.shape} has no pixels: give at least one")
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8) != 0  # of a view of other data a True may be any byte
    return np.ascontiguousarray(pixels)


def load(path: str | Path, limits: Limits = DEFAULT) -> Picture:
    """The picture in a file. Raises InputError, UnsupportedImage or ImageTooLarge."""
    with _open(path, limits) as image:
        try:
            limits.check(image.width * image.height, 1, 4 * image.width * image.height)
        except VlaeError as error:
            raise type(error)(f"{path}: {error}") from error
        if problem := _problem(image):
            raise UnsupportedImage(f"{path}: {problem}")
        return Picture(check_pixels(_pixels(image)), _metadata(image))


def size(path: str | Path) -> tuple[int, int]:
    """The (width, height) of the picture in a file, from its head. Raises what `load` raises."""
    with _open(path) as image:
        return image.size


@contextmanager
def _open(path: str | Path, limits: Limits = DEFAULT) -> Iterator[Image.Image]:
    """Pillow's image of a file, not yet decoded; Pillow's errors in here and inside become ours."""
    try:
        with open_file(path, limits) as file, _GIVE_WAY, Image.open(file) as image:
            yield image
    except VlaeError:
        raise
    except UnidentifiedImageError as error:
        raise UnsupportedImage(f"{path}: not an image: give a picture file, such as PNG") from error
    except Exception as error:  # Pillow's readers raise many types on damaged files
        raise UnsupportedImage(f"{path}: damaged image ({error}): get a fresh copy of it") from error


class _GiveWay:
    """Inside, Pillow neither warns nor has a limit of pixels of its own: odd metadata does not matter, and `Limits`
    has the limit. Both are settings of the whole process, so the first thread that enters changes them and the
    last that leaves puts them back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore")
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._warnings.__exit__(None, None, None)


_GIVE_WAY = _GiveWay()


def _pixels(image: Image.Image) -> np.ndarray:
    """The samples of an image, (H, W) or (H, W, 3), part by part: all at once they would be here three times."""
    image.load()
    shape = (image.height, image.width, 3)[: 3 if image.mode == "RGB" else 2]
    pixels = np.empty(shape, bool if image.mode == "1" else np.uint8)
    for y, x, h, w in tile_grid(image.width, image.height, PART):
        part = Image.new(image.mode, (w, h))
        part.paste(image, (-x, -y))
        pixels[y : y + h, x : x + w] = np.asarray(part)
    return pixels


def output_format(path: str | Path, mode: str | None = None) -> str:
    """Pillow's name of the lossless format that the file name asks for, able to hold a picture of ``mode``.

    Raises OutputError.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise OutputError(f"{path}: no lossless picture format: use one of {', '.join(sorted(_SUFFIXES))}")
    if mode is not None and _ONE_MODE.get(suffix, mode) != mode:
        raise OutputError(f"{path}: {suffix} cannot hold a picture of mode {mode}: use .png")
    return _SUFFIXES[suffix]


def save(path: str | Path, pixels: np.ndarray, metadata: dict[str, bytes] | None = None, force: bool = False) -> None:
    """Write the picture in the lossless format that the name asks for; metadata goes where the format has a place.

    PNG and WebP keep ICC and EXIF, TIFF keeps ICC, PPM, PGM and PBM keep none. Bilevel pictures get 1 bit a pixel.
    Raises OutputExists or OutputError.
    """
    pixels = check_pixels(pixels)
    kind = output_format(path, Picture(pixels).mode)
    write_file(path, encode(pixels, kind, metadata or {}), force)


def encode(pixels: np.ndarray, kind: str, metadata: dict[str, bytes]) -> bytes:
    """The bytes of a picture file of Pillow's format ``kind``. Raises OutputError."""
    options: dict[str, object] = {}
    if "icc" in metadata and kind != "PPM":
        options["icc_profile"] = metadata["icc"]
    if "exif" in metadata and kind in ("PNG", "WEBP"):
        options["exif"] = metadata["exif"] if kind == "WEBP" else _EXIF_PREFIX + metadata["exif"]
    if kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, kind, **options)
    except Exception as error:  # for example WebP's limit of 16383 pixels
        raise OutputError(f"cannot store the picture as {kind} ({error}): use .png") from error
    return buffer.getvalue()


def _problem(image: Image.Image) -> str | None:
    """Why the opened image cannot be coded, and what to do; None if it can."""
    if getattr(image, "n_frames", 1) > 1:
        return "several frames or pages: save each as a picture of its own"
    # Pillow cuts some 16-bit pictures down to 8 bits without a word: its raw mode or maximum value still tells.
    tiles = getattr(image, "tile", [])
    wide = any(
        re.search(r";16[BLN]", str(arguments)) or (codec.startswith("ppm") and arguments[-1] > 255)
        for codec, _, _, arguments in tiles
    )
    if image.mode.startswith("I") or wide:
        kind = _LAYOUTS["I"]
    elif image.mode not in ("L", "RGB", "1"):
        kind = _LAYOUTS.get(image.mode, f"mode {image.mode}")
    elif "transparency" in image.info:
        kind = "transparent colour"
    else:
        return None
    return f"not supported ({kind}): convert it to 8-bit grey, 8-bit RGB or 1 bit, without transparency"


def _metadata(image: Image.Image) -> dict[str, bytes]:
    found = {"icc": image.info.get("icc_profile"), "exif": image.info.get("exif")}
    metadata = {key: bytes(value) for key, value in found.items() if value}
    if "exif" in metadata:
        metadata["exif"] = metadata["exif"].removeprefix(_EXIF_PREFIX)
    return {key: value for key, value in metadata.items() if value}
