"""Exceptions: pixels that differ from pixels the decoder has already, as bytes.

A tile that a formula makes from other planes is mostly what it should be. `encode` codes where it is not, and what its
pixels are there, by adaptive binary arithmetic coding; the core's `residual.h` says how. Clusters of small differences,
as clipping makes them, cost least; something else laid over the tile costs about what a lossless codec takes for it.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.native.library import aligned, check, core, pointer, span

DAMAGED = "the exceptions of a tile are damaged: get a fresh copy of the file"


def encode(base: np.ndarray, true: np.ndarray) -> bytes:
    """The data from which `decode` makes `true` of `base`, both (h, w, 3) uint8; empty if they are equal.

    Raises ValueError for arrays of other or of different shapes.
    """
    if true.shape != base.shape or base.ndim != 3 or base.shape[2] != 3:
        raise ValueError(f"both must be (h, w, 3), not {base.shape} and {true.shape}")
    if np.array_equal(base, true):
        return b""
    base, true = np.ascontiguousarray(base), np.ascontiguousarray(true)
    (height, width, _), room = base.shape, true.size + 64
    scratch = aligned(check(core.vlae_residual_scratch(height, width), "a tile"))
    while True:
        data = np.empty(room, np.uint8)
        args = (pointer(base, np.uint8), pointer(true, np.uint8), height, width, *span(data), *span(scratch))
        needed = check(core.vlae_residual_encode(*args), "exceptions")
        if needed <= room:
            return data[:needed].tobytes()
        room = needed


def decode(data: bytes, base: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: what `encode` was given with this base. Raises CorruptFile for data that it did not write."""
    if not data or not base.size:
        if data:
            raise CorruptFile(DAMAGED)
        return base.copy()
    base, packed = np.ascontiguousarray(base), np.frombuffer(data, np.uint8)
    height, width, _ = base.shape
    true = np.zeros_like(base)
    scratch = aligned(check(core.vlae_residual_scratch(height, width), "a tile"))
    args = (pointer(base, np.uint8), pointer(true, np.uint8), height, width, *span(packed), *span(scratch))
    if core.vlae_residual_decode(*args) < 0:
        raise CorruptFile(DAMAGED)
    return true
