"""Many pictures as one: in rows, each in a cell of its own, all cells of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlae_codec.errors import ImageTooLarge
from vlae_codec.format.container import MAX_PIXELS, Place

GAP = 2  # pixels between two cells


def places(sizes: Sequence[tuple[int, int]]) -> tuple[int, int, list[Place]]:
    """(height, width, where each picture is) of a mosaic of pictures of these (height, width), about as wide as high.

    Raises ImageTooLarge.
    """
    high, wide = max(h for h, _ in sizes), max(w for _, w in sizes)
    columns = min(len(sizes), max(1, round(math.sqrt(len(sizes) * high / wide))))
    gap = GAP if len(sizes) > 1 else 0
    height, width = -(-len(sizes) // columns) * (high + gap) - gap, columns * (wide + gap) - gap
    if height * width > MAX_PIXELS:
        raise ImageTooLarge(f"{len(sizes)} pictures of up to {wide}x{high} pixels are too many to lay out as one")
    return height, width, [(i // columns * (high + gap), i % columns * (wide + gap), *s) for i, s in enumerate(sizes)]


def mosaic(pictures: Sequence[np.ndarray], ground: int = 255) -> np.ndarray:
    """The pictures (h, w), or (h, w, C), row by row from the top left on a ground of this value; one alone as it is."""
    height, width, where = places([picture.shape[:2] for picture in pictures])
    whole = np.full((height, width, *pictures[0].shape[2:]), ground, pictures[0].dtype)
    for picture, (y, x, h, w) in zip(pictures, where):
        whole[y : y + h, x : x + w] = picture
    return whole
