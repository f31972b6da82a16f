"""Pictures with an origin: what they were is decoded, and they are rebuilt from that.

luma            coded like a grey picture
chroma          plane by plane, beside what is known (`sources`)
coefficients    in their place, of a JPEG
rebuilt         RGB by the origin's exact formula
exceptions      pixels in which a picture differs from that, tile by tile
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlae_codec.coder.tile import TileCodec
from vlae_codec.format.container import Contents, Part, Piece, Region, rebuilt_region
from vlae_codec.format.header import Kind, Layout
from vlae_codec.limits import Limits
from vlae_codec.native import residual
from vlae_codec.pictures.pieces import each_piece, each_stream
from vlae_codec.origins import temporary as origins
from vlae_codec.pictures.sources import Sources
from vlae_codec.threads import Run

STRIP = 256  # rows that a thread rebuilds at once


class Rebuilding:
    """The first three channels of the pictures of a layout with an origin, on their way."""

    def __init__(self, layout: Layout, contents: Contents, limits: Limits) -> None:
        header = contents.header
        limits.check(0, memory=3 * header.bytes)
        self.layout = layout
        self.sizes = {i: contents.sizes()[i] for i, (number, _, _) in enumerate(header.pictures())}
        self.region = contents.region
        self.origin = origins.Origin.of(layout.origin.data)
        self.sources = Sources()
        self.rebuilt: dict[int, tuple[Region, np.ndarray]] = {}  # of each picture where, and (h, w, 3) uint8

    def take(self, part: Part, codec: TileCodec | None, run: Run, tick: Callable[[int], None]) -> bool:
        """Decodes a part of the layout, in their order; whether that was the last one, and all is rebuilt."""
        if part.planes.kind == Kind.SOURCE:
            self.sources.add(part)
            each_piece(part, codec, self.sources.put, run, tick, self.sources.beside(part, codec))
            return False
        if part.planes.kind == Kind.COEFFICIENTS:
            self.sources.add(part)
            each_stream(part, self.sources.put_coefficients(part), run, tick)
            return False
        for i, width, height in part.pictures:
            x, y, w, h = where = (
                (0, 0, width, height)
                if self.region is None
                else rebuilt_region(self.region, part.layout, width, height)
            )
            rgb = np.empty((h, w, 3), np.uint8)
            self.rebuilt[i] = where, rgb

            def strip(top: int) -> None:
                rows = min(STRIP, h - top)
                place = (x, y + top, w, rows)
                rgb[top : top + rows] = origins.rebuild(self.origin, self.sources.planes[i], width, height, place)

            run(strip, range(0, h, STRIP))
        each_stream(part, self._mend, run, tick)
        return True

    def _mend(self, piece: Piece, data: bytes) -> None:
        i, (y, x, h, w) = piece
        (left, top, _, _), rgb = self.rebuilt[i]
        tile = rgb[y - top : y - top + h, x - left : x - left + w]
        if data:
            tile[...] = residual.decode(data, np.ascontiguousarray(tile))

    def put(self, arrays: list[np.ndarray], corner: tuple[int, int]) -> None:
        """Puts what was rebuilt where it stands in the pictures, or in a region that has this corner."""
        for i, ((x, y, _, _), rgb) in self.rebuilt.items():
            into = arrays[i]
            h, w = into.shape[:2]
            left, top = corner[0] - x, corner[1] - y
            into[..., :3] = rgb[top : top + h, left : left + w]
