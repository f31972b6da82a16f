"""An encoder's search for what pictures were before they were RGB, and their streams if they had an origin.

    JPEG            coefficients that give the very pixels, or nearly
    source planes   luma and chroma, the latter perhaps at half size
    values          RGB as ever, but the last channel has only values that a conversion from YCbCr leaves

What is smallest is kept; so no file grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vlae_codec.errors import InputError
from vlae_codec.format.container import Method, Part, TileRecord
from vlae_codec.format.header import COLOURED, SOURCE_PLANES, Kind, Layout, Origin, Planes
from vlae_codec.native import residual
from vlae_codec.origins.find import Found, find
from vlae_codec.origins.origin import rebuild
from vlae_codec.pictures.codec import find_codec
from vlae_codec.pictures.layout import Source
from vlae_codec.pictures.planes import Options, encode_planes, size_of
from vlae_codec.pictures.sources import Sources, geometry_of
from vlae_codec.threads import Run

CHROMA_TILE = 256  # samples of a plane at half size: as much of a picture as a tile of luma has
SURE = 0.9  # of what the first channels take as they are, as a sample tells, below which that is not made


def may_have_origin(layout: Layout, pictures: dict[int, np.ndarray], chains: int | None, options: Options) -> bool:
    """Whether an origin of pictures (H, W, C) is to be looked for."""
    if options.origin == "none" or (options.origin == "auto" and options.model is not None):
        return False
    return (
        layout.mode in COLOURED
        and (layout.type, layout.levels) == ("unsigned", 256)
        and len(pictures) == 1
        and chains == 0
    )


def encode_origins(
    layout: Layout, pictures: dict[int, np.ndarray], options: Options, run: Run
) -> Iterator[tuple[Origin, list[Part]]]:
    """Origins of the only picture (H, W, C), each with the parts in place of its first three channels."""
    ((number, symbols),) = pictures.items()
    rgb = np.ascontiguousarray(symbols[..., :3])
    found = find(rgb)
    if found is not None:
        yield _source_planes(layout, number, rgb, found, options, run)


def _source_planes(
    layout: Layout, number: int, rgb: np.ndarray, found: Found, options: Options, run: Run
) -> tuple[Origin, list[Part]]:
    height, width, _ = rgb.shape
    conversion, enlargement, _ = found.origin.numbers
    origin = Origin(SOURCE_PLANES, bytes([conversion, enlargement, geometry_of(found.origin)]))
    own = replace(layout, origin=origin)
    sources, parts = Sources({number: found.planes}), []
    for index, plane in enumerate(found.planes):
        codec = find_codec(None, None, options.device, "chroma" if index else "luma")
        geometry = origin.data[2] if index else 0
        planes = Planes(1, 256, codec.model.id, kind=Kind.SOURCE, geometry=geometry)
        if geometry & 3:
            planes = replace(planes, tile_size=CHROMA_TILE)
        part = Part(own, planes, index, ((number, *planes.size(width, height)),))
        source = Source(part, {number: plane[..., None]}, sources.beside(part, codec))
        parts.append(encode_planes(codec, source, set(), options, run)[0])
    rebuilt = rebuild(found.origin, found.planes, width, height)
    return origin, [*parts, _exceptions(own, number, rgb, rebuilt, run)]


def _exceptions(layout: Layout, number: int, rgb: np.ndarray, rebuilt: np.ndarray, run: Run) -> Part:
    """The part of the pixels in which a picture differs from what its origin gives."""
    height, width, _ = rgb.shape
    part = Part(layout, Planes(3, 256, kind=Kind.EXCEPTIONS), 0, ((number, width, height),))

    def tile(place: list) -> TileRecord:
        ((_, (y, x, h, w)),) = place
        at = slice(y, y + h), slice(x, x + w)
        return TileRecord(Method.EXCEPTIONS, residual.encode(rebuilt[at], rgb[at]))

    return replace(part, records=tuple(run(tile, part.pieces)))
