"""The reader of weight files: safetensors whose tensors are integers. A file may come from anyone.

    u64 little-endian    bytes of the header
    header               JSON: name -> {dtype, shape, data_offsets: [begin, end]}, and "__metadata__": text -> text
    data                 the tensors' bytes, little-endian, one tensor after another, with no gap and no overlap

`opened` gives a regular file of bounded size, `read_header` believes nothing that it says, and `read_tensors` takes
memory only for bytes that the file has.
"""

from __future__ import annotations

import json
import os
import reprlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.errors import VlaeError, WeightsError

MAX_HEADER, MAX_FILE = 1 << 20, 1 << 25  # bytes
TYPES: dict[str, np.dtype] = {"I8": np.dtype("<i1"), "I32": np.dtype("<i4"), "I64": np.dtype("<i8")}
# A pipe is opened without waiting for its writer, and no terminal takes over the process.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class Place(NamedTuple):
    """A tensor as the header describes it."""

    kind: np.dtype  # little-endian
    shape: tuple[int, ...]
    begin: int  # bytes after the header
    end: int


def printable(text: object) -> str:
    """The text on one line: unprintable characters, line breaks and lone surrogates are escaped."""
    line = str(text)
    return line if line.isprintable() else ascii(line)[1:-1]


@contextmanager
def refusing(path: str | Path) -> Iterator[None]:
    """Turns what goes wrong inside into a WeightsError that names the file."""
    try:
        yield
    except (VlaeError, OSError, ValueError, MemoryError, OverflowError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0] or type(error).__name__
        raise WeightsError(
            f"cannot read {printable(path)} as a weight file: {reason}; check the path, or export the model again"
        ) from error


@contextmanager
def opened(path: str | Path, most: int = MAX_FILE) -> Iterator[BufferedReader]:
    """The file, open for reading. Raises WeightsError unless it is a regular one of at most `most` bytes."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _FLAGS)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError("it is not a regular file")
        if status.st_size > most:
            raise WeightsError(f"it has {status.st_size} bytes, over the limit of {most}")
        yield file


def strict_json(text: str) -> Any:
    """What JSON without floats, NaN, long integers and repeated keys says. Raises WeightsError."""

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= 20 else refuse(digits)

    def refuse(number: str) -> Any:
        raise WeightsError(f"{reprlib.repr(number)} is not an integer of 64 bits")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(pairs)) != len(pairs):
            raise WeightsError("a key is there twice")
        return made

    try:
        return json.loads(text, parse_int=integer, parse_float=refuse, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        raise WeightsError("its JSON is nested too deeply" if deep else f"its JSON is malformed: {error}") from error


def read_header(file: BufferedReader) -> tuple[dict[str, str], dict[str, Place]]:
    """The metadata, and the place of each tensor in the order of their bytes. Raises WeightsError."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise WeightsError(f"its header of {length} bytes is empty or too long")
    try:
        text = file.read(length).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError("its header is not UTF-8") from error
    header = _object(strict_json(text), "the header")
    metadata = _object(header.pop("__metadata__", {}), "the metadata")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError("its metadata are not text")
    places = {name: _place(reprlib.repr(name), entry) for name, entry in header.items()}
    places = dict(sorted(places.items(), key=lambda item: item[1][2:]))
    begins, ends = ([place[i] for place in places.values()] for i in (2, 3))
    if [0, *ends] != [*begins, size - 8 - length]:
        raise WeightsError("its tensors do not lie one after another to its end")
    return metadata, places


def read_tensors(file: BufferedReader, places: Mapping[str, Place]) -> dict[str, np.ndarray]:
    """The tensors, from a file of which `read_header` has read the header. Raises WeightsError."""
    tensors = {}
    for name, place in places.items():
        array = np.empty(place.shape, place.kind)
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise WeightsError("it has become shorter")
        tensors[name] = array.astype(place.kind.newbyteorder("="), copy=False)
    return tensors


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WeightsError(f"{what} is not a JSON object")
    return value


def _place(name: str, entry: Any) -> Place:
    if _object(entry, name).keys() != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"{name} is not described by type, shape and place")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise WeightsError(f"{name} is of type {reprlib.repr(dtype)}, not an integer of 8, 32 or 64 bits")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n <= MAX_FILE for n in numbers):
            raise WeightsError(f"{name} has no shape or no place")
    if len(shape) > 4 or len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * TYPES[dtype].itemsize:
        raise WeightsError(f"{name} does not have the bytes of its shape")
    return Place(TYPES[dtype], tuple(shape), *offsets)
