"""Fits an adapter to pictures: minimum description length by stochastic gradient descent.

    objective = bits of the pixels under the adapted network + bits of the adapter's numbers under their own scales

Both are what the file will hold, but for the sample: of large pictures some pixels stand for all. The numbers move by
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
from typing import Any

import numpy as np
from numba import njit

from vlae_codec.adapter import MAX_RANK, Adapter, adapt, from_groups, size
from vlae_codec.effort import Effort, Fitting, Watch
from vlae_codec.network import Network
from vlae_codec.tile import TileCodec

from .gradients import Autograd, Block, Compiled, Gradient
from .sample import Run, Sample, bits, draw

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
FEWEST = 100  # numbers for which an adapter is worth a try
WORSE = 0.005  # by so much worse than its best pass a fit may end
REPORTS = 8  # per pass


def fit(
    codec: TileCodec,
    tiles: Sequence[np.ndarray],
    coded: int,
    effort: Effort,
    run: Run = map,
    watch: Watch | None = None,
    seed: int = 1,
) -> Adapter | None:
    """An adapter for tiles (H, W, C) uint8, or None where none can pay.

    coded: channels that are coded; run: maps a function over blocks of pixels, in threads if it likes; watch: told how
    far it is. Raises WeightsError if the adapter would break the accumulator bound.
    """
    if not effort.passes:
        return None
    network, config = codec.model.local, codec.model.config
    sample = draw(codec, tiles, coded, SAMPLE, seed, run)
    everything = np.arange(len(sample.rows))
    rng = np.random.default_rng(seed)
    probed = everything if effort.passes > 1 else rng.permutation(everything)[:PROBE]
    costs = np.concatenate(list(run(lambda at: _bits(codec, sample, at, coded), _blocks(probed, 1 << 14))))
    before = sample.other + sample.total * float(costs.mean())
    rank = _rank(network, effort.richness * before / NUMBER_BITS)
    if rank is None:
        return None

    gradients: Autograd | Compiled = Compiled(network, config["mixtures"])
    if codec.device is not None:
        gradients = Autograd(network, config["mixtures"], config["channels"], codec.device)
    numbers = _Numbers(network, rank, rng)
    values, edges = sample.values(), sample.edges(codec.levels)
    batch = min(BATCH, len(everything))
    block = BLOCK if codec.device is None else batch
    a_pass = len(everything) // batch
    steps = end = max(1, round(effort.passes * a_pass))
    hold, rate = HOLD * steps, min(RATE, TRAVEL / effort.passes)
    order, weights = rng.permutation(everything), np.full(len(everything), sample.total / batch, np.float32)
    recent: list[float] = []  # bits, by the pixels of each step of this pass and the last
    best, kept = math.inf, None  # of the ends of passes
    for step in range(steps):
        at = order[step % a_pass * batch :][:batch]
        slopes = gradients.at(numbers.adapter())
        parts = [(sample.rows[b], values[b], edges[b], weights[b], coded) for b in _blocks(at, block)]
        spent, found = zip(*run(partial(_apply, slopes), parts))
        recent.append(float(np.concatenate(spent) @ weights[at]))
        fall = (end - step) / max(end - hold, 1.0)
        numbers.descend([sum(groups) for groups in zip(*found)], rate * min(1.0, (step + 1) / WARM, fall))
        if watch is not None and (step + 1) % max(1, a_pass // REPORTS) == 0:
            now = sample.other + float(np.mean(recent[-a_pass // 4 :])) + size(numbers.adapter(), codec.model.tables)
            watch(Fitting((step + 1) / end, *(n / (sample.total * coded) for n in (before, now))))
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


def _rank(network: Network, numbers: float) -> int | None:
    """The rank of an adapter of about so many numbers; None when it is not worth a try."""
    if numbers < FEWEST:
        return None
    biases = sum(layer.multiplier.size for layer in network.layers)
    each = biases + sum(len(layer.weight) for layer in network.layers)
    return int(np.clip(round((numbers - biases) / each), 0, MAX_RANK))


def _blocks(at: np.ndarray, length: int) -> list[np.ndarray]:
    return [at[i : i + length] for i in range(0, len(at), length)]


def _apply(function: Block, arguments: Any) -> tuple[np.ndarray, Gradient]:
    return function(*arguments)


def _bits(codec: TileCodec, sample: Sample, at: np.ndarray, coded: int) -> np.ndarray:
    return bits(codec, sample.rows[at], sample.offsets[at], sample.symbols[at], coded)


class _Numbers:
    """An adapter's numbers as real ones, in groups, and the state of their descent."""

    def __init__(self, network: Network, rank: int, rng: np.random.Generator) -> None:
        self.units, self.groups = [], []
        for i, layer in enumerate(network.layers):
            inputs, outputs = len(layer.weight), layer.multiplier.size
            last = i == len(network.layers) - 1
            self.units.append((PRODUCT[layer.weight.shape[1] // outputs], 0 if last else -1))
            left = rng.normal(size=(inputs, rank)).astype(np.float32) * SPREAD
            self.groups += [left, np.zeros((rank, outputs), np.float32), np.zeros(outputs, np.float32)]
        self.means = [np.zeros_like(group) for group in self.groups]
        self.squares = [np.zeros_like(group) for group in self.groups]
        self.steps = 0

    def adapter(self) -> Adapter:
        whole = [np.rint(group).clip(-127, 127).astype(np.int8) for group in self.groups]
        return from_groups(whole, self.units)

    def descend(self, slopes: Sequence[np.ndarray], rate: float) -> None:
        """One step. slopes: gradients of the pixels' bits; those of the numbers' own bits, under a logistic of each
        group's scale, are added here."""
        self.steps += 1
        rate /= 1 - BETAS[0] ** self.steps
        unbias = 1 / (1 - BETAS[1] ** self.steps)
        for group, slope, mean, square in zip(self.groups, slopes, self.means, self.squares):
            _adam(*(array.reshape(-1) for array in (group, slope, mean, square)), rate, unbias)


@njit(cache=True, nogil=True)
def _adam(group, slope, mean, square, rate, unbias):
    """One step of Adam in place, with the slope of the bits of the numbers themselves."""
    total = 0.0
    for value in group:
        total += abs(value)
    scale = max(total / max(group.size, 1) / (2 * math.log(2)), 0.3)
    for i in range(group.size):
        value = slope[i] + math.tanh(group[i] / (2 * scale)) / (scale * math.log(2))
        mean[i] += (1 - BETAS[0]) * (value - mean[i])
        square[i] += (1 - BETAS[1]) * (value * value - square[i])
        group[i] -= rate * mean[i] / (math.sqrt(square[i] * unbias) + 1e-9)
