"""A group of planes -> its part: with the model, adapted or learning, with another, or with none: the smallest."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlae_codec.adapter.effort import Effort, Watch, level
from vlae_codec.adapter.style import choose_style
from vlae_codec.coder.choice import choose_shift, sample_cost
from vlae_codec.coder.streams import encode_chain
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import COST_BITS, Pace
from vlae_codec.errors import WeightsError
from vlae_codec.format import header, stored
from vlae_codec.format.container import Part, tile_grid
from vlae_codec.format.header import Layout, Planes, may_learn
from vlae_codec.pictures.codec import not_learning, scaled, with_adapter
from vlae_codec.pictures.layout import PALETTES, Source, by_lightness, find_values, make_source, whole_tile, with_values
from vlae_codec.pictures.modes import tile_of, unpack_form
from vlae_codec.pictures.part import Tiles, encode_part, encode_whole, size_of, without_model
from vlae_codec.threads import Progress, Run, alone

TILE_SIZE = header.TILE_SIZE
CHAIN_LANE_SYMBOLS = 2**32 - 1  # one lane a chain: there are chains enough to work on side by side
CHAIN_BITS = 1 << 18  # a chain has a head and checksums of some 130 bits, and a first picture without latents
CHAIN_PIXELS = 1 << 22  # at most: a chain is decoded one picture after another, however few bits they have
SAMPLE = 16  # pictures from which the bits of all are estimated
HOPELESS = 0.7  # streams without a model that are so much smaller than the model's will not be beaten by adapting it
SURE = 4.0  # standard deviations of the size without an adapter by which streams with one must be smaller ...
MARGIN = 0.005  # ... and this share of it, so that the others need not be made
USUAL, SLOWER = (0.005, 0.12), Pace(2)  # shares that photographs gain by learning; what is tried, too, where one is not
SMALL = 1 << 17  # pixels up to which an adapter is always tried, and so is a model that learns nothing
WORTH_IT = 0.5  # passes of a fit: a shorter one takes longer than it is worth where the model learns
FIRST = 1.0  # passes of the fit that must pay there, or a longer one is not tried


class Options(NamedTuple):
    """How a file is to be made, and the functions that are told how far it is."""

    effort: int
    seed: int
    verify: bool = True
    progress: Progress | None = None
    watch: Watch | None = None
    model: str | Path | None = None
    device: str = "auto"
    origin: str = "auto"  # none, or the only one that is tried
    tile: int | None = None  # pixels a side, a multiple of 16; of planes at half size half as many

    def tile_size(self, codec: TileCodec | None, sizes: Iterable[tuple[int, int]]) -> int:
        """Pixels a side of the tiles of pictures (width, height) under a codec, a multiple of 16.

        Where its model can learn and the effort allows larger tiles than usual, they are as few as the longest side
        needs, and even.
        """
        longest, most = max(map(max, sizes)), level(self.effort).tile
        learns = codec is not None and codec.model.learning is not None
        if self.tile is not None or most is None or longest <= TILE_SIZE or not learns:
            return self.tile or TILE_SIZE
        return -(-longest // (-(-longest // most) * 16)) * 16


def plan_planes(
    codec: TileCodec | None, layout: Layout, planes: Planes, channel: int, pictures: dict[int, np.ndarray]
) -> Source:
    """The group of planes with the values and the shift by which its model needs least, as a sample tells."""
    plain = make_source(layout, planes, channel, pictures)
    if codec is None or codec.levels == 2:
        return plain
    best = _shifted(codec, plain)
    if planes.chains:
        return best
    if layout.mode in PALETTES and not channel and layout.palette is not None:
        tables = [by_lightness(unpack_form(layout.palette, (1, layout.colours), layout.columns, 256)[0], layout.levels)]
    else:
        tables = find_values(list(plain.symbols.values()), layout.levels)
    if tables:
        mapped = with_values(planes, tables, layout)
        source = _shifted(codec, make_source(layout, mapped, channel, pictures, tables))
        best = min(best, source, key=lambda one: cost_of(codec, one))
    return best


def _shifted(codec: TileCodec, source: Source) -> Source:
    """The source with the best shift; of 256 levels or fewer it is 0."""
    planes = source.part.planes
    if planes.levels <= 256:
        return source
    tiles = Tiles(source, codec.config["channels"])
    shift = choose_shift(codec.scaled(planes.levels, 0), tiles, planes.channels)
    return Source(replace(source.part, planes=replace(planes, shift=shift)), source.symbols)


def cost_of(codec: TileCodec, source: Source) -> int:
    """About the bits of a source under a model."""
    planes = source.part.planes
    tiles = Tiles(source, codec.config["channels"])
    return (sample_cost(scaled(codec, planes), tiles, planes.channels) >> COST_BITS) + 8 * size_of(source.part)


def encode_planes(
    codec: TileCodec | None, source: Source, comparable: set[int], options: Options, run: Run
) -> tuple[Part, bool]:
    """(the part with its streams, whether it may be smaller with other planes and no model). comparable: pictures that
    may hold differences from the one before.
    """
    if codec is None:
        return encode_whole(whole_tile(source) or source, comparable, run), True
    codec, effort = scaled(codec, source.part.planes), level(options.effort)
    if effort.passes:
        part = _adapted(codec, source, comparable, effort, options, run)
    else:
        codec, style = _styled(codec, source)
        part = encode_part(codec, source, comparable, style, options.progress, run)
    drawn = sum(record.stored for record in part.records) * 2 >= len(part.records)
    if not part.model_needed:
        part = without_model(part)
    return part, drawn


def find_chains(codec: TileCodec | None, source: Source, run: Run) -> int:
    """As many chains as cost little."""
    part = source.part
    area = sum(width * height for _, width, height in part.pictures)
    chains = -(-area // CHAIN_PIXELS)
    if codec is not None:
        codec = scaled(codec, part.planes)
        sample = part.pictures[:: -(-len(part.pictures) // SAMPLE)]
        bits = sum(run(lambda which: _chain_bits(codec, source, which[0]), sample))
        chains = max(chains, bits * area // sum(width * height for _, width, height in sample) // CHAIN_BITS)
    return min(max(chains, 1), len(part.pictures))


def _chain_bits(codec: TileCodec, source: Source, picture: int) -> int:
    """The bits of a picture that is alone in its chain, without the chain's head."""
    symbols, planes = source.symbols[picture], source.part.planes
    grid = tile_grid(symbols.shape[1], symbols.shape[0], planes.tile_size)
    tiles = [tile_of(symbols[y : y + h, x : x + w], codec.config["channels"]) for y, x, h, w in grid]
    return 8 * len(encode_chain(codec, tiles, planes.channels, planes.lane_symbols).data) - 64


def _adapted(
    codec: TileCodec, source: Source, comparable: set[int], effort: Effort, options: Options, run: Run
) -> Part:
    """The smaller one of the part under the model as it is, and of that under one that was fitted to the pictures and
    learns while it codes.

    The former is not made where a sample of the pixels says that it would be larger.
    """
    from vlae_codec.adapter.chunk import pack
    from vlae_codec.adapter.fit import UNLIKELY, Problem, fit, look

    coded, tiles = source.part.planes.channels, Tiles(source, codec.config["channels"])

    def looked(codec: TileCodec) -> Problem:
        return look(codec, tiles, coded, effort, run, options.seed, lambda index: tiles.codec(codec, index))

    other = not_learning(codec, source.part, options.model, options.device)
    rest, style = _styled(other or codec, source)  # where nothing is learnt or fitted
    still = looked(rest)
    start, plain, few = still.before, None, sum(tile[..., 0].size for tile in tiles) <= SMALL

    def unlearned() -> Part:
        planes = source.part.planes
        if other is not None:
            planes = replace(planes, model_id=other.model.id)
        return _part(rest, source, planes, comparable, style, options, run)

    if comparable or _may_be_stored(tiles, coded, start):
        plain = unlearned()
        if 8 * size_of(plain) <= HOPELESS * start:
            return plain
    learns = codec.model.learning is not None and may_learn(source.part.planes) and bool(effort.paces)
    paces: tuple[Pace | None, ...] = effort.paces if learns else (None,)

    def fitted(effort: Effort) -> list[tuple[TileCodec, bytes]]:
        """The codec with an adapter, and this one's payload, if one is found."""
        with suppress(WeightsError), alone():  # it would break the accumulator bound
            if (adapter := fit(problem, effort, run, options.watch, learns)) is not None:
                payload = pack(adapter, codec.model.tables)
                return [(with_adapter(codec, payload), payload)]
        return []

    fits = not learns or effort.passes >= WORTH_IT
    problem = looked(codec) if fits and rest is not codec else still
    short = effort._replace(passes=min(effort.passes, FIRST)) if learns and not few else effort
    begin = (rest, style) if other is None else (codec, None)  # what learns may have styles, too
    kinds: list[tuple[TileCodec, bytes | None]] = [begin] if learns else []
    for one, payload in fitted(short) if fits else []:
        worth = problem.before - problem.under(one) - 8 * len(payload) >= UNLIKELY * problem.before
        if few or worth or not learns:  # much of what an adapter brings is learnt without it
            kinds.append((one, payload))
    if not kinds:
        return plain or unlearned()

    def learning(codec: TileCodec, adapter: bytes | None, pace: Pace | None) -> Part:
        return _part(
            codec.learning(pace), source, replace(source.part.planes, pace=pace), comparable, adapter, options, run
        )

    found = [learning(*kind, pace) for kind in kinds for pace in paces]
    saved = start - 8 * size_of(found[0])
    if learns and (source.part.planes.levels > 256 or not USUAL[0] * start < saved < USUAL[1] * start):
        found += [learning(*kind, SLOWER) for kind in kinds]
    best = min(found, key=size_of)
    if short != effort and best.adapter is not None:
        found += [learning(*kind, best.planes.pace) for kind in fitted(effort)]
    known = plain is None and codec.restriction is None  # a fit knows no restricted form
    known = known and (other is None or not few)
    clear = known and 8 * min(map(size_of, found)) < (1 - MARGIN) * start - SURE * still.deviation
    if not clear:
        found.append(plain or unlearned())
    return min(found, key=size_of)


def _styled(codec: TileCodec, source: Source) -> tuple[TileCodec, bytes | None]:
    """The codec in the best of its model's styles, and the payload of this one's chunk, if there is one."""
    planes, style = source.part.planes, None
    if not planes.chains and source.beside is None:
        style = choose_style(codec, Tiles(source, codec.config["channels"]), planes.channels)
    return (codec, None) if style is None else (with_adapter(codec, style), style)


def _part(
    codec: TileCodec,
    source: Source,
    planes: Planes,
    comparable: set[int],
    adapter: bytes | None,
    options: Options,
    run: Run,
) -> Part:
    """The part of a source whose planes are coded as these say."""
    own = source._replace(part=replace(source.part, planes=planes))
    return encode_part(codec, own, comparable, adapter, options.progress, run)


def _may_be_stored(tiles: Tiles, coded: int, bits: float) -> bool:
    """Whether a tile may be stored without the model, which needs so many bits for all of them."""
    total = sum(tile[..., 0].size for tile in tiles)
    parts = (np.ascontiguousarray(tile[..., :coded]) for tile in tiles)
    return any(stored.worth_a_try(part, int(bits * part[..., 0].size / total / 8)) for part in parts)
