"""Distributions of pixels and of latents: what they cost in nats, and pixels drawn from them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vlae_codec.contract import parameter_count
from vlae_codec.gpu.logistics import Mixture, mixture_nll
from vlae_codec.models.vlae import split_mixture

MIXTURES = 5  # logistics of a colour pixel
UNIT = 16.0  # grey levels in which the networks give locations


def parameters(levels: int, channels: int) -> int:
    """How many a pixel has."""
    return 1 if levels == 2 else parameter_count(MIXTURES, channels)


def likelihood(parameters: Tensor, x: Tensor, levels: int) -> Tensor:
    """log p(x) of each picture in nats, (B,); parameters (B, P, H, W), x (B, C, H, W) uint8."""
    if levels == 2:
        return -F.binary_cross_entropy_with_logits(parameters.float(), x.float(), reduction="none").sum((1, 2, 3))
    pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).float()
    mixture = colours(parameters.permute(0, 2, 3, 1).reshape(-1, parameters.shape[1]), x.shape[1])
    bits = mixture_nll(mixture, pixels - 127.5, pixels <= 0, pixels >= levels - 1, torch.ones_like(pixels).bool())
    return -bits.view(len(x), -1).sum(1) * math.log(2)


def colours(rows: Tensor, channels: int) -> Mixture:
    """(N, P) outputs -> a mixture whose locations are grey levels from 127.5."""
    mixture = split_mixture(rows.float(), MIXTURES, channels)
    spread = torch.linspace(-64, 64, MIXTURES, device=rows.device)[None, :, None]
    return mixture._replace(loc=mixture.loc * UNIT + spread, log2_scale=mixture.log2_scale + 4)


def drawn(rows: Tensor, levels: int, channels: int) -> Tensor:
    """A pixel of each row of parameters (N, P), drawn from its distribution: (N, C) uint8."""
    if levels == 2:
        return (torch.rand(len(rows), 1, device=rows.device) < torch.sigmoid(rows.float())).to(torch.uint8)
    mixture = colours(rows, channels)
    chosen = torch.multinomial(mixture.weights, 1)[:, 0]
    each = torch.arange(len(rows), device=rows.device)
    loc, scale, coefs = (part[each, chosen] for part in mixture[1:])
    noise = torch.logit(torch.rand(len(rows), channels, device=rows.device).clamp(1e-5, 1 - 1e-5))
    pixels, pair = torch.zeros_like(loc), 0
    for c in range(channels):
        mean = loc[:, c]
        for earlier in range(c):
            mean = mean + coefs[:, pair] * (pixels[:, earlier] - 127.5)
            pair += 1
        pixels[:, c] = (mean + torch.exp2(scale[:, c]) * noise[:, c] + 127.5).round().clamp(0, levels - 1)
    return pixels.to(torch.uint8)


def normal(z: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """log N(z; mean, exp(deviation)^2), summed over the last axis, nats."""
    return (-0.5 * ((z - mean) * torch.exp(-deviation)) ** 2 - deviation - 0.5 * math.log(2 * math.pi)).sum(-1)
