"""What the nets are made of: convolutions whose weights are matrices, and may be masked."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
