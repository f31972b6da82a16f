"""Integer CDFs at their extremes, and against the documented formulas in unbounded integers."""

import math
from bisect import bisect_right
from itertools import product
from typing import Any

import numpy as np
import pytest

from vlae_codec import ans, tables, waves
from vlae_codec.errors import WeightsError
from vlae_codec.models.export import make_tables
from vlae_codec.tables import COEF_LIMIT, LOC_LIMIT, LOGIT_LIMIT, PRECISION, SCALES

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
    t = tables.Tables(*(table.tolist() for table in TABLES))
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


def intervals(rows, symbols, args, starts, freqs):
    """`intervals`, and what is compiled for photographs where that is the same."""
    mixtures, coupled, levels, coded, _ = args
    tables.intervals(*rows, symbols, *args, starts, freqs)
    if (mixtures, symbols.shape[1], coupled) == (5, 3, True):
        again = np.zeros((2, *starts.shape), np.uint32)
        tables.intervals_5_3(*rows, symbols, levels, coded, TABLES, *again)
        assert np.array_equal(again[0, :, :coded], starts[:, :coded])
        assert np.array_equal(again[1, :, :coded], freqs[:, :coded])


def kernel_cdfs(row, offset, outer, symbols, mixtures, coupled, levels):
    """The same from `intervals`: every symbol of every channel."""
    channels = len(symbols)
    known = np.tile(np.array(symbols, np.uint8), (channels * levels, 1))
    for c in range(channels):
        known[c * levels : (c + 1) * levels, c] = np.arange(levels)
    count = len(known)
    starts, freqs = np.zeros((2, count, channels), np.uint32)
    repeat = [np.tile(np.asarray(a, np.int32), (count, 1)) for a in (row, offset, outer)]
    intervals(repeat, known, (mixtures, coupled, levels, channels, TABLES), starts, freqs)
    own = np.arange(channels).repeat(levels)
    at = np.arange(count), own
    return starts[at].reshape(channels, levels).astype(int), freqs[at].reshape(channels, levels).astype(int)


def extreme_row(rng, mixtures, channels, coupled):
    low, high = tables.parameter_limits(mixtures, channels, coupled)
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
def test_plain_integers(mixtures, channels, coupled, levels):
    """The kernels are the documented formulas, with nothing overflowing: random and extreme rows, all symbols."""
    rng = np.random.default_rng(mixtures * channels)
    for _ in range({2: 30, 64: 10, 256: 4}[levels]):
        row = extreme_row(rng, mixtures, channels, coupled)
        limit = 1 << 20 if rng.random() < 0.3 else levels << 6  # the flow's offsets may lie far outside
        offset = rng.choice([-limit, 0, levels << 5, (levels - 1) << 6, limit], channels)
        outer = rng.choice(OUTERS, channels)
        symbols = rng.choice([0, min(1, levels - 1), levels // 2, levels - 2, levels - 1], channels).tolist()
        case = (row, offset.tolist(), outer.tolist(), symbols, mixtures, coupled, levels)
        starts, freqs = kernel_cdfs(*case)
        hold(starts, freqs, str(case))
        assert np.array_equal(plain_cdfs(*case)[:, :-1], starts), case


@pytest.mark.parametrize("levels", [2, 64, 256])
def test_grid(levels):
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
    params = np.zeros((n, tables.parameter_count(mixtures, channels, coupled)), np.int32)
    for row in params:
        row[:] = extreme_row(rng, mixtures, channels, coupled)
    offsets = rng.integers(0, levels << 6, (n, channels)).astype(np.int32)
    outers = rng.choice(OUTERS, (n, channels)).astype(np.int32)
    return params, offsets, outers


def random_message(rng, lanes, words):
    return ans.Message(rng.integers(1 << 32, 1 << 64, lanes, np.uint64), rng.integers(0, 1 << 32, words, np.uint32))


def plain_pop(rows, args, message, phase):
    """`pop_rows` by its docstring, in Python's integers: the symbols and what is left, or None if it ran out."""
    mixtures, coupled, levels, coded, _ = args
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
    """The same from `pop_rows`, with rows, columns and words beyond those it may look at, which stay as they are; and
    from what is compiled for photographs where that is the same.
    """
    mixtures, coupled, *rest = args
    found: list[Any] = []
    for garbage, photographs in ((0, False), (-1, False), (-1, (mixtures, rows[1].shape[1], coupled) == (5, 3, True))):
        params, offsets, outers = (np.pad(a, ((0, 3), (0, 0)), constant_values=garbage) for a in rows)
        params = np.pad(params, ((0, 0), (0, 5)), constant_values=garbage)
        symbols = np.full(offsets.shape, garbage & 255, np.uint8)
        words = np.pad(message.words, (0, 4), constant_values=garbage & 0xFFFFFFFF)
        heads, before, n = message.heads.copy(), words.copy(), len(rows[0])
        stack = (heads, phase, words, len(message.words), symbols)
        if photographs:
            size = tables.pop_rows_5_3(params, offsets, outers, n, *rest, *stack)
        else:
            size = tables.pop_rows(params, offsets, outers, n, *args, *stack)
        assert np.array_equal(words, before)
        assert np.all(symbols[n:] == garbage & 255)
        assert np.all(symbols[:, args[3] :] == garbage & 255)
        assert size <= len(message.words)
        symbols[:, args[3] :] = 0
        found.append(None if size < 0 else (symbols[:n], ans.Message(heads, words[:size])))
    first, *others = found
    for other in others:
        assert (first is None) == (other is None)
        assert first is None or (np.array_equal(first[0], other[0]) and first[1] == other[1])
    return first


def push(rows, symbols, message, args):
    starts, freqs = np.zeros((2, *symbols.shape), np.uint32)
    intervals(rows, symbols, args, starts, freqs)
    return waves.push_region(message, starts[:, None], freqs[:, None], (0, len(symbols), 1), 0, args[3])


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
def test_plain_pop(mixtures, channels, coupled, levels, coded, lanes):
    """Whole groups and rests, any lane first; the stack runs out where it must and not before."""
    rng = np.random.default_rng(lanes)
    args = (mixtures, coupled, levels, coded, TABLES)
    for n, phase in ((0, 0), (1, lanes - 1), (lanes, 0), (lanes + 3, 2 % lanes)):
        rows = random_rows(rng, n, mixtures, channels, levels, coupled)
        message = random_message(rng, lanes, 2 * n * coded)
        symbols, left = plain_pop(rows, args, message, phase)
        found = pop(rows, args, message, phase)
        assert np.array_equal(found[0], symbols)
        assert found[1] == left
        used = len(message.words) - len(left.words)
        for words in {0, used // 2, used - 1, used} - {-1}:
            short = ans.Message(message.heads, message.words[len(message.words) - words :])
            found = pop(rows, args, short, phase)
            assert (found is None) == (words < used)
            if found is not None:
                assert np.array_equal(found[0], symbols)
                assert not len(found[1].words)


@pytest.mark.parametrize("lanes", [1, 5, 8, 24])
@pytest.mark.parametrize("levels", [2, 64, 256])
@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("mixtures", range(1, 7))
def test_inverse(mixtures, coded, levels, lanes):
    """Popping inverts pushing and pushing inverts popping."""
    rng = np.random.default_rng(levels + coded + mixtures)
    args = (mixtures, True, levels, coded, TABLES)
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


def test_coded():
    """What is not coded is neither looked at nor written."""
    rng = np.random.default_rng(3)
    rows, symbols = random_rows(rng, 20, 5, 3, 256), rng.integers(0, 256, (20, 3)).astype(np.uint8)
    found = []
    for other in (0, 255):
        symbols[:, 1:] = other
        starts, freqs = np.full((2, 20, 3), 77, np.uint32)
        tables.intervals(*rows, symbols, 5, True, 256, 1, TABLES, starts, freqs)
        assert np.all(starts[:, 1:] == 77)
        assert np.all(freqs[:, 1:] == 77)
        found.append((starts, freqs))
    assert np.array_equal(found[0], found[1])
    whole = np.zeros((2, 20, 3), np.uint32)
    tables.intervals(*rows, symbols, 5, True, 256, 3, TABLES, *whole)
    assert np.array_equal(found[0], np.where([True, False, False], whole, 77))


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
    low, high = tables.parameter_limits(mixtures, channels, coupled)
    assert low.shape == high.shape == (tables.parameter_count(mixtures, channels, coupled),)
    _, locs, scales, coefs = split(high, mixtures, channels, coupled)
    assert np.all(locs == LOC_LIMIT)
    assert np.all(scales == SCALES - 1)
    assert np.all(coefs == COEF_LIMIT)


def changed(field, at, value):
    table = getattr(TABLES, field).copy()
    table[at] = value
    return TABLES._replace(**{field: table})


@pytest.mark.parametrize(
    "bad",
    [
        *(TABLES._replace(**{field: getattr(TABLES, field)[:-1]}) for field in tables.Tables._fields),
        TABLES._replace(sigmoid=TABLES.sigmoid[::-1]),
        changed("sigmoid", 0, -1),
        changed("sigmoid", -1, (1 << 20) + 1),
        changed("sigmoid", 5000, 0),
        changed("exp", 3, 0),
        changed("exp", 0, 4097),
        changed("inverse", 159, 0),
        changed("outer_scale", 0, 0),
        changed("outer_inverse", 7, -1),
        changed("inverse", 0, (1 << 22) + 1),
        changed("outer_scale", 191, (1 << 24) + 1),
        changed("outer_inverse", 0, (1 << 20) + 1),
        TABLES._replace(inverse=TABLES.inverse.astype(np.float64)),
        TABLES._replace(exp=TABLES.exp.astype(np.int64)),
    ],
)
def test_invalid(bad):
    tables.check_tables(TABLES)
    with pytest.raises(WeightsError, match="tables"):
        tables.check_tables(bad)
