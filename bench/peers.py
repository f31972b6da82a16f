"""Other lossless codecs, by imagecodecs (extra `bench`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np


class Peer(NamedTuple):
    encode: Callable[[np.ndarray], bytes | bytearray]
    decode: Callable[[Any], np.ndarray]


def peers() -> dict[str, Peer]:
    """Codecs of (H, W) or (H, W, 3) uint8, JPEG XL on one thread. Empty without imagecodecs."""
    try:
        import imagecodecs
    except ImportError:
        return {}
    jxl = partial(imagecodecs.jpegxl_encode, lossless=True, effort=7, numthreads=1)
    webp = partial(imagecodecs.webp_encode, lossless=True, level=100, method=6)
    return {
        "png": Peer(partial(imagecodecs.png_encode, level=9), imagecodecs.png_decode),
        "webp": Peer(lambda x: webp(_colour(x)), imagecodecs.webp_decode),
        "jxl e7": Peer(jxl, partial(imagecodecs.jpegxl_decode, numthreads=1)),
    }


def measure(peer: Peer, pixels: np.ndarray) -> tuple[int, float]:
    """Bytes, 0 if the picture did not come back, and seconds to encode."""
    pixels = np.ascontiguousarray(pixels)
    data, spent = timed(lambda: peer.encode(pixels))
    back = peer.decode(data)
    if back.ndim == 3:
        back = back[..., 0] if pixels.ndim == 2 else back[..., :3]
    return (len(data) if np.array_equal(back, pixels) else 0), spent


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """(what the call returns, its seconds)."""
    begin = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begin


def _colour(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3, -1) if pixels.ndim == 2 else pixels
