"""A training run: its settings, one optimiser step, and a checkpoint that holds all of it.

The measures against posterior collapse are the paper's (section 3.1) and two of ours: free bits, KL warm-up, a
restricted window, and a head start for the latents: early on a share of the tiles is coded with its window blanked, so
that only the latents can tell anything. A share of tiles drops the latents instead (the no-latent mode).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vlae_codec.errors import InputError

from . import parallel
from .crops import Crops
from .evaluation import validate
from .initial import initialise
from .optim import Muon
from .rounding import quantise_aware
from .vlae import Config, Vlae


@dataclass(frozen=True)
class Settings:
    minutes: float = 10.0  # stop after this long ...
    steps: int = 1_000_000  # ... or after so many steps; the schedules follow whichever is nearer
    batch: int = 12  # crops per step
    crop: int = 96  # pixels, a multiple of the latent stride
    pixels: int = 16384  # pixels per step of which the likelihood is evaluated, drawn at random from the crops ...
    plain: float = 1.0  # ... those in a plain neighbourhood so much more rarely than others, and weighed up for it
    rate: float = 2e-3  # peak learning rate
    clip: float = 0.5  # gradient norm
    ema: float = 0.999
    no_latent: float = 0.2  # share of tiles coded without latents
    blank: float = 0.5  # share of tiles with a blanked window at the start ...
    blank_until: float = 0.35  # ... falling to none at this part of the run
    kl_warmup: float = 0.4  # part of the run in which the KL weight rises from kl_start to 1
    kl_start: float = 0.02
    free_bits: float = 1.0  # bits per latent cell below which the KL costs nothing
    data_init: bool = True  # scale the layers by the first batch (`models.initial`)
    flips: bool = True  # mirror crops, and transpose some
    turned: float = 0.3  # share of transposed crops, where there are flips
    grey: float = 0.08  # share of RGB crops made grey
    altered: float = 0.25  # share of RGB crops that get traces of other cameras and formats (`Crops.alter`)
    rounding: float = 0.15  # last part of the run, which computes with the integers' rounding (`models.rounding`)
    planes: str = ""  # luma, chroma: the pictures' source planes are coded (`models.sources`); empty: the pictures
    only_local: bool = False  # the local network is trained, all else stays as it begins: as it is in another model
    learner: bool = False  # it is trained to begin with where it learns while it codes (`models.learner`)
    pace: float = 1.0  # of learning while it codes, times the usual rates
    mosaic: int = 0  # pictures are mosaics of squares of so many pixels (0: they are not)
    seed: int = 1


def schedule(settings: Settings, progress: float, step: int) -> tuple[float, float, float]:
    """Learning rate, KL weight and blanked share at `progress` in 0 .. 1."""
    rate = settings.rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    warm = min(1.0, progress / settings.kl_warmup)
    kl = settings.kl_start ** (1 - warm)
    blank = settings.blank * max(0.0, 1 - progress / settings.blank_until)
    return max(rate, settings.rate * 0.002), kl, blank


def draw(x: torch.Tensor, count: int, plain: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat indices of pixels, (count,), and the weight with which each stands for all of them, (count,) of mean 1.

    x: (B, H, W, C) uint8. A pixel whose neighbourhood of 5x5 has one value is drawn `plain` times as often as another:
    it tells little, and most pixels of a bilevel picture are such.
    """
    if plain == 1:
        return torch.randint(x[..., 0].numel(), (count,), device=x.device), torch.ones(count, device=x.device)
    pixels = x.permute(0, 3, 1, 2).float()
    high, low = F.max_pool2d(pixels, 5, 1, 2), -F.max_pool2d(-pixels, 5, 1, 2)
    share = torch.where((high == low).all(1), plain, 1.0).flatten()
    at = torch.multinomial(share, count, replacement=True)
    return at, share.mean() / share[at]


class Trainer:
    """A run and everything needed to go on with it."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        images: list[np.ndarray],
        device: str,
        compiled: bool = False,
        build: Callable[[Config], Vlae] = Vlae,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.config, self.settings, self.device = config, settings, device
        self.model = build(config).to(device)
        self.ema = build(config).to(device)
        self.ema.load_state_dict(self.model.state_dict())
        if settings.only_local:
            for part in (self.model.encoder, self.model.topdown, self.model.prior):
                part.requires_grad_(False)
        self.forward = parallel.wrap(self.model)
        if compiled:
            self.forward = torch.compile(self.forward)
        self.optimiser = Muon(self.model.parameters(), lr=settings.rate)
        self.crops = Crops(
            images,
            settings.crop,
            flips=settings.flips,
            turned=settings.turned,
            grey=settings.grey,
            altered=settings.altered,
            seed=settings.seed,
            device=device,
        )
        self.step_count, self.seconds, self.rounded = 0, 0.0, False
        if settings.data_init:
            self.initialise()
        if parallel.rank():
            self.reseed()

    def initialise(self) -> None:
        """Data-dependent initialisation by a batch of its own; the same on every process."""
        x, coded = self.batch()
        at = torch.randint(x[..., 0].numel(), (self.settings.pixels,), device=self.device)
        on = torch.ones(len(x), dtype=torch.bool, device=self.device)
        initialise(self.model, lambda: self.model(x, at, on, ~on, coded))
        self.ema.load_state_dict(self.model.state_dict())

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops and which of their channels are coded."""
        x, coded = self.crops.batch(self.settings.batch)
        return x, coded[:, : self.config.channels]

    def reseed(self) -> None:
        """Random numbers of this process's own, that were not drawn before this step."""
        seed = self.settings.seed + 1_000_003 * parallel.rank() + self.step_count
        torch.manual_seed(seed)
        self.crops.rng.manual_seed(seed)

    def start_from(self, model: Vlae) -> None:
        """Begins with the weights of a model of the same configuration."""
        for own in (self.model, self.ema):
            own.load_state_dict(model.state_dict())

    def progress(self) -> float:
        return max(self.step_count / self.settings.steps, self.seconds / (60 * self.settings.minutes))

    def step(self) -> tuple[float, float]:
        """One optimiser step. Returns local bits per subpixel and KL in bits per latent cell."""
        s, device = self.settings, self.device
        if not self.rounded and self.progress() >= 1 - s.rounding:
            self.rounded = True
            quantise_aware(self.model)
        rate, kl_weight, blank_share = schedule(s, self.progress(), self.step_count)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.model.styles is not None:
            self.model.styles.progress(self.progress())
        x, coded = self.batch()
        at, weight = draw(x, s.pixels, s.plain)
        use = torch.rand(s.batch, device=device) >= s.no_latent
        blank = use & (torch.rand(s.batch, device=device) < blank_share)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=parallel.half_precision(device)):
            terms = self.forward(x, at, use, blank, coded)
        subpixels = (coded.float().sum(1)[at // (s.crop * s.crop)] * weight).sum()
        local = (terms.local.float() * weight).sum() / subpixels
        kl = ((terms.prior - terms.posterior).mean((1, 2)) * use).sum() / use.sum().clamp(min=1)
        cell = self.config.stride**2 * self.config.channels
        loss = local + kl_weight * kl.clamp(min=s.free_bits) / cell * use.float().mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.apply()
        return local.item(), kl.item()

    def apply(self) -> None:
        """Moves the weights as their gradients say."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimiser.step()
        self.step_count += 1
        decay = min(self.settings.ema, (1 + self.step_count) / (10 + self.step_count))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)

    def validate(self, images: list[np.ndarray]) -> dict[str, float]:
        """Bits per subpixel of the averaged weights on pictures that are not trained on."""
        return validate(self.ema, images)

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on as if nothing had been."""
        return {
            "config": self.config.to_dict(),
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step_count,
            "seconds": self.seconds,
            "device": self.device,
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.device == "cuda" else None,
            "crops_rng": self.crops.rng.get_state(),
        }

    def save(self, path: Path) -> None:
        """Writes the state of the run."""
        temporary = Path(f"{path}.tmp")
        torch.save(self.state(), temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        """Goes on where the checkpoint was saved. On another device the random numbers are others.

        Raises InputError when it is none, or one of another configuration or other settings than limits and seed.
        """
        state = read_checkpoint(path)
        own = self.config.to_dict() | asdict(self.settings)
        begun = {k: v for k, v in (state["config"] | state["settings"]).items() if k not in LIMITS}
        other = ", ".join(key for key, value in begun.items() if own.get(key) != value)
        if other:
            raise InputError(
                f"{path} was begun with another configuration or other settings ({other}); give the same recipe, or "
                "begin another run from its weights with --init"
            )
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_count, self.seconds = state["step"], state["seconds"]
        if parallel.rank() or state["device"] != self.device:
            self.reseed()
            return
        torch.set_rng_state(state["torch_rng"].cpu())
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu())
        self.crops.rng.set_state(state["crops_rng"].cpu())


LIMITS = ("minutes", "steps", "seed")  # settings that may be others when a run is resumed


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `Trainer.save` wrote, on the CPU. Raises InputError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or "settings" not in state or "ema" not in state:
            raise ValueError("its state of a run is missing or of an older version")
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise InputError(f"cannot read {path} as a checkpoint: {error}; train anew") from error
    return state
