"""One file into another: a picture file into a .vlae file, and back; with what could not be kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vlae_codec import files
from vlae_codec.errors import CorruptFile, UnsupportedImage
from vlae_codec.exact.recipe import make, restore
from vlae_codec.images import image
from vlae_codec.images.jpeg import is_jpeg
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.decode import factors
from vlae_codec.jpeg.file import split
from vlae_codec.limits import DEFAULT, Limits


class Keep(NamedTuple):
    """What of a picture file is to be kept beside its samples."""

    metadata: str = "all"  # or "icc" or "none"
    exact: bool = False  # the very file
    strict: bool = False  # to lose anything is an error


ALL = Keep()


class Loaded(NamedTuple):
    pictures: list[Picture]
    notes: list[str]  # what is not kept
    jpeg: bool  # the file is a JPEG that does not come back, only its pixels


def load(path: str | Path, keep: Keep = ALL, limits: Limits = DEFAULT, jpeg: bool = True) -> Loaded:
    """The pictures of a file, and what of it is lost. jpeg: whether coefficients of a JPEG are going to be coded.

    Raises InputError, UnsupportedImage (also for what would be lost, if that is to be an error) and ImageTooLarge.
    """
    return loaded(path, files.read_file(path, limits), keep, limits, jpeg)


def loaded(path: str | Path, data: bytes, keep: Keep = ALL, limits: Limits = DEFAULT, jpeg: bool = True) -> Loaded:
    """The same of the bytes of a file; path: its name for messages."""
    pictures = image.read(path, data, limits, keep.metadata)
    notes = list(dict.fromkeys(note for picture in pictures for note in picture.notes))
    whole = _coefficients(data, pictures[0], limits) if jpeg and is_jpeg(data) and len(pictures) == 1 else None
    if whole is not None:
        pictures[0] = pictures[0].replaced(coefficients=whole)
    if keep.exact or (whole is not None and keep.metadata == "all"):
        recipe = make(data, pictures, limits)
        if recipe is None:
            notes.append("the very file (its pixels and metadata are)")
        else:
            first = pictures[0]
            pictures[0] = first.replaced(metadata=first.metadata | {RECIPE: recipe})
            notes = []  # all comes back
    if notes and keep.strict:
        raise UnsupportedImage(f"{path}: cannot keep {', '.join(notes)}: leave out --strict, or convert the picture")
    return Loaded(pictures, notes, is_jpeg(data) and RECIPE not in pictures[0].metadata)


def codes_jpeg(origin: str, model: str | Path | None) -> bool:
    """Whether coefficients of a JPEG are coded, under these options."""
    return origin == "jpeg" or (origin == "auto" and model is None)


def _coefficients(data: bytes, picture: Picture, limits: Limits) -> Coefficients | None:
    """The coefficients of a JPEG file, if the picture can be coded as these."""
    found = split(data, limits)
    if found is None or picture.mode not in ("L", "RGB") or picture.channels != len(found[0].sampling):
        return None
    try:
        _ = [factors(found[0], component) for component in range(picture.channels)]
    except CorruptFile:
        return None
    return found[0] if picture.pixels.shape[:2] == (found[0].height, found[0].width) else None


class Rendered(NamedTuple):
    data: bytes  # of the file
    notes: list[str]  # what it does not hold
    exact: bool  # it is the very file that the pictures came from


def render(path: str | Path, pictures: Sequence[Picture], strict: bool = False, limits: Limits = DEFAULT) -> Rendered:
    """The file for pictures: the very file that they came from if they have its recipe and the name ends as that of
    such a file may, else as `image.render`.

    Raises OutputError, and CorruptFile for a damaged recipe.
    """
    recipe = pictures[0].metadata.get(RECIPE)
    if recipe is not None:
        data = restore(pictures, recipe, limits)
        if Path(path).suffix.lower() in image.suffixes_of(data):
            return Rendered(data, [], True)
        pictures = [without_recipe(pictures[0]), *pictures[1:]]
    return Rendered(*image.render(path, pictures, strict), False)


def store(
    path: str | Path, pictures: Sequence[Picture], force: bool = False, strict: bool = False, limits: Limits = DEFAULT
) -> list[str]:
    """Writes what `render` gives into a file; what the format could not hold is returned.

    Raises OutputExists, OutputError, and CorruptFile for a damaged recipe.
    """
    made = render(path, pictures, strict, limits)
    files.write_file(path, made.data, force)
    return made.notes


def without_recipe(picture: Picture) -> Picture:
    """The picture without what makes the very file again, which a part of it or a changed one does not."""
    return picture.replaced(metadata={key: value for key, value in picture.metadata.items() if key != RECIPE})
