"""Bits-back coding of tiles, from nothing: a tile's own band A pays for the latents of its band B.

    rows 0 .. split         band B, coded with latents z ~ q(z | x_B)
    rows split .. height    band A, coded without latents given B above it

    push: A | B with no latent;  pop z from q(z | x_B);  push x_B | z;  push z under the flow prior
    pop:  z under the prior;  x_B | z;  push z back under q(z | x_B);  pop A;  the stack is now exactly empty

In codecs: `after(bits_back(prior, likelihood, posterior), band A)`. The encoder takes the least A that pays. A tile
too small to pay has split 0: all of it is band A, the same codec with an empty B. A message here is a list of
`ans.Message`, one a tile, and a symbol a list of arrays, so that a device can pop a batch of tiles in common
waves.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from vlae_codec.coder.codecs import Codec, after, bits_back
from vlae_codec.coder.inference import Inference
from vlae_codec.contract import Pace
from vlae_codec.errors import VlaeError
from vlae_codec.native import latents, mixture, waves
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.native.network import Packed
from vlae_codec.native.pixels import Arrays, Messages, PixelCodec, Tick
from vlae_codec.threads import Map
from vlae_codec.weights.model import Model


@dataclass
class Ledger:
    """What the symbols coded take, by the terms of -ELBO: "prior", "posterior" (negative), "band A" and "band B"."""

    costs: dict[str, int] = field(default_factory=dict)  # units of 2^-20 bits: encoders decide by them
    freqs: dict[str, np.ndarray] = field(default_factory=dict)  # of the symbols added last to each term

    def add(self, term: str, freqs: np.ndarray, sign: int = 1) -> None:
        self.costs[term] = self.costs.get(term, 0) + sign * mixture.cost(freqs)
        self.freqs[term] = freqs

    @property
    def bits(self) -> dict[str, float]:
        """The costs in bits, for people."""
        return {term: cost / COST_UNIT for term, cost in self.costs.items()}

    @property
    def kl(self) -> int:
        """What the latents themselves take, in units of 2^-20 bits."""
        return self.costs.get("prior", 0) + self.costs.get("posterior", 0)


class Known(NamedTuple):
    """What an encoder knows of a tile before it is coded."""

    below: tuple[np.ndarray, np.ndarray]  # intervals of band A, (rows, W, C) uint32 each
    posterior: np.ndarray  # `Inference.posterior_parameters` of band B


def _on_device(model: Model, device: str) -> PixelCodec:
    """The codec of a model's pixels on a device of torch. Raises VlaeError where there is none."""
    try:
        from vlae_codec.gpu.convoy import Convoy
        from vlae_codec.gpu.device import DevicePixels
    except ModuleNotFoundError as error:
        raise VlaeError(
            f"the device 'torch:{device}' needs torch: pip install 'vlae-codec[torch]', or use --device cpu"
        ) from error
    return Convoy(DevicePixels(model, device))


class TileCodec:
    """The codecs of a model's tiles: on the CPU, by "cpu", or with the pixels on "torch:DEVICE".

    coded, here and below: channels that are coded; a grey tile comes with three equal channels of which the first is.
    """

    def __init__(self, model: Model, backend: str = "cpu") -> None:
        self.model, self.config, self.backend = model, model.config, backend
        self.device = backend.removeprefix("torch:") if backend.startswith("torch:") else None  # None: the CPU
        if self.device is None and backend != "cpu":
            raise VlaeError(f"there is no device {backend!r}; use auto, cpu, cuda or torch:DEVICE")
        self.nets = Inference(model)
        self.stride, self.channels = self.nets.stride, self.nets.channels
        self.levels, self.shift = self.nets.levels, self.nets.shift
        self.pixel_codec: PixelCodec = self.nets.pixels
        self.restriction: tuple[str, int] | None = None
        self.pace: Pace | None = None  # of learning
        if self.device is not None:
            self.pixel_codec = _on_device(model, self.device)

    @property
    def kind(self) -> type[np.uint8 | np.uint16]:
        """The type of the tiles' samples: uint16 for more than 256 levels."""
        return mixture.sample_type(self.levels)

    @property
    def multiply_adds(self) -> int:
        """Int8 products a pixel."""
        learning = self.nets.pixels.setting.learning
        return self.model.multiply_adds + (0 if learning is None else learning.multiply_adds)

    def scaled(self, levels: int, shift: int) -> TileCodec:
        """The codec of samples 0 .. levels - 1 in coarse levels of 2^shift levels, with the networks of this one.

        levels: 2 .. 65536; shift: 0 .. 10; a model's own are those of its configuration and 0. A device has only
        these, so that a codec of others is of the CPU. Raises ValueError for numbers out of range.
        """
        if (levels, shift) == (self.levels, self.shift) and self.restriction is None and self.pace is None:
            return self
        made = copy(self)
        made.nets, made.device, made.backend = self.nets.scaled(levels, shift), None, "cpu"
        made.levels, made.shift, made.pixel_codec = levels, shift, made.nets.pixels
        made.restriction = made.pace = None
        return made

    def learning(self, pace: Pace | None) -> TileCodec:
        """The codec that learns while it codes, of the CPU; None: the one that does not.

        Raises ValueError, as `Inference.learning` does.
        """
        if pace == self.pace:
            return self
        made = copy(self)
        made.nets, made.device, made.backend, made.pace = self.nets.learning(pace), None, "cpu", pace
        made.pixel_codec = made.nets.pixels
        return made

    def adapted(self, local: Packed) -> TileCodec:
        """The codec with another local network, of the same shape, on the same device."""
        made = copy(self)
        made.model, made.nets = replace(self.model, local=local.network), self.nets.adapted(local)
        made.pixel_codec = made.nets.pixels if self.device is None else _on_device(made.model, self.device)
        return made

    def beside(self, planes: Sequence[np.ndarray]) -> TileCodec:
        """The codec of the one tile beside which these planes (H, W) uint8 are known; no planes: the codec itself.

        Models with side planes run on the CPU.
        """
        if not planes:
            return self
        made = copy(self)
        made.nets, made.device, made.backend = self.nets.beside(planes), None, "cpu"
        made.pixel_codec = made.nets.pixels
        return made

    def restricted(self, conversion: str, escape: int) -> TileCodec:
        """The codec of pixels of which most are triples of a conversion from YCbCr, with the networks of this one.

        The last channel is restricted to the values that the first two leave; what is no such triple has 2^-escape of
        the range, 1 .. 16 (`origins.values.best_escape`). A codec of the CPU, as by `scaled`, which also undoes this.
        Raises ValueError, as `Inference.restricted` does.
        """
        made = copy(self)
        made.nets, made.device, made.backend = self.nets.restricted(conversion, escape), None, "cpu"
        made.pixel_codec, made.restriction = made.nets.pixels, (conversion, escape)
        return made

    def posterior(self, xs: Arrays, ledger: Ledger | None = None, rows: Arrays | None = None) -> Codec:
        """q(z | x): codec of latents, (gh, gw, C) uint8 for each x (H, W, C); cells in raster order, one wave.

        rows: what `Inference.posterior_parameters` gives for each x, if that is known.
        """
        c = self.channels
        rows = [self.nets.posterior_parameters(x) for x in xs] if rows is None else rows
        shapes = [(len(x) // self.stride, -(-x.shape[1] // self.stride), c) for x in xs]
        tables = self.model.tables

        def distributions(params: np.ndarray) -> mixture.Rows:
            offsets = np.full((len(params), c), latents.CENTRE, np.int32)
            return mixture.Rows(params, offsets, None, 1, False, latents.LEVELS, c, tables)

        def push(messages: Messages, zs: Arrays) -> Messages:
            pushed = []
            for message, params, z in zip(messages, rows, zs):
                starts, freqs = (v[:, None] for v in mixture.intervals(distributions(params), z.reshape(-1, c)))
                pushed.append(waves.push_region(message, starts, freqs, 0, c))
            return pushed

        def pop(messages: Messages) -> tuple[Messages, Arrays]:
            popped, zs = [], []
            for t, (message, params, shape) in enumerate(zip(messages, rows, shapes)):
                message, z = mixture.pop_rows(distributions(params), message, f"tile {t}")
                popped.append(message)
                zs.append(z.reshape(shape))
                if ledger is not None and z.size:
                    ledger.add("posterior", mixture.intervals(distributions(params), z)[1], -1)
            return popped, zs

        return Codec(push, pop)

    def prior(self, shapes: Sequence[tuple[int, int]], ledger: Ledger | None = None) -> Codec:
        """p(z) by the autoregressive flow: codec of latents (gh, gw, C) uint8, by waves on the latent grid."""
        prior, c = self.nets.prior, self.channels

        def push(messages: Messages, zs: Arrays) -> Messages:
            pushed = []
            for message, z in zip(messages, zs):
                if z.size:
                    starts, freqs = latents.prior_intervals(prior, z)
                    if ledger is not None:
                        ledger.add("prior", freqs)
                    message = waves.push_region(message, starts, freqs, prior.slope, c)
                pushed.append(message)
            return pushed

        def pop(messages: Messages) -> tuple[Messages, Arrays]:
            popped, zs = [], []
            for t, (message, shape) in enumerate(zip(messages, shapes)):
                z = np.zeros((*shape, c), np.uint8)
                if z.size:
                    message, z = latents.pop_prior(prior, message, shape, f"tile {t}")
                popped.append(message)
                zs.append(z)
            return popped, zs

        return Codec(push, pop)

    def pixels(
        self,
        known: Arrays,
        heights: Sequence[int],
        contexts: Arrays | None,
        coded: int,
        ledger: Ledger | None = None,
        tick: Tick | None = None,
        intervals: tuple[np.ndarray, np.ndarray] | None = None,
        spread: Map = map,
    ) -> Codec:
        """p(x | context, known): codec of bands, (height, W, C) each, below the known rows of their tiles.

        known: (rows, W, C); contexts: (height, W, F) int8, or None for the no-latent mode; intervals:
        what `Pixels.intervals` gives for a batch of one, if that is known; spread: see there.
        """

        def push(messages: Messages, xs: Arrays) -> Messages:
            pushed = []
            for t, (message, above, band) in enumerate(zip(messages, known, xs)):
                if len(band):
                    context = None if contexts is None else contexts[t]
                    starts, freqs = intervals or self.pixel_codec.intervals(above, band, context, coded, spread)
                    if ledger is not None:
                        ledger.add("band A" if contexts is None else "band B", freqs[..., :coded])
                    message = waves.push_region(message, starts, freqs, self.nets.slope, coded)
                pushed.append(message)
            return pushed

        def pop(messages: Messages) -> tuple[Messages, Arrays]:
            return self.pixel_codec.pop(messages, known, heights, contexts, coded, tick)

        return Codec(push, pop)

    def tiles(
        self,
        shapes: Sequence[tuple[int, int]],
        splits: Sequence[int],
        coded: int,
        ledger: Ledger | None = None,
        tick: Tick | None = None,
        known: Known | None = None,
        spread: Map = map,
    ) -> Codec:
        """The codec of whole tiles: a pair ([band B of each tile], [band A of each tile]).

        known: what the encoder of a batch of one tile knows of it; spread: see `pixels.Pixels`.
        """
        c = self.config["channels"]
        grids = [(s // self.stride, -(-w // self.stride)) for s, (_, w) in zip(splits, shapes)]
        nothing = [np.zeros((0, w, c), self.kind) for _, w in shapes]

        def likelihood(zs: Arrays) -> Codec:
            contexts = [self.nets.context(z, w) if len(z) else np.empty(0, np.int8) for z, (_, w) in zip(zs, shapes)]
            return self.pixels(nothing, splits, contexts, coded, ledger, tick, None, spread)

        def band_a(bs: Arrays) -> Codec:
            below = None if known is None else known.below
            heights = [h - s for (h, _), s in zip(shapes, splits)]
            return self.pixels(bs, heights, None, coded, ledger, tick, below, spread)

        def posterior(xs: Arrays) -> Codec:
            return self.posterior(xs, ledger, None if known is None else [known.posterior])

        return after(bits_back(self.prior(grids, ledger), likelihood, posterior), band_a)
