"""Mixtures of logistics in floats: bits and gradients for a fit and for training. The codec itself has integers.

`vlae_codec.native.mixture` defines the distribution; here its parameters have their float values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlae_codec.contract import (
    COEF_BITS,
    LEVEL_BITS,
    LOGIT_BITS,
    PRECISION,
    SCALE_BITS,
    SCALE_MIN_LOG2,
    parameter_layout,
)

LOGIT_UNIT, LOC_UNIT, SCALE_UNIT, COEF_UNIT = (2.0**-bits for bits in (LOGIT_BITS, LEVEL_BITS, SCALE_BITS, COEF_BITS))
LEAK = 2.0**-PRECISION  # what the integer CDFs grant to every symbol


class Mixture(NamedTuple):
    """K joint logistics over C channels, autoregressive in the channels (PixelCNN++'s form): N rows of parameters."""

    weights: Tensor  # (N, K), sum to one
    loc: Tensor  # (N, K, C), relative to the row's offset
    log2_scale: Tensor  # (N, K, C)
    coefs: Tensor  # (N, K, C(C-1)/2): how far a channel's mean follows the channels before it


def split_mixture(params: Tensor, mixtures: int, channels: int, coupled: bool = True) -> Mixture:
    """The mixtures of rows of parameters (N, P)."""
    n, layout = len(params), parameter_layout(mixtures, channels, coupled)
    logits, loc, log2_scale, coefs = params.split(list(layout), dim=-1)
    joint = (n, mixtures, channels)
    pairs = layout.coefficients // mixtures
    return Mixture(logits.softmax(-1), loc.reshape(joint), log2_scale.reshape(joint), coefs.reshape(n, mixtures, pairs))


def mixture_units(mixtures: int, channels: int, coupled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(unit, zero) of each parameter of an integer row: its float value is (integer - zero) * unit."""
    layout = parameter_layout(mixtures, channels, coupled)
    unit = np.repeat([LOGIT_UNIT, LOC_UNIT, SCALE_UNIT, COEF_UNIT], layout)
    return unit, np.repeat([0, 0, -SCALE_MIN_LOG2 / SCALE_UNIT, 0], layout)


def logistic_mass(upper: Tensor, lower: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """sigmoid(upper) - sigmoid(lower) without cancellation; the first and last symbol take their whole tail."""
    flip = torch.where(upper + lower > 0, -1.0, 1.0)
    inner = (torch.sigmoid(upper * flip) - torch.sigmoid(lower * flip)).abs()
    return torch.where(first, torch.sigmoid(upper), torch.where(last, torch.sigmoid(-lower), inner))


def mixture_nll(
    mixture: Mixture, u: Tensor, first: Tensor, last: Tensor, coded: Tensor, outer_log2: Tensor | None = None
) -> Tensor:
    """Bits of each row, (N,).

    u: (N, C) values relative to the row's offset, in units of the outer scale; first, last: (N, C) symbol is at the
    edge of its alphabet; coded: (N, C) bool, channels that are coded at all (grey pictures: only the first);
    outer_log2: (N, C) log2 of the scale that an earlier flow step divided by (None: 1).
    """
    channels = u.shape[1]
    half = 0.5 if outer_log2 is None else 0.5 * torch.exp2(-outer_log2)
    total = mixture.weights
    pair = 0
    for c in range(channels):
        mean = mixture.loc[..., c]
        for earlier in range(c):
            if mixture.coefs.shape[-1]:
                mean = mean + mixture.coefs[..., pair] * u[:, earlier, None]
                pair += 1
        inverse = torch.exp2(-mixture.log2_scale[..., c])
        h = half if isinstance(half, float) else half[:, c, None]
        centre = (u[:, c, None] - mean) * inverse
        mass = logistic_mass(centre + h * inverse, centre - h * inverse, first[:, c, None], last[:, c, None])
        total = total * torch.where(coded[:, c, None], mass + LEAK, 1.0)
    return -torch.log2(total.sum(-1))
