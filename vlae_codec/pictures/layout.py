"""How the planes of pictures are coded: an encoder's choice of groups, scales, values and shifts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from vlae_codec.format.container import Part, Piece
from vlae_codec.format.header import MAX_TILE, Layout, Planes
from vlae_codec.pictures.modes import numbers_of, pack_values
from vlae_codec.pictures.sources import Beside

SPARSE = 0.8  # of the values that there can be: if no more occur, a table of them may pay
NARROW = 0.98  # of up to 256 values, if no channel has more and some are missing between common ones or were clipped
COMMON = 256  # samples for one of a value that is common
STRIP = 64  # of so many rows one is looked at first
PALETTES = ("P", "PA")


class Source(NamedTuple):
    """A group of planes of all pictures of a layout, as symbols."""

    part: Part  # without records
    symbols: dict[int, np.ndarray]  # of each picture, by its number in the file: (h, w, C)
    beside: Beside | None = None  # of source planes whose model takes what is known beside them

    def piece(self, piece: Piece) -> np.ndarray:
        """The symbols of a piece, a view."""
        i, (y, x, h, w) = piece
        return self.symbols[i][y : y + h, x : x + w]


def groups_of(layout: Layout) -> list[int]:
    """The channels of each group of planes, when models code them: three colours together, all else alone."""
    if layout.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "RGBa", "RGBX") and layout.coded_channels < 5:
        return [3] + [1] * (layout.coded_channels - 3)
    return [1] * layout.coded_channels


def make_source(
    layout: Layout, planes: Planes, channel: int, pictures: dict[int, np.ndarray], tables: Sequence[np.ndarray] = ()
) -> Source:
    """The group of planes from `channel` on. pictures: all symbols (H, W, C) of each; tables: the planes' values."""
    sx, sy = planes.scale
    symbols = {}
    for i, all_of_it in pictures.items():
        part = all_of_it[::sy, ::sx, channel : channel + planes.channels]
        symbols[i] = numbers_of(part, tables, planes.levels) if planes.values else part
    sizes = tuple((i, one.shape[1], one.shape[0]) for i, one in symbols.items())
    return Source(Part(layout, planes, channel, sizes), symbols)


def whole_tile(source: Source) -> Source | None:
    """The same with each picture in one tile, or few, and without a model; None of chains."""
    edge = max(max(width, height) for _, width, height in source.part.pictures)
    planes = replace(source.part.planes, model_id=None, shift=0, tile_size=min(-(-edge // 8) * 8, MAX_TILE))
    if planes.chains:
        return None
    return Source(replace(source.part, planes=planes), source.symbols)


def find_scale(pictures: Sequence[np.ndarray]) -> tuple[int, int]:
    """(columns, rows) of the largest blocks, at most 255 each, of which all samples (H, W, C) are equal."""
    return _period(pictures, 1), _period(pictures, 0)


def _period(pictures: Sequence[np.ndarray], axis: int) -> int:
    found = 0
    for step in (STRIP, 1):  # of most pictures a few rows show that there is none
        for symbols in pictures:
            part = symbols[::step] if axis else symbols[:, ::step]
            changed = part[:, 1:] != part[:, :-1] if axis else part[1:] != part[:-1]
            places = np.flatnonzero(changed.any(axis=(1 - axis, 2))) + 1
            found = reduce(math.gcd, map(int, places), found)
            if found == 1:
                return 1
    if not found:
        return min(255, max(symbols.shape[axis] for symbols in pictures))
    return max((factor for factor in range(1, 256) if found % factor == 0), default=1)


def find_values(pictures: Sequence[np.ndarray], levels: int) -> list[np.ndarray]:
    """The values that samples (H, W, C) have, a table for each channel or one for all; none where most values occur."""
    if not _gaps(_counts([symbols[::STRIP] for symbols in pictures], levels)):
        return []
    counts = _counts(pictures, levels)
    if not _gaps(counts):
        return []
    tables, union = [np.flatnonzero(channel) for channel in counts], np.flatnonzero(counts.any(0))
    if len(tables) > 1 and len(union) <= 1.05 * max(map(len, tables)):
        return [union]
    return tables


def _counts(pictures: Sequence[np.ndarray], levels: int) -> np.ndarray:
    """(C, levels) int64: how often each value occurs in each channel."""
    each = (np.bincount(one[..., c].ravel(), minlength=levels) for one in pictures for c in range(one.shape[2]))
    return np.array(list(each), np.int64).reshape(len(pictures), -1, levels).sum(0)


def _gaps(counts: np.ndarray) -> bool:
    """Whether many values do not occur: a few, if their neighbours are common or levels were clipped to others."""
    used, levels = counts > 0, counts.shape[1]
    most, spans = used.sum(1).max(), levels - used.argmax(1) - used[:, ::-1].argmax(1)
    if most < 2:
        return False
    if used.sum() <= SPARSE * (spans.sum() if levels <= 256 else used.size):
        return True
    common = counts * COMMON > counts.sum(1, keepdims=True)
    between = ~used[:, 1:-1] & common[:, :-2] & common[:, 2:]
    ends = [common[c, np.flatnonzero(used[c])[[0, -1]]] for c in range(len(used))]
    return bool(levels <= 256 and most <= NARROW * levels and (between.any() or np.any(ends)))


def by_lightness(palette: np.ndarray, levels: int) -> np.ndarray:
    """The indices below `levels` in the order of their colours' lightness, those beyond the palette last."""
    colours = palette[:levels].astype(np.int64)
    order = np.argsort(299 * colours[:, 0] + 587 * colours[:, 1] + 114 * colours[:, 2], kind="stable")
    return np.concatenate([order, np.arange(len(order), levels)])


def with_values(planes: Planes, tables: Sequence[np.ndarray], layout: Layout) -> Planes:
    """The planes with values: as many levels as the longest table has values."""
    return replace(planes, levels=max(2, *map(len, tables)), values=pack_values(tables, layout))
