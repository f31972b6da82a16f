"""Architectures of about equal cost, trained alike for a few steps each: what pays.

    python -m bench.architecture TRAIN... --valid DIR [--valid DIR ...] [--steps 600] [--only NAME ...] [--json OUT]

Prints one row a variant: multiply-adds per pixel, and for each set of held-out pictures (float model, centre crops of
192 pixels) bits per subpixel with latents, the part that is KL, and without latents. Every variant starts from scratch
with the settings of the recipe `photo`; the width of the local network is chosen to make the costs equal, except in the
rows that change just that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from vlae_codec.gpu.logistics import Mixture, mixture_nll
from vlae_codec.models import vlae
from vlae_codec.models.data import load_images
from vlae_codec.models.evaluation import evaluate
from vlae_codec.models.layers import Linear, Mlp, linear, rectify
from vlae_codec.models.recipes import photo_wide
from vlae_codec.models.train import keep_memory
from vlae_codec.models.trainer import Trainer
from vlae_codec.models.vlae import Config, Vlae

BASE = replace(photo_wide.CONFIG, hidden=160)
WINDOWS = {"window 5x2": (5, 2), "window 5x3": (5, 3), "window 9x5": (9, 5)}


class Raw(Vlae):
    """Neighbours enter as they are, not as differences to the base predictor."""

    def local_rows(self, x: Tensor, context: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        predictor, vlae.reference = vlae.reference, lambda flat, base, _: torch.full_like(flat[base], 128)
        try:
            return super().local_rows(x, context, at)
        finally:
            vlae.reference = predictor


class Heads(Vlae):
    """A small network for each channel, which sees the channels before it, in place of linear coupling."""

    WIDTH = 48

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        k, inputs = config.mixtures, self.local.out.in_features
        self.first = torch.nn.ModuleList(linear(inputs + c, self.WIDTH) for c in range(3))
        heads = [linear(self.WIDTH + inputs + c, 3 * k, gain=0.1) for c in range(3)]
        with torch.no_grad():
            for head in heads:
                head.bias[2 * k :] = torch.linspace(-1, 4, k)
        self.heads = torch.nn.ModuleList(heads)

    def local_bits(self, rows: Tensor, ref: Tensor, pixels: Tensor, coded: Tensor) -> Tensor:
        h = rows
        for layer in self.local.hidden:
            h = rectify(layer(h))
        seen, total = torch.cat([h, rows], dim=-1), torch.zeros(len(rows), device=rows.device)
        u = pixels - ref
        for c, (first, head) in enumerate(zip(self.first, self.heads)):
            known = torch.cat([seen, (u[:, :c] * vlae.INPUT_UNIT).clamp(-8, 8).to(seen.dtype)], dim=-1)
            params = head(torch.cat([rectify(first(known)), known], dim=-1)).float()
            logits, loc, scale = params.chunk(3, dim=-1)
            if c:  # begins as the linear coupling does
                loc = loc + u[:, c - 1 : c]
            scale = vlae._Restoring.apply(scale, vlae.SCALE_LOG2_MIN, vlae.SCALE_LOG2_MAX)
            mixture = Mixture(logits.softmax(-1), loc[..., None], scale[..., None], loc.new_zeros(len(loc), 1, 0))
            one = slice(c, c + 1)
            edges = (pixels[:, one] <= 0, pixels[:, one] >= 255)
            total = total + mixture_nll(mixture, u[:, one], *edges, coded[:, one])
        return total


class Residual(Vlae):
    """Each hidden layer but the first adds to what it gets; its weights with the identity added do the same."""

    class Net(Mlp):
        def forward(self, x: Tensor) -> Tensor:
            h = rectify(self.hidden[0](x))
            for layer in self.hidden[1:]:
                h = rectify(h + layer(h))
            return self.out(torch.cat([h, x], dim=-1))

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        net = self.Net(
            self.local.out.in_features - config.hidden, config.hidden, config.layers, self.local.out.out_features
        )
        net.load_state_dict(self.local.state_dict())
        self.add_module("local", net)


class Experts(Vlae):
    """Four local networks, of which a pixel takes the one for its texture: the sum of the magnitudes of its six
    nearest neighbours' differences. The thresholds are those of the first batch's quarters."""

    NUMBER = 4
    NEAR = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))

    class Net(torch.nn.Module):
        def __init__(self, nets: list[torch.nn.Module], near: list[int]) -> None:
            super().__init__()
            self.nets = torch.nn.ModuleList(nets)
            self.near = near
            self.bounds: Tensor
            self.register_buffer("bounds", torch.zeros(len(nets) - 1))

        def forward(self, x: Tensor) -> Tensor:
            texture = x[:, self.near].abs().sum(1)
            if not self.bounds.any():
                self.bounds.copy_(texture.quantile(torch.arange(1, len(self.nets)) / len(self.nets)))
            expert = torch.bucketize(texture, self.bounds)
            places = [(expert == number).nonzero()[:, 0] for number in range(len(self.nets))]
            found = torch.cat([net(x[place]) for net, place in zip(self.nets, places)])
            return found[torch.argsort(torch.cat(places))]

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        places = [tuple(offset) for offset in self.offsets.tolist()]
        near = [3 * places.index(place) + channel for place in self.NEAR for channel in range(3)]
        self.add_module("local", self.Net([deepcopy(self.local) for _ in range(self.NUMBER)], near))


def multiply_adds(model: Vlae) -> float:
    """Per pixel, all networks, digits not counted."""
    config = model.config
    cell = config.stride**2
    places = {"encoder.stem": 1 / 16, "topdown.fine": 1 / 16, "topdown.out": 1 / 16, "local": 1, "first": 1, "heads": 1}
    total = 0.0
    for name, layer in model.named_modules():
        if isinstance(layer, Linear):
            share = next((part for prefix, part in places.items() if name.startswith(prefix)), 1 / cell)
            total += share * layer.in_features * layer.out_features
    if isinstance(model, Experts):
        total -= sum(n.numel() for net in model.local.nets[1:] for n in net.parameters() if n.ndim == 2)
    if isinstance(model, Heads):
        total -= model.local.out.in_features * model.local.out.out_features
    return total


def fitted(config: Config, build: Callable[[Config], Vlae]) -> Config:
    """The configuration with the hidden width (a multiple of 8) whose cost is nearest to BASE's."""
    aim = multiply_adds(Vlae(BASE))
    widths = [replace(config, hidden=8 * n) for n in range(4, 60)]
    return min(widths, key=lambda c: abs(multiply_adds(build(c)) - aim))


def variants() -> dict[str, tuple[Config, dict[str, Any], Callable[[Config], Vlae]]]:
    """name -> configuration, changed settings, class."""
    rows: dict[str, tuple[Config, dict[str, Any], Callable[[Config], Vlae]]] = {"base": (BASE, {}, Vlae)}
    for name, window in WINDOWS.items():
        rows[name] = (fitted(replace(BASE, window=window), Vlae), {}, Vlae)
    for stride, latents in ((4, 1), (16, 8), (8, 2), (8, 8)):
        rows[f"latents {latents} per {stride}x{stride}"] = (
            fitted(replace(BASE, stride=stride, latents=latents), Vlae),
            {},
            Vlae,
        )
    rows["no latents"] = (BASE, {"no_latent": 1.0}, Vlae)
    for steps, k in ((0, 1), (1, 3), (1, 1), (3, 3)):
        rows[f"prior of {steps} flow steps, {k} logistics"] = (
            replace(BASE, flow_steps=steps, prior_mixtures=k),
            {},
            Vlae,
        )
    rows["free bits 1 per cell"] = (BASE, {"free_bits": 1.0}, Vlae)
    rows["no head start, no warm-up"] = (BASE, {"blank": 0.0, "kl_start": 1.0}, Vlae)
    rows["crops of 192, 3 a step"] = (BASE, {"crop": 192, "batch": 3}, Vlae)
    rows["10 logistics"] = (fitted(replace(BASE, mixtures=10), Vlae), {}, Vlae)
    rows["3 hidden layers"] = (fitted(replace(BASE, layers=3), Vlae), {}, Vlae)
    rows["1 hidden layer"] = (fitted(replace(BASE, layers=1), Vlae), {}, Vlae)
    for layers in (4, 6):
        deep = replace(BASE, layers=layers)
        rows[f"{layers} hidden layers"] = (fitted(deep, Vlae), {}, Vlae)
        rows[f"{layers} hidden layers, residual"] = (fitted(deep, Residual), {}, Residual)
    rows["4 experts"] = (BASE, {}, Experts)
    rows["4 experts of 4 hidden layers"] = (fitted(replace(BASE, layers=4), Vlae), {}, Experts)
    rows["hidden 256"] = (replace(BASE, hidden=256), {}, Vlae)
    rows["raw inputs"] = (BASE, {}, Raw)
    rows["heads per channel"] = (fitted(BASE, Heads), {}, Heads)
    rows["no altered crops"] = (BASE, {"altered": 0.0}, Vlae)
    rows["no data-dependent initialisation"] = (BASE, {"data_init": False}, Vlae)
    return rows


@click.command(help=__doc__)
@click.argument("train", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--valid", multiple=True, required=True, type=click.Path(exists=True), help="Held-out sets.")
@click.option("--steps", type=click.IntRange(min=1), default=600, show_default=True)
@click.option("--only", multiple=True, help="Variants [default: all].")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the rows here, after each variant.")
def main(train: tuple[str, ...], valid: tuple[str, ...], steps: int, only: tuple[str, ...], out: Path | None) -> None:
    keep_memory()
    images = load_images(train, 192)
    sets = {Path(folder).name: load_images([folder], 96) for folder in valid}
    rows = json.loads(out.read_text()) if out and out.exists() else {}
    for name, (config, changes, build) in variants().items():
        if (only and name not in only) or name in rows:
            continue
        settings = replace(photo_wide.SETTINGS, steps=steps, minutes=1e9, rounding=0.0, **changes)
        trainer, start = Trainer(config, settings, images, "cpu", build=build), time.perf_counter()
        while trainer.progress() < 1:
            trainer.step()
        row: dict[str, Any] = {"hidden": config.hidden, "multiply_adds": round(multiply_adds(trainer.model))}
        row["seconds"] = round(time.perf_counter() - start)
        for folder, held_out in sets.items():
            found = evaluate(trainer.ema, held_out, crop=192)
            row[folder] = {key: round(float(value), 4) for key, value in found.items()}
        rows[name] = row
        click.echo(json.dumps({name: row}))
        if out is not None:
            out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
