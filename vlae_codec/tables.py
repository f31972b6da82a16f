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

from vlae_codec.ans import HEAD_MIN
from vlae_codec.errors import WeightsError
from vlae_codec.simd import SIDE, bit_length, search

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
MASS_BITS = FACTOR_BITS + SIGMOID_BITS
TOTAL, HALF = 1 << PRECISION, 1 << (LEVEL_BITS - 1)


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


# Compiled loops. Arrays are flat and indices unsigned, so that no index is taken for one that counts from the end; what
# is worked on lies in arrays of [component * stride + row], so that `search` can take rows side by side.


@njit(cache=True, nogil=True)
def _numbers(n):
    return np.zeros(n, np.int64)


@njit(cache=True, nogil=True)
def _at(array, i):
    return np.int64(array[np.uintp(i)])


@njit(cache=True, nogil=True)
def _sigmoid(position, mean, inverse, sigmoid):
    """20-bit sigmoid at a position in 1/64 level."""
    argument = ((position - mean) * inverse) >> 16
    return _at(sigmoid, min(max(argument, -SIGMOID_HALF), SIGMOID_HALF) + SIGMOID_HALF)


@njit(cache=True, nogil=True)
def _edges(x, levels, mean, inverse, sigmoid):
    """20-bit sigmoids at the lower and upper edge of symbol x."""
    lower = (x << LEVEL_BITS) - HALF
    below = 0 if x == 0 else _sigmoid(lower, mean, inverse, sigmoid)
    above = (1 << SIGMOID_BITS) if x == levels - 1 else _sigmoid(lower + (1 << LEVEL_BITS), mean, inverse, sigmoid)
    return below, above


@njit(cache=True, nogil=True, forceinline=True)
def _weights(params, row, mixtures, exp, weights, i, stride):
    """Logits of a row -> e_k, in place; returns their sum."""
    top = _at(params, row)
    for k in range(1, mixtures):
        top = max(top, _at(params, row + k))
    total = np.int64(0)
    for k in range(mixtures):
        weight = _at(exp, min(top - _at(params, row + k), EXP_ENTRIES - 1))
        weights[np.uintp(k * stride + i)] = weight
        total += weight
    return total


@njit(cache=True, nogil=True, forceinline=True)
def _components(
    params, row, mixtures, channels, pairs, c, offset, outer, us, u, outer_scale, inverse, means, inverses, i, stride
):
    """Location (1/64 level, absolute) and inverse scale of every component for channel c, in place.

    us[u :]: the row's u of the channels before c, and 0 of the others.
    """
    scale = _at(outer_scale, outer)
    for k in range(mixtures):
        loc = _at(params, row + mixtures + k * channels + c)
        if pairs:
            moved = np.int64(0)
            here = row + mixtures * (1 + 2 * channels) + k * pairs + c * (c - 1) // 2
            for earlier in range(channels - 1):
                moved += _at(params, here + earlier) * us[np.uintp(u + earlier)]
            loc += moved >> COEF_BITS
        means[np.uintp(k * stride + i)] = offset + ((loc * scale) >> 16)
        index = _at(params, row + mixtures * (1 + channels) + k * channels + c) + outer - OUTER_IDENTITY
        inverses[np.uintp(k * stride + i)] = _at(inverse, min(max(index, 0), SCALES - 1))


@njit(cache=True, nogil=True, forceinline=True)
def _observe(weights, products, mixtures, i, stride, total):
    """Takes the products of weights and masses for weights, brought back to 12 bits; returns their sum."""
    top = np.int64(0)
    for k in range(mixtures):
        top = max(top, products[np.uintp(k * stride + i)])
    if top > 0:
        shift = max(bit_length(top) - WEIGHT_BITS, 0)
        total = np.int64(0)
        for k in range(mixtures):
            weight = max(products[np.uintp(k * stride + i)] >> shift, np.int64(1))
            weights[np.uintp(k * stride + i)] = weight
            total += weight
    return total


@njit(cache=True, nogil=True, forceinline=True)
def _intervals(
    params, columns, n, mixtures, channels, pairs, levels, coded, tables, offsets, outers, symbols, starts, freqs
):
    sigmoid, exp, inverse, outer_scale, outer_inverse = tables
    weights, means, inverses = _numbers(mixtures), _numbers(mixtures), _numbers(mixtures)
    products, us = _numbers(mixtures), _numbers(channels)
    for i in range(n):
        row = i * columns
        total = _weights(params, row, mixtures, exp, weights, 0, 1)
        us[:] = 0
        for c in range(coded):
            j = i * channels + c
            offset, outer, x = _at(offsets, j), _at(outers, j), _at(symbols, j)
            _components(
                params,
                row,
                mixtures,
                channels,
                pairs,
                c,
                offset,
                outer,
                us,
                0,
                outer_scale,
                inverse,
                means,
                inverses,
                0,
                1,
            )
            factor = ((TOTAL - levels) << FACTOR_BITS) // total
            low, high = np.int64(0), np.int64(0)
            for k in range(mixtures):
                weight = weights[np.uintp(k)]
                below, above = _edges(x, levels, means[np.uintp(k)], inverses[np.uintp(k)], sigmoid)
                products[np.uintp(k)] = weight * (above - below)
                low += weight * below
                high += weight * above
            start = 0 if x == 0 else x + ((low * factor) >> MASS_BITS)
            end = TOTAL if x == levels - 1 else x + 1 + ((high * factor) >> MASS_BITS)
            starts[np.uintp(j)], freqs[np.uintp(j)] = start, end - start
            if c + 1 < coded:
                us[np.uintp(c)] = (((x << LEVEL_BITS) - offset) * _at(outer_inverse, outer)) >> 16
                total = _observe(weights, products, mixtures, 0, 1, total)


@njit(cache=True, nogil=True, forceinline=True)
def _pop(
    params,
    columns,
    n,
    mixtures,
    channels,
    pairs,
    levels,
    coded,
    tables,
    offsets,
    outers,
    heads,
    phase,
    words,
    size,
    symbols,
):
    sigmoid, exp, inverse, outer_scale, outer_inverse = tables
    lanes = len(heads)
    stride = (lanes + SIDE - 1) // SIDE * SIDE
    weights, means, inverses = _numbers(stride * mixtures), _numbers(stride * mixtures), _numbers(stride * mixtures)
    totals, factors, cfs, xs = _numbers(stride), _numbers(stride), _numbers(stride), _numbers(stride)
    starts, ends, us = _numbers(stride), _numbers(stride), _numbers(lanes * channels)
    for group in range(0, n, lanes):
        rows = min(lanes, n - group)
        us[:] = 0
        for i in range(rows):
            totals[np.uintp(i)] = _weights(params, (group + i) * columns, mixtures, exp, weights, i, stride)
        first = (phase + group) % lanes
        for c in range(coded):
            for i in range(rows):
                j, lane = (group + i) * channels + c, first + i
                _components(
                    params,
                    (group + i) * columns,
                    mixtures,
                    channels,
                    pairs,
                    c,
                    _at(offsets, j),
                    _at(outers, j),
                    us,
                    i * channels,
                    outer_scale,
                    inverse,
                    means,
                    inverses,
                    i,
                    stride,
                )
                factors[np.uintp(i)] = ((TOTAL - levels) << FACTOR_BITS) // totals[np.uintp(i)]
                head = heads[np.uintp(lane if lane < lanes else lane - lanes)]
                cfs[np.uintp(i)] = np.int64(head & np.uint64(TOTAL - 1))
            for i in range(0, rows, SIDE):
                search(weights, means, inverses, stride, mixtures, factors, cfs, levels, sigmoid, xs, starts, ends, i)
            for i in range(rows):  # `ans.pop_symbol`, written out
                lane, start = first + i, starts[np.uintp(i)]
                lane = np.uintp(lane if lane < lanes else lane - lanes)
                freq, rest = np.uint64(ends[np.uintp(i)] - start), np.uint64(cfs[np.uintp(i)] - start)
                head = freq * (heads[lane] >> np.uint64(PRECISION)) + rest
                if head < np.uint64(HEAD_MIN):
                    if size == 0:
                        return -1
                    size -= 1
                    head = (head << np.uint64(32)) | np.uint64(words[np.uintp(size)])
                heads[lane] = head
                symbols[np.uintp((group + i) * channels + c)] = xs[np.uintp(i)]
            if c + 1 < coded:
                for i in range(rows):
                    j, x = (group + i) * channels + c, xs[np.uintp(i)]
                    u = ((x << LEVEL_BITS) - _at(offsets, j)) * _at(outer_inverse, _at(outers, j))
                    us[np.uintp(i * channels + c)] = u >> 16
                    for k in range(mixtures):
                        q = np.uintp(k * stride + i)
                        below, above = _edges(x, levels, means[q], inverses[q], sigmoid)
                        means[q] = weights[q] * (above - below)  # their products from here on
                    totals[np.uintp(i)] = _observe(weights, means, mixtures, i, stride, totals[np.uintp(i)])
    return size


@njit(cache=True, nogil=True)
def intervals(params, offsets, outers, symbols, mixtures, coupled, levels, coded, tables, starts, freqs):
    """Fills starts, freqs (n, C) uint32 with the interval of each known symbol.

    params: (n, P or more) int32; offsets, outers: (n, C) int32; symbols: (n, C) uint8 below `levels`; coded: only the
    first `coded` channels are coded, the rest are left as they are.
    """
    n, channels = symbols.shape
    pairs = channels * (channels - 1) // 2 if coupled else 0
    p, columns, o, u = params.reshape(-1), params.shape[1], offsets.reshape(-1), outers.reshape(-1)
    x, begins, sizes = symbols.reshape(-1), starts.reshape(-1), freqs.reshape(-1)
    _intervals(p, columns, n, mixtures, channels, pairs, levels, coded, tables, o, u, x, begins, sizes)


@njit(cache=True, nogil=True)
def intervals_5_3(params, offsets, outers, symbols, levels, coded, tables, starts, freqs):
    """`intervals` of 5 mixtures of 3 coupled channels: the loops of the models of photographs, unrolled."""
    p, columns, o, u = params.reshape(-1), params.shape[1], offsets.reshape(-1), outers.reshape(-1)
    x, begins, sizes = symbols.reshape(-1), starts.reshape(-1), freqs.reshape(-1)
    _intervals(p, columns, len(symbols), 5, 3, 3, levels, coded, tables, o, u, x, begins, sizes)


@njit(cache=True, nogil=True)
def pop_rows(params, offsets, outers, n, mixtures, coupled, levels, coded, tables, heads, phase, words, size, symbols):
    """Pops the symbols of the first n rows into `symbols` (n or more, C), in place; the new number of words in the
    stack (`heads` and words[:size], changed in place), or -1 if it ran out.

    levels: a power of 2. Order: groups of L rows; in a group channel by channel; in a channel the rows of the group in
    turn. Row i is on lane (phase + i) mod L.
    """
    channels = symbols.shape[1]
    pairs = channels * (channels - 1) // 2 if coupled else 0
    p, columns, o, u = params.reshape(-1), params.shape[1], offsets.reshape(-1), outers.reshape(-1)
    x = symbols.reshape(-1)
    return _pop(p, columns, n, mixtures, channels, pairs, levels, coded, tables, o, u, heads, phase, words, size, x)


@njit(cache=True, nogil=True)
def pop_rows_5_3(params, offsets, outers, n, levels, coded, tables, heads, phase, words, size, symbols):
    """`pop_rows` of 5 mixtures of 3 coupled channels."""
    p, columns, o, u = params.reshape(-1), params.shape[1], offsets.reshape(-1), outers.reshape(-1)
    x = symbols.reshape(-1)
    return _pop(p, columns, n, 5, 3, 3, levels, coded, tables, o, u, heads, phase, words, size, x)
