"""Holes: what of the pictures of a damaged file is lost, and what stands there instead.

A hole is grey: each of its samples is half of the levels (0 of signed samples and floats), white in bilevel pictures,
the first colour of a palette; where alpha is lost the picture is opaque. Of a picture with an origin a part may be
`inexact` instead: it was rebuilt from its origin, but the pixels that differ from that are not known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vlae_codec.format.container import ENLARGED, Contents, Part, Piece
from vlae_codec.format.header import BYTES, Kind, Layout

ALPHA = {"LA": 1, "RGBA": 3, "PA": 1, "La": 1, "RGBa": 3}  # mode -> the channel of alpha


class Hole(NamedTuple):
    """A part of a picture that is lost, pixels."""

    picture: int  # its number in the file
    x: int
    y: int
    width: int
    height: int
    first: int  # channel of the samples that are lost, ...
    channels: int  # ... and how many are
    inexact: bool  # what stands there is close to what was
    reason: str


class Holes:
    """Collects what is lost of the pictures of a file while it is decoded, by several threads."""

    def __init__(self, contents: Contents) -> None:
        self.sizes = contents.sizes()
        self.found: list[Hole] = []
        self.lost: set[tuple[int, int, Piece]] = set()  # pieces of groups of samples: number of the first picture, ...
        self.bases: dict[int, np.ndarray] = {}  # of pictures with an origin: (H, W) bool, where it gives no colours

    def lose(self, part: Part, index: int, reason: str) -> None:
        """Takes a record that is damaged."""
        for piece in part.pieces[index]:
            self.lose_piece(part, piece, reason)

    def lose_piece(self, part: Part, piece: Piece, reason: str) -> None:
        number, (y, x, h, w) = piece
        if part.planes.kind == Kind.SAMPLES:
            self.lost.add((part.pictures[0][0], part.channel, piece))
            self._add(part, number, self._place(part, piece), False, reason)
        elif part.planes.kind == Kind.EXCEPTIONS:
            self._add(part, number, (x, y, w, h), True, reason)
        else:
            x, y, w, h = place = self._place(part, piece)
            width, height = self.sizes[number]
            base = self.bases.setdefault(number, np.zeros((height, width), bool))
            base[y : y + h, x : x + w] = True
            self._add(part, number, place, False, reason)

    def is_lost(self, part: Part, piece: Piece) -> bool:
        return (part.pictures[0][0], part.channel, piece) in self.lost

    def has_base(self, piece: Piece) -> bool:
        """Whether a tile of a picture with an origin has all colours that this gives."""
        number, (y, x, h, w) = piece
        return number not in self.bases or not self.bases[number][y : y + h, x : x + w].any()

    def _place(self, part: Part, piece: Piece) -> tuple[int, int, int, int]:
        """(x, y, w, h) in the picture of what a piece of a group gives colours to."""
        number, (y, x, h, w) = piece
        width, height = self.sizes[number]
        around = ENLARGED if part.planes.kind != Kind.SAMPLES else 0
        (sx, sy), (dx, dy) = part.planes.scale, (0, 0)
        if part.planes.kind == Kind.SOURCE:
            (sx, sy), (dx, dy) = part.planes.halved, part.planes.shifted
        left, top = max(0, x * sx + dx - around), max(0, y * sy + dy - around)
        right, bottom = min(width, (x + w) * sx + dx + around), min(height, (y + h) * sy + dy + around)
        return left, top, right - left, bottom - top

    def _add(self, part: Part, number: int, place: tuple[int, int, int, int], inexact: bool, reason: str) -> None:
        if part.planes.kind == Kind.SAMPLES:
            size = BYTES.get(part.layout.type, 1)
            first, last = part.channel // size, (part.channel + part.planes.channels - 1) // size
        else:  # the colours, of which source planes are one channel each
            first, last = 0, 2 if part.layout.channels > 2 else 0
        self.found.append(Hole(number, *place, first, last - first + 1, inexact, reason))

    def fill(self, arrays: list[np.ndarray], layouts: list[Layout]) -> list[Hole]:
        """Puts grey into the symbols (H, W, coded channels) of each picture; returns the holes in their order."""
        for hole in (merged := _merged(self.found)):
            if not hole.inexact:
                _fill(arrays[hole.picture], hole, layouts[hole.picture])
        return merged


def _merged(found: list[Hole]) -> list[Hole]:
    """Each place once, that of several planes of colours, too, with the first reason."""
    places: dict[tuple[object, ...], Hole] = {}
    for hole in sorted(found, key=lambda hole: hole[:8]):
        places.setdefault(hole[:8], hole)
    return list(places.values())


def _fill(symbols: np.ndarray, hole: Hole, layout: Layout) -> None:
    size = BYTES.get(layout.type, 1)
    into = symbols[hole.y : hole.y + hole.height, hole.x : hole.x + hole.width]
    for channel in range(hole.first, hole.first + hole.channels):
        if layout.mode in ("P", "PA") and channel == 0:
            value = 0
        elif ALPHA.get(layout.mode) == channel and layout.type == "unsigned":
            value = layout.levels - 1
        else:
            value = layout.levels // 2
        into[..., channel * size : (channel + 1) * size] = [value, *[0] * (size - 1)]
