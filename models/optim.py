"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum, made orthogonal, for matrices.

The networks here are nothing but matrices of a few hundred rows, where an orthogonal update costs little and reaches a
given rate in fewer steps than Adam: after 1,500 steps of the photo recipe 2.697 against 2.714 bits per subpixel on
photos/valid and 3.391 against 3.418 on Kodak (float, centre crops of 160 pixels), at 6 % more time a step.
Vectors (biases, constants) are left to Adam.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from . import parallel

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that pulls singular values towards 1
STEPS = 5


def orthogonal(matrix: Tensor) -> Tensor:
    """U V^T of the matrix's singular value decomposition, roughly, by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    if parallel.half_precision(x.device):
        x = x.bfloat16()
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """rate: of Adam's kind; a matrix's update has 0.2 times the root mean square of Adam's, as is usual."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if p.ndim == 2:
                    mean = state.setdefault("mean", torch.zeros_like(p))
                    mean.lerp_(p.grad, 1 - group["momentum"])
                    update = orthogonal(p.grad.lerp(mean, group["momentum"]))
                    p.add_(update, alpha=-0.2 * max(p.shape) ** 0.5 * group["lr"])
                else:
                    mean = state.setdefault("mean", torch.zeros_like(p))
                    square = state.setdefault("square", torch.zeros_like(p))
                    state["step"] = steps = state.get("step", 0) + 1
                    first, second = group["betas"]
                    mean.lerp_(p.grad, 1 - first)
                    square.lerp_(p.grad.square(), 1 - second)
                    scale = (square / (1 - second**steps)).sqrt().add_(1e-8)
                    p.addcdiv_(mean / (1 - first**steps), scale, value=-group["lr"])
