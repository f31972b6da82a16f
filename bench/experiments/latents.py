"""Encoder, prior and top-down net: everything between a picture and the features that its latents give to a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Conv
from .likelihoods import normal

if TYPE_CHECKING:
    from .nets import Spec

FEATURES = 24  # of a pixel from the latents


class Encoder(nn.Module):
    """x -> mean and log standard deviation of each latent, (B, D) each."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.first = Conv(spec.channels, 32, (5, 5), stride=2)
        self.second = Conv(32, 64, (5, 5), stride=2)
        self.third = Conv(64, 64 if spec.grid else 16, (3, 3) if spec.grid else (1, 1))
        self.dense = None if spec.grid else nn.Linear(16 * (spec.size // 4) ** 2, 128)
        self.out = Conv(64, 2 * spec.latents, gain=0.3) if spec.grid else nn.Linear(128, 2 * spec.latents)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.second(F.relu(self.first(x))))
        h = F.relu(self.third(h))
        if self.dense is not None:
            h = F.relu(self.dense(h.flatten(1)))
        mean, deviation = self.out(h).float().chunk(2, dim=1)
        return mean.flatten(1), deviation.flatten(1).clamp(-7, 3) - 1


class Made(nn.Module):
    """z -> shift and log scale of each entry from the entries before it (Germain et al. 2015)."""

    def __init__(self, dimensions: int, hidden: int, backwards: bool) -> None:
        super().__init__()
        order = torch.arange(dimensions)
        order = order.flip(0) if backwards else order
        unit = torch.arange(hidden) * (dimensions - 1) // hidden  # the last entry that a hidden unit sees
        masks = [unit[:, None] >= order[None], unit[:, None] >= unit[None], order[:, None] > unit[None]]
        masks[2] = masks[2].repeat(2, 1)
        layers = [nn.Linear(mask.shape[1], mask.shape[0]) for mask in masks]
        nn.init.zeros_(layers[2].weight)
        nn.init.zeros_(layers[2].bias)
        self.layers = nn.ModuleList(layers)
        for i, mask in enumerate(masks):
            self.register_buffer(f"mask{i}", mask.float(), persistent=False)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            z = F.linear(z, layer.weight * getattr(self, f"mask{i}"), layer.bias)
            z = F.relu(z) if i < 2 else z
        shift, scale = z.float().chunk(2, dim=1)
        return shift, 2 * torch.tanh(scale / 2)


class Flow(nn.Module):
    """log p(z): eps = (z - m(z before)) / exp(s(z before)) ~ N(0, I), twice, in opposite orders. No steps: N(0, I)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        hidden = 512 if spec.grid else 256
        steps = {"flow": 2, "normal": 0}[spec.prior]
        self.steps = nn.ModuleList(Made(spec.dimensions, hidden, bool(i % 2)) for i in range(steps))

    def forward(self, z: Tensor) -> Tensor:
        """(B, D) -> log p(z) in nats, (B,)."""
        eps, scales = self.base(z)
        return normal(eps, torch.zeros_like(eps), torch.zeros_like(eps)) - scales

    def base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """eps (B, D), and the log of what the steps divided by (B,)."""
        scales = torch.zeros(len(z), device=z.device)
        for step in self.steps:
            shift, scale = step(z)
            z = (z.float() - shift) * torch.exp(-scale)
            scales = scales + scale.sum(1)
        return z, scales

    @torch.no_grad()
    def invert(self, eps: Tensor) -> Tensor:
        """N(0, I) -> the prior, (B, D) each, an entry at a time."""
        z = eps
        for step in reversed(self.steps):
            eps, z = z, torch.zeros_like(z)
            for _ in range(z.shape[1]):  # each pass gets one more entry right
                shift, scale = step(z)
                z = eps * torch.exp(scale) + shift
        return z


class TopDown(nn.Module):
    """Latents (B, D) -> features of every pixel, (B, FEATURES, H, W)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        cells = spec.size // 4
        if spec.grid:
            self.grid: nn.Module = Conv(spec.latents, 64, (3, 3))
        else:
            self.dense = nn.Linear(spec.latents, 128)
            self.spread = nn.Linear(128, 16 * cells**2)
            self.grid = Conv(16, 64)
        self.up = Conv(64, 4 * 32, (3, 3))
        self.out = Conv(32, 4 * FEATURES, (3, 3))

    def forward(self, z: Tensor) -> Tensor:
        cells = self.spec.size // 4
        if self.spec.grid:
            z = z.view(len(z), -1, cells, cells)
        else:
            z = F.relu(self.spread(F.relu(self.dense(z)))).view(len(z), -1, cells, cells)
        h = F.relu(self.grid(z))
        h = F.relu(F.pixel_shuffle(self.up(h), 2))
        return F.relu(F.pixel_shuffle(self.out(h), 2))
