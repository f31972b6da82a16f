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
    channels = pictures[0].shape[2]
    if not _gaps([_used([symbols[::STRIP] for symbols in pictures], c, levels) for c in range(channels)], levels):
        return []
    tables = [_used(pictures, c, levels) for c in range(channels)]
    if not _gaps(tables, levels):
        return []
    union = np.unique(np.concatenate(tables))
    if channels > 1 and len(union) <= 1.05 * max(map(len, tables)):
        return [union]
    return tables


def _gaps(tables: Sequence[np.ndarray], levels: int) -> bool:
    """Whether many values do not occur: of up to 256 levels, of those between the least and the greatest."""
    spans = sum(int(table[-1] - table[0]) + 1 for table in tables)
    room = levels * len(tables) if levels > 256 else spans
    return sum(map(len, tables)) <= SPARSE * room and spans > len(tables)


def _used(pictures: Sequence[np.ndarray], channel: int, levels: int) -> np.ndarray:
    counts = np.zeros(levels, np.int64)
    for symbols in pictures:
        counts += np.bincount(symbols[..., channel].ravel(), minlength=levels)
    return np.flatnonzero(counts)


def by_lightness(palette: np.ndarray, levels: int) -> np.ndarray:
    """The indices below `levels` in the order of their colours' lightness, those beyond the palette last."""
    colours = palette[:levels].astype(np.int64)
    order = np.argsort(299 * colours[:, 0] + 587 * colours[:, 1] + 114 * colours[:, 2], kind="stable")
    return np.concatenate([order, np.arange(len(order), levels)])


def with_values(planes: Planes, tables: Sequence[np.ndarray], layout: Layout) -> Planes:
    """The planes with values: as many levels as the longest table has values."""
    return replace(planes, levels=max(2, *map(len, tables)), values=pack_values(tables, layout))
