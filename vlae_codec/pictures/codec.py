"""The codecs of a file's groups of planes: which model, on which device, changed by which adapter."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from vlae_codec.adapter.effort import BEST, level
from vlae_codec.adapter.style import changed
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile, InputError, UnknownModel, WeightsError
from vlae_codec.format.container import Contents, Part
from vlae_codec.format.header import VALUES, Kind, Origin, Planes
from vlae_codec.origins.conversions import CONVERSIONS
from vlae_codec.weights.model import Model, default_model_name, find_model

_LOCK = Lock()  # so that threads that want a codec at once read its model once


def codes(config: Mapping[str, Any], mode: str) -> bool:
    """Whether a model of this configuration codes planes like those of pictures of mode RGB, L or 1, or source planes
    of an origin: luma, or chroma beside it.
    """
    if config.get("side", 0) and mode != "chroma":
        return False
    return config.get("levels", 256) == (2 if mode == "1" else 256) and (mode != "RGB" or config["channels"] == 3)


def coded_modes(config: Mapping[str, Any]) -> str:
    """The pictures that a model of this configuration codes, for people."""
    if config.get("side", 0):
        return "chroma planes of pictures with an origin"
    if config.get("levels", 256) == 2:
        return "bilevel pictures (mode 1)"
    return "grey pictures (mode L)" if config["channels"] == 1 else "RGB and grey pictures (modes RGB and L)"


def kind_of(mode: str, channels: int, kind: Kind = Kind.SAMPLES, first: int = 0) -> str | None:
    """The mode whose models code a group of planes: of a mode "1" that, else by its channels; None where none does.

    kind, first: of the group; source planes are luma, the first one, and chroma.
    """
    if kind == Kind.SOURCE:
        return "chroma" if first else "luma"
    return "1" if mode == "1" else {1: "L", 3: "RGB"}.get(channels)


def find_codec(model: str | Path | None, model_id: bytes | None, device: str, mode: str, effort: int = 1) -> TileCodec:
    """The codec of a model (None: that of `model_id`, or the default one of an effort) that codes pictures of a mode.

    effort: 1 where the model does not learn while it codes.

    "auto" is the CPU: from which size on a GPU is faster has not been measured. All callers get the same codec for one
    model on one device. Raises InputError when the model codes no such pictures, CorruptFile when it is the file's own.
    """
    with _LOCK:
        found = _find_model(model, model_id, mode, effort)
        if not codes(found.config, mode):
            if model_id is not None:
                raise CorruptFile(f"the file's model does not code planes of mode {mode}: the file is damaged")
            name = "the default model" if model is None else f"the model {str(model)!r}"
            raise InputError(
                f"{name} codes {coded_modes(found.config)}, not pictures of mode {mode}: leave the model out, give "
                "another one, or convert the picture"
            )
        return _codec(found, {"auto": "cpu", "cuda": "torch:cuda"}.get(device, device))


def _find_model(model: str | Path | None, model_id: bytes | None, mode: str, effort: int) -> Model:
    if model is not None or model_id is not None:
        return find_model(model, model_id)
    try:
        return find_model(default_model_name(mode, bool(level(effort).paces), effort >= BEST))
    except InputError as error:
        raise InputError(f"the default model for pictures of mode {mode} is not at hand: {error}") from error


@lru_cache(8)
def _codec(model: Model, backend: str) -> TileCodec:
    return TileCodec(model, backend)


def scaled(codec: TileCodec, planes: Planes) -> TileCodec:
    """The codec at the levels and the shift of a group of planes, learning as they say; a restriction stays.

    Raises ValueError where the model cannot learn.
    """
    made = codec.scaled(planes.levels, planes.shift)
    return (made if codec.restriction is None else made.restricted(*codec.restriction)).learning(planes.pace)


def not_learning(codec: TileCodec, part: Part, model: str | Path | None, device: str) -> TileCodec | None:
    """The codec of the default model where nothing is learnt, in place of another default one's. model: the one that is
    asked for.
    """
    mode = kind_of(part.layout.mode, part.planes.channels, part.planes.kind, part.channel)
    if mode is None or (model is not None and codec.model.id == find_model(model).id):
        return None
    other = find_codec(None, None, device, mode)
    if other.model.id == codec.model.id:
        return None
    other = other.scaled(codec.levels, codec.shift)
    return other if codec.restriction is None else other.restricted(*codec.restriction)


def codecs_for(contents: Contents, model: str | Path | None, device: str) -> list[TileCodec | None]:
    """The codec of each part's streams, its adapter in place; None where nothing in it needs a model.

    model: for the parts that it has coded; it has to be that of the first one. Raises UnknownModel, InputError,
    WeightsError and CorruptFile.
    """
    return [codec_for(part, model, device) if part.model_needed else None for part in contents.parts]


def codec_for(part: Part, model: str | Path | None, device: str) -> TileCodec:
    """The codec of a part that needs one."""
    mode = kind_of(part.layout.mode, part.planes.channels, part.planes.kind, part.channel)
    if mode is None:
        raise CorruptFile(f"no model codes planes of {part.planes.channels} channels: the file is damaged")
    codec = None
    if model is not None and (part.channel or part.planes.kind == Kind.SOURCE):
        with suppress(UnknownModel):  # another model than that of the first planes
            codec = find_codec(model, part.planes.model_id, device, mode)
        model = None
    codec = codec or find_codec(model, part.planes.model_id, device, mode)
    try:
        codec = scaled(codec, part.planes)
    except ValueError as error:
        raise CorruptFile("the file's model cannot learn while it codes: the file is damaged") from error
    if part.layout.origin is not None and part.layout.origin.form == VALUES and part.channel == 0:
        codec = restricted(codec, part.layout.origin)
    return codec if part.adapter is None else with_adapter(codec, part.adapter)


def restricted(codec: TileCodec, origin: Origin) -> TileCodec:
    """The codec of pictures with an origin of the form of values. Raises CorruptFile for one that there is not."""
    conversion, escape = origin.data
    try:
        return codec.restricted(tuple(CONVERSIONS)[conversion], escape)
    except (IndexError, ValueError) as error:
        raise CorruptFile("the file names an origin that does not exist: get a fresh copy of the file") from error


def with_adapter(codec: TileCodec, payload: bytes) -> TileCodec:
    """The codec whose local network a file's adapter has changed. Raises CorruptFile when it does not fit."""
    try:
        return codec.adapted(changed(codec.model, payload))
    except WeightsError as error:
        raise CorruptFile(f"adapter: {str(error).split(';')[0]}; the file is damaged") from error
    except CorruptFile as error:
        raise type(error)(f"adapter: {error}") from error
