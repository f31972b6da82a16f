"""A recipe: a byte that says the kind, the file's CRC-32 (little-endian), and what the kind has."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from vlae_codec.errors import CorruptFile, ImageTooLarge
from vlae_codec.exact import png, weave
from vlae_codec.exact.packing import Reader, Writer, damaged
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.jpeg.file import join, split
from vlae_codec.limits import DEFAULT, Limits

PNG, WEAVE, JPEG = 1, 2, 3


def make(file: bytes, pictures: Sequence[Picture], limits: Limits = DEFAULT) -> bytes | None:
    """The recipe that makes a file of its pictures, shorter than the file, and within limits when it is followed.

    pictures: as they will be when the recipe is followed, but for the key "file" of their metadata. None: the kind of
    file is not known, or it holds something that is no part of the pictures; only pixels and metadata can be kept.
    """
    if not pictures:
        return None
    kind = PNG if file.startswith(png.SIGNATURE) else JPEG if pictures[0].coefficients is not None else WEAVE
    head = bytes([kind]) + zlib.crc32(file).to_bytes(4, "little")
    if kind == JPEG:
        parts = split(file, limits, _known(pictures[0]))
        if parts is None:
            return None
        recipe = head + parts[1]
    else:
        out = Writer(png.dictionary(pictures))
        out.data += head
        if not (png.make if kind == PNG else weave.make)(out, file, pictures) or len(out.data) >= len(file):
            return None
        recipe = bytes(out.data)
    try:
        return recipe if restore(pictures, recipe, limits) == file else None
    except (CorruptFile, ImageTooLarge):
        return None


def _known(picture: Picture) -> list[bytes]:
    """The metadata of a picture that stand in its file, too."""
    return [picture.metadata[key] for key in sorted(picture.metadata) if key != RECIPE]


def restore(pictures: Sequence[Picture], recipe: bytes, limits: Limits) -> bytes:
    """The file of a recipe.

    Raises CorruptFile for a recipe that is damaged or is not of these pictures, and ImageTooLarge where it asks for
    more memory than the limits allow.
    """
    if not pictures:
        raise damaged()
    source = Reader(recipe, limits, png.dictionary(pictures))
    kind, checksum = source.take(1)[0], int.from_bytes(source.take(4), "little")
    if kind == JPEG:
        if pictures[0].coefficients is None:
            raise damaged()
        file = join(pictures[0].coefficients, source.take(len(recipe) - source.at), limits, _known(pictures[0]))
    elif kind == PNG:
        file = png.restore(source, pictures, limits)
    elif kind == WEAVE:
        file = weave.restore(source, pictures)
    else:
        raise CorruptFile(f"the recipe of a file is of an unknown kind ({kind}): update vlae-codec")
    source.end()
    if zlib.crc32(file) != checksum:
        raise CorruptFile("the recipe of a file does not fit its pixels or metadata: get a fresh copy of it")
    return file


def kind_of(recipe: bytes) -> int:
    """PNG, WEAVE or JPEG, or another number of a recipe that is damaged or newer."""
    return recipe[0]


def head_of(first: Picture, recipe: bytes, limits: Limits) -> bytes:
    """The first bytes of the file of a recipe of the kind WEAVE, which say its format.

    first: the first picture; its samples are not looked at. Raises CorruptFile.
    """
    source = Reader(recipe, limits, png.dictionary([first]))
    source.take(5)
    return weave.head(source)
