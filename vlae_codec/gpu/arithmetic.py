"""The pixels' networks and CDFs on tensors of any torch device: the integers of `vlae_codec.native.mixture`.

float32 holds nothing but matrix products below 2^24, which are exact (`vlae_codec.native.network`); all else is int64.
2^38 C(x), before it is rounded down, is the `value` of symbol x here, and 2^38 x of it is the `leak`.

The work has one of two forms, in the same code. As single operations, the search for a symbol looks at the CDF in 15
symbols 16 apart, then in 15 neighbours, with all components in one array. Compiled, the search halves its range, and
each component is an array of its own: everything that is done for a channel then has one shape, and torch makes one
kernel of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlae_codec import contract
from vlae_codec.contract import (
    FACTOR_BITS,
    INT8_MAX,
    INT8_MIN,
    LEVEL_BITS,
    PRECISION,
    SIGMOID_BITS,
    SIGMOID_HALF,
    TABLE_BITS,
    WEIGHT_BITS,
)
from vlae_codec.errors import WeightsError
from vlae_codec.native.network import Layer
from vlae_codec.weights.model import Model

OUTSIDE = 256  # a pixel outside its tile
VALUE_BITS = FACTOR_BITS + SIGMOID_BITS
HALF_LEVEL = 1 << (LEVEL_BITS - 1)
FAR = 1 << 40  # where symbol 0 begins and the last one ends, 1/64 level: every component saturates there
WAYS = 16  # by which a step of the search branches, uncompiled


class Constants(NamedTuple):
    """What the pixels' networks and CDFs need of a model, on the device."""

    parts: int  # arrays that the components of a mixture are in
    layers: tuple[tuple[Tensor, ...], ...]  # weight float32; multiplier, addend, shift, low, high int64
    difference: Tensor  # float32 (257 * 257,): network input of a neighbour, at 257 * reference + neighbour
    centred: Tensor  # float32 (257,): reference - 128
    origin: Tensor  # int64 (257,): minus the offset that a reference is to locations, 1/64 level
    neighbours: Tensor  # int64 (3,): places of the left, upper and upper left pixels in a window
    sigmoid: Tensor  # int32 (8193,)
    exp: Tensor  # int64 (512,)
    inverse: Tensor  # int64 (160,)
    zero: Tensor  # int64 ()
    argument: Tensor  # int64 (): 2^16 times the sigmoid's entry at 0
    numerator: Tensor  # int64 (): of the factor
    value: Tensor  # int64 (): 2^38
    powers: Tensor  # int64: 2^12, 2^13, ...: as many as a product reaches tells how far it is shifted
    edges: Tensor  # int64 (levels + 1,): lower edge of a symbol, 1/64 level
    leaks: Tensor  # int64 (levels + 1,): 2^38 x; what makes C(levels) = 2^24 at the end
    search: tuple[Tensor, ...]  # int64 (m, 1, 1) each: how far ahead a step of the search looks


class Mixture(NamedTuple):
    """Parameters of the pixels of some rows (...,), in the form that a CDF is evaluated in."""

    weights: Tensor  # (..., K)
    bias: Tensor  # (..., C, K): 2^16 (4096 - mean * inverse), before earlier channels moved the mean
    inverse: Tensor  # (..., C, K)
    coefficients: Tensor  # (..., pairs, K)
    origin: Tensor  # (..., C): minus the offset

    def part(self, rows: slice, shape: torch.Size) -> Mixture:
        """Some of the rows (n,), in another shape."""
        return Mixture(*(v[rows].view(*shape, *v.shape[1:]) for v in self))


class Cdf(NamedTuple):
    """Mixtures of one channel, their K components in one part or in several."""

    weights: list[Tensor]  # (..., k)
    bias: list[Tensor]
    inverse: list[Tensor]
    factor: Tensor  # (...,)


def make_constants(model: Model, device: torch.device, compiled: bool) -> Constants:
    """The constants of a model in one of the two forms. Raises WeightsError for tables of unforeseen values."""
    _check(model)
    tables, levels, window = model.tables, model.config.get("levels", 256), model.config["window"]

    def tensor(array: np.ndarray | int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(np.array(array), dtype=dtype, device=device)

    def layer(made: Layer) -> tuple[Tensor, ...]:
        digits = made.weight.shape[1] // made.multiplier.size
        multiplier = np.stack([made.multiplier << contract.DIGIT_BITS * i for i in reversed(range(digits))])
        limits = (INT8_MIN, INT8_MAX) if made.low is None or made.high is None else (made.low, made.high)
        integers = (multiplier, made.addend, made.shift, *limits)
        return (tensor(made.weight, torch.float32), *(tensor(np.array(v, np.int64)) for v in integers))

    x = np.arange(OUTSIDE + 1)
    inside = np.where(x == OUTSIDE, contract.PIXEL_CENTRE, x)
    difference = np.where(x == OUTSIDE, 0, (x - inside[:, None]).clip(INT8_MIN, INT8_MAX))
    edges, leaks = np.arange(levels + 1) << LEVEL_BITS, np.arange(levels + 1) << VALUE_BITS
    edges[0], edges[-1] = -FAR, FAR
    leaks[-1] += (1 << VALUE_BITS) - 1  # as the factor is rounded down
    search, step = [], levels
    while step > 1:
        branches = min(2 if compiled else WAYS, step)
        step //= branches
        search.append(tensor(step * np.arange(1, branches)[:, None, None]))
    places = [contract.window_offsets(window).index(place) for place in ((0, -1), (-1, 0), (-1, -1))]
    return Constants(
        parts=model.config["mixtures"] if compiled else 1,
        layers=tuple(layer(made) for made in model.local.layers),
        difference=tensor(difference.ravel(), torch.float32),
        centred=tensor(inside - contract.PIXEL_CENTRE, torch.float32),
        origin=tensor(-(inside << LEVEL_BITS >> contract.STRETCH[levels])),
        neighbours=tensor(np.array(places)),
        sigmoid=tensor(tables.sigmoid),
        exp=tensor(tables.exp, torch.int64),
        inverse=tensor(tables.inverse),
        zero=tensor(0),
        argument=tensor(SIGMOID_HALF << TABLE_BITS),
        numerator=tensor(((1 << PRECISION) - levels) << FACTOR_BITS),
        value=tensor(1 << VALUE_BITS),
        powers=tensor(1 << np.arange(WEIGHT_BITS, WEIGHT_BITS + SIGMOID_BITS + 1)),
        edges=tensor(edges),
        leaks=tensor(leaks),
        search=tuple(search),
    )


def _check(model: Model) -> None:
    """Raises WeightsError unless the tables have the ends and the identity that the arithmetic relies on."""
    tables = model.tables
    ends = tables.sigmoid[[0, -1]].tolist() == [0, 1 << SIGMOID_BITS]
    ones = {int(table[contract.OUTER_IDENTITY]) for table in (tables.outer_scale, tables.outer_inverse)}
    if not ends or ones != {1 << TABLE_BITS} or model.config["mixtures"] > 1 << (FACTOR_BITS - WEIGHT_BITS):
        raise WeightsError("the probability tables of this model are not those of an exported one; use the CPU")


def _network(c: Constants, rows: Tensor) -> Tensor:
    """(n, inputs) float32 -> (n, P) int64: the local network."""
    hidden = rows
    for i, (weight, multiplier, addend, shift, low, high) in enumerate(c.layers):
        if i == len(c.layers) - 1:
            hidden = torch.cat([hidden, rows], 1)
        total = (hidden @ weight).long()
        outputs = multiplier.shape[1]
        value = addend
        for digit, factor in enumerate(multiplier):
            value = torch.addcmul(value, total[:, digit * outputs : (digit + 1) * outputs], factor)
        hidden = (value >> shift).clamp(low, high)
        if i < len(c.layers) - 1:
            hidden = hidden.float()
    return hidden


def find_mixture(c: Constants, pixels: Tensor, contexts: Tensor, places: Tensor, windows: Tensor) -> Mixture:
    """The mixtures of pixels at `places` (n,) of a canvas; windows: (n, W) places of their neighbours."""
    seen = pixels[windows]
    left, upper, corner = seen[:, c.neighbours].unbind(1)
    # The median edge detector gives the value inside the tile where the others are OUTSIDE; OUTSIDE where all are
    reference = (left + upper - corner).clamp(torch.minimum(left, upper), torch.maximum(left, upper)).long()
    differences = c.difference[torch.add(seen, reference[:, None], alpha=OUTSIDE + 1)]
    params = _network(c, torch.cat([differences.flatten(1), c.centred[reference], contexts[places]], 1))
    channels = pixels.shape[1]
    k = params.shape[1] // contract.parameter_count(1, channels)
    logits, located, scales, moves = params.split(contract.parameter_layout(k, channels), 1)
    weights = c.exp[(logits.amax(1, keepdim=True) - logits).clamp(max=contract.EXP_ENTRIES - 1)]
    inverse = c.inverse[scales.unflatten(1, (k, channels)).mT]
    origin = c.origin[reference]
    from_edge = origin[..., None] - located.unflatten(1, (k, channels)).mT
    bias = torch.addcmul(c.argument, from_edge - HALF_LEVEL, inverse)
    return Mixture(weights, bias, inverse, moves.unflatten(1, (k, -1)).mT, origin)


def _evaluate(c: Constants, cdf: Cdf, edges: Tensor, leaks: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(values (m, ...), sigmoids (m, ..., k)) at the lower edges of symbols (m, ...)."""
    sigmoids = [
        c.sigmoid[(torch.addcmul(bias, edges[..., None], inverse) >> TABLE_BITS).clamp(0, 2 * SIGMOID_HALF)]
        for bias, inverse in zip(cdf.bias, cdf.inverse)
    ]
    mass = reduce(torch.add, [(part * weights).sum(-1) for part, weights in zip(sigmoids, cdf.weights)])
    return torch.addcmul(leaks, mass, cdf.factor), sigmoids


def _edges(c: Constants, cdf: Cdf, symbols: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(start, end, products): the intervals of symbols (...,), and the weights times their components' masses."""
    start, below = _evaluate(c, cdf, c.edges[symbols], c.leaks[symbols])
    end, above = _evaluate(c, cdf, c.edges[symbols + 1], c.leaks[symbols + 1])
    products = [weights * (high - low) for weights, low, high in zip(cdf.weights, below, above)]
    return start >> VALUE_BITS, end >> VALUE_BITS, products


def _search(c: Constants, cdf: Cdf, cf: Tensor) -> Tensor:
    """The symbols that own cf (...,)."""
    bound = torch.add(c.value, cf, alpha=1 << VALUE_BITS)  # C(x) <= cf where the value of x is below
    symbols = c.zero
    for ahead in c.search:
        values, _ = _evaluate(c, cdf, *((symbols + ahead) << bits for bits in (LEVEL_BITS, VALUE_BITS)))
        symbols = torch.addcmul(symbols, (values < bound).sum(0), ahead[0, 0, 0])
    return symbols


def _channels(
    c: Constants, mixture: Mixture, coded: int, code: Callable[[int, Cdf], tuple[Tensor, list[Tensor]]]
) -> None:
    """Goes through the channels of rows; `code` gives a channel's symbols and products."""

    def split(v: Tensor) -> list[Tensor]:
        return list(v.tensor_split(c.parts, -1))

    weights = split(mixture.weights)
    us: list[Tensor] = []
    for channel in range(coded):
        bias, inverse = (split(v[..., channel, :]) for v in (mixture.bias, mixture.inverse))
        if us:
            pair = channel * (channel - 1) // 2
            moves = [split(mixture.coefficients[..., pair + i, :]) for i in range(channel)]
            for i, start in enumerate(bias):
                moved = c.zero
                for u, coefficients in zip(us, moves):
                    moved = torch.addcmul(moved, coefficients[i], u)
                bias[i] = torch.addcmul(start, moved >> contract.COEF_BITS, inverse[i], value=-1)
        total = reduce(torch.add, [v.sum(-1) for v in weights])
        factor = torch.div(c.numerator, total, rounding_mode="floor")
        symbols, products = code(channel, Cdf(weights, bias, inverse, factor))
        if channel + 1 < coded:
            us.append(torch.add(mixture.origin[..., channel], symbols, alpha=1 << LEVEL_BITS)[..., None])
            top = reduce(torch.maximum, [v.amax(-1, keepdim=True) for v in products])
            shift = torch.bucketize(top, c.powers, right=True)
            weights = [torch.where(top > 0, (v >> shift).clamp(min=1), w) for v, w in zip(products, weights)]


def find_intervals(c: Constants, mixture: Mixture, symbols: Tensor, coded: int) -> tuple[Tensor, Tensor]:
    """(starts, freqs), (n, coded) int32, of known symbols (n, C)."""
    starts: list[Tensor] = []
    freqs: list[Tensor] = []

    def code(channel: int, cdf: Cdf) -> tuple[Tensor, list[Tensor]]:
        start, end, products = _edges(c, cdf, symbols[:, channel])
        starts.append(start)
        freqs.append(end - start)
        return symbols[:, channel], products

    _channels(c, mixture, coded, code)
    return torch.stack(starts, 1).int(), torch.stack(freqs, 1).int()


def pop_group(
    c: Constants, mixture: Mixture, heads: Tensor, tops: Tensor, valid: Tensor, words: Tensor, coded: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(heads, tops, symbols (T, L) of each coded channel): a group of rows popped from T stacks, one from each lane.

    heads: (T, L), bit patterns of uint64; tops: (T,), where in `words` a stack ends; valid: (T, L), which rows exist.
    """
    found: list[Tensor] = []

    def code(channel: int, cdf: Cdf) -> tuple[Tensor, list[Tensor]]:
        nonlocal heads, tops
        cf = heads & ((1 << PRECISION) - 1)
        symbols = _search(c, cdf, cf)
        start, end, products = _edges(c, cdf, symbols)
        start, end = torch.where(valid, start, 0), torch.where(valid, end, 1 << PRECISION)
        popped = torch.addcmul(cf - start, end - start, (heads >> PRECISION) & ((1 << (64 - PRECISION)) - 1))
        need = (popped >> 32) == 0
        word = words[tops[:, None] - need.cumsum(1)]
        heads = torch.where(need, torch.add(word, popped, alpha=1 << 32), popped)
        tops = tops - need.sum(1)
        found.append(symbols)
        return symbols, products

    _channels(c, mixture, coded, code)
    return heads, tops, found
