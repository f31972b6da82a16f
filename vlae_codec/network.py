"""Integer networks: the same integers from every processor, on every device, in any order of summation.

    accumulator = sum_j input[j] * weight[j, o]                     int8 x int8, |accumulator| < 2^24, proved
    output      = clamp((accumulator * multiplier[o] + addend[o]) >> shift, low, high)

A layer may have weights of two digits, 128 * high + low, in two columns with an accumulator each: with 8-bit weights
the local network's last layer would cost 0.3 % of the rate and its first 0.2 % (rounded in the float model, on 40,000
pixels of kodim05); with two digits float and integer rate differ by 0.03 to 0.06 % (`bench.quantisation`).

Because every partial sum stays below 2^24 a dot product is exact in int32, float32, TF32 and float64 alike, so how it
is computed is a choice of speed, never of format. Bias, rounding and the zero point of an unsigned activation (stored
minus 128) are all inside `addend`. A convolution is a gather and a matrix product.

Compiled loops run a network on a few rows at a time, all of its layers, so that activations stay in the fastest cache
and only weights stream by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from vlae_codec import simd
from vlae_codec.errors import WeightsError
from vlae_codec.simd import (
    INT8,
    PANEL,
    ROWS,
    STEP,
    dot,
    hidden_outputs,
    hidden_outputs_2,
    last_outputs,
    last_outputs_2,
)

ACCUMULATOR_LIMIT = 1 << 24
DIGIT_BITS = 7
SLACK = simd.CHUNK  # bytes that may be written beyond a row of inputs


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
        worst = np.abs(self.weight.astype(np.int64)).sum(0) * 128
        if worst.max(initial=0) >= ACCUMULATOR_LIMIT:
            raise WeightsError(f"layer {name} can exceed the accumulator bound of 2^24; export the model again")
        shaped = self.multiplier.shape == self.addend.shape == (outputs,) and 0 <= self.shift <= 40
        shaped = shaped and self.weight.shape[1] in (outputs, 2 * outputs) and outputs > 0
        bounded = shaped and self.multiplier.min(initial=0) >= 0 and self.multiplier.max(initial=0) <= 1 << 20
        if not bounded or np.abs(self.addend).max(initial=0) >= 1 << 60:
            raise WeightsError(f"layer {name} is malformed; export the model again")


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in order. `skip`: the last layer sees the hidden activation and, after it, the network's inputs."""

    layers: tuple[Layer, ...]
    skip: bool = False


class Packed(NamedTuple):
    """Networks as compiled loops read them. Activations stand there as bytes, the stored value plus 128."""

    operand: np.ndarray  # (0,) of the type of a product's operands: uint8 or float32, see `simd`
    zero: int  # what is taken from an activation's byte to make it an operand
    step: int  # inputs that a product takes at once
    weights: np.ndarray  # int8, the panels of all layers
    layers: np.ndarray  # (layers, 6) int64: steps, panels, digits, shift, where its weights begin and where its columns
    multiplier: np.ndarray  # int32, of all layers' outputs and of those that fill up panels
    addend: np.ndarray  # int64
    low: np.ndarray  # int32
    high: np.ndarray  # int32
    networks: np.ndarray  # (networks, 5) int64: first layer, last layer, inputs, outputs, where inputs stand again or 0
    width: int  # bytes of a row of activations, a multiple of 64
    columns: int  # of a row of outputs: the most that a last layer has, with those that fill up panels


def pack(networks: Sequence[Network], kind: int) -> Packed:
    """Networks for `forward`, with products of a kind that this processor has."""
    weights: list[np.ndarray] = []
    columns: list[list[np.ndarray]] = []
    layers: list[list[int]] = []
    table: list[list[int]] = []
    width, most = 0, PANEL
    for network in networks:
        inputs, begin = network.layers[0].weight.shape[0], len(layers)
        taken, again = inputs, 0  # taken: bytes in which the inputs of the layer at hand stand
        width = max(width, inputs)
        for i, layer in enumerate(network.layers):
            outputs = layer.multiplier.size
            digits = layer.weight.shape[1] // outputs
            weight: np.ndarray = layer.weight.reshape(-1, digits, outputs)
            if network.skip and i == len(network.layers) - 1:
                gap = np.zeros((taken + inputs - len(weight), digits, outputs), np.int8)
                again, weight = taken, np.insert(weight, [len(weight) - inputs] * len(gap), gap, axis=0)
            share = PANEL // digits  # outputs of a panel
            panels = -(-outputs // share)
            fill = panels * share - outputs
            weight = np.pad(weight, ((0, 0), (0, 0), (0, fill)))
            weight = weight.reshape(len(weight), digits, panels, share).swapaxes(1, 2).reshape(len(weight), -1)
            addend = layer.addend
            if kind == INT8:  # it takes the bytes as they are, each 128 more than what it stands for
                sums = layer.weight.astype(np.int64).sum(0).reshape(digits, outputs)
                addend = addend - 128 * layer.multiplier * (
                    sums[0] if digits == 1 else (sums[0] << DIGIT_BITS) + sums[1]
                )
            low, high = (-128, 127) if layer.low is None or layer.high is None else (layer.low, layer.high)
            steps = -(-len(weight) // STEP[kind])
            places = sum(w.size for w in weights), sum(part[0].size for part in columns)
            layers.append([steps, panels, digits, layer.shift, *places])
            weights.append(simd.pack(weight, kind))
            parts = (layer.multiplier, addend, np.broadcast_to(low, outputs), np.broadcast_to(high, outputs))
            columns.append([np.pad(part, (0, fill)) for part in parts])
            taken = panels * share
            width = max(width, steps * STEP[kind], taken)
        table.append([begin, len(layers) - 1, inputs, outputs, again])
        most = max(most, taken)
    multiplier, addend, low, high = (np.concatenate(parts) for parts in zip(*columns))
    return Packed(
        np.empty(0, np.uint8 if kind == INT8 else np.float32),
        0 if kind == INT8 else 128,
        STEP[kind],
        np.concatenate(weights),
        np.array(layers, np.int64),
        multiplier.astype(np.int32),
        addend.astype(np.int64),
        low.astype(np.int32),
        high.astype(np.int32),
        np.array(table, np.int64),
        -(-(width + SLACK) // 64) * 64,
        most,
    )


@njit(cache=True, nogil=True)
def scratch(net):
    """Working memory of `forward`; rows of inputs go to its first array, at [r * net.width :], r = 0 .. ROWS - 1."""
    size = ROWS * net.width
    return np.zeros(3 * size, np.uint8), np.zeros(size, net.operand.dtype), np.empty(ROWS * PANEL, np.int32)


@njit(cache=True, nogil=True)
def forward(net, which, memory, out, at):
    """ROWS rows of `net.columns` int32 to the flat out[at :], from the inputs in `memory`, which stay there."""
    activations, operands, sums = memory
    begin, last, inputs, _, again = net.networks[which]
    source, target = 0, ROWS * net.width
    for i in range(begin, last + 1):
        steps, panels, digits, shift, weights, column = net.layers[i]
        if i == last and again:
            for r in range(ROWS):
                for j in range(inputs):
                    activations[source + r * net.width + again + j] = activations[r * net.width + j]
        for j in range(ROWS * net.width):
            operands[np.uintp(j)] = np.int32(activations[np.uintp(source + j)]) - net.zero
        for panel in range(panels):
            dot(operands, net.width // net.step, net.weights, weights + panel * steps * net.step * PANEL, steps, sums)
            first = panel * (PANEL // digits)
            args = (sums, net.multiplier, net.addend, net.low, net.high, column + first, shift)
            if i == last:
                if digits == 1:
                    last_outputs(*args, out, at + first, net.columns)
                else:
                    last_outputs_2(*args, out, at + first, net.columns)
            elif digits == 1:
                hidden_outputs(*args, activations, target + first, net.width)
            else:
                hidden_outputs_2(*args, activations, target + first, net.width)
        source, target = target, 3 * ROWS * net.width - target


@njit(cache=True, nogil=True)
def _run(net, which, rows, out):
    memory = scratch(net)
    inputs, outputs = rows.shape[1], out.shape[1]
    block = np.empty(ROWS * net.columns, np.int32)
    activations, flat_rows, flat_out = memory[0], rows.reshape(-1), out.reshape(-1)
    for begin in range(0, len(rows), ROWS):
        count = min(ROWS, len(rows) - begin)
        for r in range(count):
            to, at = r * net.width, (begin + r) * inputs
            for j in range(inputs):
                activations[np.uintp(to + j)] = flat_rows[np.uintp(at + j)] ^ np.uint8(128)
        forward(net, which, memory, block, 0)
        for r in range(count):
            to, at = (begin + r) * outputs, r * net.columns
            for o in range(outputs):
                flat_out[np.uintp(to + o)] = block[np.uintp(at + o)]


def run(net: Packed, which: int, rows: np.ndarray, dtype: type = np.int32) -> np.ndarray:
    """Outputs (n, outputs) of a network for rows (n, inputs) int8; dtype: np.int8 where they are activations."""
    out = np.empty((len(rows), int(net.networks[which, 3])), np.int32)
    _run(net, which, np.ascontiguousarray(rows, np.int8).view(np.uint8), out)
    return out.astype(dtype, copy=False)


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
