"""Waves: all positions of a grid that a causal A x B window lets go at once.

With a window that reaches `slope - 1` columns to the right on the rows above, position (r, c) needs nothing of its own
wave c + slope * r or of a later one. So a region of h x w positions takes w + slope * (h - 1) steps, and all tiles of a
batch advance in the same step as one matrix product. Within a wave a tile's rows go from the top down.

A `Grid` is a batch of tiles, padded to one shape; of tile t only rows first[t] <= r < last[t] and columns c < width[t]
are walked. Rows above `first` are known context (band A looks into band B).

Two kinds of rows are gathered, by the same functions for one wave of many tiles and for many rows of one tile:
    pixel_row    differences of the window to the pixel's reference | reference - 128 | context features
    latent_row   the window of a plane of flow variables, as it is
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from vlae_codec.ans import Message, push_symbol
from vlae_codec.tables import LEVEL_BITS, OUTER_IDENTITY, PRECISION


def window_offsets(window: tuple[int, int]) -> np.ndarray:
    """(n, 2) int64 of (row, column) offsets of the causal A x B window: B rows of A above, A // 2 to the left."""
    wide, up = window
    reach = wide // 2
    above = [(-r, c) for r in range(up, 0, -1) for c in range(-reach, reach + 1)]
    return np.array(above + [(0, c) for c in range(-reach, 0)], np.int64)


def window_slope(window: tuple[int, int]) -> int:
    """Columns that a wave shifts per row."""
    return window[0] // 2 + 1


@dataclass(frozen=True, eq=False)
class Grid:
    """Geometry of a batch of T tiles, each (T,) int64."""

    first: np.ndarray
    last: np.ndarray
    width: np.ndarray

    @staticmethod
    def of(regions: list[tuple[int, int, int]]) -> Grid:
        """From (first row, last row, width) of each tile."""
        columns = np.array(regions, np.int64).reshape(-1, 3).T
        return Grid(*(np.ascontiguousarray(v) for v in columns))

    def waves(self, slope: int) -> int:
        """Number of steps until the longest tile is done."""
        steps = np.where(self.last > self.first, self.width + slope * (self.last - self.first - 1), 0)
        return int(steps.max(initial=0))

    def widest(self) -> int:
        """Upper bound of the positions of one wave, all tiles together."""
        return int(np.maximum(self.last - self.first, 0).sum())


@njit(cache=True)
def wave_rows(wave, rows, width, slope):
    """First and last + 1 of the rows, counted from the region's first, that have a position in this wave.

    Slope 0: rows do not depend on each other, a wave is a column.
    """
    if slope == 0:
        return 0, rows
    first = max(0, (wave - width + slope) // slope)
    return first, max(first, min(rows, wave // slope + 1))


# ---------------------------------------------------------------------------------------------------- gathers


@njit(cache=True)
def _reference(x, r, c, channel):
    """Median edge detector of LOCO-I (Weinberger et al. 2000), or what of it lies inside the tile, or 128."""
    if r == 0:
        return np.int64(x[r, c - 1, channel]) if c > 0 else np.int64(128)
    upper = np.int64(x[r - 1, c, channel])
    if c == 0:
        return upper
    left, corner = np.int64(x[r, c - 1, channel]), np.int64(x[r - 1, c - 1, channel])
    if corner >= max(left, upper):
        return min(left, upper)
    if corner <= min(left, upper):
        return max(left, upper)
    return left + upper - corner


@njit(cache=True)
def pixel_row(x, context, width, r, c, offsets, row, offset):
    """Fills row (inputs,) int8 and offset (C,) int32 for pixel (r, c) of a tile x (H, W, C) uint8.

    context: (H, W, features) int8. A neighbour outside the tile counts as equal to the reference.
    """
    channels = x.shape[2]
    at = len(offsets) * channels
    for channel in range(channels):
        ref = _reference(x, r, c, channel)
        offset[channel] = ref << LEVEL_BITS
        row[at + channel] = ref - 128
    for j in range(len(offsets)):
        nr, nc = r + offsets[j, 0], c + offsets[j, 1]
        if nr >= 0 and nc >= 0 and nc < width:
            for channel in range(channels):
                difference = np.int64(x[nr, nc, channel]) - (np.int64(row[at + channel]) + 128)
                row[j * channels + channel] = min(max(difference, -128), 127)
        else:
            row[j * channels : (j + 1) * channels] = 0
    row[at + channels :] = context[r, c]


@njit(cache=True)
def latent_row(plane, width, r, c, offsets, row):
    """Fills row (inputs,) int8 with the window of a plane (h, w, C) int8, zero outside."""
    channels = plane.shape[2]
    for j in range(len(offsets)):
        nr, nc = r + offsets[j, 0], c + offsets[j, 1]
        inside = nr >= 0 and nc >= 0 and nc < width
        for channel in range(channels):
            row[j * channels + channel] = plane[nr, nc, channel] if inside else 0


@njit(cache=True, nogil=True)
def pixel_rows(x, context, positions, offsets, rows, pixel_offsets):
    """`pixel_row` for the pixels of one tile at flat indices `positions` in raster order."""
    width = x.shape[1]
    for i in range(len(positions)):
        r, c = positions[i] // width, positions[i] % width
        pixel_row(x, context, width, r, c, offsets, rows[i], pixel_offsets[i])


@njit(cache=True, nogil=True)
def latent_rows(plane, offsets, rows):
    """`latent_row` for a whole plane (h, w, C) in raster order: rows (h * w, inputs)."""
    height, width, _ = plane.shape
    for i in range(height * width):
        latent_row(plane, width, i // width, i % width, offsets, rows[i])


@njit(cache=True, nogil=True)
def pixel_wave(x, context, first, last, width, wave, slope, offsets, rows, pixel_offsets, bounds):
    """Gathers one wave of a batch; tile t gets rows bounds[t] .. bounds[t + 1]. x: (T, H, W, C), context likewise."""
    n = 0
    for t in range(len(first)):
        bounds[t] = n
        low, high = wave_rows(wave, last[t] - first[t], width[t], slope)
        for r in range(low, high):
            c = wave - slope * r
            pixel_row(x[t], context[t], width[t], first[t] + r, c, offsets, rows[n], pixel_offsets[n])
            n += 1
    bounds[len(first)] = n
    return n


@njit(cache=True, nogil=True)
def latent_wave(planes, first, last, width, wave, slope, offsets, rows, bounds):
    """The same for planes (T, h, w, C) of flow variables."""
    n = 0
    for t in range(len(first)):
        bounds[t] = n
        low, high = wave_rows(wave, last[t] - first[t], width[t], slope)
        for r in range(low, high):
            latent_row(planes[t], width[t], first[t] + r, wave - slope * r, offsets, rows[n])
            n += 1
    bounds[len(first)] = n
    return n


@njit(cache=True, nogil=True)
def scatter_wave(values, grid, first, last, width, wave, slope):
    """Writes one wave's rows of values (n, C), in the order of the gathers, to grid (T, H, W, C)."""
    n = 0
    for t in range(len(first)):
        low, high = wave_rows(wave, last[t] - first[t], width[t], slope)
        for r in range(low, high):
            grid[t, first[t] + r, wave - slope * r] = values[n]
            n += 1


# ---------------------------------------------------------------------------------------------------- coding order


@njit(cache=True, nogil=True)
def _push_region(starts, freqs, first, last, width, slope, coded, heads, words, n):
    """Pushes a region's intervals (H, W, C) in the exact reverse of the order in which waves are popped."""
    lanes = len(heads)
    phase = (last - first) * width  # rows in this wave and those before it
    for wave in range(width + slope * (last - first - 1) - 1, -1, -1):
        low, high = wave_rows(wave, last - first, width, slope)
        phase -= high - low
        groups = (high - low + lanes - 1) // lanes
        for group in range(groups - 1, -1, -1):
            begin = low + group * lanes
            for channel in range(coded - 1, -1, -1):
                for r in range(min(begin + lanes, high) - 1, begin - 1, -1):
                    c = wave - slope * r
                    start, freq = starts[first + r, c, channel], freqs[first + r, c, channel]
                    n = push_symbol(heads, (phase + r - low) % lanes, words, n, start, freq, PRECISION)
    return n


def push_region(
    message: Message, starts: np.ndarray, freqs: np.ndarray, region: tuple[int, int, int], slope: int, coded: int
) -> Message:
    """The message with a region's symbols on top. starts, freqs: (H, W, C) uint32; region: (first, last, width)."""
    first, last, width = region
    if last <= first:
        return message
    n = len(message.words)
    heads, words = message.heads.copy(), np.empty(n + (last - first) * width * coded, np.uint32)
    words[:n] = message.words
    n = _push_region(starts, freqs, first, last, width, slope, coded, heads, words, n)
    return Message(heads, words[:n].copy())


class Stacks:
    """The messages of a batch of tiles as arrays that compiled loops pop from in place; made from copies."""

    def __init__(self, messages: list[Message]) -> None:
        lanes = [len(m.heads) for m in messages]
        self.lanes = np.array(lanes, np.int64)
        self.heads = np.zeros((len(messages), max(lanes, default=0)), np.uint64)
        self.sizes = np.array([len(m.words) for m in messages], np.int64)
        self.words = np.concatenate([m.words for m in messages]) if messages else np.empty(0, np.uint32)
        self.phases = np.zeros(len(messages), np.int64)  # rows popped so far: the lanes are used in turn
        self.begins = np.concatenate([[0], np.cumsum(self.sizes)])[:-1].astype(np.int64)
        for row, m in zip(self.heads, messages):
            row[: len(m.heads)] = m.heads

    def messages(self) -> list[Message]:
        return [
            Message(heads[:lanes].copy(), self.words[begin : begin + size].copy())
            for heads, lanes, begin, size in zip(self.heads, self.lanes, self.begins, self.sizes)
        ]


def identity_outer(shape: tuple[int, ...]) -> np.ndarray:
    """Outer scale indices of no flow step at all."""
    return np.full(shape, OUTER_IDENTITY, np.int32)
