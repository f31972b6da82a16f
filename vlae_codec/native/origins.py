"""What pictures were before they were RGB, by the C core; `core/origins.h` says what the numbers mean."""

from __future__ import annotations

from ctypes import byref, c_int32
from typing import NamedTuple

import numpy as np

from vlae_codec.native.library import OriginStruct, aligned, check, core, pointer, span

UNKNOWN, NONE = -1, -2  # in place of chroma


class Formula(NamedTuple):
    """RGB of YCbCr: (luma[Y] + red[Cr]) >> shift, (luma[Y] + green_cb[Cb] + green_cr[Cr]) >> shift, and so on."""

    tables: np.ndarray  # (5, 256) int32: luma, red, green_cb, green_cr, blue
    shift: int
    matrix: np.ndarray  # (2, 4) int32: Cb and Cr of red, green, blue and 1, nearly, in 1/2^16


class Grid(NamedTuple):
    """Where the chroma of each column and row comes from."""

    columns: np.ndarray  # (width, 3) int32: near sample, far sample, weight of the far one in quarters
    rows: np.ndarray  # (height, 3) int32
    bias: tuple[int, int, int, int]  # in sixteenths: even, odd columns of even rows, then of odd rows
    width: int  # of the plane of samples
    height: int


def _struct(formula: Formula, grid: Grid) -> OriginStruct:
    return OriginStruct(
        *(pointer(formula.tables, np.int32), pointer(formula.matrix, np.int32)),
        *(pointer(grid.columns, np.int32), pointer(grid.rows, np.int32)),
        *(len(grid.columns), len(grid.rows), grid.width, grid.height, formula.shift, (c_int32 * 4)(*grid.bias)),
    )


def _scratch(grid: Grid) -> np.ndarray:
    return aligned(4 * grid.width + 4 * len(grid.columns) + 192)


def _samples(planes: list[np.ndarray], grid: Grid) -> list[int]:
    shapes = (len(grid.rows), len(grid.columns)), (grid.height, grid.width), (grid.height, grid.width)
    if [plane.shape for plane in planes] != [*shapes][3 - len(planes) :]:
        raise ValueError(f"planes of {[plane.shape for plane in planes]} do not fit {shapes}")
    return [pointer(plane, np.uint8) for plane in planes]


def rebuild(formula: Formula, grid: Grid, planes: list[np.ndarray]) -> np.ndarray:
    """(height, width, 3) uint8: RGB of the planes Y, Cb, Cr."""
    rgb, scratch = np.empty((len(grid.rows), len(grid.columns), 3), np.uint8), _scratch(grid)
    args = (*_samples(planes, grid), pointer(rgb, np.uint8), *span(scratch))
    check(core.vlae_origin_rebuild(byref(_struct(formula, grid)), *args), "an origin")
    return rgb


def chroma(formula: Formula, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Cb and Cr (n,) int16 of pixels (n, 3) uint8, and how many are there.

    UNKNOWN stands for those of clipped pixels, which are not determined, and NONE where no YCbCr gives the pixel.
    """
    axis = np.zeros((1, 3), np.int32)
    cb, cr = np.empty(len(rgb), np.int16), np.empty(len(rgb), np.int16)
    args = (pointer(rgb, np.uint8), len(rgb), pointer(cb, np.int16), pointer(cr, np.int16))
    struct = _struct(formula, Grid(axis, axis, (8, 8, 8, 8), 1, 1))
    return cb, cr, check(core.vlae_origin_chroma(byref(struct), *args), "an origin")


def triples(formula: Formula) -> np.ndarray:
    """(65536, 4) uint64, a set: bit b % 64 of word b / 64 of row 256 r + g is 1 if some YCbCr gives (r, g, b)."""
    axis, made = np.zeros((1, 3), np.int32), np.empty((1 << 16, 4), np.uint64)
    struct = _struct(formula, Grid(axis, axis, (8, 8, 8, 8), 1, 1))
    check(core.vlae_origin_triples(byref(struct), pointer(made, np.uint64), made.size), "an origin")
    return made


def halve(
    formula: Formula, grid: Grid, rgb: np.ndarray, wanted: tuple[np.ndarray, np.ndarray], budget: int
) -> tuple[list[np.ndarray], int]:
    """Planes Cb and Cr whose enlargement fits the pixels as well as was found, and how many samples do not fit.

    rgb: (height, width, 3) uint8; wanted: `chroma` of them; budget: how many times to ask whether a
    pixel fits; with 0 the first guess stays.
    """
    planes = [np.empty((grid.height, grid.width), np.uint8) for _ in range(2)]
    spans = [_spans(axis, count) for axis, count in ((grid.columns, grid.width), (grid.rows, grid.height))]
    struct = _struct(formula, grid)
    scratch = aligned(check(core.vlae_origin_halve_scratch(byref(struct)), "an origin"))
    args = (
        *(pointer(rgb, np.uint8), *(pointer(plane, np.int16) for plane in wanted)),
        *(*(pointer(axis, np.int32) for axis in spans), budget, *_samples(planes, grid), *span(scratch)),
    )
    return planes, check(core.vlae_origin_halve(byref(struct), *args), "an origin")


def luma(formula: Formula, grid: Grid, rgb: np.ndarray, planes: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """(height, width) uint8: the Y that gives each pixel with this Cb and Cr, or nearly; and how many are exact."""
    out, scratch = np.empty(rgb.shape[:2], np.uint8), _scratch(grid)
    args = (pointer(rgb, np.uint8), *_samples(planes, grid), pointer(out, np.uint8), *span(scratch))
    return out, check(core.vlae_origin_luma(byref(_struct(formula, grid)), *args), "an origin")


def _spans(axis: np.ndarray, count: int) -> np.ndarray:
    """(count, 2) int32: the first column that a sample counts for, and the one behind its last."""
    spans = np.zeros((count, 2), np.int32)
    spans[:, 0] = len(axis)
    at = np.arange(len(axis), dtype=np.int32)
    for samples in (axis[:, 0], axis[:, 1]):
        np.minimum.at(spans[:, 0], samples, at)
        np.maximum.at(spans[:, 1], samples, at + 1)
    spans[spans[:, 1] == 0] = 0
    return spans
