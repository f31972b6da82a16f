"""The JPEG that a picture was decoded from: its tables and coefficients, found in the pixels.

Here: pixels -> where the grid begins and how chroma was halved (`grid`) -> chroma (`chroma`) -> the interval of Y of
each pixel -> tables and coefficients (`search`, `tables`) -> exact decoding (`decode`), which says what is wrong. All
of it is integers, so that it is the same on every machine.

Chroma comes first, since clipped pixels leave Y open unless their chroma is known. What a picture lacks of its outer
blocks is open as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.chroma import find_chroma
from vlae_codec.jpeg.coefficients import Coefficients, Cut
from vlae_codec.jpeg.grid import find_grid, find_sampling
from vlae_codec.jpeg.search import Found, Plane, colours_back, find
from vlae_codec.native.library import check, core, pointer

LEAST = 0.8  # part of the pixels that must come out


@dataclass(frozen=True)
class Recovered:
    """Coefficients, and which pixels (H, W) bool their decoding gives wrongly."""

    coefficients: Coefficients
    wrong: np.ndarray

    @property
    def exact(self) -> bool:
        return not self.wrong.any()


def recover(pixels: np.ndarray) -> Recovered | None:
    """The JPEG of a picture (H, W) or (H, W, 3) uint8, or of which it is a part; None if it shows no signs of one.

    It is None as well if more than a fifth of the pixels come out wrongly. Pixels that were changed since, are clipped,
    or stand in blocks that are cut may stay wrong.
    """
    pixels = np.ascontiguousarray(pixels)
    grid = find_grid(pixels)
    if grid is None:
        return None
    if pixels.ndim == 2:
        cut = Cut(*grid)
        return _result(pixels, (1, 1), cut, [find(Plane(pixels, pixels, pixels).grown(cut))])
    luma, planes = colours_back(pixels)
    factors, cut = find_sampling(planes, grid)
    chroma = find_chroma(pixels, planes, factors, cut)
    low, high = np.empty_like(luma), np.empty_like(luma)
    inputs = [pixels, *(component.enlarged() for component in chroma)]
    places = (pointer(each, np.uint8) for each in inputs)
    check(core.vlae_luma_range(*places, luma.size, pointer(low, np.uint8), pointer(high, np.uint8)), "a picture")
    lost = low > high
    low[lost], high[lost] = 0, 255
    found = find(Plane(np.clip(luma, low, high), low, high).grown(cut))
    return _result(pixels, factors, cut, [found, *(component.found for component in chroma)])


def _result(pixels: np.ndarray, factors: tuple[int, int], cut: Cut, found: list[Found]) -> Recovered | None:
    sampling = (factors, (1, 1), (1, 1))[: len(found)]
    tables, blocks = (tuple(part) for part in zip(*found, strict=True))
    (above, below), (before, behind) = cut.pads
    width, height = before + pixels.shape[1] + behind, above + pixels.shape[0] + below
    coefficients = Coefficients(width, height, sampling, tables, blocks, cut)
    wrong = cut.of(decode.decode(coefficients)) != pixels
    if wrong.ndim == 3:
        wrong = wrong.any(2)
    return Recovered(coefficients, wrong) if wrong.mean() <= 1 - LEAST else None
