"""Sets of RGB triples: those that a conversion from YCbCr gives. Coded as RGB, a picture of such needs of the last
channel only the values that the first two leave (`native.mixture`).

Of 2^24 triples JFIF's conversion gives 25 %, PhotoCD's 13 %, libwebp's 18 %.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vlae_codec.contract import MAX_ESCAPE
from vlae_codec.native import origins as native
from vlae_codec.origins.conversions import formula


@lru_cache(maxsize=2)
def triples(conversion: str) -> np.ndarray:
    """The set of a conversion, as `native.origins.triples` gives it; read-only. Raises KeyError if there is none."""
    made = native.triples(formula(conversion))
    made.flags.writeable = False
    return made


def outside(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(H, W) bool: which pixels of x (H, W, 3) uint8 are not in a set."""
    r, g, b = np.moveaxis(x, 2, 0)
    words = values[r.astype(np.int32) << 8 | g, b >> 6]
    return (words >> (b & 63).astype(np.uint64) & np.uint64(1)) == 0


def best_escape(strange: np.ndarray) -> int:
    """The escape, 1 .. 16, for pixels of which these, (H, W) bool, are outside the set: about -log2 of their share.

    Those beside one, for which there is another escape, are not counted.
    """
    beside, width = np.zeros_like(strange), strange.shape[1]
    beside[1:] |= strange[:-1]
    for left, right in ((slice(1, width), slice(0, width - 1)), (slice(0, width - 1), slice(1, width))):
        beside[1:, left] |= strange[:-1, right]
    beside[:, 1:] |= strange[:, :-1]
    count, total = int((strange & ~beside).sum()), int((~beside).sum())
    if not count:
        return MAX_ESCAPE
    return min(max((1443 * total // (1000 * count)).bit_length() - 1, 1), MAX_ESCAPE)
