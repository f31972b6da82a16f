"""The networks of a model, ready to run: from pixels and latents to integer parameters of distributions."""

from __future__ import annotations

import numpy as np

from vlae_codec.native.latents import Prior, centred
from vlae_codec.native.network import Packed, neighbours, patches, unpatch
from vlae_codec.native.pixels import Pixels, Setting
from vlae_codec.native.waves import window_offsets, window_slope
from vlae_codec.weights.model import Model

STRETCH = {256: 0, 2: 6}  # left shift of a subpixel where it enters a network, by its number of levels
ZERO = -128  # stored value of zero in a rectified activation


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
            window_offsets(config["prior_window"]),
            window_slope(config["prior_window"]),
            1 if model.mixture is None else config["prior_mixtures"],
            self.channels,
        )

    def local(self, rows: np.ndarray) -> np.ndarray:
        """Parameters (n, P) int32 of pixels' distributions for rows (n, inputs) int8 of the local network."""
        return self.pixels.setting.net.run(rows)

    def posterior_parameters(self, x: np.ndarray) -> np.ndarray:
        """Rows (cells, P) of q(z | x) for x (H, W, C) uint8, H a multiple of the stride, edges of W replicated."""
        h, w, _ = x.shape
        if not h:
            return np.empty((0, self.encoder[-1].outputs), np.int32)
        x = np.pad(x << self.stretch, ((0, 0), (0, -w % self.stride), (0, 0)), mode="edge")
        gh, gw = h // self.stride, x.shape[1] // self.stride
        rows = patches((x ^ 128).view(np.int8), 4)
        size, last = 4, len(self.encoder) - 1
        for i in range(last):
            a = self.encoder[i].run(rows)
            if size < self.stride:
                rows = patches(a.reshape(h // size, x.shape[1] // size, -1), 2)
                size *= 2
            elif i < last - 1:
                rows = neighbours(a.reshape(gh, gw, -1), ZERO)
        return self.encoder[last].run(a)

    def context(self, z: np.ndarray, width: int) -> np.ndarray:
        """Context features (H, width, F) int8 of the pixels under latents z (gh, gw, C) uint8."""
        gh, gw, _ = z.shape
        up = self.stride // 4
        a = self._topdown(0, neighbours(centred(z), 0))
        a = self._topdown(1, neighbours(a.reshape(gh, gw, -1), ZERO))
        quarter = unpatch(self._topdown(2, a), gh, gw, up)
        a = self._topdown(4, self._topdown(3, neighbours(quarter, ZERO)))
        return unpatch(a, gh * up, gw * up, 4)[:, :width]

    def _topdown(self, which: int, rows: np.ndarray) -> np.ndarray:
        return self.topdown[which].run(rows)
