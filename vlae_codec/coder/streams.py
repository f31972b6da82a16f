"""Streams of the model: tiles -> the bytes of a record, and back. `format.streams` says what they hold."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from vlae_codec.coder.choice import Draft, choose_split, try_latents
from vlae_codec.coder.tile import Known, Ledger, TileCodec
from vlae_codec.errors import CorruptFile, EmptyStack
from vlae_codec.format.chunks import checksum
from vlae_codec.format.container import Method, TileRecord, lanes_for
from vlae_codec.format.streams import pack_splits, read_splits
from vlae_codec.native import ans
from vlae_codec.native.pixels import Arrays, Tick
from vlae_codec.threads import Map

SAMPLE = 1 << 10  # pixels at most that say which mode is tried

Shape = tuple[int, int]  # (height, width) of a tile


def sample_bytes(tile: np.ndarray) -> bytes:
    """The samples' bytes, little-endian on every machine."""
    return tile.astype(tile.dtype.newbyteorder("<"), copy=False).tobytes()


def encode_tile(
    codec: TileCodec, tile: np.ndarray, coded: int, lane_symbols: int, spread: Map = map, latents: bool = True
) -> TileRecord:
    """The stream of one tile (H, W, C) of the codec's `kind`: the smaller of the two modes, or that without latents.

    In a large tile pixels of a stripe say which one that is; where the model learns, which it would have to do afresh
    in each of two bands, it is the latter. coded: the number of channels that are coded; spread: a `map` for parts of
    the tile, perhaps of several threads.
    """
    draft = Draft(codec, tile, coded, spread)
    if draft.large:
        latents = latents and codec.pace is None and try_latents(draft.stripe, SAMPLE).gain() > 0
    attempt = with_latents(draft, lane_symbols) if latents else None
    if attempt is not None and draft.large:
        return attempt[0]
    record = without_latents(draft, lane_symbols)[0]
    return record if attempt is None else min(record, attempt[0], key=lambda one: len(one.data))


def without_latents(draft: Draft, lane_symbols: int) -> tuple[TileRecord, Ledger]:
    """The tile's stream in the no-latent mode, and what its symbols take."""
    data, spent = _tile_stream(draft, 0, lane_symbols)
    return TileRecord(Method.NO_LATENTS, data), spent


def with_latents(draft: Draft, lane_symbols: int) -> tuple[TileRecord, Ledger] | None:
    """The tile's stream with the most latents that its band A can pay for, and what its symbols take; None without."""
    stride = draft.codec.stride
    for split in range(choose_split(draft), 0, -stride):
        try:
            data, spent = _tile_stream(draft, split, lane_symbols)
        except EmptyStack:  # the latents drawn were dearer than expected
            continue
        return TileRecord(Method.LATENTS, (split // stride).to_bytes(2, "little") + data), spent
    return None


def _tile_stream(draft: Draft, split: int, lane_symbols: int) -> tuple[bytes, Ledger]:
    tile, spent = draft.tile, Ledger()
    message = ans.empty(lanes_for(tile[..., : draft.coded].size, lane_symbols), zlib.crc32(sample_bytes(tile)))
    message = _push(draft.codec, message, tile, split, draft.coded, spent, draft.known(split), draft.spread)
    return ans.to_bytes(message), spent


def encode_chain(codec: TileCodec, tiles: Arrays, coded: int, lane_symbols: int) -> TileRecord:
    """The stream of one group's tiles, (H, W, C) each: all without latents, or each with all the latents that
    the stack can pay for, whichever is smaller.
    """
    seed = checksum(sample_bytes(tile) for tile in tiles)
    plain = message = ans.empty(lanes_for(sum(tile[..., :coded].size for tile in tiles), lane_symbols), seed)
    splits = []
    for tile in tiles:
        draft = Draft(codec, tile, coded)
        plain = _push(codec, plain, tile, 0, coded, None, draft.known(0))
        split = len(tile) // codec.stride * codec.stride
        while True:
            try:
                message = _push(codec, message, tile, split, coded, None, draft.known(split))
                break
            except EmptyStack:
                split = min(split - codec.stride, choose_split(draft, ans.stock(message)))
        splits.append(split // codec.stride)
    data = pack_splits(splits, [len(tile) // codec.stride for tile in tiles]) + ans.to_bytes(message)
    simple = pack_splits([0], [0]) + ans.to_bytes(plain)
    return TileRecord(Method.CHAIN, min(simple, data, key=len))


def decode(
    codec: TileCodec,
    records: Sequence[TileRecord],
    shapes: Sequence[Sequence[Shape]],
    coded: int,
    lane_symbols: int,
    tick: Tick | None = None,
) -> list[Arrays]:
    """The tiles (H, W, C) of each model-coded record; shapes: those of its tiles. A device takes all records in
    common waves. tick: told how many pixels there are more.

    Raises CorruptFile when a stack does not end exactly empty.
    """
    tiles: list[Arrays] = [[] for _ in records]
    for g, tile in unwind(codec, records, shapes, coded, lane_symbols, tick):
        tiles[g].append(tile)
    return [some[::-1] for some in tiles]


def unwind(
    codec: TileCodec,
    records: Sequence[TileRecord],
    shapes: Sequence[Sequence[Shape]],
    coded: int,
    lane_symbols: int,
    tick: Tick | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the record, tile) of the last tiles of the records, of those before them, and so on: all else is as
    with `decode`. A tile is decoded when it is asked for, and the first one of a record comes only if its stack is
    empty then.
    """
    splits, messages = [], []
    for record, group in zip(records, shapes):
        rows, message = read_record(codec, record, group, coded, lane_symbols)
        splits.append(rows)
        messages.append(message)
    tiles: list[Arrays] = [[] for _ in records]  # from the last one on
    for step in range(1, max(map(len, shapes), default=0) + 1):
        active = [g for g, group in enumerate(shapes) if step <= len(group)]
        now = codec.tiles([shapes[g][-step] for g in active], [splits[g][-step] for g in active], coded, None, tick)
        popped, (upper, lower) = now.pop([messages[g] for g in active])
        for g, message, *bands in zip(active, popped, upper, lower):
            messages[g] = message
            tiles[g].append(np.concatenate(bands))
            if step == len(shapes[g]) and not ans.is_empty(message, checksum(map(sample_bytes, reversed(tiles[g])))):
                raise CorruptFile(f"the stack of stream {g} of the batch is not empty at its end; the file is damaged")
        yield from ((g, tiles[g][-1]) for g in active)


def read_record(
    codec: TileCodec, record: TileRecord, shapes: Sequence[Shape], coded: int, lane_symbols: int
) -> tuple[list[int], ans.Message]:
    """(rows of band B of each tile, the message) of a model-coded record of tiles of these shapes.

    Raises CorruptFile.
    """
    splits, position = read_splits(record, [height for height, _ in shapes], codec.stride)
    lanes = lanes_for(sum(height * width for height, width in shapes) * coded, lane_symbols)
    return splits, ans.from_bytes(record.data[position:], lanes)


def retrace(
    codec: TileCodec, record: TileRecord, shapes: Sequence[Shape], coded: int, lane_symbols: int, spread: Map = map
) -> Iterator[tuple[np.ndarray, int, ans.Message, Ledger]]:
    """For each tile of a model-coded record, as its encoder pushed it: its pixels, the rows of its band B, the message
    with it on top, and a ledger of this tile alone with the costs and frequencies of every term.

    As codecs are inverse both ways, to push what was decoded is to see what was coded, and ends with the record's very
    message.
    """
    (tiles,) = decode(codec, [record], [shapes], coded, lane_symbols)
    splits, end = read_record(codec, record, shapes, coded, lane_symbols)
    message = ans.empty(len(end.heads), checksum(sample_bytes(tile) for tile in tiles))
    for tile, split in zip(tiles, splits):
        spent = Ledger()
        message = _push(codec, message, tile, split, coded, spent, None, spread)
        yield tile, split, message, spent
    assert message == end


def _push(
    codec: TileCodec,
    message: ans.Message,
    tile: np.ndarray,
    split: int,
    coded: int,
    ledger: Ledger | None = None,
    known: Known | None = None,
    spread: Map = map,
) -> ans.Message:
    """The message with a tile on top, of which `split` rows are band B."""
    pair = codec.tiles([tile.shape[:2]], [split], coded, ledger, None, known, spread)
    (message,) = pair.push([message], ([tile[:split]], [tile[split:]]))
    return message
