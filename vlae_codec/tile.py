"""Bits-back coding of tiles, from nothing: a tile's own band A pays for the latents of its band B.

    rows 0 .. split         band B, coded with latents z ~ q(z | x_B)
    rows split .. height    band A, coded without latents given B above it

    push: A | B with no latent;  pop z from q(z | x_B);  push x_B | z;  push z under the flow prior
    pop:  z under the prior;  x_B | z;  push z back under q(z | x_B);  pop A;  the stack is now exactly empty

In codecs: `after(bits_back(prior, likelihood, posterior), band A)`. The encoder takes the least A that pays. A picture
too small to pay has split 0: all of it is band A, the same codec with an empty B. A message here is a list of
`ans.Message`, one a tile, and a symbol a list of arrays, so that a batch of tiles is popped in common waves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlae_codec import ans, tables, waves
from vlae_codec.codecs import Codec, after, bits_back
from vlae_codec.errors import EmptyStack
from vlae_codec.inference import CENTRE, LATENT_LEVELS, Inference, centred
from vlae_codec.model import Model

Messages = list[ans.Message]
Arrays = list[np.ndarray]
Tick = Callable[[int], None]  # told the number of pixels just popped

BLOCK = 1 << 16  # pixels whose parameters are held at once when encoding


@dataclass
class Ledger:
    """Bits of the symbols coded, kept on request; the encoder weighs modes by them, a decoder needs none."""

    bits: dict[str, float] = field(default_factory=dict)  # terms of -ELBO of the mode taken; they add up to it
    modes: dict[str, float] = field(default_factory=dict)  # "no latents", "latents" and of the latter the "KL"
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (H,) bits of each row of the band added last

    def add(self, term: str, freqs: np.ndarray, sign: int = 1) -> None:
        self.rows = (tables.PRECISION - np.log2(freqs.astype(np.float64))).reshape(len(freqs), -1).sum(1)
        self.bits[term] = self.bits.get(term, 0.0) + sign * float(self.rows.sum())

    def merge(self, other: Ledger) -> None:
        for mine, others in ((self.bits, other.bits), (self.modes, other.modes)):
            for key, bits in others.items():
                mine[key] = mine.get(key, 0.0) + bits


class TileCodec:
    """The codecs of a model's tiles on a backend: "int8", "float32" or "torch:DEVICE".

    coded, here and below: channels that are coded; a grey tile comes with three equal channels of which the first is.
    """

    def __init__(self, model: Model, backend: str) -> None:
        self.model, self.config, self.nets = model, model.config, Inference(model, backend)
        self.backend = backend
        self.device = backend.partition(":")[2] or None  # of torch; None: the CPU
        self.stride, self.channels = self.nets.stride, self.nets.channels
        self.levels, self.stretch = model.config.get("levels", 256), self.nets.stretch

    def latent_args(self, prior: bool) -> tuple[int, bool, int, int, tables.Tables]:
        """mixtures, coupled, levels, coded, tables for the kernels."""
        flow = prior and self.nets.mixture is not None
        mixtures = self.config["prior_mixtures"] if flow else 1
        return mixtures, flow, LATENT_LEVELS, self.channels, self.model.tables

    def posterior(self, xs: Arrays, ledger: Ledger | None = None) -> Codec:
        """q(z | x): codec of latents, (gh, gw, C) uint8 for each x (H, W, C); cells in raster order, one wave."""
        rows = [self.nets.posterior_parameters(x) if len(x) else None for x in xs]
        shapes = [(len(x) // self.stride, -(-x.shape[1] // self.stride), self.channels) for x in xs]
        args = self.latent_args(prior=False)

        def interval(params: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            flat = z.reshape(-1, self.channels)
            offsets = np.full(flat.shape, CENTRE, np.int32)
            return _intervals(params, offsets, waves.identity_outer(flat.shape), flat, args)

        def push(messages: Messages, zs: Arrays) -> Messages:
            pushed = []
            for message, params, z in zip(messages, rows, zs):
                if params is not None:
                    starts, freqs = (v[:, None] for v in interval(params, z))
                    message = waves.push_region(message, starts, freqs, (0, len(params), 1), 0, self.channels)
                pushed.append(message)
            return pushed

        def pop(messages: Messages) -> tuple[Messages, Arrays]:
            stacks, zs = waves.Stacks(messages), []
            for t, (params, shape) in enumerate(zip(rows, shapes)):
                z = np.zeros(shape, np.uint8)
                if params is not None:
                    flat = z.reshape(-1, self.channels)
                    offsets = np.full(flat.shape, CENTRE, np.int32)
                    bounds = np.zeros(len(rows) + 1, np.int64)
                    bounds[t + 1 :] = len(params)
                    _pop(params, offsets, waves.identity_outer(flat.shape), bounds, args, stacks, flat)
                    if ledger is not None:
                        ledger.add("posterior", interval(params, z)[1], -1)
                zs.append(z)
            return stacks.messages(), zs

        return Codec(push, pop)

    def prior(self, shapes: Sequence[tuple[int, int]], ledger: Ledger | None = None) -> Codec:
        """p(z) by the autoregressive flow: codec of latents (gh, gw, C) uint8, by waves on the latent grid."""
        c, args = self.channels, self.latent_args(prior=True)

        def push(messages: Messages, zs: Arrays) -> Messages:
            pushed = []
            for message, z in zip(messages, zs):
                gh, gw, _ = z.shape
                if gh:
                    flat = z.reshape(-1, c)
                    planes = [centred(z)]

                    def rows_of(t: int, planes: Arrays = planes, cells: int = gh * gw) -> np.ndarray:
                        rows = np.empty((cells, len(self.nets.prior_window) * c), np.int8)
                        waves.latent_rows(planes[t], self.nets.prior_window, rows)
                        return rows

                    def publish(
                        t: int, offsets: np.ndarray, outers: np.ndarray, z: np.ndarray = z, planes: Arrays = planes
                    ) -> None:
                        planes.append(self.nets.flow_variable(z.reshape(-1, c), offsets, outers).reshape(z.shape))

                    starts, freqs = _intervals(*self.nets.prior_parameters(rows_of, publish), flat, args)
                    if ledger is not None:
                        ledger.add("prior", freqs)
                    starts, freqs = starts.reshape(z.shape), freqs.reshape(z.shape)
                    message = waves.push_region(message, starts, freqs, (0, gh, gw), self.nets.prior_slope, c)
                pushed.append(message)
            return pushed

        def pop(messages: Messages) -> tuple[Messages, Arrays]:
            stacks, grid = waves.Stacks(messages), waves.Grid.of([(0, gh, gw) for gh, gw in shapes])
            height, width = int(grid.last.max(initial=0)), int(grid.width.max(initial=0))
            z = np.zeros((len(shapes), height, width, c), np.uint8)
            planes = np.zeros((len(self.nets.affine) + 1, *z.shape), np.int8)
            rows = np.empty((max(grid.widest(), 1), len(self.nets.prior_window) * c), np.int8)
            bounds = np.zeros(len(shapes) + 1, np.int64)
            for wave in range(grid.waves(self.nets.prior_slope)):
                where = (grid.first, grid.last, grid.width, wave, self.nets.prior_slope)
                maps: list[tuple[np.ndarray, np.ndarray]] = []

                def rows_of(t: int, where: tuple = where) -> np.ndarray:
                    n = waves.latent_wave(planes[t], *where, self.nets.prior_window, rows, bounds)
                    return rows[:n]

                def publish(t: int, offsets: np.ndarray, outers: np.ndarray, maps: list = maps) -> None:
                    maps.append((offsets, outers))

                params, offsets, outers = self.nets.prior_parameters(rows_of, publish)
                symbols = np.zeros((len(params), c), np.uint8)
                _pop(params, offsets, outers, bounds, args, stacks, symbols)
                waves.scatter_wave(symbols, z, *where)
                waves.scatter_wave(centred(symbols), planes[0], *where)
                for plane, (step_offsets, step_outers) in zip(planes[1:], maps):
                    waves.scatter_wave(self.nets.flow_variable(symbols, step_offsets, step_outers), plane, *where)
            return stacks.messages(), [z[t, :gh, :gw].copy() for t, (gh, gw) in enumerate(shapes)]

        return Codec(push, pop)

    def pixels(
        self,
        known: Arrays,
        heights: Sequence[int],
        contexts: Arrays | None,
        coded: int,
        ledger: Ledger | None = None,
        tick: Tick | None = None,
    ) -> Codec:
        """p(x | context, known): codec of bands, (height, W, C) uint8 each, below the known rows of their tiles.

        known: (rows, W, C) uint8; contexts: (height, W, F) int8, or None for the no-latent mode.
        """
        c = self.config["channels"]
        args = (self.config["mixtures"], True, self.levels, coded, self.model.tables)
        inputs = (len(self.nets.window) + 1) * c + self.config["context"]

        def push(messages: Messages, xs: Arrays) -> Messages:
            pushed = []
            for t, (message, above, band) in enumerate(zip(messages, known, xs)):
                if len(band):
                    starts, freqs = self.pixel_intervals(above, band, None if contexts is None else contexts[t], coded)
                    if ledger is not None:
                        ledger.add("band A" if contexts is None else "band B", freqs[..., :coded])
                    region = (0, len(band), band.shape[1])
                    message = waves.push_region(message, starts, freqs, region, self.nets.slope, coded)
                pushed.append(message)
            return pushed

        def pop(messages: Messages) -> tuple[Messages, Arrays]:
            stacks = waves.Stacks(messages)
            regions = [(len(k), len(k) + h, k.shape[1]) for k, h in zip(known, heights)]
            grid = waves.Grid.of(regions)
            height, width = int(grid.last.max(initial=0)), int(grid.width.max(initial=0))
            x = np.zeros((len(known), height, width, c), np.uint8)
            context = np.empty((len(known), height, width, self.config["context"]), np.int8)
            context[:] = self.nets.null_context(height, width)
            for t, k in enumerate(known):
                x[t, : len(k), : k.shape[1]] = k << self.stretch
                if contexts is not None and heights[t]:
                    context[t, len(k) : len(k) + heights[t], : k.shape[1]] = contexts[t]
            rows = np.empty((max(grid.widest(), 1), inputs), np.int8)
            offsets = np.empty((len(rows), c), np.int32)
            outers = waves.identity_outer(offsets.shape)
            symbols = np.zeros((len(rows), c), np.uint8)
            bounds = np.zeros(len(known) + 1, np.int64)
            for wave in range(grid.waves(self.nets.slope)):
                where = (grid.first, grid.last, grid.width, wave, self.nets.slope)
                n = waves.pixel_wave(x, context, *where, self.nets.window, rows, offsets, bounds)
                params = self.nets.local(rows[:n])
                if self.stretch:
                    offsets >>= self.stretch
                _pop(params, offsets, outers, bounds, args, stacks, symbols)
                symbols[:n, coded:] = symbols[:n, :1]
                waves.scatter_wave(symbols << self.stretch if self.stretch else symbols, x, *where)
                if tick is not None:
                    tick(n)
            return stacks.messages(), [x[t, a:b, :w] >> self.stretch for t, (a, b, w) in enumerate(regions)]

        return Codec(push, pop)

    def pixel_intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (height, W, C) uint32, of a band given the rows above it; in blocks, all in parallel."""
        first = max(0, len(above) + int(self.nets.window[0, 0]))  # the first row that a window sees
        x = np.concatenate([above[first:], band]) << self.stretch
        skip = (len(x) - len(band)) * x.shape[1]
        features = self.nets.null_context(first + len(x), x.shape[1])[first:]
        if context is not None:
            features[len(x) - len(band) :] = context
        args = (self.config["mixtures"], True, self.levels, coded, self.model.tables)
        starts, freqs = np.zeros((2, band.shape[0] * band.shape[1], x.shape[2]), np.uint32)
        flat = band.reshape(-1, x.shape[2])
        for begin in range(0, len(flat), BLOCK):
            count = min(BLOCK, len(flat) - begin)
            rows = np.empty((count, (len(self.nets.window) + 1) * x.shape[2] + features.shape[2]), np.int8)
            offsets = np.empty((count, x.shape[2]), np.int32)
            positions = np.arange(skip + begin, skip + begin + count)
            waves.pixel_rows(x, features, positions, self.nets.window, rows, offsets)
            if self.stretch:
                offsets >>= self.stretch
            part = slice(begin, begin + count)
            outers = waves.identity_outer(offsets.shape)
            tables.intervals(self.nets.local(rows), offsets, outers, flat[part], *args, starts[part], freqs[part])
        return starts.reshape(band.shape), freqs.reshape(band.shape)

    def tiles(
        self,
        shapes: Sequence[tuple[int, int]],
        splits: Sequence[int],
        coded: int,
        ledger: Ledger | None = None,
        tick: Tick | None = None,
    ) -> Codec:
        """The codec of whole tiles: a pair ([band B of each tile], [band A of each tile])."""
        c = self.config["channels"]
        grids = [(s // self.stride, -(-w // self.stride)) for s, (_, w) in zip(splits, shapes)]
        nothing = [np.zeros((0, w, c), np.uint8) for _, w in shapes]

        def likelihood(zs: Arrays) -> Codec:
            contexts = [self.nets.context(z, w) if len(z) else np.empty(0, np.int8) for z, (_, w) in zip(zs, shapes)]
            return self.pixels(nothing, splits, contexts, coded, ledger, tick)

        def band_a(bs: Arrays) -> Codec:
            return self.pixels(bs, [h - s for (h, _), s in zip(shapes, splits)], None, coded, ledger, tick)

        prior = self.prior(grids, ledger)
        return after(bits_back(prior, likelihood, lambda xs: self.posterior(xs, ledger)), band_a)


def _intervals(
    params: np.ndarray, offsets: np.ndarray, outers: np.ndarray, symbols: np.ndarray, args: tuple
) -> tuple[np.ndarray, np.ndarray]:
    starts, freqs = np.zeros((2, *symbols.shape), np.uint32)
    tables.intervals(params, offsets, outers, symbols, *args, starts, freqs)
    return starts, freqs


def _pop(
    params: np.ndarray,
    offsets: np.ndarray,
    outers: np.ndarray,
    bounds: np.ndarray,
    args: tuple,
    stacks: waves.Stacks,
    symbols: np.ndarray,
) -> None:
    """Pops a wave; raises EmptyStack naming the first tile of the batch whose stack ran out."""
    tables.pop_tiles(
        params,
        offsets,
        outers,
        bounds,
        *args,
        stacks.heads,
        stacks.lanes,
        stacks.phases,
        stacks.words,
        stacks.begins,
        stacks.sizes,
        symbols,
    )
    if stacks.sizes.min(initial=0) < 0:
        raise EmptyStack(f"the coded stream of tile {int(stacks.sizes.argmin())} ran out: the file is damaged")
