"""The C core, loaded: its structs, its functions, and the target that runs.

A target is the core compiled for one set of instructions: generic, avx2, avxvnni, avx512, avx512vnni, neon, dotprod,
i8mm. The best that the processor has is taken; the environment variable VLAE_CODEC_TARGET names another. All give the
same integers.

In a checkout the sources stand beside the library, and a library that was built from others is built anew.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec.errors import EmptyStack, VlaeError, WeightsError

TARGET_VARIABLE = "VLAE_CODEC_TARGET"
ABI = 1
MAX_STEPS = 8  # of the flow prior

PRECISION = 24
LEVEL_BITS = 6  # locations are in 1/64 level
COEF_BITS = 8
WEIGHT_BITS = 12  # of the largest weight of a mixture
SIGMOID_BITS = 20
SIGMOID_HALF = 4096  # entries of the sigmoid's table on each side of 0
FACTOR_BITS = 18
EXP_ENTRIES = 512
SCALES, OUTER_SCALES, OUTER_IDENTITY = 160, 192, 64
DIGIT_BITS = 7
LATENT_LEVELS = 64
OFFSET_LIMIT = 1 << 20
SLACK = 64  # bytes behind pixels and features that the core may read
COST_BITS = 20  # of fraction in a cost

_CONSTANTS = (
    PRECISION,
    LEVEL_BITS,
    COEF_BITS,
    WEIGHT_BITS,
    SIGMOID_BITS,
    SIGMOID_HALF,
    FACTOR_BITS,
    EXP_ENTRIES,
    SCALES,
    OUTER_SCALES,
    OUTER_IDENTITY,
    DIGIT_BITS,
    LATENT_LEVELS,
    OFFSET_LIMIT,
    SLACK,
    COST_BITS,
)


class CoreError(VlaeError):
    """The native library is missing, of another version, or was given what it does not take."""


class LayerStruct(ctypes.Structure):
    _fields_ = (
        ("weight", c_void_p),
        ("multiplier", c_void_p),
        ("addend", c_void_p),
        ("low", c_void_p),
        ("high", c_void_p),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("digits", c_int32),
        ("shift", c_int32),
    )


class TablesStruct(ctypes.Structure):
    _fields_ = tuple((name, c_void_p) for name in ("sigmoid", "exp", "inverse", "outer_scale", "outer_inverse"))


class RowsStruct(ctypes.Structure):
    _fields_ = (
        ("params", c_void_p),
        ("offsets", c_void_p),
        ("outers", c_void_p),
        ("n", c_int64),
        ("columns", c_int32),
        ("mixtures", c_int32),
        ("channels", c_int32),
        ("coupled", c_int32),
        ("levels", c_int32),
        ("coded", c_int32),
    )


class StackStruct(ctypes.Structure):
    _fields_ = (
        ("heads", c_void_p),
        ("words", c_void_p),
        ("lanes", c_int64),
        ("size", c_int64),
        ("room", c_int64),
    )


class PixelsStruct(ctypes.Structure):
    _fields_ = (
        ("net", c_void_p),
        ("net_size", c_int64),
        ("tables", TablesStruct),
        ("channels", c_int32),
        ("wide", c_int32),
        ("up", c_int32),
        ("features", c_int32),
        ("mixtures", c_int32),
        ("levels", c_int32),
        ("stretch", c_int32),
    )


class TileStruct(ctypes.Structure):
    _fields_ = (
        ("x", c_void_p),
        ("context", c_void_p),
        ("x_size", c_int64),
        ("context_size", c_int64),
        ("height", c_int32),
        ("width", c_int32),
        ("period", c_int32),
    )


class PriorStruct(ctypes.Structure):
    _fields_ = (
        ("nets", c_void_p * (MAX_STEPS + 1)),
        ("net_sizes", c_int64 * (MAX_STEPS + 1)),
        ("base", c_void_p),
        ("window", c_void_p),
        ("tables", TablesStruct),
        ("affine", c_int32),
        ("window_size", c_int32),
        ("slope", c_int32),
        ("mixtures", c_int32),
        ("columns", c_int32),
        ("channels", c_int32),
    )


class FitLayerStruct(ctypes.Structure):
    _fields_ = (
        ("back", c_void_p),
        ("left", c_void_p),
        ("slope", c_void_p),
        ("product", c_float),
        ("bias", c_float),
        ("rank", c_int32),
        ("rectified", c_int32),
        ("back_columns", c_int32),
        ("rank_columns", c_int32),
    )


class FitStruct(ctypes.Structure):
    _fields_ = (
        ("net", c_void_p),
        ("net_size", c_int64),
        ("layers", POINTER(FitLayerStruct)),
        ("count", c_int32),
        ("mixtures", c_int32),
        ("channels", c_int32),
        ("coded", c_int32),
    )


_P, _I, _L = c_void_p, c_int32, c_int64
_LAYER, _ROWS, _TABLES, _STACK = POINTER(LayerStruct), POINTER(RowsStruct), POINTER(TablesStruct), POINTER(StackStruct)
_PIXELS, _TILE, _PRIOR, _FIT = POINTER(PixelsStruct), POINTER(TileStruct), POINTER(PriorStruct), POINTER(FitStruct)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {  # the type of what is returned, then of the arguments
    "abi": (c_int,),
    "source": (c_char_p,),
    "constants": (c_int, _P, c_int),
    "targets": (c_int, c_char_p, c_int),
    "use": (c_int, c_char_p),
    "target": (c_char_p,),
    "pack_size": (_L, _LAYER, c_int, c_int),
    "pack": (c_int, _LAYER, c_int, c_int, _P, _L),
    "scratch_size": (_L, _P, _L, _I, _L, _I),
    "run": (c_int, _P, _L, _P, _L, _P, _P, _L),
    "merge": (c_int, _LAYER, _P, _P, c_int, c_int, _P, _P, _P, _P),
    "intervals": (c_int, _ROWS, _TABLES, _P, _P, _P),
    "pop_rows": (_L, _ROWS, _TABLES, _STACK, _L, _P, _P, _L),
    "costs": (_L, _P, _L, _I, _I, _P),
    "push": (c_int, _STACK, _P, _P, _L, c_int),
    "pop": (_L, _STACK, _P, _L, _L, _P, _L, c_int),
    "push_region": (c_int, _STACK, _P, _P, _I, _I, _I, _I, _I),
    "pixel_rows": (c_int, _PIXELS, _TILE, _P, _L, _P, _P),
    "band_intervals": (c_int, _PIXELS, _TILE, _P, _L, _L, _I, _P, _P, _P, _L),
    "pop_band": (c_int, _PIXELS, _TILE, _I, _I, _I, _STACK, _P, _L),
    "prior_scratch": (_L, _PRIOR, _I, _I, _L),
    "prior_intervals": (c_int, _PRIOR, _P, _I, _I, _P, _P, _P, _L),
    "pop_prior": (c_int, _PRIOR, _P, _I, _I, _STACK, _P, _L),
    "fit_scratch": (_L, _FIT),
    "fit_block": (c_int, _FIT, _P, _P, _P, _P, _L, _P, _P, _L, _P, _L),
}


def _load() -> ctypes.CDLL:
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    path, sources = Path(__file__).with_name("_core" + suffix), Path(__file__).with_name("core")
    if sources.is_dir():  # a checkout
        build: Any = import_module("vlae_codec.build_core")

        if not path.exists() or build.source_hash().encode() not in path.read_bytes():  # it says what it is built from
            try:
                build.compile_core(path)
            except (build.BuildError, OSError) as error:
                raise CoreError(
                    f"the native library is not built from these sources, and cannot be: {error}"
                ) from error
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CoreError(f"the native library cannot be loaded: {error}; install vlae-codec again") from error
    for name, (returned, *arguments) in _FUNCTIONS.items():
        function = getattr(library, f"vlae_{name}")
        function.restype, function.argtypes = returned, arguments
    values = (c_int32 * len(_CONSTANTS))()
    if library.vlae_abi() != ABI or library.vlae_constants(values, len(values)) != len(values):
        raise CoreError("the native library is of another version; install vlae-codec again")
    if tuple(values) != _CONSTANTS:
        raise CoreError("the native library means other constants; install vlae-codec again")
    wanted = os.environ.get(TARGET_VARIABLE)
    if wanted and library.vlae_use(wanted.encode()) < 0:
        raise CoreError(
            f"{TARGET_VARIABLE} names {wanted!r}, which this processor or build does not have; "
            f"there are: {', '.join(_targets(library))}"
        )
    return library


def _targets(library: ctypes.CDLL) -> list[str]:
    names = ctypes.create_string_buffer(256)
    library.vlae_targets(names, len(names))
    return names.value.decode().split()


core = _load()


def targets() -> list[str]:
    """Names of the targets that this processor can run, best first."""
    return _targets(core)


def target() -> str:
    """Name of the target in use."""
    name: bytes = core.vlae_target()
    return name.decode()


def use(name: str) -> None:
    """Chooses a target for the whole process. What was packed for another one must be packed again. For tests and
    benchmarks; raises CoreError for one that there is not."""
    if core.vlae_use(name.encode()) < 0:
        raise CoreError(f"there is no target {name!r} here; there are: {', '.join(targets())}")


def check(result: int, what: str) -> int:
    """The result of a function of the core, unless it is an error. Raises EmptyStack, WeightsError, CoreError."""
    if result >= 0:
        return result
    if result == -1:
        raise EmptyStack(f"the coded stream of {what} ran out: the file is damaged")
    if result == -3:
        raise WeightsError(f"{what} can exceed the accumulator bound of 2^24 or is malformed; export the model again")
    raise CoreError(f"the native library does not take {what}: a length or a number is out of range")


def pointer(array: np.ndarray, dtype: Any) -> int:
    """The address of an array's data. Raises TypeError unless it is contiguous and of this type."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"an array must be contiguous {np.dtype(dtype).name}, not {array.dtype.name} {array.strides}")
    return array.ctypes.data


def aligned(size: int) -> np.ndarray:
    """Memory of so many bytes that begins at a multiple of 64."""
    memory = np.empty(size + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size]
