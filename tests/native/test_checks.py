"""What the core refuses: every length, index and number that is out of its range, by its own checks.

Python's wrappers would stop some of it earlier, so the functions are called with structs of their own.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_mixture import TABLES, random_message, random_rows  # type: ignore[import-not-found]
from test_waves import some_intervals  # type: ignore[import-not-found]

from vlae_codec.adapter.chunk import zeros
from vlae_codec.contract import SLACK
from vlae_codec.native import ans, mixture
from vlae_codec.native.gradients import PAD
from vlae_codec.native.library import (
    MAX_STEPS,
    FitLayerStruct,
    FitStruct,
    LayerStruct,
    TablesStruct,
    aligned,
    core,
)
from vlae_codec.native.network import Layer, Network, Packed, layer_struct

BAD = -2  # VLAE_ARGUMENT
HUGE = (1 << 31) - 1
kept: list[Any] = []  # what structs point to


def other(struct: Any, **changes: Any) -> Any:
    """A copy of a struct with some fields changed."""
    made = type(struct).from_buffer_copy(struct)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data


Call = Callable[..., int]


def caller(function: Any, **good: Any) -> Call:
    """A call of a function of the core: with good arguments, or with some of them changed. It holds the arrays."""

    def call(**changes: Any) -> int:
        assert set(changes) <= set(good)
        given = [changes.get(name, value) for name, value in good.items()]
        return int(function(*(address(v) if isinstance(v, np.ndarray) else v for v in given)))

    return call


def refused(call: Call, *changes: dict[str, Any]) -> None:
    """The good arguments are taken before and after, and each change is refused."""
    assert call() >= 0
    for change in changes:
        assert call(**change) == BAD, change
    assert call() >= 0


def fields(argument: str, struct: Any, **values: list[Any]) -> list[dict[str, Any]]:
    """An argument with each of the values in each of the fields."""
    return [{argument: other(struct, **{name: value})} for name, found in values.items() for value in found]


def stack_of(message: ans.Message, more: int = 0) -> Any:
    """A stack that nobody else has."""
    kept.append(ans.Stack(message, more))
    return kept[-1].struct


def bad_tables() -> list[TablesStruct]:
    """Tables that are not there, and weights that are no divisors."""
    found = [other(TABLES.struct, **{name: None}) for name in TABLES._fields]
    for at, value in ((0, 0), (511, 0), (77, -1), (3, 4097)):
        wrong = TABLES.exp.copy()
        wrong[at] = value
        kept.append(wrong)
        found.append(other(TABLES.struct, exp=wrong.ctypes.data))
    return found


def bad_memory(argument: str, memory: np.ndarray, size: str) -> list[dict[str, Any]]:
    """Memory that is not there, is not aligned, or is too small by a byte."""
    return [{argument: None}, {argument: memory[1:]}, {size: memory.size - 1}, {size: 0}, {size: -1}]


def bad_stacks(stack: ans.Stack) -> list[dict[str, Any]]:
    struct = stack.struct.contents
    changes: dict[str, list[Any]] = {"heads": [None], "lanes": [0, -1], "size": [-1, struct.room + 1], "room": [-1]}
    return fields("stack", struct, **changes)


# ---------------------------------------------------------------------------------------------------- the library


def test_targets():
    """Names that do not fit are an error; nothing behind the buffer is written."""
    names = ctypes.create_string_buffer(b"?" * 99)
    assert core.vlae_targets(names, 99) == 0
    needed = len(names.value) + 2
    for size in range(needed):
        names = ctypes.create_string_buffer(b"?" * 99)
        core.vlae_targets(names, size)
        assert names.raw[max(size, 1) :].strip(b"?\0") == b""
    assert core.vlae_targets(names, 1) == BAD
    for name in (b"", b"none", b"avx", b"generic "):
        assert core.vlae_use(name) == BAD


def test_constants():
    values = np.full(99, 77, np.int32)
    count = core.vlae_constants(values.ctypes.data, 3)
    assert 3 < count < 99
    assert np.all(values[3:] == 77)
    assert core.vlae_constants(None, 0) == count
    assert core.vlae_constants(values.ctypes.data, 99) == count
    assert np.all(values[count:] == 77)


# ---------------------------------------------------------------------------------------------------- networks


@pytest.fixture
def net(random_codec):
    return random_codec().nets.pixels.setting.net


def test_pack(net):
    layers = (LayerStruct * 17)(*(layer_struct(layer) for layer in net.network.layers))
    memory = aligned(net.memory.size)
    size = caller(core.vlae_pack_size, layers=layers, count=2, skip=1)
    counts: list[dict[str, Any]] = [{"count": 0}, {"count": -1}, {"count": 17}, {"count": 1}, {"skip": 0}]
    refused(size, *counts)
    pack = caller(core.vlae_pack, layers=layers, count=2, skip=1, net=memory, size=memory.size)
    small: list[dict[str, Any]] = [{"net": None}, {"net": memory[1:]}, {"size": 0}, {"size": -1}, {"size": 999}]
    refused(pack, *counts, *small)
    sizes = {"inputs": [0, 4097, 5], "outputs": [0, 4097, -1], "digits": [0, 3], "shift": [-1, 41]}
    for name, values in sizes.items():
        for value in values:
            for which in range(2):
                wrong = (LayerStruct * 2)(*layers[:2])
                setattr(wrong[which], name, value)
                assert size(layers=wrong) == BAD
                assert pack(layers=wrong) == BAD
                assert core.vlae_scratch_size(memory.ctypes.data, memory.size, 0, 1, 1) == BAD  # it does not run
    limits = layers[1].low, layers[1].high
    for which, low, high in ((1, None, limits[1]), (1, limits[0], None), (0, *limits)):
        wrong = (LayerStruct * 2)(*layers[:2])
        wrong[which].low, wrong[which].high = low, high
        assert size(layers=wrong) == BAD
    assert pack() == 0


def test_no_more_than_packed(target, net):
    """What `pack_size` says is enough on every target, and a byte less than what is needed is refused."""
    layers = (LayerStruct * 2)(*(layer_struct(layer) for layer in net.network.layers))
    size = core.vlae_pack_size(layers, 2, 1)
    memory = aligned(size + 64)
    memory[:] = 99
    assert core.vlae_pack(layers, 2, 1, memory.ctypes.data, size) == 0
    needed = int.from_bytes(memory[:8].tobytes(), sys.byteorder)  # the header begins with it
    assert needed <= size
    assert np.all(memory[needed:] == 99)
    assert core.vlae_pack(layers, 2, 1, memory.ctypes.data, needed) == 0
    assert core.vlae_pack(layers, 2, 1, memory.ctypes.data, needed - 1) == BAD


def bad_nets(net, argument="net", size="net_size"):
    """A packed network that is not there, is cut, is not aligned, is none, or is of another target."""
    memory, nothing, foreign = net.memory, aligned(net.memory.size), aligned(net.memory.size)
    nothing[:] = 0
    foreign[:] = memory
    foreign[28:60] ^= 1  # of the header
    kept.extend([nothing, foreign])
    changes: list[dict[str, Any]] = [{argument: None}, {argument: memory.ctypes.data + 1}, {size: 0}, {size: -1}]
    changes += [{size: int.from_bytes(memory[:8].tobytes(), sys.byteorder) - 1}, {argument: nothing.ctypes.data}]
    return [*changes, {argument: foreign.ctypes.data}]


def test_run(target, net):
    rows, out, scratch = np.zeros((7, net.inputs), np.int8), np.zeros((7, net.outputs), np.int32), net.scratch()
    memory = {"net": net.memory, "net_size": net.memory.size}
    call = caller(core.vlae_run, **memory, rows=rows, n=7, out=out, scratch=scratch, size=scratch.size)
    refused(call, *bad_nets(net), {"n": -1}, *bad_memory("scratch", scratch, "size"))
    size = caller(core.vlae_scratch_size, **memory, rows=0, lanes=1, channels=1)
    numbers: list[dict[str, Any]] = [{"rows": -1}, {"rows": (1 << 15) + 1}, {"lanes": 0}, {"lanes": -1}]
    refused(size, *bad_nets(net), *numbers, {"channels": 0}, {"channels": 33})


def test_merge(target, net):
    layer, rank = net.network.layers[1], 3
    left, right = np.ones((len(layer.weight), rank), np.int8), np.ones((rank, layer.multiplier.size), np.int8)
    call = caller(
        core.vlae_merge,
        layer=layer_struct(layer),
        left=left,
        right=right,
        rank=rank,
        product=0,
        zero=zeros(net.network)[1],
        merged=np.zeros_like(layer.weight),
        moved=np.zeros(layer.multiplier.size, np.int64),
        scratch=np.zeros(layer.multiplier.size, np.int32),
    )
    sizes = {"inputs": [0, -1, 4097], "outputs": [0, -1, 4097], "digits": [0, 3]}
    numbers = [{"rank": -1}, {"rank": 129}, {"product": -31}, {"product": 9}]
    refused(call, *fields("layer", layer_struct(layer), **sizes), *numbers)


# ---------------------------------------------------------------------------------------------------- distributions

ROWS: dict[str, list[Any]] = {
    "n": [-1],
    "mixtures": [0, -1, 65],
    "channels": [0, -1, 33],
    "coded": [-1, 4],
    "levels": [0, 1, (1 << 16) + 1, 1 << 24, -2, HUGE],
    "columns": [0, 19],
}


def far_rows(rows: Any) -> list[dict[str, Any]]:
    """Rows that one bound alone refuses: all else would fit them."""
    found = [{"mixtures": 65, "columns": 1 << 20}, {"channels": 0, "coded": 0}]
    found += [{"channels": 33, "columns": 1 << 20, "n": 0}, {"levels": (1 << 16) + 1}]
    return [{"rows": other(rows, **changes)} for changes in found]


def some_rows(n=9):
    params, offsets, outers = random_rows(np.random.default_rng(1), n, 2, 3, 64)
    kept.extend([params, offsets, outers])
    return mixture.Rows(params, offsets, outers, 2, True, 64, 3, TABLES).struct


def bad_outers():
    for at, value in ((0, -1), (26, 192), (13, HUGE)):
        outers = np.full((9, 3), 64, np.int32)
        outers.flat[at] = value
        kept.append(outers)
        yield {"rows": other(some_rows(), outers=outers.ctypes.data)}


def bad_shifts():
    for at, value in ((0, -1), (8, 11), (4, HUGE)):
        shifts = np.zeros(9, np.int32)
        shifts[at] = value
        kept.append(shifts)
        yield {"rows": other(some_rows(), shifts=shifts.ctypes.data)}


def bad_numbers():
    """One parameter, of each kind, or one offset beyond its limit."""
    low, high = mixture.parameter_limits(2, 3, True)
    for limits, step in ((low, -1), (high, 1)):
        for at in (0, 1, 2, 7, 8, 13, 14, 19):
            params = np.zeros((9, len(limits)), np.int32)
            params[4, at] = limits[at] + step
            kept.append(params)
            yield {"rows": other(some_rows(), params=params.ctypes.data)}
        offsets = np.zeros((9, 3), np.int32)
        offsets[8, 2] = step * ((1 << 22) + 1)
        kept.append(offsets)
        yield {"rows": other(some_rows(), offsets=offsets.ctypes.data)}


def odd_symbols(rows, symbols):
    """Symbols of two bytes at an odd address."""
    memory = np.zeros(2 * symbols.size + 1, np.uint8)[1:]
    kept.append(memory)
    assert memory.ctypes.data % 2
    return {"rows": other(rows, levels=257), "symbols": memory}


def test_intervals():
    rows, symbols = some_rows(), np.zeros((9, 3), np.uint8)
    out = np.zeros((2, 9, 3), np.uint32)
    call = caller(core.vlae_intervals, rows=rows, tables=TABLES.struct, symbols=symbols, starts=out[0], freqs=out[1])
    tables = [{"tables": tables} for tables in bad_tables()]
    refused(call, *fields("rows", rows, **ROWS), *far_rows(rows), *bad_outers(), *bad_shifts(), *bad_numbers(), *tables)
    refused(call, odd_symbols(rows, symbols))


@pytest.mark.parametrize("levels", [2, 64])
def test_symbols(target, levels):
    """Symbols that there are not have intervals of no sense, which cannot be pushed; no harm is done."""
    params, offsets, outers = random_rows(np.random.default_rng(1), 200, 2, 3, levels)
    rows = mixture.Rows(params, offsets, outers, 2, True, levels, 3, TABLES)
    symbols = np.random.default_rng(2).integers(levels, 256, (200, 3)).astype(np.uint8)
    starts, freqs = mixture.intervals(rows, symbols)
    stack = ans.Stack(ans.empty(3), 600)
    args = (starts.ctypes.data, freqs.ctypes.data, 200, 1, 0, 3, 3)
    assert core.vlae_push_region(stack.struct, *args) == BAD


def test_pop_rows():
    rows, stack = some_rows(), ans.Stack(random_message(np.random.default_rng(1), 3, 99))
    memory, symbols = aligned(mixture.STATE), np.zeros((9, 3), np.uint8)
    call = caller(
        core.vlae_pop_rows,
        rows=rows,
        tables=TABLES.struct,
        stack=stack.struct,
        phase=0,
        symbols=symbols,
        scratch=memory,
        size=memory.size,
    )
    rest = [*bad_stacks(stack), {"phase": -1}, {"phase": -(1 << 63)}, *bad_memory("scratch", memory, "size")]
    tables = [{"tables": tables} for tables in bad_tables()]
    refused(
        call,
        *fields("rows", rows, **ROWS),
        *far_rows(rows),
        *bad_outers(),
        *bad_shifts(),
        *bad_numbers(),
        *tables,
        *rest,
    )
    refused(call, odd_symbols(rows, symbols))


def test_costs():
    freqs = np.full((5, 3), 7, np.uint32)
    call = caller(core.vlae_costs, freqs=freqs, n=5, channels=3, coded=3, each=None)
    refused(call, {"n": -1}, {"channels": 0}, {"coded": -1}, {"coded": 4})
    for bad in (0, (1 << 24) + 1, (1 << 32) - 1):
        wrong = freqs.copy()
        wrong[4, 2] = bad
        assert call(freqs=wrong) == BAD
        assert call(freqs=wrong, coded=2) > 0


# ---------------------------------------------------------------------------------------------------- the stack


def test_push():
    starts, freqs = np.array([0, 5, 255]), np.array([256, 7, 1])
    before = ans.empty(2)

    def push(stack, starts, freqs, n, precision):
        """Each time on a stack of its own."""
        made = stack or stack_of(before, 3)
        return core.vlae_push(made, starts, freqs, n, precision)

    call = caller(push, stack=None, starts=starts, freqs=freqs, n=3, precision=8)
    numbers: list[dict[str, Any]] = [{"n": -1}, {"n": 4}, {"n": 1 << 62}, {"precision": 0}, {"precision": 25}]
    numbers += [{"starts": starts + d} for d in (-1, 1, 1 << 62)] + [{"freqs": freqs + d} for d in (-1, 1, 1 << 62)]
    refused(call, *numbers, *bad_stacks(ans.Stack(before, 3)))
    stack = ans.Stack(before, 3)
    assert core.vlae_push(stack.struct, address(starts + 1), address(freqs), 3, 8) == BAD
    assert stack.message() == before


def test_pop():
    cdfs, symbols = np.array([[0, 3, 256]] * 4), np.zeros(4, np.int64)

    def pop(stack, *rest):
        return core.vlae_pop(stack or stack_of(random_message(np.random.default_rng(1), 2, 9)), *rest)

    call = caller(pop, stack=None, cdfs=cdfs, rows=4, columns=3, symbols=symbols, n=4, precision=8)
    numbers = [
        {"n": -1},
        {"precision": 0},
        {"precision": 25},
        {"columns": 1},
        {"columns": -1},
        {"rows": 3},
        {"rows": 5},
    ]
    refused(call, *numbers, *bad_stacks(ans.Stack(ans.empty(2))))
    assert call(rows=1) == call(cdfs=None, rows=1, columns=0) == 4


def test_push_region():
    starts, freqs = some_intervals(np.random.default_rng(1), (4, 5, 3))

    def push(stack, *rest):
        return core.vlae_push_region(stack or stack_of(ans.empty(2), 60), *rest)

    sizes = {"height": 4, "width": 5, "slope": 3, "channels": 3, "coded": 3}
    call = caller(push, stack=None, starts=starts, freqs=freqs, **sizes)
    numbers: list[dict[str, Any]] = [{"height": -1}, {"height": 5}, {"height": HUGE}, {"width": 0}, {"width": 6}]
    numbers += [{"width": HUGE}, {"slope": -1}, {"slope": 256}, {"channels": 0}, {"channels": 2}, {"coded": -1}]
    numbers += [{"height": (1 << 15) + 1, "width": 1, "coded": 0}, {"coded": 4}, {"channels": -1}]
    refused(call, *numbers, *bad_stacks(ans.Stack(ans.empty(2), 60)))
    numbers = [{"height": 0, "width": 0}, {"height": 0, "channels": 0, "coded": 0}, {"height": 0, "channels": 33}]
    numbers += [{"height": (1 << 26) + 1, "width": 1, "slope": 0, "coded": 0}, {"height": 0, "coded": -1}]
    refused(call, *numbers, {"height": 1, "width": (1 << 26) + 1, "slope": 0, "coded": 0})
    assert push(stack_of(ans.empty(2), 59), address(starts), address(freqs), *sizes.values()) == BAD


# ---------------------------------------------------------------------------------------------------- pixels

MODEL: dict[str, list[Any]] = {
    "channels": [0, 1, 2, 4, -1],
    "wide": [1, 3, 4, 7, 256, 257, -5],
    "up": [0, 1, 3, 256, -2],
    "features": [-1, 3, 5, 1025],
    "mixtures": [0, 3, 65, -1, HUGE],
    "levels": [0, 1, 257, (1 << 16) + 1, 1 << 24, 1 << 30, -2],  # 257 in a tile of bytes
    "shift": [-1, 11, HUGE],
    "stretch": [-1, 1, 8, 32],
}
TILE: dict[str, list[Any]] = {
    "height": [0, -1, 10, (1 << 15) + 1, HUGE],
    "width": [0, -1, 21, (1 << 15) + 1, HUGE],
    "period": [0, -1, 10, HUGE],
}


@pytest.fixture
def pixels(random_codec):
    return random_codec().nets.pixels


@pytest.fixture
def tile(pixels):
    rng = np.random.default_rng(1)
    x, context = rng.integers(0, 256, (9, 20, 3)).astype(np.uint8), rng.integers(-128, 128, (9, 20, 4)).astype(np.int8)
    return pixels.whole(x, context)


def bad_tiles(pixels, tile):
    """Models and tiles that are none, or have too little memory."""
    model, struct = pixels.setting.struct, tile.struct
    nets = [{"model": other(model, **change)} for change in bad_nets(pixels.setting.net)]
    nets += [{"model": other(model, levels=1 << 30, stretch=2)}, {"model": other(model, levels=256, stretch=1)}]
    nets += [{"model": other(model, levels=3, stretch=6)}, {"model": other(model, levels=2, stretch=6, shift=1)}]
    tables = [{"model": other(model, tables=tables)} for tables in bad_tables()]
    sizes = {"x_size": [struct.x_size - 1, 0, -1], "context_size": [struct.context_size - 1, 0, -1]}
    return [*fields("model", model, **MODEL), *fields("tile", struct, **TILE, **sizes), *nets, *tables]


def net_of(inputs: int, outputs: int) -> Packed:
    """A network of this size and of no sense."""
    numbers, limits = np.zeros(outputs, np.int64), np.zeros(outputs, np.int32)
    made = Packed(Network((Layer(np.zeros((inputs, outputs), np.int8), numbers, numbers, 0, limits, limits),)))
    kept.append(made)
    return made


@pytest.mark.parametrize(
    ("inputs", "changes"),
    [
        (6, {}),
        (43, {"channels": 0, "features": 43}),
        (43, {"channels": 4, "features": 23}),
        (4, {"features": -1}),
        (1030, {"features": 1025}),
        (3, {"wide": 1}),
        (387, {"wide": 257}),
        (8, {"wide": 4}),
        (3, {"up": 0}),
        (771, {"up": 256}),
        (6, {"mixtures": 65}),
    ],
)
def test_far_models(pixels, inputs, changes):
    """Models that one bound alone refuses: their networks have the inputs, the tile the memory."""
    net, tile = net_of(inputs, 195), pixels.whole(np.zeros((20, 30, 3), np.uint8), None)
    base = {"channels": 1, "wide": 3, "up": 1, "features": 1, "mixtures": 1, "net": address(net.memory)}
    model = other(pixels.setting.struct, net_size=net.memory.size, **{**base, **changes})
    assert (model.up * model.wide + model.wide // 2 + 1) * model.channels + model.features == inputs
    out, position, shift = np.zeros((2, inputs), np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int32)
    pixel = other(tile.struct, height=1, width=1, period=1)
    found = core.vlae_pixel_rows(model, pixel, address(position), 1, address(out[0]), address(out[1]), address(shift))
    assert found == (BAD if changes else 0)


@pytest.mark.parametrize("empty", [{"height": 0}, {"width": 0}])
def test_no_tile(pixels, tile, empty):
    """A tile without pixels is none, even if nothing is asked of it."""
    scratch, none = pixels.setting.net.scratch(9, 2, 3), np.zeros(0, np.int64)
    given = pixels.setting.struct, other(tile.struct, **empty)
    assert core.vlae_pixel_rows(*given, address(none), 0, None, None, address(none)) == BAD
    assert core.vlae_band_intervals(*given, None, 0, 0, 3, None, None, address(scratch), scratch.size) == BAD
    assert core.vlae_pop_band(*given, 0, 0, 3, stack_of(ans.empty(2)), address(scratch), scratch.size) == BAD


def test_pixel_rows(pixels, tile):
    rows, references = np.zeros((3, pixels.setting.net.inputs), np.uint8), np.zeros((3, 3), np.uint8)
    given: dict[str, Any] = {"model": pixels.setting.struct, "tile": tile.struct}
    given |= {"positions": np.array([5, 0, 179]), "n": 3, "rows": rows, "references": references}
    call = caller(core.vlae_pixel_rows, **given, shifts=np.zeros(3, np.int32))
    places = [np.array(at) for at in ([5, 0, 180], [-1, 0, 0], [0, 1 << 40, 0], [0, 0, -(1 << 63)])]
    rest: list[dict[str, Any]] = [
        {"positions": None},
        {"shifts": None},
        {"n": -1},
        *({"positions": at} for at in places),
    ]
    refused(call, *bad_tiles(pixels, tile), *rest)


def test_band_intervals(pixels, tile):
    out, scratch = np.zeros((2, 180, 3), np.uint32), pixels.setting.net.scratch(channels=3)
    call = caller(
        core.vlae_band_intervals,
        model=pixels.setting.struct,
        tile=tile.struct,
        positions=None,
        begin=0,
        n=180,
        coded=3,
        starts=out[0],
        freqs=out[1],
        scratch=scratch,
        size=scratch.size,
    )
    rest: list[dict[str, Any]] = [{"begin": -1}, {"begin": 1}, {"begin": 181, "n": 0}, {"n": 181}, {"n": 1 << 62}]
    rest += [{"n": -1}, {"begin": (1 << 63) - 1}, {"coded": 0}, {"coded": 4}, {"coded": -1}]
    rest += [{"positions": np.array([3, at]), "n": 2} for at in (-1, 180, 1 << 40)]
    refused(call, *bad_tiles(pixels, tile), *rest, *bad_memory("scratch", scratch, "size"))
    assert call(begin=180, n=0) == 0


def test_pop_band(pixels, tile):
    scratch = pixels.setting.net.scratch(9, 2, 3)

    def pop(model, tile, first, last, coded, stack, *rest):
        made = stack or stack_of(random_message(np.random.default_rng(1), 2, 2000))
        return core.vlae_pop_band(model, tile, first, last, coded, made, *rest)

    call = caller(
        pop,
        model=pixels.setting.struct,
        tile=tile.struct,
        first=0,
        last=9,
        coded=3,
        stack=None,
        scratch=scratch,
        size=scratch.size,
    )
    numbers: list[dict[str, Any]] = [{"first": -1}, {"first": 10}, {"last": 10}, {"first": 5, "last": 4}]
    numbers += [{"coded": 0}, {"coded": 4}, {"last": HUGE}]
    stacks = bad_stacks(ans.Stack(ans.empty(2)))
    refused(call, *bad_tiles(pixels, tile), *numbers, *stacks, *bad_memory("scratch", scratch, "size"))
    many = ans.Stack(random_message(np.random.default_rng(1), 90, 2000))
    assert call(stack=many.struct) == BAD  # which needs more memory
    assert call(first=4, last=4, stack=stack_of(ans.empty(2))) == 0


def guarded(size):
    """Memory with a guard behind it."""
    memory = aligned(size + 64)
    memory[:] = 99
    return memory


@pytest.mark.parametrize(("height", "width", "lanes"), [(1, 1, 1), (9, 20, 5), (200, 11, 1), (130, 7, 300)])
def test_pixel_memory(target, pixels, height, width, lanes):
    """What the core asks for is what it needs: it writes nothing behind it, nor behind the tile."""
    net, rng = pixels.setting.net, np.random.default_rng(1)
    tile = pixels.whole(rng.integers(0, 256, (height, width, 3)).astype(np.uint8), None)
    tile.x[-SLACK:] = 99
    out, small = np.full((2, height * width + 1, 3), 77, np.uint32), guarded(net.scratch(channels=3).size)
    args = (None, 0, height * width, 3, *map(address, out), address(small), small.size - 64)
    assert core.vlae_band_intervals(pixels.setting.struct, tile.struct, *args) == 0
    assert np.all(small[-64:] == 99)
    assert np.all(out[:, -1] == 77)
    large = guarded(net.scratch(height, lanes, 3).size)
    stack = ans.Stack(random_message(rng, lanes, 3 * height * width))
    args = (0, height, 3, stack.struct, address(large), large.size - 64)
    assert core.vlae_pop_band(pixels.setting.struct, tile.struct, *args) == 0
    assert np.all(large[-64:] == 99)
    assert np.all(tile.x[-SLACK:] == 99)


# ---------------------------------------------------------------------------------------------------- latents

PRIOR: dict[str, list[Any]] = {
    "affine": [-1, 0, 2, MAX_STEPS + 1],
    "channels": [0, 1, 3, 33],
    "slope": [-1, 256],
    "mixtures": [0, 3, 65],
    "window_size": [-1, 0, 11, 13],
    "columns": [0, 11, 4097],
}


@pytest.fixture
def prior(random_codec):
    return random_codec(flow_steps=2).nets.prior


def bad_priors(prior):
    struct = prior.struct
    found = fields("prior", struct, **PRIOR)
    found += [{"prior": other(struct, tables=tables)} for tables in bad_tables()]
    base = np.zeros(99, np.int32)
    found.append({"prior": other(struct, base=base.ctypes.data)})  # and networks
    for t, net in enumerate((*prior.affine, prior.mixture)):
        for change in bad_nets(net, "net", "size"):
            wrong = other(struct)
            wrong.nets[t], wrong.net_sizes[t] = change.get("net", wrong.nets[t]), change.get("size", net.memory.size)
            found.append({"prior": wrong})
    for value in ([1, 0], [-256, 0], [0, 256], [0, -256], [-(1 << 62), 0], [0, 1 << 62]):
        window = prior.offsets.copy()
        window[3] = value
        kept.append(window)
        found.append({"prior": other(struct, window=window.ctypes.data)})
    kept.append(base)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 0},
        {"channels": 33, "columns": 99},
        {"slope": -1},
        {"slope": 256},
        {"mixtures": 0},
        {"mixtures": 65, "columns": 999},
        {"window_size": -1},
        {"columns": 4097},
        {"columns": 4},
    ],
    ids=str,
)
def test_far_priors(random_codec, changes):
    """Priors that one bound alone refuses; without a step nothing but bounds looks at them."""
    struct, row = random_codec(flow_steps=0).nets.prior.struct, np.zeros(4097, np.int32)
    good = other(struct, base=address(row))
    assert core.vlae_prior_scratch(good, 4, 5, 1) > 0
    assert core.vlae_prior_scratch(other(good, **changes), 4, 5, 1) == BAD


SIZES = [{name: value} for name in ("height", "width") for value in (0, -1, (1 << 15) + 1, HUGE)]


def test_prior(prior):
    z, out, scratch = np.zeros((4, 5, 2), np.uint8), np.zeros((2, 4, 5, 2), np.uint32), prior.scratch(4, 5, 2)
    given = {"prior": prior.struct}
    size = caller(core.vlae_prior_scratch, **given, height=4, width=5, lanes=2)
    refused(size, *bad_priors(prior), *SIZES, {"lanes": 0}, {"lanes": -1})
    grid = {"z": z, "height": 4, "width": 5}
    small = bad_memory("scratch", scratch, "size")
    intervals = caller(
        core.vlae_prior_intervals, **given, **grid, starts=out[0], freqs=out[1], scratch=scratch, size=scratch.size
    )
    refused(intervals, *bad_priors(prior), *SIZES, *small[:2], *small[3:])  # one lane needs less than two

    def pop(prior, z, height, width, stack, *rest):
        made = stack or stack_of(random_message(np.random.default_rng(1), 2, 500))
        return core.vlae_pop_prior(prior, z, height, width, made, *rest)

    call = caller(pop, **given, **grid, stack=None, scratch=scratch, size=scratch.size)
    refused(call, *bad_priors(prior), *SIZES, *bad_stacks(ans.Stack(ans.empty(2))), *small[:2], *small[3:])


def test_prior_memory(target, prior):
    """What the core asks for is what it needs: it writes nothing behind it."""
    size = core.vlae_prior_scratch(prior.struct, 4, 5, 2)
    memory, out = guarded(size), np.zeros((2, 4, 5, 2), np.uint32)
    z = np.random.default_rng(1).integers(0, 64, (4, 5, 2)).astype(np.uint8)
    args = (z.ctypes.data, 4, 5, *(part.ctypes.data for part in out), memory.ctypes.data, size)
    assert core.vlae_prior_intervals(prior.struct, *args) == 0
    stack = ans.Stack(random_message(np.random.default_rng(1), 2, 500))
    args = (z.ctypes.data, 4, 5, stack.struct, memory.ctypes.data, size)
    assert core.vlae_pop_prior(prior.struct, *args) == 0
    assert np.all(memory[size:] == 99)


def test_symbols_of_latents(target, prior):
    """Latents that there are not do no harm."""
    z, scratch = np.full((4, 5, 2), 255, np.uint8), prior.scratch(4, 5)
    out = np.zeros((2, 4, 5, 2), np.uint32)
    args = (z.ctypes.data, 4, 5, *(part.ctypes.data for part in out), scratch.ctypes.data, scratch.size)
    assert core.vlae_prior_intervals(prior.struct, *args) == 0


# ---------------------------------------------------------------------------------------------------- the fit


@pytest.fixture
def fit(net):
    """A fit of a network of two layers, with rank 3 in both."""
    layers, rectified = (FitLayerStruct * 17)(), 0  # of which two are there
    for struct, layer in zip(layers, net.network.layers):
        outputs, columns = layer.multiplier.size, -(-rectified // PAD) * PAD + PAD
        arrays = [np.ones(shape, np.float32) for shape in ((outputs, columns), (len(layer.weight), PAD), (outputs,))]
        kept.extend(arrays)
        struct.back, struct.left, struct.slope = (array.ctypes.data for array in arrays)
        struct.product, struct.bias, struct.rank, struct.rectified = 1.0, 1.0, 3, rectified
        struct.back_columns, struct.rank_columns = columns, PAD
        rectified = outputs
    kept.append(net.memory)
    return FitStruct(net.memory.ctypes.data, net.memory.size, layers, 2, 2, 3, 3), layers


def bad_fits(fit, net):
    struct, layers = fit
    numbers: dict[str, list[Any]] = {
        "count": [0, 1, 3, 17, -1],
        "mixtures": [0, 3, 65],
        "channels": [0, 4, -1],
        "coded": [0, 4, -1],
    }
    found = fields("fit", struct, **numbers) + [{"fit": other(struct, **change)} for change in bad_nets(net)]
    changes = {
        "rank": [-1, 17],
        "rectified": [-1, 5, 4097],
        "back_columns": [0, 1, 64],
        "rank_columns": [0, 8, 17, 4112],
    }
    for name, values in changes.items():
        for value in values:
            for which in range(2):
                wrong = (FitLayerStruct * 17)(*layers)
                setattr(wrong[which], name, value)
                found.append({"fit": other(struct, layers=wrong)})
    return found


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ({}, {}),
        ({"mixtures": 65}, {}),
        ({"mixtures": 0}, {}),
        ({"channels": 4}, {}),
        ({"coded": 0}, {}),
        ({}, {"rank_columns": 4112, "back_columns": 4112}),
        ({}, {"rank_columns": 24, "back_columns": 24}),
        ({}, {"rank": -1}),
        ({}, {"rank": 17}),
        ({}, {"back_columns": 32}),
    ],
)
def test_far_fits(model, layer):
    """Fits that one bound alone refuses."""
    net, layers = net_of(9, 195), (FitLayerStruct * 17)()
    layers[0].rank, layers[0].rank_columns, layers[0].back_columns = 3, PAD, PAD
    for name, value in layer.items():
        setattr(layers[0], name, value)
    fit = FitStruct(address(net.memory), net.memory.size, layers, 1, 1, 1, 1)
    found = core.vlae_fit_scratch(other(fit, **model))
    assert found > 0 if not model and not layer else found == BAD


def test_fit(fit, net):
    size = core.vlae_fit_scratch(fit[0])
    refused(caller(core.vlae_fit_scratch, fit=fit[0]), *bad_fits(fit, net))
    numbers = sum(3 * (len(la.weight) + la.multiplier.size) + la.multiplier.size for la in net.network.layers)
    scratch, rng = aligned(size), np.random.default_rng(1)
    call = caller(
        core.vlae_fit_block,
        fit=fit[0],
        rows=rng.integers(-128, 128, (70, net.inputs)).astype(np.int8),
        values=rng.normal(size=(70, 3)).astype(np.float32),
        edges=np.zeros((70, 3), np.int8),
        weights=np.ones(70, np.float32),
        n=70,
        spent=np.zeros(70, np.float32),
        gradient=np.zeros(numbers, np.float32),
        numbers=numbers,
        scratch=scratch,
        size=size,
    )
    rest = [{"n": -1}, {"numbers": numbers - 1}, {"numbers": -1}, *bad_memory("scratch", scratch, "size")]
    refused(call, *bad_fits(fit, net), *rest)


def test_fit_memory(target, net, random_codec):
    """Nothing behind the scratch memory, the bits or the gradient is written, whatever the number of rows."""
    columns = [PAD, -(-net.network.layers[0].multiplier.size // PAD) * PAD + PAD]
    layers, rectified, numbers = (FitLayerStruct * 2)(), 0, 0
    for struct, layer, back in zip(layers, net.network.layers, columns):
        outputs, inputs = layer.multiplier.size, len(layer.weight)
        arrays = [np.ones(shape, np.float32) for shape in ((outputs, back), (inputs, PAD), (outputs,))]
        kept.extend(arrays)
        struct.back, struct.left, struct.slope = (array.ctypes.data for array in arrays)
        struct.product, struct.bias, struct.rank, struct.rectified = 1.0, 1.0, 16, rectified
        struct.back_columns, struct.rank_columns = back, PAD
        rectified, numbers = outputs, numbers + 16 * (inputs + outputs) + outputs
    memory = net.memory
    fit = FitStruct(memory.ctypes.data, memory.size, layers, 2, 2, 3, 3)
    size, rng = core.vlae_fit_scratch(fit), np.random.default_rng(1)
    for n in (0, 1, 63, 64, 65, 200):
        scratch, spent, gradient = guarded(size), *(np.full(k + 5, 7.0, np.float32) for k in (n, numbers))
        given: list[np.ndarray] = [
            rng.integers(-128, 128, (n, net.inputs)).astype(np.int8),
            rng.normal(size=(n, 3)).astype(np.float32),
            rng.integers(0, 3, (n, 3)).astype(np.int8),
            np.ones(n, np.float32),
        ]
        args = (*map(address, given), n, address(spent), address(gradient), numbers, address(scratch), size)
        assert core.vlae_fit_block(fit, *args) == 0
        assert np.all(scratch[size:] == 99)
        assert np.all(spent[n:] == 7)
        assert np.all(gradient[numbers:] == 7)
        assert np.isfinite(spent[:n]).all()
