"""Other lossless codecs, by imagecodecs (extra `bench`), each on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

SETTINGS = {  # name -> how it is called
    "png": "level 9",
    "webp": "lossless, method 6; grey as three equal channels",
    "jpeg2000": "reversible wavelet and colour transform, a bare codestream",
    "jpegls": "lossless, the channels as they are",
    "jxl e3": "lossless, effort 3",
    "jxl e7": "lossless, effort 7",
    "jxl e9": "lossless, effort 9",
    "qoi": "grey as three equal channels",
    "avif": "quality 100, speed 6, full range, 4:4:4, identity matrix",
}
NAMES = tuple(SETTINGS)
USUAL = ("png", "webp", "jxl e7")
LIBRARIES = ("png", "webp", "jpeg2k", "jpegls", "jpegxl", "qoi", "avif")


class Peer(NamedTuple):
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def peers(names: Sequence[str] = USUAL) -> dict[str, Peer]:
    """Codecs of (H, W) or (H, W, 3) uint8, called as SETTINGS says. Empty without imagecodecs."""
    try:
        import imagecodecs
    except ImportError:
        return {}
    webp = partial(imagecodecs.webp_encode, lossless=True, level=100, method=6, numthreads=1)
    jpeg2000 = partial(imagecodecs.jpeg2k_encode, level=0, reversible=True, codecformat="j2k", numthreads=1)
    # At level 100 imagecodecs takes full range and, in colour, the identity matrix.
    avif = partial(imagecodecs.avif_encode, level=100, speed=6, pixelformat="444", numthreads=1)
    found = {
        "png": Peer(partial(imagecodecs.png_encode, level=9), imagecodecs.png_decode),
        "webp": Peer(lambda x: webp(_colour(x)), imagecodecs.webp_decode),
        "jpeg2000": Peer(jpeg2000, partial(imagecodecs.jpeg2k_decode, numthreads=1)),
        "jpegls": Peer(_jpegls(imagecodecs), imagecodecs.jpegls_decode),
        "qoi": Peer(lambda x: imagecodecs.qoi_encode(_colour(x)), imagecodecs.qoi_decode),
        "avif": Peer(avif, partial(imagecodecs.avif_decode, numthreads=1)),
    }
    for effort in (3, 7, 9):
        encode = partial(imagecodecs.jpegxl_encode, lossless=True, effort=effort, numthreads=1)
        found[f"jxl e{effort}"] = Peer(encode, partial(imagecodecs.jpegxl_decode, numthreads=1))
    return {name: found[name] for name in names}


def _jpegls(imagecodecs: Any) -> Callable[[Any], Any]:
    """With room for files larger than the pixels; imagecodecs' own choice has too little for noise."""
    return lambda x: imagecodecs.jpegls_encode(x, level=0, out=2 * x.nbytes + 4096)


def versions() -> dict[str, str]:
    """The versions of the libraries behind them; empty without imagecodecs."""
    try:
        import imagecodecs
    except ImportError:
        return {}
    at_hand = [kind for kind in LIBRARIES if getattr(imagecodecs, kind.upper()).available]
    named = (getattr(imagecodecs, f"{kind}_version")() for kind in at_hand)
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
