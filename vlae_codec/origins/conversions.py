"""Conversions from YCbCr to RGB, each exactly as a program computes it, in integers.

All have one form: five tables of 256 and a shift (`native.origins.Formula`); each channel is clamped to 0 .. 255.

    R = (luma[Y] + red[Cr]) >> shift
    G = (luma[Y] + green_cb[Cb] + green_cr[Cr]) >> shift
    B = (luma[Y] + blue[Cb]) >> shift

A conversion is a function that gives them, x standing for the index and c for x - 128:

    0 jfif     shift 16   luma 65536 x
                          red 65536 (91881 c + 32768 >> 16)            blue 65536 (116130 c + 32768 >> 16)
                          green_cb -22554 c                            green_cr -46802 c + 32768
    1 photocd  shift 16   luma 89024 x
                          red 119374 (x - 137)                         blue 145352 (x - 156)
                          green_cb -12714 (blue >> 16)                 green_cr -33358 (red >> 16)
    2 webp     shift 6    luma 19077 x >> 8
                          red (26149 x >> 8) - 14234                   blue (33050 x >> 8) - 17685
                          green_cb 8708 - (6419 x >> 8)                green_cr -(13320 x >> 8)

These numbers are those of the form of values; in that of source planes they are one more (`origin`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from vlae_codec.native.origins import Formula

_N = np.arange(256, dtype=np.int64)

Tables = tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Bits of fraction; luma, red of Cr, green of Cb, green of Cr, blue of Cb."""


def _jfif() -> Tables:
    """JFIF 1.02 (full range BT.601) as libjpeg has it: red and blue of chroma are rounded before Y is added."""
    c, half = _N - 128, 1 << 15
    red, blue = (91881 * c + half) >> 16 << 16, (116130 * c + half) >> 16 << 16
    return 16, _N << 16, red, -22554 * c, -46802 * c + half, blue


def _photocd() -> Tables:
    """PhotoCD: 1.3584 Y + 2.2179 (C1 - 156) and 1.8215 (C2 - 137). C1 stands for Cb here, and C2 for Cr.

    Green takes 0.194 and 0.509 of what blue and red take, each rounded down first. With 16 bits of fraction these
    constants make every pixel of the 24 Kodak pictures that is not clipped exact.
    """
    blue, red = 145352 * (_N - 156), 119374 * (_N - 137)
    return 16, 89024 * _N, red, -12714 * (blue >> 16), -33358 * (red >> 16), blue


def _webp() -> Tables:
    """Limited range BT.601 as libwebp decodes: factors of 14 bits of fraction, and products that keep 6 of them."""
    return (
        *(6, 19077 * _N >> 8, (26149 * _N >> 8) - 14234),
        *(8708 - (6419 * _N >> 8), -(13320 * _N >> 8), (33050 * _N >> 8) - 17685),
    )


class Conversion(NamedTuple):
    words: str  # what a picture was
    tables: Callable[[], Tables]
    enlargements: tuple[str, ...]  # what programs do to half-size chroma before it


CONVERSIONS = {  # their order is that of the numbers in files
    "jfif": Conversion("decoded from a JPEG", _jfif, ("triangle", "box")),
    "photocd": Conversion("from a PhotoCD", _photocd, ("photocd",)),
    "webp": Conversion("decoded from a lossy WebP", _webp, ("triangle", "box")),
}


@cache
def formula(conversion: str) -> Formula:
    """The tables of a conversion, and the matrix that nearly inverts it."""
    shift, *tables = CONVERSIONS[conversion].tables()
    slopes, offsets = np.array([np.polyfit(_N, table / (1 << shift), 1) for table in tables]).T
    luma, red, green_cb, green_cr, blue = slopes
    inverse = np.linalg.inv([[luma, 0, red], [luma, green_cb, green_cr], [luma, blue, 0]])
    added = 0.5 - offsets[0] - np.array([offsets[1], offsets[2] + offsets[3], offsets[4]])
    matrix = np.concatenate([inverse, (inverse @ added)[:, None] + 0.5], 1)[1:] * (1 << 16)
    return Formula(np.array(tables, np.int32), shift, np.ascontiguousarray(np.rint(matrix), np.int32))
