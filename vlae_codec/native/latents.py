"""The latents of a tile under the flow prior, in the core.

Step t of the flow sees a window of plane u_t, where u_0 is the latents themselves, and gives for each cell how u_(t+1)
comes from z there: u = (z - offset) / outer scale. The last step gives the distribution, under the affine map of the
steps before it. A prior without steps has a constant distribution.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from vlae_codec.contract import LATENT_CENTRE, LATENT_LEVELS, LATENT_STEP_BITS, LEVEL_BITS
from vlae_codec.native.ans import Message, Stack
from vlae_codec.native.library import PriorStruct, aligned, check, core, pointer, span
from vlae_codec.native.mixture import Tables
from vlae_codec.native.network import Packed

LEVELS = LATENT_LEVELS
CENTRE = LATENT_CENTRE << LEVEL_BITS  # the latent 0, as an offset


class Prior(NamedTuple):
    """What the prior of a model needs."""

    affine: list[Packed]
    mixture: Packed | None
    base: np.ndarray | None  # (P,) int32, without a mixture
    tables: Tables
    offsets: np.ndarray  # (n, 2) int64, the window's
    slope: int
    mixtures: int
    channels: int

    @property
    def struct(self) -> PriorStruct:
        """The prior as the core takes it."""
        made, nets = PriorStruct(), [*self.affine, *filter(None, [self.mixture])]
        for t, net in enumerate(nets):
            made.nets[t], made.net_sizes[t] = span(net.memory)
        made.base = None if self.base is None else pointer(self.base, np.int32)
        made.window, made.tables = pointer(self.offsets, np.int64), self.tables.struct
        made.affine, made.window_size, made.slope = len(self.affine), len(self.offsets), self.slope
        made.mixtures, made.channels = self.mixtures, self.channels
        made.columns = max([net.outputs for net in nets] + ([] if self.base is None else [self.base.size]))
        return made

    def scratch(self, height: int, width: int, lanes: int = 1) -> np.ndarray:
        """Memory in which the core works on a grid of so many cells."""
        size = core.vlae_prior_scratch(ctypes.byref(self.struct), height, width, lanes)
        return aligned(check(size, "the latents"))


def centred(z: np.ndarray) -> np.ndarray:
    """Latent symbols 0 .. 63 as network inputs: int8, 4 steps a level."""
    return ((z - np.uint8(LATENT_CENTRE)) << np.uint8(LATENT_STEP_BITS)).view(np.int8)


def prior_intervals(prior: Prior, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, freqs), uint32 of the shape of the latents z (h, w, C) uint8."""
    z = np.ascontiguousarray(z, np.uint8)
    if z.ndim != 3 or z.shape[2] != prior.channels:
        raise ValueError(f"latents must be (h, w, {prior.channels}), not {z.shape}")
    starts, freqs = np.zeros((2, *z.shape), np.uint32)
    scratch = prior.scratch(*z.shape[:2])
    args = (pointer(z, np.uint8), *z.shape[:2], pointer(starts, np.uint32), pointer(freqs, np.uint32), *span(scratch))
    check(core.vlae_prior_intervals(ctypes.byref(prior.struct), *args), "the latents")
    return starts, freqs


def pop_prior(prior: Prior, message: Message, shape: tuple[int, int], what: str) -> tuple[Message, np.ndarray]:
    """(message, latents (h, w, C) uint8) popped. Raises EmptyStack, which names `what`."""
    z, stack = np.zeros((*shape, prior.channels), np.uint8), Stack(message)
    scratch = prior.scratch(*shape, len(message.heads))
    args = (pointer(z, np.uint8), *shape, stack.struct, *span(scratch))
    check(core.vlae_pop_prior(ctypes.byref(prior.struct), *args), what)
    return stack.message(), z
