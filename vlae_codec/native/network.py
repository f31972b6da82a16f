"""Integer networks: the same integers from every processor, on every device, in any order of summation.

    accumulator = sum_j input[j] * weight[j, o]                     int8 x int8, |accumulator| < 2^24, proved
    output      = clamp((accumulator * multiplier[o] + addend[o]) >> shift, low, high)

A layer may have weights of two digits, 128 * high + low, in two columns with an accumulator each: with 8-bit weights
the local network's last layer would cost 0.3 % of the rate and its first 0.2 % (rounded in the float model, on 40,000
pixels of kodim05); with two digits float and integer rate differ by 0.03 to 0.06 % (`bench.quantisation`).

Because every partial sum stays below 2^24 a dot product is exact in int32, float32, TF32 and float64 alike, so how it
is computed is a choice of speed, never of format. Bias, rounding and the zero point of an unsigned activation (stored
minus 128) are all inside `addend`. A convolution is a gather and a matrix product.

The core runs a network on a few rows at a time, all of its layers, so that activations stay in the fastest cache
and only weights stream by. It proves the bound again when it packs a network.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from vlae_codec.errors import WeightsError
from vlae_codec.native.library import LayerStruct, aligned, check, core, pointer, target

ACCUMULATOR_LIMIT = 1 << 24


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
        worst = np.abs(self.weight.astype(np.int16)).sum(0, np.int64) * 128
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
    """A network as the core runs it: packed for the target in use when it is first needed.

    Raises WeightsError then when a bound does not hold.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.inputs, self.outputs = len(network.layers[0].weight), network.layers[-1].multiplier.size
        self._target, self._memory = "", np.empty(0, np.uint8)
        self._lock = threading.Lock()  # the core may be at work in memory that another thread would put away

    @property
    def memory(self) -> np.ndarray:
        """The packed network, (bytes,) uint8."""
        wanted = target()
        with self._lock:
            if self._target != wanted:
                layers = (LayerStruct * len(self.network.layers))(*map(layer_struct, self.network.layers))
                args = (layers, len(layers), self.network.skip)
                memory = aligned(check(core.vlae_pack_size(*args), "a network"))
                check(core.vlae_pack(*args, pointer(memory, np.uint8), memory.size), "a network")
                self._target, self._memory = wanted, memory
            return self._memory

    def scratch(self, rows: int = 0, lanes: int = 1, channels: int = 1) -> np.ndarray:
        """Memory in which the core works on so many rows of a wave."""
        memory = self.memory
        size = core.vlae_scratch_size(pointer(memory, np.uint8), memory.size, rows, lanes, channels)
        return aligned(check(size, "a network"))

    def run(self, rows: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) for rows (n, inputs) int8: int32 of an output layer, int8 of a hidden one."""
        rows = np.ascontiguousarray(rows, np.int8)
        if rows.ndim != 2 or rows.shape[1] != self.inputs:
            raise ValueError(f"rows must be (n, {self.inputs}), not {rows.shape}")
        kind = np.int8 if self.network.layers[-1].low is None else np.int32
        out, memory, scratch = np.empty((len(rows), self.outputs), kind), self.memory, self.scratch()
        args = (pointer(rows, np.int8), len(rows), pointer(out, kind), pointer(scratch, np.uint8), scratch.size)
        check(core.vlae_run(pointer(memory, np.uint8), memory.size, *args), "a network")
        return out


def layer_struct(layer: Layer) -> LayerStruct:
    """What the core's functions take; `layer` must outlive it. Raises WeightsError if shapes do not fit each other."""
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


def patches(x: np.ndarray, size: int) -> np.ndarray:
    """(H, W, C) -> (H/size * W/size, size*size*C): the patches in raster order, row-major inside."""
    h, w, c = x.shape
    x = x.reshape(h // size, size, w // size, size, c).swapaxes(1, 2)
    return np.ascontiguousarray(x).reshape(h // size * (w // size), size * size * c)


def unpatch(x: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """The inverse of `patches`: (height * width, size*size*C) -> (height*size, width*size, C)."""
    x = x.reshape(height, width, size, size, -1).swapaxes(1, 2)
    return np.ascontiguousarray(x).reshape(height * size, width * size, -1)


def neighbours(x: np.ndarray, outside: int) -> np.ndarray:
    """(H, W, C) int8 -> (H * W, 9 * C): 3x3 neighbourhoods, `outside` being the stored value of zero."""
    h, w, c = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=outside)
    views = [padded[r : r + h, s : s + w] for r in range(3) for s in range(3)]
    return np.concatenate(views, axis=-1).reshape(h * w, 9 * c)
