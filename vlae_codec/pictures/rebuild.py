"""Pictures with an origin: what they were is decoded, and they are rebuilt from that.

luma            coded like a grey picture
chroma          plane by plane, beside what is known (`sources`)
coefficients    in their place, of a JPEG (`blocks`)
rebuilt         the colours, by the origin's exact formula
exceptions      pixels in which a picture differs from that, tile by tile
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile
from vlae_codec.format.container import Contents, Part, Piece, Region, rebuilt_region
from vlae_codec.format.header import Kind
from vlae_codec.jpeg import decode as jpeg
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.parameters import Parameters, unpack
from vlae_codec.limits import Limits
from vlae_codec.native import residual
from vlae_codec.pictures.blocks import no_coefficients, read_blocks
from vlae_codec.pictures.holes import Holes
from vlae_codec.pictures.pieces import each_piece, each_stream
from vlae_codec.pictures.sources import Sources, origin_of, rebuild_planes
from vlae_codec.threads import Run

STRIP = 256  # rows that a thread rebuilds at once


class Rebuilding:
    """The colours of the pictures of a layout with an origin, on their way."""

    def __init__(self, contents: Contents, limits: Limits, holes: Holes | None = None) -> None:
        limits.check(0, memory=(3 if holes is None else 4) * contents.header.bytes)
        self.holes = holes
        self.region, self.limits = contents.region, limits
        self.sources = Sources()
        self.coefficients: dict[int, Coefficients] = {}
        self.rebuilt: dict[int, tuple[Region, np.ndarray]] = {}  # of each picture where, and (h, w, colours) uint8

    def take(self, part: Part, codec: TileCodec | None, run: Run, tick: Callable[[int], None]) -> bool:
        """Decodes a part of the layout, in their order; whether that was the last one, and all is rebuilt."""
        lose = None if self.holes is None else self.holes.lose
        if part.planes.kind == Kind.SOURCE:
            assert part.layout.origin is not None
            origin_of(part.layout.origin)  # one that does not exist is refused before its planes are decoded
            self.sources.add(part)
            each_piece(part, codec, self.sources.put, run, tick, self.sources.beside(part, codec), lose)
            return False
        if part.planes.kind == Kind.COEFFICIENTS:
            parameters = jpeg_parameters(part)
            for i, width, height in part.pictures:
                self.coefficients[i] = no_coefficients(parameters, width, height, self.limits)
            each_stream(part, self._put_blocks, run, tick, lose)
            return False
        for i, width, height in part.pictures:
            whole = 0, 0, width, height
            where = whole if self.region is None else rebuilt_region(self.region, part.layout, width, height)
            self.rebuilt[i] = where, self._rebuild(part, i, (width, height), where, run)
        each_stream(part, partial(self._mend, part), run, tick, lose)
        return True

    def _rebuild(self, part: Part, number: int, size: tuple[int, int], where: Region, run: Run) -> np.ndarray:
        x, y, w, h = where
        rebuilt = np.empty((h, w, part.planes.channels), np.uint8)

        def strip(top: int) -> None:
            rows = min(STRIP, h - top)
            if number in self.coefficients:
                wide = decode_coefficients(part, self.coefficients[number], (y + top, y + top + rows))
                rebuilt[top : top + rows] = wide[:, x : x + w]
            else:
                place = x, y + top, w, rows
                rebuilt[top : top + rows] = rebuild_planes(part.layout, self.sources.planes[number], size, place)

        run(strip, range(0, h, STRIP))
        return rebuilt

    def _put_blocks(self, piece: Piece, data: bytes) -> None:
        read_blocks(self.coefficients[piece[0]], piece, data)

    def _mend(self, part: Part, piece: Piece, data: bytes) -> None:
        """Puts the exceptions of a tile in, which take all of it as it was rebuilt when they were coded."""
        if data and self.holes is not None and not self.holes.has_base(piece):
            self.holes.lose_piece(part, piece, "a part of what it was rebuilt from is lost")
            return
        i, (y, x, h, w) = piece
        (left, top, _, _), rebuilt = self.rebuilt[i]
        tile = rebuilt[y - top : y - top + h, x - left : x - left + w]
        if data:
            tile[...] = residual.decode(data, np.broadcast_to(tile, (h, w, 3)))[..., : tile.shape[2]]

    def put(self, arrays: list[np.ndarray], corner: tuple[int, int]) -> None:
        """Puts what was rebuilt where it stands in the pictures, or in a region that has this corner."""
        for i, ((x, y, _, _), rebuilt) in self.rebuilt.items():
            h, w, _ = arrays[i].shape
            left, top = corner[0] - x, corner[1] - y
            arrays[i][..., : rebuilt.shape[2]] = rebuilt[top : top + h, left : left + w]


def jpeg_parameters(part: Part) -> Parameters:
    """Those of the origin of a part of coefficients. Raises CorruptFile."""
    assert part.layout.origin is not None
    found = unpack(part.layout.origin.data)
    if len(found.sampling) != part.planes.channels:
        raise CorruptFile("a JPEG has other components than its picture: get a fresh copy of the file")
    return found


def decode_coefficients(part: Part, coefficients: Coefficients, rows: tuple[int, int]) -> np.ndarray:
    """(rows, W, colours) uint8 of the picture. Blocks that only fill up whole units are not looked at."""
    assert part.layout.origin is not None
    needed = (
        blocks[:down, :across]
        for blocks, (down, across) in zip(coefficients.blocks, map(coefficients.grid, range(part.planes.channels)))
    )
    coefficients = replace(coefficients, blocks=tuple(needed))
    converted = unpack(part.layout.origin.data).converted
    above, (before, behind) = coefficients.cut.top, coefficients.cut.pads[1]
    found = jpeg.decode(coefficients, converted=converted, rows=(above + rows[0], above + rows[1]))
    return found.reshape(*found.shape[:2], -1)[:, before : coefficients.width - behind]
