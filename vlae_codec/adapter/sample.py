"""The pixels that an adapter is fitted to: rows of network inputs, gathered as the codec gathers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.coder.choice import Draft, try_latents
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import LEVEL_BITS
from vlae_codec.native import mixture
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.threads import Map

Own = Callable[[int], TileCodec]  # of each tile its codec

PROBE = 4096  # pixels of a tile by which the use of its latents is judged


class Sample(NamedTuple):
    rows: np.ndarray  # (n, inputs) int8
    offsets: np.ndarray  # (n, C) int32, the pixels' reference values, 1/64 level
    symbols: np.ndarray  # (n, C)
    shifts: np.ndarray  # (n,) int32, the pixels'
    total: int  # pixels that the n stand for
    other: float  # bits that the adapter does not change: the latents'

    def values(self) -> np.ndarray:
        """(n, C) float32: the pixels less their reference values, in coarse levels."""
        return ((self.symbols - self.offsets / np.float64(1 << LEVEL_BITS)) / (1 << self.shifts[:, None])).astype(
            np.float32
        )

    def edges(self, levels: int) -> np.ndarray:
        """(n, C) int8: 1 where a symbol is the first of its alphabet, 2 where it is the last, and 4 times the shift."""
        return ((self.symbols == 0) + 2 * (self.symbols == levels - 1) + 4 * self.shifts[:, None]).astype(np.int8)


def draw(
    codec: TileCodec,
    tiles: Sequence[np.ndarray],
    coded: int,
    most: int,
    seed: int,
    run: Map = map,
    own: Own | None = None,
) -> Sample:
    """Pixels of tiles (H, W, C): all of them, or `most` drawn at random, with each tile's better context.

    own: the codec of each tile, by its index, where that is not the same one.
    Tiles are looked at in random order until there are enough pixels, a quarter of each if there are many.
    """
    total = sum(tile[..., 0].size for tile in tiles)
    share = min(1.0, max(0.25, most / total))
    chosen, count = [], 0
    for index in np.random.default_rng(seed).permutation(len(tiles)):
        if count < most:
            n = min(most - count, max(1, round(share * tiles[index][..., 0].size)))
            mine = codec if own is None else own(index)
            chosen.append((mine, tiles[index], n, np.random.default_rng((seed, index))))
            count += n

    def gather(choice: tuple[TileCodec, np.ndarray, int, np.random.Generator]) -> tuple[Any, float]:
        mine, tile, n, rng = choice
        context, kl = _context(mine, tile, coded)
        positions = np.sort(rng.permutation(tile[..., 0].size)[:n]) if share < 1 else np.arange(n)
        return _rows(mine, tile, context, positions), kl

    found, kls = zip(*run(gather, chosen))
    rows, offsets, symbols, shifts = (np.concatenate(parts) for parts in zip(*found))
    area = sum(tile[..., 0].size for _, tile, _, _ in chosen)
    return Sample(rows, offsets, symbols, shifts, total, sum(kls) * total / area)


def bits(codec: TileCodec, sample: Sample, at: np.ndarray, coded: int) -> np.ndarray:
    """(n,) bits of pixels of a sample under the codec's local network, exactly as it codes them."""
    params, offsets = codec.nets.local(sample.rows[at]), np.ascontiguousarray(sample.offsets[at])
    form = (codec.config["mixtures"], True, codec.levels, coded, codec.model.tables)
    shifts = np.ascontiguousarray(sample.shifts[at]) if codec.nets.pixels.setting.deep else None
    rows = mixture.Rows(params, offsets, None, *form, shifts)
    return mixture.costs(mixture.intervals(rows, sample.symbols[at])[1], coded) / COST_UNIT


def _rows(
    codec: TileCodec, tile: np.ndarray, context: np.ndarray | None, positions: np.ndarray
) -> tuple[np.ndarray, ...]:
    pixels = codec.nets.pixels
    rows, references, shifts = pixels.rows(pixels.whole(tile, context), positions)
    offsets = (references.astype(np.int32) << LEVEL_BITS) >> codec.nets.stretch
    return rows, offsets, tile.reshape(-1, tile.shape[2])[positions], shifts


def _context(codec: TileCodec, tile: np.ndarray, coded: int) -> tuple[np.ndarray | None, float]:
    """Context features of a tile and the KL in bits: those of its latents if they pay, else None for no latents."""
    stride, (height, width) = codec.stride, tile.shape[:2]
    if height > stride:
        trial = try_latents(Draft(codec, tile, coded), PROBE)
        if trial.gain() > 0:
            null = np.tile(codec.model.null, (1, -(-width // stride), 1))[: height - len(trial.context), :width]
            return np.concatenate([trial.context, null]), trial.kl / COST_UNIT
    return None, 0.0
