"""The codec of a picture's tiles: which model, on which device, changed by which adapter."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

from vlae_codec.adapter.chunk import adapt, unpack
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile, InputError, WeightsError
from vlae_codec.format.container import Contents
from vlae_codec.pictures.modes import coded_modes, codes
from vlae_codec.weights.model import Model, default_model_name, find_model

_LOCK = Lock()  # so that threads that want a codec at once read its model once


def find_codec(model: str | Path | None, model_id: bytes | None, device: str, mode: str) -> TileCodec:
    """The codec of a model (None: that of `model_id`, or the default one) that codes pictures of a mode.

    "auto" is the CPU: from which size on a GPU is faster has not been measured. All callers get the same codec for one
    model on one device. Raises InputError when the model codes no such pictures, CorruptFile when it is the file's own.
    """
    with _LOCK:
        found = _find_model(model, model_id, mode)
        if not codes(found.config, mode):
            if model_id is not None:
                raise CorruptFile(f"the file's model does not code pictures of mode {mode}: the file is damaged")
            name = "the default model" if model is None else f"the model {str(model)!r}"
            raise InputError(
                f"{name} codes {coded_modes(found.config)}, not pictures of mode {mode}: leave the model out, give "
                "another one, or convert the picture"
            )
        return _codec(found, {"auto": "cpu", "cuda": "torch:cuda"}.get(device, device))


def _find_model(model: str | Path | None, model_id: bytes | None, mode: str) -> Model:
    if model is not None or model_id is not None:
        return find_model(model, model_id)
    try:
        return find_model(default_model_name(mode))
    except InputError as error:
        raise InputError(f"the default model for pictures of mode {mode} is not at hand: {error}") from error


@lru_cache(8)
def _codec(model: Model, backend: str) -> TileCodec:
    return TileCodec(model, backend)


def codec_for(contents: Contents, model: str | Path | None, device: str) -> TileCodec | None:
    """The codec of a file's streams, its adapter in place; None when nothing in it needs a model.

    Raises UnknownModel, InputError, WeightsError and CorruptFile.
    """
    if not contents.model_needed:
        return None
    codec = find_codec(model, contents.header.model_id, device, contents.header.mode)
    return codec if contents.adapter is None else with_adapter(codec, contents.adapter)


def with_adapter(codec: TileCodec, payload: bytes) -> TileCodec:
    """The codec whose local network a file's adapter has changed. Raises CorruptFile when it does not fit."""
    model = codec.model
    try:
        local = adapt(model.local, unpack(payload, model.local, model.tables))
    except WeightsError as error:
        raise CorruptFile(f"adapter: {str(error).split(';')[0]}; the file is damaged") from error
    except CorruptFile as error:
        raise type(error)(f"adapter: {error}") from error
    return TileCodec(replace(model, local=local), codec.backend)
