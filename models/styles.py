"""Styles: shifts of the local network's layers, of which each picture has those by which it needs least.

A latent of the whole picture (`vlae_codec.adapter.style`): in each of some stages one of a few shifts, or none, and the
shifts of all stages add up. Training chooses as the codec does, stage by stage, by some of a crop's pixels, and moves
only the shifts that were chosen: the codebook of van den Oord et al. 2017 (arXiv 1711.00937) in stages, but for its
distance, which is here the bits themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = 4.0  # a shift is so many times its parameter, which the rate of all others would move too slowly
SPREAD = 0.03  # standard deviation of the hidden layers' shifts at the start
ROUNDS = ((8, 3), (2, 1))  # of each stage: each such pixel of a crop says which styles, so many, are left
BALANCE = 0.01  # bits a pixel, at the start, against styles that are chosen more often than others
FALL = 1.5  # of which there are none left after 1 / FALL of the run
MOST = 3.0  # times the usual share beyond which a style is not held back any more
MEMORY = 0.98  # of shares, a step

Shifts = list[Tensor]  # of the outputs of each layer, the last one behind
Bits = Callable[[Tensor, Shifts], Tensor]


class Styles(nn.Module):
    """stages: how many, and of how many styles each, beside number 0, which shifts nothing; outputs: of each layer."""

    def __init__(self, stages: tuple[int, int], outputs: Sequence[int]) -> None:
        super().__init__()
        spread = [SPREAD / GAIN] * (len(outputs) - 1) + [0.0]
        # (stages, styles, outputs): no matrices to the optimiser, as their rows have nothing to do with each other
        self.parts = nn.ParameterList(torch.randn(*stages, n) * size for n, size in zip(outputs, spread))
        self.shares: Tensor
        self.register_buffer("shares", torch.full((stages[0], stages[1] + 1), 1 / (stages[1] + 1)), persistent=False)
        self.balance = 0.0

    def forward(self, stage: int) -> Shifts:
        """The shifts (styles + 1, outputs) of a stage."""
        return [F.pad(part[stage], (0, 0, 1, 0)) * GAIN for part in self.parts]

    def progress(self, progress: float) -> None:
        """Tells how far the run is, 0 .. 1."""
        self.balance = BALANCE * max(0.0, 1 - FALL * progress)

    def choose(self, bits: Bits, image: Tensor, count: int) -> Shifts:
        """The shifts of each of `count` pictures, (count, outputs).

        bits: those of pixels (m,), by their indices, with shifts (m, outputs); image: (n,) the picture of each pixel.
        """
        sums = [part.new_zeros(count, part.shape[2]) for part in self.parts]
        for stage, shares in enumerate(self.shares):
            shifts = self(stage)
            with torch.no_grad():
                held = self.balance * (shares * len(shares) - 1).clamp(max=MOST)
                left = torch.arange(len(shares), device=image.device)[:, None].expand(-1, count)
                for step, most in ROUNDS:
                    some = torch.arange(0, len(image), step, device=image.device)
                    images = image[some]
                    seen = torch.bincount(images, minlength=count).clamp(min=1)
                    costs = []
                    for styles in left:  # one of each picture
                        moved = [(base + own[styles])[images] for base, own in zip(sums, shifts)]
                        cost = torch.zeros(count, device=image.device).index_add_(0, images, bits(some, moved).float())
                        costs.append(cost / seen + held[styles])
                    left = left.gather(0, torch.stack(costs).topk(most, dim=0, largest=False).indices)
                (chosen,) = left
                if self.training:
                    shares.lerp_(torch.bincount(chosen, minlength=len(shares)) / count, 1 - MEMORY)
            sums = [part + own[chosen] for part, own in zip(sums, shifts)]
        return sums
