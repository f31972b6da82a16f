"""Integer CDFs: discretised mixtures of logistics from integer parameters and stored tables.

A row codes C symbols (the channels of a pixel or of a latent cell) under K joint logistics, autoregressive in the
channels (the form of PixelCNN++, Salimans et al. 2017, arXiv 1701.05517). Everything is fixed point:

    parameters of a row (int32), in this order
        K          logits, 1/32 nat
        K * C      locations of component k, channel c, 1/64 level, relative to the offset
        K * C      scale indices: scale = 2^(index / 16 - 4) levels, 0 .. 159
        K * pairs  coefficients, 1/256: the location of channel c moves by coefficient * u[c'] for each c' < c
    outer affine map of a row and channel, what earlier flow steps (or the pixel's reference value) contribute
        offset     1/64 level
        outer      index of a scale 2^(index / 16 - 4), 64 is the identity, 0 .. 191
        u          = (symbol - offset) / outer scale, 1/64

    e_k  = EXP[min(largest logit - logit_k, 511)]               12 bits
    a_k  = (64 x - 32 - mean_k) * INVERSE[scale_k] >> 16        lower edge of symbol x, 1/256 scale, clamped to +-4096
    F(x) = sum_k e_k * SIGMOID[a_k]                             20-bit sigmoid
    C(x) = x + (F(x) * factor >> 38)                            factor = ((2^24 - n) << 18) // sum_k e_k
    C(0) = 0, C(n) = 2^24

C is monotone because S, the argument and both floors are; the leading x makes every frequency at least 1 (a leak of
2^-24 per symbol). After a channel is known, e_k is multiplied by component k's mass at it, SIGMOID at its upper edge
minus SIGMOID at its lower (the first symbol begins at 0, the last ends at 2^20); all K products are shifted right by
the least shift that brings the largest below 2^12, and are at least 1. If all are 0 the e_k stay. That is the posterior
over the components.

The tables are data of the weight file (`models.export` makes them), never recomputed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vlae_codec.ans import peek, pop_symbol
from vlae_codec.errors import WeightsError

PRECISION = 24
LEVEL_BITS = 6  # locations in 1/64 level
COEF_BITS = 8
WEIGHT_BITS = 12  # of the largest e_k
SIGMOID_BITS = 20
SIGMOID_HALF = 4096  # entries on each side of 0
FACTOR_BITS = 18
SCALES, OUTER_SCALES, OUTER_IDENTITY = 160, 192, 64
EXP_ENTRIES = 512
LOC_LIMIT, LOGIT_LIMIT, COEF_LIMIT = 1 << 15, 1 << 12, 1 << 10


class Tables(NamedTuple):
    sigmoid: np.ndarray  # int32 (8193,): round(2^20 * sigmoid(i / 256)), i = -4096 .. 4096
    exp: np.ndarray  # int32 (512,): max(1, round(2^12 * exp(-i / 32)))
    inverse: np.ndarray  # int64 (160,): round(2^18 / scale), so that (1/64 level) * inverse >> 16 is in 1/256 scale
    outer_scale: np.ndarray  # int64 (192,): round(2^16 * 2^(i / 16 - 4))
    outer_inverse: np.ndarray  # int64 (192,): round(2^16 / 2^(i / 16 - 4))


def check_tables(tables: Tables) -> None:
    """Raises WeightsError unless the tables have their shapes and types and make monotone, overflow-free CDFs."""
    shapes = [(2 * SIGMOID_HALF + 1,), (EXP_ENTRIES,), (SCALES,), (OUTER_SCALES,), (OUTER_SCALES,)]
    types = [np.int32, np.int32, np.int64, np.int64, np.int64]
    fine = all(table.shape == shape and table.dtype == type_ for table, shape, type_ in zip(tables, shapes, types))
    fine = fine and bool(np.all(np.diff(tables.sigmoid) >= 0)) and tables.sigmoid.min() >= 0
    fine = fine and tables.sigmoid.max() <= 1 << SIGMOID_BITS
    fine = fine and tables.exp.min() >= 1 and tables.exp.max() <= 1 << WEIGHT_BITS
    fine = fine and all(t.min() >= 1 and t.max() <= 1 << bits for t, bits in zip(tables[2:], (22, 24, 20)))
    if not fine:
        raise WeightsError("the probability tables of this weight file are malformed; export the model again")


def parameter_count(mixtures: int, channels: int, coupled: bool) -> int:
    """Length of a row of parameters."""
    return mixtures * (1 + 2 * channels + (channels * (channels - 1) // 2 if coupled else 0))


def parameter_limits(mixtures: int, channels: int, coupled: bool) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), int32 (P,): the clamps of a network output that is a row of parameters."""
    k, kc = mixtures, mixtures * channels
    pairs = parameter_count(mixtures, channels, coupled) - k - 2 * kc
    low = np.repeat([-LOGIT_LIMIT, -LOC_LIMIT, 0, -COEF_LIMIT], [k, kc, kc, pairs])
    high = np.repeat([LOGIT_LIMIT, LOC_LIMIT, SCALES - 1, COEF_LIMIT], [k, kc, kc, pairs])
    return low.astype(np.int32), high.astype(np.int32)


@njit(cache=True)
def _weights(row, mixtures, exp, weights):
    """Logits of a row -> e_k, in place; returns their sum."""
    top = row[0]
    for k in range(1, mixtures):
        top = max(top, row[k])
    total = np.int64(0)
    for k in range(mixtures):
        weights[k] = exp[min(np.int64(top) - row[k], EXP_ENTRIES - 1)]
        total += weights[k]
    return total


@njit(cache=True)
def _components(row, mixtures, channels, coupled, c, offset, outer, u, tables, means, inverses):
    """Location (1/64 level, absolute) and inverse scale of every component for channel c, in place."""
    pairs = channels * (channels - 1) // 2 if coupled else 0
    kc = mixtures * channels
    for k in range(mixtures):
        loc = np.int64(row[mixtures + k * channels + c])
        if pairs:
            moved = np.int64(0)
            at = mixtures + 2 * kc + k * pairs + c * (c - 1) // 2
            for earlier in range(c):
                moved += np.int64(row[at + earlier]) * u[earlier]
            loc += moved >> COEF_BITS
        means[k] = offset + ((loc * tables.outer_scale[outer]) >> 16)
        index = np.int64(row[mixtures + kc + k * channels + c]) + outer - OUTER_IDENTITY
        inverses[k] = tables.inverse[min(max(index, 0), SCALES - 1)]


@njit(cache=True)
def _sigmoid(x, mean, inverse, sigmoid):
    """20-bit sigmoid at the lower edge of symbol x."""
    argument = (((x << LEVEL_BITS) - (1 << (LEVEL_BITS - 1)) - mean) * inverse) >> 16
    return np.int64(sigmoid[min(max(argument, -SIGMOID_HALF), SIGMOID_HALF) + SIGMOID_HALF])


@njit(cache=True)
def _cdf(x, weights, factor, mixtures, means, inverses, sigmoid):
    """C(x) for 0 < x < levels."""
    mass = np.int64(0)
    for k in range(mixtures):
        mass += weights[k] * _sigmoid(x, means[k], inverses[k], sigmoid)
    return x + ((mass * factor) >> (FACTOR_BITS + SIGMOID_BITS))


@njit(cache=True)
def _factor(levels, total):
    return (np.int64((1 << PRECISION) - levels) << FACTOR_BITS) // total


@njit(cache=True)
def _edges(x, levels, mixtures, means, inverses, sigmoid, below, above):
    """20-bit sigmoids at the lower and upper edge of symbol x under every component, in place."""
    for k in range(mixtures):
        below[k] = 0 if x == 0 else _sigmoid(x, means[k], inverses[k], sigmoid)
        above[k] = 1 << SIGMOID_BITS if x == levels - 1 else _sigmoid(x + 1, means[k], inverses[k], sigmoid)


@njit(cache=True)
def _interval(x, levels, weights, factor, mixtures, below, above):
    """(start, freq) of symbol x from its edges: what `_cdf` gives at x and x + 1."""
    low, high = np.int64(0), np.int64(0)
    for k in range(mixtures):
        low += weights[k] * below[k]
        high += weights[k] * above[k]
    start = 0 if x == 0 else x + ((low * factor) >> (FACTOR_BITS + SIGMOID_BITS))
    end = 1 << PRECISION if x == levels - 1 else x + 1 + ((high * factor) >> (FACTOR_BITS + SIGMOID_BITS))
    return start, end - start


@njit(cache=True)
def _observe(weights, mixtures, below, above):
    """Multiplies each weight by its component's mass and brings them back to 12 bits; returns their sum."""
    top = np.int64(0)
    for k in range(mixtures):
        below[k] = weights[k] * (above[k] - below[k])  # now the product
        top = max(top, below[k])
    shift = 0
    while (top >> shift) >= (1 << WEIGHT_BITS):
        shift += 1
    total = np.int64(0)
    for k in range(mixtures):
        if top > 0:
            weights[k] = max(below[k] >> shift, 1)
        total += weights[k]
    return total


@njit(cache=True)
def _u(x, offset, outer, outer_inverse):
    return (((np.int64(x) << LEVEL_BITS) - offset) * outer_inverse[outer]) >> 16


@njit(cache=True, nogil=True)
def intervals(params, offsets, outers, symbols, mixtures, coupled, levels, coded, tables, starts, freqs):
    """Fills starts, freqs (n, C) uint32 with the interval of each known symbol.

    params: (n, P) int32; offsets, outers: (n, C) int32; symbols: (n, C) uint8 below `levels`; coded: only the first
    `coded` channels are coded, the rest are left as they are.
    """
    n, channels = symbols.shape
    weights = np.empty(mixtures, np.int64)
    means = np.empty(mixtures, np.int64)
    inverses = np.empty(mixtures, np.int64)
    below, above = np.empty(mixtures, np.int64), np.empty(mixtures, np.int64)
    u = np.empty(channels, np.int64)
    for i in range(n):
        total = _weights(params[i], mixtures, tables.exp, weights)
        for c in range(coded):
            offset, outer, x = np.int64(offsets[i, c]), np.int64(outers[i, c]), np.int64(symbols[i, c])
            _components(params[i], mixtures, channels, coupled, c, offset, outer, u, tables, means, inverses)
            factor = _factor(levels, total)
            _edges(x, levels, mixtures, means, inverses, tables.sigmoid, below, above)
            starts[i, c], freqs[i, c] = _interval(x, levels, weights, factor, mixtures, below, above)
            if c + 1 < coded:
                u[c] = _u(x, offset, outer, tables.outer_inverse)
                total = _observe(weights, mixtures, below, above)


@njit(cache=True)
def _pop_rows(
    params, offsets, outers, first, last, mixtures, coupled, levels, coded, tables, heads, phase, words, n, symbols
):
    """Pops the symbols of rows first .. last into `symbols` (rows, C), in place; the new n, or -1 on an empty stack.

    Order: groups of L rows; in a group channel by channel; in a channel the rows of the group in turn. Row i, counted
    from `first`, is on lane (phase + i) mod L.
    """
    lanes, channels = len(heads), symbols.shape[1]
    weights = np.empty((lanes, mixtures), np.int64)
    totals = np.empty(lanes, np.int64)
    u = np.empty((lanes, channels), np.int64)
    means = np.empty(mixtures, np.int64)
    inverses = np.empty(mixtures, np.int64)
    below, above = np.empty(mixtures, np.int64), np.empty(mixtures, np.int64)
    for group in range(first, last, lanes):
        rows = min(lanes, last - group)
        for i in range(rows):
            totals[i] = _weights(params[group + i], mixtures, tables.exp, weights[i])
        for c in range(coded):
            for i in range(rows):
                row, e, lane = group + i, weights[i], (phase + i) % lanes
                offset, outer = np.int64(offsets[row, c]), np.int64(outers[row, c])
                _components(params[row], mixtures, channels, coupled, c, offset, outer, u[i], tables, means, inverses)
                factor = _factor(levels, totals[i])
                cf = peek(heads[lane], PRECISION)
                x, top = np.int64(0), np.int64(levels)
                start, end = np.int64(0), np.int64(1 << PRECISION)
                while top - x > 1:
                    middle = (x + top) >> 1
                    value = _cdf(middle, e, factor, mixtures, means, inverses, tables.sigmoid)
                    if value <= cf:
                        x, start = middle, value
                    else:
                        top, end = middle, value
                n = pop_symbol(heads, lane, words, n, start, end - start, PRECISION)
                if n < 0:
                    return -1
                symbols[row, c] = x
                if c + 1 < coded:
                    u[i, c] = _u(x, offset, outer, tables.outer_inverse)
                    _edges(x, levels, mixtures, means, inverses, tables.sigmoid, below, above)
                    totals[i] = _observe(e, mixtures, below, above)
    return n


@njit(cache=True, nogil=True)
def pop_tiles(
    params,
    offsets,
    outers,
    bounds,
    mixtures,
    coupled,
    levels,
    coded,
    tables,
    heads,
    lanes,
    phases,
    words,
    begins,
    sizes,
    symbols,
):
    """Pops one wave of a batch: rows bounds[t] .. bounds[t + 1] of (n, ...) from stack t, in place.

    Stack t: heads[t, : lanes[t]] and words[begins[t] : begins[t] + sizes[t]]; phases[t] rows were popped before. A
    stack that runs empty gets size -1 and stays there.
    """
    for t in range(len(lanes)):
        rows = bounds[t + 1] - bounds[t]
        if sizes[t] >= 0 and rows > 0:
            sizes[t] = _pop_rows(
                params,
                offsets,
                outers,
                bounds[t],
                bounds[t + 1],
                mixtures,
                coupled,
                levels,
                coded,
                tables,
                heads[t, : lanes[t]],
                phases[t],
                words[begins[t] : begins[t] + sizes[t]],
                sizes[t],
                symbols,
            )
            phases[t] += rows
