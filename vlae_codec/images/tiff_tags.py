"""Metadata <-> tags of a page of TIFF.

What has a key of its own goes there: icc (34675), xmp (700), iptc (33723), description (270), resolution (282, 283,
296). The EXIF and GPS directories make the exif block, together with the tags of the page that EXIF has in its first
directory (make, model, orientation, software, date, artist, copyright, ...); a page with neither such a directory nor
a camera nor an orientation other than 1 has no exif block. All other tags that do not say how the samples are stored
make the block of the key "tiff": a little-endian TIFF header and one directory, as `ifd.block` writes it. It also has
the photometric interpretation (262), extra samples (338) and colour map (320) where the picture's mode does not say
them, and where 262 is 0 (white is zero): the samples of a grey picture are stored inverted then.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images import png_chunks
from vlae_codec.images import tiff_layout as names
from vlae_codec.images.compose import read_words
from vlae_codec.images.ifd import (
    ASCII,
    BYTE,
    EXIF,
    GPS,
    POSITIONS,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Tag,
    block,
    parse,
    tag,
)
from vlae_codec.images.metadata import convert_resolution, make_resolution, not_kept, read_resolution
from vlae_codec.limits import DEFAULT

DESCRIPTION, MAKE, MODEL, ORIENTATION, SUB_DIRECTORIES, MOST, INK_SET = 270, 271, 272, 274, 330, 281, 332
_WHOLE = {
    "icc": (34675, UNDEFINED),
    "xmp": (700, BYTE),
    "iptc": (33723, UNDEFINED),
    "description": (DESCRIPTION, ASCII),
}
_KEYWORDS = {b"Description": DESCRIPTION, b"Software": 305, b"Author": 315, b"Copyright": 33432}
_RESOLUTION, _UNITS = (282, 283, 296), {1: "none", 2: "inch", 3: "centimetre"}
_OF_EXIF = (MAKE, MODEL, ORIENTATION, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096), EXIF, GPS)
# what says how samples are stored; and tables of JPEG, faxes and LERC
STRUCTURE = {
    names.WIDTH, names.LENGTH, names.BITS, names.COMPRESSION, names.PHOTOMETRIC, names.FILL_ORDER, names.STRIP_OFFSETS,
    names.SAMPLES, names.ROWS, names.STRIP_COUNTS, names.PLANAR, names.PREDICTOR, names.COLOUR_MAP, names.TILE_WIDTH,
    names.TILE_LENGTH, names.TILE_OFFSETS, names.TILE_COUNTS, names.EXTRA, names.FORMAT, 288, 289, 292, 293, 326, 327,
    328, 347, *range(512, 522), names.SUBSAMPLING, 50674,
}  # fmt: skip


def metadata(page: Directory, kept: Iterable[int]) -> tuple[dict[str, bytes], list[str]]:
    """Metadata of a page, with the structural tags `kept` in the block "tiff", and notes of what is not kept."""
    left: Directory = {number: value for number, value in page.items() if number not in STRUCTURE or number in kept}
    found, notes = {}, []
    for number, value in list(left.items()):
        if number == SUB_DIRECTORIES or (isinstance(value, Tag) and value.kind in POSITIONS):
            notes.append("reduced copies in SubIFDs" if number == SUB_DIRECTORIES else f"the directory of tag {number}")
        elif isinstance(value, Tag) and not value.kind:
            notes.append(f"tag {number}, which is damaged")
        else:
            continue
        del left[number]
    for key, (number, kind) in _WHOLE.items():
        whole = left.get(number)
        if isinstance(whole, Tag):
            found[key] = whole.data[:-1] if kind == ASCII and whole.data[-1:] == b"\0" else whole.data
            del left[number]
    if resolution := _resolution(left):
        found["resolution"] = resolution
        left = {number: value for number, value in left.items() if number not in _RESOLUTION}
    orientation = left.get(ORIENTATION)
    turned = isinstance(orientation, Tag) and orientation.values()[0] != 1
    if turned or any(number in left for number in (EXIF, GPS, MAKE, MODEL)):
        found["exif"] = block({number: left.pop(number) for number in _OF_EXIF if number in left})
    if left:
        found["tiff"] = block(left)
    return {key: value for key, value in found.items() if value}, notes


def _resolution(page: Directory) -> bytes:
    x, y, unit = (page.get(number) for number in _RESOLUTION)
    if not isinstance(x, Tag) or not isinstance(y, Tag) or (x.kind, x.count, y.kind, y.count) != (RATIONAL, 1) * 2:
        return b""
    name = _UNITS.get(int(unit.values()[0]) if isinstance(unit, Tag) else 2, "")
    if not name or 0 in (*x.values(), *y.values()):
        return b""
    across, down = (Fraction(*map(int, value.values())) for value in (x, y))
    return make_resolution(across, down, name)


def tags(metadata: dict[str, bytes]) -> tuple[Directory, list[str]]:
    """The tags of a page with such metadata, and notes of what TIFF has no place for."""
    page, rest = _of_png(metadata.get("png", b""))
    notes = not_kept({"png": rest}, ())
    if "delay" in read_words(metadata.get("frame", b"")):
        notes.append("the times of frames")
    for key in ("tiff", "exif"):
        if key not in metadata:
            continue
        try:
            found, more = parse(metadata[key], DEFAULT)
        except UnsupportedImage:
            notes.append("EXIF, which is damaged" if key == "exif" else "tags of TIFF, which are damaged")
            continue
        if more:
            notes.append("the thumbnail of EXIF")
        dropped = STRUCTURE | {SUB_DIRECTORIES} if key == "exif" else ()
        page |= {number: value for number, value in found.items() if number not in dropped and _sound(value)}
    for key, (number, kind) in _WHOLE.items():
        if key in metadata:
            data = metadata[key] + (b"\0" if kind == ASCII else b"")
            page[number] = Tag(kind, len(data), data)
    if "comment" in metadata:
        if DESCRIPTION in page:
            notes.append("the comment")
        else:
            data = metadata["comment"] + b"\0"
            page[DESCRIPTION] = Tag(ASCII, len(data), data)
    if "resolution" in metadata:
        resolution = _resolution_tags(metadata["resolution"])
        notes += [] if resolution else ["the resolution"]
        page |= resolution
    return page, notes


def _of_png(packed: bytes) -> tuple[Directory, bytes]:
    """The tags of PNG chunks that say the same, and the other chunks."""
    page: Directory = {}
    rest = []
    for kind, data in png_chunks.unpack(packed):
        keyword, _, text = data.partition(b"\0")
        number = _KEYWORDS.get(keyword) if kind == b"tEXt" else 306 if kind == b"tIME" and len(data) == 7 else None
        if number and number not in page:
            if kind == b"tIME":
                text = b"%04d:%02d:%02d %02d:%02d:%02d" % (int.from_bytes(data[:2], "big"), *data[2:])
            page[number] = Tag(ASCII, len(text) + 1, text + b"\0")
        elif kind == b"cHRM" and len(data) == 32:
            whole = [int.from_bytes(data[at : at + 4], "big") for at in range(0, 32, 4)]
            page[318], page[319] = _rationals(whole[:2]), _rationals(whole[2:])
        else:
            rest.append((kind, data))
    return page, png_chunks.pack(rest)


def _rationals(values: list[int]) -> Tag:
    """Of hundred thousandths."""
    return Tag(RATIONAL, len(values), b"".join(struct.pack("<LL", value, 100000) for value in values))


def _sound(value: Tag | Directory) -> bool:
    """Whether it has values; damaged ones inside a directory are left out."""
    if isinstance(value, Tag):
        return bool(value.kind)
    for number in [number for number, inner in value.items() if not _sound(inner)]:
        del value[number]
    return True


def _resolution_tags(text: bytes) -> Directory:
    """None if it is no resolution, or one that is no fraction of 32 bits."""
    found = read_resolution(text)
    if found is None:
        return {}
    pair, number = found[:2], {"none": 1, "inch": 2, "centimetre": 3, "metre": 3}[found[2]]
    if found[2] == "metre":
        pair = convert_resolution(text, "centimetre") or pair
    if max(number for value in pair for number in value.as_integer_ratio()) >> 32:
        return {}
    horizontal, vertical = (Tag(RATIONAL, 1, struct.pack("<LL", *value.as_integer_ratio())) for value in pair)
    return {282: horizontal, 283: vertical, 296: tag(SHORT, number)}
