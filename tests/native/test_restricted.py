"""The restricted form: distributions against the plain decoder's formulas, and pixels on all targets."""

import numpy as np
import plain_decoder  # type: ignore[import-not-found]
import pytest
from test_deep import LISTS, TABLES, picture  # type: ignore[import-not-found]
from test_mixture import extreme_row, random_message  # type: ignore[import-not-found]

from vlae_codec.errors import EmptyStack
from vlae_codec.native import ans, mixture, waves
from vlae_codec.native.library import CoreError
from vlae_codec.native.mixture import Rows
from vlae_codec.origins.values import best_escape, outside, triples


def some_set(kind):
    """A conversion's set; or a random one, with pairs of which all, one or no values are there."""
    if kind != "random":
        return triples(kind)
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 63, (1 << 16, 4), np.uint64) & rng.integers(0, 1 << 63, (1 << 16, 4), np.uint64)
    words[::5], words[1::5], words[2::5] = 0, (1 << 64) - 1, [0, 1 << 9, 0, 0]
    return words


def rows_of(rng, kind, mixtures, n):
    """Random and extreme rows of a set, near the symbols and far from them."""
    params = np.stack([extreme_row(rng, mixtures, 3, True) for _ in range(n)])
    offsets = np.where(rng.random((n, 3)) < 0.2, 1 << 20, rng.integers(0, 256 << 6, (n, 3))).astype(np.int32)
    escapes = rng.choice([1, 2, 9, 16], n).astype(np.int32)
    return Rows(params, offsets, None, mixtures, True, 256, 3, TABLES, None, some_set(kind), escapes)


def plain_rows(rows):
    given = np.unpackbits(rows.values.astype("<u8").view(np.uint8), bitorder="little").reshape(256, 256, 256) > 0
    for params, offsets, escape in zip(rows.params.tolist(), rows.offsets.tolist(), rows.escapes.tolist()):
        yield plain_decoder.Restricted(given, escape, LISTS, params, offsets, [64] * 3, rows.mixtures, 3, 256)


@pytest.mark.parametrize("kind", ["jfif", "photocd", "webp", "random"])
@pytest.mark.parametrize("mixtures", [1, 5])
def test_intervals(each_target, kind, mixtures):
    """Intervals are the plain formulas, and those of a channel fill the range without a gap."""
    rng = np.random.default_rng(mixtures)
    rows, symbols, expected = rows_of(rng, kind, mixtures, 12), rng.integers(0, 256, (12, 3)).astype(np.uint8), []
    symbols[:5] = [[0, 0, 0], [255, 255, 255], [0, 255, 7], [9, 9, 9], [1, 0, 255]]
    for row, known in zip(plain_rows(rows), symbols.tolist()):
        for x in known:
            borders = sorted(row.borders(), key=lambda one: one[1])
            ends = [0, *(end for _, _, end in borders)]
            assert [start for _, start, _ in borders] == ends[:-1]
            assert ends[-1] == 1 << 24
            assert all(end > start for _, start, end in borders)
            expected.append(next((start, end - start) for symbol, start, end in borders if symbol == x))
            row.know(x)
    for target in each_target():
        starts, freqs = mixture.intervals(rows, symbols)
        assert list(zip(starts.ravel().tolist(), freqs.ravel().tolist())) == expected, target


@pytest.mark.parametrize("kind", ["jfif", "random"])
@pytest.mark.parametrize("mixtures", [3, 5])
@pytest.mark.parametrize("lanes", [1, 7, 40])
def test_pop(each_target, kind, mixtures, lanes):
    """Any message pops as the plain formulas have it, and pushing the symbols restores it."""
    rng = np.random.default_rng(lanes)
    rows, message = rows_of(rng, kind, mixtures, 12), random_message(rng, lanes, 100)
    symbols, plain = np.zeros((12, 3), np.int64), [*plain_rows(rows)]
    stack = plain_decoder.Stack(ans.to_bytes(message), lanes)
    for i, channel, lane in plain_decoder.order(12, 3, lanes, 0):
        x, start, freq = plain[i].find(stack.cf(lane))
        stack.pop(lane, start, freq)
        plain[i].know(x)
        symbols[i, channel] = x
    for _ in each_target():
        left, found = mixture.pop_rows(rows, message)
        assert np.array_equal(found, symbols)
        assert left.heads.tolist() == stack.heads
        assert left.words.tolist() == stack.words
        starts, freqs = mixture.intervals(rows, found)
        back = waves.push_region(left, starts[:, None], freqs[:, None], 0, 3)
        assert np.array_equal(back.heads, message.heads)
        assert np.array_equal(back.words, message.words)


def converted(height, width, seed=1):
    """A picture of JFIF's triples but for a patch."""
    values, x = triples("jfif"), picture(256, height, width, 3, seed)
    words = np.unpackbits(values.astype("<u8").view(np.uint8), bitorder="little").reshape(256, 256, 256)
    for r in range(height):
        for c in range(width - 3):
            there = np.flatnonzero(words[x[r, c, 0], x[r, c, 1]])
            x[r, c, 2] = there[np.abs(there - int(x[r, c, 2])).argmin()]
    return x


@pytest.mark.parametrize("escape", [1, 6, 16])
@pytest.mark.parametrize("changes", [{}, {"window": (13, 3), "mixtures": 5}, {"window": (3, 1)}])
def test_pixels(each_target, random_codec, changes, escape):
    """Encoder and decoder agree, in bands and with a context, on all targets; the same intervals for some pixels."""
    codec = random_codec(**changes).restricted("jfif", escape)
    x, pixels, rng, found = converted(13, 17), codec.nets.pixels, np.random.default_rng(1), set()
    assert 0 < outside(triples("jfif"), x).sum() < 60
    context = rng.integers(-128, 128, (9, 17, codec.config["context"])).astype(np.int8)
    for _ in each_target():
        for above, features in ((4, context), (4, None), (0, None)):
            starts, freqs = pixels.intervals(x[:above], x[above:], features, 3)
            found.add((above, features is None, starts.tobytes() + freqs.tobytes()))
            message = random_message(rng, 3, 8)
            pushed = waves.push_region(message, starts, freqs, codec.nets.slope, 3)
            contexts = None if features is None else [features]
            (left,), (band,) = pixels.pop([pushed], [x[:above]], [13 - above], contexts, 3)
            assert np.array_equal(band, x[above:])
            assert np.array_equal(left.heads, message.heads)
        places = rng.permutation(13 * 17)[:50]
        assert np.array_equal(pixels.at(pixels.whole(x, None), places, 3)[1], freqs.reshape(-1, 3)[places])
    assert len(found) == 3


def test_refused(random_codec):
    rows, symbols = rows_of(np.random.default_rng(1), "random", 2, 4), np.zeros((4, 3), np.uint8)
    for change in ({"levels": 128}, {"escapes": np.full(4, 17, np.int32)}, {"escapes": np.zeros(4, np.int32)}):
        with pytest.raises(CoreError, match="out of range"):
            mixture.intervals(rows._replace(**change), symbols)
    with pytest.raises(ValueError, match="escapes"):
        mixture.intervals(rows._replace(escapes=None), symbols)
    with pytest.raises(ValueError, match="a set"):
        mixture.intervals(rows._replace(values=rows.values[1:]), symbols)
    for codec, name, escape in ((random_codec(), "none", 3), (random_codec(), "jfif", 17), (random_codec(), "jfif", 0)):
        with pytest.raises(ValueError, match="escapes of"):
            codec.restricted(name, escape)
    for codec in (random_codec(channels=1), random_codec().scaled(1000, 0)):
        with pytest.raises(ValueError, match="only three"):
            codec.restricted("jfif", 3)


def test_empty(target, random_codec):
    pixels = random_codec().restricted("webp", 3).nets.pixels
    with pytest.raises(EmptyStack, match="tile 0"):
        pixels.pop([ans.empty(2)], [np.zeros((0, 9, 3), np.uint8)], [300], None, 3)


def test_triples():
    """A set has what the conversion gives, and only that."""
    shares = {}
    for kind in ("jfif", "photocd", "webp"):
        shares[kind] = np.unpackbits(triples(kind).view(np.uint8)).mean()
    assert {kind: round(100 * share) for kind, share in shares.items()} == {"jfif": 25, "photocd": 13, "webp": 18}
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    assert not outside(triples("jfif"), grey).any()  # Cb = Cr = 128
    assert outside(triples("jfif"), np.array([[[128, 128, 129]]], np.uint8)).all()  # Cb = 129 changes blue by 2


def test_best_escape():
    strange = np.zeros((64, 64), bool)
    assert best_escape(strange) == 16
    strange[::8, ::8] = True
    assert best_escape(strange) == 6
    assert best_escape(np.ones((1, 1), bool)) == 1
