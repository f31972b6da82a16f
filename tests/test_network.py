"""Integer networks: every backend gives the integers that int64 arithmetic gives."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vlae_codec import network
from vlae_codec.errors import VlaeError, WeightsError
from vlae_codec.models.export import quantise
from vlae_codec.network import BLOCK, Layer, Network


def layer(rng, inputs, outputs, last=False, weight=None):
    """Random, and scaled so that outputs cover their range."""
    weight = rng.integers(-128, 128, (inputs, outputs), np.int8) if weight is None else weight
    shift = int(rng.integers(10, 20))
    spread = np.abs(weight.astype(np.int64)).sum(0) * 40 + 1
    reach = 4000 if last else 128
    multiplier = np.minimum((reach << shift) // spread, 1 << 20) + 1
    addend = rng.integers(-(reach << shift), (reach << shift) + 1, outputs)
    limits = (np.full(outputs, v, np.int32) for v in (-3000, 3001)) if last else (None, None)
    return Layer(weight, multiplier, addend, shift, *limits)


def two_digits(rng, inputs, outputs, last):
    high = layer(rng, inputs, outputs, last)
    low = rng.integers(-64, 65, (inputs, outputs), np.int8)
    return replace(
        high, weight=np.concatenate([high.weight, low], axis=1), shift=high.shift + 7, addend=high.addend << 7
    )


def exact(net, rows):
    """The definition, in int64."""
    hidden = rows.astype(np.int64)
    for i, part in enumerate(net.layers):
        if net.skip and i == len(net.layers) - 1:
            hidden = np.concatenate([hidden, rows], axis=1)
        accumulator = hidden @ part.weight.astype(np.int64)
        assert np.abs(accumulator).max(initial=0) < network.ACCUMULATOR_LIMIT
        outputs = part.multiplier.size
        if accumulator.shape[1] == 2 * outputs:
            accumulator = 128 * accumulator[:, :outputs] + accumulator[:, outputs:]
        low, high = (-128, 127) if part.low is None else (part.low, part.high)
        hidden = ((accumulator * part.multiplier + part.addend) >> part.shift).clip(low, high)
    return hidden


def nets():
    rng = np.random.default_rng(0)
    found = {}
    for inputs, hidden, outputs in [(37, 24, 11), (8, 16, 8), (1, 1, 1), (130, 33, 57)]:
        found[f"skip-{inputs}"] = Network(
            (layer(rng, inputs, hidden), layer(rng, hidden, hidden), layer(rng, hidden + inputs, outputs, last=True)),
            skip=True,
        )
        found[f"single-{inputs}"] = Network((layer(rng, inputs, outputs),))
        found[f"last-{inputs}"] = Network((layer(rng, inputs, outputs, last=True),))
        for last in (False, True):
            found[f"digits-{inputs}-{last}"] = Network((two_digits(rng, inputs, outputs, last),))
    for last in (False, True):  # 1023 * 128 * 128 is the last below 2^24
        signs = np.where(rng.random((1023, 5)) < 0.5, -128, 127).astype(np.int8)
        signs[:, 0] = -128
        found[f"bound-{last}"] = Network((layer(rng, 1023, 5, last, signs),))
    return found


NETS = nets()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("count", [0, 1, 17, BLOCK + 1])
def test_backends(name, count, backend):
    net = NETS[name]
    for part in net.layers:
        part.check(name)
    inputs = net.layers[0].weight.shape[0]
    rows = np.random.default_rng(count).integers(-128, 128, (count, inputs), np.int8)
    rows[:1], rows[1:2] = -128, 127
    rows[2:3] = np.where(net.layers[0].weight[:, 0] < 0, -128, 127)
    forward = network.compiler(backend)(net)
    out = forward(rows)
    assert out.dtype == (np.int8 if net.layers[-1].low is None else np.int32)
    assert np.array_equal(out, exact(net, rows))
    if count > BLOCK and not name.startswith("bound"):
        assert len(np.unique(out)) > 5  # the test sees something


def test_blocks(backend):
    """Neither the block a row falls into nor its company matters."""
    net = NETS["skip-37"]
    rows = np.random.default_rng(1).integers(-128, 128, (2 * BLOCK + 3, 37), np.int8)
    forward = network.compiler(backend)(net)
    out = forward(rows)
    assert np.array_equal(out[5:], forward(rows[5:]))
    for i in (0, BLOCK - 1, BLOCK, 2 * BLOCK + 2):
        assert np.array_equal(out[i : i + 1], forward(rows[i : i + 1]))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("tf32", [False, True])
def test_gpu(name, tf32):
    net = NETS[name]
    rows = np.random.default_rng(2).integers(-128, 128, (5000, net.layers[0].weight.shape[0]), np.int8)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        assert np.array_equal(network.compiler("torch:cuda")(net)(rows), exact(net, rows))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


GOOD: dict[str, Any] = {
    "weight": np.full((3, 2), 5, np.int8),
    "multiplier": np.array([1, 1 << 20]),
    "addend": np.array([0, (1 << 60) - 1]),
    "shift": 40,
}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"weight": np.full((1024, 2), -128, np.int8)}, "accumulator bound"),
        ({"weight": np.full((1033, 2), 127, np.int8)}, "accumulator bound"),
        ({"multiplier": np.array([-1, 5])}, "malformed"),
        ({"multiplier": np.array([0, (1 << 20) + 1])}, "malformed"),
        ({"multiplier": np.array([1])}, "malformed"),
        ({"addend": np.array([0, 1 << 60])}, "malformed"),
        ({"addend": np.array([-(1 << 60), 0])}, "malformed"),
        ({"addend": np.array([1, 2, 3])}, "malformed"),
        ({"shift": -1}, "malformed"),
        ({"shift": 41}, "malformed"),
    ],
)
def test_invalid(bad, words):
    Layer(**GOOD).check("it")
    with pytest.raises(WeightsError, match=f"layer it .*{words}"):
        Layer(**{**GOOD, **bad}).check("it")


@pytest.mark.parametrize("backend", ["int4", "torch", "torch:", "cuda", "", "int8:cpu"])
def test_unknown_backend(backend):
    with pytest.raises(VlaeError, match="no backend"):
        network.compiler(backend)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("backend", ["torch:cuda", "torch:cuda:1", "torch:nonsense"])
def test_no_device(backend):
    with pytest.raises(VlaeError, match="torch has no device"):
        network.compiler(backend)


# ---------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("inputs", [1, 64, 3000])
@pytest.mark.parametrize("gain", [1e-3, 0.2, 20.0])
def test_quantise(inputs, gain):
    """The integer layer is the float one to half an output step and half a weight step times the inputs' sum."""
    rng = np.random.default_rng(inputs)
    outputs, out_unit, out_zero = 16, 1 / 64, -128.0
    weight = rng.normal(size=(outputs, inputs)) * gain / inputs**0.5
    weight[0] = 0
    weight[1] *= 1e-3
    bias = rng.normal(size=outputs)
    unit, zero = np.full(inputs, 1 / 16), np.where(np.arange(inputs) % 2, -128.0, 0.0)
    parts = quantise(weight, bias, unit, zero, out_unit, out_zero)
    made = Layer(parts["weight"], parts["multiplier"], parts["addend"], int(parts["shift"][0]))
    made.check("it")
    rows = rng.integers(-128, 128, (200, inputs), np.int8)
    out = exact(Network((made,)), rows)

    real = ((rows - zero) * unit) @ weight.T + bias
    real = (real / out_unit + out_zero).clip(-128, 127)
    scaled = np.abs(weight * unit)
    step = np.maximum(scaled.max(1) / 127, scaled.sum(1) * 128 / (2**24 - 1 - 64 * inputs))
    bound = 0.5 * step * np.abs(rows - zero).sum(1, keepdims=True) / out_unit
    relative = 0.5 / np.maximum(made.multiplier, 1)  # of the rounded multiplier
    bound = bound + relative * np.abs((rows - zero) @ parts["weight"].astype(float)) * step / out_unit
    assert np.all(np.abs(out - real) <= bound + 0.51)
    inner = (real > -120) & (real < 120)
    expected = np.sqrt((step / out_unit) ** 2 * ((rows - zero) ** 2).sum(1, keepdims=True) / 12 + 1 / 12)
    if inner.sum() > 100:
        assert np.sqrt((((out - real) / expected)[inner] ** 2).mean()) < 1.2


def test_quantise_digits():
    """Two digits: the same function to 15 bits."""
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(size=(9, 300)), rng.normal(size=9)
    unit, zero, out_unit = np.full(300, 1 / 64), np.full(300, -128.0), np.full(9, 1 / 64)
    parts = quantise(weight, bias, unit, zero, out_unit, 0.0, digits=2)
    limits = (np.full(9, v, np.int32) for v in (-(1 << 20), 1 << 20))
    made = Layer(parts["weight"], parts["multiplier"], parts["addend"], int(parts["shift"][0]), *limits)
    made.check("it")
    rows = rng.integers(-128, 128, (500, 300), np.int8)
    real = (((rows - zero) * unit) @ weight.T + bias) / out_unit
    error = exact(Network((made,)), rows) - real
    assert np.abs(error).max() < 2
    assert np.abs(real).max() > 1000


# ---------------------------------------------------------------------------------------------------- gathers


@pytest.mark.parametrize(("height", "width", "channels", "size"), [(4, 8, 3, 4), (6, 4, 1, 2), (1, 1, 5, 1)])
def test_patches(height, width, channels, size):
    x = np.random.default_rng(3).integers(-128, 128, (height, width, channels), np.int8)
    rows = network.patches(x, size)
    expected = [x[r : r + size, c : c + size].ravel() for r in range(0, height, size) for c in range(0, width, size)]
    assert np.array_equal(rows, expected)
    assert np.array_equal(network.unpatch(rows, height // size, width // size, size), x)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (5, 1), (3, 4)])
@pytest.mark.parametrize("outside", [0, -128])
def test_neighbours(height, width, outside):
    x = np.random.default_rng(4).integers(-128, 128, (height, width, 2), np.int8)
    expected = np.full((height * width, 9, 2), outside, np.int8)
    for r in range(height):
        for c in range(width):
            for j in range(9):
                nr, nc = r + j // 3 - 1, c + j % 3 - 1
                if 0 <= nr < height and 0 <= nc < width:
                    expected[r * width + c, j] = x[nr, nc]
    assert np.array_equal(network.neighbours(x, outside), expected.reshape(-1, 18))
