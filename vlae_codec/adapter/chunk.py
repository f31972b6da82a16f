"""Adapters: integers in a file that change the local network's weights for its pictures.

A model is fitted to a domain. Fitted to one picture, or to a set of them, it needs fewer bits; a few thousand integers
describe the change, and they cost less than they save. In the terms of the VLAE an adapter is one more latent, global
to the file, and its bits belong to the -ELBO. Each layer of the local network, in order, has a `Part`: a change of low
rank (Hu et al. 2021, arXiv 2106.09685) and one of the bias, merged into the weights once, so that coding runs at the
speed of the model alone.

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
                     n + 128 of 256 under one logistic at 0 with its group's scale (`native.mixture`, by the tables of
                     the model)

The message starts as the empty stack of seed 0, which a decoder must find at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vlae_codec.coder.codecs import Codec, categorical, serial
from vlae_codec.contract import LEVEL_BITS, PRECISION, RECTIFIED, SCALES
from vlae_codec.errors import CorruptFile, WeightsError
from vlae_codec.native import ans, mixture
from vlae_codec.native.library import check, core, pointer
from vlae_codec.native.network import Layer, Network, layer_struct

SYMBOLS = 256
MAX_RANK = 64
EXPONENTS = range(-24, 9)
RECORD = 6  # bytes of a layer's record


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
    adapted = merged(network, adapter)
    for i, layer in enumerate(adapted.layers):
        layer.check(f"{i} of the adapted network")
    return adapted


def merged(network: Network, adapter: Adapter) -> Network:
    """The network with changed weights, its bounds unchecked. Raises WeightsError if the adapter does not fit it."""
    if len(adapter) != len(network.layers):
        raise WeightsError("the adapter is for a network of another depth; fit it to this model")
    parts = zip(network.layers, adapter, zeros(network))
    return Network(tuple(merge(layer, part, zero) for layer, part, zero in parts), network.skip)


def merge(layer: Layer, part: Part, zero: np.ndarray) -> Layer:
    """One layer with its change, unchecked."""
    inputs, outputs = len(layer.weight), layer.multiplier.size
    shapes = [group.shape for group in part.groups()]
    rank = part.right.shape[0]
    if shapes != [(inputs, rank), (rank, outputs), (outputs,)]:
        raise WeightsError("the adapter does not fit the layers of this model; fit it to this model")
    weight, moved = layer.weight, np.zeros(outputs, np.int64)
    if rank:
        weight, scratch = np.empty_like(layer.weight), np.empty(outputs, np.int32)
        left, right = (np.ascontiguousarray(group) for group in (part.left, part.right))
        factors = pointer(left, np.int8), pointer(right, np.int8)
        out = (pointer(zero, np.int64), pointer(weight, np.int8), pointer(moved, np.int64), pointer(scratch, np.int32))
        check(core.vlae_merge(layer_struct(layer), *factors, rank, part.product, *out), "an adapter")
    exponent, bias = part.bias_unit + layer.shift, part.bias.astype(np.int64)
    bias = bias << exponent if exponent >= 0 else bias >> -exponent
    return replace(layer, weight=weight, addend=layer.addend + layer.multiplier * moved + bias)


# ---------------------------------------------------------------------------------------------------- the chunk


class _Group(NamedTuple):
    scale: int
    shape: tuple[int, ...]


def _codec(groups: list[_Group], tables: mixture.Tables) -> Codec:
    """The codec of a list of arrays of symbols."""
    cdfs = _cdfs(tables)
    return serial([categorical(cdfs[g.scale], PRECISION, g.shape) for g in groups])


def _cdfs(tables: mixture.Tables) -> np.ndarray:
    """(SCALES, 257) int64: cumulative frequencies of numbers under a logistic of each scale index."""
    return _cdfs_of(tables.sigmoid.tobytes(), tables.exp.tobytes(), *(table.tobytes() for table in tables[2:]))


@lru_cache(4)
def _cdfs_of(*data: bytes) -> np.ndarray:
    types = (np.int32, np.int32, np.int64, np.int64, np.int64)
    tables = mixture.Tables(*(np.frombuffer(part, kind).copy() for part, kind in zip(data, types)))
    n = SCALES * SYMBOLS
    params = np.zeros((n, 3), np.int32)
    params[:, 2] = np.arange(n) // SYMBOLS
    offsets = np.full((n, 1), (SYMBOLS // 2) << LEVEL_BITS, np.int32)
    rows = mixture.Rows(params, offsets, None, 1, False, SYMBOLS, 1, tables)
    starts, _ = mixture.intervals(rows, (np.arange(n) % SYMBOLS).astype(np.uint8)[:, None])
    starts = starts.reshape(SCALES, SYMBOLS).astype(np.int64)
    return np.concatenate([starts, np.full((SCALES, 1), 1 << PRECISION)], axis=1)


def best_scale(numbers: np.ndarray, tables: mixture.Tables) -> tuple[int, float]:
    """(scale index, bits): the scale under which the numbers cost least. An empty group has index 0."""
    counts = np.bincount(numbers.reshape(-1).astype(np.int64) + SYMBOLS // 2, minlength=SYMBOLS)
    spread = float(np.abs(numbers, dtype=np.float64).mean()) if numbers.size else 0.0
    guess = int(np.clip(16 * (np.log2(max(spread, 1e-3) / 1.386) + 4), 0, SCALES - 1))
    candidates = range(max(0, guess - 16), min(SCALES, guess + 17))
    cdfs = _cdfs(tables)
    costs = {i: float(counts @ (PRECISION - np.log2(np.diff(cdfs[i])))) for i in candidates}
    best = min(costs, key=lambda i: costs[i]) if numbers.size else 0
    return best, costs.get(best, 0.0)


def pack(adapter: Adapter, tables: mixture.Tables) -> bytes:
    """The payload of an adapter's chunk."""
    records, groups, symbols = b"", [], []
    for part in adapter:
        scales = [best_scale(group, tables)[0] for group in part.groups()]
        records += bytes([part.right.shape[0], part.product + 64, part.bias_unit + 64, *scales])
        groups += [_Group(scale, group.shape) for scale, group in zip(scales, part.groups())]
        symbols += [group.astype(np.int64) + SYMBOLS // 2 for group in part.groups()]
    return records + ans.to_bytes(_codec(groups, tables).push(ans.empty(), symbols))


def unpack(payload: bytes, network: Network, tables: mixture.Tables) -> Adapter:
    """The adapter of a chunk for a network. Raises CorruptFile when it does not fit the network or is damaged."""
    records, groups = [], []
    for i, layer in enumerate(network.layers):
        record = payload[RECORD * i : RECORD * (i + 1)]
        if len(record) < RECORD:
            raise CorruptFile("the adapter is too short for the model: the file is damaged")
        rank, product, bias_unit, *scales = record
        fine = rank <= MAX_RANK and product - 64 in EXPONENTS and bias_unit - 64 in EXPONENTS
        if not fine or max(scales) >= SCALES:
            raise CorruptFile(f"the adapter's record of layer {i} is impossible: the file is damaged")
        records.append((product - 64, bias_unit - 64))
        outputs = layer.multiplier.size
        shapes = [(len(layer.weight), rank), (rank, outputs), (outputs,)]
        groups += [_Group(scale, shape) for scale, shape in zip(scales, shapes)]
    message = ans.from_bytes(payload[RECORD * len(records) :], 1)
    message, symbols = _codec(groups, tables).pop(message)
    if not ans.is_empty(message):
        raise CorruptFile("the adapter's stack is not empty at its end: the file is damaged")
    numbers = [(group - SYMBOLS // 2).astype(np.int8) for group in symbols]
    return from_groups(numbers, records)


def size(adapter: Adapter, tables: mixture.Tables) -> float:
    """Bits of an adapter's chunk, framing left out."""
    costs = [best_scale(group, tables)[1] for part in adapter for group in part.groups()]
    return 8 * RECORD * len(adapter) + 64 + sum(costs)
