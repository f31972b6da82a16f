"""Many pictures as one: in rows, each in a cell of its own, all cells of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlae_codec.format.container import Place
from vlae_codec.limits import DEFAULT, Limits

GAP = 2  # pixels between two cells


def places(sizes: Sequence[tuple[int, int]], limits: Limits = DEFAULT, pixel: int = 3) -> tuple[int, int, list[Place]]:
    """(height, width, where each picture is) of a mosaic of pictures of these (height, width), about as wide as high.

    pixel: bytes of each. Raises ImageTooLarge.
    """
    high, wide = max(h for h, _ in sizes), max(w for _, w in sizes)
    columns = min(len(sizes), max(1, round(math.sqrt(len(sizes) * high / wide))))
    gap = GAP if len(sizes) > 1 else 0
    height, width = -(-len(sizes) // columns) * (high + gap) - gap, columns * (wide + gap) - gap
    limits.check(height * width, len(sizes), height * width * pixel)
    return height, width, [(i // columns * (high + gap), i % columns * (wide + gap), *s) for i, s in enumerate(sizes)]


def mosaic(pictures: Sequence[np.ndarray], ground: int = 255, limits: Limits = DEFAULT) -> np.ndarray:
    """The pictures (h, w), or (h, w, C), in rows from the top left on a ground of this value; one alone as it is."""
    height, width, where = places([picture.shape[:2] for picture in pictures], limits)
    whole = np.full((height, width, *pictures[0].shape[2:]), ground, pictures[0].dtype)
    for picture, (y, x, h, w) in zip(pictures, where):
        whole[y : y + h, x : x + w] = picture
    return whole
