"""How the last layer of a local network learns while it codes: what `core/learn.h` takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.contract import LEARN_PIXELS
from vlae_codec.native.library import LearnStruct, pointer, span
from vlae_codec.native.network import Packed


@dataclass(frozen=True, eq=False)
class Learning:
    """What a model says of it. Steps are divided by 2^slow."""

    net: Packed  # of the preconditioner: an input and an output for each input of the last layer and for its bias
    diagonal: np.ndarray  # (inputs + 1,) int32, of the preconditioner besides
    reduce: np.ndarray  # (inputs + 1,) int32, shifts of the sums
    scale: np.ndarray  # (outputs,) int32, of scores
    rate: np.ndarray  # (outputs,) int32
    slow: int = 0

    @property
    def multiply_adds(self) -> int:
        """Of a pixel: the sums, and its share of a step."""
        inputs, outputs, hidden = len(self.reduce), len(self.rate), self.net.network.layers[0].multiplier.size
        return outputs * inputs + -(-outputs * 2 * hidden * inputs // LEARN_PIXELS)

    @property
    def struct(self) -> LearnStruct:
        """This as the core takes it."""
        arrays = (pointer(array, np.int32) for array in (self.diagonal, self.reduce, self.scale, self.rate))
        return LearnStruct(*span(self.net.memory), *arrays, self.slow)
