"""Streams: the bytes of one tile or of one group of pictures, from the codec of tiles; the encoder chooses here.

    method NO_LATENTS    the message
    method LATENTS       u16 little-endian, rows of band B in latent rows; the message
    method CHAIN         { length varint, 1 or more; rows varint }, 0 varint, rows varint; the message

A message starts as the empty stack with the CRC-32 of the tile's pixels (as many equal channels as the model has, for
grey and bilevel) as its seed, and a decoder must find exactly that at its end.

In a chain the tiles of all pictures of a group, in the order of its pictures and each picture's tiles row by row, are
pushed one after another onto one message, so that the bits of those before pay for the latents of the next. The seed is
the CRC-32 of all their pixels in this order, the lanes are those of all their symbols. The splits are runs: `length`
tiles have band B of `rows` latent rows, or of all whole ones where they have fewer, and length 0 stands for all tiles
that are left, of which there MUST be one or more. A decoder pops the tiles last to first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.coder.tile import Arrays, Ledger, Tick, TileCodec
from vlae_codec.errors import CorruptFile, EmptyStack
from vlae_codec.format.chunks import checksum, pack_varint, read_varint
from vlae_codec.format.container import Method, TileRecord, lanes_for
from vlae_codec.native import ans, mixture
from vlae_codec.native.mixture import COST_UNIT

TRIED = 1 << 16  # pixels of a tile from which on a sample says which mode is tried
SAMPLE = 1 << 12  # of its pixels at most
LANES = 32  # of the stack that latents are drawn from for it: cells that the core takes side by side
FEWEST = 64  # by which a deviation is judged
PARTS = 8  # of these pixels, looked at one after the other
CLEAR = 250  # hundredths of a standard deviation of what they say, beyond which no more are looked at
DOUBT = 20  # and within which, when all were, both modes are tried: to take the wrong one costs some 20 bytes


def encode_tile(
    codec: TileCodec,
    tile: np.ndarray,
    coded: int,
    lane_symbols: int,
    ledger: Ledger | None = None,
    spread: Any = map,
    both: bool = False,
) -> TileRecord:
    """The stream of one tile (H, W, C) uint8: the smaller of the two modes.

    Where a sample of its pixels leaves little doubt which that is, the other one is not tried, unless `both` is asked
    for.
    `ledger` receives the bits of each term of the mode taken, and the totals of both modes: of one that was not tried,
    what the sample lets expect. spread: a `map` for parts of the tile, perhaps of several threads.
    """
    height, width, _ = tile.shape
    lanes = lanes_for(height * width * coded, lane_symbols)
    seed = zlib.crc32(tile.tobytes())
    draft = Draft(codec, tile, coded, spread)

    def stream(split: int, spent: Ledger) -> bytes:
        return ans.to_bytes(_push(codec, ans.empty(lanes, seed), tile, split, coded, spent, draft, spread))

    def without() -> tuple[TileRecord, Ledger]:
        spent = Ledger()
        return TileRecord(Method.NO_LATENTS, stream(0, spent)), spent

    trial, split = None, 0
    if not both and height > codec.stride and height * width >= TRIED:
        trial = try_latents(draft, SAMPLE)
    best, spent = (None, Ledger()) if trial is not None and trial.clear(DOUBT) > 0 else without()
    if trial is None or trial.clear(DOUBT) >= 0:
        split = choose_split(draft)
    total = attempted = kl = 0.0
    while split:
        attempt = Ledger()
        try:
            data = (split // codec.stride).to_bytes(2, "little") + stream(split, attempt)
        except EmptyStack:  # the latents drawn were dearer than expected
            split -= codec.stride
            continue
        attempted, kl = sum(attempt.bits.values()), attempt.bits["prior"] + attempt.bits["posterior"]
        if best is None and trial is not None:
            trial = trial.with_latents(attempt.freqs["band B"], kl)
            if trial.clear(DOUBT) <= 0:  # these latents are worse than those of the trial
                best, spent = without()
        if best is None:
            assert trial is not None
            best, spent, total = TileRecord(Method.LATENTS, data), attempt, attempted + trial.bits_saved()
        else:
            total = sum(spent.bits.values())
            if len(data) < len(best.data):
                best, spent = TileRecord(Method.LATENTS, data), attempt
        break
    if best is None:  # nothing pays for latents after all
        best, spent = without()
    if not total:
        total = sum(spent.bits.values())
    if ledger is not None:
        expected = total - min(0.0, 0.0 if trial is None else trial.bits_saved())
        ledger.merge(Ledger(spent.bits, {"no latents": total, "latents": attempted or expected, "KL": kl}))
    return best


def encode_chain(
    codec: TileCodec,
    tiles: Arrays,
    coded: int,
    lane_symbols: int,
    ledger: Ledger | None = None,
    tick: Tick | None = None,
) -> TileRecord:
    """The stream of one group's tiles, (H, W, C) uint8 each: all without latents, or each with all the latents that
    the stack can pay for, whichever is smaller.

    `ledger` receives the bits of each term of the mode taken, and the totals of both modes.
    """
    lanes = lanes_for(sum(tile.shape[0] * tile.shape[1] for tile in tiles) * coded, lane_symbols)
    seed = checksum(tile.tobytes() for tile in tiles)
    plain, without = ans.empty(lanes, seed), Ledger()
    for tile in tiles:
        plain = _push(codec, plain, tile, 0, coded, without)
    message, spent, splits = ans.empty(lanes, seed), Ledger(), []
    for tile in tiles:
        draft = Draft(codec, tile, coded)
        split = len(tile) // codec.stride * codec.stride
        while True:
            attempt = Ledger()
            try:
                message = _push(codec, message, tile, split, coded, attempt, draft)
                break
            except EmptyStack:
                split = min(split - codec.stride, choose_split(draft, ans.stock(message)))
        spent.merge(attempt)
        splits.append(split // codec.stride)
        if tick is not None:
            tick(tile.shape[0] * tile.shape[1])
    modes = {
        "no latents": sum(without.bits.values()),
        "latents": sum(spent.bits.values()),
        "KL": spent.bits.get("prior", 0.0) + spent.bits.get("posterior", 0.0),
    }
    data = _pack_splits(splits, [len(tile) // codec.stride for tile in tiles]) + ans.to_bytes(message)
    simple = _pack_splits([0], [0]) + ans.to_bytes(plain)
    if len(simple) <= len(data):
        data, spent = simple, without
    if ledger is not None:
        ledger.merge(Ledger(spent.bits, modes))
    return TileRecord(Method.CHAIN, data)


def choose_split(draft: Draft, stock: int = 0) -> int:
    """Rows of band B: the most, in whole latent rows, whose posterior the rows below and the stack can pay for.

    stock: what the stack already has, in units of 2^-20 bits. The posterior's cost is estimated; an encoder finds out
    by trying. At least one row is left to band A.
    """
    stride, c = draft.codec.stride, draft.codec.channels
    split = (len(draft.tile) - 1) // stride * stride
    if not split:
        return 0
    index = draft.posterior(split)[:, 1 + c :].reshape(split // stride, -1).astype(np.int64)
    # A logistic of scale s = 2^(index / 16 - 4) has log2(s) + 2 log2(e) bits; one narrower than a latent step has none.
    expected = np.maximum(index * (COST_UNIT // 16) - COST_UNIT * 4 + COST_UNIT * 2885 // 1000, COST_UNIT // 20).sum(1)
    spread = isqrt(index.shape[1] * COST_UNIT * COST_UNIT) // 2  # of a row
    need = 64 * COST_UNIT + np.cumsum(expected + spread)
    while split and stock + draft.cost(split) < need[split // stride - 1]:
        split -= stride
    return split


class Trial(NamedTuple):
    """What a tile's latents do to a sample of its pixels. Costs are integers in units of 2^-20 bits."""

    context: np.ndarray  # (rows, W, F) int8, features of the latents drawn, of the rows that can have latents
    kl: float  # bits of the latents themselves
    places: np.ndarray  # (n,) flat indices of the pixels that were looked at
    costs: np.ndarray  # (n,) int64, what they take without latents
    saved: np.ndarray  # (n,) int64, what they take less with these
    area: int  # pixels that they stand for

    def gain(self) -> int:
        """What all pixels would need less, the latents' own cost paid for, times the number of pixels looked at."""
        return int(self.saved.sum()) * self.area - round(self.kl * COST_UNIT) * len(self.saved)

    def bits_saved(self) -> float:
        """The gain in bits."""
        return self.gain() / (COST_UNIT * max(1, len(self.saved)))

    def clear(self, hundredths: int) -> int:
        """1 or -1, the gain's sign, if it is further from 0 than so much of its standard deviation; else 0."""
        gain, n, total = self.gain(), len(self.saved), int(self.saved.sum())
        squares = sum(int(part @ part) for part in np.array_split(self.saved >> 4, 8)) << 8
        variance = (n * squares - total * total) * self.area**2  # of the gain, times n
        if 10_000 * gain * gain * n <= hundredths**2 * max(variance, 0):
            return 0
        return 1 if gain > 0 else -1

    def with_latents(self, freqs: np.ndarray, kl: float) -> Trial:
        """The trial with other latents, of the intervals (rows, W, coded) that they lead to, and of their bits."""
        flat = freqs.reshape(-1, freqs.shape[2])
        inside = self.places < len(flat)
        costs = self.costs[inside]
        saved = costs - mixture.costs(flat[self.places[inside]], flat.shape[1])
        return Trial(self.context, kl, self.places[inside], costs, saved, len(flat))


def try_latents(draft: Draft, count: int) -> Trial:
    """Draws latents of a tile of more than one latent row from their posterior, with bits from nowhere, and looks at
    `count` of the pixels that can have them, or fewer if these say it clearly. Always the same for the same tile.
    """
    codec, coded = draft.codec, draft.coded
    height, width, _ = draft.tile.shape
    rows = (height - 1) // codec.stride * codec.stride
    upper, (z, spent) = draft.tile[:rows], draw_latents(draft, rows)
    kl, context, area = sum(spent.bits.values()), codec.nets.context(z, width), rows * width
    index = np.arange(min(count, area))  # one pixel of each of so many parts, at a place that has no period
    places = ((index << 16) + (index * 2654435761 % (1 << 32) >> 16)) * area // (len(index) << 16)
    trial = Trial(context, kl, places[:0], places[:0], places[:0], area)
    ways = [codec.nets.pixels.whole(upper, features) for features in (None, context)]
    for k in range(PARTS):
        part = places[k::PARTS]
        null, drawn = (mixture.costs(codec.nets.pixels.at(way, part, coded)[1], coded) for way in ways)
        found = (part, null, null - drawn)
        trial = trial._replace(
            places=np.concatenate([trial.places, found[0]]),
            costs=np.concatenate([trial.costs, found[1]]),
            saved=np.concatenate([trial.saved, found[2]]),
        )
        if len(trial.saved) >= FEWEST and trial.clear(CLEAR):
            break
    return trial


def draw_latents(draft: Draft, rows: int) -> tuple[np.ndarray, Ledger]:
    """Latents (gh, gw, C) uint8 of the first rows of a tile, whole latent rows, drawn from their posterior with bits
    from nowhere, always the same; and what they take under prior and posterior.
    """
    codec, spent = draft.codec, Ledger()
    upper = draft.tile[:rows]
    count = rows // codec.stride * -(-upper.shape[1] // codec.stride) * codec.channels
    message = spare_bits(count)
    _, (z,) = codec.posterior([upper], spent, [draft.posterior(rows)]).pop([message])
    codec.prior([z.shape[:2]], spent).push([message], [z])
    return z, spent


def spare_bits(symbols: int) -> ans.Message:
    """Bits from nowhere, always the same, from which so many symbols can be popped."""
    words = np.frombuffer(np.random.RandomState(1).bytes(4 * (2 * LANES + symbols)), "<u4").astype(np.uint32)
    heads = words[:LANES].astype(np.uint64) + np.uint64(ans.HEAD_MIN)  # empty ones would draw the rarest symbols first
    return ans.Message(heads, words[LANES:])


class Draft:
    """A tile's intervals without latents, from the bottom up, and its posterior, as far as they were asked for."""

    def __init__(self, codec: TileCodec, tile: np.ndarray, coded: int, spread: Any = map) -> None:
        self.codec, self.tile, self.coded, self.spread = codec, tile, coded, spread
        self.starts, self.freqs = np.zeros((2, *tile.shape), np.uint32)
        self.first = len(tile)
        self.rows: dict[int, np.ndarray] = {}

    def below(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (rows, W, C) uint32, of the rows from `row` on."""
        if row < self.first:
            above, band = self.tile[:row], self.tile[row : self.first]
            part = self.codec.pixel_codec.intervals(above, band, None, self.coded, self.spread)
            self.starts[row : self.first], self.freqs[row : self.first] = part
            self.first = row
        return self.starts[row:], self.freqs[row:]

    def cost(self, row: int) -> int:
        """What the rows from `row` on take without latents, in units of 2^-20 bits."""
        return mixture.cost(self.below(row)[1], self.coded)

    def posterior(self, row: int) -> np.ndarray:
        """Parameters of the posterior of the rows above `row`."""
        if row not in self.rows:
            self.rows[row] = self.codec.nets.posterior_parameters(self.tile[:row])
        return self.rows[row]


def _push(
    codec: TileCodec,
    message: ans.Message,
    tile: np.ndarray,
    split: int,
    coded: int,
    ledger: Ledger,
    draft: Draft | None = None,
    spread: Any = map,
) -> ans.Message:
    """The message with a tile on top, of which `split` rows are band B."""
    pair = codec.tiles([tile.shape[:2]], [split], coded, ledger, None, draft, spread)
    (message,) = pair.push([message], ([tile[:split]], [tile[split:]]))
    return message


def read_record(
    codec: TileCodec, record: TileRecord, shapes: Sequence[tuple[int, int]], coded: int, lane_symbols: int
) -> tuple[list[int], ans.Message]:
    """(rows of band B of each tile, the message) of a model-coded record of tiles of these (height, width).

    Raises CorruptFile.
    """
    splits, position = read_splits(record, [height for height, _ in shapes], codec.stride)
    lanes = lanes_for(sum(height * width for height, width in shapes) * coded, lane_symbols)
    return splits, ans.from_bytes(record.data[position:], lanes)


def retrace(
    codec: TileCodec, record: TileRecord, tiles: Arrays, coded: int, lane_symbols: int, spread: Any = map
) -> Iterator[tuple[int, ans.Message, Ledger]]:
    """For each tile of a decoded record, as its encoder pushed it: the rows of its band B, the message with it on top,
    and a ledger of this tile alone with the bits and frequencies of every term.

    As codecs are inverse both ways, to push what was decoded is to see what was coded, and ends with the record's very
    message.
    """
    splits, end = read_record(codec, record, [tile.shape[:2] for tile in tiles], coded, lane_symbols)
    message = ans.empty(len(end.heads), checksum(tile.tobytes() for tile in tiles))
    for tile, split in zip(tiles, splits):
        spent = Ledger()
        message = _push(codec, message, tile, split, coded, spent, None, spread)
        yield split, message, spent
    assert message == end


def decode_tiles(
    codec: TileCodec,
    records: Sequence[TileRecord],
    shapes: Sequence[tuple[int, int]],
    coded: int,
    lane_symbols: int,
    tick: Tick | None = None,
) -> Arrays:
    """The tiles (H, W, C) uint8 of model-coded records. Raises CorruptFile when a stack does not end exactly empty."""
    messages, splits = [], []
    for record, shape in zip(records, shapes):
        (split,), message = read_record(codec, record, [shape], coded, lane_symbols)
        messages.append(message)
        splits.append(split)
    messages, (upper, lower) = codec.tiles(shapes, splits, coded, None, tick).pop(messages)
    tiles = [np.concatenate(bands) for bands in zip(upper, lower)]
    for i, (message, tile) in enumerate(zip(messages, tiles)):
        if not ans.is_empty(message, zlib.crc32(tile.tobytes())):
            raise CorruptFile(f"the stack of tile {i} of the batch is not empty at its end; the file is damaged")
    return tiles


def decode_chains(
    codec: TileCodec,
    records: Sequence[TileRecord],
    shapes: Sequence[Sequence[tuple[int, int]]],
    coded: int,
    lane_symbols: int,
    tick: Tick | None = None,
) -> list[Arrays]:
    """The tiles (H, W, C) uint8 of each group; shapes: their (height, width). A device takes all in common waves.

    Raises CorruptFile when a stack does not end exactly empty.
    """
    messages, splits = [], []
    for record, group in zip(records, shapes):
        rows, message = read_record(codec, record, group, coded, lane_symbols)
        messages.append(message)
        splits.append(rows)
    tiles: list[Arrays] = [[] for _ in records]
    for step in range(1, max(map(len, shapes), default=0) + 1):
        active = [g for g, group in enumerate(shapes) if step <= len(group)]
        now = codec.tiles([shapes[g][-step] for g in active], [splits[g][-step] for g in active], coded, None, tick)
        popped, (upper, lower) = now.pop([messages[g] for g in active])
        for g, message, *bands in zip(active, popped, upper, lower):
            messages[g] = message
            tiles[g].append(np.concatenate(bands))
    for g, message in enumerate(messages):
        tiles[g].reverse()
        if not ans.is_empty(message, checksum(tile.tobytes() for tile in tiles[g])):
            raise CorruptFile(f"the stack of group {g} of the batch is not empty at its end; the file is damaged")
    return tiles


def _pack_splits(rows: Sequence[int], most: Sequence[int]) -> bytes:
    """The runs of a chain's splits. rows, most: latent rows of band B of each tile, and how many whole ones it has."""
    full = max(most)
    *runs, (last, _) = [
        (value, len(list(run))) for value, run in groupby(full if n == m else n for n, m in zip(rows, most))
    ]
    numbers = [number for value, length in runs for number in (length, value)]
    return b"".join(map(pack_varint, [*numbers, 0, last]))


def read_splits(record: TileRecord, heights: Sequence[int], stride: int) -> tuple[list[int], int]:
    """(rows of band B of each tile of a model-coded stream, where its message begins); heights: rows of the tiles.

    Raises CorruptFile.
    """
    if record.method == Method.CHAIN:
        rows, position = _read_splits(record.data, [height // stride for height in heights])
        return [stride * n for n in rows], position
    if record.method != Method.LATENTS:
        return [0], 0
    split = int.from_bytes(record.data[:2], "little") * stride
    if not 0 < split < heights[0]:
        raise CorruptFile("a tile's bands do not fit its height; the file is damaged")
    return [split], 2


def _read_splits(data: bytes, most: Sequence[int]) -> tuple[list[int], int]:
    """(latent rows of band B of each tile, the position after them). Raises CorruptFile."""
    rows: list[int] = []
    position, length = 0, 1
    while length:
        length, position = read_varint(data, position)
        value, position = read_varint(data, position)
        left = len(most) - len(rows)
        if length >= left:
            raise CorruptFile("the bands of a group are more than its tiles; the file is damaged")
        rows += [value] * (length or left)
    return [min(n, m) for n, m in zip(rows, most)], position
