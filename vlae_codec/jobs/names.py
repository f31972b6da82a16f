"""Names of files: which are pictures, how an output is called when nobody says, and how two of a name are kept apart.

photo.png becomes photo.vlae, and photo.vlae becomes photo with the ending of the picture that it was made of, as far as
it says: that of the very file or JPEG that it holds, .tif if a PNG has no place for it, else .png. An ending that is no
file type's, such as that of scan.001, stays, and one that is there already is not added: a.png.vlae becomes a.png.

Inputs that would become one output keep their whole names: a.png and a.jpg become a.png.vlae and a.jpg.vlae. So the
names depend on the inputs of a run, not on their order. Of inputs of one whole name, from different folders, the second
and later ones get a number: a-2.png.vlae.
"""

from __future__ import annotations

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vlae_codec import files
from vlae_codec.errors import VlaeError
from vlae_codec.exact import recipe as recipes
from vlae_codec.format import container
from vlae_codec.format.chunks import read_varint
from vlae_codec.format.header import Header
from vlae_codec.images import image
from vlae_codec.images.metadata import RECIPE
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.modes import blank, picture_of

CODED = frozenset({".vlae"})
JPEG = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})
PICTURES = frozenset(
    {".apng", ".avif", ".bmp", ".bw", ".cur", ".dib", ".gif", ".hdr", ".ico", ".j2k", ".jp2", ".jpx", ".mpo", ".pam"}
    | {".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff"}
    | {".webp", *JPEG}
)
_NETPBM = {b"1": "pbm", b"4": "pbm", b"2": "pgm", b"5": "pgm", b"3": "ppm", b"6": "ppm", b"7": "pam"}
_FAMILIES = ((".tif", ".tiff"), (".png", ".apng"), image.JPEGS, image.BITMAPS)


def expand(sources: Sequence[str]) -> list[str]:
    """The sources, patterns among them replaced by what they match: for a system whose shell leaves that to programs.

    A name that exists, or that matches nothing, stays as it is.
    """
    found: list[str] = []
    for source in sources:
        matching = [] if os.path.lexists(source) else sorted(glob.glob(source, recursive=True))
        found += matching or [source]
    return found


def output_name(name: str, wanted: frozenset[str], ending: str) -> str:
    """What a file of this name becomes; wanted: the endings that are replaced."""
    stem, old = os.path.splitext(name)
    stem = stem if old.lower() in wanted else name
    before = os.path.splitext(stem)[1].lower()
    same = next((family for family in _FAMILIES if ending in family), (ending,))
    return stem if before in same and wanted == CODED else stem + ending


def apart(tasks: Sequence[tuple[Path, Path]]) -> list[Path]:
    """The outputs of these (source, output), no two of one name."""
    outputs = [output for _, output in tasks]
    for number, (source, output) in _clashing([source for source, _ in tasks], outputs):
        outputs[number] = output.with_name(source.name + output.suffix)
    seen: set[str] = set()
    taken, counts = {_key(output) for output in outputs}, Counter[str]()
    for number, output in enumerate(outputs):
        key, other = _key(output), output
        first, dot, rest = output.name.partition(".")
        while key in seen and _key(other) in taken:
            counts[key] += 1
            other = output.with_name(f"{first}-{counts[key] + 1}{dot}{rest}")
        outputs[number] = other
        taken.add(_key(other))
        seen.add(key)
    return outputs


def _clashing(sources: Sequence[Path], outputs: Sequence[Path]) -> Iterator[tuple[int, tuple[Path, Path]]]:
    """Number, source and output of all whose output is that of another one, too."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, output in enumerate(outputs):
        groups[_key(output)].append(number)
    for numbers in groups.values():
        if len(numbers) > 1:
            yield from ((number, (sources[number], outputs[number])) for number in numbers)


def _key(path: Path) -> str:
    return os.path.normcase(path)


def ending_of(path: Path, limits: Limits = DEFAULT, exact: bool = True) -> str:
    """The ending for the picture of a .vlae file; ".png" of one that cannot be read, which comes out later.

    exact: it may be that of a very file.
    """
    try:
        with files.open_file(path, limits) as file:
            data = file.read(container.HEAD_BYTES)
            if (found := ending(data, limits, exact)) is None:
                found = ending(data + file.read(), limits, exact)
    except (VlaeError, OSError):
        found = None
    return found or ".png"


def ending(data: bytes, limits: Limits = DEFAULT, exact: bool = True) -> str | None:
    """The same of the bytes of a file, or of the first of them; None if these are too few to say."""
    header, known, whole = _outline(data)
    if RECIPE in known and exact:
        kind = recipes.kind_of(known[RECIPE])
        if kind in (recipes.JPEG, recipes.PNG):
            return ".jpg" if kind == recipes.JPEG else ".png"
        if not whole:
            return None
        layout = header.first
        one = picture_of(np.zeros_like(blank(1, 1, layout)), layout, known)
        pixels = np.broadcast_to(one.pixels, (header.height, header.width, *one.pixels.shape[2:]))
        head = recipes.head_of(one.replaced(pixels=pixels), known[RECIPE], limits)
        if head[:1] == b"P" and head[1:2] in _NETPBM:
            return "." + _NETPBM[head[1:2]]
        return next(iter(image.suffixes_of(head)), ".png")
    if not whole:
        return None
    return ".tif" if "tiff" in known or _needs_tiff(header, known) else ".png"


def _needs_tiff(header: Header, known: dict[str, bytes]) -> bool:
    """Whether a PNG cannot hold the pictures."""
    if header.count > 1 and b"delay=" not in known.get("frame", b""):
        return True
    for layout in header.layouts:
        if layout.type != "unsigned" or layout.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            return True
        if layout.levels & layout.levels - 1 and layout.mode != "P":
            return True
    return False


def _outline(data: bytes) -> tuple[Header, dict[str, bytes], bool]:
    """(header, metadata of the first picture, whether chunk D was reached). Raises what `container.read` raises."""
    header = container.read_header(data)
    known: dict[str, bytes] = {}
    position = container.START
    while position < len(data):
        kind = data[position : position + 1]
        if kind == b"D":
            return header, known, True
        try:
            length, begin = read_varint(data, position + 1)
            if kind == b"m":
                first, at = read_varint(data, begin)
                _, at = read_varint(data, at)
                size = data[at]
                if first == 0 and (value := data[at + 1 + size : begin + length]):
                    known[data[at + 1 : at + 1 + size].decode("utf-8", "replace")] = value
        except (VlaeError, IndexError):  # the data end here
            break
        position = begin + length + 4
    return header, known, False
