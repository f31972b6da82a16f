"""Codecs: both laws for each of them, exact lengths, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import check_codec, uniform  # type: ignore[import-not-found]

from vlae_codec.coder.codecs import Codec, after, bits_back, categorical, serial
from vlae_codec.errors import EmptyStack
from vlae_codec.native import ans

LANES = [1, 2, 7]
PRECISIONS = [1, 8, 16, 24]


def random_message(lanes, words, rng):
    heads = rng.integers(1 << 32, 1 << 64, lanes, dtype=np.uint64)
    return ans.Message(heads, rng.integers(0, 1 << 32, words, dtype=np.uint32))


def random_cdf(shape, symbols, precision, rng):
    """(*shape, symbols + 1), each frequency >= 1 and some of them huge or tiny."""
    weights = rng.exponential(size=(*shape, symbols)) ** 4
    inner = weights.cumsum(-1) / weights.sum(-1, keepdims=True) * ((1 << precision) - symbols)
    cdf = np.zeros((*shape, symbols + 1), np.int64)
    cdf[..., 1:] = np.floor(inner).astype(np.int64) + np.arange(1, symbols + 1)
    cdf[..., -1] = 1 << precision
    return cdf


def log2_p(cdf, symbol, precision):
    cdf, symbol = np.asarray(cdf), np.asarray(symbol)[..., None]
    freq = np.take_along_axis(cdf, symbol + 1, -1) - np.take_along_axis(cdf, symbol, -1)
    return float(np.log2(freq).sum() - precision * freq.size)


lanes_strategy = st.sampled_from(LANES)
precision_strategy = st.sampled_from(PRECISIONS)
shape_strategy = st.sampled_from([(), (1,), (5,), (0,), (2, 3), (3, 1, 4)])
seed_strategy = st.integers(0, 2**32)


@given(lanes_strategy, precision_strategy, shape_strategy, seed_strategy)
@settings(max_examples=50, deadline=None)
def test_uniform(lanes, precision, shape, seed):
    rng = np.random.default_rng(seed)
    symbol = rng.integers(0, 1 << precision, shape)
    bits = check_codec(uniform(precision, shape), random_message(lanes, 30, rng), symbol)
    assert bits == pytest.approx(precision * symbol.size, abs=1e-2)


@given(lanes_strategy, precision_strategy, shape_strategy, seed_strategy)
@settings(max_examples=50, deadline=None)
def test_categorical(lanes, precision, shape, seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, min(1 << precision, 300) + 1))
    symbol = rng.integers(0, size, shape)
    table = random_cdf(shape, size, precision, rng)
    bits = check_codec(categorical(table, precision), random_message(lanes, 30, rng), symbol)
    assert bits == pytest.approx(-log2_p(table, symbol, precision), rel=0.01, abs=0.1)
    shared = random_cdf((), size, precision, rng)
    check_codec(categorical(shared, precision, shape), random_message(lanes, 30, rng), symbol)


@given(lanes_strategy, precision_strategy, seed_strategy)
@settings(max_examples=30, deadline=None)
def test_serial_and_after(lanes, precision, seed):
    rng = np.random.default_rng(seed)
    tables = random_cdf((2,), 2, precision, rng)
    pair = after(categorical(tables[0], precision), lambda a: categorical(tables[int(a)], precision, (4,)))
    codec = serial([uniform(precision, (2, 3)), pair, serial([]), categorical(tables[1], precision)])
    u, a, b, c = rng.integers(0, 2, (2, 3)), rng.integers(0, 2, ()), rng.integers(0, 2, 4), rng.integers(0, 2, ())
    bits = check_codec(codec, random_message(lanes, 30, rng), [u, (a, b), [], c])
    ideal = precision * u.size - log2_p(tables[0], a, precision)
    ideal -= log2_p(np.broadcast_to(tables[int(a)], (4, 3)), b, precision) + log2_p(tables[1], c, precision)
    assert bits == pytest.approx(ideal, rel=0.01, abs=0.1)


def test_order():
    """A decoder meets the parts in the order in which they are listed: that of the first is on top."""
    a, b = np.array([3]), np.array([9])
    first, second = uniform(8, (1,)), uniform(4, (1,))
    for codec in (serial([first, second]), after(first, lambda a: second)):
        message, found = first.pop(codec.push(ans.empty(2), (a, b)))
        assert found == a
        assert second.pop(message)[1] == b


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("precision", [8, 16, 24])
def test_length(lanes, precision):
    rng = np.random.default_rng(precision)
    table = random_cdf((), 30, precision, rng)
    symbol = rng.choice(30, 4000, p=np.diff(table) / (1 << precision))
    message = categorical(table, precision, (4000,)).push(ans.empty(lanes), symbol)
    ideal = -log2_p(np.broadcast_to(table, (4000, 31)), symbol, precision)
    assert ans.bits(message) == pytest.approx(ideal, rel=1e-4)


class Mixture:
    """Three latent values, two observed variables of five: small enough to sum over everything.

    The posterior is blurred on purpose: -ELBO is then not -log p(x). It is coarser than the prior (8 bits, not 16), as
    it is popped right on top of the last datum's z, the case that the docstring of bits_back warns of.
    """

    def __init__(self, rng):
        weights = np.floor(rng.uniform(0.5, 1.5, 2) / 4 * (1 << 16)).astype(int)
        self.prior = np.concatenate([[0], np.cumsum(weights), [1 << 16]])
        self.likelihood = random_cdf((3, 2), 5, 16, rng)
        p = np.log2(np.diff(self.likelihood)) - 16
        self.log_likelihood = (p[:, 0, :, None] + p[:, 1, None, :]).reshape(3, 25)
        self.log_prior = np.log2(np.diff(self.prior)) - 16
        joint = np.exp2(self.log_likelihood + self.log_prior[:, None]).T
        blurred = 0.8 * joint / joint.sum(-1, keepdims=True) + 0.2 / 3
        inner = np.floor(np.cumsum(blurred, -1)[:, :-1] * 256).astype(int)
        self.posterior = np.hstack([np.zeros((25, 1), int), inner, np.full((25, 1), 256)])
        self.log_posterior = np.log2(np.diff(self.posterior)).T - 8
        self.cost = self.log_posterior - self.log_likelihood - self.log_prior[:, None]  # (3, 25)

    def codec(self, seen=None):
        def posterior(x):
            q = categorical(self.posterior[int(x[0]) * 5 + int(x[1])], 8)

            def pop(message):
                message, z = q.pop(message)
                if seen is not None:
                    seen.append(int(z))
                return message, z

            return Codec(q.push, pop)

        return bits_back(
            categorical(self.prior, 16),
            lambda z: categorical(self.likelihood[int(z)], 16),
            posterior,
        )


@given(lanes_strategy, seed_strategy)
@settings(max_examples=20, deadline=None)
def test_bits_back_laws(lanes, seed):
    rng = np.random.default_rng(seed)
    check_codec(Mixture(rng).codec(), random_message(lanes, 10, rng), rng.integers(0, 5, 2))


@pytest.mark.parametrize("lanes", [1, 7])
def test_bits_back_length_is_the_elbo(lanes):
    rng = np.random.default_rng(5)
    model = Mixture(rng)
    z = rng.choice(3, 3000, p=np.diff(model.prior) / (1 << 16))
    p = np.diff(model.likelihood) / (1 << 16)
    data = np.array([[rng.choice(5, p=p[k, 0]), rng.choice(5, p=p[k, 1])] for k in z])
    seen: list[int] = []
    codec = model.codec(seen)
    first = message = random_message(lanes, 10, rng)
    for x in data:
        message = codec.push(message, x)
    spent = ans.bits(message) - ans.bits(first)
    index = data[:, 0] * 5 + data[:, 1]
    assert spent == pytest.approx(model.cost[seen, index].sum(), rel=1e-4)  # of the latents that were coded
    elbo = -(np.exp2(model.log_posterior) * model.cost).sum(0)  # (25,)
    assert spent == pytest.approx(-elbo[index].sum(), rel=0.01)  # of all latents: the bits popped were a fair sample
    for x in data[::-1]:
        message, found = codec.pop(message)
        assert np.array_equal(found, x)
    assert message == first


def test_bits_back_needs_bits_to_start():
    codec = Mixture(np.random.default_rng(0)).codec()
    with pytest.raises(EmptyStack):
        codec.push(ans.empty(), np.array([0, 1]))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ([0, 0, 256], "frequency of 1"),  # zero frequencies must not pass in silence
        ([0, 10, 10, 256], "frequency of 1"),
        ([0, 256, 256], "frequency of 1"),
        ([0, 20, 10, 256], "frequency of 1"),
        ([[0, 1, 256], [0, 0, 256]], "frequency of 1"),
        ([1, 256], "from 0 to"),
        ([0, 255], "from 0 to"),
        ([0, 100, 257], "from 0 to"),
        ([0], "array of integers"),
        (256, "array of integers"),
        ([0.0, 256.0], "array of integers"),
    ],
)
def test_categorical_invalid_table(table, text):
    with pytest.raises(ValueError, match=text):
        categorical(table, 8)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: uniform(0), "precision"),
        (lambda: uniform(25), "precision"),
        (lambda: categorical([0, 1], 25), "precision"),
        (lambda: categorical([[0, 256]], 8, (3,)), "has its own"),
        (lambda: uniform(8, (2,)).push(ans.empty(), [1, 256]), "outside"),
        (lambda: uniform(8, (2,)).push(ans.empty(), [1, -1]), "outside"),
        (lambda: uniform(8, (2,)).push(ans.empty(), [1, 2, 3]), "shape"),
        (lambda: uniform(8, (2,)).push(ans.empty(), [1.5, 2.0]), "integers"),
        (lambda: categorical([0, 9, 256], 8).push(ans.empty(), 2), "outside"),
        (lambda: categorical([0, 9, 256], 8).push(ans.empty(), -1), "outside"),
        (lambda: serial([uniform(8)]).push(ans.empty(), []), "shorter"),
        (lambda: serial([uniform(8)]).push(ans.empty(), [1, 2]), "longer"),
    ],
)
def test_invalid(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_empty_pop_raises():
    for codec in (uniform(8, (3,)), categorical([0, 1, 256], 8, (3000,)), serial([uniform(1)] * 40)):
        with pytest.raises(EmptyStack):
            codec.pop(ans.empty(2))


def test_inputs_are_left_alone():
    rng = np.random.default_rng(0)
    table = random_cdf((6,), 9, 16, rng)
    symbol, message = rng.integers(0, 9, 6), random_message(2, 9, rng)
    before = table.copy(), symbol.copy(), ans.to_bytes(message)
    codec = categorical(table, 16)
    codec.push(message, symbol)
    codec.pop(message)
    assert np.array_equal(table, before[0])
    assert np.array_equal(symbol, before[1])
    assert ans.to_bytes(message) == before[2]
    table[:] = 0  # nor does a codec change when the caller reuses the table
    check_codec(codec, message, symbol)


def test_check_codec_finds_faults():
    good = uniform(8, (3,))
    message, symbol = random_message(1, 9, np.random.default_rng(0)), np.array([1, 2, 3])
    assert check_codec(good, message, symbol) == pytest.approx(24, abs=0.01)

    def wrong_symbol(message):
        message, symbol = good.pop(message)
        return message, symbol[::-1]

    def forgets(message):
        return message, good.pop(message)[1]

    def clips(message, symbol):  # right for small symbols only: seen from the message's side
        return good.push(message, np.minimum(symbol, 3))

    with pytest.raises(AssertionError, match="changed the symbol"):
        check_codec(Codec(good.push, wrong_symbol), message, symbol)
    with pytest.raises(AssertionError, match="push then pop gave back the symbol but changed the message"):
        check_codec(Codec(good.push, forgets), message, symbol)
    with pytest.raises(AssertionError, match="pop then push changed the message"):
        check_codec(Codec(clips, good.pop), message, symbol)
    with pytest.raises(EmptyStack):
        check_codec(good, ans.empty(), symbol)
