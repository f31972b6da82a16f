"""The networks of a model, ready to run: from pixels and latents to integer parameters of distributions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlae_codec import network, tables, waves
from vlae_codec.model import Model

LATENT_LEVELS = 64
CENTRE = (LATENT_LEVELS // 2) << tables.LEVEL_BITS  # the latent 0
STRETCH = {256: 0, 2: 6}  # left shift of a subpixel where it enters a network, by its number of levels
ZERO = -128  # stored value of zero in a rectified activation


def centred(z: np.ndarray) -> np.ndarray:
    """Latent symbols 0 .. 63 as network inputs: int8, 4 steps a level."""
    return ((z - np.uint8(LATENT_LEVELS // 2)) << np.uint8(2)).view(np.int8)


class Inference:
    """A model compiled for a backend: "int8", "float32" or "torch:DEVICE"."""

    def __init__(self, model: Model, backend: str) -> None:
        self.model, self.config = model, model.config
        compile_ = network.compiler(backend)
        self.encoder = [compile_(n) for n in model.encoder]
        self.topdown = [compile_(n) for n in model.topdown]
        self.affine = [compile_(n) for n in model.affine]
        self.mixture = compile_(model.mixture) if model.mixture is not None else None
        self.local = compile_(model.local)
        self.stride, self.channels = model.config["stride"], model.config["latents"]
        self.stretch = STRETCH[model.config.get("levels", 256)]
        self.window = waves.window_offsets(model.config["window"])
        self.slope = waves.window_slope(model.config["window"])
        self.prior_window = waves.window_offsets(model.config["prior_window"])
        self.prior_slope = waves.window_slope(model.config["prior_window"])

    def posterior_parameters(self, x: np.ndarray) -> np.ndarray:
        """Rows (cells, P) of q(z | x) for x (H, W, C) uint8, H a multiple of the stride, edges of W replicated."""
        h, w, _ = x.shape
        x = np.pad(x << self.stretch, ((0, 0), (0, -w % self.stride), (0, 0)), mode="edge")
        gh, gw = h // self.stride, x.shape[1] // self.stride
        rows = network.patches((x ^ 128).view(np.int8), 4)
        size = 4
        *convolutions, out = self.encoder
        for i, layer in enumerate(convolutions):
            a = layer(rows)
            if size < self.stride:
                rows = network.patches(a.reshape(h // size, x.shape[1] // size, -1), 2)
                size *= 2
            elif i < len(convolutions) - 1:
                rows = network.neighbours(a.reshape(gh, gw, -1), ZERO)
        return out(a)

    def null_context(self, height: int, width: int) -> np.ndarray:
        """Context features (height, width, F) int8 of the no-latent mode, from the top of a tile."""
        cells = (-(-height // self.stride), -(-width // self.stride), 1)
        return np.tile(self.model.null, cells)[:height, :width]

    def context(self, z: np.ndarray, width: int) -> np.ndarray:
        """Context features (H, width, F) int8 of the pixels under latents z (gh, gw, C) uint8."""
        gh, gw, _ = z.shape
        up = self.stride // 4
        first, second, spread, fine, out = self.topdown
        a = first(network.neighbours(centred(z), 0))
        a = second(network.neighbours(a.reshape(gh, gw, -1), ZERO))
        quarter = network.unpatch(spread(a), gh, gw, up)
        a = out(fine(network.neighbours(quarter, ZERO)))
        return network.unpatch(a, gh * up, gw * up, 4)[:, :width]

    def prior_parameters(
        self, rows_of: Callable[[int], np.ndarray], publish: Callable[[int, np.ndarray, np.ndarray], None]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of p(z | z before), offsets and outer scales, through the flow.

        rows_of(t): windows of flow variable u_t (u_0 = z) at the cells asked for; publish(t, offsets, outers) tells
        how u_t comes from z there, before rows_of(t) is called.
        """
        c = self.channels
        offsets = outers = np.empty(0, np.int32)
        for t, net in enumerate([*self.affine, self.mixture]):
            rows = rows_of(t)
            if t == 0:
                offsets = np.full((len(rows), c), CENTRE, np.int32)
                outers = waves.identity_outer((len(rows), c))
            if net is None:
                assert self.model.base is not None  # `build` made one of the two
                return np.repeat(self.model.base, len(rows), axis=0), offsets, outers
            out = net(rows)
            if t == len(self.affine):
                break
            offsets = offsets + ((out[:, :c].astype(np.int64) * self.model.tables.outer_scale[outers]) >> 16)
            offsets = offsets.clip(-(1 << 20), 1 << 20).astype(np.int32)
            outers = (outers + out[:, c:]).clip(0, tables.OUTER_SCALES - 1)
            publish(t + 1, offsets, outers)
        return out, offsets, outers

    def flow_variable(self, z: np.ndarray, offsets: np.ndarray, outers: np.ndarray) -> np.ndarray:
        """u (n, C) int8 in 1/16, of z (n, C) uint8 under the affine map that `publish` was told."""
        u = ((z.astype(np.int64) << tables.LEVEL_BITS) - offsets) * self.model.tables.outer_inverse[outers] >> 16
        return ((u + 2) >> 2).clip(-128, 127).astype(np.int8)
