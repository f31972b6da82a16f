"""Waves: all positions of a grid that a causal A x B window lets go at once.

With a window that reaches `slope - 1` columns to the right on the rows above, position (r, c) needs nothing of its own
wave c + slope * r or of a later one. So a region of h x w positions takes w + slope * (h - 1) steps. Within a wave rows
go from the top down.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.native.ans import Message, Stack
from vlae_codec.native.library import check, core, pointer


def window_offsets(window: tuple[int, int]) -> np.ndarray:
    """(n, 2) int64 of (row, column) offsets of the causal A x B window: B rows of A above, A // 2 to the left."""
    wide, up = window
    reach = wide // 2
    above = [(-r, c) for r in range(up, 0, -1) for c in range(-reach, reach + 1)]
    return np.array(above + [(0, c) for c in range(-reach, 0)], np.int64)


def window_slope(window: tuple[int, int]) -> int:
    """Columns that a wave shifts per row."""
    return window[0] // 2 + 1


def push_region(message: Message, starts: np.ndarray, freqs: np.ndarray, slope: int, coded: int) -> Message:
    """The message with a region's symbols on top, in the exact reverse of the order in which waves are popped.

    starts, freqs: (H, W, C) uint32. Slope 0: rows do not depend on each other, a wave is a column.
    """
    height, width, channels = starts.shape
    if freqs.shape != starts.shape:
        raise ValueError(f"starts and freqs must be of one shape, not {starts.shape} and {freqs.shape}")
    if not starts.size:
        return message
    stack = Stack(message, height * width * coded)
    starts, freqs = np.ascontiguousarray(starts), np.ascontiguousarray(freqs)
    args = (pointer(starts, np.uint32), pointer(freqs, np.uint32), height, width, slope, channels, coded)
    check(core.vlae_push_region(stack.struct, *args), "a region")
    return stack.message()
