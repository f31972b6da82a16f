"""An encoder's search for what a picture was before it was RGB, and its streams if it had an origin.

    JPEG            coefficients whose decoding gives the very pixels, or nearly
    source planes   luma and chroma, the latter perhaps at half size
    values          RGB as ever, but the last channel has only values that a conversion from YCbCr leaves

What is smallest is kept, so no file grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vlae_codec.errors import InputError
from vlae_codec.format.container import Method, Part, TileRecord
from vlae_codec.format.header import (
    COLOURED,
    GREYS,
    JPEG,
    SOURCE_PLANES,
    VALUES,
    Kind,
    Layout,
    Origin,
    Planes,
)
from vlae_codec.jpeg import parameters
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.recover import recover
from vlae_codec.native import residual
from vlae_codec.origins.conversions import CONVERSIONS, family
from vlae_codec.origins.find import Found, find, is_suspect
from vlae_codec.origins.names import NAMES
from vlae_codec.origins.values import best_escape, outside, triples
from vlae_codec.pictures.blocks import TILE, write_blocks
from vlae_codec.pictures.codec import find_codec, restricted
from vlae_codec.pictures.layout import Source
from vlae_codec.pictures.part import size_of
from vlae_codec.pictures.planes import Options, encode_planes
from vlae_codec.pictures.rebuild import decode_coefficients
from vlae_codec.pictures.sources import Sources, geometry_of, rebuild_planes
from vlae_codec.threads import Run

LARGE = 1 << 15  # pixels of one of several pictures, below which it is coded with others
LEAST = 16  # pixels each way of a picture in which a JPEG is looked for
MANY = 50  # pixels for one exception, from which on source planes may not be the best form


def may_have_origin(layout: Layout, pictures: dict[int, np.ndarray], chains: int | None, options: Options) -> bool:
    """Whether an origin of pictures (H, W, C) is to be looked for. Raises InputError for a name that there is not."""
    if options.origin not in ("auto", "none", *NAMES):
        raise InputError(f"there is no origin {options.origin!r}: give auto, none, {', '.join(NAMES)}")
    if options.origin == "none" or (options.origin == "auto" and options.model is not None):
        return False
    plain = (layout.type, layout.levels) == ("unsigned", 256) and layout.mode in COLOURED + GREYS
    return plain and len(pictures) == 1 and chains == 0


def worth_a_look(layout: Layout, picture: np.ndarray, before: np.ndarray | None, known: bool, options: Options) -> bool:
    """Whether one (H, W, C) of several pictures is so large that it may be coded on its own, and may have a past.

    before: the picture before it, if that is of the same kind and size: one that is mostly the same may be coded by
    differences. known: it is a JPEG.
    """
    if not may_have_origin(layout, {0: picture}, 0, options) or picture.shape[0] * picture.shape[1] < LARGE:
        return False
    if before is not None and 2 * np.count_nonzero((picture == before).all(2)) > picture[..., 0].size:
        return False
    return known or (layout.mode in COLOURED and is_suspect(np.ascontiguousarray(picture[..., :3])))


def smallest_origin(
    layout: Layout,
    pictures: dict[int, np.ndarray],
    known: Coefficients | None,
    whole: bool,
    options: Options,
    run: Run,
) -> list[Part] | None:
    """The parts of the origin that takes least, in place of the colours of the only picture (H, W, C); None without.

    known: the coefficients of the JPEG that it is; whole: these are taken at any rate, for the very file.
    """
    ((number, symbols),) = pictures.items()
    colours = np.ascontiguousarray(symbols[..., : 1 if layout.mode in GREYS else 3])
    found = list(_attempts(layout, number, colours, known, options, run))
    return next((parts for parts in found if whole and is_jpeg(parts)), min(found, key=size_of_all, default=None))


def is_jpeg(parts: list[Part]) -> bool:
    """Whether the first of these are the coefficients of a JPEG."""
    return parts[0].planes.kind == Kind.COEFFICIENTS


def size_of_all(parts: list[Part]) -> int:
    """About the bytes that parts take in a file, with their origin."""
    origin = parts[0].layout.origin
    return sum(map(size_of, parts)) + (0 if origin is None else len(origin.data) + 2)


def _attempts(
    layout: Layout, number: int, colours: np.ndarray, known: Coefficients | None, options: Options, run: Run
) -> Iterator[list[Part]]:
    """The parts of each origin that is worth a try."""
    wanted = options.origin
    if wanted in ("auto", "jpeg") and (known is not None or min(colours.shape[:2]) >= LEAST):
        recovered = known
        if recovered is None and (back := recover(colours if colours.shape[2] == 3 else colours[..., 0])) is not None:
            recovered = back.coefficients
        if recovered is not None and (parts := _jpeg(layout, number, colours, recovered, run)):
            yield parts
            if 8 * len(parts[-1].records[0].data) < colours.size:  # what is exact is the best that there is
                return
    if layout.mode in COLOURED and wanted != "jpeg":
        found = find(colours)
        if found is None:
            return
        if wanted in ("auto", family(found.origin.conversion)):
            yield _source_planes(layout, number, colours, found, options, run)
        whole = found.origin.halved == (1, 1) or found.exceptions * MANY > colours[..., 0].size
        if found.origin.channels == 3 and (wanted == "values" or (wanted == "auto" and whole)):
            yield _values(layout, number, colours, found.origin.conversion, options, run)


def _jpeg(layout: Layout, number: int, colours: np.ndarray, found: Coefficients, run: Run) -> list[Part] | None:
    height, width, channels = colours.shape
    planes = Planes(channels, 256, tile_size=TILE, kind=Kind.COEFFICIENTS)
    best: tuple[int, Part, np.ndarray] | None = None
    for converted in (True, False):  # the latter in JPEG files of RGB, which are rare
        described = parameters.parameters_of(found, converted)
        if described is None or len(found.sampling) != channels:
            return None
        own = replace(layout, origin=Origin(JPEG, parameters.pack(described)))
        part = Part(own, planes, 0, ((number, width, height),))
        rebuilt = decode_coefficients(part, found, (0, height))
        wrong = int(np.count_nonzero((rebuilt != colours).any(2)))
        if best is None or wrong < best[0]:
            best = wrong, part, rebuilt
        if channels != 3 or 2 * wrong < height * width:
            break
    assert best is not None
    _, part, rebuilt = best
    records = run(lambda place: TileRecord(Method.COEFFICIENTS, write_blocks(found, place[0])), part.pieces)
    return [replace(part, records=tuple(records)), _exceptions(part.layout, number, colours, rebuilt, run)]


def _source_planes(
    layout: Layout, number: int, rgb: np.ndarray, found: Found, options: Options, run: Run
) -> list[Part]:
    height, width, _ = rgb.shape
    conversion, enlargement, _ = found.origin.numbers
    geometry = geometry_of(found.origin)
    own = replace(layout, origin=Origin(SOURCE_PLANES, bytes([conversion, enlargement, geometry])))
    sources, parts = Sources({number: found.planes}), []
    for index, plane in enumerate(found.planes):
        codec = find_codec(None, None, options.device, "chroma" if index else "luma", options.effort)
        size = options.tile_size(codec, [(width, height)])
        size = size // 2 if index and geometry & 3 else size  # of as much of the picture
        planes = Planes(1, 256, codec.model.id, tile_size=size, kind=Kind.SOURCE, geometry=geometry if index else 0)
        part = Part(own, planes, index, ((number, *planes.size(width, height)),))
        source = Source(part, {number: plane[..., None]}, sources.beside(part, codec))
        parts.append(encode_planes(codec, source, set(), options, run)[0])
    rebuilt = rebuild_planes(own, found.planes, (width, height), (0, 0, width, height))
    return [*parts, _exceptions(own, number, rgb, rebuilt, run)]


def _values(layout: Layout, number: int, rgb: np.ndarray, conversion: str, options: Options, run: Run) -> list[Part]:
    escape = best_escape(outside(triples(conversion), rgb))
    origin = Origin(VALUES, bytes([tuple(CONVERSIONS).index(conversion), escape]))
    codec = restricted(find_codec(options.model, None, options.device, "RGB", options.effort), origin)
    height, width, _ = rgb.shape
    planes = Planes(3, 256, codec.model.id, tile_size=options.tile_size(codec, [(width, height)]))
    part = Part(replace(layout, origin=origin), planes, 0, ((number, width, height),))
    return [encode_planes(codec, Source(part, {number: rgb}), set(), options, run)[0]]


def _exceptions(layout: Layout, number: int, colours: np.ndarray, rebuilt: np.ndarray, run: Run) -> Part:
    """The part of the pixels in which a picture differs from what its origin gives."""
    height, width, channels = colours.shape
    part = Part(layout, Planes(channels, 256, kind=Kind.EXCEPTIONS), 0, ((number, width, height),))

    def tile(place: list) -> TileRecord:
        ((_, (y, x, h, w)),) = place
        base, true = (np.broadcast_to(one[y : y + h, x : x + w], (h, w, 3)) for one in (rebuilt, colours))
        return TileRecord(Method.EXCEPTIONS, residual.encode(base, true))

    return replace(part, records=tuple(run(tile, part.pieces)))
