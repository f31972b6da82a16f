"""Training of the weights with which a model begins that learns while it codes.

Some pictures are coded side by side as `core/learn.h` codes a tile: after every LEARN_PIXELS pixels the weights of each
take the learner's step. The gradients at these weights also move the ones with which all begin, at once and as if the
steps so far did not depend on them: MAML of first order (Finn, Abbeel and Levine 2017, arXiv 1703.03400), but for the
common weights, which do not wait for the end of a picture. What a picture tells of itself they need not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vlae_codec.contract import LEARN_PIXELS
from vlae_codec.errors import InputError
from vlae_codec.gpu.logistics import mixture_nll
from vlae_codec.weights.schema import Config as Schema

from . import parallel
from .layers import HIDDEN_MAX, HIDDEN_UNIT, Linear, rectify, split_mixture
from .learning import RIDGE, Moments, derivatives, moments, powers, rates_of, roots, scores
from .rounding import quantise_aware
from .trainer import Trainer, read_checkpoint, schedule
from .vlae import Vlae

MOMENTS = "moments"  # in a checkpoint
LIMIT = 4  # of a step's sums, in what they would come to if the pixels' scores were independent


class Learner:
    """The learner of `core/learn.h` in floating point, for some streams of pixels at once, each with weights of its
    own.

    moved: for each layer that learns, the last one first, how far each stream's weights, the bias behind, have come.
    """

    def __init__(
        self, model: Vlae, found: Sequence[Moments], streams: int, pace: float = 1.0, device: str = "cpu"
    ) -> None:
        self.config, self.streams = model.config, streams
        last, *hidden = rates_of(Schema.of(model.config.to_dict()), pace).values()
        self.rates = [last / 2, *hidden]  # as all layers learn
        self.half = torch.bfloat16 if parallel.half_precision(device) else torch.float32
        self.inverse, self.root, self.limit, self.moved = [], [], [], []
        for i, own in enumerate(found):
            power, root = powers(own.products), roots(own.squares, not i)
            inverse = np.linalg.inv(own.products + RIDGE * np.diag(power))
            spread, unit = (torch.from_numpy(one).float().to(device) for one in (power, root))
            self.inverse.append(torch.from_numpy(inverse).to(device, self.half))
            self.root.append(unit)
            self.limit.append(LIMIT * (LEARN_PIXELS * spread).sqrt())
            self.moved.append(torch.zeros(streams, len(root), len(power), device=device))

    def begin(self, stream: int) -> None:
        """Gives a stream the common weights."""
        for moved in self.moved:
            moved[stream] = 0

    @torch.no_grad()
    def step(self, model: Vlae, rows: Tensor, ref: Tensor, values: Tensor, coded: Tensor, teach: bool = True) -> Tensor:
        """The bits of the next pixels of each stream, (streams,), under its weights, which then learn from them.

        rows: (streams * LEARN_PIXELS, inputs), one stream behind the other; ref, values, coded: as of `mixture_nll`;
        teach: the mean gradient of the bits of a sample is added to that of the parameters of the local network.
        """
        n, hidden = self.streams, self.config.hidden
        head, *others = [cast(Linear, layer) for layer in model.local.hidden]
        layers = [model.local.out, *reversed(others)]
        weights = [_rounded(layer, _whole(layer) + moved).to(self.half) for layer, moved in zip(layers, self.moved)]
        one = torch.ones(len(rows), 1, device=rows.device)
        if head.rounding is not None:
            rows = head.rounding.inputs(rows)
        inputs = torch.cat([rows, one], dim=1).to(self.half)
        units, seen = [_units(inputs @ _rounded(head, _whole(head)).to(self.half).T, head)], []
        for weight in weights[:0:-1]:
            seen.append(torch.cat([units[-1], one], dim=1).to(self.half).unflatten(0, (n, -1)))
            units.append(_units(torch.bmm(seen[-1], weight.mT).flatten(0, 1), head))
        seen.append(torch.cat([units[-1], rows, one], dim=1).to(self.half).unflatten(0, (n, -1)))
        out = torch.bmm(seen[-1], weights[0].mT).float().flatten(0, 1)
        mixture = split_mixture(out, self.config.mixtures, self.config.channels)
        ends = values <= 0, values >= self.config.levels - 1
        bits = mixture_nll(mixture, values - ref, *ends, coded)
        q = scores(mixture, values - ref, *ends, coded)
        d = derivatives(mixture, q)
        share = 1 / (coded.sum() * log(2))
        for i, (layer, weight, f) in enumerate(zip(layers, weights, reversed(seen))):
            if i:
                q = d = _through(d, units[-i])
            sums = torch.bmm((q / self.root[i]).to(self.half).unflatten(0, (n, -1)).mT, f).float()
            if teach and i:
                _add(layer, sums.sum(0) * self.root[i][:, None] * share)
            elif teach:
                _add(layer, (d.to(self.half).T @ f.flatten(0, 1)).float() * share)
            sums = torch.minimum(torch.maximum(sums, -self.limit[i]), self.limit[i])
            move = (sums.to(self.half).flatten(0, 1) @ self.inverse[i]).float().view_as(sums)
            self.moved[i] -= self.rates[i] * move / self.root[i][:, None]
            d = torch.bmm(d.to(self.half).unflatten(0, (n, -1)), weight[:, :, :hidden]).float().flatten(0, 1)
        if teach:
            _add(head, (_through(d, units[0]).to(self.half).T @ inputs).float() * share)
        return bits.unflatten(0, (n, -1)).sum(1)


def _whole(layer: Linear) -> Tensor:
    """(outputs, inputs + 1): weights and biases."""
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1)


def _rounded(layer: Linear, weight: Tensor) -> Tensor:
    """A layer's weights and biases as integers hold those that began as the layer's, if it rounds."""
    if layer.rounding is None:
        return weight
    return torch.cat([layer.rounding.moved(layer.weight, weight[..., :-1]), weight[..., -1:]], dim=-1)


def _units(out: Tensor, layer: Linear) -> Tensor:
    """The activations of outputs, rounded if the layer rounds."""
    units = rectify(out.float())
    return units if layer.rounding is None else (units / HIDDEN_UNIT).round() * HIDDEN_UNIT


def _through(d: Tensor, units: Tensor) -> Tensor:
    """The derivatives by hidden units, before the rectifier."""
    return torch.where((units > 0) & (units < HIDDEN_MAX), d, 0.0)


def _add(layer: Linear, gradient: Tensor) -> None:
    for parameter, own in ((layer.weight, gradient[:, :-1]), (layer.bias, gradient[:, -1])):
        parameter.grad = own.clone() if parameter.grad is None else parameter.grad + own


class Streams:
    """Pictures of one size that are coded side by side, each from its first pixel to its last, in the core's order.

    pictures: (streams, size, size, C) uint8, with planes known before behind; coded: (streams, C) bool.
    """

    def __init__(self, model: Vlae, pictures: Tensor, coded: Tensor, no_latent: float = 0.0) -> None:
        streams, size = pictures.shape[:2]
        self.pictures, self.coded, self.no_latent = pictures, coded, no_latent
        steps, up = torch.arange(size, device=pictures.device), model.config.window[1]
        self.order = (steps[None, :] + up * steps[:, None]).flatten().argsort(stable=True)
        self.context = torch.empty(streams, size * size, model.config.context, device=pictures.device)
        self.at = torch.zeros(streams, dtype=torch.int64)
        for stream in range(streams):
            self.put(model, stream, pictures[stream], coded[stream])

    @torch.no_grad()
    def put(self, model: Vlae, stream: int, picture: Tensor, coded: Tensor) -> None:
        """Another picture for a stream."""
        self.pictures[stream], self.coded[stream], self.at[stream] = picture, coded, 0
        z, _ = model.sample(*model.posterior(picture[None, ..., : model.config.channels]))
        use = torch.rand(1, device=z.device) >= self.no_latent
        self.context[stream] = model.context(z, torch.arange(len(self.order), device=z.device), use)

    def ended(self) -> list[int]:
        """The streams with fewer than LEARN_PIXELS pixels left."""
        return (self.at + LEARN_PIXELS > len(self.order)).nonzero().flatten().tolist()

    def rows(self, model: Vlae) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Learner.step` takes, of the next pixels."""
        device = self.order.device
        places = self.order[self.at[:, None].to(device) + torch.arange(LEARN_PIXELS, device=device)]
        self.at += LEARN_PIXELS
        stream = torch.arange(len(places), device=device)[:, None]
        context, at = self.context[stream, places].flatten(0, 1), (stream * len(self.order) + places).flatten()
        return *model.inputs(self.pictures, context, at), self.coded.repeat_interleave(LEARN_PIXELS, 0)


def moments_in(checkpoint: Path) -> list[Moments]:
    """Those of a learner's run; none of another. Raises InputError."""
    return [Moments(*(one.numpy() for one in own)) for own in read_checkpoint(checkpoint).get(MOMENTS, ())]


class LearnerTrainer(Trainer):
    """A run that trains the local network as the start of a learner. All else stays as it was.

    Of the settings `batch` is how many pictures are coded side by side, each a crop of `crop` pixels, and `pixels` how
    many a step of the common weights sees. A checkpoint does not hold how far the pictures are: a run that goes on
    begins with others. Raises InputError for several processes.
    """

    streams: Streams | None = None
    found: Sequence[Moments] = ()  # those of the weights with which the run began

    def state(self) -> dict[str, Any]:
        return super().state() | {MOMENTS: [tuple(map(torch.from_numpy, own)) for own in self.found]}

    def load(self, path: Path) -> None:
        super().load(path)
        self.found = moments_in(path)

    def begin(self) -> Streams:
        """Finds the learner's moments if the run has none, and draws the first pictures. Each starts somewhere."""
        if parallel.count() > 1:
            raise InputError("a learner is trained by one process: leave torchrun out")
        s = self.settings
        self.found = self.found or moments(self.model, self.batch)
        self.learner = Learner(self.model, self.found, s.batch, s.pace, self.device)
        streams = Streams(self.model, *self.batch(), s.no_latent)
        streams.at = torch.randint(s.crop**2 // LEARN_PIXELS, (s.batch,)) * LEARN_PIXELS
        return streams

    def step(self) -> tuple[float, float]:
        """One optimiser step. Returns bits per subpixel, and 0 for the latents, which are not trained."""
        s = self.settings
        self.streams = self.streams or self.begin()
        if not self.rounded and self.progress() >= 1 - s.rounding:
            self.rounded = True
            quantise_aware(self.model)
        for group in self.optimiser.param_groups:
            group["lr"] = schedule(s, self.progress(), self.step_count)[0]
        self.optimiser.zero_grad(set_to_none=True)
        bits = samples = 0.0
        for _ in range(max(1, s.pixels // (s.batch * LEARN_PIXELS))):
            for stream in self.streams.ended():
                picture, coded = self.crops.batch(1)
                self.streams.put(self.model, stream, picture[0], coded[0, : self.config.channels])
                self.learner.begin(stream)
            rows = self.streams.rows(self.model)
            bits += self.learner.step(self.model, *rows).sum().item()
            samples += rows[-1].sum().item()
        self.apply()
        return bits / samples, 0.0

    def validate(self, images: list[np.ndarray]) -> dict[str, float]:
        """Of the averaged weights, too, where they learn."""
        return super().validate(images) | {"valid_learned": round(self.learned(images), 4)}

    @torch.no_grad()
    def learned(self, images: list[np.ndarray]) -> float:
        """Bits per subpixel of centre crops of pictures, where the averaged weights learn."""
        size = self.settings.crop
        crops = [_centre(image, size) for image in images if min(image.shape[:2]) >= size][:: 1 + len(images) // 16]
        pictures = torch.from_numpy(np.stack(crops)).to(self.device)
        coded = torch.ones(len(crops), self.config.channels, dtype=torch.bool, device=self.device)
        with torch.random.fork_rng([self.device] if self.device == "cuda" else []):
            torch.manual_seed(0)
            streams, bits, samples = Streams(self.ema, pictures, coded), 0.0, 0.0
            learner = Learner(self.ema, self.found, len(crops), self.settings.pace, self.device)
            while not streams.ended():
                rows = streams.rows(self.ema)
                bits += learner.step(self.ema, *rows, teach=False).sum().item()
                samples += rows[-1].sum().item()
        return bits / samples


def _centre(image: np.ndarray, size: int) -> np.ndarray:
    top, left = ((n - size) // 2 for n in image.shape[:2])
    return image[top : top + size, left : left + size]
