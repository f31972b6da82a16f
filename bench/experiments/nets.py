"""Small VAEs with decoders of every reach, in floats: one family, so that rows of a table differ in one thing.

    -ELBO(x) = -log p(x | z) - log p(z) + log q(z | x),   z ~ q(z | x)              (the paper's Eq. 1; here in nats)

    Encoder    q(z | x)   strided convolutions; independent Gaussians
    Flow       p(z)       N(0, I), or the paper's autoregressive flow (section 3.2): eps = f(z), affine, two steps in
                          opposite orders
    TopDown    z -> c     features of every pixel
    a decoder  p(x | c, pixels before)
               Dense          from z alone, the classic VAE's two layers
               Window         a masked A x B window, then 1x1 layers only; with no window a convolutional VAE
               Attention      the same window, looked at by attention with relative positions instead of a convolution
               Unrestricted   Window, then dilated masked convolutions that see every pixel before

Pictures of bits have one logit a pixel, others a mixture of logistics with coupled colours (`vlae_codec.models.vlae`).
Latents: a vector, as in the paper for pictures of 28x28, or a grid of cells of 4x4 pixels. Without latents (`latents` =
0) the same decoders give log p(x) itself.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlae_codec.models.vlae import Mixture, mixture_nll, mixture_width, split_mixture, window_offsets

FEATURES = 24  # of a pixel from the latents
MIXTURES = 5  # logistics of a colour pixel
UNIT = 16.0  # grey levels in which the networks give locations


@dataclass(frozen=True)
class Spec:
    """What a row of a table is."""

    decoder: str = "window"  # dense, window, attention or unrestricted
    window: tuple[int, int] = (7, 4)  # A wide, B rows up, and A // 2 to the left; (1, 0): none
    prior: str = "flow"  # flow or normal
    latents: int = 32  # of a vector, or of a cell of the grid; 0: none
    grid: int = 0  # cells of the latents' grid in a direction; 0: a vector
    size: int = 28  # of the square pictures, 4 pixels a cell if there is a grid
    levels: int = 2
    width: int = 64  # of the decoder

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def build(self) -> Net:
        return Net(self)

    @property
    def channels(self) -> int:
        return 1 if self.levels == 2 else 3

    @property
    def dimensions(self) -> int:
        return self.latents * max(1, self.grid) ** 2

    @property
    def parameters(self) -> int:
        """Of the likelihood of a pixel."""
        return 1 if self.levels == 2 else mixture_width(MIXTURES, self.channels)


class Conv(nn.Module):
    """A convolution (weights as a matrix, so that Muon can take it), masked to the taps of `offsets` if given."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: tuple[int, int] = (1, 1),
        stride: int = 1,
        dilation: int = 1,
        offsets: list[tuple[int, int]] | None = None,
        gain: float = 1.0,
    ) -> None:
        """size: rows and columns, odd; offsets: (row, column) of the taps from the centre."""
        super().__init__()
        rows, columns = size
        mask = torch.zeros(rows, columns)
        for r, c in [(r, c) for r in range(rows) for c in range(columns)] if offsets is None else offsets:
            mask[(r, c) if offsets is None else (rows // 2 + r, columns // 2 + c)] = 1
        self.shape, self.stride, self.dilation = (outputs, inputs, rows, columns), stride, dilation
        self.weight = nn.Parameter(torch.randn(outputs, inputs * rows * columns))
        self.weight.data *= gain * math.sqrt(2 / (inputs * max(1, int(mask.sum()))))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.mask: Tensor
        self.register_buffer("mask", mask.repeat(inputs, 1, 1).reshape(1, -1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.mask).view(self.shape)
        padding = tuple(self.dilation * (n // 2) for n in self.shape[2:])
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation)


def scaled(x: Tensor, levels: int) -> Tensor:
    """uint8 pixels -> floats in [-1, 1]."""
    return x.float() * (2 / (levels - 1)) - 1


# ---------------------------------------------------------------------------------------------------- latents


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


def normal(z: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """log N(z; mean, exp(deviation)^2), summed over the last axis, nats."""
    return (-0.5 * ((z - mean) * torch.exp(-deviation)) ** 2 - deviation - 0.5 * math.log(2 * math.pi)).sum(-1)


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


# ---------------------------------------------------------------------------------------------------- decoders


class Dense(nn.Module):
    """Two hidden layers from z to all pixels at once."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        width = 512
        outputs = spec.parameters * spec.size**2
        self.layers = nn.ModuleList([nn.Linear(spec.dimensions, width), nn.Linear(width, width)])
        self.out = nn.Linear(width, outputs)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        for layer in self.layers:
            z = F.relu(layer(z))
        return self.out(z).view(len(z), self.spec.parameters, self.spec.size, self.spec.size)


class Window(nn.Module):
    """A masked window and features of the latents, then 1x1 layers."""

    def __init__(self, spec: Spec, outputs: int | None = None) -> None:
        super().__init__()
        self.topdown = TopDown(spec) if spec.latents else None
        self.join = Conv(FEATURES if spec.latents else 1, spec.width)
        offsets = window_offsets(spec.window)
        size = (2 * spec.window[1] + 1, spec.window[0])
        self.look = Conv(spec.channels, spec.width, size, offsets=offsets) if offsets else None
        self.hidden = Conv(spec.width, spec.width)
        self.out = Conv(spec.width, spec.parameters if outputs is None else outputs, gain=0.3)
        # Colours: locations may follow the neighbours linearly; they begin as the left one's value.
        self.line = None
        if offsets and spec.levels > 2:
            self.line = Conv(spec.channels, MIXTURES * spec.channels, size, offsets=offsets)
            nn.init.zeros_(self.line.weight)
            left = self.line.weight.data.view(MIXTURES, spec.channels, spec.channels, *size)
            for c in range(spec.channels):
                left[:, c, c, spec.window[1], spec.window[0] // 2 - 1] = 127.5 / UNIT

    def joined(self, z: Tensor, x: Tensor) -> Tensor:
        """What the latents say and what the window shows, (B, width, H, W)."""
        features = self.topdown(z) if self.topdown is not None else torch.ones_like(x[:, :1])
        h = self.join(features)
        return h + self.seen(x, features) if self.look is not None else h

    def seen(self, x: Tensor, features: Tensor) -> Tensor:
        assert self.look is not None
        return self.look(x)

    def finish(self, h: Tensor, x: Tensor) -> Tensor:
        out = self.out(F.relu(self.hidden(F.relu(h))))
        if self.line is not None:
            k, n = MIXTURES, self.line.shape[0]
            out = torch.cat([out[:, :k], out[:, k : k + n] + self.line(x), out[:, k + n :]], dim=1)
        return out

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.finish(self.joined(z, x), x)


class Attention(Window):
    """The window by attention: four heads, queries from the latents' features, keys and values from the neighbours'
    values and relative positions (Shaw et al. 2018), and a null neighbour for pixels that have no other."""

    HEADS, SIZE = 4, 16

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.look = None
        self.offsets, heads, size = window_offsets(spec.window), self.HEADS, self.SIZE
        n = len(self.offsets) + 1
        self.query = Conv(FEATURES if spec.latents else 1, heads * size)
        self.position = nn.Parameter(torch.randn(heads, n, size) * size**-0.5)
        self.content = nn.Parameter(torch.randn(heads, spec.channels, size) * size**-0.5)
        self.values = Conv(heads * n * (1 + spec.channels), spec.width)

    def joined(self, z: Tensor, x: Tensor) -> Tensor:
        features = self.topdown(z) if self.topdown is not None else torch.ones_like(x[:, :1])
        return self.join(features) + self.seen(x, features)

    def seen(self, x: Tensor, features: Tensor) -> Tensor:
        b, c, h, w = x.shape
        wide, up = max(abs(c) for _, c in self.offsets), max(-r for r, _ in self.offsets)
        padded = F.pad(torch.cat([x, torch.ones_like(x[:, :1])], 1), (wide, wide, up, 0))  # last: is inside
        at = [padded[:, :, up + r : up + r + h, wide + s : wide + s + w] for r, s in self.offsets]
        near = torch.stack([*at, torch.ones_like(at[0])], 1)  # (B, n, C + 1, H, W)
        near, inside = near[:, :, :-1], near[:, :, -1]
        q = self.query(features).view(b, self.HEADS, self.SIZE, h, w)
        logits = torch.einsum("bkdhw,knd->bknhw", q, self.position)
        logits = logits + torch.einsum("bkchw,bnchw->bknhw", torch.einsum("bkdhw,kcd->bkchw", q, self.content), near)
        weight = logits.masked_fill(inside[:, None] == 0, -1e4).softmax(2)
        valued = torch.einsum("bknhw,bnchw->bknchw", weight, near)
        return self.values(torch.cat([weight.flatten(1, 2), valued.flatten(1, 3)], 1))


class Unrestricted(Window):
    """Window, then residual blocks of dilated masked 3x3 convolutions (van den Oord et al. 2016): sees all before.

    Going up by r rows these reach no more than r + 3 columns to the right, PixelCNN's blind spot; so each pixel also
    gets features of the whole row above.
    """

    DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        causal = [*window_offsets((3, 1)), (0, 0)]
        self.narrow = Conv(spec.width, 32)
        self.above = nn.Linear(spec.channels * spec.size, 16 * spec.size)
        self.widen_above = Conv(16, 32)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                Conv(32, 16),
                nn.ReLU(),
                Conv(16, 16, (3, 3), dilation=d, offsets=causal),
                nn.ReLU(),
                Conv(16, 32, gain=0.3),
            )
            for d in self.DILATIONS
        )
        self.widen = Conv(32, spec.width)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        h = self.joined(z, x)
        row = F.pad(x, (0, 0, 1, 0))[:, :, :-1].transpose(1, 2).flatten(2)  # (B, H, C * W): the row above each row
        above = self.above(row).view(*row.shape[:2], 16, -1).transpose(1, 2)
        far = self.narrow(F.relu(h)) + self.widen_above(F.relu(above))
        for block in self.blocks:
            far = far + block(far)
        return self.finish(h + self.widen(F.relu(far)), x)


DECODERS = {"dense": Dense, "window": Window, "attention": Attention, "unrestricted": Unrestricted}


# ---------------------------------------------------------------------------------------------------- likelihoods


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


class Terms(NamedTuple):
    """Of -ELBO, nats of each picture, (B,): their sum with the posterior's taken off."""

    local: Tensor  # -log p(x | z)
    prior: Tensor  # -log p(z)
    posterior: Tensor  # -log q(z | x)
    aside: Tensor | float = 0.0  # what training minimises beside these

    @property
    def kl(self) -> Tensor:
        return self.prior - self.posterior

    @property
    def total(self) -> Tensor:
        return self.local + self.kl


class Net(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec) if spec.latents else None
        self.prior = Flow(spec) if spec.latents else None
        self.decoder = DECODERS[spec.decoder](spec)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 pictures -> mean and log deviation, (B, D) each."""
        assert self.encoder is not None
        return self.encoder(scaled(x, self.spec.levels))

    def parameters_of(self, z: Tensor, x: Tensor) -> Tensor:
        """Of p(x | z), (B, P, H, W)."""
        out: Tensor = self.decoder(z, scaled(x, self.spec.levels))
        return out

    def forward(self, x: Tensor) -> Terms:
        """One sample of the ELBO of each picture. x: (B, C, H, W) uint8."""
        if self.encoder is None or self.prior is None:
            local = -likelihood(self.parameters_of(x[:0], x), x, self.spec.levels)
            return Terms(local, torch.zeros_like(local), torch.zeros_like(local))
        mean, deviation = self.posterior(x)
        z = mean + torch.exp(deviation) * torch.randn_like(mean)
        local = -likelihood(self.parameters_of(z, x), x, self.spec.levels)
        return Terms(local, -self.prior(z), -normal(z, mean, deviation))

    @torch.no_grad()
    def pictures(self, z: Tensor) -> Tensor:
        """Pictures drawn from p(x | z), pixel by pixel: (B, C, H, W) uint8."""
        s = self.spec
        x = torch.zeros(len(z), s.channels, s.size, s.size, dtype=torch.uint8, device=z.device)
        for r in range(s.size):
            for c in range(s.size):
                x[:, :, r, c] = drawn(self.parameters_of(z, x)[:, :, r, c], s.levels, s.channels)
        return x
