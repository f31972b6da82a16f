"""Pictures that Pillow reads with the samples that the file has.

Pillow's mode       mode, samples
1, L, LA, La, PA    the same
P                   P; a palette of (n, 4) with transparency
RGB, RGBA, RGBa, RGBX, CMYK, YCbCr, LAB, HSV   the same
I;16, I;16B, ...    L, uint16
I                   L, int32
F                   L, float32

Formats whose samples Pillow changes have readers of their own; what else it would change is refused.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlae_codec.errors import OutputError, UnsupportedImage, VlaeError
from vlae_codec.format.container import tile_grid
from vlae_codec.format.header import CHANNELS
from vlae_codec.images.metadata import from_pillow, not_kept
from vlae_codec.images.picture import Picture
from vlae_codec.limits import Limits

PART = 2048  # edge of the parts in which pixels are taken over from Pillow
# Drawings, videos, stubs without a reader, and Photo CD, of which Pillow reads the small picture only, are not read.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PCD", "WMF"}
_FIVE_BITS = ("BMP", "DIB", "TGA")  # whose 5 and 6 bits Pillow makes 8 so that they can be told
_ONE_SIZE = ("ICO", "ICNS")  # hold a picture in several sizes
_PSD_CHANNELS = {"1": 1, "L": 1, "P": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "LAB": 3}


def read(data: bytes, limits: Limits) -> list[Picture]:
    """The picture in a file. Raises UnsupportedImage and ImageTooLarge."""
    with opened(io.BytesIO(data)) as image:
        limits.check(image.width * image.height, 1, 8 * image.width * image.height)
        if problem := _problem(image, data):
            raise UnsupportedImage(f"not supported ({problem}): save it in another format, such as PNG or TIFF")
        return [take(image)]


def size(file: BinaryIO) -> tuple[int, int]:
    """The (width, height) of the picture in a file. Raises UnsupportedImage."""
    with opened(file) as image:
        return image.size


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """Pillow's image of a file, not yet decoded; Pillow's errors in here and inside become ours."""
    try:
        with GIVE_WAY:
            Image.init()
            with Image.open(file, formats=[name for name in Image.ID if name not in _NOT_READ]) as image:
                yield image
    except VlaeError:
        raise
    except UnidentifiedImageError as error:
        raise UnsupportedImage("not an image: give a picture file, such as PNG") from error
    except Exception as error:  # Pillow's readers raise many types on damaged files
        raise UnsupportedImage(f"damaged image ({error}): get a fresh copy of it") from error


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


GIVE_WAY = _GiveWay()


def _problem(image: Image.Image, data: bytes) -> str:
    """What of an image that is opened Pillow would not give, or nothing."""
    if (frames := getattr(image, "n_frames", 1)) > 1:
        return "layers" if image.format == "PSD" else f"{frames} frames or pages"
    if image.format in _ONE_SIZE and len(image.info.get("sizes", ())) > 1:
        return f"several sizes in one {image.format}"
    if _deep(image) and image.format not in _FIVE_BITS:  # Pillow would cut them down without a word
        return "more than 8 bits a sample"
    if image.format == "PSD":
        there, most = int.from_bytes(data[12:14], "big"), _PSD_CHANNELS.get(image.mode, 0)
        if there > most:
            return f"{there - most} channels beyond {image.mode}, such as spot colours"
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return "a transparent colour"
    if image.mode not in CHANNELS and image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return f"Pillow's mode {image.mode}"
    return ""


def _deep(image: Image.Image) -> bool:
    """Whether what Pillow gives as 8 bits is not 8 bits in the file, by its raw mode."""
    raw = [str(tile[3]) for tile in getattr(image, "tile", ())]
    return image.mode in ("L", "RGB", "RGBA") and any(re.search(r";1[0-6]", mode) for mode in raw)


def take(image: Image.Image) -> Picture:
    """The picture of one of Pillow's images."""
    deep = _deep(image)
    image.load()
    metadata, notes = from_pillow(image)
    if deep:
        notes.append("that samples had 5 or 6 bits, which Pillow made 8")
    mode = image.mode if image.mode in CHANNELS else "L"
    palette = palette_of(image) if mode in ("P", "PA") else None
    return Picture(pixels_of(image), metadata, mode, 0, palette, tuple(notes))


def pixels_of(image: Image.Image) -> np.ndarray:
    """The samples of an image, part by part: all at once they would be here three times."""
    channels = CHANNELS.get(image.mode) or 1
    kind = {"1": bool, "I": np.int32, "F": np.float32}.get(image.mode, np.uint8)
    dtype = np.uint16 if image.mode.startswith("I;16") else kind
    pixels = np.empty((image.height, image.width, channels)[: 2 if channels == 1 else 3], dtype)
    for y, x, h, w in tile_grid(image.width, image.height, PART):
        part = Image.new(image.mode, (w, h))
        part.paste(image, (-x, -y))
        pixels[y : y + h, x : x + w] = np.asarray(part)
    return pixels


def palette_of(image: Image.Image) -> np.ndarray:
    """(n, 3) or, with transparency, (n, 4) uint8."""
    kind = "RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB"
    palette = np.array(image.getpalette(kind), np.uint8).reshape(-1, len(kind))[:256]
    transparency = image.info.get("transparency")
    if transparency is None or kind == "RGBA":
        return palette
    alpha = np.full(len(palette), 255, np.uint8)
    if isinstance(transparency, bytes):
        count = min(len(transparency), len(alpha))
        alpha[:count] = np.frombuffer(transparency, np.uint8, count)
    else:
        alpha[transparency : transparency + 1] = 0
    return np.column_stack((palette, alpha))


def write(picture: Picture) -> tuple[bytes, list[str]]:
    """A WebP without loss, and what it could not hold. Raises OutputError."""
    metadata = picture.metadata
    check(picture)
    options: dict[str, object] = {"icc_profile": metadata["icc"]} if "icc" in metadata else {}
    options |= {"lossless": True, "exact": True, "exif": metadata.get("exif", b""), "xmp": metadata.get("xmp", b"")}
    buffer = io.BytesIO()
    try:
        Image.fromarray(picture.pixels).save(buffer, "WEBP", **options)
    except Exception as error:  # for example WebP's limit of 16383 pixels
        raise OutputError(f"cannot store the picture as webp ({error}): use .png") from error
    levels = [f"the maximum value {picture.levels - 1}"] if picture.levels not in (2, 256) else []
    return buffer.getvalue(), levels + not_kept(metadata, ("icc", "exif", "xmp"))


def check(picture: Picture) -> None:
    """Raises OutputError if a WebP cannot hold the picture."""
    if picture.mode not in ("RGB", "RGBA") or picture.pixels.dtype != np.uint8:
        form = f"a picture of mode {picture.mode} and samples of {picture.pixels.dtype}"
        raise OutputError(f".webp cannot hold {form}: use .png or .tif")
