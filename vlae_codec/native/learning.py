"""How layers of a local network learn while it codes: what `core/learn.h` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vlae_codec.contract import LEARN_PIXELS, Pace
from vlae_codec.native.library import LearnStruct, TaughtStruct, pointer, span
from vlae_codec.native.network import Packed


@dataclass(frozen=True, eq=False)
class Taught:
    """What a model says of one layer."""

    net: Packed  # of the preconditioner: an input and an output for each input of the layer and for its bias
    diagonal: np.ndarray  # (inputs + 1,) int32, of the preconditioner besides
    reduce: np.ndarray  # (inputs + 1,) int32, shifts of the sums
    scale: np.ndarray  # (outputs,) int32, of scores
    rate: np.ndarray  # (outputs,) int32
    back: np.ndarray | None  # (outputs,) int32, of its weights where derivatives go back to the layer before it

    @property
    def multiply_adds(self) -> int:
        """Of a pixel: the sums, what goes back, and its share of a step."""
        inputs, outputs, rank = len(self.reduce), len(self.rate), self.net.network.layers[0].multiplier.size
        back = 0 if self.back is None else outputs * inputs
        return outputs * inputs + back + -(-outputs * 2 * rank * inputs // LEARN_PIXELS)

    @property
    def struct(self) -> TaughtStruct:
        """This as the core takes it."""
        numbers = (pointer(array, np.int32) for array in (self.diagonal, self.reduce, self.scale, self.rate))
        back = None if self.back is None else pointer(self.back, np.int32)
        return TaughtStruct(*span(self.net.memory), *numbers, back)


@dataclass(frozen=True, eq=False)
class Learning:
    """What a model says of it. Steps are divided by 2^slow."""

    layers: tuple[Taught, ...]  # the last layer, then hidden ones from the last to the second
    slope: np.ndarray | None  # (outputs,) int32, of derivatives by the last layer's outputs, if hidden ones learn
    slow: int = 0

    def at(self, pace: Pace) -> Learning:
        """The same at another pace."""
        if pace.whole:
            return replace(self, slow=pace.slow)
        return Learning((replace(self.layers[0], back=None),), None, pace.slow)

    @property
    def multiply_adds(self) -> int:
        """Of a pixel."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def struct(self) -> LearnStruct:
        """This as the core takes it."""
        count = len(self.layers)
        layers = (TaughtStruct * count)(*(layer.struct for layer in self.layers))
        slope = None if self.slope is None else pointer(self.slope, np.int32)
        return LearnStruct(layers, slope, count, self.slow)
