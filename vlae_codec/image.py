"""Picture files <-> arrays, and the metadata that travels along.

Coded are 8-bit grey ("L"), 8-bit RGB and 1-bit ("1") pictures in any format that Pillow opens. What would not come back
sample by sample (palettes, transparency, 16 bits, CMYK, several frames) is refused, with a line that says what to do.
Of the metadata, the ICC profile ("icc") and the EXIF block ("exif", from its TIFF header onwards) are kept.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ImageTooLarge, OutputError, UnsupportedImage
from .files import read_file, write_file

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


def load(path: str | Path) -> Picture:
    """The picture in a file. Raises InputError, UnsupportedImage or ImageTooLarge."""
    data = read_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures are welcome, and odd metadata does not matter
            with Image.open(io.BytesIO(data)) as image:
                if problem := _problem(image):
                    raise UnsupportedImage(f"{path}: {problem}")
                pixels = np.array(image)
                metadata = _metadata(image)
    except UnsupportedImage:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"{path}: more pixels than Pillow opens: raise PIL.Image.MAX_IMAGE_PIXELS") from error
    except UnidentifiedImageError as error:
        raise UnsupportedImage(f"{path}: not an image: give a picture file, such as PNG") from error
    except Exception as error:  # Pillow's readers raise many types on damaged files
        raise UnsupportedImage(f"{path}: damaged image ({error}): get a fresh copy of it") from error
    return Picture(check_pixels(pixels), metadata)


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
