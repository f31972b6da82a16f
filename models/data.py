"""Training pictures in memory, and random crops of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlae_codec.errors import UnsupportedImage

SUFFIXES = {".png", ".webp", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg"}


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Picture files named, and those in the folders named, sorted."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    return found


def load_images(paths: Iterable[str | Path], smallest: int) -> list[np.ndarray]:
    """uint8 (H, W, 3) arrays of every picture of at least `smallest` pixels each way; grey ones are replicated."""
    images = []
    for path in find_images(paths):
        try:
            with Image.open(path) as picture:
                pixels = np.array(picture.convert("RGB"))  # writable, as torch wants it
        except OSError as error:
            raise UnsupportedImage(f"cannot read {path} as a picture: {error}; remove it from the inputs") from error
        if min(pixels.shape[:2]) >= smallest:
            images.append(pixels)
    if not images:
        raise UnsupportedImage(f"no picture of at least {smallest}x{smallest} pixels among the inputs; give more paths")
    return images


class Crops:
    """Random square crops, flipped and transposed at random, drawn by picture area.

    `grey` is the share of crops replaced by their luma in all channels, of which only the first channel is coded.
    """

    def __init__(self, images: list[np.ndarray], size: int, grey: float, seed: int) -> None:
        self.images, self.size, self.grey = images, size, grey
        area = np.array([i.shape[0] * i.shape[1] for i in images], float)
        self.weights = area / area.sum()
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """(count, size, size, 3) uint8 and the (count, 3) bool mask of coded channels."""
        x = np.empty((count, self.size, self.size, 3), np.uint8)
        coded = np.ones((count, 3), bool)
        for i in range(count):
            image = self.images[self.rng.choice(len(self.images), p=self.weights)]
            r, c = (int(self.rng.integers(n - self.size + 1)) for n in image.shape[:2])
            crop = image[r : r + self.size, c : c + self.size]
            if self.rng.random() < 0.5:
                crop = crop[:, ::-1]
            if self.rng.random() < 0.3:
                crop = crop.transpose(1, 0, 2)
            if self.rng.random() < self.grey:
                crop = np.repeat(luma(crop)[..., None], 3, axis=-1)
                coded[i, 1:] = False
            x[i] = crop
        return torch.from_numpy(x), torch.from_numpy(coded)


def luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8 by ITU-R 601 weights."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))
