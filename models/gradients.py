"""Bits of pixels under an adapted local network, and their gradient with respect to the adapter's numbers.

The forward pass is the codec's own, in integers, merged and rounded as a decoder will have it; the backward pass takes
every rounding for the identity (straight-through). So what is minimised is what the file will hold.

`Autograd` says so in a few lines of torch and runs on any device. `Compiled` is the same for CPUs: int8 products
forward, bfloat16 ones backward and the mixture's likelihood in one compiled loop; many times faster.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from vlae_codec.adapter import Adapter, Part, adapt, zeros
from vlae_codec.network import DIGIT_BITS, Layer, Network
from vlae_codec.tables import COEF_BITS, LEVEL_BITS

from .export import mixture_units
from .vlae import LEAK, mixture_nll, split_mixture

REFRESH = 8  # calls of `prepare` after which the weights of the backward pass are made anew

Gradient = list[np.ndarray]  # float32, of each group of numbers of each part


def combined(layer: Layer) -> np.ndarray:
    """(inputs, outputs) float32: the weights, two digits made one number."""
    weight, outputs = layer.weight.astype(np.float32), layer.multiplier.size
    if weight.shape[1] == outputs:
        return weight
    return weight[:, :outputs] * (1 << DIGIT_BITS) + weight[:, outputs:]


def slopes(layer: Layer) -> np.ndarray:
    """(outputs,) float32: what an output changes by when its accumulator, digits combined, changes by 1."""
    return (layer.multiplier / 2.0**layer.shift).astype(np.float32)


class Block(Protocol):
    """Bits of each pixel (n,) and the gradient of their sum weighted by `weights` (n,).

    rows: (n, inputs) int8; values: (n, C) float32, the pixels less their reference; edges: (n, C) int8, 1 for the first
    symbol and 2 for the last; coded: channels that are coded.
    """

    def __call__(
        self, rows: np.ndarray, values: np.ndarray, edges: np.ndarray, weights: np.ndarray, coded: int
    ) -> tuple[np.ndarray, Gradient]: ...


class _Prepared(NamedTuple):
    """A layer at some adapter, ready for `Compiled`."""

    layer: Layer
    part: Part
    product: Tensor  # (inputs, digits * outputs) int8, padded to multiples of 8
    left: Tensor  # (inputs, rank) bfloat16
    back: Tensor  # (outputs, activations + rank) bfloat16: takes a gradient to activations and to their product by left


class Autograd:
    """Gradients by torch on a device."""

    def __init__(self, network: Network, mixtures: int, channels: int, device: str) -> None:
        self.network, self.mixtures, self.channels, self.device = network, mixtures, channels, device

    def at(self, adapter: Adapter) -> Block:
        """The function of blocks of pixels at an adapter."""
        return partial(self._block, adapter, adapt(self.network, adapter))

    def _block(
        self,
        adapter: Adapter,
        adapted: Network,
        rows: np.ndarray,
        values: np.ndarray,
        edges: np.ndarray,
        weights: np.ndarray,
        coded: int,
    ) -> tuple[np.ndarray, Gradient]:

        def put(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, device=self.device)

        numbers = [put(group).float().requires_grad_() for part in adapter for group in part.groups()]
        inputs = put(rows).double()
        h, last = inputs, len(self.network.layers) - 1
        for i, (layer, part, zero) in enumerate(zip(adapted.layers, adapter, zeros(self.network))):
            left, right, bias = (group.double() for group in numbers[3 * i : 3 * i + 3])
            if self.network.skip and i == last:
                h = torch.cat([h, inputs], dim=1)
            change = (left @ right) * 2.0**part.product
            weight = put(combined(layer)).double()
            total = (h.detach() @ weight).long() * put(layer.multiplier) + put(layer.addend)
            exact = total >> layer.shift
            if layer.low is None or layer.high is None:
                exact = exact.clamp(-128, 127)
            else:
                exact = torch.minimum(torch.maximum(exact, put(layer.low)), put(layer.high))
            line = ((h - put(zero)) @ (weight + change - change.detach())) * put(slopes(layer))
            line = line + bias * 2.0**part.bias_unit
            inside = (exact > -128) & (exact < 127) | (i == last)
            h = exact + torch.where(inside, line - line.detach(), 0.0)
        unit, zero = mixture_units(self.mixtures, self.channels, coupled=True)
        mixture = split_mixture((h - put(zero)) * put(unit), self.mixtures, self.channels)
        mask = (torch.arange(self.channels, device=self.device) < coded).expand(len(rows), -1)
        spent = mixture_nll(mixture, put(values), put(edges) == 1, put(edges) == 2, mask)
        found = torch.autograd.grad((spent * put(weights)).sum(), numbers)
        return spent.detach().float().cpu().numpy(), [g.float().cpu().numpy() for g in found]


class Compiled:
    """The same on the CPU. The weights of the backward pass may be those of a few steps ago."""

    def __init__(self, network: Network, mixtures: int) -> None:
        self.network, self.mixtures = network, mixtures
        self.slopes = [torch.from_numpy(slopes(layer)) for layer in network.layers]
        self.rectified = [int((zero != 0).sum()) for zero in zeros(network)]
        self.calls = 0

    def at(self, adapter: Adapter) -> Block:
        adapted = adapt(self.network, adapter)
        if self.calls % REFRESH == 0:
            self.weights = [
                (torch.from_numpy(combined(layer)[:hidden]) * slope).T.to(torch.bfloat16)
                for layer, slope, hidden in zip(adapted.layers, self.slopes, self.rectified)
            ]
        self.calls += 1
        prepared = []
        for layer, part, slope, weight in zip(adapted.layers, adapter, self.slopes, self.weights):
            inputs, outputs = layer.weight.shape
            product = torch.from_numpy(layer.weight)
            if inputs % 8 or outputs % 8:
                product = F.pad(product, (0, -outputs % 8, 0, -inputs % 8))
            right = torch.from_numpy(part.right) * (slope * 2.0**part.product)
            back = torch.cat([weight, right.T.to(torch.bfloat16)], dim=1)
            prepared.append(_Prepared(layer, part, product, torch.from_numpy(part.left).to(torch.bfloat16), back))
        return partial(self._block, prepared)

    def _block(
        self,
        layers: list[_Prepared],
        rows: np.ndarray,
        values: np.ndarray,
        edges: np.ndarray,
        weights: np.ndarray,
        coded: int,
    ) -> tuple[np.ndarray, Gradient]:
        h, hidden, last = rows, [], len(layers) - 1
        for i, (layer, _, product, _, _) in enumerate(layers):
            if self.network.skip and i == last:
                h = np.concatenate([h, rows], axis=1)
            if h.shape[1] % 8:
                h = np.pad(h, ((0, 0), (0, -h.shape[1] % 8)))
            h = requantise(torch._int_mm(torch.from_numpy(h), product).numpy(), layer)
            hidden.append(h)
        spent, slope = np.empty(len(rows), np.float32), np.empty(h.shape, np.float32)
        mixture_gradient(h, values, edges, self.mixtures, coded, weights, spent, slope)
        inputs, g = torch.from_numpy(rows).to(torch.bfloat16), torch.from_numpy(slope).to(torch.bfloat16)
        gradient: list[np.ndarray] = []
        for i in reversed(range(len(layers))):
            _, part, _, left_factor, back_weight = layers[i]
            width = self.rectified[i]
            back = g @ back_weight
            moved = back[:, width:].T.contiguous()
            x = [torch.from_numpy(hidden[i - 1].view(np.uint8) ^ 128).to(torch.bfloat16)] if i else []
            x += [inputs] if i == 0 or (self.network.skip and i == last) else []
            left = torch.cat([moved @ v for v in x], dim=1).T
            factors = torch.ones(len(rows), part.left.shape[1] + 1, dtype=torch.bfloat16)  # the last for the bias
            factors[:, :-1] = sum(v @ f for v, f in zip(x, left_factor.split([v.shape[1] for v in x])))
            right = (factors.T.contiguous() @ g).float()
            right[:-1] *= self.slopes[i] * 2.0**part.product
            right[-1] *= 2.0**part.bias_unit
            gradient = [left.float().numpy(), right[:-1].numpy(), right[-1].numpy(), *gradient]
            if i:
                g = back[:, :width].contiguous()
                _clear_outside(hidden[i - 1], g.view(torch.int16).numpy())
        return spent, gradient


def requantise(accumulator: np.ndarray, layer: Layer) -> np.ndarray:
    """Outputs of a layer from its accumulators (n, columns) int32: int8, or int32 for an output layer."""
    shape = (len(accumulator), layer.multiplier.size)
    digits = layer.weight.shape[1] // shape[1]
    if layer.low is None or layer.high is None:
        out, low, high = np.empty(shape, np.int8), np.full(shape[1], -128), np.full(shape[1], 127)
    else:
        out, low, high = np.empty(shape, np.int32), layer.low.astype(np.int64), layer.high.astype(np.int64)
    _requantise(accumulator, digits, layer.multiplier, layer.addend, layer.shift, low, high, out)
    return out


@njit(cache=True, nogil=True)
def _requantise(accumulator, digits, multiplier, addend, shift, low, high, out):
    for i in range(accumulator.shape[0]):
        for o in range(out.shape[1]):
            total = np.int64(accumulator[i, o])
            if digits == 2:
                total = (total << DIGIT_BITS) + np.int64(accumulator[i, out.shape[1] + o])
            value = (total * multiplier[o] + addend[o]) >> shift
            out[i, o] = min(max(value, low[o]), high[o])


@njit(cache=True, nogil=True)
def _clear_outside(activation, gradient):
    """Zero where an activation (n, hidden) int8 is at a limit of its range; gradient: the bits of bfloat16 as int16."""
    for i in range(activation.shape[0]):
        for o in range(activation.shape[1]):
            if activation[i, o] == -128 or activation[i, o] == 127:
                gradient[i, o] = 0


LN2 = math.log(2)
_LEAK = np.float32(LEAK)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def mixture_gradient(params, values, edges, mixtures, coded, weights, spent, gradient):
    """Fills spent (n,) with the bits of rows of integer parameters (n, P), and gradient (n, P) with weights (n,) times
    their derivatives by the parameters. values (n, C) float32, edges (n, C) int8: as in `Compiled.block`.
    """
    one, half, nat = np.float32(1), np.float32(0.5), np.float32(1 / LN2)
    logit_unit, loc_unit, scale_unit = np.float32(1 / 32), np.float32(1 / (1 << LEVEL_BITS)), np.float32(LN2 / 16)
    coef_unit = np.float32(1 / (1 << COEF_BITS))
    channels = values.shape[1]
    pairs = channels * (channels - 1) // 2
    locs, scales, coefs = mixtures, mixtures * (1 + channels), mixtures * (1 + 2 * channels)
    share, mass = np.empty(mixtures, np.float32), np.empty(mixtures, np.float32)
    by_mean, by_scale = np.empty((2, mixtures, channels), np.float32)
    for i in range(len(params)):
        row = params[i]
        top, total = row[0], np.float32(0)
        for k in range(1, mixtures):
            top = max(top, row[k])
        for k in range(mixtures):
            share[k] = np.exp(np.float32(row[k] - top) * logit_unit)
            total += share[k]
        density = np.float32(0)
        for k in range(mixtures):
            share[k] /= total
            m = share[k]
            for c in range(coded):
                mean = np.float32(row[locs + k * channels + c]) * loc_unit
                at = coefs + k * pairs + c * (c - 1) // 2
                for earlier in range(c):
                    mean += np.float32(row[at + earlier]) * coef_unit * values[i, earlier]
                inverse = np.exp(np.float32(64 - row[scales + k * channels + c]) * scale_unit)
                distance = (values[i, c] - mean) * inverse
                # The logistic is symmetric: on the left of its mean the difference of sigmoids does not cancel.
                mirror = distance > 0
                first = edges[i, c] == (2 if mirror else 1)
                last = edges[i, c] == (1 if mirror else 2)
                distance = -abs(distance)
                lower, upper = max(distance - half * inverse, np.float32(-60)), distance + half * inverse
                e = np.exp(lower)
                below = e / (one + e)
                slope_below = below * (one - below)
                e = np.exp(max(-abs(upper), np.float32(-60)))
                above = (e if upper < 0 else one) / (one + e)
                slope_above = above * (one - above)
                if first:
                    below, slope_below = np.float32(0), np.float32(0)
                if last:
                    above, slope_above = one, np.float32(0)
                part = above - below + _LEAK
                by_mean[k, c] = (slope_above - slope_below) * inverse / part * (one if mirror else -one)
                by_scale[k, c] = (slope_below * lower - slope_above * upper) / part
                m *= part
            mass[k] = m
            density += m
        density = max(density, np.float32(1e-30))
        spent[i] = -np.log(density) * nat
        weight = weights[i] * nat
        for k in range(mixtures):
            posterior = mass[k] / density
            gradient[i, k] = weight * (share[k] - posterior) * logit_unit
            for c in range(channels):
                at = coefs + k * pairs + c * (c - 1) // 2
                by = -weight * posterior * by_mean[k, c] if c < coded else np.float32(0)
                gradient[i, locs + k * channels + c] = by * loc_unit
                by_log = -weight * posterior * by_scale[k, c] * scale_unit if c < coded else np.float32(0)
                gradient[i, scales + k * channels + c] = by_log
                for earlier in range(c):
                    gradient[i, at + earlier] = by * values[i, earlier] * coef_unit
