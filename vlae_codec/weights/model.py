"""An integer model, read from a weight file and checked, and the search for it.

A weight file is safetensors (`vlae_codec.weights.safetensors`) of the tensors that `vlae_codec.weights.schema` lists,
with the configuration as JSON in its metadata. The model id is the first 8 bytes of the SHA-256 over configuration and
tensors, so two models with one id code alike. No training code and no float network is needed to use one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.errors import InputError, UnknownModel, WeightsError
from vlae_codec.native.learning import Learning, Taught
from vlae_codec.native.mixture import Tables
from vlae_codec.native.network import Layer, Network, Packed
from vlae_codec.weights import safetensors, schema
from vlae_codec.weights.safetensors import printable

FORMAT = 1
MODELS_VARIABLE = "VLAE_CODEC_MODELS"  # environment: folders and weight files, as in PATH


@dataclass(frozen=True, eq=False)
class Model:
    """The networks and tables of a model. Every bound holds that makes them exact."""

    config: Mapping[str, Any]  # as in the file, JSON types; `levels` may be missing and is then 256
    id: bytes  # 8 bytes
    multiply_adds: int  # int8 products a pixel, in either direction; a weight of two digits counts twice
    tables: Tables
    encoder: tuple[Network, ...]  # stem, reductions, grid, grid, out: one layer each, with gathers between them
    topdown: tuple[Network, ...]  # grid, grid, spread, fine, out
    null: np.ndarray  # (stride, stride, context) int8
    affine: tuple[Network, ...]
    mixture: Network | None
    base: np.ndarray | None  # (1, P) int32
    local: Network
    styles: np.ndarray | None  # (stages, styles, outputs of all local layers) int8, see `adapter.style`
    learning: Learning | None  # how the local network learns while it codes, if it can


def model_id(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """8 bytes that name a model by its configuration and integers."""
    digest = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {array.shape}".encode() + little.tobytes())
    return digest.digest()[:8]


def build(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Model:
    """A Model from configuration and tensors, every bound checked. Raises WeightsError."""
    checked = schema.Config.of(config)
    cost = schema.check_shapes(checked, {name: (array.dtype.name, array.shape) for name, array in tensors.items()})
    schema.check_values(checked, tensors)
    tables = Tables(*(tensors[f"tables.{field}"] for field in Tables._fields))
    layers = {}
    for form in schema.layer_forms(checked, schema.learns(tensors)):
        weight, multiplier, addend, shift = (
            tensors[f"{form.name}.{part}"] for part in ("weight", "multiplier", "addend", "shift")
        )
        layers[form.name] = Layer(weight, multiplier, addend, int(shift[0]), *(form.limits or ()))
        layers[form.name].check(form.name)

    def part(name: str) -> tuple[Layer, ...]:
        return tuple(layer for full, layer in layers.items() if full.startswith(f"{name}."))

    steps = checked.flow_steps
    place = (checked.stride, checked.stride, checked.context)
    return Model(
        config,
        model_id(config, tensors),
        cost,
        tables,
        tuple(Network((layer,)) for layer in part("encoder")),
        tuple(Network((layer,)) for layer in part("topdown")),
        np.broadcast_to(tensors["null"], place),
        tuple(Network(part(f"affine.{t}"), skip=True) for t in range(steps - 1)),
        Network(part("mixture"), skip=True) if steps else None,
        None if steps else tensors["base"],
        Network(part("local"), skip=True),
        tensors.get("styles"),
        _learning(checked, layers, tensors) if schema.learns(tensors) else None,
    )


def _learning(config: schema.Config, layers: Mapping[str, Layer], tensors: Mapping[str, np.ndarray]) -> Learning:
    def one(name: str) -> Taught:
        net = Packed(Network((layers[f"{name}.down"], layers[f"{name}.up"])))
        diagonal, reduce, scale, rate = (tensors[f"{name}.{part}"] for part in ("diagonal", "reduce", "scale", "rate"))
        return Taught(net, diagonal, reduce, scale, rate, tensors.get(f"{name}.back"))

    found = tuple(one(f"{schema.LEARN}{name}") for name in schema.taught(config))
    return Learning(found, tensors.get(f"{schema.LEARN}slope"))


# ---------------------------------------------------------------------------------------------------- files


def read_weights(
    path: str | Path, with_tensors: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray], str | None]:
    """Configuration, tensors (none without `with_tensors`) and the id that the file claims in hexadecimal.

    The configuration and the tensors' types and shapes are checked, before memory is taken for them; their values and
    the id are not. Raises WeightsError.
    """
    with safetensors.refusing(path), safetensors.opened(path) as file:
        metadata, places = safetensors.read_header(file)
        if metadata.get("vlae-codec") != str(FORMAT):
            raise WeightsError("it is not of this version of vlae-codec")
        config = safetensors.strict_json(metadata.get("config", ""))
        given = {name: (place.kind.name, place.shape) for name, place in places.items()}
        schema.check_shapes(schema.Config.of(config), given)
        return config, safetensors.read_tensors(file, places) if with_tensors else {}, metadata.get("id")


def load_weights(path: str | Path) -> Model:
    """The model of a weight file, read once as long as the file stays the same. Raises WeightsError."""
    return _load(str(path), *_state(path))


def noted_id(path: str | Path) -> str | None:
    """The id that a weight file claims, in hexadecimal, read once as well. Raises WeightsError."""
    return _noted_id(str(path), *_state(path))


def _state(path: str | Path) -> tuple[int, ...]:
    """What is another one if the file is."""
    with safetensors.refusing(path):
        state = os.stat(path)
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size


@lru_cache(64)
def _noted_id(path: str, *state: int) -> str | None:
    return read_weights(path, with_tensors=False)[2]


@lru_cache(8)
def _load(path: str, *state: int) -> Model:
    config, tensors, noted = read_weights(path)
    with safetensors.refusing(path):
        model = build(config, tensors)
        if noted not in (None, model.id.hex()):
            raise WeightsError(f"it holds model {model.id.hex()} and says {printable(noted)[:40]}")
    return model


# ---------------------------------------------------------------------------------------------------- search


class Found(NamedTuple):
    """A weight file by its name; nothing of it has been read."""

    name: str
    path: Path
    place: str  # where it was found, for people


def weights_folder() -> Path:
    """Where the package keeps its weights."""
    return Path(str(files("vlae_codec.models"))) / "weights"


@lru_cache(1024)
def skip(reason: str) -> None:
    """Logs that a search passes a file by; once for each reason."""
    logging.getLogger("vlae_codec").warning("skipped: %s", reason)


def known_models() -> list[Found]:
    """Weight files in the order of search: the folders and files that VLAE_CODEC_MODELS names, then the built-in ones.

    The first of a name is the one that the name means, so a file of yours can stand in for a built-in model; by id all
    are found.
    """
    return [found for _, models in _places() for found in models]


def _places() -> list[tuple[str, list[Found]]]:
    """Where models are looked for, and those that are there; no file is opened."""
    places = []
    for entry in filter(None, os.environ.get(MODELS_VARIABLE, "").split(os.pathsep)):
        places.append((printable(entry), [Found(p.stem, p, str(p)) for p in _weight_files(entry)]))
    return [*places, ("built-in", [Found(p.stem, p, "built-in") for p in _weight_files(weights_folder())])]


def _weight_files(entry: str | Path) -> list[Path]:
    """The weight files of a folder, by name; what is no folder is taken for one itself."""
    try:
        return [Path(entry, name) for name in sorted(os.listdir(entry)) if name.endswith(".safetensors")]
    except NotADirectoryError:
        return [Path(entry)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # ValueError: a null byte
        skip(f"cannot look into {printable(entry)}: {getattr(error, 'strerror', None) or error}")
        return []


_DEFAULTS = {  # mode -> models, of which the first one that is at hand is taken
    "RGB": ("photo",),
    "L": ("luma", "photo"),
    "luma": ("luma", "photo"),
    "chroma": ("chroma", "luma", "photo"),
    "1": ("mnist-binary",),
}
# models that were trained to begin with where one learns while it codes, and larger, slower ones
_LEARNERS = {"RGB": "photo-learner", "L": "luma-learner", "luma": "luma-learner"}
_BEST = {"RGB": "photo-best", "chroma": "chroma-best"}


def default_model_name(mode: str, learns: bool = False, best: bool = False) -> str:
    """The model that codes pictures of a mode, "RGB", "L" or "1", or source planes, "luma" or "chroma", when none is
    asked for. learns: one for learning while it codes, where there is one, or with `best` a larger one.
    """
    wanted = ((_BEST,) if best else ()) + ((_LEARNERS,) if learns else ())
    *others, last = *(names[mode] for names in wanted if mode in names), *_DEFAULTS[mode]
    if not others:
        return last
    known = {found.name for found in known_models()}
    return next((name for name in others if name in known), last)


def find_model(wanted: str | Path | None = None, wanted_id: bytes | None = None) -> Model:
    """The model of a path, name or id in hexadecimal, or the one with the id `wanted_id`; by default "photo".

    Raises UnknownModel when none has the id, InputError when a name or path does not exist, WeightsError when the file
    is malformed. A search by id passes malformed files by.
    """
    if wanted is None and wanted_id is not None:
        return _with_id(wanted_id)[1]
    path = find_weights(wanted or default_model_name("RGB"))
    model = load_weights(path)
    if wanted_id is not None and model.id != wanted_id:
        raise UnknownModel(wanted_id, [f"{printable(path)}, which is {model.id.hex()}"])
    return model


def find_weights(wanted: str | Path) -> Path:
    """The weight file of a path, name or id in hexadecimal. Raises InputError, UnknownModel."""
    known = known_models()
    named = [found.path for found in known if found.name == wanted]
    if named or os.path.lexists(wanted):
        return [*named, Path(wanted)][0]
    if re.fullmatch("[0-9a-f]{16}", str(wanted)):
        return _with_id(bytes.fromhex(str(wanted)))[0]
    names = ", ".join(dict.fromkeys(printable(found.name) for found in known))
    raise InputError(
        f"there is no model {str(wanted)!r}; give a weight file or one of: {names} (see vlae-codec models)"
    )


def _with_id(wanted_id: bytes) -> tuple[Path, Model]:
    """The first known model with the id, and a warning for each file passed by as malformed.

    Raises UnknownModel, which names the places and those files.
    """
    looked: list[str] = []
    malformed: list[str] = []
    for place, models in _places():
        looked.append(f"{place} ({', '.join(printable(found.name) for found in models) or 'no models'})")
        for found in models:
            try:
                noted = noted_id(found.path)
                if noted in (None, wanted_id.hex()):  # older files do not say which model they are
                    model = load_weights(found.path)
                    if model.id == wanted_id:
                        for reason in malformed:
                            skip(reason)
                        return found.path, model
            except WeightsError as error:
                malformed.append(str(error))
    raise UnknownModel(wanted_id, [*looked, *(f"unreadable: {reason}" for reason in malformed)])
