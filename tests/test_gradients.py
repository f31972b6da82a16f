"""Bits and gradients of adapters: the compiled ones are torch's, and the bits are the codec's own."""

from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

from vlae_codec import modes
from vlae_codec.adapter import adapt, pack
from vlae_codec.models import sample
from vlae_codec.models.gradients import Autograd, Compiled, mixture_gradient

CASES: dict[
    str, tuple[dict, int]
] = {  # what the configuration has otherwise than the tiny model's, and how many channels are coded
    "rgb": ({}, 3),
    "grey in rgb": ({}, 1),
    "grey": ({"channels": 1}, 1),
    "bilevel": ({"levels": 2, "channels": 1}, 1),
    "deep": ({"layers": 3, "hidden": 21, "mixtures": 3, "window": (7, 2)}, 3),
}


def picture(levels, channels, coded):
    """Smooth parts, noise and both ends of the alphabet."""
    pixels = make_golden.synthetic(24, 40, 1)
    pixels[:6] = 0
    pixels[6:12, ::3] = 255
    pixels[12:14] = 255
    pixels = pixels if coded > 1 else np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., :channels] if levels == 256 else pixels[..., :channels] > 128).astype(
        np.uint8
    )


def near(one, other, cosine=0.999):
    """Gradients that point the same way, group by group, and are as long."""
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == np.float32
        if a.size:
            lengths = np.linalg.norm(a), np.linalg.norm(b)
            assert a.ravel() @ b.ravel() > cosine * lengths[0] * lengths[1] > 0
            assert lengths[0] == pytest.approx(lengths[1], rel=0.05)


@pytest.fixture(params=CASES)
def case(request, random_codec):
    """(codec, channels that are coded, pixels)."""
    changes, coded = CASES[request.param]
    codec = random_codec(**changes)
    tile = picture(codec.levels, codec.config["channels"], coded)
    return codec, coded, sample.draw(codec, [tile], coded, 10**6, 1)


def both(codec, made):
    network, mixtures = codec.model.local, codec.config["mixtures"]
    return Compiled(network, mixtures).at(made), Autograd(network, mixtures, codec.config["channels"], "cpu").at(made)


def arguments(codec, pixels, coded):
    weights = np.random.default_rng(2).uniform(0.5, 3, len(pixels.rows)).astype(np.float32)
    return pixels.rows, pixels.values(), pixels.edges(codec.levels), weights, coded


@pytest.mark.parametrize("rank", [0, 1, 5])
def test_compiled(case, rank):
    codec, coded, pixels = case
    network = codec.model.local
    made = make_golden.some_adapter(network, [rank] * len(network.layers), most=4)
    fast, slow = (block(*arguments(codec, pixels, coded)) for block in both(codec, made))
    assert fast[0].dtype == slow[0].dtype == np.float32
    assert fast[0] == pytest.approx(slow[0], rel=1e-3, abs=1e-3)
    near(fast[1], slow[1])


@pytest.mark.parametrize("changes", [None, {"channels": 1}, {"levels": 2, "channels": 1}])
@pytest.mark.parametrize("coded", [1, 3])
def test_bits(tiny_codec, random_codec, changes, coded):
    """What is minimised is what the file will hold.

    Not to the bit: where a pixel surprises all but one component, the codec's 12 bits for their weights are coarse.
    """
    codec = tiny_codec if changes is None else random_codec(**changes)
    coded = min(coded, codec.config["channels"])
    pixels = sample.draw(codec, [picture(codec.levels, codec.config["channels"], coded)], coded, 10**6, 1)
    network = codec.model.local
    made = make_golden.some_adapter(network, [2] * len(network.layers), most=15)
    spent = both(codec, made)[1](*arguments(codec, pixels, coded))[0]
    adapted = modes.with_adapter(codec, pack(made, codec.model.tables))
    exact = sample.bits(adapted, pixels.rows, pixels.offsets, pixels.symbols, coded)
    assert spent.sum() == pytest.approx(exact.sum(), rel=1e-3)
    plain = sample.bits(codec, pixels.rows, pixels.offsets, pixels.symbols, coded)
    assert np.abs(spent - exact).mean() < 0.1 * np.abs(plain - exact).mean()  # the adapter is seen


@pytest.mark.parametrize("towards", [-127, 127])
def test_extreme_scales(random_codec, towards):
    """Scales and locations at the ends of their ranges: both agree, and nothing is infinite."""
    codec = random_codec()
    pixels = sample.draw(codec, [picture(256, 3, 3)], 3, 10**6, 1)
    network = codec.model.local
    made = make_golden.some_adapter(network, [1, 1], most=3)
    made[1].bias[2:8] = 60  # of locations, by 60 * 2^4 / 64 levels
    made[1].bias[8:14] = towards
    made = (made[0], replace(made[1], bias_unit=4))
    layer = adapt(network, made).layers[1]
    low, high = layer.low, layer.high
    assert low is not None
    assert high is not None
    scales = modes.with_adapter(codec, pack(made, codec.model.tables)).nets.local(pixels.rows)[:, 8:14]
    assert np.all(scales == (low if towards < 0 else high)[8:14])
    fast, slow = (block(*arguments(codec, pixels, 3)) for block in both(codec, made))
    assert np.isfinite(fast[0]).all()
    assert fast[0] == pytest.approx(slow[0], rel=2e-3, abs=2e-3)
    assert all(np.isfinite(group).all() for group in fast[1])
    near(fast[1], slow[1], cosine=0.99)


def test_refresh(random_codec):
    """Between refreshes the backward pass may be of an older adapter; the bits are always of this one."""
    codec = random_codec()
    pixels = sample.draw(codec, [picture(256, 3, 3)], 3, 10**6, 1)
    network = codec.model.local
    gradients = Compiled(network, codec.config["mixtures"])
    for salt in range(3):
        made = make_golden.some_adapter(network, [2, 2], salt=salt)
        spent, _ = gradients.at(made)(*arguments(codec, pixels, 3))
        assert np.array_equal(spent, both(codec, made)[0](*arguments(codec, pixels, 3))[0])


# ---------------------------------------------------------------------------------------------------- the mixture


def reference(row, values, edges, mixtures, coded):
    """Bits of one row, in float64, without the tricks."""
    channels = len(values)
    pairs = channels * (channels - 1) // 2
    logits, locs, scales, coefs = np.split(row, np.cumsum([mixtures, mixtures * channels, mixtures * channels]))
    locs, scales = locs.reshape(-1, channels) / 64, 2 ** (scales.reshape(-1, channels) / 16 - 4)
    coefs = coefs.reshape(mixtures, pairs) / 256
    total = np.exp(logits / 32) / np.exp(logits / 32).sum()
    pair = 0
    for c in range(channels):
        mean = locs[:, c].copy()
        for earlier in range(c):
            mean += coefs[:, pair] * values[earlier]
            pair += 1
        if c < coded:
            below = 0 if edges[c] == 1 else 1 / (1 + np.exp(-(values[c] - 0.5 - mean) / scales[:, c]))
            above = 1 if edges[c] == 2 else 1 / (1 + np.exp(-(values[c] + 0.5 - mean) / scales[:, c]))
            total = total * (above - below + 2.0**-24)
    return -np.log2(total.sum())


@pytest.mark.parametrize(("channels", "coded", "mixtures"), [(3, 3, 3), (3, 1, 2), (1, 1, 1), (1, 1, 4)])
def test_mixture_gradient(channels, coded, mixtures):
    """Finite differences of a plain likelihood, on both sides of the mean and at both ends of the alphabet."""
    rng = np.random.default_rng(3)
    count, pairs = 60, channels * (channels - 1) // 2
    params = np.concatenate(
        [
            rng.integers(-60, 60, (count, mixtures)),
            rng.integers(-600, 600, (count, mixtures * channels)),
            rng.integers(60, 150, (count, mixtures * channels)),
            rng.integers(-250, 250, (count, mixtures * pairs)),
        ],
        axis=1,
    ).astype(np.int32)
    values = rng.normal(0, 8, (count, channels)).astype(np.float32)
    edges = rng.choice([0, 0, 1, 2], (count, channels)).astype(np.int8)
    weights = rng.uniform(0.5, 2, count).astype(np.float32)
    spent, gradient = np.empty(count, np.float32), np.empty(params.shape, np.float32)
    mixture_gradient(params, values, edges, mixtures, coded, weights, spent, gradient)

    def bits(rows):
        return np.array([reference(r, v, e, mixtures, coded) for r, v, e in zip(rows, values.astype(float), edges)])

    assert spent == pytest.approx(bits(params.astype(float)), rel=1e-4, abs=1e-4)
    for p in range(params.shape[1]):
        step = 0.01 * np.eye(params.shape[1])[p]
        slope = weights * (bits(params + step) - bits(params - step)) / 0.02
        assert gradient[:, p] == pytest.approx(slope, rel=2e-3, abs=2e-5), p
    if coded < channels:
        idle = np.zeros(mixtures * channels, bool).reshape(-1, channels)
        idle[:, coded:] = True
        assert not gradient[:, mixtures:][:, np.tile(idle.ravel(), 2).nonzero()[0]].any()
