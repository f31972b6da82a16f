"""The networks of a model, ready to run: from pixels and latents to integer parameters of distributions."""

from __future__ import annotations

import numpy as np

from vlae_codec import network
from vlae_codec.errors import VlaeError
from vlae_codec.latents import Prior, centred
from vlae_codec.model import Model
from vlae_codec.pixels import Pixels, Setting
from vlae_codec.simd import FLOAT32, HAS_INT8, INT8
from vlae_codec.waves import window_offsets, window_slope

STRETCH = {256: 0, 2: 6}  # left shift of a subpixel where it enters a network, by its number of levels
ZERO = -128  # stored value of zero in a rectified activation


def kind_of(product: str) -> int:
    """The product of a name: "int8", "float32", or "cpu", the faster one that there is. Raises VlaeError."""
    kinds = {"cpu": INT8 if HAS_INT8 else FLOAT32, "float32": FLOAT32, "int8": INT8}
    if product not in kinds:
        raise VlaeError(f"there is no backend {product!r}; use cpu, int8, float32 or torch:DEVICE")
    if product == "int8" and not HAS_INT8:
        raise VlaeError("this processor has no instruction for the backend 'int8'; use cpu (the bytes are the same)")
    return kinds[product]


class Inference:
    """A model's networks on the CPU, by the product "cpu", "int8" or "float32"."""

    def __init__(self, model: Model, product: str = "cpu") -> None:
        kind = kind_of(product)
        self.model, self.config = model, model.config
        self.stride, self.channels = model.config["stride"], model.config["latents"]
        self.levels = model.config.get("levels", 256)
        self.stretch = STRETCH[self.levels]
        wide, up = model.config["window"]
        self.slope, features = window_slope((wide, up)), model.config["context"]
        self.encoder, self.topdown = network.pack(model.encoder, kind), network.pack(model.topdown, kind)
        setting = (model.tables, wide, up, features, model.config["mixtures"], self.levels, self.stretch)
        self.pixels = Pixels(Setting(network.pack([model.local], kind), *setting), model.null)
        steps = [*model.affine] + ([] if model.mixture is None else [model.mixture])
        self.prior_slope = window_slope(model.config["prior_window"])
        net = network.pack(steps, kind) if steps else self.topdown  # whichever: nothing runs it
        base = np.zeros((0, 0), np.int32) if model.base is None else model.base
        self.prior = Prior(
            net,
            len(model.affine),
            base,
            model.tables,
            window_offsets(model.config["prior_window"]),
            self.prior_slope,
            1 if model.mixture is None else model.config["prior_mixtures"],
            max(net.columns, base.shape[1]),
        )

    def local(self, rows: np.ndarray) -> np.ndarray:
        """Parameters (n, P) int32 of pixels' distributions for rows (n, inputs) int8 of the local network."""
        return network.run(self.pixels.setting.net, 0, rows)

    def posterior_parameters(self, x: np.ndarray) -> np.ndarray:
        """Rows (cells, P) of q(z | x) for x (H, W, C) uint8, H a multiple of the stride, edges of W replicated."""
        h, w, _ = x.shape
        if not h:
            return np.empty((0, self.model.encoder[-1].layers[0].multiplier.size), np.int32)
        x = np.pad(x << self.stretch, ((0, 0), (0, -w % self.stride), (0, 0)), mode="edge")
        gh, gw = h // self.stride, x.shape[1] // self.stride
        rows = network.patches((x ^ 128).view(np.int8), 4)
        size, last = 4, len(self.model.encoder) - 1
        for i in range(last):
            a = network.run(self.encoder, i, rows, np.int8)
            if size < self.stride:
                rows = network.patches(a.reshape(h // size, x.shape[1] // size, -1), 2)
                size *= 2
            elif i < last - 1:
                rows = network.neighbours(a.reshape(gh, gw, -1), ZERO)
        return network.run(self.encoder, last, a)

    def context(self, z: np.ndarray, width: int) -> np.ndarray:
        """Context features (H, width, F) int8 of the pixels under latents z (gh, gw, C) uint8."""
        gh, gw, _ = z.shape
        up = self.stride // 4
        a = self._topdown(0, network.neighbours(centred(z), 0))
        a = self._topdown(1, network.neighbours(a.reshape(gh, gw, -1), ZERO))
        quarter = network.unpatch(self._topdown(2, a), gh, gw, up)
        a = self._topdown(4, self._topdown(3, network.neighbours(quarter, ZERO)))
        return network.unpatch(a, gh * up, gw * up, 4)[:, :width]

    def _topdown(self, which: int, rows: np.ndarray) -> np.ndarray:
        return network.run(self.topdown, which, rows, np.int8)
