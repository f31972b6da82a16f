"""The networks of a model, ready to run: from pixels and latents to integer parameters of distributions."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from vlae_codec.contract import (
    INT8_MAX,
    INT8_MIN,
    MAX_ESCAPE,
    MAX_LEVELS,
    MAX_SHIFT,
    MAX_SLOW,
    PIXEL_CENTRE,
    RECTIFIED,
    REDUCTIONS,
    SIDE_OFFSETS,
    STRETCH,
    Pace,
    side_features,
    window_offsets,
    window_slope,
)
from vlae_codec.native.latents import Prior, centred
from vlae_codec.native.network import Packed, neighbours, patches, unpatch
from vlae_codec.native.pixels import Pixels, Setting
from vlae_codec.origins.conversions import CONVERSIONS
from vlae_codec.origins.values import triples
from vlae_codec.weights.model import Model


class Inference:
    """A model's networks on the CPU."""

    def __init__(self, model: Model) -> None:
        config = model.config
        self.model, self.config = model, config
        self.stride, self.channels = config["stride"], config["latents"]
        self.levels, self.shift = config.get("levels", 256), 0
        self.stretch = STRETCH[self.levels]
        wide, up = config["window"]
        self.slope = window_slope((wide, up))
        self.encoder, self.topdown = [*map(Packed, model.encoder)], [*map(Packed, model.topdown)]
        features = config["context"] + side_features(config.get("side", 0))
        shape = (config["channels"], wide, up, features, config["mixtures"], self.levels, self.stretch)
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

    def scaled(self, levels: int, shift: int) -> Inference:
        """The same networks for samples of so many levels, which they work on in coarse levels of 2^shift levels.

        Raises ValueError for levels outside 2 .. 65536 or a shift outside 0 .. 10.
        """
        if not 2 <= levels <= MAX_LEVELS or not 0 <= shift <= MAX_SHIFT:
            raise ValueError(
                f"there are 2 to {MAX_LEVELS} levels and shifts of 0 to {MAX_SHIFT}, not {levels}, {shift}"
            )
        made, own = copy(self), self.config.get("levels", 256)
        made.levels, made.shift = levels, shift
        made.stretch = STRETCH[own] if (levels, shift) == (own, 0) else 0
        setting = self.pixels.setting._replace(
            levels=levels, stretch=made.stretch, shift=shift, escape=0, values=None, learning=None
        )
        made.pixels = Pixels(setting, self.pixels.null, self.pixels.side)
        return made

    def learning(self, pace: Pace | None) -> Inference:
        """The same networks, of which the local one learns while it codes; None: it does not.

        Raises ValueError for a model that cannot, or a pace that there is not.
        """
        setting, found = self.pixels.setting, self.model.learning
        if pace is not None and (found is None or not 0 <= pace.slow <= MAX_SLOW):
            raise ValueError("this model does not learn while it codes")
        made = copy(self)
        learning = None if pace is None or found is None else found.at(pace)
        made.pixels = Pixels(setting._replace(learning=learning), self.pixels.null, self.pixels.side)
        return made

    def adapted(self, local: Packed) -> Inference:
        """The same with another local network, of the same shape."""
        made = copy(self)
        setting = self.pixels.setting._replace(net=local)
        made.pixels = Pixels(setting, self.pixels.null, self.pixels.side)
        return made

    def beside(self, planes: Sequence[np.ndarray]) -> Inference:
        """The same networks for the one tile beside which these planes (H, W) uint8 are known."""
        made = copy(self)
        made.pixels = Pixels(self.pixels.setting, self.pixels.null, side_rows(planes))
        return made

    def restricted(self, conversion: str, escape: int) -> Inference:
        """The same networks for pixels of which most are triples of a conversion from YCbCr (`origins.values`).

        escape: 1 .. 16; what is no such triple has 2^-escape of the range. Raises ValueError for another conversion or
        escape, and for samples that are not three channels of 256 levels without a shift.
        """
        if conversion not in CONVERSIONS or not 1 <= escape <= MAX_ESCAPE:
            raise ValueError(f"there are {', '.join(CONVERSIONS)} with escapes of 1 to {MAX_ESCAPE}")
        if (self.config["channels"], self.levels, self.shift) != (3, 256, 0):
            raise ValueError("only three channels of 256 levels without a shift are restricted")
        made = copy(self)
        setting = self.pixels.setting._replace(escape=escape, values=triples(conversion))
        made.pixels = Pixels(setting, self.pixels.null)
        return made

    def local(self, rows: np.ndarray) -> np.ndarray:
        """Parameters (n, P) int32 of pixels' distributions for rows (n, inputs) int8 of the local network."""
        return self.pixels.setting.net.run(rows)

    def posterior_parameters(self, x: np.ndarray) -> np.ndarray:
        """Rows (cells, P) of q(z | x) for x (H, W, C), H a multiple of the stride, edges of W replicated.

        The encoder sees samples stretched as their model has it, or else (x << 8) >> b, b the bits of levels - 1.
        """
        if not len(x):
            return np.empty((0, self.encoder[-1].outputs), np.int32)
        if self.stretch or self.levels == 256:
            x = x << self.stretch
        else:
            x = ((x.astype(np.uint32) << 8) >> (self.levels - 1).bit_length()).astype(np.uint8)
        x = np.pad(x, ((0, 0), (0, -x.shape[1] % self.stride), (0, 0)), mode="edge")
        stem, *down, grid_0, grid_1, out = self.encoder
        a = stem.run(patches((x ^ PIXEL_CENTRE).view(np.int8), 4))
        for layer, size in zip(down, REDUCTIONS[self.stride], strict=True):
            a = layer.run(patches(a, size))
        for layer in (grid_0, grid_1):
            a = layer.run(neighbours(a, RECTIFIED))
        return out.run(a).reshape(-1, out.outputs)

    def context(self, z: np.ndarray, width: int) -> np.ndarray:
        """Context features (H, width, F) int8 of the pixels under latents z (gh, gw, C) uint8."""
        grid_0, grid_1, spread, fine, out = self.topdown
        a = grid_1.run(neighbours(grid_0.run(neighbours(centred(z), 0)), RECTIFIED))
        quarter = unpatch(spread.run(a), self.stride // 4)
        return unpatch(out.run(fine.run(neighbours(quarter, RECTIFIED))), 4)[:, :width]


def side_rows(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Features (H, W, side_features) int8 of the pixels of a tile from planes (H, W) uint8 known before it.

    For each plane: the differences of the samples at `SIDE_OFFSETS` to the one at the pixel's place, clamped to 8 bits,
    0 where a sample is outside the tile; and that sample less PIXEL_CENTRE.
    """
    height, width = planes[0].shape
    rows = np.zeros((height, width, side_features(len(planes))), np.int8)
    for plane, features in zip(planes, np.split(rows, len(planes), axis=-1)):
        wide = plane.astype(np.int16)
        for k, (dr, dc) in enumerate(SIDE_OFFSETS):
            here = (slice(max(0, -dr), height - max(0, dr)), slice(max(0, -dc), max(0, width - max(0, dc))))
            there = (slice(max(0, dr), height - max(0, -dr)), slice(max(0, dc), max(0, width - max(0, -dc))))
            features[..., k][here] = (wide[there] - wide[here]).clip(INT8_MIN, INT8_MAX)
        features[..., -1] = wide - PIXEL_CENTRE
    return rows
