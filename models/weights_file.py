"""The writer of weight files, whose reader is `vlae_codec.weights`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec.weights.model import FORMAT, build

NAMES = {"int8": "I8", "int32": "I32", "int64": "I64"}


def save_weights(path: str | Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """Writes a weight file; returns the model id. Raises WeightsError if the model breaks a bound."""
    identity: bytes = build(config, tensors).id
    metadata = {"vlae-codec": str(FORMAT), "config": json.dumps(dict(config), sort_keys=True), "id": identity.hex()}
    write(path, tensors, metadata)
    return identity


def write(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes int8, int32 and int64 tensors: those of the widest numbers first, so that all are aligned."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, at = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        array = tensors[name]
        part = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        place = [at, at + len(part)]
        header[name] = {"dtype": NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": place}
        parts.append(part)
        at = place[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
