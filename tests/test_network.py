"""Integer networks: every product gives the integers that int64 arithmetic gives."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vlae_codec import network
from vlae_codec.errors import VlaeError, WeightsError
from vlae_codec.inference import kind_of
from vlae_codec.models.export import quantise
from vlae_codec.models.gradients import requantise
from vlae_codec.network import Layer, Network
from vlae_codec.simd import FLOAT32, HAS_INT8, INT8, PANEL, ROWS

KINDS = [FLOAT32] + [INT8] * HAS_INT8


def layer(rng, inputs, outputs, last=False, weight=None):
    """Random, and scaled so that outputs cover their range."""
    weight = rng.integers(-128, 128, (inputs, outputs), np.int8) if weight is None else weight
    shift = int(rng.integers(10, 20))
    spread = np.abs(weight.astype(np.int64)).sum(0) * 40 + 1
    reach = 4000 if last else 128
    multiplier = np.minimum((reach << shift) // spread + 1, 1 << 20)
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
    sizes = [
        (37, 24, 11),
        (8, 16, 8),
        (1, 1, 1),
        (130, 33, 57),
        (2 * PANEL, PANEL + 1, 2 * PANEL),
        (3, PANEL, PANEL - 1),
    ]
    for inputs, hidden, outputs in sizes:
        found[f"skip-{inputs}"] = Network(
            (layer(rng, inputs, hidden), layer(rng, hidden, hidden), layer(rng, hidden + inputs, outputs, last=True)),
            skip=True,
        )
        found[f"single-{inputs}"] = Network((layer(rng, inputs, outputs),))
        found[f"last-{inputs}"] = Network((layer(rng, inputs, outputs, last=True),))
        for last in (False, True):
            found[f"digits-{inputs}-{last}"] = Network((two_digits(rng, inputs, outputs, last),))
        parts = two_digits(rng, inputs, hidden, False), layer(rng, hidden, hidden)
        found[f"deep-{inputs}"] = Network(
            (*parts, layer(rng, hidden, 5), two_digits(rng, 5 + inputs, outputs, True)), True
        )
    for last in (False, True):  # 1023 * 128 * 128 is the last below 2^24
        signs = np.where(rng.random((1023, 5)) < 0.5, -128, 127).astype(np.int8)
        signs[:, 0] = -128
        found[f"bound-{last}"] = Network((layer(rng, 1023, 5, last, signs),))
    for shift in (0, 20, 40):  # both digits of every sum at its bound, the greatest multipliers and addends
        signs = np.where(rng.random((1023, 6)) < 0.5, -128, 127).astype(np.int8)
        signs[:, :2], signs[:, 2:4] = 127, -128
        signs[:, 4:] = np.where(rng.random((1023, 2)) < 0.5, signs[:, :2], signs[:, 2:4])
        addend = np.array([1, -1, 1]) * ((1 << 60) - 1) if shift == 40 else np.array([0, 1, -5])
        limits = np.full(3, -(1 << 31), np.int32), np.full(3, (1 << 31) - 1, np.int32)
        found[f"limits-{shift}"] = Network((Layer(signs, np.full(3, 1 << 20), addend, shift, *limits),))
    return found


NETS = nets()


def rows_for(net, count):
    """Random ones, and those that drive the first sums to both ends."""
    first = net.layers[0].weight
    rows = np.random.default_rng(count).integers(-128, 128, (count, len(first)), np.int8)
    rows[:1], rows[1:2] = -128, 127
    rows[2:3] = np.where(first[:, 0] < 0, -128, 127)
    rows[3:4] = np.where(first[:, 0] < 0, 127, -128)
    return rows


@pytest.fixture(params=KINDS, ids=["float32", "int8"][: len(KINDS)])
def kind(request):
    return request.param


@pytest.mark.parametrize("name", NETS)
def test_products(name, kind):
    net = NETS[name]
    for part in net.layers:
        part.check(name)
    packed, dtype = network.pack([net], kind), np.int8 if net.layers[-1].low is None else np.int32
    for count in (0, 1, ROWS - 1, ROWS, 10 * ROWS + 1):
        rows = rows_for(net, count)
        out = network.run(packed, 0, rows, dtype)
        assert out.dtype == dtype
        assert np.array_equal(out, exact(net, rows))
    if rows.shape[1] > 1 and not name.startswith(("bound", "limits")):
        assert len(np.unique(out)) > 5  # the test sees something


def test_limits(kind):
    """The greatest numbers that a layer may have: nothing on the way leaves its type."""
    seen = set()
    for name in NETS:
        if name.startswith("limits"):
            net = NETS[name]
            out = network.run(network.pack([net], kind), 0, rows_for(net, 40))
            assert np.array_equal(out, exact(net, rows_for(net, 40)))
            seen |= set(out.ravel().tolist())
    assert {-(1 << 31), (1 << 31) - 1} < seen
    assert len(seen) > 100


def test_several(kind):
    """Networks of all sizes in one `Packed`: each as if it were alone, whatever ran before it."""
    packed = network.pack(list(NETS.values()), kind)
    for which, net in reversed(list(enumerate(NETS.values()))):
        rows = rows_for(net, ROWS + 2)
        assert np.array_equal(network.run(packed, which, rows), exact(net, rows))


def test_rows(kind):
    """Neither the block a row falls into nor its company matters; rows need not lie together."""
    net = NETS["skip-37"]
    wide = np.random.default_rng(1).integers(-128, 128, (2 * ROWS + 3, 74), np.int8)
    rows = np.ascontiguousarray(wide[:, ::2])
    packed = network.pack([net], kind)
    out = network.run(packed, 0, rows)
    assert np.array_equal(out, network.run(packed, 0, wide[:, ::2]))
    assert np.array_equal(out[5:], network.run(packed, 0, rows[5:]))
    for i in range(len(rows)):
        assert np.array_equal(out[i : i + 1], network.run(packed, 0, rows[i : i + 1]))


def test_requantise():
    """What fits adapters forward takes the same sums to the same outputs."""
    for net in NETS.values():
        if len(net.layers) == 1:
            rows, (part,) = rows_for(net, 9), net.layers
            out = requantise((rows.astype(np.int64) @ part.weight).astype(np.int32), part)
            assert np.array_equal(out, exact(net, rows))


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


@pytest.mark.parametrize("product", ["int4", "torch", "torch:", "cuda", "", "int8:cpu", "FLOAT32"])
def test_unknown_product(product):
    with pytest.raises(VlaeError, match="no backend"):
        kind_of(product)


def test_fastest():
    assert kind_of("float32") == FLOAT32
    assert kind_of("cpu") == KINDS[-1]


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
