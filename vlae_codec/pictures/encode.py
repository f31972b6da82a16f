"""Pictures -> a file, straight through.

    layouts  pictures whose samples mean the same are one layout
    past     what a picture was before it was RGB takes the place of its colours, where that is smaller (`past`)
    planes   their channels are coded in groups, each with its model; where models do not do well, in one without
    plain    a group's streams with the model's own weights
    adapted  its streams with weights that were fitted to the pictures, and with the adapter that changes them

The smallest one is kept, and the file is decoded and compared before it is returned. A picture is coded tile by tile,
each in a stream of its own, so that any of them can be decoded alone. A list of small pictures is coded in chains:
alone, a small picture cannot use its latents, for to draw them takes bits that are not there yet; in a chain (Townsend,
Bird and Barber 2019, arXiv 1901.04866) the bits of one picture pay for the latents of the next. A chain is serial, but
chains do not depend on each other, so there are as many as their overhead allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from vlae_codec.adapter.effort import level
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import InputError, VlaeError
from vlae_codec.format import container, header, stored
from vlae_codec.format.container import Metadata, Part, Piece
from vlae_codec.format.header import Header, Kind, Layout, Planes
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.limits import UNLIMITED
from vlae_codec.pictures.codec import codecs_for, codes, find_codec, kind_of
from vlae_codec.pictures.layout import find_scale, groups_of, make_source, whole_tile
from vlae_codec.pictures.modes import layout_of, restored, symbols_of, unpack_values
from vlae_codec.pictures.part import encode_whole, size_of, without_model
from vlae_codec.pictures.past import is_jpeg, may_have_origin, size_of_all, smallest_origin, worth_a_look
from vlae_codec.pictures.pieces import added, each_piece, samples_in
from vlae_codec.pictures.planes import (
    CHAIN_LANE_SYMBOLS,
    Options,
    cost_of,
    encode_planes,
    find_chains,
    plan_planes,
)
from vlae_codec.pictures.rebuild import Rebuilding
from vlae_codec.threads import Run, counter
from vlae_codec.weights.model import find_model

TILE_SIZE, LANE_SYMBOLS = header.TILE_SIZE, header.LANE_SYMBOLS  # of chains, and of tiles that are coded alone
TILES = range(32, header.MAX_TILE + 1, 16)
CLEAR = 0.75  # of what colours take, as a sample tells, below which they are not coded to be compared
CHANGED = "the compressed picture did not come back exactly; please report this picture"


def encode(pictures: Sequence[Picture], chains: int | None, options: Options, run: Run) -> bytes:
    """The file of pictures that were checked. chains: 0 for tiles that are coded alone, None for as many chains as cost
    little. Raises InputError, and VlaeError if the pictures do not come back.
    """
    level(options.effort)
    if options.seed < 0:
        raise InputError(f"the seed must be 0 or more, not {options.seed}")
    if options.tile is not None and options.tile not in TILES:
        raise InputError(
            f"a tile must have {TILES[0]} to {TILES[-1]} pixels a side, a multiple of 16: not {options.tile}"
        )
    symbols = [symbols_of(picture.pixels) for picture in pictures]
    shown = [(layout_of(picture), *picture.pixels.shape[1::-1]) for picture in pictures]
    before = [False, *(one == other for one, other in pairwise(shown))]
    coded: list[list[Part]] = []  # the parts of each layout of the file
    groups: dict[Layout, list[int]] = {}  # pictures that are coded together
    for i, (layout, _, _) in enumerate(shown):
        alone, known = None, pictures[i].coefficients is not None
        last = symbols[i - 1] if before[i] else None
        if len(pictures) > 1 and worth_a_look(layout, symbols[i], last, known, options):
            alone = _encode_layout(layout, {i: symbols[i]}, set(), 0, pictures[i], options, run)
        if alone is not None and alone[0].layout.origin is not None:
            _add(coded, alone)
        else:
            groups.setdefault(layout, []).append(i)
    for layout, some in groups.items():
        mine, count = {i: symbols[i] for i in some}, None if chains is None else min(chains, len(some))
        comparable = {i for i in some if before[i] and i - 1 in mine}
        _add(coded, _encode_layout(layout, mine, comparable, count, pictures[some[0]], options, run))
    parts = [part for some in coded for part in some]
    order = {i: number for number, some in enumerate(coded) for i, _, _ in some[0].pictures}
    described = Header.of(
        [_layout_in_file(some) for some in coded],
        [(order[i], width, height) for i, (_, width, height) in enumerate(shown)],
    )
    stored = {i for part in parts if part.planes.kind == Kind.COEFFICIENTS for i, _, _ in part.pictures}
    data = container.write(described, parts, _metadata([_kept(one, i in stored) for i, one in enumerate(pictures)]))
    if options.verify:
        _verify(data, symbols, options, run)
    return data


def _layout_in_file(parts: Sequence[Part]) -> Layout:
    """The layout of parts, with their groups of planes."""
    return replace(parts[0].layout, planes=tuple(part.planes for part in parts))


def _add(coded: list[list[Part]], parts: list[Part]) -> None:
    """Adds the parts of a layout, or their streams to those of the same layout: adapters are of one alone."""
    layout, plain = _layout_in_file(parts), all(part.adapter is None for part in parts)
    for some in coded:
        if plain and all(part.adapter is None for part in some) and _layout_in_file(some) == layout:
            some[:] = [
                replace(one, pictures=one.pictures + more.pictures, records=one.records + more.records)
                for one, more in zip(some, parts, strict=True)
            ]
            return
    coded.append(parts)


def _kept(picture: Picture, stored: bool) -> Picture:
    """The picture, without the recipe of a JPEG whose coefficients are not stored."""
    if stored or picture.coefficients is None:
        return picture
    return picture.replaced(metadata={key: value for key, value in picture.metadata.items() if key != RECIPE})


def _metadata(pictures: Sequence[Picture]) -> list[Metadata]:
    """What the pictures have, each thing once for all neighbours that have the same."""
    runs: dict[str, list[Metadata]] = {}
    for i, picture in enumerate(pictures):
        for name, value in sorted(picture.metadata.items()):
            last = runs.setdefault(name, [])
            if last and last[-1].first + last[-1].count == i and last[-1].value == value:
                last[-1] = replace(last[-1], count=last[-1].count + 1)
            elif value:
                last.append(Metadata(i, 1, name, value))
    return [one for name in sorted(runs) for one in runs[name]]


def _encode_layout(
    layout: Layout,
    pictures: dict[int, np.ndarray],
    comparable: set[int],
    chains: int | None,
    first: Picture,
    options: Options,
    run: Run,
) -> list[Part]:
    """The parts of all groups of planes of a layout. comparable: pictures that may hold differences; first: the first
    picture, which may be a JPEG if it is the only one, and then for its very file the coefficients are needed.
    """
    known, whole = first.coefficients, RECIPE in first.metadata
    found: list[Part] = []
    past = None
    if may_have_origin(layout, pictures, chains, options):
        past = smallest_origin(layout, pictures, known, whole, options, run)
    sure = past is not None and known is not None and whole and is_jpeg(past)
    channel, tried = 0, False
    for channels in groups_of(layout):
        if past is not None and not channel and (sure or _clearly_smaller(past, layout, pictures, options)):
            found += past
        else:
            part, drawn = _encode_group(layout, channel, channels, pictures, comparable, chains, options, run)
            smaller = past is not None and not channel and size_of_all(past) < size_of(part)
            found += past if past is not None and smaller else [part]
            tried = tried or (drawn and not smaller)
        channel += channels
    if tried and layout.coded_channels in (2, 4) and layout.levels <= 256 and chains == 0:
        planes = Planes(layout.coded_channels, layout.levels)
        together = whole_tile(make_source(layout, planes, 0, pictures))
        if together is not None:
            part = encode_whole(together, comparable, run)
            if size_of(part) < sum(map(size_of, found)):
                return [part]
    return found


def _clearly_smaller(past: list[Part], layout: Layout, pictures: dict[int, np.ndarray], options: Options) -> bool:
    """Whether the parts of an origin take so much less than the colours as they are that these need not be coded."""
    codec = _codec(layout, 0, groups_of(layout)[0], _at_rest(options))
    if codec is None:
        return False
    planes = Planes(groups_of(layout)[0], layout.levels, codec.model.id)
    size, source = size_of_all(past), make_source(layout, planes, 0, pictures)
    if any(stored.worth_a_try(symbols, size) for symbols in source.symbols.values()):
        return False
    return 8 * size < CLEAR * cost_of(codec, source)


def _encode_group(
    layout: Layout,
    channel: int,
    channels: int,
    pictures: dict[int, np.ndarray],
    comparable: set[int],
    chains: int | None,
    options: Options,
    run: Run,
) -> tuple[Part, bool]:
    """The part of a group of planes, and whether it may be smaller without a model."""
    codec = _codec(layout, channel, channels, options if chains == 0 else _at_rest(options))
    sizes = [symbols.shape[1::-1] for symbols in pictures.values()]
    size = TILE_SIZE if chains != 0 else options.tile_size(codec, sizes)
    planes = Planes(channels, layout.levels, None if codec is None else codec.model.id, tile_size=size)
    if chains == 0:
        mine = [symbols[..., channel : channel + channels] for symbols in pictures.values()]
        planes = replace(planes, scale=find_scale(mine), lane_symbols=LANE_SYMBOLS)
    else:
        planes = replace(planes, lane_symbols=CHAIN_LANE_SYMBOLS)
        chains = chains or find_chains(codec, make_source(layout, planes, channel, pictures), run)
        planes = replace(planes, chains=chains)
    plain = make_source(layout, planes, channel, pictures)
    source = plan_planes(_codec(layout, channel, channels, _at_rest(options)), layout, planes, channel, pictures)
    part, drawn = encode_planes(codec, source, comparable, options, run)
    if not part.model_needed:
        part = without_model(part)
    whole = whole_tile(plain) if drawn and chains == 0 else None
    return (part if whole is None else min(part, encode_whole(whole, comparable, run), key=size_of)), drawn


def _at_rest(options: Options) -> Options:
    """Those by which the model is taken that needs least where nothing is learnt."""
    return options._replace(effort=1)


def _codec(layout: Layout, channel: int, channels: int, options: Options) -> TileCodec | None:
    """The codec of a group of planes: of the model that is asked for where it codes them, else of the default one."""
    kind = kind_of(layout.mode, channels)
    if kind is None or (layout.type not in ("unsigned", "int8", "int16")):
        return None
    model = options.model
    if model is not None and channel:
        model = model if codes(find_model(model).config, kind) else None
    return find_codec(model, None, options.device, kind, options.effort)


def _verify(data: bytes, symbols: Sequence[np.ndarray], options: Options, run: Run) -> None:
    """Raises VlaeError unless the file holds these pictures."""
    contents = container.read(data, UNLIMITED)
    tick = counter(options.progress, samples_in(contents.parts))
    rebuilding = None
    for part, codec in zip(contents.parts, codecs_for(contents, options.model, options.device)):
        if part.planes.kind != Kind.SAMPLES:
            rebuilding = rebuilding or Rebuilding(contents, UNLIMITED)
            if rebuilding.take(part, codec, run, tick):
                found = rebuilding.rebuilt.items()
                if not all(np.array_equal(one, symbols[i][..., : one.shape[2]]) for i, (_, one) in found):
                    raise VlaeError(CHANGED)
                rebuilding = None
            continue
        each_piece(part, codec, _comparison(part, symbols), run, tick)


def _comparison(part: Part, symbols: Sequence[np.ndarray]) -> Callable[[Piece, np.ndarray, bool], None]:
    channels = slice(part.channel, part.channel + part.planes.channels)
    tables = unpack_values(part.planes, part.layout)
    source = (
        make_source(part.layout, part.planes, part.channel, {i: symbols[i] for i, _, _ in part.pictures}, tables)
        if any(record.differences for record in part.records)
        else None
    )

    def compare(piece: Piece, found: np.ndarray, differences: bool) -> None:
        i, (y, x, h, w) = piece
        if differences:
            assert source is not None
            found = added(found, source.piece((i - 1, piece[1])), part.planes.levels)
        sx, sy = part.planes.scale
        wanted = symbols[i][y * sy : (y + h) * sy, x * sx : (x + w) * sx, channels]
        if not np.array_equal(restored(part, found, *wanted.shape[:2]), wanted):
            raise VlaeError(CHANGED)

    return compare
