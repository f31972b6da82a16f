"""The C core, loaded: its structs, its functions, and the target that runs.

A target is the core compiled for one set of instructions: generic, avx2, avxvnni, avx512, avx512vnni, neon, dotprod,
i8mm. The loader takes the best one that the processor has; the environment variable VLAE_CODEC_TARGET names another.
All targets give the same integers. In a checkout the sources stand beside the library, and the loader builds a library
that was built from other sources anew.
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
from numpy.typing import DTypeLike

from vlae_codec import contract
from vlae_codec.errors import EmptyStack, VlaeError, WeightsError

TARGET_VARIABLE = "VLAE_CODEC_TARGET"
ABI = 6
MAX_STEPS = 8  # of the flow prior
CHECKED = (  # constants of the contract that the core has, in its order
    *("PRECISION", "LEVEL_BITS", "COEF_BITS", "WEIGHT_BITS", "SIGMOID_BITS", "SIGMOID_HALF", "FACTOR_BITS"),
    *("EXP_ENTRIES", "SCALES", "OUTER_SCALES", "OUTER_IDENTITY", "DIGIT_BITS", "LATENT_LEVELS", "OFFSET_LIMIT"),
    *("SLACK", "COST_BITS", "MAX_LEVELS", "MAX_SHIFT", "LOGIT_LIMIT", "LOC_LIMIT", "COEF_LIMIT", "MAX_ESCAPE"),
    *("ARGUMENT_BITS", "LEARN_PIXELS", "LEARN_BIAS", "LEARN_BITS", "LEARN_STEP_BITS", "LEARN_RATE_BITS"),
    *("LEARN_UNITS", "LEARN_SCALE_BITS", "MAX_SLOW", "LEARN_WIDTH"),
)


class CoreError(VlaeError):
    """The native library is missing, of another version, or was given what it does not take."""


def _fields(*groups: tuple[Any, str]) -> list[tuple[str, Any]]:
    """The fields of a struct in order; each group: a type and the names of the fields that have it."""
    return [(name, kind) for kind, names in groups for name in names.split()]


class LayerStruct(ctypes.Structure):
    _fields_ = _fields((c_void_p, "weight multiplier addend low high"), (c_int32, "inputs outputs digits shift"))


class TablesStruct(ctypes.Structure):
    _fields_ = _fields((c_void_p, "sigmoid exp inverse outer_scale outer_inverse"))


class RowsStruct(ctypes.Structure):
    _fields_ = _fields(
        (c_void_p, "params offsets outers shifts set escapes"),
        (c_int64, "n"),
        (c_int32, "columns mixtures channels coupled levels coded"),
    )


class StackStruct(ctypes.Structure):
    _fields_ = _fields((c_void_p, "heads words"), (c_int64, "lanes size room"))


class PixelsStruct(ctypes.Structure):
    _fields_ = _fields(
        *((c_void_p, "net"), (c_int64, "net_size"), (TablesStruct, "tables"), (c_void_p, "set learn")),
        (c_int32, "channels wide up features mixtures levels stretch shift escape"),
    )


class TaughtStruct(ctypes.Structure):
    _fields_ = _fields(
        *((c_void_p, "net"), (c_int64, "net_size")),
        (c_void_p, "diagonal reduce scale rate back"),
    )


class LearnStruct(ctypes.Structure):
    _fields_ = _fields((POINTER(TaughtStruct), "layers"), (c_void_p, "slope"), (c_int32, "count slow"))


class TileStruct(ctypes.Structure):
    _fields_ = _fields((c_void_p, "x context"), (c_int64, "x_size context_size"), (c_int32, "height width period"))


class PriorStruct(ctypes.Structure):
    _fields_ = _fields(
        *((c_void_p * (MAX_STEPS + 1), "nets"), (c_int64 * (MAX_STEPS + 1), "net_sizes")),
        *((c_void_p, "base window"), (TablesStruct, "tables")),
        (c_int32, "affine window_size slope mixtures columns channels"),
    )


class FitLayerStruct(ctypes.Structure):
    _fields_ = _fields(
        (c_void_p, "back left slope"), (c_float, "product bias"), (c_int32, "rank rectified back_columns rank_columns")
    )


class FitStruct(ctypes.Structure):
    _fields_ = _fields(
        *((c_void_p, "net"), (c_int64, "net_size"), (POINTER(FitLayerStruct), "layers")),
        (c_int32, "count mixtures channels coded"),
    )


class MatcherStruct(ctypes.Structure):
    _fields_ = _fields((c_int32, "rule window_bits hash_bits good lazy nice chain filtered far quads"))


class OriginStruct(ctypes.Structure):
    _fields_ = _fields(
        *((c_void_p, "tables matrix columns rows"), (c_int64, "width height chroma_width chroma_height")),
        *((c_int32, "shift"), (c_int32 * 4, "bias")),
    )


class ScanComponentStruct(ctypes.Structure):
    _fields_ = _fields((c_void_p, "blocks dc ac"), (c_int32, "rows columns h v"))


class ScanStruct(ctypes.Structure):
    _fields_ = _fields(
        *((ScanComponentStruct * 4, "components"), (c_int32, "count rows columns begin end high low interval"))
    )


class PlaneStruct(ctypes.Structure):
    _fields_ = _fields((c_void_p, "blocks table"), (c_int32, "rows columns first last h v"))


class CoefficientsStruct(ctypes.Structure):
    _fields_ = _fields((PlaneStruct * 4, "planes"), (c_int32, "count"))


_P, _I, _L = c_void_p, c_int32, c_int64
_LAYER, _ROWS, _TABLES, _STACK = POINTER(LayerStruct), POINTER(RowsStruct), POINTER(TablesStruct), POINTER(StackStruct)
_PIXELS, _TILE, _PRIOR, _FIT = POINTER(PixelsStruct), POINTER(TileStruct), POINTER(PriorStruct), POINTER(FitStruct)
_ORIGIN = POINTER(OriginStruct)
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
    "pixel_rows": (c_int, _PIXELS, _TILE, _P, _L, _P, _P, _P),
    "band_intervals": (c_int, _PIXELS, _TILE, _P, _L, _L, _I, _P, _P, _P, _L),
    "pop_band": (c_int, _PIXELS, _TILE, _I, _I, _I, _STACK, _P, _L),
    "learn_scratch": (_L, _PIXELS, _I, _L),
    "learn_intervals": (c_int, _PIXELS, _TILE, _I, _I, _I, _P, _P, _P, _L),
    "prior_scratch": (_L, _PRIOR, _I, _I, _L),
    "prior_intervals": (c_int, _PRIOR, _P, _I, _I, _P, _P, _P, _L),
    "pop_prior": (c_int, _PRIOR, _P, _I, _I, _STACK, _P, _L),
    "fit_scratch": (_L, _FIT),
    "png_unfilter": (_L, _P, _L, _P, _L, _L, _I, _P, _L),
    "png_filter": (c_int, _P, _L, _L, _L, _I, _P, _L),
    "inflate": (c_int, _P, _L, _P, _L, _P, _L, _P, _L, _P),
    "deflate": (_L, _P, _L, _P, _L, _P, _L, _P, _L, _I, _P, _L),
    "describe": (_L, _P, _L, _P, _L, _P, _L),
    "walk_scratch": (_L,),
    "walk": (_L, POINTER(MatcherStruct), _P, _L, _P, _L, _P, _L, c_int, _P, _L),
    "origin_rebuild": (c_int, _ORIGIN, _P, _P, _P, _P, _P, _L),
    "origin_chroma": (_L, _ORIGIN, _P, _L, _P, _P),
    "origin_triples": (c_int, _ORIGIN, _P, _L),
    "origin_halve_scratch": (_L, _ORIGIN),
    "origin_halve": (_L, _ORIGIN, _P, _P, _P, _P, _P, _L, _P, _P, _P, _L),
    "origin_luma": (_L, _ORIGIN, _P, _P, _P, _P, _P, _L),
    "idct": (c_int, _P, _L, _L, _P, _P, _L),
    "enlarge": (c_int, _P, _L, _L, _L, _L, _L, _I, _I, _L, _L, _L, _P),
    "jfif": (c_int, _P, _P, _P, _L, _P),
    "residual_scratch": (_L, _I, _I),
    "residual_encode": (_L, _P, _P, _I, _I, _P, _L, _P, _L),
    "residual_decode": (_L, _P, _P, _I, _I, _P, _L, _P, _L),
    "coefficients_scratch": (_L, POINTER(CoefficientsStruct)),
    "push_coefficients": (_L, POINTER(CoefficientsStruct), _P, _L, _P, _L),
    "pop_coefficients": (c_int, POINTER(CoefficientsStruct), _P, _L, _P, _L),
    "read_scan": (_L, POINTER(ScanStruct), _P, _L, _P, _L),
    "write_scan": (_L, POINTER(ScanStruct), _P, _L, _P, _L),
    "jfif_back": (_L, _P, _L, _P, _P, _P, _P),
    "luma_range": (c_int, _P, _P, _P, _L, _P, _P),
    "chroma_beside": (c_int, _P, _P, _I, _L, _P, _P),
    "halve": (c_int, _P, _P, _L, _L, _I, _I, _I, _P, _P, _P, _P, _P, _L, _L),
    "narrow": (c_int, _P, _P, _L, _L, _I, _I, _I, _P, _P, _L, _L),
    "search_blocks": (c_int, _P, _P, _L, _P, _P, _I, _I, _P, _P),
    "score_steps": (c_int, _P, _L, _P, _P),
    "fit_block": (c_int, _FIT, _P, _P, _P, _P, _L, _P, _P, _L, _P, _L),
}


def load() -> ctypes.CDLL:
    """The library, its functions typed. Raises CoreError if it is missing, broken or of another version."""
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
    values = (c_int32 * len(CHECKED))()
    if library.vlae_abi() != ABI or library.vlae_constants(values, len(values)) != len(values):
        raise CoreError("the native library is of another version; install vlae-codec again")
    if [*values] != [getattr(contract, name) for name in CHECKED]:
        raise CoreError("the native library means other constants; install vlae-codec again")
    wanted = os.environ.get(TARGET_VARIABLE)
    if wanted:
        _use(library, wanted, f"{TARGET_VARIABLE} names {wanted!r}, which this processor or build does not have")
    return library


def _targets(library: ctypes.CDLL) -> list[str]:
    names = ctypes.create_string_buffer(256)
    library.vlae_targets(names, len(names))
    return names.value.decode().split()


def _use(library: ctypes.CDLL, name: str, otherwise: str) -> None:
    if library.vlae_use(name.encode()) < 0:
        raise CoreError(f"{otherwise}; there are: {', '.join(_targets(library))}")


core = load()


def targets() -> list[str]:
    """Names of the targets that this processor can run, best first."""
    return _targets(core)


def target() -> str:
    """Name of the target in use."""
    name: bytes = core.vlae_target()
    return name.decode()


def use(name: str) -> None:
    """Chooses a target for the whole process, for tests and benchmarks.

    Networks that were packed for another target are packed again. Raises CoreError for a target that is not there.
    """
    _use(core, name, f"there is no target {name!r} here")


def check(result: int, what: str) -> int:
    """The result of a function of the core, unless it is an error. Raises EmptyStack, WeightsError, CoreError."""
    if result >= 0:
        return result
    if result == -1:
        raise EmptyStack(f"the coded stream of {what} ran out: the file is damaged")
    if result == -3:
        raise WeightsError(f"{what} can exceed the accumulator bound of 2^24 or is malformed; export the model again")
    raise CoreError(f"the native library does not take {what}: a length or a number is out of range")


def pointer(array: np.ndarray, dtype: DTypeLike) -> int:
    """The address of an array's data. Raises TypeError unless it is contiguous and of this type."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"an array must be contiguous {np.dtype(dtype).name}, not {array.dtype.name} {array.strides}")
    return array.ctypes.data


def span(memory: np.ndarray) -> tuple[int, int]:
    """Address and size of an array of bytes."""
    return pointer(memory, np.uint8), memory.size


def aligned(size: int) -> np.ndarray:
    """(size,) uint8 that begins at a multiple of 64 bytes, unset."""
    memory = np.empty(size + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size]
