"""Sets of RGB triples: those that a conversion from YCbCr gives. Of the last channel only what the first two leave is
coded (`mixture`).

Of 2^24 triples JFIF's conversion gives 25 %, PhotoCD's 13 %, libwebp's 18 %; `core/values.h` has the integers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vlae_codec.contract import MAX_ESCAPE
from vlae_codec.native.library import check, core, pointer

CONVERSIONS = ("jfif", "photocd", "webp")  # in the order of the core


@lru_cache(maxsize=2)
def values_of(conversion: str) -> np.ndarray:
    """(65536, 4) uint64, read-only: for each first and second value, 256 r + g, a bit for each third value.

    Bit b % 64 of word b / 64 says whether (r, g, b) is a triple of the conversion. Raises ValueError for one that is not
    in CONVERSIONS.
    """
    made = np.empty((1 << 16, 4), np.uint64)
    check(core.vlae_fill_set(CONVERSIONS.index(conversion), pointer(made, np.uint64), made.size), conversion)
    made.flags.writeable = False
    return made


def outside(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(H, W) bool: which pixels of x (H, W, 3) uint8 are not in a set of `values_of`."""
    r, g, b = np.moveaxis(x, 2, 0)
    words = values[r.astype(np.int32) << 8 | g, b >> 6]
    return (words >> (b & 63).astype(np.uint64) & np.uint64(1)) == 0


def best_escape(strange: np.ndarray) -> int:
    """The escape, 1 .. 16, for pixels of which these, (H, W) bool, are outside the set: about log2 of their share.

    Those beside another one, which have an escape of their own, are not counted.
    """
    beside = np.zeros_like(strange)
    beside[1:] |= strange[:-1]
    beside[:, 1:] |= strange[:, :-1]
    count, total = int((strange & ~beside).sum()), int((~beside).sum())
    return min(max((1443 * total // (1000 * count)).bit_length() - 1, 1), MAX_ESCAPE) if count else MAX_ESCAPE
