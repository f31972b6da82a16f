"""Training: one loop from crops to exported integer weights; stops by steps or minutes, resumes from a checkpoint.

The measures against posterior collapse are the paper's (section 3.1) and two of ours: free bits, KL warm-up, a
restricted window, and a head start for the latents: early on a share of the tiles is coded with its window blanked, so
that only the latents can tell anything. A share of tiles drops the latents instead (the no-latent mode).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .data import Crops, load_images
from .vlae import Config, Vlae


@dataclass(frozen=True)
class Settings:
    minutes: float = 10.0  # stop after this long ...
    steps: int = 1_000_000  # ... or after so many steps; the schedules follow whichever is nearer
    batch: int = 12  # crops per step
    crop: int = 96  # pixels, a multiple of the latent stride
    pixels: int = 16384  # pixels per step of which the likelihood is evaluated, drawn at random from the crops
    rate: float = 2e-3  # peak learning rate (Adam)
    clip: float = 0.5  # gradient norm
    ema: float = 0.999
    no_latent: float = 0.2  # share of tiles coded without latents
    blank: float = 0.5  # share of tiles with a blanked window at the start ...
    blank_until: float = 0.35  # ... falling to none at this part of the run
    kl_warmup: float = 0.4  # part of the run in which the KL weight rises from kl_start to 1
    kl_start: float = 0.02
    free_bits: float = 1.0  # bits per latent cell below which the KL costs nothing
    grey: float = 0.08  # share of crops made grey
    seed: int = 1


def keep_memory() -> None:
    """Tells glibc to keep freed memory. Otherwise the large temporaries of a step are mapped and unmapped each time,
    which took most of the time of a step on a virtual machine: 175 steps of the photo recipe in the first three minutes
    without this, 662 in the first two with it, beside other work."""
    mmap_max, trim_threshold = -4, -1  # malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def schedule(settings: Settings, progress: float, step: int) -> tuple[float, float, float]:
    """Learning rate, KL weight and blanked share at `progress` in 0 .. 1."""
    rate = settings.rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    warm = min(1.0, progress / settings.kl_warmup)
    kl = settings.kl_start ** (1 - warm)
    blank = settings.blank * max(0.0, 1 - progress / settings.blank_until)
    return max(rate, settings.rate * 0.002), kl, blank


class Trainer:
    """A run and everything needed to go on with it."""

    def __init__(self, config: Config, settings: Settings, images: list[np.ndarray], device: str) -> None:
        torch.manual_seed(settings.seed)
        self.config, self.settings, self.device = config, settings, device
        self.model = Vlae(config).to(device)
        self.ema = Vlae(config).to(device)
        self.ema.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=settings.rate, betas=(0.9, 0.98))
        self.crops = Crops(images, settings.crop, settings.grey, settings.seed)
        self.step_count, self.seconds = 0, 0.0

    def progress(self) -> float:
        return max(self.step_count / self.settings.steps, self.seconds / (60 * self.settings.minutes))

    def step(self) -> tuple[float, float]:
        """One optimiser step. Returns local bits per subpixel and KL in bits per latent cell."""
        s, device = self.settings, self.device
        rate, kl_weight, blank_share = schedule(s, self.progress(), self.step_count)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        x, coded = (t.to(device) for t in self.crops.batch(s.batch))
        at = torch.randint(x.shape[0] * s.crop * s.crop, (s.pixels,), device=device)
        use = torch.rand(s.batch, device=device) >= s.no_latent
        blank = use & (torch.rand(s.batch, device=device) < blank_share)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            terms = self.model(x, at, use, blank, coded)
        subpixels = coded.float().sum(1)[at // (s.crop * s.crop)].sum()
        local = terms.local.float().sum() / subpixels
        kl = ((terms.prior - terms.posterior).mean((1, 2)) * use).sum() / use.sum().clamp(min=1)
        cell = self.config.stride**2 * self.config.channels
        loss = local + kl_weight * kl.clamp(min=s.free_bits) / cell * use.float().mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        self.optimiser.step()
        self.step_count += 1
        decay = min(s.ema, (1 + self.step_count) / (10 + self.step_count))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)
        return local.item(), kl.item()

    def save(self, path: Path) -> None:
        state = {
            "config": self.config.to_dict(),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step_count,
            "seconds": self.seconds,
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
            "crops_rng": self.crops.rng.bit_generator.state,
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_count, self.seconds = state["step"], state["seconds"]
        torch.set_rng_state(state["torch_rng"].cpu())
        torch.cuda.set_rng_state_all([s.cpu() for s in state.get("cuda_rng", [])])
        self.crops.rng.bit_generator.state = state["crops_rng"]


@torch.no_grad()
def evaluate(
    model: Vlae, images: list[np.ndarray], crop: int | None = None, grey: bool = False, half: bool = False
) -> dict[str, float]:
    """Bits per subpixel of the float model, one sample with latents (local and KL) and without.

    images: (H, W, 3) uint8; of each the centre crop of `crop` pixels, or all of it cut to whole latent cells; of grey
    ones the first channel counts. half: in bfloat16, faster and a little worse.
    """
    model.eval()
    device, stride = next(model.parameters()).device, model.config.stride
    totals = np.zeros(4)
    for image in images:
        h, w = (min(crop or n, n) // stride * stride for n in image.shape[:2])
        r, c = ((n - m) // 2 if crop else 0 for n, m in zip(image.shape[:2], (h, w)))
        x = torch.from_numpy(np.ascontiguousarray(image[r : r + h, c : c + w]))[None].to(device)
        coded, off = torch.ones(1, 3, dtype=torch.bool, device=device), torch.zeros(1, dtype=torch.bool, device=device)
        coded[:, 1:] = not grey
        bits = np.zeros(4)
        for begin in range(0, h * w, 1 << 15):
            at = torch.arange(begin, min(begin + (1 << 15), h * w), device=device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                on = model(x, at, ~off, off, coded)
                null = model(x, at, off, off, coded)
            bits[0] += on.local.sum().item()
            bits[2] += null.local.sum().item()
        bits[1] = (on.prior - on.posterior).sum().item()
        bits[3] = h * w * coded.sum().item()
        totals += bits
    model.train()
    local, kl, null_bits, n = totals
    return {"local": local / n, "kl": kl / n, "total": (local + kl) / n, "no_latent": null_bits / n}


def train(
    inputs: list[str],
    checkpoint: Path,
    config: Config,
    settings: Settings,
    *,
    valid: list[str] | None = None,
    device: str = "cpu",
    resume: bool = False,
    quiet: bool = False,
) -> Vlae:
    """Trains until the limits of `settings`; returns the averaged (EMA) model. Checkpoints every two minutes.

    Raises UnsupportedImage when there is nothing to train on.
    """
    keep_memory()
    images = load_images(inputs, settings.crop)
    held_out = load_images(valid, settings.crop) if valid else []
    trainer = Trainer(config, settings, images, device)
    if resume and checkpoint.exists():
        trainer.load(checkpoint)
    interactive = sys.stderr.isatty() and not quiet
    bar = tqdm(total=100, unit="%", disable=not interactive, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}")
    local_mean, kl_mean, saved, logged = 0.0, 0.0, time.monotonic(), time.monotonic()
    began, first = time.monotonic(), trainer.step_count
    last = began
    while trainer.progress() < 1:
        local, kl = trainer.step()
        now = time.monotonic()
        trainer.seconds += now - last
        last = now
        weight = max(0.01, 1 / (trainer.step_count - first))
        local_mean += weight * (local - local_mean)
        kl_mean += weight * (kl - kl_mean)
        speed = (trainer.step_count - first) * settings.batch / (now - began)
        bar.n = round(100 * min(trainer.progress(), 1), 1)
        bar.set_postfix_str(f"{local_mean:.3f} bpsp, KL {kl_mean:.2f} bits/cell, {speed:.0f} images/s")
        if now - saved > 120:
            trainer.save(checkpoint)
            saved = now
        if not interactive and not quiet and now - logged > float(__import__("os").environ.get("LOGSEC", 180)):
            logged = now
            record = {
                "step": trainer.step_count,
                "minutes": round(trainer.seconds / 60, 2),
                "bpsp": round(local_mean, 4),
            }
            record |= {"kl_per_cell": round(kl_mean, 3), "images_per_s": round(speed, 1)}
            if held_out:
                record |= {
                    f"valid_{k}": round(v, 4) for k, v in evaluate(trainer.ema, held_out[:24], 192, half=True).items()
                }
            print(json.dumps(record), file=sys.stderr, flush=True)
            last = time.monotonic()  # evaluation is not training time
    bar.close()
    trainer.save(checkpoint)
    return trainer.ema
