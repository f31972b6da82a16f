"""The Variational Lossy Autoencoder (Chen et al. 2017, arXiv 1611.02731) in floating point, as it is trained.

    -ELBO(x) = -log2 p(x | z) - log2 p(z) + log2 q(z | x),   z ~ q(z | x)          (Eq. 1; here always in bits)

    Encoder    q(z | x)   strided patches, then 3x3 convolutions on the latent grid
    Prior      p(z)       autoregressive flow (section 3.2): `flow_steps` triangular steps that share one ordering
    TopDown    z -> c     context features for every pixel, in parallel
    Local      p(x | c)   PixelCNN with a restricted receptive field: one masked window, then 1x1 layers only

Every part is built from `linear` layers and clamped rectifiers with fixed ranges, so that each has an integer twin
(`vlae_codec.native.network`) and `models.export` needs no calibration data: a hidden activation lives in [0, 255/64],
an input has the unit 1/16. Latents are integers from the start (straight-through rounding), so the loss is the discrete
ELBO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlae_codec.contract import (
    INT8_MAX,
    INT8_MIN,
    PIXEL_CENTRE,
    REDUCTIONS,
    SIDE_OFFSETS,
    parameter_count,
    parameter_layout,
    side_features,
    window_offsets,
)
from vlae_codec.gpu.logistics import LEAK, logistic_mass, mixture_nll
from vlae_codec.native.network import patches, unpatch

from .config import Config as Config
from .layers import (
    INPUT_UNIT,
    LATENT_UNIT,
    Mlp,
    clamp_context,
    clamp_scale,
    linear,
    neighbours,
    rectify_gently,
    split_mixture,
)
from .prior import LATENT_MAX, LATENT_MIN, Prior
from .styles import Shifts, Styles


class Encoder(nn.Module):
    """x -> location and log2 scale of each latent, (B, H/s, W/s, 2*C_z)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.encoder
        self.stem = linear(4 * 4 * config.channels, width)
        self.down = nn.ModuleList(linear(n * n * width, width) for n in REDUCTIONS[config.stride])
        self.reductions = REDUCTIONS[config.stride]
        self.grid = nn.ModuleList(linear(9 * width, width) for _ in range(2))
        self.out = linear(width, 2 * config.latents, gain=0.3)
        nn.init.constant_(self.out.bias[config.latents :], -2.0)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H, W, C) in units of `INPUT_UNIT`, centred."""
        h = rectify_gently(self.stem(patches(x, 4)))
        for layer, size in zip(self.down, self.reductions):
            h = rectify_gently(layer(patches(h, size)))
        for layer in self.grid:
            h = rectify_gently(layer(neighbours(h)))
        loc, log2_scale = self.out(h).chunk(2, dim=-1)
        return torch.cat([loc / LATENT_UNIT, log2_scale], dim=-1)


class TopDown(nn.Module):
    """Latents -> context features of every pixel, (B, H, W, context), not yet clamped (`clamp_context`)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, fine = config.topdown, 32
        self.up = config.stride // 4
        self.grid = nn.ModuleList(linear(9 * (config.latents if i == 0 else width), width) for i in range(2))
        self.spread = linear(width, self.up * self.up * fine)
        self.fine = linear(9 * fine, fine)
        self.out = linear(fine, 4 * 4 * config.context, gain=0.5)
        # the context of the no-latent mode, by the pixel's place in its cell
        self.null = nn.Parameter(torch.zeros(config.stride, config.stride, config.context))

    def forward(self, z: Tensor) -> Tensor:
        """z: (B, h, w, C_z) integers."""
        h = z * LATENT_UNIT
        for layer in self.grid:
            h = rectify_gently(layer(neighbours(h)))
        h = unpatch(rectify_gently(self.spread(h)), self.up)
        h = rectify_gently(self.fine(neighbours(h)))
        return unpatch(self.out(h), 4)


class Elbo(NamedTuple):
    """Terms of -ELBO in bits. local: (n,) of the rows asked for; prior, posterior: (B, h, w) per latent cell."""

    local: Tensor
    prior: Tensor
    posterior: Tensor


class Vlae(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c, k = config.channels, config.mixtures
        self.encoder = Encoder(config)
        self.topdown = TopDown(config)
        self.prior = Prior(config)
        inputs = len(window_offsets(config.window)) * c + c + config.context + side_features(config.side)
        self.local = Mlp(inputs, config.hidden, config.layers, parameter_count(k, c))
        with torch.no_grad():
            _, _, log2_scale, coefs = self.local.out.bias.split(parameter_layout(k, c))
            log2_scale.copy_(torch.linspace(-1, 4, k).repeat_interleave(c))
            if c == 3:
                coefs.copy_(torch.tensor([0.8, 0.0, 0.8]).repeat(k))
        outputs = [config.hidden] * config.layers + [parameter_count(k, c)]
        self.styles = Styles(config.styles, outputs) if config.styles[0] else None
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor(window_offsets(config.window)), persistent=False)
        self.side_offsets: Tensor
        self.register_buffer("side_offsets", torch.tensor(SIDE_OFFSETS), persistent=False)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, H, W, C) uint8 -> location and log2 scale of q(z | x), each (B, h, w, C_z)."""
        centred = x.float() * self.config.stretch - PIXEL_CENTRE
        loc, log2_scale = self.encoder(centred * INPUT_UNIT).chunk(2, dim=-1)
        return loc, clamp_scale(log2_scale)

    def sample(self, loc: Tensor, log2_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Integer z ~ q with straight-through gradients, and -log2 q(z | x) per latent."""
        uniform = torch.rand_like(loc).clamp(1e-4, 1 - 1e-4)
        z = loc + torch.exp2(log2_scale) * torch.logit(uniform)
        z = z.clamp(LATENT_MIN, LATENT_MAX)
        z = z + (z.round() - z).detach()
        return z, self.posterior_bits(z, loc, log2_scale)

    @staticmethod
    def posterior_bits(z: Tensor, loc: Tensor, log2_scale: Tensor) -> Tensor:
        inverse = torch.exp2(-log2_scale)
        first, last = z <= LATENT_MIN, z >= LATENT_MAX
        mass = logistic_mass((z + 0.5 - loc) * inverse, (z - 0.5 - loc) * inverse, first, last)
        return -torch.log2(mass + LEAK)

    def context(self, z: Tensor, at: Tensor, use_latents: Tensor) -> Tensor:
        """Context features (n, context) of the pixels at flat indices `at`; the null context where latents are dropped.

        z: (B, h, w, C_z) integers; use_latents: (B,) bool.
        """
        stride = self.config.stride
        _, h, w, _ = z.shape
        features = self.topdown(z).flatten(0, 2)[at]
        image, row, column = at // (h * w * stride**2), at // (w * stride) % stride, at % stride
        null = self.topdown.null[row, column].to(features.dtype)
        return clamp_context(torch.where(use_latents[image][:, None], features, null))

    def local_rows(self, x: Tensor, context: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Network inputs of chosen pixels.

        x: (B, H, W, C) uint8; context: (n, context); at: (n,) flat indices into B*H*W.
        Returns rows (n, inputs), reference values (n, C) and the pixels themselves (n, C), the latter two in levels.
        A neighbour enters as its difference to the pixel's reference, clamped to 8 bits; one outside the tile as 0.
        """
        b, h, w, c = x.shape
        wide, up = self.config.window
        reach, stretch = wide // 2, self.config.stretch
        padded = F.pad(x.to(torch.int16) * stretch, (0, 0, reach, reach, up, 0), value=-1000)
        stride = w + 2 * reach
        image, rest = at // (h * w), at % (h * w)
        base = image * (h + up) * stride + (rest // w + up) * stride + rest % w + reach
        index = base[:, None] + (self.offsets[:, 0] * stride + self.offsets[:, 1])[None, :]
        window = padded.reshape(-1, c)[index]  # (n, neighbours, C)
        ref = reference(padded.reshape(-1, c), base, stride)
        differences = (window - ref[:, None, :]).clamp(INT8_MIN, INT8_MAX).masked_fill_(window < 0, 0).flatten(1)
        steps = torch.cat([differences, ref - PIXEL_CENTRE], dim=-1).to(context.dtype)  # exact in bfloat16, too
        rows = torch.cat([steps * INPUT_UNIT, context], dim=-1)
        return rows, ref / stretch, x.reshape(-1, c)[at].float()

    def side_rows(self, side: Tensor, at: Tensor) -> Tensor:
        """Network inputs of chosen pixels from planes known before: (n, side_features).

        side: (B, H, W, S) uint8. For each plane: the differences of the samples around to the one at the pixel's place,
        clamped to 8 bits, 0 outside the tile, and that sample.
        """
        b, h, w, s = side.shape
        padded = F.pad(side.to(torch.int16), (0, 0, 2, 2, 1, 1), value=-1000)
        stride = w + 4
        base = (at // (h * w) * (h + 2) + at // w % h + 1) * stride + at % w + 2
        flat = padded.reshape(-1, s)
        here = flat[base]
        around = flat[base[:, None] + (self.side_offsets[:, 0] * stride + self.side_offsets[:, 1])[None, :]]
        differences = (around - here[:, None, :]).clamp(INT8_MIN, INT8_MAX).masked_fill_(around < 0, 0)
        return torch.cat([differences, here[:, None, :] - PIXEL_CENTRE], dim=1).transpose(1, 2).flatten(1)

    def local_bits(
        self, rows: Tensor, ref: Tensor, pixels: Tensor, coded: Tensor, shifts: Sequence[Tensor] = ()
    ) -> Tensor:
        """-log2 p(pixel | window, context, style) in bits, (n,). shifts: of the outputs of each layer, (n, outputs)."""
        mixture = split_mixture(self.local(rows, shifts).float(), self.config.mixtures, self.config.channels)
        return mixture_nll(mixture, pixels - ref, pixels <= 0, pixels >= self.config.levels - 1, coded)

    def forward(self, x: Tensor, at: Tensor, use_latents: Tensor, blank: Tensor, coded: Tensor) -> Elbo:
        """One sample of the ELBO.

        x: (B, H, W, C + side) uint8, planes known before behind; at: (n,) flat pixel indices to evaluate; use_latents,
        blank: (B,) bool, tiles whose latents are used, tiles whose window is blanked (a head start for the latents);
        coded: (B, C) bool.
        """
        rows, ref, pixels, prior, posterior = self.rows(x, at, use_latents, blank)
        image, shifts = at // (x.shape[1] * x.shape[2]), []
        if self.styles is not None:

            def bits(some: Tensor, shifts: Shifts) -> Tensor:
                return self.local_bits(rows[some], ref[some], pixels[some], coded[image[some]], shifts)

            shifts = [part[image] for part in self.styles.choose(bits, image, len(x))]
        return Elbo(self.local_bits(rows, ref, pixels, coded[image], shifts), prior, posterior)

    def rows(
        self, x: Tensor, at: Tensor, use_latents: Tensor, blank: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(inputs of the local network, reference values, pixels, bits of the prior and of the posterior) under one
        sample of the latents; arguments as above.
        """
        coded = x[..., : self.config.channels]
        # 1. posterior and prior
        loc, log2_scale = self.posterior(coded)
        z, posterior = self.sample(loc, log2_scale)
        prior = self.prior.bits(z)
        # 2. what the local network sees
        rows, ref, pixels = self.inputs(x, self.context(z, at, use_latents), at)
        if blank.any():
            image = at // (x.shape[1] * x.shape[2])
            window = torch.arange(rows.shape[1], device=x.device) < self.offsets.shape[0] * self.config.channels
            rows = torch.where(blank[image][:, None] & window, 0.0, rows)
        return rows, ref, pixels, prior, posterior.sum(-1)

    def inputs(self, x: Tensor, context: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`local_rows` with the inputs from the planes known before, which are behind those of x."""
        x, side = x.split([self.config.channels, self.config.side], dim=-1)
        rows, ref, pixels = self.local_rows(x, context, at)
        if self.config.side:
            rows = torch.cat([rows, self.side_rows(side, at).to(rows.dtype) * INPUT_UNIT], dim=-1)
        return rows, ref, pixels


def reference(flat: Tensor, base: Tensor, stride: int) -> Tensor:
    """The median edge detector of LOCO-I (Weinberger et al. 2000) on flat padded pixels: (n, C).

    Outside the tile is marked by negative values: with no row above the left pixel serves, with no column to the left
    the upper one, with neither PIXEL_CENTRE.
    """
    left, upper, corner = flat[base - 1], flat[base - stride], flat[base - stride - 1]
    median = torch.maximum(torch.minimum(left, upper), torch.minimum(torch.maximum(left, upper), left + upper - corner))
    both = torch.where(left < 0, upper, torch.where(upper < 0, left, median))
    return both.masked_fill_((left < 0) & (upper < 0), PIXEL_CENTRE)
