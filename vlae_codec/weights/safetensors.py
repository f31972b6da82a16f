"""Weight files: safetensors with integer tensors, read and written here, so that reading a picture needs no more.

    u64 little-endian    bytes of the header
    header               JSON: name -> {dtype, shape, data_offsets: [begin, end]}, and "__metadata__": text -> text
    data                 the tensors' bytes, little-endian, where the offsets, counted from here, say, and no others

Every length is checked before anything is allocated for it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.errors import WeightsError

MAX_HEADER, MAX_FILE = 1 << 20, 1 << 28  # bytes
TYPES = {"I8": "<i1", "I32": "<i4", "I64": "<i8"}
NAMES = {"int8": "I8", "int32": "I32", "int64": "I64"}


class Place(NamedTuple):
    """Where a tensor's bytes are, and what they are."""

    kind: np.dtype
    shape: list[int]
    begin: int
    end: int


class File(NamedTuple):
    metadata: dict[str, str]
    tensors: dict[str, np.ndarray]  # none, if they were not asked for


def read(path: str | Path, with_tensors: bool = True) -> File:
    """Raises WeightsError when it is no such file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise WeightsError("it is not a regular file")
        size = os.stat(path).st_size
        if size > MAX_FILE:
            raise WeightsError(f"it has {size} bytes, over the limit of {MAX_FILE}")
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
                raise WeightsError("its header is too long")
            header = json.loads(file.read(length))
            data = file.read() if with_tensors else b""
        metadata = _entry(header, "the header").pop("__metadata__", {})
        if not all(isinstance(text, str) for text in _entry(metadata, "the metadata").values()):
            raise WeightsError("its metadata are not text")
        places = {name: _place(name, entry) for name, entry in header.items()} if with_tensors else {}
        ends = [0, *(place.end for place in sorted(places.values(), key=lambda place: place[2:]))]
        begins = sorted(place.begin for place in places.values())
        if ends != [*begins, len(data)]:  # so no byte is taken twice, and memory is what the file has
            raise WeightsError("its tensors do not lie one after another to its end")
        return File(metadata, {name: _tensor(place, data) for name, place in places.items()})
    except (WeightsError, OSError, ValueError, RecursionError) as error:
        reason = "its header is nested too deeply" if isinstance(error, RecursionError) else error
        raise WeightsError(f"cannot read {path} as a weight file: {reason}; check the path") from error


def _entry(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WeightsError(f"{what} is malformed")
    return value


def _place(name: str, entry: Any) -> Place:
    entry = _entry(entry, name)
    dtype, shape, places = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise WeightsError(f"{name} is of type {dtype!r}, not an integer of 8, 32 or 64 bits")
    for numbers in (shape, places):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n <= MAX_FILE for n in numbers):
            raise WeightsError(f"{name} has no shape or no place")
    kind = np.dtype(TYPES[dtype])
    if len(shape) > 4 or len(places) != 2 or places[1] - places[0] != prod(shape) * kind.itemsize:
        raise WeightsError(f"{name} does not have the bytes of its shape")
    return Place(kind, shape, *places)


def _tensor(place: Place, data: bytes) -> np.ndarray:
    array = np.frombuffer(data[place.begin : place.end], place.kind)
    return array.reshape(place.shape).astype(place.kind.newbyteorder("="))  # a copy, aligned


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
