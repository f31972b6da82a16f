"""The part of a group of planes: its streams under a codec, or without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vlae_codec.coder.streams import encode_chain, encode_tile
from vlae_codec.coder.tile import TileCodec
from vlae_codec.format import stored
from vlae_codec.format.container import Part, Piece, TileRecord, tiles_of
from vlae_codec.pictures.layout import Source
from vlae_codec.pictures.modes import tile_of
from vlae_codec.threads import Progress, Run, counter

RECORD_BYTES = 7  # of a record in the header
CHUNK_BYTES = 8  # of a chunk, beside its payload


class Tiles(Sequence[np.ndarray]):
    """All tiles (H, W, channels) of a source: each is made when it is asked for."""

    def __init__(self, source: Source, channels: int) -> None:
        self.source, self.channels = source, channels
        pieces = [piece for some in source.part.pieces for piece in some]
        self.places = tiles_of(pieces, source.part.planes.tile_size)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        return tile_of(self.source.piece(self.places[index]), self.channels)

    def codec(self, codec: TileCodec, index: int) -> TileCodec:
        """The codec of a tile, which may know what is beside it."""
        return beside(codec, self.source, self.places[index])


def beside(codec: TileCodec, source: Source, piece: Piece) -> TileCodec:
    """The codec of a piece of a source."""
    return codec if source.beside is None else codec.beside(source.beside(piece))


def size_of(part: Part) -> int:
    """About the bytes that a part takes in a file."""
    tables = sum(len(form.data) + 4 for _, form in part.planes.values)
    records = sum(len(record.data) + RECORD_BYTES for record in part.records)
    adapter = len(part.adapter) + CHUNK_BYTES if part.adapter else 0
    return records + adapter + tables + (12 if part.model_needed else 2)


def without_model(part: Part) -> Part:
    """The part of which no stream needs its model: a file need not name it."""
    return replace(part, planes=replace(part.planes, model_id=None, shift=0, pace=None), adapter=None)


def encode_whole(source: Source, comparable: set[int], run: Run) -> Part:
    """The part of a group of planes without a model."""
    planes = source.part.planes

    def stream(some: list[Piece]) -> TileRecord:
        symbols = [source.piece(piece) for piece in some]
        return _with_differences(stored.keep(planes, some, symbols), source, some, comparable)

    return replace(source.part, records=tuple(run(stream, source.part.pieces)))


def encode_part(
    codec: TileCodec,
    source: Source,
    comparable: set[int],
    adapter: bytes | None,
    progress: Progress | None,
    run: Run,
) -> Part:
    """The part under a codec; adapter: the payload of the adapter that the codec has."""
    pieces = source.part.pieces
    tick = counter(progress, sum(h * w for some in pieces for _, (_, _, h, w) in some))

    def stream(some: list[Piece]) -> TileRecord:
        record = _stream(codec, source, some, comparable, run)
        tick(sum(h * w for _, (_, _, h, w) in some))
        return record

    return replace(source.part, records=tuple(run(stream, pieces)), adapter=adapter)


def _stream(codec: TileCodec, source: Source, some: list[Piece], comparable: set[int], run: Run) -> TileRecord:
    """The stream of a tile or of a chain of pictures."""
    planes, channels = source.part.planes, codec.config["channels"]
    symbols = [source.piece(piece) for piece in some]
    if stored.is_blank(symbols):
        return stored.keep(planes, some, symbols)
    if not planes.chains and some[0][0] in comparable and np.array_equal(*_pair(source, some[0])):
        same = np.zeros_like(symbols[0])
        return replace(stored.keep(planes, some, [same]), differences=True)
    tiles = [tile_of(source.piece(place), channels) for place in tiles_of(some, planes.tile_size)]
    if planes.chains:
        record = encode_chain(codec, tiles, planes.channels, planes.lane_symbols)
    else:
        own, latents = beside(codec, source, some[0]), source.beside is None  # what is known beside says more than they
        record = encode_tile(own, tiles[0], planes.channels, planes.lane_symbols, run, latents)
    record = stored.smaller(record, planes, some, symbols)
    return _with_differences(record, source, some, comparable)


def _pair(source: Source, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """A piece, and the same place in the picture before."""
    return source.piece(piece), source.piece((piece[0] - 1, piece[1]))


def _with_differences(record: TileRecord, source: Source, some: Sequence[Piece], comparable: set[int]) -> TileRecord:
    """The record, or one of the differences from the picture before where there is one and that is smaller."""
    planes = source.part.planes
    if planes.chains or some[0][0] not in comparable:
        return record
    here, before = _pair(source, some[0])
    differences = ((here.astype(np.int32) - before) % planes.levels).astype(here.dtype)
    if stored.worth_a_try(differences, len(record.data)):
        kept = stored.keep(planes, some, [differences], len(record.data))
        if len(kept.data) < len(record.data):
            return TileRecord(kept.method, kept.data, differences=True)
    return record
