"""What an encoder chooses, all in integers: for a tile whether it has latents, and how many rows have them; for a
picture the shift of its samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

import numpy as np

from vlae_codec.coder.tile import Known, Ledger, TileCodec
from vlae_codec.contract import MAX_SHIFT
from vlae_codec.native import ans, mixture
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.threads import Map

TRIED = 1 << 16  # pixels of a tile from which on a stripe says whether latents are tried, and how many rows have them
STRIPE = 8  # of so many columns one
WORTH = 512  # of what the pixels take, latents must save one part in so many: they take a quarter more time to code
LANES = 32  # of the stack that latents are drawn from for it: cells that the core takes side by side
FEWEST = 64  # by which a deviation is judged
PARTS = 8  # of these pixels, looked at one after the other
CLEAR = 250  # hundredths of a standard deviation of what they say, beyond which no more are looked at
LOOK = 4096  # pixels at most by which a shift is chosen, of so many tiles at most ...
SIGHT = 16
SHARE = 160  # ... of so many each one, ...
FEW = 256  # ... but so many
LEAST_BITS = 4  # of the coarse levels that a shift leaves


class Draft:
    """What an encoder knows of a tile (H, W, C) before it is coded: its intervals without latents,
    from the bottom up, and its posterior, as far as they were asked for. A codec that learns is judged by what it is
    before it has learnt anything.
    """

    def __init__(self, codec: TileCodec, tile: np.ndarray, coded: int, spread: Map = map) -> None:
        self.codec, self.tile, self.coded, self.spread = codec, tile, coded, spread
        self.still = codec.learning(None)
        self.starts, self.freqs = np.zeros((2, *tile.shape), np.uint32)
        self.first = len(tile)
        self.rows: dict[int, np.ndarray] = {}
        self.part: Draft | None = None

    @property
    def large(self) -> bool:
        """Whether its stripe says if it has latents."""
        return self.tile.shape[0] * self.tile.shape[1] >= TRIED and len(self.tile) > self.codec.stride

    @property
    def stripe(self) -> Draft:
        """The draft of a stripe in the middle of a large tile, over its whole height; a small one's is itself."""
        if self.large and self.part is None:
            width, stride = self.tile.shape[1], self.codec.stride
            columns = -(-width // (STRIPE * stride)) * stride
            first = max(0, width - columns) // (2 * stride) * stride
            self.part = Draft(self.codec, self.tile[:, first : first + columns], self.coded)
        return self.part or self

    def below(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (rows, W, C) uint32, of the rows from `row` on."""
        if row < self.first:
            above, band = self.tile[:row], self.tile[row : self.first]
            part = self.still.pixel_codec.intervals(above, band, None, self.coded, self.spread)
            self.starts[row : self.first], self.freqs[row : self.first] = part
            self.first = row
        return self.starts[row:], self.freqs[row:]

    def known(self, split: int) -> Known:
        """What `TileCodec.tiles` need not find out again, if band B has `split` rows."""
        if self.codec.pace is None:
            return Known(self.below(split), self.posterior(split))
        above, band = self.tile[:split], self.tile[split:]
        return Known(self.codec.pixel_codec.intervals(above, band, None, self.coded), self.posterior(split))

    def cost(self, row: int) -> int:
        """What the rows from `row` on take without latents, in units of 2^-20 bits."""
        return mixture.cost(self.below(row)[1], self.coded)

    def posterior(self, row: int) -> np.ndarray:
        """Parameters of the posterior of the rows above `row`."""
        if row not in self.rows:
            self.rows[row] = self.codec.nets.posterior_parameters(self.tile[:row])
        return self.rows[row]


def choose_split(draft: Draft, stock: int = 0) -> int:
    """Rows of band B: the most, in whole latent rows, whose posterior the rows below and the stack can pay for.

    stock: what the stack already has, in units of 2^-20 bits. The posterior's cost is estimated, in a large tile from
    its stripe; an encoder finds out by trying. At least one row is left to band A.
    """
    stride, c = draft.codec.stride, draft.codec.channels
    split = (len(draft.tile) - 1) // stride * stride
    if not split:
        return 0
    rows = split // stride
    index = draft.stripe.posterior(split)[:, 1 + c :].reshape(rows, -1).astype(np.int64)
    # A logistic of scale s = 2^(index / 16 - 4) has log2(s) + 2 log2(e) bits; one narrower than a latent step has none.
    expected = np.maximum(index * (COST_UNIT // 16) - COST_UNIT * 4 + COST_UNIT * 2885 // 1000, COST_UNIT // 20).sum(1)
    latents = -(-draft.tile.shape[1] // stride) * c  # of a row
    spread = isqrt(latents * COST_UNIT * COST_UNIT) // 2
    need = 64 * COST_UNIT + np.cumsum(expected * latents // index.shape[1] + spread)
    while split and stock + draft.cost(split) < need[split // stride - 1]:
        split -= stride
    return split


class Trial(NamedTuple):
    """What a tile's latents do to a sample of its pixels. Costs are integers in units of 2^-20 bits."""

    context: np.ndarray  # (rows, W, F) int8, features of the latents drawn, for the rows that can have latents
    kl: int  # what the latents themselves take
    costs: np.ndarray  # (n,) int64, what they take without latents
    saved: np.ndarray  # (n,) int64, what they take less with these
    area: int  # pixels that can have latents

    def gain(self) -> int:
        """What latents would save on all pixels, less their own cost and what they must save at least, times the number
        of pixels looked at.
        """
        return (int(self.saved.sum()) - int(self.costs.sum()) // WORTH) * self.area - self.kl * len(self.saved)

    def clear(self, hundredths: int) -> int:
        """The gain's sign, 1 or -1, if it is further from 0 than so much of its standard deviation; else 0."""
        gain, n, total = self.gain(), len(self.saved), int(self.saved.sum())
        squares = sum(int(part @ part) for part in np.array_split(self.saved >> 4, 8)) << 8
        variance = (n * squares - total * total) * self.area**2  # of the gain, times n
        if 10_000 * gain * gain * n <= hundredths**2 * max(variance, 0):
            return 0
        return 1 if gain > 0 else -1


def try_latents(draft: Draft, count: int) -> Trial:
    """The trial of a tile that has more than one latent row, always the same for the same tile.

    It draws latents from their posterior, with bits from nowhere, and looks at `count` of the pixels that can have
    latents, or at fewer if those already show a clear gain or loss.
    """
    codec, coded = draft.codec, draft.coded
    height, width, _ = draft.tile.shape
    rows = (height - 1) // codec.stride * codec.stride
    upper, (z, spent) = draft.tile[:rows], draw_latents(draft, rows)
    kl, context, area = sum(spent.costs.values()), codec.nets.context(z, width), rows * width
    places = spread_places(area, count)
    trial = Trial(context, kl, places[:0], places[:0], area)
    ways = [codec.nets.pixels.whole(upper, features) for features in (None, context)]
    for k in range(PARTS):
        part = places[k::PARTS]
        null, drawn = (mixture.costs(codec.nets.pixels.at(way, part, coded)[1], coded) for way in ways)
        trial = trial._replace(
            costs=np.concatenate([trial.costs, null]), saved=np.concatenate([trial.saved, null - drawn])
        )
        if len(trial.saved) >= FEWEST and trial.clear(CLEAR):
            break
    return trial


def draw_latents(draft: Draft, rows: int) -> tuple[np.ndarray, Ledger]:
    """(latents (gh, gw, C) uint8 of the first rows of a tile, what they take under prior and posterior).

    rows: a whole number of latent rows. The latents are drawn from their posterior with bits from nowhere, and are
    always the same.
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


def spread_places(area: int, count: int) -> np.ndarray:
    """(min(count, area),) int64: one pixel of each of so many parts of an area, at a place that has no period."""
    index = np.arange(min(count, area))
    return ((index << 16) + (index * 2654435761 % (1 << 32) >> 16)) * area // (len(index) << 16)


class Look:
    """Some pixels of the tiles (H, W, C) of a picture, always the same, and what they take without latents."""

    def __init__(self, codec: TileCodec, tiles: Sequence[np.ndarray], coded: int) -> None:
        self.coded, self.total = coded, sum(tile.shape[0] * tile.shape[1] for tile in tiles)
        seen = [tiles[i] for i in sorted({i * len(tiles) // SIGHT for i in range(SIGHT)})]
        ends = np.cumsum([0, *(tile.shape[0] * tile.shape[1] for tile in seen)])
        places = spread_places(int(ends[-1]), min(LOOK, max(FEW, self.total // SHARE)))
        self.count = len(places)
        self.parts = []
        for tile, begin, end in zip(seen, ends, ends[1:]):
            inside = places[(places >= begin) & (places < end)] - begin
            self.parts.append((codec.nets.pixels.whole(tile, None), inside))

    def cost(self, codec: TileCodec, step: int = 1) -> int:
        """What the pixels, or each `step`-th of a tile's, take under a codec of these levels: units of 2^-20 bits."""
        at = codec.nets.pixels.at
        return sum(mixture.cost(at(tile, places[::step], self.coded)[1], self.coded) for tile, places in self.parts)


def sample_cost(codec: TileCodec, tiles: Sequence[np.ndarray], coded: int) -> int:
    """What tiles (H, W, C) take without latents, in units of 2^-20 bits, as some of their pixels tell.

    The same pixels are looked at whatever the levels, so that pictures of mapped values may be compared.
    """
    look = Look(codec, tiles, coded)
    return look.cost(codec) * look.total // look.count


def choose_shift(codec: TileCodec, tiles: Sequence[np.ndarray], coded: int) -> int:
    """The shift for a codec of these levels by which tiles (H, W, C) take least, as some of their pixels tell.

    A quarter of these says which of the even shifts is best; all of them whether one beside it is better.
    """
    look = Look(codec, tiles, coded)
    most = max(0, min(MAX_SHIFT, (codec.levels - 1).bit_length() - LEAST_BITS))

    def cost(shift: int, step: int) -> int:
        return look.cost(codec.scaled(codec.levels, shift), step)

    even = min(range(0, most + 1, 2), key=lambda shift: cost(shift, 4))
    return min(range(max(even - 1, 0), min(even + 1, most) + 1), key=lambda shift: cost(shift, 1))
