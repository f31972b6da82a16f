"""What a model needs to learn while it codes (`core/learn.h`): for each layer of its local network but the first,
second moments of its inputs and of the scores of its outputs, on pictures that it was trained on.

    python -m vlae_codec.models.learning WEIGHTS IMAGES... -o OUTPUT [--planes luma|chroma]
    python -m vlae_codec.models.learning WEIGHTS --without -o OUTPUT

A step of the learner is  W <- W - RATE * diag(1 / s) E[q f^T] (C + RIDGE diag(C))^-1,  where f are the inputs of a
layer and a 1 for its bias, C = E[f f^T], q the scores, each in units of its root mean square s. It is a step of
K-FAC (Martens and Grosse 2015, arXiv 1503.05671) with a factor C found beforehand and a diagonal other one. The sums
over a step's pixels are clamped at four times what they would come to if the pixels' scores were independent, which is
a limit to the step, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
import numpy as np
import torch
from torch import Tensor

from vlae_codec.contract import (
    DIGIT_BITS,
    INT8_MAX,
    LEARN_BIAS,
    LEARN_BITS,
    LEARN_HIDDEN_RANK,
    LEARN_PIXELS,
    LEARN_RANK,
    LEARN_RATE_BITS,
    LEARN_SCALE_BITS,
    LEARN_STEP_BITS,
    LEARN_UNITS,
    LEARN_WIDTH,
    parameter_layout,
)
from vlae_codec.gpu.logistics import Mixture, logistic_mass
from vlae_codec.weights.model import find_weights, read_weights
from vlae_codec.weights.schema import LEARN, Config, taught

from .data import load_images
from .export import forms, quantise
from .layers import HIDDEN_MAX, HIDDEN_UNIT, Linear, rectify, split_mixture
from .restore import restore
from .sources import source_planes
from .trainer import Settings, Trainer
from .vlae import Vlae
from .weights_file import save_weights

RATE = 1.6e-5  # of a pixel; what codes may halve it, up to MAX_SLOW times, and does for the last layer if others learn
HIDDEN_RATE = {1: 0.8e-5, 3: 2e-5}  # of all hidden layers of HIDDEN units, by the channels that tell how to move
HIDDEN = 256
RIDGE = 1.0
STEP, HIDDEN_STEP = 16, 4  # a score of root mean square, of the last layer and of hidden ones, whose tails are longer
IDLE = 0.1  # of the root mean square of all of a hidden layer's scores, that of a unit which never is in use
TAIL = 16  # times the root mean square of the weights by which derivatives go back, their largest
STEEP = 2  # bits that derivatives by locations have more than others, in levels
SUMS = 32  # to which sums of scores of LEARN_PIXELS pixels, if they were independent, come
REACH = 2  # and by how much less those of a direction come to
BATCHES = 24
MOST_RATE = 1 << 15


def scores(mixture: Mixture, u: Tensor, first: Tensor, last: Tensor, coded: Tensor) -> Tensor:
    """Derivatives of rows' costs, (N, P), in nats by the parameters, those of locations in scales; `core/learn.h`.

    Arguments as those of `mixture_nll`.
    """
    posterior, by_mean, by_scale = mixture.weights, [], []
    pair = 0
    for c in range(u.shape[1]):
        mean = mixture.loc[..., c]
        for earlier in range(c):
            mean = mean + mixture.coefs[..., pair] * u[:, earlier, None]
            pair += 1
        inverse = torch.exp2(-mixture.log2_scale[..., c])
        d, h = (u[:, c, None] - mean) * inverse, 0.5 * inverse
        ends = first[:, c, None], last[:, c, None]
        below = torch.where(ends[0], 0.0, torch.sigmoid(d - h))
        above = torch.where(ends[1], 1.0, torch.sigmoid(d + h))
        mass, t = logistic_mass(d + h, d - h, *ends), 1 - below - above
        inside = d * t + h / torch.tanh(h) - h * mass
        by_mean.append(torch.where(coded[:, c, None], t, 0.0))
        scaled = torch.where(ends[0], (d + h) * t, torch.where(ends[1], (d - h) * t, inside))
        by_scale.append(torch.where(coded[:, c, None], scaled, 0.0) * log(2))
        posterior = posterior * torch.where(coded[:, c, None], mass + 2.0**-24, 1.0)
    posterior = posterior / posterior.sum(-1, keepdim=True)
    moved = posterior[..., None] * torch.stack(by_mean, -1)
    coefs = [moved[..., c] * u[:, e, None] for c in range(u.shape[1]) for e in range(c)]
    parts = [
        mixture.weights - posterior,
        moved.flatten(1),
        (posterior[..., None] * torch.stack(by_scale, -1)).flatten(1),
    ]
    return torch.cat([*parts, torch.stack(coefs, -1).flatten(1)] if coefs else parts, dim=-1)


class Moments(NamedTuple):
    """Second moments of a layer that learns."""

    products: np.ndarray  # (n + 1, n + 1) of its inputs and a 1 for its bias
    squares: np.ndarray  # (P,) of the scores of its outputs
    slopes: np.ndarray  # (P,) of the derivatives by its outputs: for a hidden layer the same


def powers(products: np.ndarray) -> np.ndarray:
    """(n + 1,): the mean squares of a layer's inputs and of its bias, a little more, so that none is 0."""
    diagonal: np.ndarray = np.diag(products)
    return diagonal + 1e-3 * diagonal.mean()


def roots(squares: np.ndarray, last: bool) -> np.ndarray:
    """(P,): the units of scores, their root mean squares and more for outputs that never are in use. last: of the last
    layer.
    """
    root: np.ndarray = np.sqrt(squares)
    return root + (1e-4 if last else IDLE * np.sqrt(squares.mean()) + 1e-9)


@torch.no_grad()
def moments(model: Vlae, batches: Callable[[], tuple[Tensor, Tensor]], pixels: int = 8192) -> list[Moments]:
    """Those of the layers that learn, from the last one on.

    batches: gives crops and which of their channels are coded, as `Trainer.batch` does.
    """
    config, local = model.config, model.local
    layers = [local.out, *reversed(cast(list[Linear], list(local.hidden))[1:])]
    sums = [
        Moments(np.zeros((n + 1, n + 1)), np.zeros(m), np.zeros(m)) for m, n in (one.weight.shape for one in layers)
    ]
    for i in range(BATCHES):
        x, coded = batches()
        at = torch.randint(x[..., 0].numel(), (pixels,))
        use = torch.full((len(x),), i % 4 > 0)
        rows, ref, values, _, _ = model.rows(x, at, use, torch.zeros_like(use))
        units = [rectify(local.hidden[0](rows))]
        for layer in local.hidden[1:]:
            units.append(rectify(layer(units[-1])))
        seen = [torch.cat([units[-1], rows], dim=-1), *reversed(units[:-1])]
        mixture = split_mixture(local.out(seen[0]), config.mixtures, config.channels)
        image = at // (x.shape[1] * x.shape[2])
        q = scores(mixture, values - ref, values <= 0, values >= config.levels - 1, coded[image])
        d = derivatives(mixture, q)
        for layer, inputs, outputs, found in zip(layers, seen, [None, *reversed(units[1:])], sums):
            if outputs is not None:
                q = d = torch.where((outputs > 0) & (outputs < HIDDEN_MAX), d, 0.0)
            f = torch.cat([inputs, torch.ones(pixels, 1)], dim=-1)
            found.products[:] += (f.T @ f).double().numpy() / (pixels * BATCHES)
            found.squares[:] += q.square().double().mean(0).numpy() / BATCHES
            found.slopes[:] += d.square().double().mean(0).numpy() / BATCHES
            d = d @ layer.weight[:, : config.hidden]
    return sums


def derivatives(mixture: Mixture, q: Tensor) -> Tensor:
    """Derivatives of rows' costs, (N, P), in nats by the parameters as they are, from `scores`."""
    n, k, channels = mixture.loc.shape
    logits, loc, scale, coefs = q.split(list(parameter_layout(k, channels)), dim=-1)
    inverse = torch.exp2(-mixture.log2_scale)
    of_pairs = [inverse[..., c] for c in range(channels) for _ in range(c)]
    parts = [logits, loc * inverse.flatten(1), scale]
    return torch.cat([*parts, coefs * torch.stack(of_pairs, -1).flatten(1)] if of_pairs else parts, dim=-1)


def preconditioner(
    products: np.ndarray, unit: np.ndarray, reduce: np.ndarray, most: float, one: int, rank: int
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """`most` times the inverse of products + RIDGE times its diagonal, for integers of these units, nearly.

    one: a score of root mean square; rank: directions that count one by one.

    It is the diagonal that is returned and, on top of it, the layers down and up. With inputs of variance 1, and l an
    eigenvalue of their products and v its vector, the inverse is (1 - sum v v^T (l - rest) / (l + RIDGE)) / (RIDGE +
    rest), where the smallest eigenvalues, which the sum leaves out, count as their mean, the rest.
    """
    spread = np.sqrt(powers(products))
    values, vectors = np.linalg.eigh(products / spread[:, None] / spread)
    blank = max(rank + 1 - len(values), 0)  # directions that a narrow layer lacks
    values, vectors = np.pad(values.clip(1e-3), (blank, 0), constant_values=1), np.pad(vectors, ((0, 0), (blank, 0)))
    rest, values, vectors = values[:-rank].mean(), values[-rank:], vectors[:, -rank:]
    to, back = unit * 2.0**reduce / spread, most * unit / spread / (RIDGE + rest)
    none, hidden = np.zeros(len(unit)), np.zeros(rank)
    step = REACH * np.sqrt(LEARN_PIXELS * values) * one / SUMS  # of a hidden unit
    down = quantise(vectors.T, hidden, to, none, step, 0.0)
    up = quantise(back[:, None] * vectors * -(values - rest) / (values + RIDGE), none, step, hidden, 1.0, 0.0)
    return np.rint(back * to).clip(0, 1 << 16).astype(np.int32), down, up


def rates_of(config: Config, pace: float = 1.0) -> dict[str, float]:
    """The rate of each layer that learns, by its name; of hidden ones, last first, the earlier ones have more.

    pace: times the usual ones.
    """
    last, *hidden = taught(config)
    parts = {name: 2.0**i for i, name in enumerate(hidden)}
    whole = pace * HIDDEN_RATE[config.channels] * HIDDEN / config.hidden
    return {last: pace * RATE} | {name: whole * part / sum(parts.values()) for name, part in parts.items()}


def learning_tensors(
    model: Vlae, tensors: dict[str, np.ndarray], found: Sequence[Moments], pace: float = 1.0
) -> dict[str, np.ndarray]:
    """The tensors `learn.*` of a model with these integer tensors. pace: of `rates_of`."""
    config = Config.of(model.config.to_dict())
    names, rates = taught(config), rates_of(config, pace)
    held = {form.name: form for form in forms(model)}
    layout = parameter_layout(model.config.mixtures, model.config.channels)
    octaves = np.repeat([1, 1, log(2), 1], layout)  # scales are in octaves
    steep = np.repeat([0, STEEP, 0, STEEP], layout)  # bits that the core's derivatives have besides
    made: dict[str, np.ndarray] = {}
    per_score: Any = 2.0 ** (LEARN_SCALE_BITS - LEARN_UNITS) * octaves
    for name, own in zip(names, found):
        form, one = held[f"local.{name}"], STEP if name == "out" else HIDDEN_STEP
        unit = np.concatenate([form.unit, [1 / LEARN_BIAS]])
        multiplier, shift = tensors[f"local.{name}.multiplier"], int(tensors[f"local.{name}.shift"][0])
        step = multiplier * 2.0**-shift * form.out_unit  # of an accumulator
        root = roots(own.squares, name == "out")
        spread = np.sqrt(np.diag(own.products)) / unit
        reduce = np.rint(np.log2(np.sqrt(LEARN_PIXELS) * one / SUMS * np.maximum(spread, 0.5))).clip(0, 24)
        rate = 2.0**LEARN_BITS * rates[name] / (one * root * step)
        most = rate.max() / MOST_RATE
        rank = LEARN_RANK if name == "out" else LEARN_HIDDEN_RANK
        diagonal, *layers = preconditioner(
            own.products, unit, reduce, most * 2.0 ** (LEARN_RATE_BITS + LEARN_STEP_BITS), one, rank
        )
        parts = {f"{part}.{key}": value for part, layer in zip(("down", "up"), layers) for key, value in layer.items()}
        parts |= {
            "diagonal": diagonal,
            "reduce": reduce.astype(np.int32),
            "scale": np.rint(per_score * one / root).clip(0, 1 << 12).astype(np.int32),
            "rate": np.rint(rate / most).astype(np.int32),
        }
        if name != names[-1]:
            slope = (root if name != "out" else np.sqrt(own.slopes) + 1e-4) / one  # what 1 of a derivative stands for
            if name == "out":
                fine = 2.0 ** (LEARN_SCALE_BITS - LEARN_UNITS - steep) * octaves / slope
                made["learn.slope"] = np.rint(fine).clip(0, 1 << 12).astype(np.int32)
            weight = tensors[f"local.{name}.weight"][: model.config.hidden, : len(step)].astype(np.float64)
            far = weight * (1 << DIGIT_BITS * (form.digits - 1)) * step * slope
            share = np.sqrt(np.square(far).mean()) * TAIL / INT8_MAX  # what 1 of a weight, and so of a sum, stands for
            parts["back"] = np.rint(step * slope / share * 2.0**LEARN_SCALE_BITS).clip(0, 1 << 16).astype(np.int32)
            per_score = share / HIDDEN_UNIT * 2.0**LEARN_SCALE_BITS
        made |= {f"learn.{name}.{key}": value for key, value in parts.items()}
    return made


def resting(path: str | Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Configuration and tensors of a weight file, without those that it needs to learn. Raises WeightsError."""
    config, tensors, _ = read_weights(find_weights(path))
    return config, {name: tensor for name, tensor in tensors.items() if not name.startswith(LEARN)}


def with_learning(
    path: str | Path, images: list[np.ndarray], settings: Settings, found: Sequence[Moments] = ()
) -> tuple[dict, dict[str, np.ndarray]]:
    """Configuration and tensors of a weight file, with those that it needs to learn.

    images, settings: what it was trained on and how crops of it are drawn; found: its moments, if they are known.
    Raises WeightsError.
    """
    config, tensors = resting(path)
    model = restore(find_weights(path))
    found = found or moments(model, Trainer(model.config, settings, images, "cpu").batch)
    return config, tensors | learning_tensors(model, tensors, found, settings.pace)


def learned(
    path: str | Path, inputs: Sequence[str], settings: Settings, output: str | Path, found: Sequence[Moments] = ()
) -> bytes:
    """Writes a weight file with what it needs to learn, and returns its id; too wide a one as it is.

    inputs: pictures as `train` takes them; settings: those of the training; found: the model's moments, if known.
    """
    model = restore(find_weights(path))
    if model.local.out.in_features >= LEARN_WIDTH:
        return save_weights(output, *read_weights(find_weights(path))[:2])
    channels = 3 if settings.planes else model.config.channels
    loaded = load_images(inputs, settings.crop, channels, settings.mosaic, model.config.levels)
    loaded = source_planes(loaded, settings.planes, settings.crop) if settings.planes else loaded
    return save_weights(output, *with_learning(path, loaded, replace(settings, data_init=False), found))


@click.command()
@click.argument("weights")
@click.argument("images", nargs=-1)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False))
@click.option(
    "--planes", default="", type=click.Choice(["", "luma", "chroma"]), help="Of the pictures, as in the recipe."
)
@click.option("--crop", default=96, show_default=True, type=click.IntRange(min=8), help="Pixels a side, of crops.")
@click.option("--without", is_flag=True, help="A model that does not learn: smaller, no IMAGES.")
def main(weights: str, images: tuple[str, ...], output: str, planes: str, crop: int, without: bool) -> None:
    """Writes WEIGHTS with what it needs to learn, found on IMAGES, or without it."""
    if without == bool(images):
        raise click.UsageError("give IMAGES, or --without")
    if without:
        print(save_weights(output, *resting(weights)).hex())
    else:
        print(learned(weights, images, Settings(crop=crop, planes=planes), output).hex())


if __name__ == "__main__":
    main()
