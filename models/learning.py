"""What a model needs so that its last layer can learn while it codes (`core/learn.h`): second moments of that layer's
inputs and of the scores of its outputs, on pictures that it was trained on.

    python -m vlae_codec.models.learning WEIGHTS IMAGES... -o OUTPUT [--planes luma|chroma]

A step of the learner is  W <- W - RATE * diag(1 / s) E[q f^T] (C + RIDGE diag(C))^-1,  where f are the inputs of the
last layer and a 1 for its bias, C = E[f f^T], q the scores, each in units of its root mean square s. It is a step of
K-FAC (Martens and Grosse 2015, arXiv 1503.05671) with a factor C found beforehand and a diagonal other one. The sums
over a step's pixels are clamped at four times what they would come to if the pixels' scores were independent, which is
a limit to the step, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from vlae_codec.contract import (
    LEARN_BIAS,
    LEARN_BITS,
    LEARN_PIXELS,
    LEARN_RANK,
    LEARN_RATE_BITS,
    LEARN_SCALE_BITS,
    LEARN_STEP_BITS,
    LEARN_UNITS,
    LEARN_WIDTH,
)
from vlae_codec.gpu.logistics import Mixture, logistic_mass, mixture_units
from vlae_codec.weights.model import find_weights, read_weights

from .data import load_images
from .export import forms, quantise
from .layers import split_mixture
from .restore import restore
from .sources import source_planes
from .trainer import Settings, Trainer
from .vlae import Vlae
from .weights_file import save_weights

RATE = 1.6e-5  # of a pixel; what codes may halve it, up to MAX_SLOW times
RIDGE = 1.0
STEP = 16  # of a score of root mean square
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


@torch.no_grad()
def moments(
    model: Vlae, batches: Callable[[], tuple[Tensor, Tensor]], pixels: int = 8192
) -> tuple[np.ndarray, np.ndarray]:
    """Second moments of the last layer's inputs and its bias, (n + 1, n + 1), and of the outputs' scores, (P,).

    batches: gives crops and which of their channels are coded, as `Trainer.batch` does.
    """
    config = model.config
    inputs, outputs = model.local.out.in_features + 1, model.local.out.out_features
    products, squares = np.zeros((inputs, inputs)), np.zeros(outputs)
    for i in range(BATCHES):
        x, coded = batches()
        at = torch.randint(x[..., 0].numel(), (pixels,))
        use = torch.full((len(x),), i % 4 > 0)
        rows, ref, values, _, _ = model.rows(x, at, use, torch.zeros_like(use))
        features = model.local.features(rows)
        f = torch.cat([features, torch.ones(pixels, 1)], dim=-1)
        mixture = split_mixture(model.local.out(features), config.mixtures, config.channels)
        image = at // (x.shape[1] * x.shape[2])
        q = scores(mixture, values - ref, values <= 0, values >= config.levels - 1, coded[image])
        products += (f.T @ f).double().numpy() / (pixels * BATCHES)
        squares += q.square().double().mean(0).numpy() / BATCHES
    return products, squares


def preconditioner(
    products: np.ndarray, unit: np.ndarray, reduce: np.ndarray, most: float
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """`most` times the inverse of products + RIDGE times its diagonal, for integers of these units, nearly.

    It is the diagonal that is returned and, on top of it, the layers down and up. With inputs of variance 1, and l an
    eigenvalue of their products and v its vector, the inverse is (1 - sum v v^T (l - rest) / (l + RIDGE)) / (RIDGE +
    rest), where the smallest eigenvalues, which the sum leaves out, count as their mean, the rest.
    """
    spread = np.sqrt(np.diag(products) + 1e-3 * np.diag(products).mean())
    values, vectors = np.linalg.eigh(products / spread[:, None] / spread)
    blank = max(LEARN_RANK + 1 - len(values), 0)  # directions that a narrow layer lacks
    values, vectors = np.pad(values.clip(1e-3), (blank, 0), constant_values=1), np.pad(vectors, ((0, 0), (blank, 0)))
    rest, values, vectors = values[:-LEARN_RANK].mean(), values[-LEARN_RANK:], vectors[:, -LEARN_RANK:]
    to, back = unit * 2.0**reduce / spread, most * unit / spread / (RIDGE + rest)
    none, hidden = np.zeros(len(unit)), np.zeros(LEARN_RANK)
    step = REACH * np.sqrt(LEARN_PIXELS * values) * STEP / SUMS  # of a hidden unit
    down = quantise(vectors.T, hidden, to, none, step, 0.0)
    up = quantise(back[:, None] * vectors * -(values - rest) / (values + RIDGE), none, step, hidden, 1.0, 0.0)
    return np.rint(back * to).clip(0, 1 << 16).astype(np.int32), down, up


def learning_tensors(
    model: Vlae, tensors: dict[str, np.ndarray], products: np.ndarray, squares: np.ndarray
) -> dict[str, np.ndarray]:
    """The tensors `learn.*` of a model with these integer tensors."""
    form = next(form for form in forms(model) if form.name == "local.out")
    unit = np.concatenate([form.unit, [1 / LEARN_BIAS]])
    multiplier, shift = tensors["local.out.multiplier"], int(tensors["local.out.shift"][0])
    step = multiplier * 2.0**-shift * form.out_unit  # of an accumulator
    root = np.sqrt(squares) + 1e-4
    spread = np.sqrt(np.diag(products)) / unit
    reduce = np.rint(np.log2(np.sqrt(LEARN_PIXELS) * STEP / SUMS * np.maximum(spread, 0.5))).clip(0, 24)
    rate = 2.0**LEARN_BITS * RATE / (STEP * root * step)
    most = rate.max() / MOST_RATE
    diagonal, *layers = preconditioner(products, unit, reduce, most * 2.0 ** (LEARN_RATE_BITS + LEARN_STEP_BITS))
    scale = STEP / root * 2.0 ** (LEARN_SCALE_BITS - LEARN_UNITS)
    scale *= np.where(np.isin(mixture_units(model.config.mixtures, model.config.channels)[1], 0), 1, log(2))
    parts = [(f"learn.{name}.", layer) for name, layer in zip(("down", "up"), layers)]
    return {name + key: value for name, layer in parts for key, value in layer.items()} | {
        "learn.diagonal": diagonal,
        "learn.reduce": reduce.astype(np.int32),
        "learn.scale": np.rint(scale).clip(0, 1 << 12).astype(np.int32),
        "learn.rate": np.rint(rate / most).astype(np.int32),
    }


def with_learning(path: str | Path, images: list[np.ndarray], settings: Settings) -> tuple[dict, dict[str, np.ndarray]]:
    """Configuration and tensors of a weight file, with those that its last layer needs to learn.

    images, settings: what it was trained on and how crops of it are drawn. Raises WeightsError.
    """
    config, tensors, _ = read_weights(find_weights(path))
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("learn.")}
    model = restore(find_weights(path))
    trainer = Trainer(model.config, settings, images, "cpu")
    found = moments(model, trainer.batch)
    return config, tensors | learning_tensors(model, tensors, *found)


def learned(path: str | Path, inputs: Sequence[str], settings: Settings, output: str | Path) -> bytes:
    """Writes a weight file with what its last layer needs to learn, and returns its id; too wide a one as it is.

    inputs: pictures as `train` takes them; settings: those of the training.
    """
    model = restore(find_weights(path))
    if model.local.out.in_features >= LEARN_WIDTH:
        return save_weights(output, *read_weights(find_weights(path))[:2])
    channels = 3 if settings.planes else model.config.channels
    loaded = load_images(inputs, settings.crop, channels, settings.mosaic, model.config.levels)
    loaded = source_planes(loaded, settings.planes, settings.crop) if settings.planes else loaded
    return save_weights(output, *with_learning(path, loaded, replace(settings, data_init=False)))


@click.command()
@click.argument("weights")
@click.argument("images", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False))
@click.option(
    "--planes", default="", type=click.Choice(["", "luma", "chroma"]), help="Of the pictures, as in the recipe."
)
@click.option("--crop", default=96, show_default=True, type=click.IntRange(min=8), help="Pixels a side, of crops.")
def main(weights: str, images: tuple[str, ...], output: str, planes: str, crop: int) -> None:
    """Writes WEIGHTS with what its last layer needs to learn, found on IMAGES."""
    print(learned(weights, images, Settings(crop=crop, planes=planes), output).hex())


if __name__ == "__main__":
    main()
