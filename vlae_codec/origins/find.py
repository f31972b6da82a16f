"""The way back: which origin a picture has, if any, and its source planes.

A conversion from YCbCr uses one RGB colour in four (JFIF) to nine (PhotoCD). So some hundred colours of a picture tell
whether it went through one: by chance few of them have a YCbCr. How chroma was enlarged is tried where it changes most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from vlae_codec.native import origins as native
from vlae_codec.origins.conversions import CONVERSIONS, formula
from vlae_codec.origins.names import GREY
from vlae_codec.origins.origin import Origin, grid

SAMPLE = 4096  # pixels that are looked at first
FEW, FIRST, MANY = 48, 128, 1024  # colours: fewer tell nothing; asked of each conversion; of those that may be
SHARE = 0.6  # of the colours, or of the pixels, that must have a YCbCr
BLOCK = 64  # edge of the parts of a picture on which enlargements are tried; even, as phases must stay
BLOCKS = 3
EFFORT = 400  # questions a pixel, whether it fits, that the search for half-size chroma may ask
FINER, CLOSE = 100, 0.9  # the same on the parts, between ways whose first guess fits so much of the best one's pixels
ENOUGH = 0.75  # of the pixels of a part that fit at full size must fit the first guess of half-size chroma
MOST_EXCEPTIONS = 0.04  # of the pixels, with half-size chroma


@dataclass(frozen=True)
class Found:
    """An origin, the source planes (height, width) uint8, and how many pixels they do not give exactly."""

    origin: Origin
    planes: list[np.ndarray]
    exceptions: int


def find(pixels: np.ndarray) -> Found | None:
    """The origin of a picture (height, width, 3) uint8, if it has one."""
    if not pixels.size:
        return None
    sample = _sample(pixels)
    if _is_grey(sample) and _is_grey(pixels):
        return Found(Origin(GREY), [np.ascontiguousarray(pixels[..., 0])], 0)
    conversion = _conversion(sample)
    if conversion is None:
        return None
    pixels = np.ascontiguousarray(pixels)
    cb, cr, known = native.chroma(formula(conversion), pixels.reshape(-1, 3))
    if known < SHARE * (known + np.count_nonzero(cb == native.NONE)):
        return None
    wanted = cb.reshape(pixels.shape[:2]), cr.reshape(pixels.shape[:2])
    origin = _enlargement(conversion, pixels, wanted)
    found = invert(origin, pixels, wanted)
    if origin.enlargement != "none" and found.exceptions > MOST_EXCEPTIONS * cb.size:
        found = invert(Origin(conversion), pixels, wanted)
    return found


def is_suspect(pixels: np.ndarray) -> bool:
    """Whether a picture (height, width, 3) uint8 may have an origin, as a sample of it tells."""
    sample = _sample(pixels)
    return _is_grey(sample) or _conversion(sample) is not None


def invert(
    origin: Origin, pixels: np.ndarray, wanted: tuple[np.ndarray, np.ndarray] | None = None, effort: int = EFFORT
) -> Found:
    """Source planes of a picture (height, width, 3) uint8 for a given origin; wanted: what `native.chroma` says of it.

    effort: how many questions a pixel, whether it fits, the search may ask; 0: the first guess stays.
    """
    height, width, _ = pixels.shape
    pixels = np.ascontiguousarray(pixels)
    if origin.channels == 1:
        plane = np.ascontiguousarray(pixels[..., 1])
        return Found(origin, [plane], int(np.count_nonzero((pixels != plane[..., None]).any(2))))
    how, where = formula(origin.conversion), grid(origin, width, height)
    if wanted is None:
        cb, cr, _ = native.chroma(how, pixels.reshape(-1, 3))
        wanted = cb.reshape(height, width), cr.reshape(height, width)
    chroma, _ = native.halve(how, where, pixels, wanted, effort * width * height)
    luma, exact = native.luma(how, where, pixels, chroma)
    return Found(origin, [luma, *chroma], width * height - exact)


def _sample(pixels: np.ndarray) -> np.ndarray:
    """(n, 3): pixels from all over the picture."""
    height, width, _ = pixels.shape
    step = max(1, int((height * width / SAMPLE) ** 0.5))
    return np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step]).reshape(-1, 3)


def _is_grey(pixels: np.ndarray) -> bool:
    return np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])


def _conversion(sample: np.ndarray) -> str | None:
    """The conversion that gives most of the colours. Grey ones and clipped ones say nothing."""
    r, g, b = (sample[:, k].astype(np.int32) for k in range(3))
    told = (sample.min(1) > 0) & (sample.max(1) < 255) & ((r != g) | (g != b))
    packed = np.unique((r << 16 | g << 8 | b)[told])
    packed = packed[:: len(packed) // MANY + 1]
    if len(packed) < FEW:
        return None
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1).astype(np.uint8)
    shares = dict.fromkeys(CONVERSIONS, 1.0)
    for count in (FIRST, MANY):
        some = np.ascontiguousarray(colours[:: len(colours) // (count + 1) + 1])
        shares = {name: native.chroma(formula(name), some)[2] / len(some) for name in shares}
        shares = {name: share for name, share in shares.items() if share >= SHARE}
    return max(shares, key=shares.__getitem__, default=None)


def _candidates(conversion: str) -> Iterator[Origin]:
    """Ways of enlargement, those of the fewest samples first."""
    for halved in ((2, 2), (2, 1), (1, 2)):
        for enlargement in CONVERSIONS[conversion].enlargements:
            for phase in product(range(halved[0]), range(halved[1])):
                yield Origin(conversion, enlargement, halved, phase)


def _enlargement(conversion: str, pixels: np.ndarray, wanted: tuple[np.ndarray, np.ndarray]) -> Origin:
    """The way of enlargement that fits the liveliest parts of the picture best."""
    parts = _lively(wanted)

    def fits(origin: Origin, effort: int = 0) -> int:
        count = 0
        for y, x in parts:
            part = np.s_[y : y + BLOCK, x : x + BLOCK]
            chroma = np.ascontiguousarray(wanted[0][part]), np.ascontiguousarray(wanted[1][part])
            found = invert(origin, pixels[part], chroma, effort)
            count += found.planes[0].size - found.exceptions
        return count

    counts = {origin: fits(origin) for origin in _candidates(conversion)}
    least = max(ENOUGH * fits(Origin(conversion)), CLOSE * max(counts.values(), default=0))
    counts = {origin: count for origin, count in counts.items() if count >= least}
    if len(counts) > 1:
        counts = {origin: fits(origin, FINER) for origin in counts}
    return max(counts, key=counts.__getitem__, default=Origin(conversion))


def _lively(wanted: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int]]:
    """Corners of the blocks in which known chroma changes most."""
    height, width = wanted[0].shape
    change = np.zeros((height, width), np.int32)
    for plane in wanted:
        for axis in (0, 1):
            a, b = (plane[:-1], plane[1:]) if axis == 0 else (plane[:, :-1], plane[:, 1:])
            change[: a.shape[0], : a.shape[1]] += np.where((a >= 0) & (b >= 0), np.abs(a - b), 0)
    rows, columns = np.arange(0, height, BLOCK), np.arange(0, width, BLOCK)
    sums = np.add.reduceat(np.add.reduceat(change, rows, 0), columns, 1)
    order = np.argsort(-sums, axis=None, kind="stable")[:BLOCKS]
    return [(int(rows[at // len(columns)]), int(columns[at % len(columns)])) for at in order]
