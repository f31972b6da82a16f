"""A member as the bytes of a file: the very file if it was kept, else one of a format that holds its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vlae_codec.errors import OutputError, UnsupportedImage
from vlae_codec.exact.recipe import restore
from vlae_codec.images import image
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits

OTHERS = (("png", ".png"), ("tiff", ".tif"))  # formats, and what the names of their files end in


class File(NamedTuple):
    """name: that of the member, with another ending behind it where its own is of a format that is not written."""

    name: str
    data: bytes
    notes: list[str]  # what the format could not hold


def file_of(name: str, pictures: Sequence[Picture], limits: Limits = DEFAULT) -> File:
    """The file of a member. Raises CorruptFile for a damaged recipe, OutputError for what no format holds."""
    recipe = pictures[0].metadata.get(RECIPE)
    if recipe is not None:
        return File(name, restore(pictures, recipe, limits), [])
    for kind, ending in (*_own_kind(name), *OTHERS):
        try:
            return File(name + ending, *image.encode(pictures, kind))
        except (OutputError, UnsupportedImage) as error:
            problem = error
    raise OutputError(f"{name}: {problem}") from problem


def _own_kind(name: str) -> list[tuple[str, str]]:
    try:
        return [(image.output_format(name), "")]
    except OutputError:
        return []


def is_exact(pictures: Sequence[Picture]) -> bool:
    """Whether the very file comes back."""
    return RECIPE in pictures[0].metadata
