"""Modes: what pictures of a mode are as tiles, and which models code them.

mode   pixels              tile (H, W, C) uint8                     coded   models
RGB    (H, W, 3) uint8     the same                                 3       of 3 channels, 256 levels
L      (H, W) uint8        C equal channels                         1       of 1 or 3 channels, 256 levels
1      (H, W) bool         C equal channels of zeros and ones       1       of 2 levels
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def codes(config: Mapping[str, Any], mode: str) -> bool:
    """Whether a model of this configuration codes pictures of a mode."""
    return config.get("levels", 256) == (2 if mode == "1" else 256) and (mode != "RGB" or config["channels"] == 3)


def coded_modes(config: Mapping[str, Any]) -> str:
    """The pictures that a model of this configuration codes, for people."""
    if config.get("levels", 256) == 2:
        return "bilevel pictures (mode 1)"
    return "grey pictures (mode L)" if config["channels"] == 1 else "RGB and grey pictures (modes RGB and L)"


def tile_of(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels of any mode as a tile (H, W, channels) uint8 of its own."""
    planes = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], channels, axis=-1)
    return np.array(planes, np.uint8, order="C")


def pixels_of(tile: np.ndarray, mode: str) -> np.ndarray:
    """The inverse of `tile_of`."""
    return tile if mode == "RGB" else tile[..., 0] if mode == "L" else tile[..., 0].astype(bool)


def blank(width: int, height: int, mode: str) -> np.ndarray:
    """An array for the pixels of a picture of a mode, not filled in."""
    return np.empty((height, width, 3)[: 3 if mode == "RGB" else 2], bool if mode == "1" else np.uint8)
