"""Our codecs on craystack's messages, and craystack's on ours.

`Theirs` is the form of craystack's messages and of its range ANS, written down from its papers: heads in [2^31, 2^63),
words of 32 bits in nested pairs, all lanes in one step, the lowest lane's word on top. Where craystack itself is
installed, with its package `codecs`, the same tests run with its codecs.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from vlae_codec.coder import codecs
from vlae_codec.coder.codecs import Codec
from vlae_codec.coder.craystack import codec_from_craystack, codec_to_craystack, from_craystack, to_craystack
from vlae_codec.errors import EmptyStack
from vlae_codec.native import ans

PRECISION = 12
LANES = 6
U64 = np.uint64


class Theirs:
    """Categorical codec of one symbol a lane, by craystack's formulas."""

    def __init__(self, frequencies: np.ndarray) -> None:
        self.cdf = np.concatenate([[0], np.cumsum(frequencies)]).astype(U64)
        assert self.cdf[-1] == 1 << PRECISION

    def push(self, message: Any, symbol: np.ndarray) -> Any:
        head, tail = message
        start, freq = self.cdf[symbol], self.cdf[symbol + 1] - self.cdf[symbol]
        full = head >= freq << U64(63 - PRECISION)
        if full.any():
            tail = (head[full].astype(np.uint32), tail)
            head = np.where(full, head >> U64(32), head)
        return (((head // freq << U64(PRECISION)) + head % freq + start, tail),)

    def pop(self, message: Any) -> tuple[Any, np.ndarray]:
        head, tail = message
        cf = head & U64((1 << PRECISION) - 1)
        symbol = np.searchsorted(self.cdf, cf, "right") - 1
        start, freq = self.cdf[symbol], self.cdf[symbol + 1] - self.cdf[symbol]
        head = freq * (head >> U64(PRECISION)) + cf - start
        short = np.flatnonzero(head.ravel() < 1 << 31)
        for lane in short:
            while not len(tail[0]):
                tail = tail[1]
            head.flat[lane] = head.flat[lane] << U64(32) | U64(tail[0][0])
            tail = (tail[0][1:], tail[1])
        return (head, tail), symbol


def flat(message: Any) -> list[int]:
    head, tail = message
    words = list(np.ravel(head))
    while len(tail):
        words += list(tail[0])
        tail = tail[1]
    return [int(word) for word in words]


def random_message(rng: np.random.Generator, words: int = 300, shape: tuple[int, ...] = (LANES,)) -> Any:
    head = rng.integers(1 << 31, 1 << 63, shape, dtype=U64)
    head.flat[0] = (1 << 31) + 5  # and one at the end of the interval
    tail: Any = ()
    for _ in range(3):  # several arrays, one of them empty
        tail = (rng.integers(0, 1 << 32, words // 3, dtype=np.uint32), (np.zeros(0, np.uint32), tail))
    return head, tail


def frequencies(rng: np.random.Generator, size: int) -> np.ndarray:
    cuts = np.sort(rng.choice(np.arange(1, 1 << PRECISION), size - 1, replace=False))
    return np.diff(np.concatenate([[0], cuts, [1 << PRECISION]]))


@pytest.fixture(params=["form", "craystack"])
def theirs(request: pytest.FixtureRequest) -> Any:
    """A function from frequencies to a codec of craystack."""
    if request.param == "form":
        return Theirs
    try:
        crayon = importlib.import_module("craystack.codecs")
    except ImportError:
        pytest.skip("craystack is not installed, or without its codecs")

    def categorical(frequencies: np.ndarray) -> Any:
        probabilities = np.broadcast_to(frequencies / (1 << PRECISION), (LANES, len(frequencies)))
        return crayon.Categorical(probabilities, PRECISION)

    return categorical


def pair(codec: Any) -> Codec:
    return Codec(codec.push, codec.pop)


def test_messages_are_the_same_numbers() -> None:
    rng = np.random.default_rng(1)
    for shape in ((LANES,), (2, 3), ()):
        message = random_message(rng, shape=shape)
        again = to_craystack(from_craystack(message), shape)
        assert again[0].shape == shape
        assert flat(again) == flat(message)
    ours = ans.Message(rng.integers(1 << 32, 1 << 64, 9, dtype=U64), rng.integers(0, 1 << 32, 50, dtype=np.uint32))
    ours.heads[0], ours.heads[1] = 1 << 32, (1 << 64) - 1
    assert from_craystack(to_craystack(ours)) == ours
    assert abs(ans.bits(from_craystack(message)) - np.log2(float(message[0])) + 32 - 32 * 300) < 1e-6


def test_too_few_words() -> None:
    fresh = np.full(3, 1 << 31, U64), (np.zeros(2, np.uint32), ())
    with pytest.raises(EmptyStack, match="random message"):
        from_craystack(fresh)


def test_same_length(theirs: Any) -> None:
    """The same symbols take the same room, whichever side codes them; not the same words, which move earlier here."""
    rng = np.random.default_rng(2)
    table = frequencies(rng, 7)
    mine = codecs.categorical(np.concatenate([[0], np.cumsum(table)]), PRECISION, (LANES,))
    other = pair(theirs(table))
    message = random_message(rng)
    borrowed, lent = codec_from_craystack(other), codec_to_craystack(mine)
    a, b = message, message
    for _ in range(200):
        symbol = rng.integers(0, 7, LANES)
        (a,) = other.push(a, symbol)
        (b,) = lent.push(b, symbol)
    start, ours, yours = (ans.bits(from_craystack(one)) for one in (message, b, a))
    assert ours - start > 1000
    assert ours == pytest.approx(yours, abs=0.1)
    borrowed_too = from_craystack(message)
    for _ in range(200):
        borrowed_too = borrowed.push(borrowed_too, rng.integers(0, 7, LANES))
    assert len(borrowed_too.words) > 300


def test_undone_both_ways(theirs: Any) -> None:
    rng = np.random.default_rng(3)
    other = pair(theirs(frequencies(rng, 5)))
    mine = codecs.categorical(np.concatenate([[0], np.cumsum(frequencies(rng, 9))]), PRECISION, (LANES,))
    borrowed, lent = codec_from_craystack(other, (LANES,)), codec_to_craystack(mine)
    for _ in range(50):
        message = random_message(rng)
        (pushed,) = lent.push(message, symbol := rng.integers(0, 9, LANES))
        back, found = lent.pop(pushed)
        assert np.array_equal(found, symbol)
        assert flat(back) == flat(message)
        popped, found = lent.pop(message)
        assert flat(lent.push(popped, found)[0]) == flat(message)
        ours = from_craystack(message)
        again, found = borrowed.pop(borrowed.push(ours, symbol % 5))
        assert again == ours
        assert np.array_equal(found, symbol % 5)
        popped_ours, found = borrowed.pop(ours)
        assert borrowed.push(popped_ours, found) == ours


def test_bits_back_with_their_prior(theirs: Any) -> None:
    rng = np.random.default_rng(4)
    prior = codec_from_craystack(pair(theirs(frequencies(rng, 4))))
    tables = [np.concatenate([[0], np.cumsum(frequencies(rng, 6))]) for _ in range(4)]
    back = [np.concatenate([[0], np.cumsum(frequencies(rng, 4))]) for _ in range(6)]

    def likelihood(z: np.ndarray) -> Codec:
        return codecs.categorical(np.stack([tables[int(one)] for one in z]), PRECISION)

    def posterior(x: np.ndarray) -> Codec:
        return codecs.categorical(np.stack([back[int(one)] for one in x]), PRECISION)

    codec = codecs.bits_back(prior, likelihood, posterior)
    first = message = from_craystack(random_message(rng))
    data = [rng.integers(0, 6, LANES) for _ in range(40)]
    for x in data:
        message = codec.push(message, x)
    for x in reversed(data):
        message, found = codec.pop(message)
        assert np.array_equal(found, x)
    assert message == first


def test_earlier_versions_return_the_message(theirs: Any) -> None:
    rng = np.random.default_rng(5)
    other = pair(theirs(frequencies(rng, 5)))
    earlier = Codec(lambda message, symbol: other.push(message, symbol)[0], other.pop)
    ours, symbol = from_craystack(random_message(rng)), rng.integers(0, 5, LANES)
    assert codec_from_craystack(earlier).push(ours, symbol) == codec_from_craystack(other).push(ours, symbol)
