"""Integer networks: the same integers from every backend, on every device, in any order of summation.

    accumulator = sum_j input[j] * weight[j, o]                     int8 x int8, |accumulator| < 2^24, proved
    output      = clamp((accumulator * multiplier[o] + addend[o]) >> shift, low, high)

A layer may have weights of two digits, 128 * high + low, in two columns with an accumulator each: with 8-bit weights
the local network's last layer would cost 0.3 % of the rate and its first 0.2 % (rounded in the float model, on 40,000
pixels of kodim05); with two digits float and integer rate differ by 0.03 to 0.06 % (`bench.quantisation`).

Because every partial sum stays below 2^24 a dot product is exact in int32, float32, TF32 and float64 alike, so how it
is computed is a choice of speed, never of format. Bias, rounding and the zero point of an unsigned activation (stored
minus 128) are all inside `addend`. A convolution is a gather and a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from vlae_codec.errors import VlaeError, WeightsError

ACCUMULATOR_LIMIT = 1 << 24
DIGIT_BITS = 7
BLOCK = 2048  # rows of a product whose operands stay in the cache

Forward = Callable[[np.ndarray], np.ndarray]


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


@njit(cache=True, nogil=True)
def _requantise8(accumulator, digits, multiplier, addend, shift, out):
    for i in range(accumulator.shape[0]):
        for o in range(out.shape[1]):
            total = np.int64(accumulator[i, o])
            if digits == 2:
                total = (total << DIGIT_BITS) + np.int64(accumulator[i, out.shape[1] + o])
            value = (total * multiplier[o] + addend[o]) >> shift
            out[i, o] = min(max(value, -128), 127)


@njit(cache=True, nogil=True)
def _requantise32(accumulator, digits, multiplier, addend, shift, low, high, out):
    for i in range(accumulator.shape[0]):
        for o in range(out.shape[1]):
            total = np.int64(accumulator[i, o])
            if digits == 2:
                total = (total << DIGIT_BITS) + np.int64(accumulator[i, out.shape[1] + o])
            value = (total * multiplier[o] + addend[o]) >> shift
            out[i, o] = min(max(value, np.int64(low[o])), np.int64(high[o]))


def requantise(accumulator: np.ndarray, layer: Layer) -> np.ndarray:
    """(n, outputs) integers, in int32 or exact in float32 -> int8, or int32 for an output layer."""
    shape = (accumulator.shape[0], layer.multiplier.size)
    digits = layer.weight.shape[1] // shape[1]
    if layer.low is None or layer.high is None:
        out = np.empty(shape, np.int8)
        _requantise8(accumulator, digits, layer.multiplier, layer.addend, layer.shift, out)
        return out
    out = np.empty(shape, np.int32)
    args = (layer.multiplier, layer.addend, layer.shift, layer.low, layer.high)
    _requantise32(accumulator, digits, *args, out)
    return out


def _forward(network: Network, products: list[Forward]) -> Forward:
    """Rows (n, inputs) int8 -> (n, outputs), in cache-sized blocks, given the matrix product of each layer."""

    def block(rows: np.ndarray) -> np.ndarray:
        hidden = rows
        for i, (layer, product) in enumerate(zip(network.layers, products)):
            if network.skip and i == len(products) - 1:
                hidden = np.concatenate([hidden, rows], axis=1)
            hidden = requantise(product(hidden), layer)
        return hidden

    def forward(rows: np.ndarray) -> np.ndarray:
        if len(rows) <= BLOCK:
            return block(rows)
        return np.concatenate([block(rows[i : i + BLOCK]) for i in range(0, len(rows), BLOCK)])

    return forward


def compile_float32(network: Network) -> Forward:
    """Backend of numpy's float32 matrix product: exact below 2^24, runs anywhere, needs no torch."""

    def product(weight: np.ndarray) -> Forward:
        as_float = weight.astype(np.float32)
        return lambda a: a.astype(np.float32) @ as_float

    return _forward(network, [product(layer.weight) for layer in network.layers])


def compile_int8(network: Network) -> Forward:
    """Backend of torch's int8 matrix product on the CPU."""
    import torch

    def product(weight: np.ndarray) -> Forward:
        inputs, outputs = weight.shape
        padded = np.zeros((-inputs % 8 + inputs, -outputs % 8 + outputs), np.int8)
        padded[:inputs, :outputs] = weight
        w = torch.from_numpy(padded)

        def apply(a: np.ndarray) -> np.ndarray:
            if inputs % 8:
                a = np.pad(a, ((0, 0), (0, -inputs % 8)))
            return torch._int_mm(torch.from_numpy(a), w).numpy()

        return apply

    return _forward(network, [product(layer.weight) for layer in network.layers])


def compile_torch(network: Network, device: str) -> Forward:
    """Backend of torch's float32 matrix product on a device, whole network there; the CPU runs the same code."""
    import torch

    def tensor(array: np.ndarray | None, dtype: Any) -> Any:
        return None if array is None else torch.as_tensor(array, dtype=dtype, device=device)

    prepared = [
        (tensor(v.weight, torch.float32), tensor(v.multiplier, torch.int64), tensor(v.addend, torch.int64), v.shift)
        for v in network.layers
    ]
    limits = [(tensor(v.low, torch.int64), tensor(v.high, torch.int64)) for v in network.layers]

    @torch.inference_mode()
    def forward(rows: np.ndarray) -> np.ndarray:
        inputs = torch.as_tensor(rows, device=device).float()
        hidden = inputs
        for i, ((weight, multiplier, addend, shift), (low, high)) in enumerate(zip(prepared, limits)):
            if network.skip and i == len(prepared) - 1:
                hidden = torch.cat([hidden, inputs], dim=1)
            total = (hidden @ weight).long()
            if total.shape[1] > len(multiplier):
                total = (total[:, : len(multiplier)] << DIGIT_BITS) + total[:, len(multiplier) :]
            value = (total * multiplier + addend) >> shift
            if low is None:
                hidden = value.clamp(-128, 127).float()
            else:
                return torch.minimum(torch.maximum(value, low), high).to(torch.int32).cpu().numpy()
        return hidden.to(torch.int8).cpu().numpy()

    return forward


def compiler(backend: str) -> Callable[[Network], Forward]:
    """The function that compiles a network for "int8", "float32" (both CPU) or "torch:DEVICE".

    Raises VlaeError for a device that torch does not have.
    """
    if backend == "int8":
        return compile_int8
    if backend == "float32":
        return compile_float32
    kind, _, device = backend.partition(":")
    if kind != "torch" or not device:
        raise VlaeError(f"there is no backend {backend!r}; use int8, float32 or torch:DEVICE")
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a build without CUDA
        raise VlaeError(f"torch has no device {device!r} here; use --device cpu (the bytes are the same)") from error
    return lambda network: compile_torch(network, device)


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
