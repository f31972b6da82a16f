"""Modes: which models code the pictures of a mode, and what those pictures are as tiles.

mode   pixels              tile (H, W, C) uint8                     coded   models
RGB    (H, W, 3) uint8     the same                                 3       of 3 channels, 256 levels
L      (H, W) uint8        C equal channels                         1       of 1 or 3 channels, 256 levels
1      (H, W) bool         C equal channels of zeros and ones       1       of 2 levels
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec.errors import CorruptFile, InputError, WeightsError
from vlae_codec.format.container import Contents, tile_grid


def find_codec(model: str | Path | None, model_id: bytes | None, device: str, mode: str) -> Any:
    """The `TileCodec` of a model (None: that of `model_id`, or the default one) that codes pictures of a mode.

    "auto" is the CPU: from which size on a GPU is faster has not been measured. Raises InputError when the model
    codes no such pictures, CorruptFile when it is the file's own.
    """
    from vlae_codec.weights.model import default_model_name, find_model

    if model is None and model_id is None:
        model = default_model_name(mode)
        try:
            found = find_model(model)
        except InputError as error:
            raise InputError(f"the default model for pictures of mode {mode} is not at hand: {error}") from error
    else:
        found = find_model(model, model_id)
    if not codes(found.config, mode):
        if model_id is not None:
            raise CorruptFile(f"the file's model does not code pictures of mode {mode}: the file is damaged")
        raise InputError(
            f"the model {str(model)!r} codes {_pictures(found.config)}, not pictures of mode {mode}: leave the model "
            "out, give another one, or convert the picture"
        )
    backend = {"auto": "cpu", "cuda": "torch:cuda"}.get(device, device)
    return _codec(found, backend)


@lru_cache(8)
def _codec(model: Any, backend: str) -> Any:
    from vlae_codec.coder.tile import TileCodec

    return TileCodec(model, backend)


class Codecs:
    """What `find_codec` finds for a model and a device, each codec made once; for use by several threads."""

    def __init__(self, model: str | Path | None, device: str) -> None:
        self.model, self.device = model, device
        self._lock = threading.Lock()
        self._found: dict[tuple[bytes | None, str], Any] = {}

    def find(self, model_id: bytes | None, mode: str) -> Any:
        with self._lock:
            if (model_id, mode) not in self._found:
                self._found[model_id, mode] = find_codec(self.model, model_id, self.device, mode)
            return self._found[model_id, mode]


def for_file(codec: Any, contents: Contents) -> Any:
    """The `TileCodec` as a file wants it; None stays None. Raises CorruptFile."""
    return codec if codec is None or contents.adapter is None else with_adapter(codec, contents.adapter)


def with_adapter(codec: Any, payload: bytes) -> Any:
    """The `TileCodec` whose local network a file's adapter has changed. Raises CorruptFile when it does not fit."""
    from vlae_codec.adapter.chunk import adapt, unpack
    from vlae_codec.coder.tile import TileCodec

    model = codec.model
    try:
        local = adapt(model.local, unpack(payload, model.local, model.tables))
    except WeightsError as error:
        raise CorruptFile(f"adapter: {str(error).split(';')[0]}; the file is damaged") from error
    except CorruptFile as error:
        raise type(error)(f"adapter: {error}") from error
    return TileCodec(replace(model, local=local), codec.backend)


def codes(config: Mapping[str, Any], mode: str) -> bool:
    """Whether a model of this configuration codes pictures of a mode."""
    return config.get("levels", 256) == (2 if mode == "1" else 256) and (mode != "RGB" or config["channels"] == 3)


def tile_of(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels of any mode as a tile (H, W, channels) uint8 of its own."""
    planes = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], channels, axis=-1)
    return np.array(planes, np.uint8, order="C")


class Tiles(Sequence):
    """The tiles (H, W, channels) uint8 of pictures, of each row by row: made when asked for, never all at once."""

    def __init__(self, pictures: Iterable[np.ndarray], tile_size: int, channels: int) -> None:
        self.channels = channels
        self.places = [(p, place) for p in pictures for place in tile_grid(p.shape[1], p.shape[0], tile_size)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        pixels, (y, x, h, w) = self.places[index]
        return tile_of(pixels[y : y + h, x : x + w], self.channels)


def pixels_of(tile: np.ndarray, mode: str) -> np.ndarray:
    """The inverse of `tile_of`."""
    return tile if mode == "RGB" else tile[..., 0] if mode == "L" else tile[..., 0].astype(bool)


def _pictures(config: Mapping[str, Any]) -> str:
    if config.get("levels", 256) == 2:
        return "bilevel pictures (mode 1)"
    return "grey pictures (mode L)" if config["channels"] == 1 else "RGB and grey pictures (modes RGB and L)"
