"""(e) VQ-VAE with an autoregressive prior, coded without bits-back: bits/dim beside VLAE's, at the same budget.

    python -m bench.experiments.vqvae DATA [--steps TIMES] [--device cuda]

Its latents (van den Oord et al. 2017) are a function of the picture, so a code is sent under its prior and then the
pixels given the code: no bits come back, and none are missing at the start. Encoder, decoder (7x4 window) and steps are
VLAE's; the prior over the 7x7 codes, a masked convolutional net, is trained alongside. Static MNIST; files are written
by the codec's ANS coder and decoded again, in floats, so on the same machine only. About 15 minutes on two cores.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlae_codec.contract import window_offsets
from vlae_codec.native import ans

from . import sets
from .decoders import Window
from .fit import spread_out, terms_of
from .information import BUDGET, VLAE
from .latents import Encoder
from .layers import Conv, scaled
from .likelihoods import likelihood
from .nets import Spec, Terms
from .record import Row, Run, command, train, write

CODEBOOKS = (2, 16)
WIDTH = 16  # of a code's vector
PRECISION = 16
CODED = 100  # pictures that are coded and decoded


class CodePrior(nn.Module):
    """Logits of each code from the codes before it in raster order: (B, n, n) -> (B, K, n, n)."""

    def __init__(self, codes: int, cells: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(codes, 32)
        self.place = nn.Parameter(torch.zeros(1, width, cells, cells))
        self.look = Conv(32, width, (13, 7), offsets=window_offsets((7, 6)))
        self.blocks = nn.ModuleList(
            Conv(width, width, (3, 3), offsets=[*window_offsets((3, 1)), (0, 0)]) for _ in range(3)
        )
        self.out = Conv(width, codes, gain=0.3)

    def forward(self, codes: Tensor) -> Tensor:
        h = self.look(self.embed(codes).permute(0, 3, 1, 2)) + self.place
        for block in self.blocks:
            h = h + block(F.relu(h))
        out: Tensor = self.out(F.relu(h))
        return out


class VqVae(nn.Module):
    """`nets.Net` with a codebook in place of a posterior. Its terms: local, and the code's own nats as prior."""

    def __init__(self, spec: VqSpec) -> None:
        super().__init__()
        self.spec = spec
        shape = spec.vector()
        self.encoder = Encoder(shape)
        self.decoder = Window(shape)
        self.book = nn.Parameter(0.5 * torch.randn(spec.codes, WIDTH))
        self.prior = CodePrior(spec.codes, spec.grid)
        self.used: Tensor
        self.register_buffer("used", torch.ones(spec.codes))

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The code of each cell, (B, n, n), and what the encoder said, (B, WIDTH, n, n)."""
        mean, _ = self.encoder(scaled(x, self.spec.levels))
        said = mean.view(len(x), WIDTH, self.spec.grid, self.spec.grid)
        rows = said.permute(0, 2, 3, 1).reshape(-1, WIDTH)
        if self.training:
            self._restart(rows.detach())
        return torch.cdist(rows, self.book).argmin(1).view(len(x), self.spec.grid, self.spec.grid), said

    def _restart(self, rows: Tensor) -> None:
        """Codes that nobody uses move to something that the encoder says."""
        with torch.no_grad():
            nearest = torch.cdist(rows, self.book).argmin(1)
            self.used.mul_(0.97).add_(
                0.03 * torch.bincount(nearest, minlength=len(self.book)) / len(rows) * len(self.book)
            )
            unused = (self.used < 0.02).nonzero().flatten()
            self.book[unused] = rows[torch.randint(len(rows), (len(unused),), device=rows.device)]
            self.used[unused] = 1.0

    def parameters_of(self, codes: Tensor, x: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Of p(x | codes), (B, P, H, W)."""
        if vectors is None:
            vectors = self.book[codes].permute(0, 3, 1, 2)
        out: Tensor = self.decoder(vectors.flatten(1), scaled(x, self.spec.levels))
        return out

    def forward(self, x: Tensor) -> Terms:
        codes, said = self.codes(x)
        chosen = self.book[codes].permute(0, 3, 1, 2)
        through = said + (chosen - said).detach()  # straight through
        local = -likelihood(self.parameters_of(codes, x, through), x, self.spec.levels)
        nats = F.cross_entropy(self.prior(codes).float(), codes, reduction="none").sum((1, 2))
        apart = (chosen - said.detach()) ** 2 + 0.25 * (chosen.detach() - said) ** 2
        return Terms(local, nats, torch.zeros_like(nats), apart.sum((1, 2, 3)))


# ---------------------------------------------------------------------------------------------------- files


def cumulative(logits: Tensor) -> np.ndarray:
    """(N, K) -> integer CDFs (N, K + 1) of PRECISION bits, every symbol at least 1."""
    p = logits.double().softmax(1).numpy()
    room = (1 << PRECISION) - p.shape[1]
    inner = np.floor(np.cumsum(p, 1)[:, :-1] * room).astype(np.int64) + np.arange(1, p.shape[1])
    edges = np.zeros((len(p), 1), np.int64)
    return np.concatenate([edges, inner, edges + (1 << PRECISION)], 1)


def bernoulli(logits: Tensor) -> np.ndarray:
    """(N,) logits of a 1 -> CDFs (N, 3)."""
    return cumulative(torch.stack([torch.zeros_like(logits), logits], 1))


@torch.no_grad()
def encode(net: VqVae, x: Tensor) -> bytes:
    """The pictures' file: pixels below, codes on top, in raster order. x: (N, 1, H, W) bits."""
    codes, _ = net.codes(x)
    message = ans.empty()
    pixels, logits = net.parameters_of(codes, x)[:, 0].flatten(1), net.prior(codes).flatten(2)
    for cdfs, symbols in [
        *((bernoulli(pixels[:, i]), x.flatten(1)[:, i]) for i in reversed(range(pixels.shape[1]))),
        *((cumulative(logits[:, :, i]), codes.flatten(1)[:, i]) for i in reversed(range(logits.shape[2]))),
    ]:
        rows, chosen = np.arange(len(x)), symbols.numpy().astype(np.int64)
        starts = cdfs[rows, chosen]
        message = ans.push(message, starts, cdfs[rows, chosen + 1] - starts, PRECISION)
    return ans.to_bytes(message)


@torch.no_grad()
def decode(net: VqVae, data: bytes, count: int) -> Tensor:
    """The pictures of a file, (count, 1, H, W) uint8. Raises ValueError where something is left over."""
    spec, message = net.spec, ans.from_bytes(data, 1)
    codes = torch.zeros(count, spec.grid, spec.grid, dtype=torch.long)
    for i in range(spec.grid**2):
        message, symbols = ans.pop_with(message, cumulative(net.prior(codes).flatten(2)[:, :, i]), PRECISION, count)
        codes.view(count, -1)[:, i] = torch.from_numpy(symbols)
    x = torch.zeros(count, 1, spec.size, spec.size, dtype=torch.uint8)
    for i in range(spec.size**2):
        logits = net.parameters_of(codes, x)[:, 0].flatten(1)[:, i]
        message, symbols = ans.pop_with(message, bernoulli(logits), PRECISION, count)
        x.view(count, -1)[:, i] = torch.from_numpy(symbols)
    if not ans.is_empty(message):
        raise ValueError("the file does not end where its pictures do")
    return x


# ---------------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True)
class VqSpec:
    codes: int
    grid: int = 7
    size: int = 28
    levels: int = 2
    decoder: str = "vqvae"

    def build(self) -> VqVae:
        return VqVae(self)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def vector(self) -> Spec:
        """Of an encoder and a decoder whose latents are the codes' vectors."""
        return Spec(window=VLAE.window, latents=WIDTH, grid=self.grid, size=self.size, levels=self.levels)


ROWS = [
    Row("VLAE (-ELBO, coded with bits-back)", "mnist", VLAE, BUDGET),
    Row("no latents", "mnist", Spec(latents=0), BUDGET),
    *(Row(f"VQ-VAE, 49 of {k} codes", "mnist", VqSpec(k), BUDGET) for k in CODEBOOKS),
]


def main(run: Run) -> None:
    test, rows = sets.load(run.data, "mnist").test, []
    per_bit = 1 / (math.log(2) * test[0].numel())
    for (label, *_), (net, facts) in zip(ROWS, train(ROWS, run)):
        terms = {name: value.mean().item() for name, value in terms_of(net, test).items()}
        row = {"label": label, "nats": terms["total"], "bpd": terms["total"] * per_bit, "latent": terms["kl"]}
        row |= {"local": terms["local"], "minutes": facts["seconds"] / 60}
        if isinstance(net, VqVae):
            few = spread_out(test, CODED)
            data = encode(net, few)
            row["promised_bpd"] = terms_of(net, few)["total"].mean().item() * per_bit
            row["file_bpd"] = 8 * len(data) / few.numel()
            row["exact"] = "yes" if torch.equal(decode(net, data, len(few)), few) else "NO"
            row["used"] = len(torch.cat([net.codes(part)[0].flatten() for part in test.split(500)]).unique())
        print(row, flush=True)
        rows.append(row)
    write(
        run,
        "e-vqvae",
        rows=rows,
        headline="bits/dim of static MNIST: " + ", ".join(f"{row['bpd']:.4f} ({row['label']})" for row in rows),
        title="VQ-VAE without bits-back",
        text=[
            "A code per 4x4 pixels under an autoregressive prior, then the pixels given the codes, decoder, steps and "
            f"window as VLAE's. The file is that of {CODED} test pictures, written by the codec's ANS coder and "
            "decoded again."
        ],
        columns={
            "label": "model",
            "nats": "nats",
            "bpd": "bits/dim",
            "local": "local, nats",
            "latent": "latents, nats",
            "used": "codes used",
            "promised_bpd": f"bits/dim of {CODED}",
            "file_bpd": "bits/dim of their file",
            "exact": "decoded exactly",
        },
        notes=[
            "The paper does not make this comparison. Codes are trained for the pixels' likelihood, not for their own "
            "cost: that is what a deterministic code cannot trade, and what VLAE's posterior can."
        ],
    )


if __name__ == "__main__":
    command(main)()
