"""Streams: the bytes of one tile, from the codec of tiles; the encoder's choices are made here.

    method NO_LATENTS    the message
    method LATENTS       u16 little-endian, rows of band B in latent rows; the message

A message starts as the empty stack with the CRC-32 of the tile's pixels (three equal channels for grey) as its seed,
and a decoder must find exactly that at its end.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from vlae_codec import ans
from vlae_codec.container import Method, TileRecord, lanes_for
from vlae_codec.errors import CorruptFile, EmptyStack
from vlae_codec.tile import Arrays, Ledger, Tick, TileCodec


def encode_tile(
    codec: TileCodec, tile: np.ndarray, coded: int, lane_symbols: int, ledger: Ledger | None = None
) -> TileRecord:
    """The stream of one tile (H, W, C) uint8: the smaller of the two modes.

    `ledger` receives the bits of each term of the mode taken, and the totals of both modes.
    """
    height, width, _ = tile.shape
    lanes = lanes_for(height * width * coded, lane_symbols)
    seed = zlib.crc32(tile.tobytes())

    def stream(split: int, spent: Ledger) -> bytes:
        pair = codec.tiles([(height, width)], [split], coded, spent)
        (message,) = pair.push([ans.empty(lanes, seed)], ([tile[:split]], [tile[split:]]))
        return ans.to_bytes(message)

    spent = Ledger()
    best = TileRecord(Method.NO_LATENTS, stream(0, spent))
    no_latents = sum(spent.bits.values())
    modes = {"no latents": no_latents, "latents": no_latents, "KL": 0.0}
    split = choose_split(codec, tile, spent.rows)
    while split:
        attempt = Ledger()
        try:
            data = (split // codec.stride).to_bytes(2, "little") + stream(split, attempt)
        except EmptyStack:  # the latents drawn were dearer than expected
            split -= codec.stride
            continue
        modes |= {
            "latents": sum(attempt.bits.values()),
            "KL": attempt.bits["prior"] + attempt.bits["posterior"],
        }
        if len(data) < len(best.data):
            best, spent = TileRecord(Method.LATENTS, data), attempt
        break
    if ledger is not None:
        ledger.merge(Ledger(spent.bits, modes))
    return best


def choose_split(codec: TileCodec, tile: np.ndarray, row_bits: np.ndarray) -> int:
    """Rows of band B: the most, in whole latent rows, whose posterior the rows below can pay for.

    row_bits: (H,) bits of each row without latents. The posterior's cost is estimated; an encoder finds out by trying.
    """
    height, stride, c = len(row_bits), codec.stride, codec.channels
    split = (height - 1) // stride * stride
    if not split:
        return 0
    params = codec.nets.posterior_parameters(tile[:split])
    index = params[:, 1 + c :].reshape(split // stride, -1)
    # A logistic of scale s has log2(s) + 2 log2(e) bits; one much narrower than a latent step has none.
    expected = np.maximum(index / 16 - 4 + 2.885, 0.05).sum(1)
    need = 64 + np.cumsum(expected + 0.5 * np.sqrt(index.shape[1]))
    while split and row_bits[split:].sum() < need[split // stride - 1]:
        split -= stride
    return split


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
    for record, (height, width) in zip(records, shapes):
        split, stream = 0, record.data
        if record.method == Method.LATENTS:
            split = int.from_bytes(stream[:2], "little") * codec.stride
            stream = stream[2:]
            if not 0 < split < height:
                raise CorruptFile("a tile's bands do not fit its height; the file is damaged")
        messages.append(ans.from_bytes(stream, lanes_for(height * width * coded, lane_symbols)))
        splits.append(split)
    messages, (upper, lower) = codec.tiles(shapes, splits, coded, None, tick).pop(messages)
    tiles = [np.concatenate(bands) for bands in zip(upper, lower)]
    for i, (message, tile) in enumerate(zip(messages, tiles)):
        if not ans.is_empty(message, zlib.crc32(tile.tobytes())):
            raise CorruptFile(f"the stack of tile {i} of the batch is not empty at its end; the file is damaged")
    return tiles
