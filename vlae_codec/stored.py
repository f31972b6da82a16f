"""Tiles without a model: raw samples, or LZMA where that is smaller.

Screenshots and drawings repeat themselves over distances that a small causal window cannot see; noise cannot be
compressed at all. For such tiles the file says so and keeps one of these streams:

    RAW    h * w * C bytes, row by row, channels interleaved
    LZMA   u8 filter (0: none, 1: each byte minus the one C before it, modulo 256), then a raw LZMA2 stream with its
           own end mark, dictionary size 1 MiB; decoded, it is exactly as long as RAW
"""

from __future__ import annotations

import lzma
import zlib
from math import prod
from typing import Any

import numpy as np

from .container import Method
from .errors import CorruptFile

_PLAIN, _DELTA = 0, 1
_DICTIONARY = 1 << 20  # fixed, so that a reader can never be made to allocate more


def store(tile: np.ndarray) -> tuple[Method, bytes]:
    """The smaller of the raw and the LZMA stream, and which it is. ``tile`` is (h, w, C) uint8."""
    raw = tile.tobytes()
    best = raw
    if quick_bound(tile) < len(raw):
        for kind in (_PLAIN, _DELTA):
            filters = _filters(kind, tile.shape[2])
            coded = bytes([kind]) + lzma.compress(raw, lzma.FORMAT_RAW, filters=filters)
            best = min(best, coded, key=len)
    return (Method.RAW if best is raw else Method.LZMA), best


def restore(method: int, data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The tile, (h, w, C) uint8, for a stream of `store`.

    Raises CorruptFile; never decodes more than ``shape`` holds. ValueError for a method other than RAW and LZMA.
    """
    size = prod(shape)
    if method == Method.RAW:
        raw = data
    elif method == Method.LZMA:
        raw = _unpack(data, shape[2], size)
    else:
        raise ValueError(f"method {method} is not a stored one")
    if len(raw) != size:
        raise CorruptFile(f"a stored tile has {len(raw)} bytes instead of {size}: get a fresh copy of the file")
    return np.frombuffer(raw, np.uint8).reshape(shape).copy()


def quick_bound(tile: np.ndarray) -> int:
    """Bytes that a fast general compressor needs for the tile, (h, w, C) uint8: about the most `store` will give.

    zlib at level 1, on the samples or on their differences from the left neighbour, whichever is smaller.
    """
    differences = np.diff(tile, axis=1, prepend=np.uint8(0))
    return min(len(zlib.compress(array.tobytes(), 1)) for array in (tile, differences))


def _unpack(data: bytes, channels: int, size: int) -> bytes:
    """The decoded bytes, at most one more than ``size``."""
    if not data or data[0] not in (_PLAIN, _DELTA):
        raise CorruptFile("a stored tile has no known filter: get a fresh copy of the file")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(data[0], channels))
    try:
        # One byte more than needed lets the decoder see the end mark, and shows a stream that is too long.
        raw = decoder.decompress(data[1:], max_length=size + 1)
    except lzma.LZMAError as error:
        raise CorruptFile("a stored tile does not decode: get a fresh copy of the file") from error
    if not decoder.eof or decoder.unused_data:
        raise CorruptFile("a stored tile has a wrong length: get a fresh copy of the file")
    return raw


def _filters(kind: int, channels: int) -> list[dict[str, Any]]:
    pack = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": _DICTIONARY}
    return [{"id": lzma.FILTER_DELTA, "dist": channels}, pack] if kind == _DELTA else [pack]
