"""The coder: exact inverses, exact words, lengths, and what it refuses."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlae_codec.errors import CorruptFile, EmptyStack, TruncatedFile
from vlae_codec.native import ans
from vlae_codec.native.library import core

LANES = [1, 2, 7]
PRECISIONS = [1, 8, 16, 24]


def random_message(lanes, words, rng):
    heads = rng.integers(1 << 32, 1 << 64, lanes, dtype=np.uint64)
    return ans.Message(heads, rng.integers(0, 1 << 32, words, dtype=np.uint32))


def random_cdf(symbols, precision, rng):
    inner = np.sort(rng.choice(np.arange(1, 1 << min(precision, 16)), symbols - 1, replace=False))
    return np.concatenate([[0], inner << max(precision - 16, 0), [1 << precision]])


class PlainStack:
    """The same coder in Python's unbounded integers and in the words of the paper, to compare with."""

    def __init__(self, lanes, seed=0):
        self.heads, self.words = [1 << 32] * lanes, []
        self.heads[0] += seed

    def push(self, starts, freqs, precision):
        for i in reversed(range(len(starts))):
            start, freq, x = int(starts[i]), int(freqs[i]), self.heads[i % len(self.heads)]
            if (x // freq << precision) + start + x % freq >= 1 << 64:
                self.words.append(x % (1 << 32))
                x >>= 32
            self.heads[i % len(self.heads)] = (x // freq << precision) + start + x % freq


def test_exact_words():
    message = ans.empty(2, seed=0xC0FFEE)
    message = ans.push(message, [1, 250, 0, 7, 255, 100] * 4, [1, 6, 250, 3, 1, 28] * 4, 8)
    message = ans.push(message, [0xABCDEF, 5], [1, 1], 24)
    assert message.heads.tolist() == HEADS
    assert message.words.tolist() == WORDS
    assert ans.to_bytes(message).hex() == HEX


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_as_unbounded_integers(lanes, precision):
    rng = np.random.default_rng(precision)
    starts = rng.integers(0, 1 << precision, 300)
    freqs = rng.integers(1, (1 << precision) - starts + 1)
    plain = PlainStack(lanes, 99)
    plain.push(starts, freqs, precision)
    message = ans.push(ans.empty(lanes, 99), starts, freqs, precision)
    assert message.heads.tolist() == plain.heads
    assert message.words.tolist() == plain.words


@pytest.mark.parametrize("precision", [1, 2, 3, 5, 8])
def test_every_cf_of_every_head_edge(precision):
    """Each cf pops to the symbol that owns it and leaves x'; pushing that symbol back restores the exact message."""
    size, rng = 1 << precision, np.random.default_rng(precision)
    tables = [[0, size], list(range(size + 1)), [0, 1, size], [0, size - 1, size]]
    tables += [random_cdf(k, precision, rng) for k in range(2, min(size, 6) + 1)]
    word = np.array([7, 0xDEADBEEF], np.uint32)
    for cdf in map(np.array, tables):
        for cf in range(size):
            owner = int(np.searchsorted(cdf, cf, side="right")) - 1
            for base in (1 << 32, (1 << 40) - size, 1 << 47, (1 << 64) - size):
                message = ans.Message(np.array([base + cf], np.uint64), word)
                popped, symbols = ans.pop_with(message, cdf[None], precision, 1)
                assert symbols.tolist() == [owner]
                assert int(popped.heads[0]) >= 1 << 32
                start, freq = int(cdf[owner]), int(cdf[owner + 1] - cdf[owner])
                x = freq * (base >> precision) + cf - start
                assert int(popped.heads[0]) == (x if x >= 1 << 32 else x << 32 | 0xDEADBEEF)
                assert ans.push(popped, [start], [freq], precision) == message


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_both_directions(data):
    lanes, precision = data.draw(st.sampled_from(LANES)), data.draw(st.sampled_from(PRECISIONS))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    count = data.draw(st.integers(0, 40))
    cdfs = np.stack([random_cdf(2, precision, rng) for _ in range(max(count, 1))])
    symbols = rng.integers(0, 2, len(cdfs))
    if count == 0:
        cdfs, symbols = cdfs[:1], symbols[:0]
    rows = np.arange(count)
    starts = cdfs[rows, symbols]
    freqs = cdfs[rows, symbols + 1] - starts
    for message in (ans.empty(lanes, 3), random_message(lanes, 2 * count + 1, rng)):
        pushed = ans.push(message, starts, freqs, precision)
        back, found = ans.pop_with(pushed, cdfs, precision, count)
        assert back == message
        assert np.array_equal(found, symbols)
        assert pushed.heads.min() >= 1 << 32
    popped, found = ans.pop_with(message, cdfs, precision, count)
    starts = cdfs[rows, found]
    assert ans.push(popped, starts, cdfs[rows, found + 1] - starts, precision) == message


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("head", [1 << 32, (1 << 64) - 1])
def test_a_sure_symbol_is_free(precision, head):
    message = ans.Message(np.array([head], np.uint64), np.array([5], np.uint32))
    assert ans.push(message, [0] * 9, [1 << precision] * 9, precision) == message
    popped, symbols = ans.pop_with(message, [[0, 1 << precision]], precision, 9)
    assert popped == message
    assert not symbols.any()


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_length(lanes, precision):
    rng = np.random.default_rng(1)
    cdf = random_cdf(min(1 << precision, 40), precision, rng)
    p = np.diff(cdf) / (1 << precision)
    symbols = rng.choice(len(p), 4000, p=p)
    message = ans.push(ans.empty(lanes), cdf[symbols], np.diff(cdf)[symbols], precision)
    ideal = -np.log2(p[symbols]).sum()
    assert ans.bits(message) == pytest.approx(ideal, rel=1e-4)
    assert 8 * len(ans.to_bytes(message)) <= 1.01 * ideal + 64 * lanes


@pytest.mark.parametrize("lanes", LANES)
def test_lanes_share_the_words_in_order(lanes):
    """What a vectorised decoder relies on: the lanes of one step that need a word take them lowest lane first."""
    rng = np.random.default_rng(lanes)
    symbols = rng.integers(0, 1 << 16, 5 * lanes)
    message = ans.push(ans.empty(lanes), symbols, np.ones_like(symbols), 16)
    heads, words = message.heads.copy(), message.words
    for step in symbols.reshape(5, lanes):
        assert np.array_equal(heads & np.uint64(0xFFFF), step)
        heads >>= np.uint64(16)
        needy = np.flatnonzero(heads < 1 << 32)
        taken = words[len(words) - len(needy) :][::-1]
        words = words[: len(words) - len(needy)]
        heads[needy] = heads[needy] << np.uint64(32) | taken
    assert ans.is_empty(ans.Message(heads, words))


@pytest.mark.parametrize("lanes", LANES)
def test_empty_pop_raises(lanes):
    with pytest.raises(EmptyStack, match="ran out after 0 of 3"):
        ans.pop_uniform(ans.empty(lanes, 0xFFFFFFFF), 8, 3)
    rng = np.random.default_rng(0)
    message = ans.push(ans.empty(lanes), rng.integers(0, 256, 100), np.ones(100, int), 8)
    with pytest.raises(EmptyStack, match="ran out after 100 of 101"):
        ans.pop_uniform(message, 8, 101)
    stack, symbols = ans.Stack(ans.empty(lanes)), np.full(3, 77, np.int64)
    assert core.vlae_pop(stack.struct, None, 1, 0, symbols.ctypes.data, 3, 8) == 0
    assert stack.message() == ans.empty(lanes)  # a refused pop changes nothing
    assert np.all(symbols == 77)


@pytest.mark.parametrize("lanes", LANES)
def test_seed(lanes):
    for seed in (0, 1, 0xFFFFFFFF):
        message = ans.empty(lanes, seed)
        assert len(message.heads) == lanes
        assert ans.is_empty(message, seed)
        assert not ans.is_empty(message, seed ^ 1)
        symbols = np.arange(50) % 16
        message = ans.push(message, symbols, np.ones(50, int), 4)
        assert not ans.is_empty(message, seed)
        message, found = ans.pop_uniform(message, 4, 50)
        assert ans.is_empty(message, seed)
        assert np.array_equal(found, symbols)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("words", [0, 1, 5])
def test_bytes(lanes, words):
    message = random_message(lanes, words, np.random.default_rng(words))
    data = ans.to_bytes(message)
    assert len(data) == 8 * lanes + 4 * words
    assert ans.from_bytes(data, lanes) == message
    ans.push(ans.from_bytes(data, lanes), [0], [1], 8)  # its arrays are ordinary native ones
    for cut in (1, 2, 3):
        with pytest.raises(TruncatedFile):
            ans.from_bytes(data[:-cut], lanes)
    with pytest.raises(TruncatedFile):
        ans.from_bytes(data[: 8 * lanes - 4], lanes)
    with pytest.raises(TruncatedFile):
        ans.from_bytes(data, 1 << 60)  # refused before anything is allocated
    with pytest.raises(CorruptFile, match=f"lane {lanes - 1}"):
        ans.from_bytes(data[: 8 * lanes - 4] + bytes(4) + data[8 * lanes :], lanes)


def test_messages_are_left_alone():
    message = random_message(3, 20, np.random.default_rng(0))
    before = ans.to_bytes(message)
    ans.push(message, np.zeros(99, int), np.ones(99, int), 24)
    ans.pop_uniform(message, 24, 15)
    ans.pop_with(message, [[0, 1, 256]], 8, 15)
    ans.bits(message), ans.is_empty(message)
    assert ans.to_bytes(message) == before
    pushed = ans.push(message, [0], [1 << 8], 8)
    assert not np.shares_memory(pushed.words, message.words)
    assert not np.shares_memory(pushed.heads, message.heads)


def test_equality_is_by_value():
    rng = np.random.default_rng(0)
    a = random_message(2, 3, rng)
    assert a == ans.Message(a.heads.copy(), a.words.copy())
    assert a != ans.Message(a.heads, a.words[:2])
    assert a != ans.Message(a.heads[:1], a.words)
    assert a != ans.Message(a.heads ^ np.uint64(1), a.words)
    assert a != "a"
    with pytest.raises(TypeError):
        hash(a)


def test_bits():
    assert ans.bits(ans.empty(3)) == 0
    assert ans.bits(ans.push(ans.empty(2), [9] * 4, [1] * 4, 16)) == pytest.approx(64, abs=1e-6)


@pytest.mark.parametrize("lanes", LANES)
def test_stock(lanes):
    """An integer that is `bits` to two units of 2^-20 bits a lane, and moves as the bits of what is pushed."""
    rng = np.random.default_rng(lanes)
    assert ans.stock(ans.empty(lanes)) == 0
    for words in (0, 1, 300):
        message = random_message(lanes, words, rng)
        stock = ans.stock(message)
        assert type(stock) is int
        assert stock == pytest.approx(ans.bits(message) * (1 << 20), abs=2 * lanes + 1e-6 * (1 << 20))
        pushed = ans.push(message, [5] * 40, [1] * 40, 16)
        assert ans.stock(pushed) - stock == pytest.approx(40 * 16 << 20, abs=4 * lanes)
    edge = ans.Message(np.array([1 << 32, (1 << 64) - 1, 1 << 63], np.uint64), np.zeros(0, np.uint32))
    assert ans.stock(edge) == pytest.approx(63 << 20, abs=2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ans.empty(0), "one lane"),
        (lambda: ans.empty(1, -1), "seed"),
        (lambda: ans.empty(1, 1 << 32), "seed"),
        (lambda: ans.from_bytes(bytes(8), 0), "one lane"),
        (lambda: ans.push(ans.empty(), [0], [1], 0), "precision"),
        (lambda: ans.push(ans.empty(), [0], [1], 25), "precision"),
        (lambda: ans.push(ans.empty(), [0], [0], 8), "interval"),
        (lambda: ans.push(ans.empty(), [-1], [1], 8), "interval"),
        (lambda: ans.push(ans.empty(), [255], [2], 8), "interval"),
        (lambda: ans.push(ans.empty(), [1 << 62], [1 << 62], 8), "interval"),
        (lambda: ans.push(ans.empty(), [0, 1], [1], 8), "one length"),
        (lambda: ans.push(ans.empty(), [[0]], [[1]], 8), "flat"),
        (lambda: ans.pop_uniform(ans.empty(), 25, 1), "precision"),
        (lambda: ans.pop_with(ans.empty(), [0, 256], 8, 1), "cdfs must be"),
        (lambda: ans.pop_with(ans.empty(), [[0]], 8, 1), "cdfs must be"),
        (lambda: ans.pop_with(ans.empty(), [[0, 256]] * 2, 8, 3), "cdfs must be"),
    ],
)
def test_invalid(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_docstring_examples():
    result = doctest.testmod(ans)
    assert result.attempted
    assert not result.failed


# test_exact_words: these numbers are the file format. If they change, every file written before is unreadable.
HEADS = [79461482029108719, 4796422931087365]
WORDS = [76169081, 4133159420, 2837698837, 3808876285]
HEX = "efcdab01cc4d1a010500003d520a1100793f8a04fc015bf615d923a9fdd606e3"
