"""Innermost loops: what each vector operation gives, and that processors without some of them give the same."""

import os
import pickle
import platform
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit
from test_network import KINDS, NETS, exact, rows_for  # type: ignore[import-not-found]

from vlae_codec import simd
from vlae_codec.simd import CHUNK, INT8, LANES, PANEL, ROWS, STEP, bit_length, differences, dot, move

SENTINEL = 77


@njit
def run_dot(rows, stride, weights, panel, steps, sums):
    dot(rows, stride, weights, panel, steps, sums)


@njit
def run_differences(x, begin, less, more, k, out, at):
    differences(x, begin, less, more, k, out, at)


@njit
def run_move(source, begin, out, at):
    move(source, begin, out, at)


@njit
def run_bit_length(number):
    return bit_length(number)


# ---------------------------------------------------------------------------------------------------- operations


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [1, 3, 4, 37, 1023])
def test_dot(kind, inputs):
    """One panel of several: all sums up to the bound, and nothing else is written."""
    rng = np.random.default_rng(inputs)
    weight = rng.integers(-128, 128, (inputs, 3 * PANEL), np.int8)
    weight[:, PANEL], weight[:, PANEL + 1] = -128, 127
    low, high = (0, 256) if kind == INT8 else (-128, 128)
    rows = rng.integers(low, high, (ROWS, inputs))
    rows[0], rows[1], rows[2] = low, high - 1, np.where(weight[:, PANEL + 2] > 0, low, high - 1)
    steps = -(-inputs // STEP[kind])
    stride, unit = steps + 3, 4 if kind == INT8 else 1  # in units of 4 bytes
    flat = np.full((ROWS, stride * unit), SENTINEL, np.uint8 if kind == INT8 else np.float32)
    flat[:, :inputs] = rows
    sums = np.full(ROWS * PANEL + 5, SENTINEL, np.int32)
    packed = simd.pack(weight, kind)
    assert packed.size == steps * STEP[kind] * 3 * PANEL
    run_dot(flat.reshape(-1), stride, packed, steps * STEP[kind] * PANEL, steps, sums)
    assert np.array_equal(sums[: ROWS * PANEL].reshape(ROWS, PANEL), rows @ weight[:, PANEL : 2 * PANEL].astype(int))
    assert np.all(sums[ROWS * PANEL :] == SENTINEL)


def test_differences():
    """Every value less every reference, clamped to what stands for -128 .. 127."""
    x = np.repeat(np.arange(256), CHUNK).astype(np.uint8)
    for reference in range(256):
        less, more = (np.full(CHUNK + 3, max(v, 0), np.uint8) for v in (reference - 128, 128 - reference))
        out = np.full(x.size + 2, SENTINEL, np.uint8)
        for value in range(256):
            run_differences(x, value * CHUNK, less, more, 3, out, 1 + value * CHUNK)
        assert np.array_equal(out[1:-1], (x.astype(int) - reference).clip(-128, 127) + 128)
        assert out[0] == out[-1] == SENTINEL


def test_move():
    source, out = np.arange(100, dtype=np.uint8), np.full(100, SENTINEL, np.uint8)
    run_move(source, 7, out, 11)
    assert np.array_equal(out[11 : 11 + CHUNK], source[7 : 7 + CHUNK])
    assert np.all(out[:11] == SENTINEL)
    assert np.all(out[11 + CHUNK :] == SENTINEL)


def test_bit_length():
    for number in (0, *(2**k + d for k in range(1, 63) for d in (-1, 0, 1)), 2**63 - 1):
        assert run_bit_length(number) == number.bit_length()


@pytest.mark.parametrize("kind", KINDS)
def test_pack(kind):
    """`dot` finds the weight of an input and a column where its panel, step, column and place in the step say."""
    weight = np.random.default_rng(1).integers(-128, 128, (11, 2 * PANEL), np.int8)
    step = STEP[kind]
    split = simd.pack(weight, kind).reshape(2, -1, PANEL, step)
    for i in range(split.shape[1] * step):
        for o in (0, LANES, PANEL - 1, PANEL, 2 * PANEL - 1):
            assert split[o // PANEL, i // step, o % PANEL, i % step] == (weight[i, o] if i < 11 else 0)


# ---------------------------------------------------------------------------------------------------- processors

RUN = """
import pickle, sys
import numpy as np
from vlae_codec import network, simd
from vlae_codec.errors import VlaeError
from vlae_codec.inference import kind_of
cases, lanes, int8 = pickle.load(open(sys.argv[1], "rb"))
assert (simd.LANES, simd.HAS_INT8) == (lanes, int8)
assert kind_of("cpu") == (simd.INT8 if int8 else simd.FLOAT32)
try:
    assert kind_of("int8") == simd.INT8 and int8
except VlaeError as error:
    assert not int8 and "no instruction" in str(error)
for kind in [simd.FLOAT32] + [simd.INT8] * int8:
    packed = network.pack([net for net, _, _ in cases], kind)
    for which, (_, rows, expected) in enumerate(cases):
        assert np.array_equal(network.run(packed, which, rows), expected)
print("the same")
"""
X86 = platform.machine().lower() in ("x86_64", "amd64")
AVX2 = "+avx,+avx2,+fma"
AVX512 = AVX2 + ",+avx512f,+avx512bw,+avx512vl,+avx512dq"
PROCESSORS = {  # features; 32-bit numbers in a register, whether there is the instruction for int8
    "none": ("", 4, False),
    "avx2": (AVX2, 8, False),
    "avx512": (AVX512, 16, False),
    "vnni": (AVX512 + ",+avx512vnni", 16, True),
}


def variant(tmp_path, **settings):
    """The environment of a process for another processor, with compiled code of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    return {**kept, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), **settings}


def has(features):
    there = llvm.get_host_cpu_features() if X86 else {}
    return all(there.get(name[1:], False) for name in features.split(",") if name)


@pytest.mark.parametrize("name", PROCESSORS)
def test_processors(tmp_path, name):
    """The same integers with and without the wide vectors and their products."""
    features, lanes, int8 = PROCESSORS[name]
    if name != "none" and not has(features):
        pytest.skip("this processor lacks them")
    cases = [(net, rows_for(net, 20), exact(net, rows_for(net, 20))) for net in NETS.values()]
    (tmp_path / "cases").write_bytes(pickle.dumps((cases, lanes, int8)))
    env = variant(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=features)
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path / "cases")], capture_output=True, text=True, env=env)
    assert done.stdout == "the same\n", done.stderr


@pytest.mark.skipif(not X86, reason="instructions of x86")
@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        ({"NUMBA_ENABLE_AVX": "0"}, "4 False"),
        ({"NUMBA_CPU_NAME": "generic"}, "4 False"),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx,+avx2,-avxvnni"}, "8 False"),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx,+avx2,+avxvnni"}, "8 True"),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "-avx2,-avx512f,+avx512vnni"}, "4 False"),
    ],
)
def test_features(tmp_path, settings, printed):
    """What is used is what numba compiles for, however it was told so."""
    code = "from vlae_codec import simd; print(simd.LANES, simd.HAS_INT8)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variant(tmp_path, **settings)
    )
    assert done.stdout == f"{printed}\n", done.stderr


COMPILE = """
import numba, numpy as np
from vlae_codec import network, simd
from vlae_codec.network import Layer, Network
layer = Layer(np.zeros((4, 1), np.int8), np.ones(1, np.int64), np.zeros(1, np.int64), 1)
args = network.pack([Network((layer,))], simd.INT8), 0, np.zeros((1, 4), np.uint8), np.zeros((1, 1), np.int8)
network._run.compile(tuple(map(numba.typeof, args)))
print("vpdpbusd" in "".join(network._run.inspect_asm().values()))
"""


@pytest.mark.skipif(not X86, reason="instructions of x86")
def test_int8_of_avx2(tmp_path):
    """Where the instruction comes in registers of 256 bits it is used as well. Compiled, not run."""
    env = variant(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=AVX2 + ",+avxvnni")
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=env)
    assert done.stdout == "True\n", done.stderr
