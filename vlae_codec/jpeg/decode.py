"""Pixels of a JPEG's coefficients, exactly as libjpeg-turbo's decoder gives them with its default settings.

Pillow, browsers and most other programs decode by these settings: the accurate integer inverse DCT, halved components
enlarged by a triangle filter ("fancy"), JFIF's conversion in 16 bits of fraction. `core/dct.h` has the formulas.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.native.library import check, core, pointer


def factors(coefficients: Coefficients, component: int) -> tuple[int, int]:
    """Columns and rows of pixels that a sample of the component covers.

    Raises CorruptFile if they are no whole numbers, which libjpeg refuses as well.
    """
    h, v = coefficients.sampling[component]
    most_h, most_v = (max(each) for each in zip(*coefficients.sampling, strict=True))
    if h < 1 or v < 1 or max(most_h, most_v) > 4 or most_h % h or most_v % v:
        raise CorruptFile("the sampling factors of a JPEG fit no whole number of pixels: get a fresh copy of the file")
    return most_h // h, most_v // v


def size(coefficients: Coefficients, component: int) -> tuple[int, int]:
    """Rows and columns of samples that a component has for the picture. Raises CorruptFile if there are none."""
    if coefficients.width < 1 or coefficients.height < 1:
        raise CorruptFile("a JPEG has no pixels: get a fresh copy of the file")
    across, down = factors(coefficients, component)
    return -(-coefficients.height // down), -(-coefficients.width // across)


def plane(coefficients: Coefficients, component: int, rows: tuple[int, int] | None = None) -> np.ndarray:
    """(h, w) uint8: the samples of a component, before they are enlarged.

    `rows`: only these rows of blocks, the last not included. Raises CorruptFile for coefficients of another size than
    the picture needs.
    """
    height, width = size(coefficients, component)
    blocks, table = coefficients.blocks[component], coefficients.tables[component]
    needed = -(-height // 8), -(-width // 8)
    if blocks.shape != (*needed, 64) or table.shape != (64,):
        raise CorruptFile("the coefficients of a JPEG do not fit its size: get a fresh copy of the file")
    top, bottom = rows or (0, needed[0])
    part = np.ascontiguousarray(blocks[top:bottom])
    out = np.empty((8 * len(part), 8 * needed[1]), np.uint8)
    decode_plane(part, np.ascontiguousarray(table), out)
    return out[: height - 8 * top, :width]


def decode_plane(blocks: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """Blocks (rows, columns, 64) int16 by a table (64,) int32 become out (8 rows, 8 columns) uint8."""
    numbers = (pointer(blocks, np.int16), *blocks.shape[:2], pointer(table, np.int32), pointer(out, np.uint8), out.size)
    check(core.vlae_idct(*numbers), "the coefficients of a JPEG")


def planes(coefficients: Coefficients) -> list[np.ndarray]:
    """(h, w) uint8 of each component, as `plane` gives them."""
    return [plane(coefficients, component) for component in range(len(coefficients.sampling))]


def decode(coefficients: Coefficients, *, converted: bool = True, rows: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, components) uint8, or (H, W) of one component: the picture, or its `rows`, the last not included.

    Three components are Y, Cb, Cr and become RGB, unless they are not `converted`, as in an Adobe JPEG of transform 0.
    Only the rows of blocks that are needed are decoded. Raises CorruptFile for coefficients that make no picture.
    """
    size(coefficients, 0)
    top, bottom = rows or (0, coefficients.height)
    if not 0 <= top < bottom <= coefficients.height:
        raise ValueError(f"a picture of {coefficients.height} rows has no rows {top} to {bottom}")
    enlarged = []
    for component in range(len(coefficients.sampling)):
        down, height = factors(coefficients, component)[1], size(coefficients, component)[0]
        first, last = max(top // down - 1, 0) // 8, min((bottom - 1) // down + 1, height - 1) // 8
        samples = plane(coefficients, component, (first, last + 1))
        enlarged.append(enlarge(coefficients, component, samples, 8 * first, (top, bottom)))
    if len(enlarged) == 3 and converted:
        return to_rgb(*enlarged)
    return enlarged[0] if len(enlarged) == 1 else np.stack(enlarged, 2)


def enlarge(
    coefficients: Coefficients, component: int, samples: np.ndarray, first: int, rows: tuple[int, int]
) -> np.ndarray:
    """(rows, W) uint8: rows of pixels of a component, given its samples (n, w) from row `first` on.

    They must have the row above and the row below, where the component has such rows.
    """
    across, down = factors(coefficients, component)
    height, width = size(coefficients, component)
    out = np.empty((rows[1] - rows[0], coefficients.width), np.uint8)
    samples = np.ascontiguousarray(samples)
    check(
        core.vlae_enlarge(
            *(pointer(samples, np.uint8), len(samples), samples.shape[1], first, height, width, across, down),
            *(rows[0], len(out), coefficients.width, pointer(out, np.uint8)),
        ),
        "the samples of a JPEG",
    )
    return out


def to_rgb(y: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: RGB of planes (H, W) uint8 of one size, by JFIF's conversion as libjpeg computes it."""
    planes = [np.ascontiguousarray(each) for each in (y, cb, cr)]
    out = np.empty((*y.shape, 3), np.uint8)
    check(
        core.vlae_jfif(*(pointer(each, np.uint8) for each in planes), y.size, pointer(out, np.uint8)),
        "the planes of a JPEG",
    )
    return out
