"""Filters of PNG's rows, by the C core."""

from __future__ import annotations

import numpy as np

from vlae_codec.native.library import check, core, pointer, span


def unfilter(filtered: np.ndarray, step: int, out: np.ndarray, first: int = 0) -> bool:
    """Whether all rows have a filter of PNG; if so, they are filled in from the row `first` of `out` on.

    filtered: (rows, 1 + stride) uint8, the filter of a row first; step: bytes a pixel, at least 1; out: (height,
    stride) uint8, whose rows before the first one are there.
    """
    rows, width = filtered.shape
    if out.shape[1] != width - 1 or not 0 <= first <= first + rows <= len(out):
        raise ValueError(f"rows {first} to {first + rows} of {width - 1} bytes are not in an array of {out.shape}")
    above = pointer(out, np.uint8) + (first - 1) * (width - 1) if first else None
    part = out[first : first + rows]
    args = (pointer(filtered, np.uint8), filtered.size, above, rows, width - 1, step, *span(part))
    return check(core.vlae_png_unfilter(*args), "rows of a PNG") == rows


def filter_rows(plain: np.ndarray, step: int) -> np.ndarray:
    """(height, 1 + stride) uint8: the rows, (height, stride) uint8, each by the filter of the least residues."""
    height, stride = plain.shape
    filtered = np.empty((height, 1 + stride), np.uint8)
    args = (pointer(plain, np.uint8), plain.size, height, stride, step, pointer(filtered, np.uint8), filtered.size)
    check(core.vlae_png_filter(*args), "rows of a PNG")
    return filtered
