"""Integer networks: every processor and every device gives the same integers, in any order of summation.

    accumulator = sum_j input[j] * weight[j, o]                     int8 x int8, |accumulator| < 2^24, proved
    output      = clamp((accumulator * multiplier[o] + addend[o]) >> shift, low, high)

A layer may have weights of two digits, 128 * high + low, in two columns with an accumulator each. With 8-bit weights
the local network's last layer would cost 0.3 % of the rate and its first 0.2 % (rounded in the float model, on 40,000
pixels of kodim05); with two digits float and integer rate differ by 0.03 to 0.06 % (`bench.quantisation`).

Every partial sum stays below 2^24, so a dot product is exact in int32, float32, TF32 and float64 alike: how it is
computed is a choice of speed, never of format. `addend` holds the bias, the rounding and the zero point of a rectified
activation (which is stored minus 128). A convolution is a gather and a matrix product.

The core runs all layers on a few rows at a time, so that activations stay in the fastest cache and only weights stream
by. It proves the bound again when it packs a network.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vlae_codec.contract import ACCUMULATOR_LIMIT, INT8_MIN
from vlae_codec.errors import WeightsError
from vlae_codec.native.library import LayerStruct, aligned, check, core, pointer, span, target

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


@dataclass(frozen=True, eq=False)
class Layer:
    """One integer layer. A hidden layer gives int8; an output layer has its own limits and gives int32."""

    weight: np.ndarray  # (inputs, outputs) int8; or (inputs, 2 * outputs): all high digits, then all low ones
    multiplier: np.ndarray  # (outputs,) int64, 0 .. 2^20
    addend: np.ndarray  # (outputs,) int64, |addend| < 2^60
    shift: int  # 0 .. 40
    low: np.ndarray | None = None  # (outputs,) int32, with `high` for an output layer only
    high: np.ndarray | None = None

    def check(self, name: str) -> None:
        """Raises WeightsError unless types and shapes fit and no input can break the accumulator bound."""
        types = [array.dtype.name for array in (self.weight, self.multiplier, self.addend)]
        if types != ["int8", "int64", "int64"] or self.weight.ndim != 2:
            raise WeightsError(f"layer {name} is malformed; export the model again")
        outputs = self.multiplier.size
        worst = np.abs(self.weight.astype(np.int16)).sum(0, np.int64) * -INT8_MIN
        if worst.max(initial=0) >= ACCUMULATOR_LIMIT:
            raise WeightsError(f"layer {name} can exceed the accumulator bound of 2^24; export the model again")
        shaped = self.multiplier.shape == self.addend.shape == (outputs,) and 0 <= self.shift <= 40
        shaped = shaped and self.weight.shape[1] in (outputs, 2 * outputs) and outputs > 0
        bounded = shaped and self.multiplier.min(initial=0) >= 0 and self.multiplier.max(initial=0) <= 1 << 20
        if not bounded or self.addend.min() <= -(1 << 60) or self.addend.max() >= 1 << 60:  # abs(-2^63) is negative
            raise WeightsError(f"layer {name} is malformed; export the model again")


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in order. `skip`: the last layer sees the hidden activation and, after it, the network's inputs."""

    layers: tuple[Layer, ...]
    skip: bool = False


class Packed:
    """A network as the core runs it, packed for the target in use when it is first needed.

    Packing raises WeightsError when a bound does not hold.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.inputs, self.outputs = len(network.layers[0].weight), network.layers[-1].multiplier.size
        self._target, self._memory = "", np.empty(0, np.uint8)
        self._lock = threading.Lock()  # no thread may replace the memory in which the core works for another

    @property
    def memory(self) -> np.ndarray:
        """The packed network, (bytes,) uint8."""
        wanted = target()
        with self._lock:
            if self._target != wanted:
                layers = (LayerStruct * len(self.network.layers))(*map(layer_struct, self.network.layers))
                args = (layers, len(layers), self.network.skip)
                memory = aligned(check(core.vlae_pack_size(*args), "a network"))
                check(core.vlae_pack(*args, *span(memory)), "a network")
                self._target, self._memory = wanted, memory
            return self._memory

    def scratch(self, rows: int = 0, lanes: int = 1, channels: int = 1) -> np.ndarray:
        """Memory in which the core works on so many rows of a wave."""
        return aligned(check(core.vlae_scratch_size(*span(self.memory), rows, lanes, channels), "a network"))

    def run(self, rows: np.ndarray) -> np.ndarray:
        """Outputs (..., outputs) for rows (..., inputs) int8: int32 of an output layer, int8 of a hidden one."""
        rows = np.ascontiguousarray(rows, np.int8)
        if rows.ndim < 2 or rows.shape[-1] != self.inputs:
            raise ValueError(f"rows must be (..., {self.inputs}), not {rows.shape}")
        kind = np.int8 if self.network.layers[-1].low is None else np.int32
        out, memory, scratch = np.empty((*rows.shape[:-1], self.outputs), kind), self.memory, self.scratch()
        args = (pointer(rows, np.int8), rows.size // self.inputs, pointer(out, kind), *span(scratch))
        check(core.vlae_run(*span(memory), *args), "a network")
        return out


def layer_struct(layer: Layer) -> LayerStruct:
    """A layer as the core takes it, which `layer` must outlive. Raises WeightsError if shapes do not fit each other."""
    outputs = layer.multiplier.size
    limits = [layer.addend, *(limit for limit in (layer.low, layer.high) if limit is not None)]
    if not outputs or layer.weight.ndim != 2 or layer.weight.shape[1] not in (outputs, 2 * outputs):
        raise WeightsError(f"a layer of {outputs} outputs cannot have weights {layer.weight.shape}")
    if any(array.size != outputs for array in limits):
        raise WeightsError(f"a layer of {outputs} outputs needs as many addends and limits")
    return LayerStruct(
        pointer(layer.weight, np.int8),
        pointer(layer.multiplier, np.int64),
        pointer(layer.addend, np.int64),
        None if layer.low is None else pointer(layer.low, np.int32),
        None if layer.high is None else pointer(layer.high, np.int32),
        len(layer.weight),
        outputs,
        layer.weight.shape[1] // outputs,
        layer.shift,
    )


# ---------------------------------------------------------------------------------------------------- gathers


def patches(x: Array, size: int) -> Array:
    """(..., H, W, C) -> (..., H/size, W/size, size*size*C): each patch in one row, row-major."""
    *batch, h, w, c = x.shape
    x = x.reshape(*batch, h // size, size, w // size, size, c).swapaxes(-4, -3)
    return x.reshape(*batch, h // size, w // size, size * size * c)


def unpatch(x: Array, size: int) -> Array:
    """The inverse of `patches`: (..., H, W, size*size*C) -> (..., H*size, W*size, C)."""
    *batch, h, w, c = x.shape
    x = x.reshape(*batch, h, w, size, size, c // size**2).swapaxes(-4, -3)
    return x.reshape(*batch, h * size, w * size, c // size**2)


def neighbours(x: np.ndarray, outside: int) -> np.ndarray:
    """(H, W, C) int8 -> (H, W, 9*C): 3x3 neighbourhoods, row-major; `outside` is the stored value of zero."""
    h, w, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=outside)
    return np.concatenate([padded[r : r + h, s : s + w] for r in range(3) for s in range(3)], axis=-1)
