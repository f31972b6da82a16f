"""Adapters: integers in a file that change the local network's weights for its pictures.

The network of a model is fitted to a domain; one picture, or a set, can be coded with a few thousand numbers fewer bits
than they cost. In the terms of the VLAE an adapter is one more latent, global to the file, and its bits belong to the
-ELBO. Each layer of the local network, in order, has a `Part`: a change of low rank (Hu et al. 2021, arXiv 2106.09685)
and one of the bias, merged into the weights once, so that coding runs at the speed of the model alone.

    change[j, o] = sum_r left[j, r] * right[r, o]  scaled by 2^product, to the nearest integer (halves up)
    W'[j, o]     = clamp(W[j, o] + change, -limit, limit)            W = 128 * high + low in a layer of two digits
    addend'[o]   = addend[o] - multiplier[o] * sum_j zero[j] * (W' - W)[j, o] + (bias[o] by 2^(bias_unit + shift))

limit is 127 in a layer of one digit and 127 * 128 in one of two; the digits of W' are high = (W' + 64) >> 7 and
low = W' - 128 * high. zero is the stored value of zero of an input: -128 of a rectified activation, 0 of the network's
own inputs; so a change acts on activations and does not move what is not active. The last scaling rounds down. A
network that breaks the accumulator bound after this is refused, by the encoder and by the decoder.

A chunk's payload, little-endian:

    for each layer   rank u8, 0 .. 64;  product + 64 u8, 40 .. 72;  bias_unit + 64 u8, 40 .. 72
                     scale indices of left, right and bias, u8 each, 0 .. 159
    message          one ANS lane: left, right (row by row) and bias of each layer, each number n as symbol
                     n + 128 of 256 under one logistic at 0 with its group's scale (`tables`, those of the model)

The message starts as the empty stack of seed 0, which a decoder must find at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit

from vlae_codec import ans, tables, waves
from vlae_codec.codecs import Codec, categorical, serial
from vlae_codec.errors import CorruptFile, WeightsError
from vlae_codec.network import DIGIT_BITS, Layer, Network

SYMBOLS = 256
MAX_RANK = 64
EXPONENTS = range(-24, 9)
RECTIFIED = -128  # stored zero of a hidden activation
_RECORD = 6  # bytes of a layer's record


@dataclass(frozen=True, eq=False)
class Part:
    """The change of one layer; all numbers int8."""

    left: np.ndarray  # (inputs, rank)
    right: np.ndarray  # (rank, outputs)
    bias: np.ndarray  # (outputs,)
    product: int
    bias_unit: int

    def groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.left, self.right, self.bias


Adapter = tuple[Part, ...]


def from_groups(numbers: Sequence[np.ndarray], units: Sequence[tuple[int, int]]) -> Adapter:
    """The adapter of left, right and bias of each layer in turn, and of each layer's exponents."""
    groups = zip(numbers[::3], numbers[1::3], numbers[2::3], units)
    return tuple(Part(left, right, bias, *unit) for left, right, bias, unit in groups)


def zeros(network: Network) -> list[np.ndarray]:
    """Stored value of zero of each layer's inputs, (inputs,) int64 each."""
    found, hidden = [], 0
    for layer in network.layers:
        zero = np.zeros(len(layer.weight), np.int64)
        zero[:hidden] = RECTIFIED
        found.append(zero)
        hidden = layer.multiplier.size
    return found


def adapt(network: Network, adapter: Adapter) -> Network:
    """The network with changed weights. Raises WeightsError if it breaks a bound, or the adapter does not fit it."""
    if len(adapter) != len(network.layers):
        raise WeightsError("the adapter is for a network of another depth; fit it to this model")
    layers = []
    for i, (layer, part, zero) in enumerate(zip(network.layers, adapter, zeros(network))):
        merged = merge(layer, part, zero)
        merged.check(f"{i} of the adapted network")
        layers.append(merged)
    return Network(tuple(layers), network.skip)


def merge(layer: Layer, part: Part, zero: np.ndarray) -> Layer:
    """One layer with its change, unchecked."""
    inputs, outputs = len(layer.weight), layer.multiplier.size
    shapes = [group.shape for group in part.groups()]
    rank = part.right.shape[0]
    if shapes != [(inputs, rank), (rank, outputs), (outputs,)]:
        raise WeightsError("the adapter does not fit the layers of this model; fit it to this model")
    weight, moved = layer.weight, np.zeros(outputs, np.int64)
    if rank:
        weight = np.empty_like(layer.weight)
        _merge(layer.weight, part.left, part.right, part.product, zero, weight, moved)
    exponent, bias = part.bias_unit + layer.shift, part.bias.astype(np.int64)
    bias = bias << exponent if exponent >= 0 else bias >> -exponent
    return replace(layer, weight=weight, addend=layer.addend + layer.multiplier * moved + bias)


@njit(cache=True, nogil=True)
def _merge(weight, left, right, product, zero, merged, moved):
    outputs = moved.size
    two = weight.shape[1] == 2 * outputs
    limit = 127 << DIGIT_BITS if two else 127
    half = 1 << (-product - 1) if product < 0 else 0
    change = np.empty(outputs, np.int32)
    for j in range(weight.shape[0]):
        change[:] = 0
        for r in range(right.shape[0]):
            factor = np.int32(left[j, r])
            for o in range(outputs):
                change[o] += factor * np.int32(right[r, o])
        for o in range(outputs):
            old = np.int32(weight[j, o])
            if two:
                old = (old << DIGIT_BITS) + np.int32(weight[j, outputs + o])
            step = change[o] << product if product >= 0 else (change[o] + half) >> -product
            new = min(max(old + step, -limit), limit)
            moved[o] -= zero[j] * (new - old)
            if two:
                high = (new + 64) >> DIGIT_BITS
                merged[j, o] = high
                merged[j, outputs + o] = new - (high << DIGIT_BITS)
            else:
                merged[j, o] = new


# ---------------------------------------------------------------------------------------------------- the chunk


class _Group(NamedTuple):
    scale: int
    shape: tuple[int, ...]


def _codec(groups: list[_Group], model_tables: tables.Tables) -> Codec:
    """The codec of a list of arrays of symbols."""
    return serial([categorical(_cdf(g.scale, model_tables), tables.PRECISION, g.shape) for g in groups])


def _cdf(scale: int, model_tables: tables.Tables) -> np.ndarray:
    """(257,) cumulative frequencies of numbers under a logistic of a scale index."""
    params = np.tile(np.array([0, 0, scale], np.int32), (SYMBOLS, 1))
    offsets = np.full((SYMBOLS, 1), (SYMBOLS // 2) << tables.LEVEL_BITS, np.int32)
    starts, freqs = np.zeros((2, SYMBOLS, 1), np.uint32)
    symbols = np.arange(SYMBOLS, dtype=np.uint8)[:, None]
    outers = waves.identity_outer(offsets.shape)
    tables.intervals(params, offsets, outers, symbols, 1, False, SYMBOLS, 1, model_tables, starts, freqs)
    return np.append(starts[:, 0].astype(np.int64), 1 << tables.PRECISION)


def best_scale(numbers: np.ndarray, model_tables: tables.Tables) -> tuple[int, float]:
    """(scale index, bits): the scale under which the numbers cost least. An empty group has index 0."""
    counts = np.bincount(numbers.reshape(-1).astype(np.int64) + SYMBOLS // 2, minlength=SYMBOLS)
    spread = float(np.abs(numbers, dtype=np.float64).mean()) if numbers.size else 0.0
    guess = int(np.clip(16 * (np.log2(max(spread, 1e-3) / 1.386) + 4), 0, tables.SCALES - 1))
    candidates = range(max(0, guess - 16), min(tables.SCALES, guess + 17))
    costs = {i: float(counts @ (tables.PRECISION - np.log2(np.diff(_cdf(i, model_tables))))) for i in candidates}
    best = min(costs, key=lambda i: costs[i]) if numbers.size else 0
    return best, costs.get(best, 0.0)


def pack(adapter: Adapter, model_tables: tables.Tables) -> bytes:
    """The payload of an adapter's chunk."""
    records, groups, symbols = b"", [], []
    for part in adapter:
        scales = [best_scale(group, model_tables)[0] for group in part.groups()]
        records += bytes([part.right.shape[0], part.product + 64, part.bias_unit + 64, *scales])
        groups += [_Group(scale, group.shape) for scale, group in zip(scales, part.groups())]
        symbols += [group.astype(np.int64) + SYMBOLS // 2 for group in part.groups()]
    return records + ans.to_bytes(_codec(groups, model_tables).push(ans.empty(), symbols))


def unpack(payload: bytes, network: Network, model_tables: tables.Tables) -> Adapter:
    """The adapter of a chunk for a network. Raises CorruptFile when it does not fit the network or is damaged."""
    records, groups = [], []
    for i, layer in enumerate(network.layers):
        record = payload[_RECORD * i : _RECORD * (i + 1)]
        if len(record) < _RECORD:
            raise CorruptFile("the adapter is too short for the model: the file is damaged")
        rank, product, bias_unit, *scales = record
        fine = rank <= MAX_RANK and product - 64 in EXPONENTS and bias_unit - 64 in EXPONENTS
        if not fine or max(scales) >= tables.SCALES:
            raise CorruptFile(f"the adapter's record of layer {i} is impossible: the file is damaged")
        records.append((product - 64, bias_unit - 64))
        outputs = layer.multiplier.size
        shapes = [(len(layer.weight), rank), (rank, outputs), (outputs,)]
        groups += [_Group(scale, shape) for scale, shape in zip(scales, shapes)]
    message = ans.from_bytes(payload[_RECORD * len(records) :], 1)
    message, symbols = _codec(groups, model_tables).pop(message)
    if not ans.is_empty(message):
        raise CorruptFile("the adapter's stack is not empty at its end: the file is damaged")
    numbers = [(group - SYMBOLS // 2).astype(np.int8) for group in symbols]
    return from_groups(numbers, records)


def size(adapter: Adapter, model_tables: tables.Tables) -> float:
    """Bits of an adapter's chunk, framing left out."""
    costs = [best_scale(group, model_tables)[1] for part in adapter for group in part.groups()]
    return 8 * _RECORD * len(adapter) + 64 + sum(costs)
