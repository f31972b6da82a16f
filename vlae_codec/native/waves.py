"""Waves: the sets of positions of a grid that a causal window lets go at once.

A window reaches `slope - 1` columns to the right on the rows above, so position (r, c) needs nothing of its own wave
c + slope * r or of a later one. A region of h x w positions takes w + slope * (h - 1) waves. Within a wave rows go from
the top down.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.native.ans import Message, Stack
from vlae_codec.native.library import check, core, pointer


def push_region(message: Message, starts: np.ndarray, freqs: np.ndarray, slope: int, coded: int) -> Message:
    """The message with a region's symbols on top, in the exact reverse of the order in which waves are popped.

    starts, freqs: (H, W, C) uint32; coded: only the first so many channels are pushed. With slope 0 rows do not depend
    on each other, and a wave is a column.
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
