"""The prior of the latents, an autoregressive flow in floats (section 3.2 of the paper)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlae_codec.contract import (
    AFFINE_HIGH,
    AFFINE_LOW,
    INT8_MAX,
    INT8_MIN,
    LATENT_CENTRE,
    LATENT_LEVELS,
    parameter_count,
    parameter_layout,
    window_offsets,
)
from vlae_codec.gpu.logistics import SCALE_UNIT, mixture_nll

from .config import Config
from .layers import INPUT_UNIT, LATENT_UNIT, Mlp, clamp_gently, split_mixture

LATENT_MIN, LATENT_MAX = -LATENT_CENTRE, LATENT_LEVELS - 1 - LATENT_CENTRE


class Prior(nn.Module):
    """p(z): an autoregressive flow eps = f(z), triangular, every step in the same raster order.

    Step t < T is affine: u_{t+1} = (u_t - m(u_t, <)) / 2^a(u_t, <). The last is a coupled mixture of logistics of u_T,
    the same as the mixture-CDF flow onto a uniform base. Because u_t at a cell depends on nothing after it, each
    p(z_i | z_<i) stays a mixture of logistics and can be coded.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c, k = config.latents, config.prior_mixtures
        inputs = len(window_offsets(config.prior_window)) * c
        self.affine = nn.ModuleList(Mlp(inputs, config.prior_hidden, 1, 2 * c) for _ in range(config.flow_steps - 1))
        self.mixture: nn.Module | None = None
        if config.flow_steps:
            self.mixture = Mlp(inputs, config.prior_hidden, 2, parameter_count(k, c))
            with torch.no_grad():
                _, loc, log2_scale, _ = self.mixture.out.bias.split(parameter_layout(k, c))
                loc.copy_(torch.linspace(-2, 2, k).repeat_interleave(c))
                log2_scale.fill_(1.0)
        else:
            self.base = nn.Parameter(torch.cat([torch.zeros(c), torch.ones(c)]))

    def rows(self, u: Tensor) -> Tensor:
        """(B, h, w, C_z) -> (B, h, w, window * C_z), zero outside the grid; the integer twin steps by 1/16."""
        wide, up = self.config.prior_window
        reach = wide // 2
        _, h, w, _ = u.shape
        padded = F.pad(u.clamp(INT8_MIN * INPUT_UNIT, INT8_MAX * INPUT_UNIT), (0, 0, reach, reach, up, 0))
        views = [
            padded[:, up + r : up + r + h, reach + c : reach + c + w]
            for r, c in window_offsets(self.config.prior_window)
        ]
        return torch.cat(views, dim=-1)

    def steps(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """u after the affine steps and the sum of their log2 scales, both (B, h, w, C_z)."""
        u, outer = z, torch.zeros_like(z)
        for step, net in enumerate(self.affine):
            loc, log2_scale = net(self.rows(u if step else u * LATENT_UNIT)).chunk(2, dim=-1)
            log2_scale = clamp_gently(log2_scale, AFFINE_LOW * SCALE_UNIT, AFFINE_HIGH * SCALE_UNIT)
            u = (u - loc) * torch.exp2(-log2_scale)
            outer = outer + log2_scale
        return u, outer

    def bits(self, z: Tensor) -> Tensor:
        """-log2 p(z) per cell, (B, h, w)."""
        b, h, w, c = z.shape
        u, outer = self.steps(z)
        if self.mixture is None:
            k = 1
            params = torch.cat([torch.zeros(1, device=z.device), self.base]).expand(b * h * w, -1)
        else:
            k = self.config.prior_mixtures
            params = self.mixture(self.rows(u if self.affine else u * LATENT_UNIT)).flatten(0, 2)
        mixture = split_mixture(params, k, c, coupled=self.mixture is not None)
        flat = z.reshape(-1, c)
        first, last = flat <= LATENT_MIN, flat >= LATENT_MAX
        coded = torch.ones_like(first)
        return mixture_nll(mixture, u.reshape(-1, c), first, last, coded, outer.reshape(-1, c)).reshape(b, h, w)
