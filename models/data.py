"""Training pictures in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from vlae_codec.errors import UnsupportedImage

SUFFIXES = {".png", ".webp", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg"}


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Files named, and the pictures in the folders named, sorted. Array files (.npz) count only where named."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    return found


def load_images(
    paths: Iterable[str | Path], smallest: int, channels: int = 3, mosaic: int = 0, levels: int = 256
) -> list[np.ndarray]:
    """uint8 (H, W, channels) arrays of every picture of at least `smallest` pixels each way.

    paths: picture files, folders of them, and FILE.npz or FILE.npz:KEY with many pictures in one array (`load_array`).
    channels: 3 replicates grey pictures, 1 takes the luma of coloured ones. mosaic: pictures are mosaics of squares of
    so many pixels and are cut into these; 0: they are not. levels: 2 for binary pictures, 0 and 1; an 8-bit one of
    nothing but 0 and 255 is taken as binary, too.

    Raises UnsupportedImage for what is no picture or not binary, and when none is large enough.
    """
    images: list[np.ndarray] = []
    for path in find_images(paths):
        for pixels in load_array(path) if ".npz" in path.suffix.lower() else [load_picture(path, levels)]:
            images += pieces(as_channels(pixels, channels), mosaic)
    images = [pixels for pixels in images if min(pixels.shape[:2]) >= smallest]
    if not images:
        raise UnsupportedImage(f"no picture of at least {smallest}x{smallest} pixels among the inputs; give more paths")
    return [as_binary(pixels) for pixels in images] if levels == 2 else images


def load_picture(path: Path, levels: int = 256) -> np.ndarray:
    """(H, W) uint8 of a grey picture, else (H, W, 3). Raises UnsupportedImage."""
    try:
        with Image.open(path) as picture:
            if picture.mode in ("1", "L"):
                return np.array(picture if levels == 2 else picture.convert("L"), np.uint8)  # writable, for torch
            return np.array(picture.convert("RGB"))
    except OSError as error:
        raise UnsupportedImage(f"cannot read {path} as a picture: {error}; remove it from the inputs") from error


def load_array(path: Path) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3) uint8 of FILE.npz:KEY; without a key the array is `x`, or else `train`.

    An (N, 98) array is binary pictures of 28x28 pixels, 8 pixels in a byte, which come back as 0 and 1.

    Raises UnsupportedImage.
    """
    name, _, key = str(path).partition(":")
    try:
        with open(name, "rb") as file, np.load(file) as arrays:
            found = key or ("x" if "x" in arrays.files else "train")
            if found not in arrays.files:
                raise UnsupportedImage(f"there is no array {found!r} in {name}; its arrays: {', '.join(arrays.files)}")
            pixels = np.asarray(arrays[found])
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:  # TypeError: a lone array
        raise UnsupportedImage(f"cannot read {name} as arrays: {error}; remove it from the inputs") from error
    if pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == 28 * 28 // 8:
        return np.unpackbits(pixels, axis=1).reshape(-1, 28, 28)
    if pixels.dtype != np.uint8 or pixels.shape[3:] not in ((), (1,), (3,)) or pixels.ndim < 3:
        raise UnsupportedImage(f"{path} holds {pixels.dtype} {pixels.shape}; give uint8 (N, H, W) or (N, H, W, 3)")
    return pixels


def as_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W), (H, W, 1) or (H, W, 3) uint8 -> (H, W, channels): grey replicated, or the luma of colours."""
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return pixels if channels == 3 else luma(pixels)[..., None].copy()
    pixels = pixels.reshape(*pixels.shape[:2], 1)
    return pixels if channels == 1 else np.repeat(pixels, channels, axis=-1)


def as_binary(pixels: np.ndarray) -> np.ndarray:
    """0 and 1, where 255 is a 1. Raises UnsupportedImage for other values."""
    high = pixels > 0
    if np.any(pixels[high] != pixels.max()) or pixels.max() not in (0, 1, 255):
        raise UnsupportedImage("an input has other values than 0 and 1 (or 255); make it binary or remove it")
    return high.astype(np.uint8)


def pieces(pixels: np.ndarray, size: int) -> list[np.ndarray]:
    """Views of the squares of a mosaic, in raster order, without rests at right and bottom; size 0: the whole."""
    if not size:
        return [pixels]
    h, w = (n - n % size for n in pixels.shape[:2])
    return [pixels[r : r + size, c : c + size] for r in range(0, h, size) for c in range(0, w, size)]


def luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8 by ITU-R 601 weights."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))
