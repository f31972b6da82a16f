"""What the float model promises: bits per subpixel of whole pictures, with latents and without."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from . import parallel
from .vlae import Vlae


@torch.no_grad()
def evaluate(
    model: Vlae, images: list[np.ndarray], crop: int | None = None, grey: bool = False, half: bool = False
) -> dict[str, float]:
    """Bits per subpixel of the float model, one sample with latents (local and KL) and without.

    images: (H, W, C) uint8; of each the centre crop of `crop` pixels, or all of it cut to whole latent cells; of grey
    ones the first channel counts. half: in bfloat16, faster and a little worse.
    """
    model.eval()
    device, stride = next(model.parameters()).device, model.config.stride
    cut = []
    for image in images:
        h, w = (min(crop or n, n) // stride * stride for n in image.shape[:2])
        r, c = ((n - m) // 2 if crop else 0 for n, m in zip(image.shape[:2], (h, w)))
        cut.append(image[r : r + h, c : c + w])
    totals = np.zeros(4)
    for batch in _batches(cut, 1 << 15):
        x = torch.from_numpy(np.stack(batch)).to(device)
        coded = torch.ones(len(x), model.config.channels, dtype=torch.bool, device=device)
        off = torch.zeros(len(x), dtype=torch.bool, device=device)
        coded[:, 1:] = not grey
        bits, pixels = np.zeros(4), x[..., 0].numel()
        for begin in range(0, pixels, 1 << 15):
            at = torch.arange(begin, min(begin + (1 << 15), pixels), device=device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                on = model(x, at, ~off, off, coded)
                null = model(x, at, off, off, coded)
            bits[0] += on.local.sum().item()
            bits[2] += null.local.sum().item()
        bits[1] = (on.prior - on.posterior).sum().item()
        bits[3] = x[..., 0].numel() * (1 if grey else model.config.channels)
        totals += bits
    model.train()
    local, kl, null_bits, n = totals
    return {"local": local / n, "kl": kl / n, "total": (local + kl) / n, "no_latent": null_bits / n}


def _batches(images: list[np.ndarray], pixels: int) -> Iterator[list[np.ndarray]]:
    """Pictures that follow each other and are of one shape, at most so many pixels together or one picture."""
    batch: list[np.ndarray] = []
    for image in images:
        if batch and (image.shape != batch[0].shape or (len(batch) + 1) * image[..., 0].size > pixels):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def validate(model: Vlae, images: list[np.ndarray]) -> dict[str, float]:
    """`evaluate` on centre crops of 192 pixels, as many pixels as 24 of these have; the training's random numbers stay.

    A small model's pictures are small: thousands of them.
    """
    area = np.cumsum([min(192, image.shape[0]) * min(192, image.shape[1]) for image in images])
    few = images[: 1 + int(np.searchsorted(area, 24 * 192 * 192))]
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        return {
            f"valid_{key}": round(value, 4)
            for key, value in evaluate(model, few, 192, half=parallel.half_precision(device)).items()
        }
