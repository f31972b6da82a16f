"""A source may go when its output, read back from the disk, gives everything of it again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from vlae_codec import files
from vlae_codec.errors import CorruptFile, InputError
from vlae_codec.exact.recipe import restore
from vlae_codec.images import image
from vlae_codec.images.jpeg import is_jpeg
from vlae_codec.images.metadata import NAMES, RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.jobs.convert import without_recipe
from vlae_codec.jobs.plan import Task
from vlae_codec.limits import Limits

Decode = Callable[[bytes], list[Picture]]


def coded_lacks(task: Task, limits: Limits, decode: Decode) -> list[str]:
    """What a .vlae file lacks of the picture file that it was made of, both read from the disk anew.

    Raises CorruptFile for other samples than those of the source.
    """
    source = files.read_file(task.source, limits)
    found = decode(files.read_file(task.output, limits))
    recipe = found[0].metadata.get(RECIPE)
    if recipe is not None:
        if restore(found, recipe, limits) != source:
            raise _unlike(task)
        return []
    pictures = image.read(task.source, source, limits)
    notes = [note for picture in pictures for note in picture.notes]
    if is_jpeg(source):
        notes.append("the JPEG file")
    return [*dict.fromkeys(notes), *_compare(task, pictures, found)]


def picture_lacks(task: Task, source: bytes, pictures: Sequence[Picture], exact: bool, limits: Limits) -> list[str]:
    """What a picture file lacks of the .vlae file that it was made of, both read from the disk anew.

    source: the bytes that were decoded, pictures: what they gave; exact: the very file was written.
    """
    written = files.read_file(task.output, limits)
    if files.read_file(task.source, limits) != source:
        raise InputError(f"{task.source} has changed since it was read: it stays")
    recipe = pictures[0].metadata.get(RECIPE)
    if exact and recipe is not None:
        if restore(pictures, recipe, limits) != written:
            raise _unlike(task)
        return []
    notes = ["the recipe of the very file"] if recipe is not None else []
    before = [without_recipe(pictures[0]), *pictures[1:]]
    return notes + _compare(task, before, image.read(task.output, written, limits))


def _compare(task: Task, pictures: Sequence[Picture], others: Sequence[Picture]) -> list[str]:
    """Which metadata are not in the others. Raises CorruptFile for other samples."""
    if len(pictures) != len(others):
        raise _unlike(task)
    lacking = []
    for one, other in zip(pictures, others):
        alike = (one.mode, one.levels, one.pixels.dtype) == (other.mode, other.levels, other.pixels.dtype)
        pairs = ((one.pixels, other.pixels), (one.palette, other.palette))
        if not alike or any(_bytes(a) != _bytes(b) for a, b in pairs):
            raise _unlike(task)
        lacking += [
            f"the {NAMES.get(key, key)}" for key in one.metadata if other.metadata.get(key) != one.metadata[key]
        ]
    return list(dict.fromkeys(lacking))


def _bytes(array: np.ndarray | None) -> tuple[tuple[int, ...], bytes] | None:
    """The shape and the bytes: a NaN is like itself."""
    return None if array is None else (array.shape, array.tobytes())


def _unlike(task: Task) -> CorruptFile:
    return CorruptFile(f"{task.output} was read back and is not like {task.source}, which stays: try again")


def remove(path: os.PathLike[str]) -> None:
    """Removes a source. Raises InputError."""
    try:
        os.unlink(path)
    except OSError as error:
        raise InputError(f"cannot remove {path} ({error.strerror or error})") from error
