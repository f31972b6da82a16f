"""An integer model: what a weight file holds, read and checked. No training code, no float network.

A weight file is safetensors: integer tensors only, the configuration as JSON in its metadata. The model id is the first
8 bytes of the SHA-256 over configuration and tensors, so two models with one id code alike.

    tables.*      integer tables (`vlae_codec.native.mixture`)
    encoder.*     q(z | x): patches of 4x4 pixels, halvings, two 3x3 layers on the latent grid, parameters
    topdown.*     z -> context: two 3x3 layers on the grid, spread to quarter size, a 3x3 layer, spread to pixels
    null          (stride, stride, context) int8: the context of the no-latent mode, by a pixel's place in its cell;
                  or (context,), the same for all places
    affine.t.*    flow step t of the prior: locations (1/64) | outer scale indices
    mixture.*     last step of the prior; `base`, a constant row of parameters, in a model with no flow step
    local.*       p(x | window, context)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.contract import AFFINE_HIGH, AFFINE_LOW, LOC_LIMIT, parameter_count, window_offsets
from vlae_codec.errors import InputError, UnknownModel, WeightsError
from vlae_codec.native.mixture import Tables, check_tables, parameter_limits
from vlae_codec.native.network import Layer, Network
from vlae_codec.weights import safetensors

FORMAT = 1
MODELS_VARIABLE = "VLAE_CODEC_MODELS"  # environment: folders and weight files, as in PATH


@dataclass(frozen=True, eq=False)
class Model:
    config: Mapping[str, Any]  # fields of models.vlae.Config
    id: bytes  # 8 bytes
    tables: Tables
    encoder: tuple[Network, ...]  # stem, halvings, grid, grid, out: one layer each, with gathers between them
    topdown: tuple[Network, ...]  # grid, grid, spread, fine, out
    null: np.ndarray  # (stride, stride, context) int8
    affine: tuple[Network, ...]
    mixture: Network | None
    base: np.ndarray | None  # (1, P) int32
    local: Network


def model_id(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """8 bytes that name a model by its configuration and integers."""
    digest = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {array.shape}".encode() + little.tobytes())
    return digest.digest()[:8]


def save_weights(path: str | Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """Writes a weight file; returns the model id. Raises WeightsError if the model breaks a bound."""
    identity = build(config, tensors).id
    metadata = {"vlae-codec": str(FORMAT), "config": json.dumps(dict(config), sort_keys=True), "id": identity.hex()}
    safetensors.write(path, tensors, metadata)
    return identity


def load_weights(path: str | Path) -> Model:
    """Reads and checks a weight file, once as long as it stays the same.

    Raises WeightsError when it is not one or breaks a bound.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path} as a weight file: {error}; check the path") from error
    return _load(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(8)
def _load(path: str, *state: int) -> Model:
    config, tensors, noted = read_weights(path)
    model = build(config, tensors)
    if noted not in (None, model.id.hex()):
        raise WeightsError(f"{path} holds model {model.id.hex()} and says {noted}; get a fresh copy of it")
    return model


def read_weights(
    path: str | Path, with_tensors: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray], str | None]:
    """Configuration, tensors (none without `with_tensors`) and the id that the file claims in hexadecimal, unchecked.

    Raises WeightsError when it is no weight file.
    """
    metadata, tensors = safetensors.read(path, with_tensors)
    try:
        config = json.loads(metadata["config"])
    except (KeyError, ValueError, RecursionError):
        config = None
    if metadata.get("vlae-codec") != str(FORMAT) or not isinstance(config, dict):
        raise WeightsError(f"{path} is not a weight file of this vlae-codec; export the model again")
    return config, tensors, metadata.get("id")


# ---------------------------------------------------------------------------------------------------- search


class Found(NamedTuple):
    name: str
    path: Path
    place: str  # where it was found, for people


def weights_folder() -> Path:
    """Where the package keeps its weights."""
    return Path(str(files("vlae_codec.models"))) / "weights"


def known_models() -> list[Found]:
    """Weight files in the order of search: the folders and files that VLAE_CODEC_MODELS names, then the built-in ones.

    The first of a name is the one that the name means, so a file of yours can stand in for a built-in model; by id all
    are found.
    """
    return [found for _, models in _places() for found in models]


def _places() -> list[tuple[str, list[Found]]]:
    """Where models are looked for, and those that are there; nothing is opened."""
    places = []
    for entry in filter(None, os.environ.get(MODELS_VARIABLE, "").split(os.pathsep)):
        path = Path(entry)
        paths = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        places.append((entry, [Found(p.stem, p, str(p)) for p in paths]))
    shipped = sorted(weights_folder().glob("*.safetensors"))
    return [*places, ("built-in", [Found(p.stem, p, "built-in") for p in shipped])]


def default_model_name(mode: str) -> str:
    """The model that codes pictures of a mode, "RGB", "L" or "1", when none is asked for."""
    if mode == "L" and any(found.name == "photo-gray" for found in known_models()):
        return "photo-gray"
    return "mnist-binary" if mode == "1" else "photo"


def find_model(wanted: str | Path | None = None, wanted_id: bytes | None = None) -> Model:
    """The model of a path, name or id in hexadecimal, or the one with the id `wanted_id`; by default "photo".

    Raises UnknownModel when none has the id, InputError when a name or path does not exist, WeightsError when the file
    is malformed. A malformed file does not matter to a search for another model.
    """
    if wanted is None and wanted_id is not None:
        return _with_id(wanted_id)[1]
    path = find_weights(wanted or default_model_name("RGB"))
    model = load_weights(path)
    if wanted_id is not None and model.id != wanted_id:
        raise UnknownModel(wanted_id, [f"{path}, which is {model.id.hex()}"])
    return model


def find_weights(wanted: str | Path) -> Path:
    """The weight file of a path, name or id in hexadecimal. Raises InputError, UnknownModel."""
    known = known_models()
    named = [found.path for found in known if found.name == wanted]
    if named or Path(wanted).is_file():
        return [*named, Path(wanted)][0]
    if re.fullmatch("[0-9a-f]{16}", str(wanted)):
        return _with_id(bytes.fromhex(str(wanted)))[0]
    names = ", ".join(dict.fromkeys(found.name for found in known))
    raise InputError(
        f"there is no model {str(wanted)!r}; give a weight file or one of: {names} (see vlae-codec models)"
    )


def _with_id(wanted_id: bytes) -> tuple[Path, Model]:
    """The first known model with the id. Raises UnknownModel, which names the places and files that were of no use."""
    looked = []
    for place, models in _places():
        looked.append(f"{place} ({', '.join(found.name for found in models) or 'no models'})")
        for found in models:
            try:
                noted = read_weights(found.path, with_tensors=False)[2]
                if noted in (None, wanted_id.hex()):  # older files do not say which model they are
                    model = load_weights(found.path)
                    if model.id == wanted_id:
                        return found.path, model
            except WeightsError as error:
                looked.append(f"unreadable: {error}")
    raise UnknownModel(wanted_id, looked)


def build(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Model:
    """A Model from configuration and tensors, every bound checked. Raises WeightsError."""

    def layer(name: str, inputs: int, limits: tuple[np.ndarray, np.ndarray] | None = None) -> Layer:
        low, high = limits if limits is not None else (None, None)
        made = Layer(
            tensors[f"{name}.weight"],
            tensors[f"{name}.multiplier"],
            tensors[f"{name}.addend"],
            int(tensors[f"{name}.shift"].item()),
            low,
            high,
        )
        made.check(name)
        outputs = made.multiplier.size if low is None else low.size
        digits = made.weight.shape[1] // outputs
        if made.weight.shape != (inputs, digits * outputs) or made.multiplier.size != outputs:
            raise WeightsError(f"layer {name} is {made.weight.shape}, not {(inputs, outputs)}; export the model again")
        return made

    def convolutions(prefix: str, inputs: int, steps: Sequence[tuple[str, int]]) -> list[Network]:
        """One network a layer; each step: its name and how many cells its gather brings together."""
        made = []
        for name, cells in steps:
            made.append(layer(f"{prefix}.{name}", inputs * cells))
            inputs = made[-1].multiplier.size
        return [Network((one,)) for one in made]

    def mlp(name: str, inputs: int, hidden: int, limits: tuple[np.ndarray, np.ndarray]) -> Network:
        layers: list[Layer] = []
        for i in range(hidden):
            layers.append(layer(f"{name}.hidden.{i}", layers[-1].multiplier.size if layers else inputs))
        layers.append(layer(f"{name}.out", (layers[-1].multiplier.size if layers else 0) + inputs, limits))
        return Network(tuple(layers), skip=True)

    try:
        c, z = config["channels"], config["latents"]
        if c not in (1, 3) or config.get("levels", 256) not in (2, 256):
            raise WeightsError("the model is not of 1 or 3 channels of 2 or 256 levels; update to use it")
        for key in ("window", "prior_window"):
            wide, up = config[key]
            if wide < 3 or wide % 2 == 0 or up < 1:
                raise WeightsError(
                    f"the {key} {wide}x{up} is not odd and at least 3 wide and 1 up; train another model"
                )
        tables = Tables(*(tensors[f"tables.{field}"] for field in Tables._fields))
        check_tables(tables)
        halvings = {4: 0, 8: 1, 16: 2}[config["stride"]]
        steps = [("stem", 16), *((f"down.{i}", 4) for i in range(halvings)), ("grid.0", 9), ("grid.1", 9)]
        encoder = convolutions("encoder", c, steps)
        width = encoder[-1].layers[0].multiplier.size
        encoder.append(Network((layer("encoder.out", width, parameter_limits(1, z, coupled=False)),)))
        up = config["stride"] // 4
        topdown = convolutions("topdown", z, [("grid.0", 9), ("grid.1", 9), ("spread", 1)])
        fine, rest = divmod(topdown[-1].layers[0].multiplier.size, up * up)
        topdown += convolutions("topdown", fine, [("fine", 9), ("out", 1)])
        if rest or topdown[-1].layers[0].multiplier.size != 16 * config["context"]:
            raise WeightsError("the top-down network does not give the context's features; export the model again")
        cells = len(window_offsets(config["prior_window"])) * z
        affine_limits = (
            np.repeat(np.array([-LOC_LIMIT, AFFINE_LOW], np.int32), z),
            np.repeat(np.array([LOC_LIMIT, AFFINE_HIGH], np.int32), z),
        )
        affine = [mlp(f"affine.{t}", cells, 1, affine_limits) for t in range(config["flow_steps"] - 1)]
        mixture, base = None, None
        if config["flow_steps"]:
            mixture = mlp("mixture", cells, 2, parameter_limits(config["prior_mixtures"], z, coupled=True))
        else:
            base = tensors["base"]
            low, high = parameter_limits(1, z, coupled=False)
            if base.shape != (1, parameter_count(1, z, False)) or np.any(base < low) or np.any(base > high):
                raise WeightsError("the prior's constant row is malformed; export the model again")
        inputs = (len(window_offsets(config["window"])) + 1) * c + config["context"]
        local = mlp("local", inputs, config["layers"], parameter_limits(config["mixtures"], c, coupled=True))
        null = tensors["null"]
        if null.ndim == 1:  # the same everywhere
            null = np.broadcast_to(null, (config["stride"], config["stride"], *null.shape))
        if null.shape != (config["stride"], config["stride"], config["context"]) or null.dtype != np.int8:
            raise WeightsError("the context of the no-latent mode is malformed; export the model again")
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"the weight file lacks or garbles {error}; export the model again") from error
    return Model(
        config,
        model_id(config, tensors),
        tables,
        tuple(encoder),
        tuple(topdown),
        null,
        tuple(affine),
        mixture,
        base,
        local,
    )
