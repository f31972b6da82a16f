"""Data-dependent initialisation (Salimans and Kingma 2016, arXiv 1602.07868): one batch sets the layers' scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .layers import Linear
from .vlae import Vlae

MEAN, DEVIATION = 0.4, 0.8  # of what enters a clamped rectifier, whose range ends at 4


@torch.no_grad()
def initialise(model: Vlae, forward: Callable[[], Any]) -> None:
    """Scales every hidden layer so that each unit has mean and deviation as above on one batch.

    forward: runs the model on the batch. Layers are set in the order in which the data flow, each after those before
    it. Output layers keep their own initialisation, which says what a distribution is like at first.
    """

    def scale(layer: Linear, _: tuple[Tensor, ...], out: Tensor) -> Tensor:
        rows = out.float().flatten(0, -2)
        factor = DEVIATION / rows.std(0).clamp(min=1e-2)
        shift = MEAN - rows.mean(0) * factor
        layer.weight.mul_(factor[:, None])
        layer.bias.mul_(factor).add_(shift)
        return (out.float() * factor + shift).to(out.dtype)

    hidden = [m for name, m in model.named_modules() if isinstance(m, Linear) and not name.endswith("out")]
    hooks = [layer.register_forward_hook(scale) for layer in hidden]  # type: ignore[arg-type]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
