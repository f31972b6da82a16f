"""Other lossless codecs, by imagecodecs (extra `bench`), each on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

NAMES = ("png", "webp", "jxl e3", "jxl e7", "jxl e9")
USUAL = ("png", "webp", "jxl e7")


class Peer(NamedTuple):
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def peers(names: Sequence[str] = USUAL) -> dict[str, Peer]:
    """Codecs of (H, W) or (H, W, 3) uint8: PNG at level 9, WebP by method 6, JPEG XL. Empty without imagecodecs."""
    try:
        import imagecodecs
    except ImportError:
        return {}
    jxl = partial(imagecodecs.jpegxl_encode, lossless=True, numthreads=1)
    webp = partial(imagecodecs.webp_encode, lossless=True, level=100, method=6, numthreads=1)
    found = {
        "png": Peer(partial(imagecodecs.png_encode, level=9), imagecodecs.png_decode),
        "webp": Peer(lambda x: webp(_colour(x)), imagecodecs.webp_decode),
    }
    for effort in (3, 7, 9):
        encode = partial(jxl, effort=effort)
        found[f"jxl e{effort}"] = Peer(encode, partial(imagecodecs.jpegxl_decode, numthreads=1))
    return {name: found[name] for name in names}


def versions() -> dict[str, str]:
    """Of the libraries behind them. Empty without imagecodecs."""
    try:
        import imagecodecs
    except ImportError:
        return {}
    named = (getattr(imagecodecs, f"{kind}_version")() for kind in ("png", "webp", "jpegxl"))
    return {"imagecodecs": imagecodecs.__version__, **dict(name.split(maxsplit=1) for name in named)}


def measure(peer: Peer, pixels: np.ndarray) -> tuple[int, float]:
    """Bytes, 0 if the picture did not come back, and seconds to encode."""
    pixels = np.ascontiguousarray(pixels)
    data, spent = timed(lambda: peer.encode(pixels))
    return (len(data) if same(peer.decode(data), pixels) else 0), spent


def same(back: np.ndarray, pixels: np.ndarray) -> bool:
    """Whether a picture came back, of grey perhaps as colour, of colour perhaps with an alpha channel."""
    if back.ndim == 3:
        back = back[..., 0] if pixels.ndim == 2 else back[..., :3]
    return np.array_equal(back, pixels)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """(what the call returns, its seconds)."""
    begin = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begin


def _colour(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3, -1) if pixels.ndim == 2 else pixels
