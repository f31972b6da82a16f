"""Bits of pixels under an adapted local network, and their gradient with respect to the adapter's numbers.

The forward pass is the codec's own, in integers, merged and rounded as a decoder will have it, so what a fit minimises
is what the file will hold. The backward pass takes every rounding for the identity (straight-through). The core does
both for some rows at a time; `vlae_codec.adapter.autograd` is the same in a few lines of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vlae_codec.contract import DIGIT_BITS
from vlae_codec.native.library import FitLayerStruct, FitStruct, aligned, check, core, pointer, span
from vlae_codec.native.network import Layer, Network, Packed

PAD = 16  # columns of a factor are filled up to a multiple of this

Gradient = list[np.ndarray]  # float32: left, right and bias of each layer in turn
Factors = tuple[np.ndarray, np.ndarray, int, int]  # left (inputs, rank), right (rank, outputs), product, bias unit
# From rows (n, inputs) int8, values (n, C) float32 (the pixels less their reference, in coarse levels), edges (n, C)
# int8 (1 for the first symbol, 2 for the last, and 4 times the pixel's shift), weights (n,) float32 and the number of
# channels that are coded, to the bits of each pixel (n,) and the gradient of their sum weighted by `weights`.
Block = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, Gradient]]


def combined(layer: Layer) -> np.ndarray:
    """(inputs, outputs) float32: the weights, two digits made one number."""
    weight, outputs = layer.weight.astype(np.float32), layer.multiplier.size
    if weight.shape[1] == outputs:
        return weight
    return weight[:, :outputs] * (1 << DIGIT_BITS) + weight[:, outputs:]


def slopes(layer: Layer) -> np.ndarray:
    """(outputs,) float32: what an output changes by when its accumulator, digits combined, changes by 1."""
    return (layer.multiplier / 2.0**layer.shift).astype(np.float32)


def block_function(adapted: Network, factors: Sequence[Factors], mixtures: int, channels: int) -> Block:
    """The function of blocks of pixels at an adapter, given its factors and the network that it makes.

    Raises WeightsError if the network breaks the accumulator bound.
    """
    packed, hidden = Packed(adapted), 0
    structs = (FitLayerStruct * len(adapted.layers))()
    kept: list[np.ndarray] = []  # what the structs point to
    shapes: list[tuple[int, ...]] = []
    for struct, layer, (left, right, product, bias) in zip(structs, adapted.layers, factors):
        (inputs, rank), outputs, slope = left.shape, right.shape[1], slopes(layer)
        begin, columns = -(-hidden // PAD) * PAD, -(-rank // PAD) * PAD
        back = np.zeros((outputs, begin + columns), np.float32)
        back[:, :hidden] = (combined(layer)[:hidden] * slope).T
        back[:, begin : begin + rank] = (right * (slope * np.float32(2.0**product))).T
        wide = np.zeros((inputs, columns), np.float32)
        wide[:, :rank] = left
        struct.back, struct.left, struct.slope = (pointer(array, np.float32) for array in (back, wide, slope))
        struct.product, struct.bias = 2.0**product, 2.0**bias
        struct.rank, struct.rectified, struct.back_columns, struct.rank_columns = rank, hidden, begin + columns, columns
        kept += [back, wide, slope]
        shapes += [(inputs, rank), (rank, outputs), (outputs,)]
        hidden = outputs
    memory = packed.memory
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def block(
        rows: np.ndarray, values: np.ndarray, edges: np.ndarray, weights: np.ndarray, coded: int
    ) -> tuple[np.ndarray, Gradient]:
        assert kept
        if values.shape != (len(rows), channels) or edges.shape != values.shape or len(weights) != len(rows):
            raise ValueError("rows, values, edges and weights are of different pixels")
        if rows.shape[1] != packed.inputs:
            raise ValueError(f"rows must be (n, {packed.inputs}), not {rows.shape}")
        fit = FitStruct(*span(memory), structs, len(structs), mixtures, channels, coded)
        scratch = aligned(check(core.vlae_fit_scratch(fit), "a fit"))
        spent, gradient = np.empty(len(rows), np.float32), np.empty(ends[-1], np.float32)
        kinds = (np.int8, np.float32, np.int8, np.float32)
        given = [np.ascontiguousarray(array, kind) for array, kind in zip((rows, values, edges, weights), kinds)]
        out = (pointer(spent, np.float32), pointer(gradient, np.float32), gradient.size, *span(scratch))
        check(core.vlae_fit_block(fit, *map(pointer, given, kinds), len(rows), *out), "a fit")
        return spent, [gradient[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], shapes)]

    return block
