"""Random crops of training pictures, cut and altered on the device that trains; the pictures stay there as uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vlae_codec.jpeg.parameters import standard_table

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
# of JPEG's quantisation at quality 50, by vertical and horizontal frequency
LUMA_STEPS, CHROMA_STEPS = (torch.from_numpy(standard_table(number)).reshape(8, 8) for number in (50, 150))


class Crops:
    """Square crops, drawn by picture area.

    images: (H, W, C) uint8 each. flips: mirror at random, and exchange rows and columns of the share
    `turned`. grey: share of RGB crops replaced by their luma in all channels, of which only the first is coded.
    altered: share of RGB crops that get the traces of other cameras and file formats (`alter`).
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        size: int,
        *,
        flips: bool = True,
        turned: float = 0.3,
        grey: float = 0.0,
        altered: float = 0.0,
        seed: int = 1,
        device: str = "cpu",
    ) -> None:
        self.size, self.flips, self.turned, self.device = size, flips, turned, device
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
            turned = (self._random(count) < self.turned)[:, None, None]
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
        """(n, size, size, 3) uint8 of other tone and colour, then demosaiced, with chroma at half resolution, or JPEG.

        All are aligned to the crop's top left, as they would be to a whole picture's, so that a model that knows a
        pixel's place in its cell can learn what is interpolated and where blocks meet.
        """
        n = len(x)

        def uniform(low: float, high: float) -> Tensor:
            return (low + (high - low) * self._random(n)).float()[:, None, None, None]

        y = 255 * (x / 255).pow(2 ** uniform(-0.6, 0.6))
        y = (luma(y) + (y - luma(y)) * uniform(0.6, 1.6)).clamp(0, 255)
        # values between the grey levels, or stretched tones would leave gaps in the histogram
        y = y + torch.rand(y.shape, generator=self.rng, device=self.device) - 0.5
        kind = torch.randint(7, (n,), generator=self.rng, device=self.device)[:, None, None, None]
        y = torch.where(kind == 1, demosaic(y), y)
        y = torch.where((kind == 2) | (kind == 3), half_chroma(y, rows=kind == 3), y)
        y = torch.where(kind >= 4, jpeg(y, uniform(70, 99), half=kind >= 5), y)
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


def jpeg(x: Tensor, quality: Tensor, half: Tensor) -> Tensor:
    """(n, H, W, 3) float as a JPEG file of a quality 50 .. 100 brings it back; `half`: chroma at half resolution.

    quality, half: (n, 1, 1, 1). Tables and colours are those of ITU-T T.81, Annex K, and JFIF; the table's scale is
    libjpeg's.
    """
    height, width = x.shape[1:3]
    y = luma(x)
    chroma = (x[..., ::2] - y) / torch.tensor([1.402, 1.772], device=x.device)  # Cr, Cb
    planes = torch.cat([y - 128, chroma], dim=-1).permute(0, 3, 1, 2)
    planes = F.pad(planes, (0, -width % 16, 0, -height % 16), mode="replicate")
    step = (2 - quality / 50).clamp(min=0.01)
    low = _quantise_blocks(F.avg_pool2d(planes[:, 1:], 2), CHROMA_STEPS, step)
    low = F.interpolate(low, scale_factor=2, mode="bilinear")
    full = _quantise_blocks(planes[:, 1:], CHROMA_STEPS, step)
    planes = torch.cat([_quantise_blocks(planes[:, :1], LUMA_STEPS, step), torch.where(half, low, full)], dim=1)
    y, red, blue = planes[:, :, :height, :width].unbind(1)
    y, red, blue = y + 128, 1.402 * red, 1.772 * blue
    return torch.stack([y + red, y - (LUMA[0] * red + LUMA[2] * blue) / LUMA[1], y + blue], dim=-1)


def _quantise_blocks(planes: Tensor, steps: Tensor, scale: Tensor) -> Tensor:
    """(n, C, H, W) whose 8x8 blocks' cosine transforms are rounded to `steps` (8, 8) times `scale` (n, 1, 1, 1)."""
    n, c, height, width = planes.shape
    k = torch.arange(8, device=planes.device)
    basis = torch.cos(torch.pi / 8 * k[:, None] * (k + 0.5)) / 2  # frequency, place
    basis[0] /= 2**0.5
    blocks = planes.reshape(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    size = (steps.to(planes) * scale[..., None, None]).round().clamp(min=1)
    blocks = basis.T @ (((basis @ blocks @ basis.T) / size).round() * size) @ basis
    return blocks.transpose(3, 4).reshape(n, c, height, width)
