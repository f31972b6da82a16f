"""Random crops of training pictures, cut and altered on the device that trains; the pictures stay there as uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


class Crops:
    """Square crops, drawn by picture area.

    images: (H, W, C) uint8 each. flips: mirror, and exchange rows and columns, at random. grey: share of RGB crops
    replaced by their luma in all channels, of which only the first is coded. altered: share of RGB crops that get the
    traces of other cameras and file formats (`alter`).
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        size: int,
        *,
        flips: bool = True,
        grey: float = 0.0,
        altered: float = 0.0,
        seed: int = 1,
        device: str = "cpu",
    ) -> None:
        self.size, self.flips, self.device = size, flips, device
        self.channels = images[0].shape[2]
        self.grey, self.altered = (grey, altered) if self.channels == 3 else (0.0, 0.0)
        shapes = np.array([i.shape[:2] for i in images], np.int64)
        ends = np.cumsum(shapes.prod(1))
        self.pixels = torch.empty((int(ends[-1]), self.channels), dtype=torch.uint8, device=device)
        for image, end in zip(images, ends):
            self.pixels[end - image[..., 0].size : end] = torch.from_numpy(np.ascontiguousarray(image)).flatten(0, 1)
        self.ends = torch.from_numpy(ends).to(device)
        self.heights, self.widths = (torch.from_numpy(n).to(device) for n in shapes.T)
        self.rng = torch.Generator(device).manual_seed(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """(count, size, size, C) uint8 and the (count, C) bool mask of coded channels."""
        size, device = self.size, self.device
        image = torch.searchsorted(self.ends, (self._random(count) * self.ends[-1]).long(), right=True)
        height, width = self.heights[image], self.widths[image]
        top = (self._random(count) * (height - size + 1)).long()
        left = (self._random(count) * (width - size + 1)).long()
        steps = torch.arange(size, device=device)
        rows, columns = steps.expand(count, size)[:, :, None], steps.expand(count, size)[:, None, :]
        if self.flips:
            columns = torch.where((self._random(count) < 0.5)[:, None, None], size - 1 - columns, columns)
            turned = (self._random(count) < 0.3)[:, None, None]
            rows, columns = torch.where(turned, columns, rows), torch.where(turned, rows, columns)
        start = self.ends[image] - height * width
        index = (start + top * width + left)[:, None, None] + rows * width[:, None, None] + columns
        x = self.pixels[index]
        coded = torch.ones(count, self.channels, dtype=torch.bool, device=device)
        if self.altered:
            chosen = self._random(count) < self.altered
            x[chosen] = self.alter(x[chosen])
        if self.grey:
            chosen = self._random(count) < self.grey
            x[chosen] = luma(x[chosen].float()).round().to(torch.uint8).expand(-1, -1, -1, 3)
            coded[chosen, 1:] = False
        return x, coded

    def _random(self, count: int) -> Tensor:
        """(count,) uniform in [0, 1), in double precision: there may be more than 2^24 pixels."""
        return torch.rand(count, generator=self.rng, device=self.device, dtype=torch.float64)

    def alter(self, x: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 with other tone and colour, then demosaiced or with chroma at half resolution.

        Both are aligned to the crop's top left, as they would be to a whole picture's, so that a model that knows a
        pixel's place in its cell can learn what is interpolated.
        """
        n = len(x)

        def uniform(low: float, high: float) -> Tensor:
            return (low + (high - low) * self._random(n)).float()[:, None, None, None]

        y = 255 * (x / 255).pow(2 ** uniform(-0.6, 0.6))
        y = (luma(y) + (y - luma(y)) * uniform(0.6, 1.6)).clamp(0, 255)
        # values between the grey levels, or stretched tones would leave gaps in the histogram
        y = y + torch.rand(y.shape, generator=self.rng, device=self.device) - 0.5
        kind = torch.randint(4, (n,), generator=self.rng, device=self.device)[:, None, None, None]
        y = torch.where(kind == 1, demosaic(y), y)
        y = torch.where(kind >= 2, half_chroma(y, rows=kind == 3), y)
        return y.round().clamp(0, 255).to(torch.uint8)


def luma(x: Tensor) -> Tensor:
    """(..., 3) -> (..., 1)."""
    return (x * torch.tensor(LUMA, device=x.device)).sum(-1, keepdim=True)


def demosaic(x: Tensor) -> Tensor:
    """(n, H, W, 3) float seen through a Bayer pattern (RG / GB) and interpolated linearly."""
    height, width = x.shape[1:3]
    odd_row = (torch.arange(height, device=x.device) % 2 == 1)[:, None]
    odd_column = (torch.arange(width, device=x.device) % 2 == 1)[None, :]
    seen = torch.stack([~odd_row & ~odd_column, odd_row ^ odd_column, odd_row & odd_column], -1)
    kernels = torch.tensor([[[1, 2, 1], [2, 4, 2], [1, 2, 1]], [[0, 1, 0], [1, 4, 1], [0, 1, 0]]], device=x.device) / 4
    planes = F.pad((x * seen).permute(0, 3, 1, 2), (1, 1, 1, 1), mode="reflect")
    return F.conv2d(planes, kernels[[0, 1, 0]][:, None], groups=3).permute(0, 2, 3, 1)


def half_chroma(x: Tensor, rows: Tensor) -> Tensor:
    """(n, H, W, 3) float whose colour differences keep every second column only (`rows`: row, too), then interpolated.

    The samples kept lie on even positions; those between are means of their neighbours.
    """

    def halve(chroma: Tensor) -> Tensor:  # along dimension 2
        chroma = chroma.movedim(2, -1)
        padded = torch.cat([chroma[..., :1], chroma, chroma[..., -1:]], dim=-1)
        smooth = (padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4
        even = smooth[..., ::2]
        following = torch.cat([even[..., 1:], even[..., -1:]], dim=-1)
        return torch.stack([even, (even + following) / 2], dim=-1).flatten(-2).movedim(-1, 2)

    y = luma(x)
    chroma = halve(x[..., ::2] - y)  # R - Y, B - Y
    chroma = torch.where(rows, halve(chroma.transpose(1, 2)).transpose(1, 2), chroma)
    red, blue = (y + chroma).unbind(-1)
    green = (y[..., 0] - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack([red, green, blue], dim=-1)
