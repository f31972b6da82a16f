"""Chroma of a lost JPEG: its samples before they were enlarged, and their coefficients.

Where no pixel is clipped Cb and Cr are known, and samples are those whose enlargement gives them: least squares, then a
search. A pixel of which a channel is clipped leaves them open, within an interval. What is known around a sample makes
its interval narrower, and once Cb is found, Cr is nearly determined by the channels that are not clipped; and so on, to
and fro.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Coefficients, Cut
from vlae_codec.jpeg.search import FEW_STEPS, STEPS, Found, Plane, blocks_of, filled, find, intervals, samples_of
from vlae_codec.jpeg.search import search as search_blocks
from vlae_codec.jpeg.tables import transform
from vlae_codec.native.library import check, core, pointer

Factors = tuple[int, int]  # columns and rows of pixels that a sample covers

SWEEPS = 12  # of halving
DOUBTFUL, SURE = 0, 1  # of samples, as the core says; 2: open
ROUNDS = 3  # to and fro
NARROWED = 6  # times each interval


def halve(plane: np.ndarray, known: np.ndarray, factors: Factors) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) uint8: the samples whose enlargement is nearest to a plane, first of all where it is known; and what is
    known of each.
    """
    across, down = factors
    shape = (-(-plane.shape[0] // down), -(-plane.shape[1] // across))
    samples, state = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    excess, fitted, lines = (np.empty(size, np.int32) for size in (plane.shape, shape, 2 * max(shape)))
    inputs = [np.ascontiguousarray(each, np.uint8) for each in (plane, known)]
    check(
        core.vlae_halve(
            *(*(pointer(each, np.uint8) for each in inputs), *plane.shape, across, down, SWEEPS),
            *(pointer(each, np.int32) for each in (excess, fitted, lines)),
            *(pointer(samples, np.uint8), pointer(state, np.uint8), *shape),
        ),
        "a picture",
    )
    return samples, state


def enlarge(samples: np.ndarray, shape: tuple[int, ...], factors: Factors) -> np.ndarray:
    """(H, W) uint8: a plane of this shape, of its samples."""
    form = Coefficients(shape[1], shape[0], (factors, (1, 1)), (), ())
    return decode.enlarge(form, 1, samples, 0, (0, shape[0]))


def enlarged(found: Found, shape: tuple[int, ...], factors: Factors) -> np.ndarray:
    """(H, W) uint8: a plane of this shape, of its coefficients."""
    across, down = factors
    return enlarge(samples_of(found)[: -(-shape[0] // down), : -(-shape[1] // across)], shape, factors)


def narrowed(pixels: Plane, samples: np.ndarray, state: np.ndarray, factors: Factors) -> Plane:
    """Samples and their intervals, given those of the pixels."""
    low = np.where(state == SURE, samples, np.where(state == DOUBTFUL, samples - np.minimum(samples, 1), 0))
    high = np.where(state == SURE, samples, np.where(state == DOUBTFUL, samples + (samples < 255), 255))
    low, high = low.astype(np.uint8), high.astype(np.uint8)
    inputs = [np.ascontiguousarray(each) for each in (pixels.low, pixels.high)]
    check(
        core.vlae_narrow(
            *(*(pointer(each, np.uint8) for each in inputs), *pixels.low.shape, *factors, NARROWED),
            *(pointer(low, np.uint8), pointer(high, np.uint8), *low.shape),
        ),
        "a picture",
    )
    return Plane(samples.clip(low, high), low, high)


class Component:
    """Cb or Cr, number 0 or 1, on its way."""

    def __init__(self, number: int, rgb: np.ndarray, pixels: Plane, factors: Factors, cut: Cut) -> None:
        self.number, self.rgb, self.pixels, self.factors, self.cut = number, rgb, pixels, factors, cut
        whole = pixels.grown(cut)
        self.shape = whole.guess.shape
        self.samples, self.state = halve(whole.guess, whole.known, factors)
        self.found = find(narrowed(whole, self.samples, self.state, factors))

    def enlarged(self) -> np.ndarray:
        """(H, W) uint8, of the picture."""
        return self.cut.of(enlarged(self.found, self.shape, self.factors))

    def mend(self, other: np.ndarray) -> bool:
        """Searches again where pixels are not as they can be beside the other component (H, W); whether any were."""
        now = self.enlarged()
        low, high = self.pixels.low.copy(), self.pixels.high.copy()
        inputs = (pointer(each, np.uint8) for each in (self.rgb, other))
        outputs = (pointer(each, np.uint8) for each in (low, high))
        check(core.vlae_chroma_beside(*inputs, self.number, low.size, *outputs), "a picture")
        off = now.clip(low, high).astype(np.int32) - now
        if not off.any():
            return False
        whole = Plane(self.pixels.guess, low, high).grown(self.cut)
        across, down = self.factors
        rows, columns = self.state.shape
        pads = ((0, rows * down - self.shape[0]), (0, columns * across - self.shape[1]))
        cells = np.pad(np.pad(off, self.cut.pads), pads).reshape(rows, down, columns, across)
        now = samples_of(self.found)[:rows, :columns]
        by = 3 * cells.sum((1, 3)) // (2 * across * down)
        plane = narrowed(whole, self.samples, self.state, self.factors)
        mended = np.where(self.state == SURE, self.samples, (now + by).clip(plane.low, plane.high)).astype(np.uint8)
        table, blocks = self.found
        off_blocks = blocks_of(filled(np.asarray(cells.any((1, 3))), 0)).any(2)
        low, high = (each[off_blocks] for each in intervals(plane))
        values = transform(filled(mended))[off_blocks]
        blocks[off_blocks] = search_blocks(low, high, values, table, FEW_STEPS if across * down > 1 else STEPS)
        return True


def find_chroma(rgb: np.ndarray, planes: list[Plane], factors: Factors, cut: Cut) -> list[Component]:
    """Cb and Cr of a picture (H, W, 3), of whose pixels they are known as planes."""
    components = [Component(number, rgb, plane, factors, cut) for number, plane in enumerate(planes)]
    for _ in range(ROUNDS):
        changed = [own.mend(other.enlarged()) for own, other in zip(components, components[::-1], strict=True)]
        if not any(changed):
            break
    return components
