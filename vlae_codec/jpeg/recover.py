"""The JPEG that a picture was decoded from: its tables and coefficients, found in the pixels.

A decoder rounds and clips samples. So a block's coefficients are those whose decoding rounds to what is seen, and mostly
there is one set of them only. Here: pixels -> intervals of each sample -> tables (`tables`) -> the nearest coefficients
-> a search among their neighbours (`core/recover.h`) -> exact decoding (`decode`), which says what is wrong. Floats
propose; integers decide.

Chroma comes first, since clipped pixels leave Y open unless their chroma is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.tables import BASIS, STANDARD, WRONG, costs, find_table, transform
from vlae_codec.native.library import check, core, pointer

SAMPLINGS = ((2, 2), (2, 1), (1, 2), (1, 1))  # pixels that a sample of chroma covers, tried in this order
SWEEPS = 12  # of halving
STEPS = 600  # of a block's search
WINDOW = 128  # pixels on each side, by which the sampling is found
SAMPLE = 128  # blocks in which a table is looked for
LEAST = 0.8  # part of the pixels that must come out


@dataclass(frozen=True)
class Recovered:
    """Coefficients, and which pixels (H, W) bool their decoding gives wrongly."""

    coefficients: Coefficients
    wrong: np.ndarray

    @property
    def exact(self) -> bool:
        return not self.wrong.any()


def recover(pixels: np.ndarray) -> Recovered | None:
    """The JPEG of a picture (H, W) or (H, W, 3) uint8; None if it shows no signs of one."""
    pixels = np.ascontiguousarray(pixels)
    if pixels.ndim == 2:
        found = _recover_plane(pixels, pixels, pixels, (1, 1))
        if found is None:
            return None
        return _result(pixels, ((1, 1),), [found])
    luma, cb, cr, known = _colours_back(pixels)
    if known.mean() < 0.5 * _unclipped(pixels).mean() or not known.any():
        return None
    factors = _find_factors([cb, cr], known)
    found = [_recover_chroma(plane, known, factors) for plane in (cb, cr)]
    if any(each is None for each in found):
        return None
    return _recover_luma(pixels, luma, factors, found)


def _recover_luma(pixels, luma, factors, found):
    sampling = (factors, (1, 1), (1, 1))
    height, width = luma.shape
    half = Coefficients(width, height, sampling, (found[0][0], *(t for t, _ in found)), (found[0][1], *(b for _, b in found)))
    enlarged = [
        decode.enlarge(half, i, decode.plane(half, i), 0, (0, height)) for i in (1, 2)
    ]
    low, high = np.empty_like(luma), np.empty_like(luma)
    check(
        core.vlae_luma_range(
            *(pointer(each, np.uint8) for each in (pixels, *enlarged)), luma.size, *(pointer(each, np.uint8) for each in (low, high))
        ),
        "a picture",
    )
    lost = low > high
    low[lost], high[lost] = 0, 255
    start = np.where(lost, luma, np.clip(luma, low, high))
    mine = _recover_plane(start, low, high, (1, 1))
    if mine is None:
        return None
    return _result(pixels, sampling, [mine, *found])


def _recover_chroma(plane, known, factors):
    if factors == (1, 1):
        return _recover_plane(plane, np.where(known, plane, 0), np.where(known, plane, 255), factors)
    samples = halve(plane, known, factors)
    height, width = plane.shape
    across, down = factors
    padded = np.pad(known, ((0, -height % down), (0, -width % across)), mode="edge")
    sure = padded.reshape(samples.shape[0], down, samples.shape[1], across).all((1, 3))
    return _recover_plane(samples, np.where(sure, samples, 0), np.where(sure, samples, 255), factors)


def _result(pixels, sampling, found) -> Recovered | None:
    height, width = pixels.shape[:2]
    coefficients = Coefficients(width, height, sampling, tuple(t for t, _ in found), tuple(b for _, b in found))
    wrong = decode.decode(coefficients) != pixels
    return Recovered(coefficients, wrong if wrong.ndim == 2 else wrong.any(2))


def _unclipped(pixels):
    return ((pixels > 0) & (pixels < 255)).all(2)


def _colours_back(pixels):
    planes = [np.empty(pixels.shape[:2], np.uint8) for _ in range(4)]
    check(
        core.vlae_jfif_back(
            pointer(pixels, np.uint8), planes[0].size, *(pointer(each, np.uint8) for each in planes)
        ),
        "a picture",
    )
    return (*planes[:3], planes[3].astype(bool))


def halve(plane, known, factors):
    height, width = plane.shape
    across, down = factors
    shape = (-(-height // down), -(-width // across))
    samples, halved = np.empty(shape, np.uint8), np.empty(shape, np.float32)
    left, weights = np.empty(plane.shape, np.float32), np.where(known, 64, 1).astype(np.uint8)
    check(
        core.vlae_halve(
            *(pointer(plane, np.uint8), pointer(weights, np.uint8), height, width, across, down, SWEEPS),
            *(pointer(left, np.float32), pointer(halved, np.float32), pointer(samples, np.uint8), *shape),
        ),
        "a picture",
    )
    return samples


def _find_factors(planes: list[np.ndarray], known: np.ndarray) -> tuple[int, int]:
    """Pixels that a sample of chroma covers: those by which a part of the picture takes the fewest bits."""
    height, width = known.shape
    places = [(y * max(0, height - WINDOW) // 4 // 16 * 16, x * max(0, width - WINDOW) // 4 // 16 * 16) for y in range(5) for x in range(5)]
    views = [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y, x in dict.fromkeys(places)]
    view = max(views, key=lambda view: known[view].mean() * (1 + sum(plane[view].std() for plane in planes)))
    sure = np.ascontiguousarray(known[view])
    return min(SAMPLINGS, key=lambda factors: sum(_window_cost(np.ascontiguousarray(plane[view]), sure, factors) for plane in planes))


def _window_cost(plane: np.ndarray, known: np.ndarray, factors: tuple[int, int]) -> float:
    samples = halve(plane, known, factors)
    shape = Coefficients(plane.shape[1], plane.shape[0], (factors, (1, 1)), (), ())
    again = decode.enlarge(shape, 1, samples, 0, (0, len(plane)))
    inner = (slice(2, -2), slice(2, -2))  # the picture goes on behind the edges
    values, blocks = transform(_padded(samples)), _blocks(_padded(samples))
    bits = costs(values.reshape(-1, 64), blocks.reshape(-1, 64), STANDARD[::4]).min()
    return float(bits + WRONG * np.count_nonzero((again != plane)[inner] & known[inner]))


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(rows, columns, 64): the samples of each block."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    return plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(rows, columns, 64)


def _padded(plane, fill=None):
    pads = ((0, -plane.shape[0] % 8), (0, -plane.shape[1] % 8))
    return np.ascontiguousarray(np.pad(plane, pads, mode="edge") if fill is None else np.pad(plane, pads, constant_values=fill))


def _recover_plane(start, low, high, factors):
    """Table and blocks of a component, given its samples and their intervals."""
    values = transform(_padded(start))
    low, high = _padded(low, 0), _padded(high, 255)
    sure = ((low == high) & (low > 0) & (low < 255)).reshape(values.shape[0], 8, values.shape[1], 8).all((1, 3))
    whole = values[sure]
    if not len(whole):
        return None
    busy = (np.abs(whole) > 1.2).sum(1)
    busiest = np.argsort(-busy, kind="stable")[:SAMPLE]
    table, _ = find_table(whole[busiest], _blocks(_padded(start))[sure][busiest])
    blocks = np.rint(values / table).clip(-2047, 2047).astype(np.int16)
    wrong = np.empty(blocks.shape[:2], np.uint8)
    check(
        core.vlae_search_blocks(
            *(pointer(low, np.uint8), pointer(high, np.uint8), *blocks.shape[:2], pointer(table, np.int32)),
            *(pointer(BASIS, np.float32), STEPS, pointer(blocks, np.int16), pointer(wrong, np.uint8)),
        ),
        "the samples of a picture",
    )
    return table, blocks
