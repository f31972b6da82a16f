"""Integer CDFs at their extremes, and against the documented formulas in unbounded integers."""

import math
from bisect import bisect_right
from hashlib import sha256
from itertools import product
from typing import Any

import numpy as np
import pytest

from vlae_codec.contract import COEF_LIMIT, LOC_LIMIT, LOGIT_LIMIT, PRECISION, SCALES, parameter_count
from vlae_codec.errors import EmptyStack
from vlae_codec.models.export import make_tables
from vlae_codec.native import ans, mixture, waves
from vlae_codec.native.library import aligned, core
from vlae_codec.native.mixture import Rows

TABLES = make_tables()
WHOLE = 1 << PRECISION
OUTERS = [0, 40, 64, 130, 191]
SHAPES = list(product(range(1, 7), (1, 3, 4), (False, True)))  # mixtures, channels, coupled


def split(row, mixtures, channels, coupled):
    """Logits, locations, scale indices, coefficients of a row."""
    kc = mixtures * channels
    pairs = channels * (channels - 1) // 2 if coupled else 0
    logits, locs, scales, coefs = np.split(row, np.cumsum([mixtures, kc, kc]))
    return logits, locs.reshape(-1, channels), scales.reshape(-1, channels), coefs.reshape(mixtures, pairs)


def plain_cdfs(row, offset, outer, symbols, mixtures, coupled, levels):
    """C(0) .. C(levels) of each channel, the channels before it being `symbols`, in Python's integers.

    Also checks that nothing on the way leaves int64.
    """

    def fits(value):
        assert abs(value) < 1 << 63
        return value

    channels = len(symbols)
    logits, locs, scales, coefs = (part.tolist() for part in split(row, mixtures, channels, coupled))
    t = mixture.Tables(*(table.tolist() for table in TABLES))
    e = [t.exp[min(max(logits) - logit, 511)] for logit in logits]
    u: list[int] = []
    cdfs = []
    for c in range(channels):
        centres, inverses = [], []
        for k in range(mixtures):
            follow = sum(fits(coefs[k][c * (c - 1) // 2 + i] * u[i]) for i in range(c)) if coupled else 0
            centres.append(offset[c] + (fits((locs[k][c] + (follow >> 8)) * t.outer_scale[outer[c]]) >> 16))
            inverses.append(t.inverse[min(max(scales[k][c] + outer[c] - 64, 0), SCALES - 1)])

        def s(x, k, centres=centres, inverses=inverses):
            argument = fits((64 * x - 32 - centres[k]) * inverses[k]) >> 16
            return t.sigmoid[min(max(argument, -4096), 4096) + 4096]

        factor = ((WHOLE - levels) << 18) // sum(e)
        inner = [fits(sum(e[k] * s(x, k) for k in range(mixtures)) * factor) for x in range(1, levels)]
        cdfs.append([0, *(x + (mass >> 38) for x, mass in enumerate(inner, 1)), WHOLE])

        x = symbols[c]
        u.append(fits((64 * x - offset[c]) * t.outer_inverse[outer[c]]) >> 16)
        below = [0 if x == 0 else s(x, k) for k in range(mixtures)]
        above = [1 << 20 if x == levels - 1 else s(x + 1, k) for k in range(mixtures)]
        products = [fits(e[k] * (above[k] - below[k])) for k in range(mixtures)]
        shift = max(max(products).bit_length() - 12, 0)
        if max(products):
            e = [max(product >> shift, 1) for product in products]
    return np.array(cdfs)


def rows_of(parts, mixtures, coupled, levels, coded):
    """Rows of (parameters, offsets, outer scales)."""
    params, offsets, outers = parts
    return Rows(params, offsets, outers, mixtures, coupled, levels, coded, TABLES)


def kernel_cdfs(row, offset, outer, symbols, mixtures, coupled, levels):
    """The same from `intervals`: every symbol of every channel."""
    channels = len(symbols)
    known = np.tile(np.array(symbols, np.uint8), (channels * levels, 1))
    for c in range(channels):
        known[c * levels : (c + 1) * levels, c] = np.arange(levels)
    count = len(known)
    repeat = [np.tile(np.asarray(a, np.int32), (count, 1)) for a in (row, offset, outer)]
    starts, freqs = mixture.intervals(rows_of(repeat, mixtures, coupled, levels, channels), known)
    own = np.arange(channels).repeat(levels)
    at = np.arange(count), own
    return starts[at].reshape(channels, levels).astype(int), freqs[at].reshape(channels, levels).astype(int)


def extreme_row(rng, mixtures, channels, coupled):
    low, high = mixture.parameter_limits(mixtures, channels, coupled)
    wide = rng.integers(low, high + 1)
    row = np.where(rng.random(len(low)) < 0.3, wide, np.where(rng.random(len(low)) < 0.5, low, high))
    if rng.random() < 0.5:  # logits and locations near each other, where components compete
        row[:mixtures] = rng.integers(-40, 40, mixtures)
        row[mixtures : mixtures * (1 + channels)] = rng.integers(-1000, 1000, mixtures * channels)
    return row.astype(np.int32)


def hold(starts, freqs, what=""):
    assert freqs.min() >= 1, what
    assert np.all(starts[..., 0] == 0), what
    assert np.array_equal(starts[..., 1:], (starts + freqs)[..., :-1]), what
    assert np.all((starts + freqs)[..., -1] == WHOLE), what


@pytest.mark.parametrize("levels", [2, 64, 256])
@pytest.mark.parametrize(("mixtures", "channels", "coupled"), SHAPES)
def test_plain_integers(each_target, mixtures, channels, coupled, levels):
    """Intervals are the documented formulas, with nothing overflowing: random and extreme rows, all symbols."""
    rng = np.random.default_rng(mixtures * channels)
    for _ in range({2: 30, 64: 10, 256: 4}[levels]):
        row = extreme_row(rng, mixtures, channels, coupled)
        limit = 1 << 20 if rng.random() < 0.3 else levels << 6  # the flow's offsets may lie far outside
        offset = rng.choice([-limit, 0, levels << 5, (levels - 1) << 6, limit], channels)
        outer = rng.choice(OUTERS, channels)
        symbols = rng.choice([0, min(1, levels - 1), levels // 2, levels - 2, levels - 1], channels).tolist()
        case = (row, offset.tolist(), outer.tolist(), symbols, mixtures, coupled, levels)
        expected = plain_cdfs(*case)
        for target in each_target():
            starts, freqs = kernel_cdfs(*case)
            hold(starts, freqs, str((target, case)))
            assert np.array_equal(expected[:, :-1], starts), (target, case)


@pytest.mark.parametrize("levels", [2, 64, 256])
def test_grid(target, levels):
    """One logistic at every edge: far outside, first and last symbol, middle; every scale; outer scales."""
    edge = (levels - 1) << 6
    for location in (
        -LOC_LIMIT,
        -64,
        -33,
        -32,
        -31,
        0,
        1,
        levels << 5,
        edge - 32,
        edge,
        edge + 32,
        edge + 64,
        LOC_LIMIT,
    ):
        for scale in (0, 1, 64, 100, SCALES - 1):
            for offset, outer in ((0, 64), (128 << 6, 0), (-(1 << 20), 191), (1 << 20, 191)):
                row = np.array([LOGIT_LIMIT, location, scale], np.int32)
                case = (row, [offset], [outer], [0], 1, False, levels)
                starts, freqs = kernel_cdfs(*case)
                hold(starts, freqs, str(case))


def random_rows(rng, n, mixtures, channels, levels, coupled=True):
    params = np.zeros((n, parameter_count(mixtures, channels, coupled)), np.int32)
    for row in params:
        row[:] = extreme_row(rng, mixtures, channels, coupled)
    offsets = rng.integers(0, levels << 6, (n, channels)).astype(np.int32)
    outers = rng.choice(OUTERS, (n, channels)).astype(np.int32)
    return params, offsets, outers


def random_message(rng, lanes, words):
    return ans.Message(rng.integers(1 << 32, 1 << 64, lanes, np.uint64), rng.integers(0, 1 << 32, words, np.uint32))


def plain_pop(rows, args, message, phase):
    """`pop_rows` by its docstring, in Python's integers: the symbols and what is left, or None if it ran out."""
    mixtures, coupled, levels, coded = args
    params, offsets, outers = rows
    heads, words, lanes = message.heads.tolist(), message.words.tolist(), len(message.heads)
    symbols = np.zeros(offsets.shape, np.uint8)
    for group in range(0, len(params), lanes):
        for c in range(coded):
            for i in range(group, min(group + lanes, len(params))):
                row = params[i], offsets[i].tolist(), outers[i].tolist(), symbols[i].tolist()
                cdf = plain_cdfs(*row, mixtures, coupled, levels)[c].tolist()
                lane = (phase + i) % lanes
                high, cf = divmod(heads[lane], WHOLE)
                x = bisect_right(cdf, cf) - 1
                head = high * (cdf[x + 1] - cdf[x]) + cf - cdf[x]
                if head < 1 << 32:
                    if not words:
                        return None
                    head = head << 32 | words.pop()
                heads[lane], symbols[i, c] = head, x
    return symbols, ans.Message(np.array(heads, np.uint64), np.array(words, np.uint32))


def pop(rows, args, message, phase=0):
    """The same from the core, with rows, columns and words beyond those it may look at, which stay as they are."""
    found: list[Any] = []
    for garbage in (0, -1):
        params, offsets, outers = (np.pad(a, ((0, 3), (0, 0)), constant_values=garbage) for a in rows)
        params, n = np.pad(params, ((0, 0), (0, 5)), constant_values=garbage), len(rows[0])
        struct = rows_of((params, offsets, outers), *args).struct
        struct.n = n
        stack = ans.Stack(message, 4)
        stack.words[len(message.words) :] = garbage & 0xFFFFFFFF
        symbols, before = np.full(offsets.shape, garbage & 255, np.uint8), stack.words.copy()
        memory = aligned((min(n, len(message.heads)) // mixture.SIDE + 1) * mixture.STATE)
        out = (phase, symbols.ctypes.data, memory.ctypes.data, memory.size)
        result = core.vlae_pop_rows(struct, TABLES.struct, stack.struct, *out)
        assert result in (0, -1)
        assert np.array_equal(stack.words, before)
        assert np.all(symbols[n:] == garbage & 255)
        assert np.all(symbols[:, args[3] :] == garbage & 255)
        symbols[:, args[3] :] = 0
        found.append(None if result < 0 else (symbols[:n], stack.message()))
    first, other = found
    assert (first is None) == (other is None)
    assert first is None or (np.array_equal(first[0], other[0]) and first[1] == other[1])
    return first


def push(rows, symbols, message, args):
    starts, freqs = mixture.intervals(rows_of(rows, *args), symbols)
    return waves.push_region(message, starts[:, None], freqs[:, None], 0, args[3])


@pytest.mark.parametrize("lanes", [1, 5, 8, 24])
@pytest.mark.parametrize(
    ("mixtures", "channels", "coupled", "levels", "coded"),
    [
        (5, 3, True, 256, 3),
        (5, 3, True, 256, 1),
        (1, 1, True, 2, 1),
        (6, 1, True, 256, 1),
        (2, 3, True, 2, 3),
        (3, 4, True, 64, 4),
        (4, 4, False, 64, 4),
    ],
)
def test_plain_pop(each_target, mixtures, channels, coupled, levels, coded, lanes):
    """Whole groups and rests, any lane first; the stack runs out where it must and not before."""
    rng = np.random.default_rng(lanes)
    args = (mixtures, coupled, levels, coded)
    for n, phase in ((0, 0), (1, lanes - 1), (lanes, 0), (lanes + 3, 2 % lanes)):
        rows = random_rows(rng, n, mixtures, channels, levels, coupled)
        message = random_message(rng, lanes, 2 * n * coded)
        symbols, left = plain_pop(rows, args, message, phase)
        used = len(message.words) - len(left.words)
        for target in each_target():
            found = pop(rows, args, message, phase)
            assert np.array_equal(found[0], symbols), target
            assert found[1] == left
            for words in {0, used // 2, used - 1, used} - {-1}:
                short = ans.Message(message.heads, message.words[len(message.words) - words :])
                found = pop(rows, args, short, phase)
                assert (found is None) == (words < used)
                if found is not None:
                    assert np.array_equal(found[0], symbols)
                    assert not len(found[1].words)


def test_phase():
    """The lane of the first row is the phase modulo the lanes, however large."""
    rng, args = np.random.default_rng(1), (2, True, 64, 3)
    rows, message = random_rows(rng, 20, 2, 3, 64), random_message(rng, 5, 100)
    for phase, least in ((5, 0), (8, 3), ((1 << 63) - 1, ((1 << 63) - 1) % 5)):
        one, other = pop(rows, args, message, phase), pop(rows, args, message, least)
        assert np.array_equal(one[0], other[0])
        assert one[1] == other[1]


def test_wrapper():
    """`pop_rows` is the core's with phase 0; it leaves the message alone, and says what ran out."""
    rng, args = np.random.default_rng(2), (2, True, 64, 2)
    rows, message = random_rows(rng, 30, 2, 3, 64), random_message(rng, 3, 100)
    before = ans.to_bytes(message)
    left, symbols = mixture.pop_rows(rows_of(rows, *args), message)
    expected = pop(rows, args, message)
    assert np.array_equal(symbols, expected[0])
    assert left == expected[1]
    assert ans.to_bytes(message) == before
    with pytest.raises(EmptyStack, match="the cat"):
        mixture.pop_rows(rows_of(rows, *args), ans.empty(3), "the cat")
    for one, other in ((rows[1], rows[2]), (rows[2], rows[1])):  # no outer maps are the identity
        other[:] = 64
        found = mixture.intervals(rows_of((rows[0], one, None), *args), symbols)
        assert np.array_equal(found, mixture.intervals(rows_of((rows[0], one, other), *args), symbols))


@pytest.mark.parametrize("lanes", [1, 5, 8, 24])
@pytest.mark.parametrize("levels", [2, 64, 256])
@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("mixtures", [1, 2, 5, 6])
def test_inverse(target, mixtures, coded, levels, lanes):
    """Popping inverts pushing and pushing inverts popping."""
    rng = np.random.default_rng(levels + coded + mixtures)
    args = (mixtures, True, levels, coded)
    rows = random_rows(rng, 101, mixtures, 3, levels)
    symbols = rng.integers(0, levels, (101, 3)).astype(np.uint8)
    symbols[::5] = 0
    symbols[1::5] = levels - 1
    symbols[:, coded:] = 0
    before = random_message(rng, lanes, 500)
    popped, left = pop(rows, args, push(rows, symbols, before, args))
    assert np.array_equal(popped, symbols)
    assert left == before
    popped, left = pop(rows, args, before)
    assert push(rows, popped, left, args) == before


def test_coded(target):
    """What is not coded is neither looked at nor written."""
    rng = np.random.default_rng(3)
    rows, symbols = random_rows(rng, 20, 5, 3, 256), rng.integers(0, 256, (20, 3)).astype(np.uint8)
    found = []
    for other in (0, 255):
        symbols[:, 1:] = other
        found.append(mixture.intervals(rows_of(rows, 5, True, 256, 1), symbols))
    assert np.array_equal(found[0], found[1])
    whole = mixture.intervals(rows_of(rows, 5, True, 256, 3), symbols)
    assert np.array_equal(found[0], np.where([True, False, False], whole, 0))
    starts, freqs = np.full((2, 20, 3), 77, np.uint32)
    struct = rows_of(rows, 5, True, 256, 1).struct
    core.vlae_intervals(struct, TABLES.struct, symbols.ctypes.data, starts.ctypes.data, freqs.ctypes.data)
    assert np.all(starts[:, 1:] == 77)
    assert np.all(freqs[:, 1:] == 77)


def test_other_rows():
    """Arrays of different rows are refused before the core sees them."""
    rows = random_rows(np.random.default_rng(4), 9, 2, 3, 64)
    form = (2, True, 64, 3)
    symbols = np.zeros((9, 3), np.uint8)
    mixture.intervals(rows_of(rows, *form), symbols)
    for params, offsets, outers in (
        (rows[0][:8], *rows[1:]),
        (rows[0], rows[1], rows[2][:8]),
        (rows[0], rows[1], rows[2][:, :2]),
    ):
        with pytest.raises(ValueError, match="different rows"):
            mixture.intervals(rows_of((params, offsets, outers), *form), symbols)
    with pytest.raises(ValueError, match="symbols must be"):
        mixture.intervals(rows_of(rows, *form), symbols[:8])
    for i in range(3):
        wrong = [*rows]
        wrong[i] = wrong[i].astype(np.int64)
        with pytest.raises(TypeError, match="contiguous int32"):
            mixture.intervals(rows_of(wrong, *form), symbols)


@pytest.mark.parametrize("scale", [32, 48, 64, 80, 96, 112])  # 1/4 to 8 levels
@pytest.mark.parametrize("offset", [0, 17, 32])
def test_rate(scale, offset):
    """Expected bits under the integer frequencies against the float formula's entropy."""
    location = (100 << 6) + offset
    starts, freqs = kernel_cdfs(np.array([0, location, scale], np.int32), [0], [64], [0], 1, False, 256)
    s = 2 ** (scale / 16 - 4)
    edges = (np.arange(1, 256) - 0.5 - location / 64) / s
    cdf = np.concatenate([[0], 1 / (1 + np.exp(-edges)), [1]])
    p = np.diff(cdf)
    divergence = float((p * (np.log2(np.maximum(p, 1e-300)) - np.log2(freqs[0] / WHOLE))).sum())
    assert 0 <= divergence + 1e-9 < 3e-4
    likely = p > 0.02
    assert np.log2(freqs[0] / WHOLE)[likely] == pytest.approx(np.log2(p[likely]), abs=0.15)


def test_posterior_of_components():
    """Two components that the first channel tells apart: the second costs as little as the right one alone."""
    near, far = 60 << 6, 200 << 6
    row = np.array([0, 0, near, near, far, far, 64, 64, 64, 64, 0, 0], np.int32)  # 2 components, 2 channels, scale 1
    _, freqs = kernel_cdfs(row, [0, 0], [64, 64], [60, 60], 2, True, 256)
    alone = 1 / (1 + math.exp(-0.5)) - 1 / (1 + math.exp(0.5))
    assert math.log2(freqs[0, 60] / WHOLE) == pytest.approx(math.log2(alone / 2), abs=0.01)
    assert math.log2(freqs[1, 60] / WHOLE) == pytest.approx(math.log2(alone), abs=0.01)


@pytest.mark.parametrize(("mixtures", "channels", "coupled"), SHAPES)
def test_limits(mixtures, channels, coupled):
    low, high = mixture.parameter_limits(mixtures, channels, coupled)
    assert low.shape == high.shape == (parameter_count(mixtures, channels, coupled),)
    _, locs, scales, coefs = split(high, mixtures, channels, coupled)
    assert np.all(locs == LOC_LIMIT)
    assert np.all(scales == SCALES - 1)
    assert np.all(coefs == COEF_LIMIT)


# ---------------------------------------------------------------------------------------------------- costs


def test_costs():
    """Costs are -log2 of probabilities to two units of 2^-20 bits; of rows, of some channels, and of all."""
    rng = np.random.default_rng(5)
    ends = [1, 2, 3, WHOLE - 1, WHOLE, *(1 << b for b in range(24)), *((1 << b) - 1 for b in range(1, 25))]
    freqs = np.concatenate([ends, rng.integers(1, WHOLE + 1, 3000), 2 ** rng.uniform(0, 24, 3000)]).astype(np.uint32)
    each = mixture.costs(freqs[:, None], 1)
    exact = (PRECISION - np.log2(freqs.astype(np.float64))) * mixture.COST_UNIT
    assert np.abs(each - exact).max() < 2
    assert each[freqs == WHOLE].tolist() == [0] * sum(freqs == WHOLE)
    assert each[0] == PRECISION << 20
    order = np.argsort(freqs)
    assert np.all(np.diff(each[order]) <= 0)
    some = freqs[:6000].reshape(-1, 3)
    assert mixture.cost(some) == mixture.costs(some, 3).sum() == each[:6000].sum()
    for coded in range(4):
        assert np.array_equal(mixture.costs(some, coded), each[:6000].reshape(-1, 3)[:, :coded].sum(1))
        assert mixture.cost(some, coded) == mixture.costs(some, coded).sum()
    with pytest.raises(ValueError, match=r"\(n, C\)"):
        mixture.costs(some[None], 3)
    assert mixture.cost(some[:0]) == 0
    assert mixture.costs(some[:0], 3).shape == (0,)


def test_costs_are_fixed():
    """Encoders decide by them: another number is another file."""
    costs = mixture.costs(np.arange(1, WHOLE, 1021).astype(np.uint32)[:, None], 1)
    assert sha256(costs.astype("<i8").tobytes()).hexdigest() == COSTS


@pytest.mark.parametrize("bad", [0, WHOLE + 1, (1 << 32) - 1])
def test_no_frequency(bad):
    with pytest.raises(ValueError, match="outside 1"):
        mixture.cost(np.array([5, bad], np.uint32))
    assert mixture.cost(np.array([[5, bad]], np.uint32), 1) > 0  # it is not coded


# Of test_costs_are_fixed: if it changes, effort 1 gives other files than before.
COSTS = "6303df6ea27cae2efbb198f308e8df08695e8b14ce47aaa2ec16e63d1db23c09"
