"""Where metadata stand in a PNG, and as which chunks.

A value with a key of its own becomes one chunk. When a file is read, a mark stands for that chunk if the value and the
mark give its very bytes; otherwise the chunk stays, beside the value. When a file is written, marks and such chunks
become chunks at their places; a value that has neither is new, and gets the usual place.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import lcm

from vlae_codec.images.metadata import convert_resolution, make_resolution, read_resolution
from vlae_codec.images.png_chunks import KNOWN, Chunk, pack, unpack

MARKS = {"icc": b"=icc", "palette": b"=pal", "alpha": b"=alp", "resolution": b"=res", "exif": b"=exi", "xmp": b"=xmp"}
_KEYS = {mark: key for key, mark in MARKS.items()}
_XMP = b"XML:com.adobe.xmp\0"
_PROFILE = b"ICC Profile\0" + b"6f0"  # the mark of a profile that comes from elsewhere: a name, and zlib's default
_LEVELS = {0: "10", 1: "5432", 2: "6", 3: "987"}  # of zlib, by what the header of its stream says
MOST_INFLATED = 1 << 26  # bytes of a profile or an XMP packet; a chunk that has more stays as it is
_MOST_SEARCHED = 1 << 22  # bytes for which the level of zlib is looked for
_MOST_DOTS = (1 << 31) - 1


def read_places(chunks: Iterable[Chunk], palette: bytes | None) -> tuple[dict[str, bytes], list[str]]:
    """Metadata, and those of a palette's colours ("palette", RGB; "alpha"), of a file's chunks; and notes.

    chunks: with one IDAT, of no data; palette: the data of the chunk PLTE of a picture of indices.
    """
    values: dict[str, bytes] = {}
    entries: list[Chunk] = []
    notes = []
    for kind, data in chunks:
        key, value = _value(kind, data, palette)
        if key and key not in values:
            values[key] = value
            mark = _mark(kind, data, key, value)
            entries.append((kind, data) if mark is None else (MARKS[key], mark))
        elif kind == b"IDAT" or kind in KNOWN or kind[3:].islower():
            entries.append((kind, data))
        else:
            notes.append(f"the PNG chunk {kind.decode()}, which belongs to the file")
    if entries != _usual(values, []):
        values["png"] = pack(entries)
    return values, notes


def write_places(values: Mapping[str, bytes]) -> tuple[list[Chunk], list[str]]:
    """The chunks of a file, with one IDAT of no data, of values as `read_places` gives them; and notes.

    Raises CorruptFile for a damaged "png".
    """
    stay: set[str] = set()  # keys whose mark or very chunk is there
    entries: list[tuple[str, Chunk]] = []
    for kind, data in unpack(values.get("png", b"")):
        key, value = _KEYS.get(kind, ""), b""
        if not key:
            key, value = _value(kind, data, values.get("palette"))
        if key in values and (kind in _KEYS or value == values[key]):
            stay.add(key)
        entries.append((key, (kind, data)))
    kept = [entry for key, entry in entries if not key or key in stay]
    new = {key: value for key, value in values.items() if key not in stay}
    chunks, notes = [], []
    for kind, data in _usual(new, kept):
        if kind not in _KEYS:
            chunks.append((kind, data))
        elif made := _make(_KEYS[kind], values[_KEYS[kind]], data):
            chunks.append(made)
        else:
            notes.append(f"the {_KEYS[kind]}")
    return chunks, notes


def _usual(new: Mapping[str, bytes], entries: list[Chunk]) -> list[Chunk]:
    """The entries with marks of new values: the profile at the beginning, all else before the pixels."""
    kinds = [kind for kind, _ in entries]
    if b"IDAT" not in kinds:
        entries = [*entries, (b"IDAT", b"")]
        kinds.append(b"IDAT")
    first = [(b"=icc", _PROFILE)] if "icc" in new else []
    others = [(MARKS[key], b"") for key in MARKS if key in new and key != "icc"]
    colours = sum(kind in (b"=pal", b"=alp") for kind, _ in others)
    pixels = kinds.index(b"IDAT")
    behind = [kinds.index(kind) for kind in (b"=alp", b"tRNS", b"bKGD", b"hIST") if kind in kinds]  # a palette
    colour_place = min([*behind, pixels])
    before, between, after = entries[:colour_place], entries[colour_place:pixels], entries[pixels:]
    return [*first, *before, *others[:colours], *between, *others[colours:], *after]


def _value(kind: bytes, data: bytes, palette: bytes | None) -> tuple[str, bytes]:
    """The key and the value of a chunk, or "" and nothing. An empty value is none."""
    key, value = "", b""
    if kind == b"iCCP":
        name, _, rest = data.partition(b"\0")
        key, value = "icc", inflated(rest[1:], MOST_INFLATED) if name and rest[:1] == b"\0" else b""
    elif kind == b"eXIf":
        key, value = "exif", data
    elif kind == b"iTXt" and data.startswith(_XMP):
        how, text = data[len(_XMP) : len(_XMP) + 4], data[len(_XMP) + 4 :]
        if how in (b"\0\0\0\0", b"\1\0\0\0"):  # compressed or not, of no language
            key, value = "xmp", inflated(text, MOST_INFLATED) if how[0] else text
    elif kind == b"pHYs" and len(data) == 9 and data[8] < 2:
        x, y = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
        key, value = "resolution", make_resolution(x, y, ("none", "metre")[data[8]]) if x and y else b""
    elif kind == b"PLTE" and palette is not None:
        key, value = "palette", data
    elif kind == b"tRNS" and palette is not None and len(data) <= len(palette) // 3:
        key, value = "alpha", data.ljust(len(palette) // 3, b"\xff") if data else b""
    return (key, value) if value else ("", b"")


def _mark(kind: bytes, data: bytes, key: str, value: bytes) -> bytes | None:
    """What stands behind the mark from which `_make` gives this chunk; None if there is none."""
    marks = [b""]
    if key in ("icc", "xmp"):
        packed = data.partition(b"\0")[2][1:] if key == "icc" else data[len(_XMP) + 4 :]
        name = data.partition(b"\0")[0] + b"\0" if key == "icc" else b""
        marks = [b""] if key == "xmp" else []
        if len(value) <= _MOST_SEARCHED and len(packed) > 2 and packed[0] & 15 == 8 and packed[0] < 128:
            window = f"{(packed[0] >> 4) + 8:x}"
            levels = _LEVELS[packed[1] >> 6]
            marks += [name + (level + window + strategy).encode() for strategy in "01" for level in levels]
    return next((mark for mark in marks if _make(key, value, mark) == (kind, data)), None)


def _make(key: str, value: bytes, mark: bytes) -> Chunk | None:
    """The chunk of a value; None if it has no place in a PNG."""
    if key == "icc":
        name, _, how = mark.partition(b"\0")
        return b"iCCP", name + b"\0\0" + _deflate(value, how)
    if key == "xmp":
        return b"iTXt", _XMP + (b"\1\0\0\0" + _deflate(value, mark) if mark else b"\0\0\0\0" + value)
    if key == "resolution":
        dots = _dots(value)
        return None if dots is None else (b"pHYs", dots)
    if key == "alpha":
        return b"tRNS", value.rstrip(b"\xff") or value[:1]
    return {"exif": b"eXIf", "palette": b"PLTE"}[key], value


def _dots(value: bytes) -> bytes | None:
    """The data of the chunk pHYs."""
    per_metre = convert_resolution(value, "metre")
    found = read_resolution(value)
    if per_metre is not None:
        x, y, unit = round(per_metre[0]), round(per_metre[1]), 1
    elif found is not None:
        scale = Fraction(lcm(found[0].denominator, found[1].denominator))
        x, y, unit = int(found[0] * scale), int(found[1] * scale), 0
    else:
        return None
    if not (0 < x <= _MOST_DOTS and 0 < y <= _MOST_DOTS):
        return None
    return x.to_bytes(4, "big") + y.to_bytes(4, "big") + bytes([unit])


def inflated(packed: bytes, most: int) -> bytes:
    """What was packed by zlib; nothing if it is damaged, or of more than `most` bytes."""
    inflater = zlib.decompressobj()
    try:
        value = inflater.decompress(packed, most)
    except zlib.error:
        return b""
    return value if inflater.eof else b""


def _deflate(value: bytes, how: bytes) -> bytes:
    """how: level, window bits (hexadecimal) and strategy; anything else is the default."""
    level, window, strategy = 6, 15, zlib.Z_DEFAULT_STRATEGY
    if re.fullmatch(rb"[0-9][9a-f][01]", how):
        level, window, strategy = int(how[:1]), int(how[1:2], 16), int(how[2:])
    deflater = zlib.compressobj(level, zlib.DEFLATED, window, 8, strategy)
    return deflater.compress(value) + deflater.flush()
