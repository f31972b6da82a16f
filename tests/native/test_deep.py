"""Distributions of any number of levels and with shifts, and pixels of them, against the plain decoder's formulas."""

from typing import Any

import numpy as np
import plain_decoder  # type: ignore[import-not-found]
import pytest
from test_mixture import OUTERS, TABLES, WHOLE, extreme_row, hold, random_message  # type: ignore[import-not-found]

from vlae_codec.contract import MAX_LEVELS, MAX_SHIFT
from vlae_codec.errors import EmptyStack
from vlae_codec.native import ans, mixture, waves
from vlae_codec.native.mixture import Rows, sample_type
from vlae_codec.threads import workers

LEVELS = [2, 3, 16, 101, 256, 257, 1000, 4096, MAX_LEVELS]
SHAPES = [(1, 1), (5, 1), (5, 3), (3, 3), (2, 4)]  # mixtures, channels
LISTS = {name: table.tolist() for name, table in TABLES._asdict().items()}


def rows_of(rng, levels, mixtures, channels, n, shifted=True):
    """Random and extreme rows, near the symbols and far from them."""
    params = np.stack([extreme_row(rng, mixtures, channels, True) for _ in range(n)])
    limit = 1 << 20 if levels <= 256 else levels << 6
    offsets = np.where(rng.random((n, channels)) < 0.2, limit, rng.integers(0, levels << 6, (n, channels)))
    outers = np.where(rng.random((n, channels)) < 0.5, 64, rng.choice(OUTERS, (n, channels))).astype(np.int32)
    shifts = rng.choice([0, 1, 5, MAX_SHIFT], n).astype(np.int32) if shifted else None
    offsets = offsets.astype(np.int32)
    return Rows(params, offsets, outers, mixtures, True, levels, channels, TABLES, shifts)


def plain_row(rows, i):
    deep = rows.levels > 256 or rows.levels & (rows.levels - 1) > 0
    shift = int(rows.shifts[i]) if rows.shifts is not None else 0 if deep else None
    params, offsets, outers = (array[i].tolist() for array in (rows.params, rows.offsets, rows.outers))
    return plain_decoder.Row(LISTS, params, offsets, outers, rows.mixtures, len(offsets), rows.levels, shift)


def some_symbols(rng, levels, shape):
    """Edges among them."""
    edges = np.array([0, min(1, levels - 1), levels // 2, levels - 2, levels - 1])
    symbols = np.where(rng.random(shape) < 0.5, rng.choice(edges, shape), rng.integers(0, levels, shape))
    return symbols.astype(sample_type(levels))


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("mixtures", "channels"), SHAPES)
def test_intervals(each_target, mixtures, channels, levels):
    """Intervals are the plain formulas: random and extreme rows, with shifts and without."""
    rng = np.random.default_rng(levels + channels)
    for shifted in (True, False):
        rows = rows_of(rng, levels, mixtures, channels, 21, shifted)
        symbols = some_symbols(rng, levels, (21, channels))
        expected = []
        for i, known in enumerate(symbols.tolist()):
            row = plain_row(rows, i)
            for x in known:
                expected.append((row.cdf(x), row.cdf(x + 1) - row.cdf(x)))
                row.know(x)
        for target in each_target():
            starts, freqs = mixture.intervals(rows, symbols)
            assert list(zip(starts.ravel().tolist(), freqs.ravel().tolist())) == expected, (target, shifted)


@pytest.mark.parametrize("levels", LEVELS)
def test_whole(target, levels):
    """Symbols fill 0 .. 2^24 without a gap, whatever the row."""
    rng = np.random.default_rng(levels)
    for shift in (0, 3, MAX_SHIFT):
        for _ in range(5):
            rows, n = rows_of(rng, levels, 5, 1, 1), levels
            params, offsets = (np.repeat(array, n, axis=0) for array in rows[:2])
            outers = np.repeat(rows.outers, n, axis=0)
            every = np.arange(n).astype(sample_type(n))[:, None]
            shifts = np.full(n, shift, np.int32)
            given = Rows(params, offsets, outers, 5, True, levels, 1, TABLES, shifts)
            starts, freqs = (v[:, 0].astype(int) for v in mixture.intervals(given, every))
            hold(starts, freqs)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("mixtures", "channels"), SHAPES)
@pytest.mark.parametrize("lanes", [1, 7, 40])
def test_pop(each_target, mixtures, channels, levels, lanes):
    """Any message pops as the plain formulas have it, and pushing the symbols restores it."""
    rng = np.random.default_rng(lanes)
    rows, message = rows_of(rng, levels, mixtures, channels, 21), random_message(rng, lanes, 100)
    symbols = np.zeros((21, channels), np.int64)
    heads = message.heads.tolist()
    stack = plain_decoder.Stack(ans.to_bytes(message), lanes)
    assert stack.heads == heads
    plain = [plain_row(rows, i) for i in range(21)]
    for i, channel, lane in plain_decoder.order(21, channels, lanes, 0):
        x, start, freq = plain[i].find(stack.cf(lane))
        stack.pop(lane, start, freq)
        plain[i].know(x)
        symbols[i, channel] = x
    for _ in each_target():
        left, found = mixture.pop_rows(rows, message)
        assert found.dtype == sample_type(levels)
        assert np.array_equal(found, symbols)
        assert left.heads.tolist() == stack.heads
        assert left.words.tolist() == stack.words
        starts, freqs = mixture.intervals(rows, found)
        back = waves.push_region(left, starts[:, None], freqs[:, None], 0, channels)
        assert np.array_equal(back.heads, message.heads)
        assert np.array_equal(back.words, message.words)


def test_symbols_beyond(target):
    """Symbols that there are not have intervals of no sense; no harm is done."""
    rng = np.random.default_rng(1)
    for levels in (3, 101, 257, 1000):
        rows, kind = rows_of(rng, levels, 2, 3, 50), sample_type(levels)
        symbols = rng.integers(levels, np.iinfo(kind).max + 1, (50, 3)).astype(kind)
        starts, _ = mixture.intervals(rows, symbols)
        assert starts.shape == (50, 3)


def test_shifts_of_other_rows():
    rows = rows_of(np.random.default_rng(1), 1000, 2, 1, 4)
    with pytest.raises(ValueError, match="shifts"):
        mixture.intervals(rows._replace(shifts=np.zeros(3, np.int32)), np.zeros((4, 1), np.uint16))


# ---------------------------------------------------------------------------------------------------- pixels


def picture(levels, height, width, channels, seed=1):
    """Smooth, with noise, an edge and the ends of the range."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.2, 0.7, height * width).reshape(height, width, 1) + 0.02 * np.arange(channels)
    x = x * (levels - 1) + rng.normal(0, 0.01 * levels, (height, width, channels))
    x[height // 2 :, width // 2 :] = levels - 1
    x[: height // 3, : width // 3] = 0
    return x.round().clip(0, levels - 1).astype(sample_type(levels))


MODELS: dict[str, dict[str, Any]] = {
    "colour": {},
    "grey": {"channels": 1},
    "narrow": {"window": (3, 1), "channels": 1},
    "wide": {"window": (13, 3), "mixtures": 5},
    "bilevel": {"channels": 1, "levels": 2},
}


@pytest.mark.parametrize("shift", [0, 1, 4, MAX_SHIFT])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("model", MODELS)
def test_pixels(each_target, random_codec, model, levels, shift):
    """Encoder and decoder agree, in bands and with a context, on all targets; the same intervals for some pixels."""
    codec = random_codec(**MODELS[model]).scaled(levels, shift)
    channels, pixels = codec.config["channels"], codec.nets.pixels
    x = picture(levels, 13, 17, channels)
    rng, found = np.random.default_rng(1), set()
    context = rng.integers(-128, 128, (9, 17, codec.config["context"])).astype(np.int8)
    for _ in each_target():
        for above, features in ((4, context), (4, None), (0, None)):
            starts, freqs = pixels.intervals(x[:above], x[above:], features, channels)
            found.add((above, features is None, starts.tobytes() + freqs.tobytes()))
            message = random_message(rng, 3, 8)
            pushed = waves.push_region(message, starts, freqs, codec.nets.slope, channels)
            heights, contexts = [13 - above], None if features is None else [features]
            (left,), (band,) = pixels.pop([pushed], [x[:above]], heights, contexts, channels)
            assert band.dtype == x.dtype
            assert np.array_equal(band, x[above:])
            assert np.array_equal(left.heads, message.heads)
        places = rng.permutation(13 * 17)[:50]
        some = pixels.at(pixels.whole(x, None), places, channels)
        assert np.array_equal(some[1], freqs.reshape(-1, channels)[places])
    assert len(found) == 3


@pytest.mark.parametrize("levels", [101, 256, 1000, MAX_LEVELS])
@pytest.mark.parametrize("model", ["colour", "narrow", "wide"])
def test_rows(each_target, random_codec, model, levels):
    """Network inputs, references and shifts are those of the plain decoder, the border among them."""
    codec = random_codec(**MODELS[model])
    window = plain_decoder.window_of(codec.config["window"])
    for shift in (1, 6):
        pixels = codec.scaled(levels, shift).nets.pixels
        x, bits = picture(levels, 11, 19, codec.config["channels"]), (levels - 1).bit_length()
        whole, wide = pixels.whole(x, None), x.astype(np.int64)
        for _ in each_target():
            rows, references, shifts = pixels.rows(whole, np.arange(11 * 19))
            for i, (row, reference, s) in enumerate(zip(rows, references.astype(int), shifts)):
                r, c = divmod(i, 19)
                near = {at: wide[r + at[0], c + at[1]] - reference for at in window if in_tile(r, c, at, 19)}
                steps = [near.get(at, np.zeros_like(reference)) for at in window]
                half = (1 << s) >> 1
                steps = [np.clip(np.sign(d) * ((np.abs(d) + half) >> s), -128, 127) for d in steps]
                expected = np.concatenate([*steps, (reference << 8 >> bits) - 128])
                assert row[: len(expected)].tolist() == expected.tolist()
                assert s == shift_of(near, shift)
        assert len(set(shifts.tolist())) > 1 or levels < MAX_LEVELS


def in_tile(r, c, at, width):
    return r + at[0] >= 0 and 0 <= c + at[1] < width


def shift_of(near, least):
    places = [(0, -2), (0, -1), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (-2, 0), (-2, 1)]
    bits = [abs(int(d)).bit_length() for at in places if at in near for d in near[at]]
    return min(MAX_SHIFT, max(least, (sum(bits) + len(bits) // 2) // len(bits) - 5 if bits else 0))


def test_threads(random_codec, monkeypatch):
    codec, x = random_codec().scaled(1000, 2), picture(1000, 40, 50, 3)
    expected = codec.nets.pixels.intervals(x[:0], x, None, 3)
    monkeypatch.setattr("vlae_codec.native.pixels.STRIP", 300)
    with workers(3) as run:
        found = codec.nets.pixels.intervals(x[:0], x, None, 3, run)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected))


def test_wrong_type(random_codec):
    codec, x = random_codec(channels=1), np.zeros((4, 4, 1), np.uint8)
    for levels, wrong in ((257, x), (256, x.astype(np.uint16)), (1000, x.astype(np.int32))):
        with pytest.raises(ValueError, match="levels are"):
            codec.scaled(levels, 0).nets.pixels.intervals(wrong[:0], wrong, None, 1)


def test_empty(target, random_codec):
    codec, x = random_codec().scaled(5000, 3), np.zeros((0, 9, 3), np.uint16)
    with pytest.raises(EmptyStack, match="tile 0"):
        codec.nets.pixels.pop([ans.empty(2)], [x], [300], None, 3)


def test_leak():
    """Every symbol has a frequency, so that the rarest of 65536 still has 24 bits."""
    rows = Rows(np.array([[0, 0, 0]], np.int32), np.zeros((1, 1), np.int32), None, 1, True, MAX_LEVELS, 1, TABLES)
    starts, freqs = mixture.intervals(rows, np.array([[MAX_LEVELS - 1]], np.uint16))
    assert (int(starts[0, 0]), int(freqs[0, 0])) == (WHOLE - 1, 1)


@pytest.mark.parametrize("shift", [4, 7, MAX_SHIFT])
def test_fine(target, shift):
    """Levels that are a small part of a scale have frequencies of their own, which are those of the logistic."""
    x, mean = np.arange(0, MAX_LEVELS, 7), 30_000
    rows = Rows(
        np.tile(np.array([[0, 0, 96]], np.int32), (len(x), 1)),  # a scale of 4 coarse levels
        np.full((len(x), 1), mean << 6, np.int32),
        None,
        1,
        True,
        MAX_LEVELS,
        1,
        TABLES,
        np.full(len(x), shift, np.int32),
    )
    scale = 4 << shift
    inside = np.abs(x - mean) < 4 * scale
    _, freqs = mixture.intervals(rows, x.astype(np.uint16)[:, None])
    density = 1 / (4 * scale * np.cosh((x - mean) / (2 * scale)) ** 2)
    bits = 24 - np.log2(freqs[inside, 0])
    exact = -np.log2(density[inside] * (1 - MAX_LEVELS / WHOLE) + 1 / WHOLE)
    assert inside.sum() > 50
    assert np.abs(bits - exact).max() < 0.1
    assert abs((bits - exact).mean()) < 0.01
