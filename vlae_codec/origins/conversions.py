"""Conversions from YCbCr to RGB, each exactly as a program computes it, in integers.

All have one form: five tables of 256 and a shift (`native.origins.Formula`). A conversion is a function that fills them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from vlae_codec.native.origins import Formula

_N = np.arange(256, dtype=np.int64)


def _jfif() -> tuple[list[np.ndarray], int]:
    """JFIF 1.02, full range BT.601, in 16 bits of fraction. Red and blue are rounded before Y is added: libjpeg."""
    c, half = _N - 128, 1 << 15
    red, blue = (91881 * c + half) >> 16 << 16, (116130 * c + half) >> 16 << 16
    return [_N << 16, red, -22554 * c, -46802 * c + half, blue], 16


def _photocd() -> tuple[list[np.ndarray], int]:
    """PhotoCD: 1.3584 Y + 2.2179 (C1 - 156) and 1.8215 (C2 - 137), in 16 bits of fraction.

    Green takes 0.194 and 0.509 of what blue and red take, each rounded down first. The constants are those that make
    all unclipped pixels of the 24 Kodak pictures exact.
    """
    blue, red = 145352 * (_N - 156), 119374 * (_N - 137)
    return [89024 * _N, red, -12714 * (blue >> 16), -33358 * (red >> 16), blue], 16


def _webp() -> tuple[list[np.ndarray], int]:
    """Limited range BT.601 as libwebp's decoder has it: products of 14 bits of fraction, of which 6 are kept."""
    return [
        19077 * _N >> 8,
        (26149 * _N >> 8) - 14234,
        8708 - (6419 * _N >> 8),
        -(13320 * _N >> 8),
        (33050 * _N >> 8) - 17685,
    ], 6


CONVERSIONS: dict[str, Callable[[], tuple[list[np.ndarray], int]]] = {
    "photocd": _photocd,
    "jfif": _jfif,
    "webp": _webp,
}


@cache
def formula(conversion: str) -> Formula:
    """The tables of a conversion and the matrix that nearly inverts it."""
    tables, shift = CONVERSIONS[conversion]()
    slopes, offsets = np.array([np.polyfit(_N, table / (1 << shift), 1) for table in tables]).T
    luma, red, green_cb, green_cr, blue = slopes
    inverse = np.linalg.inv([[luma, 0, red], [luma, green_cb, green_cr], [luma, blue, 0]])
    added = 0.5 - offsets[0] - np.array([offsets[1], offsets[2] + offsets[3], offsets[4]])
    matrix = np.concatenate([inverse, (inverse @ added)[:, None] + 0.5], 1)[1:] * (1 << 16)
    return Formula(np.array(tables, np.int32), shift, np.rint(matrix).astype(np.int32))
