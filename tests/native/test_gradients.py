"""Bits and gradients of adapters: the core's are torch's, on every target, and the bits are the codec's own."""

from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

from vlae_codec.adapter import sample
from vlae_codec.adapter.autograd import autograd
from vlae_codec.adapter.chunk import adapt, merged, pack
from vlae_codec.errors import WeightsError
from vlae_codec.native import library, mixture
from vlae_codec.native.gradients import block_function
from vlae_codec.native.library import CoreError
from vlae_codec.native.network import Layer, Network
from vlae_codec.pictures import codec as codec_of

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


def near(one, other, tolerance=1e-4):
    """Gradients that differ by no more than such a share of their length, group by group."""
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == np.float32
        assert np.isfinite(a).all()
        if a.size:
            length = np.linalg.norm(b)
            assert length > 0
            assert np.linalg.norm(a - b) <= tolerance * length


@pytest.fixture(params=CASES)
def case(request, random_codec):
    """(codec, channels that are coded, pixels)."""
    changes, coded = CASES[request.param]
    codec = random_codec(**changes)
    tile = picture(codec.levels, codec.config["channels"], coded)
    return codec, coded, sample.draw(codec, [tile], coded, 10**6, 1)


def core_block(codec, made):
    factors = [(part.left, part.right, part.product, part.bias_unit) for part in made]
    return block_function(merged(codec.model.local, made), factors, codec.config["mixtures"], codec.config["channels"])


def torch_block(codec, made):
    return autograd(codec.model.local, made, codec.config["mixtures"], codec.config["channels"], "cpu")


def arguments(codec, pixels, coded):
    weights = np.random.default_rng(2).uniform(0.5, 3, len(pixels.rows)).astype(np.float32)
    return pixels.rows, pixels.values(), pixels.edges(codec.levels), weights, coded


@pytest.mark.parametrize("rank", [0, 1, 5, 17])
def test_gradients(each_target, case, rank):
    """Of fewer rows than a block has, of whole blocks and rests; a target is as near to another one."""
    codec, coded, pixels = case
    made = make_golden.some_adapter(codec.model.local, [rank] * len(codec.model.local.layers), most=4)
    given = arguments(codec, pixels, coded)
    for count in (3, 64, 77, len(given[0])):
        part = (*(array[:count] for array in given[:4]), coded)
        slow, others = torch_block(codec, made)(*part), []
        for _ in each_target():
            fast = core_block(codec, made)(*part)
            again = core_block(codec, made)(*part)
            assert fast[0].dtype == slow[0].dtype == np.float32
            assert fast[0] == pytest.approx(slow[0], rel=1e-4, abs=1e-4)
            near(fast[1], slow[1])
            assert np.array_equal(fast[0], again[0])
            assert all(map(np.array_equal, fast[1], again[1]))
            others.append(fast[0])
        for one in others:
            assert one == pytest.approx(others[0], rel=2e-5, abs=2e-5)


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
    spent = core_block(codec, made)(*arguments(codec, pixels, coded))[0]
    adapted = codec_of.with_adapter(codec, pack(made, codec.model.tables))
    exact = sample.bits(adapted, pixels, np.arange(len(pixels.rows)), coded)
    assert spent.sum() == pytest.approx(exact.sum(), rel=1e-3)
    plain = sample.bits(codec, pixels, np.arange(len(pixels.rows)), coded)
    assert np.abs(spent - exact).mean() < 0.1 * np.abs(plain - exact).mean()  # the adapter is seen


@pytest.mark.parametrize("towards", [-127, 127])
def test_extreme_scales(target, random_codec, towards):
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
    scales = codec_of.with_adapter(codec, pack(made, codec.model.tables)).nets.local(pixels.rows)[:, 8:14]
    assert np.all(scales == (low if towards < 0 else high)[8:14])
    fast, slow = (form(codec, made)(*arguments(codec, pixels, 3)) for form in (core_block, torch_block))
    assert np.isfinite(fast[0]).all()
    assert fast[0] == pytest.approx(slow[0], rel=1e-4, abs=1e-4)
    near(fast[1], slow[1])


def test_parts(target, random_codec):
    """The gradient of some rows is the sum of those of its parts, and nothing of no rows."""
    codec = random_codec()
    pixels = sample.draw(codec, [picture(256, 3, 3)], 3, 10**6, 1)
    made = make_golden.some_adapter(codec.model.local, [2, 2])
    given, block = arguments(codec, pixels, 3), core_block(codec, made)
    spent, whole = block(*given)
    parts = [block(*(array[rows] for array in given[:4]), 3) for rows in (slice(0, 100), slice(100, None))]
    assert np.array_equal(np.concatenate([part[0] for part in parts]), spent)
    near([a + b for a, b in zip(parts[0][1], parts[1][1])], whole, 1e-5)
    spent, nothing = block(*(array[:0] for array in given[:4]), 3)
    assert spent.shape == (0,)
    assert not any(group.any() for group in nothing)


def test_idle(target, random_codec):
    """Pixels of no weight have bits and no gradient."""
    codec = random_codec()
    pixels = sample.draw(codec, [picture(256, 3, 3)], 3, 10**6, 1)
    made = make_golden.some_adapter(codec.model.local, [2, 2])
    rows, values, edges, weights, _ = arguments(codec, pixels, 3)
    spent, gradient = core_block(codec, made)(rows, values, edges, weights * 0, 3)
    assert np.array_equal(spent, core_block(codec, made)(rows, values, edges, weights, 3)[0])
    assert not any(group.any() for group in gradient)


def test_invalid(random_codec):
    """Arrays of different pixels, channels that there are not, and an adapter that breaks the bound."""
    codec = random_codec()
    pixels = sample.draw(codec, [picture(256, 3, 3)], 3, 10**6, 1)
    made = make_golden.some_adapter(codec.model.local, [2, 2])
    rows, values, edges, weights, _ = given = arguments(codec, pixels, 3)
    block = core_block(codec, made)
    for wrong in (
        (rows[1:], values, edges, weights, 3),
        (rows, values[1:], edges, weights, 3),
        (rows, values[:, :2], edges[:, :2], weights, 3),
        (rows, values, edges[:, :2], weights, 3),
        (rows, values, edges, weights[1:], 3),
        (rows[:, 1:], values, edges, weights, 3),
    ):
        with pytest.raises(ValueError, match=r"different pixels|rows must be"):
            block(*wrong)
    for coded in (0, 4, -1):
        with pytest.raises(CoreError, match="a fit"):
            block(*given[:4], coded)
    before, others = library.target(), set(library.targets()) - {"sse2", "generic", library.target()}
    for other in others:  # it was made for another target
        library.use(other)
        with pytest.raises(CoreError, match="a fit"):
            block(*given)
    library.use(before)
    factors = [(part.left, part.right, part.product, part.bias_unit) for part in made]
    for form in ((3, 3), (2, 4), (65, 3), (0, 3), (2, 0)):  # mixtures and channels that the outputs do not hold
        with pytest.raises((CoreError, ValueError)):
            block_function(merged(codec.model.local, made), factors, *form)(*given)
    numbers = np.ones(3, np.int64), np.zeros(3, np.int64)
    wide = Layer(np.full((1033, 3), 127, np.int8), *numbers, 0, *mixture.parameter_limits(1, 1, True))
    with pytest.raises(WeightsError, match="bound"):
        block_function(Network((wide,)), [(np.zeros((1033, 0)), np.zeros((0, 3)), 0, 0)], 1, 1)


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


@pytest.mark.parametrize(("channels", "coded", "mixtures"), [(3, 3, 3), (3, 1, 2), (1, 1, 1), (1, 1, 4), (3, 3, 5)])
def test_mixture_gradient(target, channels, coded, mixtures):
    """Finite differences of a plain likelihood, on both sides of the mean and at both ends of the alphabet.

    Row i of the network's inputs has a one at place i, and so the parameters of its outputs are the weights there; the
    gradient by the bias is that by the parameters.
    """
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
    )
    values = rng.normal(0, 8, (count, channels)).astype(np.float32)
    edges = rng.choice([0, 0, 1, 2], (count, channels)).astype(np.int8)
    weights = rng.uniform(0.5, 2, count).astype(np.float32)
    outputs, digits = params.shape[1], np.concatenate([(params + 64) >> 7, (params + 64) % 128 - 64], axis=1)
    numbers = np.ones(outputs, np.int64), np.zeros(outputs, np.int64)
    layer = Layer(digits.astype(np.int8), *numbers, 0, *mixture.parameter_limits(mixtures, channels, True))
    factors = [(np.zeros((count, 0), np.int8), np.zeros((0, outputs), np.int8), 0, 0)]
    block, rows = block_function(Network((layer,)), factors, mixtures, channels), np.eye(count, dtype=np.int8)
    found = [block(rows[i], values[i], edges[i], weights[i], coded) for i in (slice(i, i + 1) for i in range(count))]
    spent, gradient = np.concatenate([one[0] for one in found]), np.stack([one[1][2] for one in found])

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
