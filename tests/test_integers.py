"""Nothing between pixels and bits is a float, but for the operands of the one product that takes floats."""

import numpy as np
from numba import njit, types
from numba.core import compiler, ir
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target
from numba.core.typed_passes import NopythonTypeInference

from vlae_codec import ans, codecs, latents, model, network, pixels, tables, waves
from vlae_codec.container import Method
from vlae_codec.streams import decode_tiles, encode_tile
from vlae_codec.tile import TileCodec

MODULES = [ans, latents, network, pixels, tables, waves]
COMPILED = [f for m in MODULES for f in vars(m).values() if isinstance(f, Dispatcher) and f.__module__ == m.__name__]


class Typed(compiler.CompilerBase):
    """The compiler as far as types."""

    states: list = []  # noqa: RUF012

    def define_pipelines(self):
        passes = compiler.DefaultPassBuilder.define_untyped_pipeline(self.state)
        passes.add_pass(NopythonTypeInference, "types")
        passes.finalize()
        self.state.cr = "types"  # nothing is compiled
        self.states.append(self.state)
        return [passes]


def types_of(function, signature):
    """(types of its variables, [(compiled function that it calls, its signature)])."""
    contexts, flags = (cpu_target.typing_context, cpu_target.target_context), compiler.Flags()
    flags.nrt = True
    compiler.compile_extra(*contexts, function.py_func, signature, None, flags, {}, pipeline_class=Typed)
    found, calls = Typed.states.pop(), []
    for call, called in found.calltypes.items():
        if isinstance(call, ir.Expr) and call.op == "call":
            kind = found.typemap[call.func.name]
            if isinstance(kind, types.Dispatcher):
                calls.append((kind.dispatcher, called.args))
    return list(found.typemap.values()), calls


def has_floats(kind):
    """Whether it is a float, or an array or a tuple with some."""
    parts = [getattr(kind, "dtype", None), *getattr(kind, "types", [])]
    return is_float(kind) or any(has_floats(part) for part in parts if part is not None)


def is_float(kind):
    return isinstance(kind, (types.Float, types.Complex))


def walk(roots):
    """(functions with a float, all functions) of those and what they call: one by itself, or in an array where no
    argument has any.
    """
    left, seen, bad = [(root, signature) for root in roots for signature in root.signatures], set(), set()
    while left:
        function, signature = left.pop()
        if (function, signature) not in seen:
            seen.add((function, signature))
            kinds, calls = types_of(function, signature)
            if any(map(is_float if any(map(has_floats, signature)) else has_floats, kinds)):
                bad.add(function)
            left += calls
    return bad, {function for function, _ in seen}


def test_no_floats(tiny, synthetic):
    """Of all compiled loops, each as it was called, in encoding and decoding by every backend of the CPU."""
    x = synthetic(49, 40, 1)
    for backend in ("cpu", "float32"):
        codec = TileCodec(model.load_weights(tiny), backend)
        record = encode_tile(codec, x, 3, 500)
        assert record.method == Method.LATENTS
        assert np.array_equal(decode_tiles(codec, [record], [(49, 40)], 3, 500)[0], x)
        codec.nets.pixels.rows(x, None, np.arange(9))
    uniform = codecs.uniform(8, (3,))
    uniform.pop(uniform.push(ans.empty(), np.arange(3)))
    bad, seen = walk(COMPILED)
    assert not bad
    assert seen == set(COMPILED)


@njit
def half(n):
    return int(n / 2)


@njit
def halves(n):
    return len(np.zeros(n, np.float32))


@njit
def inner(floats):
    return len(floats)


@njit
def outer(floats):
    return half(3) + halves(3) + inner(floats)


def test_floats():
    """They would be seen."""
    outer(np.zeros(2, np.float32))
    assert walk([outer]) == ({half, halves}, {outer, half, halves, inner})
