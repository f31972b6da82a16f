"""The networks of a model, ready to run: from pixels and latents to integer parameters of distributions."""

from __future__ import annotations

import numpy as np

from vlae_codec.contract import PIXEL_CENTRE, RECTIFIED, STRETCH, window_offsets, window_slope
from vlae_codec.native.latents import Prior, centred
from vlae_codec.native.network import Packed, neighbours, patches, unpatch
from vlae_codec.native.pixels import Pixels, Setting
from vlae_codec.weights.model import Model


class Inference:
    """A model's networks on the CPU."""

    def __init__(self, model: Model) -> None:
        config = model.config
        self.model, self.config = model, config
        self.stride, self.channels = config["stride"], config["latents"]
        self.levels = config.get("levels", 256)
        self.stretch = STRETCH[self.levels]
        wide, up = config["window"]
        self.slope = window_slope((wide, up))
        self.encoder, self.topdown = [*map(Packed, model.encoder)], [*map(Packed, model.topdown)]
        shape = (config["channels"], wide, up, config["context"], config["mixtures"], self.levels, self.stretch)
        self.pixels = Pixels(Setting(Packed(model.local), model.tables, *shape), model.null)
        self.prior = Prior(
            [*map(Packed, model.affine)],
            None if model.mixture is None else Packed(model.mixture),
            None if model.base is None else model.base[0],
            model.tables,
            np.array(window_offsets(config["prior_window"]), np.int64),
            window_slope(config["prior_window"]),
            1 if model.mixture is None else config["prior_mixtures"],
            self.channels,
        )

    def local(self, rows: np.ndarray) -> np.ndarray:
        """Parameters (n, P) int32 of pixels' distributions for rows (n, inputs) int8 of the local network."""
        return self.pixels.setting.net.run(rows)

    def posterior_parameters(self, x: np.ndarray) -> np.ndarray:
        """Rows (cells, P) of q(z | x) for x (H, W, C) uint8, H a multiple of the stride, edges of W replicated."""
        if not len(x):
            return np.empty((0, self.encoder[-1].outputs), np.int32)
        x = np.pad(x << self.stretch, ((0, 0), (0, -x.shape[1] % self.stride), (0, 0)), mode="edge")
        stem, *down, grid_0, grid_1, out = self.encoder
        a = stem.run(patches((x ^ PIXEL_CENTRE).view(np.int8), 4))
        for halving in down:
            a = halving.run(patches(a, 2))
        for layer in (grid_0, grid_1):
            a = layer.run(neighbours(a, RECTIFIED))
        return out.run(a).reshape(-1, out.outputs)

    def context(self, z: np.ndarray, width: int) -> np.ndarray:
        """Context features (H, width, F) int8 of the pixels under latents z (gh, gw, C) uint8."""
        grid_0, grid_1, spread, fine, out = self.topdown
        a = grid_1.run(neighbours(grid_0.run(neighbours(centred(z), 0)), RECTIFIED))
        quarter = unpatch(spread.run(a), self.stride // 4)
        return unpatch(out.run(fine.run(neighbours(quarter, RECTIFIED))), 4)[:, :width]
