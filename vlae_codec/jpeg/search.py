"""Samples of a component as far as they are known, and the coefficients that give them.

A decoder rounds and clips samples, and other steps leave some of them open. So a sample is an interval, and a block's
coefficients are those whose decoding is within the intervals of its samples: the nearest ones, or some among their
neighbours (`core/recover.h`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Cut
from vlae_codec.jpeg.tables import BASIS, ONE, find_table, nearest, transform
from vlae_codec.native.library import check, core, pointer

STEPS = 1000  # of a block's search
FEW_STEPS = 100  # where the steps of quantisation are larger than the noise
PATIENCE = 250  # steps without a gain
SAMPLE = 128  # blocks in which a table is looked for
NOT_ZERO = 6 * ONE // 5  # of a value: what rounding does not make of 0

Found = tuple[np.ndarray, np.ndarray]  # a table (64,) int32, and blocks (rows, columns, 64) int16


@dataclass(frozen=True)
class Plane:
    """Samples of a component (h, w) uint8 as they are guessed, between `low` and `high`."""

    guess: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(h, w) bool."""
        return self.low == self.high

    def grown(self, cut: Cut) -> Plane:
        """With what the picture lacks, of which nothing is known."""
        low, high = np.pad(self.low, cut.pads), np.pad(self.high, cut.pads, constant_values=255)
        return Plane(np.pad(self.guess, cut.pads, mode="edge"), low, high)


def colours_back(pixels: np.ndarray) -> tuple[np.ndarray, list[Plane]]:
    """Y (h, w), and Cb and Cr, of pixels (h, w, 3) uint8: the only ones that JFIF's conversion makes the pixels of.

    Of clipped pixels intervals are known, of pixels that the conversion does not give nothing.
    """
    luma = np.empty(pixels.shape[:2], np.uint8)
    chroma, low, high = (np.empty((*luma.shape, 2), np.uint8) for _ in range(3))
    outputs = (pointer(each, np.uint8) for each in (luma, chroma, low, high))
    check(core.vlae_jfif_back(pointer(pixels, np.uint8), luma.size, *outputs), "a picture")
    return luma, [Plane(*(np.ascontiguousarray(each[..., k]) for each in (chroma, low, high))) for k in range(2)]


def blocks_of(plane: np.ndarray) -> np.ndarray:
    """(rows, columns, 64): the samples of each block of a plane (8 rows, 8 columns)."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    blocks = plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(rows, columns, 64)
    return np.ascontiguousarray(blocks)


def filled(plane: np.ndarray, fill: int | None = None) -> np.ndarray:
    """The plane with whole blocks, filled with its last samples or with a number."""
    pads = [(0, -size % 8) for size in plane.shape]
    padded = np.pad(plane, pads, mode="edge") if fill is None else np.pad(plane, pads, constant_values=fill)
    return np.ascontiguousarray(padded)


def intervals(plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns, 64) uint8 each: the least and the most of the samples of each block."""
    return blocks_of(filled(plane.low, 0)), blocks_of(filled(plane.high, 255))


def busiest(values: np.ndarray) -> np.ndarray:
    """Numbers of the blocks with most values (n, 64) that are not near 0: only their rounding is like noise."""
    return np.argsort(-(np.abs(values) > NOT_ZERO).sum(1), kind="stable")[:SAMPLE]


def find(plane: Plane) -> Found:
    """Table and blocks of a component."""
    guess = filled(plane.guess)
    low, high = intervals(plane)
    values = transform(guess)
    sure = ((low == high) & (low > 0) & (low < 255)).all(2)
    sure |= not sure.any()
    some = busiest(values[sure])
    table = find_table(values[sure][some], blocks_of(guess)[sure][some])
    return table, search(low, high, values, table)


def search(low: np.ndarray, high: np.ndarray, values: np.ndarray, table: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """(..., 64) int16: the coefficients of blocks whose samples are in intervals, and whose transform is guessed."""
    blocks = np.ascontiguousarray(nearest(values, table))
    wrong, steps = np.empty(blocks.shape[:-1], np.uint8), steps if table[[0, 1, 8]].min() <= 2 else FEW_STEPS
    low, high = np.ascontiguousarray(low), np.ascontiguousarray(high)
    check(
        core.vlae_search_blocks(
            *(pointer(low, np.uint8), pointer(high, np.uint8), wrong.size, pointer(table, np.int32)),
            *(pointer(BASIS, np.int16), steps, PATIENCE, pointer(blocks, np.int16), pointer(wrong, np.uint8)),
        ),
        "the samples of a picture",
    )
    return blocks


def samples_of(found: Found) -> np.ndarray:
    """(8 rows, 8 columns) uint8: what coefficients are decoded to."""
    table, blocks = found
    out = np.empty((8 * blocks.shape[0], 8 * blocks.shape[1]), np.uint8)
    decode.decode_plane(blocks, table, out)
    return out
