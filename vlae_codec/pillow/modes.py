"""Pictures <-> Pillow's modes and samples.

mode of the picture            Pillow's mode
1, LA, La, P, PA, RGB, RGBA, RGBa, RGBX, CMYK, YCbCr, LAB, HSV    the same
L, or one band, of 8 bits      L; of 9 to 16 bits I;16, with the samples as they are
signed and 32-bit integers     I
floats                         F

Samples of fewer than 8 bits become 8, as in Pillow's reader of PNG. Pillow has no colours of more than 8 bits: these
are cut down to their highest 8, and `lost` says so.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImagePalette

from vlae_codec.format.header import CHANNELS, Layout
from vlae_codec.images.picture import Picture
from vlae_codec.images.pillow import palette_of, pixels_of

_NUMBERS = {"I": "i4", "F": "f4", "I;16": "<u2"}
_WIDE = {"int8": "I", "int16": "I", "int32": "I", "uint32": "I", "float16": "F", "float32": "F", "float64": "F"}
_LOST = {"uint32": "samples of 2^31 and more, which are negative here", "float64": "bits of the floats behind the 24th"}


def mode_of(layout: Layout) -> str:
    """Pillow's mode. Raises OSError where it has none."""
    mode = "L" if layout.mode == "bands" and layout.channels == 1 else layout.mode
    if mode == "L" and layout.type in _WIDE:
        return _WIDE[layout.type]
    if mode == "bands" or layout.type != "unsigned":
        kind = f"{layout.channels} bands of {layout.type}" if mode == "bands" else f"{mode} of {layout.type}"
        raise OSError(f"Pillow has no mode for {kind}: use vlae_codec.decompress, which gives an array")
    return "I;16" if mode == "L" and layout.levels > 256 else mode


def lost(layout: Layout) -> str:
    """What Pillow cannot hold of such pictures, or nothing."""
    if layout.type != "unsigned":
        return _LOST.get(layout.type, "")
    return f"all but 8 of {layout.bits} bits a sample" if layout.levels > 256 and mode_of(layout) != "I;16" else ""


def raw_of(picture: Picture, mode: str) -> tuple[bytes, str]:
    """The samples as bytes for Pillow's mode, and its name for their arrangement."""
    pixels, levels = picture.pixels, picture.levels
    if mode == "1":
        return np.packbits(pixels, axis=1).tobytes(), "1"
    if mode in _NUMBERS:
        return pixels.astype(_NUMBERS[mode]).tobytes(), mode
    if levels != 256 and mode != "P":
        pixels = scaled(pixels, levels)
    return pixels.tobytes(), mode


def scaled(samples: np.ndarray, levels: int) -> np.ndarray:
    """uint8 of samples below `levels`: the highest 8 bits of more, the nearest of 256 levels to fewer."""
    wide = samples.astype(np.uint32)
    return (wide * 256 // levels if levels > 256 else (wide * 510 + levels - 1) // (2 * levels - 2)).astype(np.uint8)


def image_of(picture: Picture, mode: str) -> Image.Image:
    """The picture as an image, without palette and info."""
    data, raw = raw_of(picture, mode)
    return Image.frombytes(mode, (picture.pixels.shape[1], picture.pixels.shape[0]), data, "raw", raw)


def palette_from(colours: np.ndarray) -> tuple[ImagePalette.ImagePalette, bytes | None]:
    """Pillow's palette of one of (n, 3) or (n, 4), and the alpha of its colours."""
    alpha = colours[:, 3].tobytes() if colours.shape[1] == 4 else None
    return ImagePalette.raw("RGB", colours[:, :3].tobytes()), alpha


def picture_from(image: Image.Image) -> Picture:
    """The picture of an image, without metadata. Raises OSError for a mode that no picture has."""
    mode = image.mode if image.mode in CHANNELS else "L"
    if mode != image.mode and image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        raise OSError(f"cannot write mode {image.mode} as VLAE")
    image.load()
    return Picture(pixels_of(image), {}, mode, 0, palette_of(image) if mode in ("P", "PA") else None)
