"""Pictures -> a file, straight through.

    plain    the file with the model's own weights
    adapted  the file with weights that were fitted to the pictures, and with the adapter that changes them

The smaller one is decoded and compared before it is returned. A picture is coded tile by tile, each in a stream of its
own, so that any of them can be decoded alone. A list of pictures is coded in groups, each a chain in one stream: alone,
a small picture cannot use its latents, for to draw them takes bits that are not there yet; in a chain (Townsend, Bird
and Barber 2019, arXiv 1901.04866) the bits of one picture pay for the latents of the next. A group is serial, but
groups do not depend on each other, so there are as many as their overhead allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.adapter.effort import Effort, Watch, level
from vlae_codec.coder.streams import encode_chain, encode_tile
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import InputError, VlaeError, WeightsError
from vlae_codec.format import container, stored
from vlae_codec.format.container import Header, Pictures, Piece, TileRecord, pieces, tile_grid, tiles_of
from vlae_codec.limits import UNLIMITED
from vlae_codec.pictures.codec import with_adapter
from vlae_codec.pictures.decode import each_piece
from vlae_codec.pictures.image import Picture
from vlae_codec.pictures.modes import tile_of
from vlae_codec.threads import Progress, Run, alone, counter

TILE_SIZE = 512
LANE_SYMBOLS = 32768
CHAIN_LANE_SYMBOLS = 2**32 - 1  # one lane a group: there are groups enough to work on side by side
GROUP_BITS = 1 << 18  # a group has a head and checksums of some 130 bits, and a first picture without latents
GROUP_PIXELS = 1 << 22  # at most: a group is decoded one picture after another, however few bits they have
SAMPLE = 16  # pictures from which the bits of all are estimated
HOPELESS = 0.7  # a file of stored tiles that is so much smaller than the model's will not be beaten by adapting it
SURE = 4.0  # standard deviations of the size without an adapter by which a file with one must be smaller ...
MARGIN = 0.005  # ... and this share of it, so that the other file need not be made


class Options(NamedTuple):
    """How a file is to be made, and the functions that are told how far it is."""

    effort: int
    seed: int
    verify: bool = True
    progress: Progress | None = None
    watch: Watch | None = None


class Source(NamedTuple):
    """What a file is made of."""

    pictures: Sequence[np.ndarray]
    header: Header
    table: Pictures | None  # None: one picture
    metadata: dict[str, bytes]

    def part(self, piece: Piece) -> np.ndarray:
        """The pixels of a piece, a view."""
        i, (y, x, h, w) = piece
        return self.pictures[i][y : y + h, x : x + w]


class Tiles(Sequence[np.ndarray]):
    """All tiles (H, W, channels) uint8 of a source: each is made when it is asked for."""

    def __init__(self, source: Source, channels: int) -> None:
        self.source, self.channels = source, channels
        parts = [part for some in pieces(source.header, source.table) for part in some]
        self.places = tiles_of(parts, source.header.tile_size)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        return tile_of(self.source.part(self.places[index]), self.channels)


def encode_picture(codec: TileCodec, picture: Picture, options: Options, run: Run) -> bytes:
    """The file of one picture, whose pixels were checked. Raises InputError, and VlaeError if it does not come back."""
    height, width = picture.pixels.shape[:2]
    header = Header(width, height, picture.mode, codec.model.id, TILE_SIZE, LANE_SYMBOLS)
    return _encode(codec, Source([picture.pixels], header, None, picture.metadata), options, run)


def encode_list(
    codec: TileCodec, pictures: Sequence[np.ndarray], mode: str, groups: int | None, options: Options, run: Run
) -> bytes:
    """The file of a list of pictures of a mode, whose pixels were checked; groups: None for as many as cost little.

    Raises InputError, and VlaeError if they do not come back.
    """
    sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in pictures]
    header = Header(*sizes[0], mode, codec.model.id, TILE_SIZE, CHAIN_LANE_SYMBOLS)
    if groups is None:
        sample = pictures[:: -(-len(pictures) // SAMPLE)]
        bits = sum(run(lambda pixels: _chain_bits(codec, pixels, header), sample)) * _area(pictures) // _area(sample)
        groups = max(bits // GROUP_BITS, -(-_area(pictures) // GROUP_PIXELS))
    table = Pictures.of(sizes, min(max(groups, 1), len(pictures)))
    return _encode(codec, Source(pictures, header, table, {}), options, run)


def _chain_bits(codec: TileCodec, pixels: np.ndarray, header: Header) -> int:
    """The bits of a picture that is alone in its group, without the group's head."""
    places = tile_grid(pixels.shape[1], pixels.shape[0], header.tile_size)
    tiles = [tile_of(pixels[y : y + h, x : x + w], codec.config["channels"]) for y, x, h, w in places]
    return 8 * len(encode_chain(codec, tiles, header.channels, header.lane_symbols).data) - 64


def _area(pictures: Sequence[np.ndarray]) -> int:
    return sum(pixels.shape[0] * pixels.shape[1] for pixels in pictures)


def _encode(codec: TileCodec, source: Source, options: Options, run: Run) -> bytes:
    """The smaller one of the files without and with an adapter, decoded and compared."""
    effort = level(options.effort)
    if options.seed < 0:
        raise InputError(f"the seed must be 0 or more, not {options.seed}")
    if effort.passes:
        data = _with_adapter(codec, source, effort, options, run)
    else:
        data = _write(codec, source, None, options, run)
    if options.verify:
        contents = container.read(data, UNLIMITED)
        adapted = codec if contents.adapter is None else with_adapter(codec, contents.adapter)

        def compare(piece: Piece, found: np.ndarray) -> None:
            if not np.array_equal(found, source.part(piece)):
                raise VlaeError("the compressed picture did not come back exactly; please report this picture")

        each_piece(contents, adapted, compare, run, options.progress)
    return data


def _write(codec: TileCodec, source: Source, adapter: bytes | None, options: Options, run: Run) -> bytes:
    """The file of the source under a codec; adapter: the payload of the adapter that the codec has."""
    parts = pieces(source.header, source.table)
    tick = counter(options.progress, sum(h * w for some in parts for _, (_, _, h, w) in some))

    def stream(some: list[Piece]) -> TileRecord:
        record = _stream(codec, source, some, run)
        tick(sum(h * w for _, (_, _, h, w) in some))
        return record

    return container.write(source.header, run(stream, parts), source.metadata, source.table, adapter)


def _stream(codec: TileCodec, source: Source, parts: list[Piece], run: Run) -> TileRecord:
    """The stream of a tile or of a group of pictures."""
    header, channels = source.header, codec.config["channels"]
    pixels = [source.part(piece) for piece in parts]
    if stored.is_blank(pixels):
        return stored.keep(header, parts, pixels)
    tiles = [tile_of(source.part(place), channels) for place in tiles_of(parts, header.tile_size)]
    if source.table is None:
        record = encode_tile(codec, tiles[0], header.channels, header.lane_symbols, run)
    else:
        record = encode_chain(codec, tiles, header.channels, header.lane_symbols)
    return stored.smaller(record, header, parts, pixels)


def _with_adapter(codec: TileCodec, source: Source, effort: Effort, options: Options, run: Run) -> bytes:
    """The smaller one of the files without and with an adapter fitted to the pictures.

    The file without is not made where a sample of the pixels says that it would be larger.
    """
    from vlae_codec.adapter.chunk import pack
    from vlae_codec.adapter.fit import fit, look

    coded, tiles = source.header.channels, Tiles(source, codec.config["channels"])
    problem = look(codec, tiles, coded, effort, run, options.seed)
    plain = None
    if _may_be_stored(tiles, coded, problem.before):
        plain = _write(codec, source, None, options, run)
        if 8 * len(plain) <= HOPELESS * problem.before:
            return plain
    adapter = None
    with suppress(WeightsError), alone():  # it would break the accumulator bound
        adapter = fit(problem, effort, run, options.watch)
    if adapter is not None:
        payload = pack(adapter, codec.model.tables)
        adapted = _write(with_adapter(codec, payload), source, payload, options, run)
        if plain is None and 8 * len(adapted) < (1 - MARGIN) * problem.before - SURE * problem.deviation:
            return adapted
        return min(plain or _write(codec, source, None, options, run), adapted, key=len)
    return plain or _write(codec, source, None, options, run)


def _may_be_stored(tiles: Tiles, coded: int, bits: float) -> bool:
    """Whether a tile may be stored without the model, which needs so many bits for all of them."""
    total = sum(tile[..., 0].size for tile in tiles)
    parts = (np.ascontiguousarray(tile[..., :coded]) for tile in tiles)
    return any(stored.worth_a_try(part, int(bits * part[..., 0].size / total / 8)) for part in parts)
