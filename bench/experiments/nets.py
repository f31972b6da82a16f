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

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .decoders import DECODERS
from .latents import Encoder, Flow
from .layers import scaled
from .likelihoods import drawn, likelihood, normal, parameters


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
        return parameters(self.levels, self.channels)


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
