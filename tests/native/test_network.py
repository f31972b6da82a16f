"""Integer networks: every target gives the integers that int64 arithmetic gives, and refuses what breaks a bound."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TARGETS  # type: ignore[import-not-found]

from vlae_codec.contract import ACCUMULATOR_LIMIT
from vlae_codec.errors import WeightsError
from vlae_codec.models.export import quantise
from vlae_codec.native import library, network
from vlae_codec.native.library import CoreError, core
from vlae_codec.native.network import Layer, Network, Packed

COUNTS = (0, 1, 3, 4, 5, 6, 7, 31, 32, 33, 70)  # of rows: around what the targets take at once


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


def shifted(rng, digits, last, shift, inputs=9, outputs=5):
    """A layer of this shift, whose outputs vary at any of them."""
    weight = rng.integers(-128, 128, (inputs, digits * outputs), np.int8)
    reach = np.abs(weight.astype(np.int64)).sum(0).max() * 64 * 128 ** (digits - 1)
    size = min(((4000 if last else 128) << shift) // reach + 1, 1 << 20)
    addend = rng.integers(-(128 << shift), (128 << shift) + 1, outputs)
    limits = (np.full(outputs, v, np.int32) for v in (-3000, 3001)) if last else (None, None)
    return Layer(weight, rng.integers(0, size + 1, outputs), addend, shift, *limits)


def exact(net, rows):
    """The definition, in int64."""
    hidden = rows.astype(np.int64)
    for i, part in enumerate(net.layers):
        if net.skip and i == len(net.layers) - 1:
            hidden = np.concatenate([hidden, rows], axis=1)
        accumulator = hidden @ part.weight.astype(np.int64)
        assert np.abs(accumulator).max(initial=0) < ACCUMULATOR_LIMIT
        outputs = part.multiplier.size
        if accumulator.shape[1] == 2 * outputs:
            accumulator = 128 * accumulator[:, :outputs] + accumulator[:, outputs:]
        low, high = (-128, 127) if part.low is None else (part.low, part.high)
        hidden = ((accumulator * part.multiplier + part.addend) >> part.shift).clip(low, high)
    return hidden


def nets():
    """Networks of all widths and forms, by name."""
    rng = np.random.default_rng(0)
    found = {}
    sizes = [
        (37, 24, 11),
        (8, 16, 8),
        (1, 1, 1),
        (130, 33, 57),
        (64, 65, 128),
        (3, 32, 31),
        (66, 30, 1),
        (20, 200, 70),
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
        found[f"hidden-{inputs}"] = Network((*parts, two_digits(rng, hidden + inputs, outputs, False)), True)
    for last in (False, True):  # 1023 * 128 * 128 is the last below 2^24
        signs = np.where(rng.random((1023, 5)) < 0.5, -128, 127).astype(np.int8)
        signs[:, 0] = -128
        found[f"bound-{last}"] = Network((layer(rng, 1023, 5, last, signs),))
    for shift in (0, 20, 32, 33, 40):  # both digits of every sum at its bound, the greatest multipliers and addends
        signs = np.where(rng.random((1023, 6)) < 0.5, -128, 127).astype(np.int8)
        signs[:, :2], signs[:, 2:4] = 127, -128
        signs[:, 4:] = np.where(rng.random((1023, 2)) < 0.5, signs[:, :2], signs[:, 2:4])
        addend = np.array([1, -1, 1]) * ((1 << 60) - 1) if shift > 32 else np.array([0, 1, -5])
        limits = np.full(3, -(1 << 31), np.int32), np.full(3, (1 << 31) - 1, np.int32)
        found[f"limits-{shift}"] = Network((Layer(signs, np.full(3, 1 << 20), addend, shift, *limits),))
    for shift in range(41):
        for digits in (1, 2):
            found[f"shift-{shift}-{digits}"] = Network((shifted(rng, digits, True, shift),))
            found[f"shift-{shift}-{digits}-hidden"] = Network((shifted(rng, digits, False, shift),))
    for width in range(1, 68):  # around the panels of every target
        parts = two_digits(rng, 5, width, False), layer(rng, width, 68 - width)
        found[f"width-{width}"] = Network((*parts, layer(rng, 68 - width + 5, width, True)), True)
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


def test_products(target):
    """Every network, whatever ran in this memory before, and every number of rows."""
    for name, net in NETS.items():
        for part in net.layers:
            part.check(name)
        packed, dtype = Packed(net), np.int8 if net.layers[-1].low is None else np.int32
        for count in COUNTS if not name.startswith(("shift", "width")) else (0, 40):
            rows = rows_for(net, count)
            out = packed.run(rows)
            assert out.dtype == dtype
            assert np.array_equal(out, exact(net, rows)), (name, count)
        if rows.shape[1] > 1 and not name.startswith(("bound", "limits", "shift")):
            assert len(np.unique(out)) > 5, name  # the test sees something


def test_sanity():
    """The networks see the ends of every range: totals of 31 bits and more, and outputs at both limits."""
    seen = {name: set(exact(net, rows_for(net, 40)).ravel().tolist()) for name, net in NETS.items()}
    limits = set().union(*(found for name, found in seen.items() if name.startswith("limits")))
    assert {-(1 << 31), (1 << 31) - 1} < limits
    assert len(limits) > 100
    shifts = [found for name, found in seen.items() if name.startswith("shift")]
    assert sum(len(found) > 5 for found in shifts) > 0.9 * len(shifts)


def test_rows(target):
    """Neither the block a row falls into nor its company matters; rows need not lie together."""
    net = NETS["skip-37"]
    wide = np.random.default_rng(1).integers(-128, 128, (67, 74), np.int8)
    rows = np.ascontiguousarray(wide[:, ::2])
    packed = Packed(net)
    out = packed.run(rows)
    assert np.array_equal(out, packed.run(wide[:, ::2]))
    assert np.array_equal(out[5:], packed.run(rows[5:]))
    for i in range(0, len(rows), 9):
        assert np.array_equal(out[i : i + 1], packed.run(rows[i : i + 1]))
    assert np.array_equal(out[:66].reshape(6, 11, -1), packed.run(rows[:66].reshape(6, 11, -1)))
    for wrong in (rows[:, 1:], rows[0], rows[None, :, 1:]):
        with pytest.raises(ValueError, match="rows must be"):
            packed.run(wrong)


def test_another_target(target):
    """A network is packed again for each target; what was packed for another one is refused, or is the same."""
    net, rows = NETS["skip-37"], rows_for(NETS["skip-37"], 9)
    packed = Packed(net)
    memory, scratch, expected = packed.memory, packed.scratch(), packed.run(rows)
    assert packed.memory is memory
    for other in library.targets():
        library.use(other)
        out = np.zeros_like(expected)
        args = (rows.ctypes.data, len(rows), out.ctypes.data, scratch.ctypes.data, scratch.size)
        found = core.vlae_run(memory.ctypes.data, memory.size, *args)
        alike = np.array_equal(packed.memory, memory)
        assert found == (0 if alike else -2)
        assert np.array_equal(out, expected) == alike
        assert np.array_equal(packed.run(rows), expected)
    library.use(target)
    assert np.array_equal(packed.memory, memory)


def test_one_memory_for_all_threads(monkeypatch):
    """Threads that meet at a network's first use share what one of them packs: none puts away what others work in."""
    packed, all_asked = Packed(NETS["skip-37"]), threading.Barrier(4)

    def target():
        all_asked.wait()
        return library.target()

    monkeypatch.setattr(network, "target", target)
    with ThreadPoolExecutor(4) as pool:
        memories = list(pool.map(lambda _: packed.memory, range(4)))
    assert all(memory is memories[0] for memory in memories)


# ---------------------------------------------------------------------------------------------------- bounds


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


def test_unproved(target):
    """The core proves the bounds by itself."""
    good = Layer(**GOOD)
    Packed(Network((good,))).run(np.zeros((1, 3), np.int8))
    for change in (
        {"weight": np.full((1024, 2), -128, np.int8)},
        {"weight": np.full((1033, 2), 127, np.int8)},
        {"weight": np.full((1033, 4), [0, 0, 127, 0], np.int8)},  # the low digit of the first output
        {"weight": np.full((1033, 4), [0, 127, 0, 0], np.int8)},
        {"multiplier": np.array([-1, 5])},
        {"multiplier": np.array([0, (1 << 20) + 1])},
        {"multiplier": np.array([-(1 << 63), 0])},
        {"addend": np.array([0, 1 << 60])},
        {"addend": np.array([-(1 << 60), 0])},
        {"addend": np.array([-(1 << 63), 0])},
        {"addend": np.array([1, 2, 3])},
        {"multiplier": np.array([1])},
        {"multiplier": np.zeros(0, np.int64)},
        {"weight": np.full((3, 6), 5, np.int8)},
        {"weight": np.full(6, 5, np.int8)},
        {"low": np.zeros(1, np.int32), "high": np.zeros(2, np.int32)},
        {"low": np.zeros(2, np.int32), "high": np.zeros(3, np.int32)},
    ):
        packed = Packed(Network((replace(good, **change),)))
        for _ in range(2):  # nothing is kept of a failure
            with pytest.raises(WeightsError):
                packed.run(np.zeros((1, packed.inputs), np.int8))


def last_of(made):
    """The layer with limits."""
    outputs = made.multiplier.size
    return replace(made, low=np.full(outputs, -9, np.int32), high=np.full(outputs, 9, np.int32))


def square(size):
    return Layer(np.ones((size, size), np.int8), np.ones(size, np.int64), np.zeros(size, np.int64), 0)


@pytest.mark.parametrize("target", TARGETS[-1:], indirect=True)  # the check is in no target's own code
def test_malformed(target):
    """Layers that do not follow each other, and sizes beyond the limits."""
    three, wide = square(3), square(4)
    tall = replace(three, weight=np.ones((4097, 3), np.int8))
    broad = Layer(np.ones((1, 4097), np.int8), np.ones(4097, np.int64), np.zeros(4097, np.int64), 0)
    for layers, skip in (
        ((replace(three, shift=-1),), False),
        ((replace(three, shift=41),), False),
        ((three, wide), False),
        ((three, three), True),
        ((three,), True),
        ((last_of(three), three), False),
        ((three,) * 17, False),
        ((replace(last_of(three), low=None),), False),
        ((replace(last_of(three), high=None),), False),
        ((tall,), False),
        ((broad,), False),
        ((replace(three, weight=np.ones((0, 3), np.int8)),), False),
    ):
        with pytest.raises(CoreError, match="a network"):
            Packed(Network(layers, skip)).scratch()
    for most in ((three,) * 16, (replace(three, weight=np.zeros((4096, 3), np.int8)),)):
        packed = Packed(Network(most))
        assert packed.run(np.ones((1, packed.inputs), np.int8)).shape == (1, 3)


@pytest.mark.parametrize("field", ["weight", "multiplier", "addend", "low", "high"])
def test_types(field):
    """Arrays of other types or with gaps are refused before the core sees them."""
    good = last_of(square(4))
    for wrong in (getattr(good, field).astype(np.int16), np.repeat(getattr(good, field), 2, axis=-1)[..., ::2]):
        with pytest.raises(TypeError, match="contiguous"):
            Packed(Network((replace(good, **{field: wrong}),))).scratch()


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
    expected = [x[r : r + size, c : c + size].ravel() for r in range(0, height, size) for c in range(0, width, size)]
    given: Any
    for given in (x, torch.from_numpy(x), x[None], torch.from_numpy(x)[None, None]):
        rows = network.patches(given, size)
        assert rows.shape == (*given.shape[:-3], height // size, width // size, size * size * channels)
        assert np.array_equal(rows.reshape(len(expected), -1), expected)
        assert np.array_equal(network.unpatch(rows, size), given)


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
    assert np.array_equal(network.neighbours(x, outside), expected.reshape(height, width, 18))
