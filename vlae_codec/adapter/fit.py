"""Fits an adapter to pictures: minimum description length by stochastic gradient descent.

    objective = bits of the pixels under the adapted network + bits of the adapter's numbers under their own scales

The file will hold just that, but for the sample: in a large picture some pixels stand for all. The numbers move by
Adam's steps and are rounded wherever they are used. The rate is steady for a while, or until a pass gains too little,
then falls to nothing. After the first pass pixels are drawn in proportion to their cost (and weighted by its inverse),
so that those that cost most come up most often.

All budgets are counted in pixels, never in seconds, and gradients are sums over blocks of fixed size in a fixed order:
the same seed gives the same adapter on one machine, whatever the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.adapter.chunk import MAX_RANK, Adapter, adapt, from_groups, merged, size
from vlae_codec.adapter.effort import Effort, Fitting, Watch
from vlae_codec.adapter.sample import Own, Sample, bits, draw
from vlae_codec.coder.tile import TileCodec
from vlae_codec.native.gradients import Block, Gradient, block_function
from vlae_codec.native.network import Network
from vlae_codec.threads import Map

SAMPLE = 1 << 21  # pixels at most
BLOCK = 1024  # pixels whose activations stay in a core's cache
BATCH = 2 * BLOCK
PROBE = 1 << 15  # pixels by which the cost of all is judged for a short fit
RATE, TRAVEL = 0.9, 6.0  # steps of the numbers by one step of the descent: at most, and times the passes
BETAS = (0.9, 0.95)
WARM = 20  # steps in which the rate rises
HOLD = 0.3  # share of the steps after which it falls
EVEN = 0.5  # of the mean cost, added to a pixel's cost where pixels are drawn by it
SPREAD = 4.0  # standard deviation of the left factors at the start; right ones and biases are zero
PRODUCT = {1: -4, 2: 3}  # exponent of the product by the digits of a layer
NUMBER_BITS = 4.0  # that a number costs, roughly
LAST = 0.25  # of the other layers' rank, that of a last layer that learns
LEFT = 0.7  # of the numbers of an adapter, those that it has then
UNLIKELY = 0.02  # a gain, where the model learns, below which no adapter pays: most of it is learnt without one
EARLY = 16  # steps of a pass from which on half a one tells it
FEWEST = 100  # numbers for which an adapter is worth a try
WORSE = 0.005  # by so much worse than its best pass a fit may end
REPORTS = 8  # per pass


class Problem(NamedTuple):
    """Pixels to fit an adapter to, and what they cost without one."""

    codec: TileCodec
    coded: int  # channels that are
    sample: Sample
    rng: np.random.Generator
    probed: np.ndarray  # (m,) pixels of the sample: all of them, or some
    costs: np.ndarray  # (m,) bits of these without an adapter

    @property
    def before(self) -> float:
        """Bits of the pictures without an adapter, as these pixels tell."""
        return self.sample.other + self.sample.total * float(self.costs.mean())

    @property
    def deviation(self) -> float:
        """The standard deviation of `before`."""
        return self.sample.total * float(self.costs.std()) / math.sqrt(len(self.costs))

    def under(self, codec: TileCodec) -> float:
        """What `before` would be with the local network of this codec."""
        blocks = (bits(codec, self.sample, at, self.coded) for at in _blocks(self.probed, 1 << 14))
        return self.sample.other + self.sample.total * float(np.concatenate([*blocks]).mean())


def look(
    codec: TileCodec,
    tiles: Sequence[np.ndarray],
    coded: int,
    effort: Effort,
    run: Map = map,
    seed: int = 1,
    own: Own | None = None,
) -> Problem:
    """The problem that tiles (H, W, C) pose: some of their pixels, drawn at random, and what they cost.

    coded: the number of channels that are coded; run: a `map`, perhaps of several threads; own: the codec of each tile,
    by its index, where it knows what is beside it.
    """
    most = min(SAMPLE, sum(tile[..., 0].size for tile in tiles))
    if effort.passes < 1:  # no pixel is looked at twice
        most = min(most, max(PROBE, round(effort.passes * most)))
    sample = draw(codec, tiles, coded, most, seed, run, own)
    everything, rng = np.arange(len(sample.rows)), np.random.default_rng(seed)
    probed = everything if effort.passes > 1 else rng.permutation(everything)[:PROBE]
    costs = np.concatenate(list(run(lambda at: bits(codec, sample, at, coded), _blocks(probed, 1 << 14))))
    return Problem(codec, coded, sample, rng, probed, costs)


def fit(
    problem: Problem, effort: Effort, run: Map = map, watch: Watch | None = None, learns: bool = False
) -> Adapter | None:
    """An adapter for these pixels, or None where none can pay.

    run: a `map` over blocks of pixels; watch: a function that is told how far the fit is; learns: the model will
    learn while the model codes, so that an adapter must bring more.
    Raises WeightsError if the adapter would break the accumulator bound.
    """
    codec, coded, sample, rng, _, costs = problem
    network, config, before = codec.model.local, codec.model.config, problem.before
    everything = np.arange(len(sample.rows))
    ranks = _ranks(network, effort.richness * before / NUMBER_BITS, learns) if effort.passes else None
    if ranks is None:
        return None

    def block_at(adapter: Adapter) -> Block:
        """Bits and gradients of blocks of pixels at an adapter."""
        shape = config["mixtures"], config["channels"]
        if codec.device is not None:
            from vlae_codec.adapter.autograd import autograd  # needs torch

            return autograd(network, adapter, *shape, codec.device)
        factors = [(part.left, part.right, part.product, part.bias_unit) for part in adapter]
        return block_function(merged(network, adapter), factors, *shape)

    numbers = _Numbers(network, ranks, rng)
    values, edges = sample.values(), sample.edges(codec.levels)
    batch = min(BATCH, len(everything))
    block = BLOCK if codec.device is None else batch
    a_pass = len(everything) // batch
    steps = max(1, round(effort.passes * min(SAMPLE, sample.total) / batch))
    steps = end = min(steps, a_pass) if effort.passes <= 1 else steps
    hold, rate = HOLD * steps, min(RATE, TRAVEL / effort.passes)
    order, weights = rng.permutation(everything), np.full(len(everything), sample.total / batch, np.float32)
    recent: list[float] = []  # bits, by the pixels of each step of this pass and the last
    best, kept = math.inf, None  # of the ends of passes
    for step in range(steps):
        at = order[step % a_pass * batch :][:batch]
        slopes = block_at(numbers.adapter())
        parts = [(sample.rows[b], values[b], edges[b], weights[b], coded) for b in _blocks(at, block)]
        spent, found = zip(*run(partial(_apply, slopes), parts))
        recent.append(float(np.concatenate(spent) @ weights[at]))
        fall = (end - step) / max(end - hold, 1.0)
        numbers.descend([sum(groups) for groups in zip(*found)], rate * min(1.0, (step + 1) / WARM, fall))
        told, early = watch is not None, learns and a_pass >= EARLY and step + 1 == a_pass // 2
        if (told and (step + 1) % max(1, a_pass // REPORTS) == 0) or early:
            now = sample.other + float(np.mean(recent[-a_pass // 4 :])) + size(numbers.adapter(), codec.model.tables)
            if watch is not None:
                watch(Fitting((step + 1) / end, *(n / (sample.total * coded) for n in (before, now))))
            if early and now > (1 - UNLIKELY) * before:
                return None
        if step + 1 == end:
            break
        if (step + 1) % a_pass == 0:
            if (bits_now := float(np.mean(recent[-a_pass:]))) < best:
                best, kept = bits_now, numbers.adapter()
            if 2 * a_pass <= step + 1 < hold:
                gained = np.mean(recent[-2 * a_pass : -a_pass]) - np.mean(recent[-a_pass:])
                if gained < effort.stop * before:
                    hold, end = step + 1.0, min(steps, round((step + 1) / HOLD))
            recent = recent[-a_pass:]
            likely = costs + EVEN * costs.mean()
            likely /= likely.sum()
            order = rng.choice(everything, len(everything), p=likely)
            weights = (sample.total / (len(everything) * likely * batch)).astype(np.float32)
    adapter = numbers.adapter()
    if kept is not None and np.mean(recent[-a_pass:]) > (1 + WORSE) * best:
        adapter = kept  # long fits of pictures with few bits have been seen to leave a good place
    adapt(network, adapter)
    return adapter


def _ranks(network: Network, numbers: float, learns: bool) -> list[int] | None:
    """The rank of each layer in an adapter of about so many numbers; None when it is not worth a try.

    A last layer that learns needs less, since most of what it would get so it learns.
    """
    if numbers < FEWEST:
        return None
    share = np.ones(len(network.layers))
    if learns:
        numbers, share[-1] = LEFT * numbers, LAST
    biases = sum(layer.multiplier.size for layer in network.layers)
    each = share @ [len(layer.weight) + layer.multiplier.size for layer in network.layers]
    rank = min(max(round((numbers - biases) / float(each)), 0), MAX_RANK)
    return [round(rank * one) for one in share.tolist()]


def _blocks(at: np.ndarray, length: int) -> list[np.ndarray]:
    return [at[i : i + length] for i in range(0, len(at), length)]


def _apply(function: Block, arguments: Any) -> tuple[np.ndarray, Gradient]:
    return function(*arguments)


class _Numbers:
    """An adapter's numbers as real ones, in groups, and the state of their descent."""

    def __init__(self, network: Network, ranks: Sequence[int], rng: np.random.Generator) -> None:
        self.units, self.groups = [], []
        for i, (layer, rank) in enumerate(zip(network.layers, ranks, strict=True)):
            inputs, outputs = len(layer.weight), layer.multiplier.size
            last = i == len(network.layers) - 1
            self.units.append((PRODUCT[layer.weight.shape[1] // outputs], 0 if last else -1))
            left = rng.normal(size=(inputs, rank)).astype(np.float32) * SPREAD
            self.groups += [left, np.zeros((rank, outputs), np.float32), np.zeros(outputs, np.float32)]
        self.flat = np.concatenate([group.reshape(-1) for group in self.groups])
        ends = np.cumsum([0, *(group.size for group in self.groups)])
        self.sizes = np.diff(ends)
        self.groups = [self.flat[a:b].reshape(group.shape) for a, b, group in zip(ends, ends[1:], self.groups)]
        self.mean, self.square = np.zeros((2, self.flat.size), np.float32)
        self.steps = 0

    def adapter(self) -> Adapter:
        whole = [np.rint(group).clip(-127, 127).astype(np.int8) for group in self.groups]
        return from_groups(whole, self.units)

    def descend(self, slopes: Sequence[np.ndarray], rate: float) -> None:
        """One step. slopes: gradients of the pixels' bits; those of the numbers' own bits, under a logistic of each
        group's scale, are added here."""
        self.steps += 1
        scales = [
            max(float(np.abs(group).mean()) / (2 * math.log(2)), 0.3) if group.size else 1.0 for group in self.groups
        ]
        scale = np.repeat(np.array(scales, np.float32), self.sizes)
        slope = np.concatenate([part.reshape(-1) for part in slopes])
        slope = slope + np.tanh(self.flat / (2 * scale)) / (scale * np.float32(math.log(2)))
        self.mean += np.float32(1 - BETAS[0]) * (slope - self.mean)
        self.square += np.float32(1 - BETAS[1]) * (slope * slope - self.square)
        unbias = np.float32(1 / (1 - BETAS[1] ** self.steps))
        rate /= 1 - BETAS[0] ** self.steps
        self.flat -= np.float32(rate) * self.mean / (np.sqrt(self.square * unbias) + np.float32(1e-9))
