"""Layers of the float networks, each with an integer twin, and the float values of the contract's steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlae_codec.contract import (
    ACTIVATION_BITS,
    INPUT_BITS,
    INT8_MAX,
    INT8_MIN,
    LATENT_STEP_BITS,
    RECTIFIED,
    SCALE_MIN_LOG2,
    SCALES,
)
from vlae_codec.gpu import logistics
from vlae_codec.gpu.logistics import SCALE_UNIT, Mixture

INPUT_UNIT = 2.0**-INPUT_BITS  # of one step of an 8-bit network input
LATENT_UNIT = INPUT_UNIT * (1 << LATENT_STEP_BITS)  # of one latent step where latents enter a network
HIDDEN_UNIT = 2.0**-ACTIVATION_BITS  # of one step of an 8-bit activation
HIDDEN_MAX = (INT8_MAX - RECTIFIED) * HIDDEN_UNIT


class Rounding(Protocol):
    """What `models.rounding` puts into a layer."""

    def inputs(self, x: Tensor) -> Tensor: ...

    def weight(self, weight: Tensor) -> Tensor: ...

    def moved(self, start: Tensor, weight: Tensor) -> Tensor: ...


class Linear(nn.Linear):
    """A layer that may compute with rounded inputs and weights (`models.rounding`)."""

    rounding: Rounding | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.rounding is None:
            return super().forward(x)
        return F.linear(self.rounding.inputs(x), self.rounding.weight(self.weight), self.bias)


def linear(inputs: int, outputs: int, gain: float = 1.0) -> Linear:
    layer = Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain * (2 / inputs) ** 0.5)
    nn.init.zeros_(layer.bias)
    return layer


def rectify(x: Tensor) -> Tensor:
    """Clamped rectifier: the range of an unsigned 8-bit activation."""
    return F.hardtanh(x, 0.0, HIDDEN_MAX)  # clamp's values; its backward pass is one kernel


class _Restoring(torch.autograd.Function):
    """The function of `clamp_gently`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,), (g,) = ctx.saved_tensors, grads
        beyond = x - x.clamp(ctx.low, ctx.high)
        return torch.where(beyond == 0, g, 0.1 * g * (beyond * g > 0)), None, None


def clamp_gently(x: Tensor, low: float, high: float) -> Tensor:
    """clamp(x, low, high) whose gradient outside the range is kept, at a tenth, where it leads back in.

    Without it the few units of the latent path saturate or die in the first steps and the latents collapse for good.
    """
    return _Restoring.apply(x, low, high)


def rectify_gently(x: Tensor) -> Tensor:
    """`rectify` with a restoring gradient, for the latent path."""
    return clamp_gently(x, 0.0, HIDDEN_MAX)


def clamp_context(x: Tensor) -> Tensor:
    """The range of a signed 8-bit context feature, [-2, 2)."""
    return clamp_gently(x, INT8_MIN * HIDDEN_UNIT, INT8_MAX * HIDDEN_UNIT)


def neighbours(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H, W, 9*C): the 3x3 neighbourhood, zero outside, row-major."""
    _, h, w, _ = x.shape
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    return torch.cat([padded[:, r : r + h, c : c + w] for r in range(3) for c in range(3)], dim=-1)


class Mlp(nn.Module):
    """Hidden 1x1 layers, then an output layer that also sees the inputs: a linear path past the 8-bit clamps."""

    def __init__(self, inputs: int, hidden: int, layers: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(linear(inputs if i == 0 else hidden, hidden) for i in range(layers))
        self.out = linear(hidden + inputs, outputs, gain=0.1)

    def forward(self, x: Tensor, shifts: Sequence[Tensor] = ()) -> Tensor:
        """shifts: what is added to each layer's outputs; none: nothing."""
        h = x
        for i, layer in enumerate(self.hidden):
            h = rectify(_shifted(layer(h), shifts[i : i + 1]))
        return _shifted(self.out(torch.cat([h, x], dim=-1)), shifts[-1:])


def _shifted(out: Tensor, shift: Sequence[Tensor]) -> Tensor:
    return out + shift[0].to(out.dtype) if shift else out


def clamp_scale(log2_scale: Tensor) -> Tensor:
    """The range of the scale indices of a row of parameters, as log2 of a scale in levels."""
    return clamp_gently(log2_scale, SCALE_MIN_LOG2, SCALE_MIN_LOG2 + (SCALES - 1) * SCALE_UNIT)


def split_mixture(params: Tensor, mixtures: int, channels: int, coupled: bool = True) -> Mixture:
    """The mixtures of network outputs (N, P), their scales clamped."""
    mixture = logistics.split_mixture(params, mixtures, channels, coupled)
    return mixture._replace(log2_scale=clamp_scale(mixture.log2_scale))
