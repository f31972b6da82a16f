"""The innermost loops, in the words of the compiler (LLVM) where numba has none: vectors and their instructions.

A product takes a block of ROWS rows times a panel of PANEL columns of weights, all its sums in registers, and gives
int32, whatever its kind:

    INT8      unsigned activations by signed weights, in instructions of four products a sum (x86's VNNI)
    FLOAT32   signed activations by signed weights, exact because every partial sum is below 2^24

What there is on this processor is read from the features that numba compiles for (NUMBA_CPU_FEATURES overrides them);
vectors wider than its registers are the compiler's to split.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

FLOAT32, INT8 = 0, 1


def _features() -> set[str]:
    """Names of the features that numba compiles for."""
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return {name[1:] for name in features.split(",") if name.startswith("+")}


_HAS = _features()
_WIDE = "avx512f" in _HAS
LANES = 16 if _WIDE else 8 if "avx2" in _HAS else 4  # 32-bit numbers in a register
ROWS = 6 if _WIDE or "neon" in _HAS else 3  # as the number of registers allows
VECTORS = 4
PANEL = LANES * VECTORS
HAS_INT8 = "avx512vnni" in _HAS if _WIDE else LANES == 8 and "avxvnni" in _HAS
CHUNK = 32  # bytes that `differences` takes at once
SIDE = 8  # rows that `search` looks at side by side
STEP = {FLOAT32: 1, INT8: 4}  # inputs of a layer that are taken at once

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))
_BYTES = ir.VectorType(_I8, CHUNK)
_INTS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(ir.FloatType(), LANES)


def pack(weight: np.ndarray, kind: int) -> np.ndarray:
    """(inputs, columns) int8, columns a multiple of PANEL -> flat, in the order in which `dot` reads it."""
    step = STEP[kind]
    inputs, columns = weight.shape
    padded = np.zeros((-(-inputs // step) * step, columns), np.int8)
    padded[:inputs] = weight
    split = padded.reshape(len(padded) // step, step, columns // PANEL, PANEL)
    return np.ascontiguousarray(split.transpose(2, 0, 3, 1)).reshape(-1)


def _pointer(context: Any, builder: Any, signature: Any, args: Any, i: int) -> Any:
    """To the first byte of the array that is argument i."""
    array = context.make_array(signature.args[i])(context, builder, args[i])
    return builder.bitcast(array.data, _I8.as_pointer())


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _store(builder: Any, value: Any, base: Any, offset: Any) -> None:
    """At a byte offset."""
    builder.store(value, builder.bitcast(builder.gep(base, [offset]), value.type.as_pointer()), align=1)


def _function(builder: Any, name: str, kind: Any, count: int) -> Any:
    """The compiler's own function of `count` values of a kind."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * count), name)


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))


def _load(builder: Any, base: Any, offset: Any, kind: Any) -> Any:
    """What lies at a byte offset."""
    return builder.load(builder.bitcast(builder.gep(base, [offset]), kind.as_pointer()), align=1)


def _emit(context: Any, builder: Any, signature: Any, args: Any, kind: int) -> Any:
    """sums[r, :] = sum_k rows[r * stride + k] * panel[k, :], r = 0 .. ROWS - 1, rows in units of 4 bytes."""

    def pointer(i: int) -> Any:
        return _pointer(context, builder, signature, args, i)

    rows, weights, out = pointer(0), builder.gep(pointer(2), [args[3]]), pointer(5)
    stride, steps, step = args[1], args[4], STEP[kind]
    vector = _INTS if kind == INT8 else _FLOATS
    entry, loop, done = builder.block, builder.append_basic_block("dot"), builder.append_basic_block("stored")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(_number(0), entry)
    sums = [builder.phi(vector) for _ in range(ROWS * VECTORS)]
    for one in sums:
        one.add_incoming(ir.Constant(vector, [0] * LANES), entry)
    at = builder.mul(k, _number(PANEL * step))
    columns = []
    for j in range(VECTORS):
        place = builder.add(at, _number(j * LANES * step))
        if kind == INT8:
            columns.append(_load(builder, weights, place, _INTS))
        else:
            narrow = _load(builder, weights, place, ir.VectorType(_I8, LANES))
            columns.append(builder.sitofp(builder.sext(narrow, _INTS), _FLOATS))
    products = []
    for r in range(ROWS):
        place = builder.mul(builder.add(builder.mul(stride, _number(r)), k), _number(4))
        if kind == INT8:
            multiply = _function(builder, f"llvm.x86.avx512.vpdpbusd.{32 * LANES}", _INTS, 3)
            value = _splat(builder, _load(builder, rows, place, _I32), _INTS)
            products += [builder.call(multiply, [sums[r * VECTORS + j], value, columns[j]]) for j in range(VECTORS)]
        else:
            value = _splat(builder, _load(builder, rows, place, ir.FloatType()), _FLOATS)
            multiply = _function(builder, f"llvm.fmuladd.v{LANES}f32", _FLOATS, 3)
            products += [builder.call(multiply, [value, columns[j], sums[r * VECTORS + j]]) for j in range(VECTORS)]
    after = builder.add(k, _number(1))
    k.add_incoming(after, loop)
    for one, total in zip(sums, products):
        one.add_incoming(total, loop)
    builder.cbranch(builder.icmp_signed("<", after, steps), loop, done)
    builder.position_at_end(done)
    for i, total in enumerate(products):
        _store(builder, total if kind == INT8 else builder.fptosi(total, _INTS), out, _number(4 * LANES * i))
    return context.get_dummy_value()


@intrinsic
def dot(typing: Any, rows: Any, stride: Any, weights: Any, panel: Any, steps: Any, sums: Any) -> Any:
    """sums (ROWS * PANEL,) int32: ROWS rows times the panel that begins at `panel` of packed `weights` (int8).

    rows: flat, row r begins at 4 * r * stride bytes. Those of uint8 are multiplied as they are, by the int8
    instruction, those of float32 as floats; steps: inputs / STEP, at least 1.
    """
    kind = INT8 if rows.dtype == types.uint8 and HAS_INT8 else FLOAT32
    given = (rows, types.int64, weights, types.int64, types.int64, sums)
    return types.void(*given), partial(_emit, kind=kind)


def _emit_outputs(context: Any, builder: Any, signature: Any, args: Any, digits: int, last: bool) -> Any:
    """out[r, :] = clamp((total[r, :] * multiplier + addend) >> shift), r = 0 .. ROWS - 1."""
    longs = ir.VectorType(_I64, LANES)

    def pointer(i: int) -> Any:
        return _pointer(context, builder, signature, args, i)

    def vector(base: Any, offset: Any, kind: Any = _INTS) -> Any:
        loaded = _load(builder, base, offset, kind)
        return loaded if kind is longs else builder.sext(loaded, longs)

    def pick(name: str, a: Any, b: Any) -> Any:
        return builder.call(_function(builder, f"llvm.{name}.v{LANES}i64", longs, 2), [a, b])

    sums, multiplier, addend, low, high, out = (pointer(i) for i in (0, 1, 2, 3, 4, 7))
    column, shift, at, stride = args[5], _splat(builder, args[6], longs), args[8], args[9]
    for j in range(VECTORS // digits):
        place = builder.add(column, _number(j * LANES))
        by_four, by_eight = (builder.mul(place, _number(size)) for size in (4, 8))
        factors, terms = vector(multiplier, by_four), vector(addend, by_eight, longs)
        if last:
            limits = vector(low, by_four), vector(high, by_four)
        else:
            limits = ir.Constant(longs, [-128] * LANES), ir.Constant(longs, [127] * LANES)
        for r in range(ROWS):
            total = vector(sums, _number(4 * (r * PANEL + j * LANES)))
            if digits == 2:
                total = builder.shl(total, ir.Constant(longs, [7] * LANES))
                total = builder.add(total, vector(sums, _number(4 * (r * PANEL + PANEL // 2 + j * LANES))))
            value = builder.ashr(builder.add(builder.mul(total, factors), terms), shift)
            value = pick("smin", pick("smax", value, limits[0]), limits[1])
            kind = _INTS if last else ir.VectorType(_I8, LANES)
            value = builder.trunc(value, kind)
            if not last:
                value = builder.xor(value, ir.Constant(kind, [-128] * LANES))
            offset = builder.add(builder.add(at, _number(j * LANES)), builder.mul(stride, _number(r)))
            _store(builder, value, out, builder.mul(offset, _number(4)) if last else offset)
    return context.get_dummy_value()


def _outputs(digits: int, last: bool) -> Any:
    @intrinsic
    def outputs(
        typing: Any,
        sums: Any,
        multiplier: Any,
        addend: Any,
        low: Any,
        high: Any,
        column: Any,
        shift: Any,
        out: Any,
        at: Any,
        stride: Any,
    ) -> Any:
        """The outputs of a panel from `sums` (ROWS * PANEL,) of `dot`: row r goes to the flat out[at + r * stride :].

        multiplier, low, high: int32, addend: int64, those of the panel begin at `column`. Of one digit a panel has
        PANEL outputs, of two half as many. A hidden layer's out is uint8, the stored value plus 128; the last one's
        int32.
        """
        given = (sums, multiplier, addend, low, high, types.int64, types.int64, out, types.int64, types.int64)
        return types.void(*given), partial(_emit_outputs, digits=digits, last=last)

    return outputs


hidden_outputs, hidden_outputs_2, last_outputs, last_outputs_2 = (
    _outputs(digits, last) for last in (False, True) for digits in (1, 2)
)


@intrinsic
def differences(typing: Any, x: Any, begin: Any, less: Any, more: Any, k: Any, out: Any, at: Any) -> Any:
    """out[at + i] = clamp(x[begin + i] + more[k + i] - less[k + i], 0, 255) for i = 0 .. CHUNK - 1, all flat uint8.

    One of more[k + i] and less[k + i] must be 0.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def saturating(name: str, a: Any, b: Any) -> Any:
            return builder.call(_function(builder, f"llvm.{name}.sat.v{CHUNK}i8", _BYTES, 2), [a, b])

        value, up, down = (
            _load(builder, _pointer(context, builder, signature, args, i), args[j], _BYTES)
            for i, j in ((0, 1), (3, 4), (2, 4))
        )
        value = saturating("usub", saturating("uadd", value, up), down)
        _store(builder, value, _pointer(context, builder, signature, args, 5), args[6])
        return context.get_dummy_value()

    return types.void(x, types.int64, less, more, types.int64, out, types.int64), emit


@intrinsic
def repeat3(typing: Any, a: Any, b: Any, c: Any, less: Any, more: Any) -> Any:
    """The first CHUNK of less and more (flat uint8) for `differences` from three values 0 .. 255, again and again."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        undefined = ir.Constant(_BYTES, ir.Undefined)
        values = undefined
        for i in range(3):
            values = builder.insert_element(values, builder.trunc(args[i], _I8), ir.Constant(_I32, i))
        mask = ir.Constant(ir.VectorType(_I32, CHUNK), [i % 3 for i in range(CHUNK)])
        values = builder.shuffle_vector(values, undefined, mask)
        middle = ir.Constant(_BYTES, [-128] * CHUNK)
        subtract = _function(builder, f"llvm.usub.sat.v{CHUNK}i8", _BYTES, 2)
        for i, pair in ((3, [values, middle]), (4, [middle, values])):
            _store(builder, builder.call(subtract, pair), _pointer(context, builder, signature, args, i), _number(0))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, less, more), emit


@intrinsic
def move(typing: Any, source: Any, begin: Any, out: Any, at: Any) -> Any:
    """out[at + i] = source[begin + i] for i = 0 .. CHUNK - 1, both flat uint8."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = _load(builder, _pointer(context, builder, signature, args, 0), args[1], _BYTES)
        _store(builder, value, _pointer(context, builder, signature, args, 2), args[3])
        return context.get_dummy_value()

    return types.void(source, types.int64, out, types.int64), emit


@intrinsic
def bit_length(typing: Any, number: Any) -> Any:
    """Bits of an int64 that is not negative: 0 for 0."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sub(_number(64), builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0)))

    return types.int64(types.int64), emit


@intrinsic
def search(
    typing: Any,
    weights: Any,
    means: Any,
    inverses: Any,
    stride: Any,
    mixtures: Any,
    factors: Any,
    cfs: Any,
    levels: Any,
    sigmoid: Any,
    symbols: Any,
    starts: Any,
    ends: Any,
    at: Any,
) -> Any:
    """The symbols of rows at .. at + SIDE and their intervals: C(symbol) = start <= cf < end, by bisection.

    Flat int64 arrays: component k of row i at [k * stride + i], the rest at [i]; levels: a power of 2; C: see `tables`.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        longs = ir.VectorType(_I64, SIDE)

        def many(value: int) -> Any:
            return ir.Constant(longs, [value] * SIDE)

        def pointer(i: int) -> Any:
            return _pointer(context, builder, signature, args, i)

        def pick(name: str, a: Any, b: Any) -> Any:
            return builder.call(_function(builder, f"llvm.{name}.v{SIDE}i64", longs, 2), [a, b])

        stride, mixtures, levels, at = args[3], args[4], args[7], args[12]
        weights, means, inverses, factors, cfs, sigmoid = (pointer(i) for i in (0, 1, 2, 5, 6, 8))
        place = builder.mul(at, _number(8))
        factor, cf = (_load(builder, base, place, longs) for base in (factors, cfs))
        half_levels = builder.ashr(levels, _number(1))
        entry = builder.block
        step_block, sum_block, next_block, done = (
            builder.append_basic_block(name) for name in ("step", "sum", "next", "found")
        )
        builder.branch(step_block)

        builder.position_at_end(step_block)
        step, symbol, start, end = (builder.phi(kind) for kind in (_I64, longs, longs, longs))
        for phi, value in ((step, half_levels), (symbol, many(0)), (start, many(0)), (end, many(1 << 24))):
            phi.add_incoming(value, entry)
        middle = builder.add(symbol, _splat(builder, step, longs))
        position = builder.sub(builder.shl(middle, many(6)), many(32))
        builder.branch(sum_block)

        builder.position_at_end(sum_block)
        k, mass = builder.phi(_I64), builder.phi(longs)
        k.add_incoming(_number(0), step_block)
        mass.add_incoming(many(0), step_block)
        here = builder.add(builder.mul(builder.mul(k, stride), _number(8)), place)
        weight, mean, inverse = (_load(builder, base, here, longs) for base in (weights, means, inverses))
        argument = builder.ashr(builder.mul(builder.sub(position, mean), inverse), many(16))
        argument = pick("smin", pick("smax", argument, many(-4096)), many(4096))
        argument = builder.shl(builder.add(argument, many(4096)), many(2))
        shares = ir.Constant(ir.VectorType(_I32, SIDE), ir.Undefined)
        for i in range(SIDE):
            lane = ir.Constant(_I32, i)
            shares = builder.insert_element(
                shares, _load(builder, sigmoid, builder.extract_element(argument, lane), _I32), lane
            )
        total = builder.add(mass, builder.mul(weight, builder.zext(shares, longs)))
        after = builder.add(k, _number(1))
        k.add_incoming(after, sum_block)
        mass.add_incoming(total, sum_block)
        builder.cbranch(builder.icmp_signed("<", after, mixtures), sum_block, next_block)

        builder.position_at_end(next_block)
        value = builder.add(middle, builder.ashr(builder.mul(total, factor), many(38)))
        below = builder.icmp_signed("<=", value, cf)
        found = (
            builder.select(below, middle, symbol),
            builder.select(below, value, start),
            builder.select(below, end, value),
        )
        half = builder.ashr(step, _number(1))
        step.add_incoming(half, next_block)
        for phi, new in zip((symbol, start, end), found):
            phi.add_incoming(new, next_block)
        builder.cbranch(builder.icmp_signed(">", half, _number(0)), step_block, done)

        builder.position_at_end(done)
        for i, new in zip((9, 10, 11), found):
            _store(builder, new, pointer(i), place)
        return context.get_dummy_value()

    number = types.int64
    given = (weights, means, inverses, number, number, factors, cfs, number, sigmoid, symbols, starts, ends, number)
    return types.void(*given), emit
