"""`vlae_codec.native.gradients` by torch, on any device, in a few lines.

The forward pass is in integers, exact in float64; the backward pass takes every rounding for the identity.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vlae_codec.adapter.chunk import Adapter, adapt, zeros
from vlae_codec.contract import INT8_MAX, INT8_MIN
from vlae_codec.gpu.logistics import mixture_nll, mixture_units, split_mixture
from vlae_codec.native.gradients import Block, Gradient, combined, slopes
from vlae_codec.native.network import Network


def autograd(network: Network, adapter: Adapter, mixtures: int, channels: int, device: str) -> Block:
    """The function of blocks of pixels at an adapter. Raises WeightsError if it breaks the accumulator bound."""
    adapted = adapt(network, adapter)

    def put(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, device=device)

    def block(
        rows: np.ndarray, values: np.ndarray, edges: np.ndarray, weights: np.ndarray, coded: int
    ) -> tuple[np.ndarray, Gradient]:
        numbers = [put(group).float().requires_grad_() for part in adapter for group in part.groups()]
        inputs = put(rows).double()
        h, last = inputs, len(network.layers) - 1
        for i, (layer, part, zero) in enumerate(zip(adapted.layers, adapter, zeros(network))):
            left, right, bias = (group.double() for group in numbers[3 * i : 3 * i + 3])
            if network.skip and i == last:
                h = torch.cat([h, inputs], dim=1)
            change = (left @ right) * 2.0**part.product
            weight = put(combined(layer)).double()
            total = (h.detach() @ weight).long() * put(layer.multiplier) + put(layer.addend)
            exact = total >> layer.shift
            if layer.low is None or layer.high is None:
                exact = exact.clamp(INT8_MIN, INT8_MAX)
            else:
                exact = torch.minimum(torch.maximum(exact, put(layer.low)), put(layer.high))
            line = ((h - put(zero)) @ (weight + change - change.detach())) * put(slopes(layer))
            line = line + bias * 2.0**part.bias_unit
            inside = (exact > INT8_MIN) & (exact < INT8_MAX) | (i == last)
            h = exact + torch.where(inside, line - line.detach(), 0.0)
        unit, zero = mixture_units(mixtures, channels)
        mixture = split_mixture((h - put(zero)) * put(unit), mixtures, channels)
        mask = (torch.arange(channels, device=device) < coded).expand(len(rows), -1)
        ends = put(edges & 3)
        spent = mixture_nll(mixture, put(values), ends == 1, ends == 2, mask, put(edges >> 2).double())
        found = torch.autograd.grad((spent * put(weights)).sum(), numbers)
        return spent.detach().float().cpu().numpy(), [g.float().cpu().numpy() for g in found]

    return block
