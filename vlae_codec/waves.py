"""Waves: all positions of a grid that a causal A x B window lets go at once.

With a window that reaches `slope - 1` columns to the right on the rows above, position (r, c) needs nothing of its own
wave c + slope * r or of a later one. So a region of h x w positions takes w + slope * (h - 1) steps. Within a wave rows
go from the top down.

Two kinds of rows are gathered, as bytes, 128 more than what they stand for (see `network.forward`):
    pixel_row    differences of the window to the pixel's reference | reference - 128 | context features
    latent_row   the window of a plane of flow variables, as it is
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vlae_codec.ans import Message, push_symbol
from vlae_codec.simd import CHUNK, differences, move, repeat3
from vlae_codec.tables import OUTER_IDENTITY, PRECISION

SLACK = CHUNK  # bytes behind an array of pixels or of context features that may be read


def window_offsets(window: tuple[int, int]) -> np.ndarray:
    """(n, 2) int64 of (row, column) offsets of the causal A x B window: B rows of A above, A // 2 to the left."""
    wide, up = window
    reach = wide // 2
    above = [(-r, c) for r in range(up, 0, -1) for c in range(-reach, reach + 1)]
    return np.array(above + [(0, c) for c in range(-reach, 0)], np.int64)


def window_slope(window: tuple[int, int]) -> int:
    """Columns that a wave shifts per row."""
    return window[0] // 2 + 1


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


def with_slack(array: np.ndarray) -> np.ndarray:
    """The array's bytes, flat, with SLACK more behind them."""
    flat = np.zeros(array.size + SLACK, np.uint8)
    flat[: array.size].reshape(array.shape)[...] = array.view(np.uint8)
    return flat


@njit(cache=True, nogil=True, forceinline=True)
def _at(array, i):
    """An element by an index that is not negative, as int64."""
    return np.int64(array[np.uintp(i)])


@njit(cache=True, nogil=True)
def pixel_row(x, width, channels, context, period, features, wide, up, r, c, less, more, row, at, reference, i):
    """Fills row[at :] with the inputs' bytes and reference[i : i + C] with the reference value of pixel (r, c).

    x: a tile (H, width, C) and context: (period, width, features), repeated downwards, bytes 128 more than the
    features, both flat with SLACK; less, more: memory of one row of the window, (wide * C + SLACK,) uint8. SLACK bytes
    behind the row are overwritten. The reference is the median edge detector of LOCO-I (Weinberger et al. 2000), or
    what of it lies inside the tile, or 128; a neighbour outside the tile counts as equal to it.
    """
    reach = wide // 2
    here = (r * width + c) * channels
    above = here - width * channels
    if r > 0 and c > 0:
        for ch in range(channels):
            left, upper, corner = _at(x, here - channels + ch), _at(x, above + ch), _at(x, above - channels + ch)
            least, most = min(left, upper), max(left, upper)
            reference[np.uintp(i + ch)] = min(max(left + upper - corner, least), most)
    else:
        for ch in range(channels):
            place = here - channels if r == 0 else above
            reference[i + ch] = x[place + ch] if r > 0 or c > 0 else 128
    if r >= up and c >= reach and c + reach < width:
        size = wide * channels
        if channels == 3 and size <= CHUNK:
            repeat3(_at(reference, i), _at(reference, i + 1), _at(reference, i + 2), less, more)
        else:
            for ch in range(channels):
                ref = _at(reference, i + ch)
                low, high = max(ref - 128, 0), max(128 - ref, 0)
                for k in range(ch, size, channels):
                    less[np.uintp(k)], more[np.uintp(k)] = low, high
        begin = here - (up * width + reach) * channels
        for dr in range(up, -1, -1):
            taken = size if dr else reach * channels
            for k in range(0, taken, CHUNK):
                differences(x, begin + k, less, more, k, row, at + k)
            begin += width * channels
            at += taken
    else:
        for dr in range(up, -1, -1):
            for dc in range(-reach, reach + 1 if dr else 0):
                inside = r >= dr and c + dc >= 0 and c + dc < width
                begin = here + (dc - dr * width) * channels
                for ch in range(channels):
                    difference = np.int64(x[begin + ch]) - np.int64(reference[i + ch]) if inside else np.int64(0)
                    row[at + ch] = min(max(difference + 128, 0), 255)
                at += channels
    for ch in range(channels):
        row[np.uintp(at + ch)] = reference[np.uintp(i + ch)]
    at += channels
    begin = ((r % period) * width + c) * features
    for k in range(0, features, CHUNK):
        move(context, begin + k, row, at + k)


@njit(cache=True, nogil=True)
def latent_row(plane, offsets, r, c, row, at):
    """Fills row[at :] with the bytes of the window of a plane (h, w, C) int8 at (r, c), zero outside."""
    _, width, channels = plane.shape
    for j in range(len(offsets)):
        nr, nc = r + offsets[j, 0], c + offsets[j, 1]
        inside = nr >= 0 and nc >= 0 and nc < width
        for channel in range(channels):
            row[at + j * channels + channel] = (np.int64(plane[nr, nc, channel]) if inside else 0) + 128


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


def identity_outer(shape: tuple[int, ...]) -> np.ndarray:
    """Outer scale indices of no flow step at all."""
    return np.full(shape, OUTER_IDENTITY, np.int32)
