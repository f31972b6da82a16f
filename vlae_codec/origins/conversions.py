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

Three forms, with numbers 3 to 6, 7 to 10 and 11 to 14, have four matrices each: BT.601 and BT.709 of limited range,
then both of full range.

    swscale    shift 16   luma 65536 (8 scale (x - black) >> 16)
                          red 65536 (8 r c >> 16)                      blue 65536 (8 b c >> 16)
                          green_cb 65536 (8 g c >> 16)                 green_cr 65536 (8 h c >> 16)
    swscale444 shift 13   luma scale (x - black)
                          red r c + 4096                               blue b c + 4096
                          green_cb g c                                 green_cr h c + 4096
    libyuv     shift 6    luma (257 scale x >> 16) + black
                          red r c                                      blue b c
                          green_cb g c                                 green_cr h c

                      swscale, swscale444                           libyuv
                      scale  black  r      b      g      h          scale  black  r    b    g    h
    BT.601            9539   16     13075  16525  -3209  -6660      18997  -1160  102  128  -25  -52
    BT.709            9539   16     14686  17305  -1747  -4366      18997  -1160  115  128  -14  -34
    BT.601, full      8192   0      11485  14516  -2819  -5850      16320  32     90   113  -22  -46
    BT.709, full      8192   0      12901  15201  -1534  -3835      16320  32     101  119  -12  -30

These numbers are those of the form of values; in that of source planes they are one more (`origin`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
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


class Matrix(NamedTuple):
    """What a form is filled with: of Y, then the factors of Cr in red, Cb in blue, Cb and Cr in green."""

    scale: int
    black: int
    r: int
    b: int
    g: int
    h: int


MATRICES = ("BT.601", "BT.709", "BT.601 of full range", "BT.709 of full range")
_SWSCALE = (
    *(Matrix(9539, 16, 13075, 16525, -3209, -6660), Matrix(9539, 16, 14686, 17305, -1747, -4366)),
    *(Matrix(8192, 0, 11485, 14516, -2819, -5850), Matrix(8192, 0, 12901, 15201, -1534, -3835)),
)
_LIBYUV = (
    *(Matrix(18997, -1160, 102, 128, -25, -52), Matrix(18997, -1160, 115, 128, -14, -34)),
    *(Matrix(16320, 32, 90, 113, -22, -46), Matrix(16320, 32, 101, 119, -12, -30)),
)


def _swscale(m: Matrix) -> Tables:
    """libswscale on x86 processors, by its default flags, where chroma is halved: ffmpeg, PyAV, OpenCV's videos.

    Factors have 13 bits of fraction; each product is a high half of 16 bits by 16, rounded down before they are added.
    """
    c = 8 * (_N - 128)
    products = (8 * m.scale * (_N - m.black), m.r * c, m.g * c, m.h * c, m.b * c)
    luma, red, green_cb, green_cr, blue = (product >> 16 << 16 for product in products)
    return 16, luma, red, green_cb, green_cr, blue


def _swscale444(m: Matrix) -> Tables:
    """libswscale where chroma is not halved: the same factors, and the sum is rounded to the nearest."""
    c, half = _N - 128, 1 << 12
    return 13, m.scale * (_N - m.black), m.r * c + half, m.g * c, m.h * c + half, m.b * c + half


def _libyuv(m: Matrix) -> Tables:
    """libyuv on x86 processors (browsers; AVIF by Pillow): 6 bits of fraction, and factors of 8 bits with a sign."""
    c = _N - 128
    return 6, (257 * m.scale * _N >> 16) + m.black, m.r * c, m.g * c, m.h * c, m.b * c


class Conversion(NamedTuple):
    words: str  # what a picture was
    tables: Callable[[], Tables]
    enlargements: tuple[str, ...]  # what programs do to half-size chroma before it


_FORMS: tuple[tuple[str, Callable[[Matrix], Tables], Sequence[Matrix], str, tuple[str, ...]], ...] = (
    ("swscale", _swscale, _SWSCALE, "video as libswscale decodes it", ("box",)),
    ("swscale444", _swscale444, _SWSCALE, "video as libswscale decodes it", ()),
    ("libyuv", _libyuv, _LIBYUV, "AVIF or video as libyuv decodes it", ("triangle", "box")),
)
CONVERSIONS = {  # their order is that of the numbers in files
    "jfif": Conversion("decoded from a JPEG", _jfif, ("triangle", "box")),
    "photocd": Conversion("from a PhotoCD", _photocd, ("photocd",)),
    "webp": Conversion("decoded from a lossy WebP", _webp, ("triangle", "box")),
    **{
        f"{name} {matrix}": Conversion(f"{words}, {matrix}", partial(form, numbers), enlargements)
        for name, form, filled, words, enlargements in _FORMS
        for matrix, numbers in zip(MATRICES, filled, strict=True)
    },
}


def family(conversion: str) -> str:
    """What people call a conversion, whatever its matrix is: one of `names.NAMES`."""
    return conversion.split()[0].removesuffix("444")


@cache
def formula(conversion: str) -> Formula:
    """The tables of a conversion, and the matrix that nearly inverts it."""
    shift, *tables = CONVERSIONS[conversion].tables()
    slopes, offsets = np.polyfit(_N, np.array(tables).T / (1 << shift), 1)
    luma, red, green_cb, green_cr, blue = slopes
    inverse = np.linalg.inv([[luma, 0, red], [luma, green_cb, green_cr], [luma, blue, 0]])
    added = 0.5 - offsets[0] - np.array([offsets[1], offsets[2] + offsets[3], offsets[4]])
    matrix = np.concatenate([inverse, (inverse @ added)[:, None] + 0.5], 1)[1:] * (1 << 16)
    return Formula(np.array(tables, np.int32), shift, np.ascontiguousarray(np.rint(matrix), np.int32))
