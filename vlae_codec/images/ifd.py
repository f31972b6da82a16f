"""Directories of TIFF: tags by their number, read from and written to TIFF files and EXIF blocks.

A TIFF file is a header, and directories (IFDs) anywhere in it, each with the position of the next. A directory is a
list of entries: number of the tag, type, count, and the values or their position. Classic TIFF has positions of 4
bytes, BigTIFF of 8; both come in both byte orders. In memory all values are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.limits import Limits

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
# type -> bytes a value, and what it is made of
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WORDS = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4"}
_WORDS |= {11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
POSITIONS = (13, 18)  # types of positions of directories
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
_INSIDE = (EXIF, GPS, INTEROPERABILITY)  # tags that are directories of their own
_OVERLAP = 4  # directories may overlap, but all together are at most so many times the file


@dataclass(frozen=True)
class Tag:
    """Values of a tag: `count` of a type, little-endian. The type 0 stands for a tag whose values cannot be read."""

    kind: int
    count: int
    data: bytes

    def values(self) -> np.ndarray:
        """The numbers; of a rational two each."""
        if not self.kind:
            raise damaged("a tag that is needed has no values")
        return np.frombuffer(self.data, "<" + _WORDS[self.kind])


Directory: TypeAlias = "dict[int, Tag | Directory]"


def damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged TIFF ({what}): get a fresh copy of it")


def tag(kind: int, *values: int) -> Tag:
    """A tag of integers."""
    data = np.array(values, "<" + _WORDS[kind]).tobytes()
    return Tag(kind, len(data) // _SIZES[kind], data)


class Reader:
    """The directories of a file or block. Raises UnsupportedImage, or ImageTooLarge for more than the limits allow."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data, self.limits = data, limits
        self.order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
        version = int.from_bytes(data[2:4], "little" if self.order == "<" else "big")
        if not self.order or version not in (42, 43):
            raise damaged("it has no header")
        self.big = version == 43
        self._count, self._entry, self._position = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHL4s", "L")
        self.first = int(self._number(self._position, 8 if self.big else 4))
        self._read = self._taken = 0

    def _number(self, form: str, at: int) -> int:
        size = struct.calcsize(self.order + form)
        if at + size > len(self.data):
            raise damaged("a directory lies outside the file")
        return struct.unpack_from(self.order + form, self.data, at)[0]

    def pages(self) -> list[Directory]:
        """The directories of the chain, in order."""
        found, at, seen = [], self.first, set()
        while at:
            if at in seen:
                raise damaged("its directories form a loop")
            seen.add(at)
            self.limits.check(0, len(seen))
            directory, at = self.directory(at)
            found.append(directory)
        if not found:
            raise damaged("it has no directory")
        return found

    def directory(self, at: int, depth: int = 0) -> tuple[Directory, int]:
        """The directory at a position, those inside it as values, and the position of the next."""
        entries = self._number(self._count, at)
        at += struct.calcsize(self.order + self._count)
        size = struct.calcsize(self.order + self._entry)
        self._read += entries * size
        if at + entries * size > len(self.data) or self._read > _OVERLAP * len(self.data):
            raise damaged("a directory lies outside the file")
        found: Directory = {}
        for start in range(at, at + entries * size, size):
            number, kind, count, inline = struct.unpack_from(self.order + self._entry, self.data, start)
            value = self._value(kind, count, inline)
            if number in _INSIDE and kind in (LONG, *POSITIONS, 16) and value.count == 1 and depth < 2:
                try:
                    found[number] = self.directory(int(value.values()[0]), depth + 1)[0]
                    continue
                except UnsupportedImage:
                    value = Tag(0, 0, b"")
            found.setdefault(number, value)
        at += entries * size
        ends = at + struct.calcsize(self.order + self._position) > len(self.data)  # as in some blocks of EXIF
        return found, 0 if ends or depth else self._number(self._position, at)

    def _value(self, kind: int, count: int, inline: bytes) -> Tag:
        size = _SIZES.get(kind, 0) * count
        data = inline[:size]
        if size > len(inline):
            start = struct.unpack(self.order + self._position, inline)[0]
            if start + size > len(self.data):
                return Tag(0, 0, b"")
            self._taken += size
            self.limits.check(0, memory=self._taken)
            data = bytes(self.data[start : start + size])
        if not size:
            return Tag(0, 0, b"")
        if self.order == ">" and _WORDS[kind][1] != "1":
            word = np.dtype(">" + _WORDS[kind])
            data = np.frombuffer(data, word).astype(word.newbyteorder("<")).tobytes()
        return Tag(kind, count, data)


def parse(block: bytes, limits: Limits) -> tuple[Directory, bool]:
    """The first directory of a block, and whether there are more. Raises UnsupportedImage."""
    reader = Reader(block, limits)
    directory, following = reader.directory(reader.first)
    return directory, bool(following)


def header(big: bool, first: int) -> bytes:
    """The head of a little-endian file whose first directory is at a position."""
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if big else struct.pack("<2sHL", b"II", 42, first)


def pack(directory: Directory, start: int, big: bool = False) -> tuple[bytes, int]:
    """The bytes of a directory that will stand at `start`, which is even, and where in them the next's position is."""
    entry, position, size = ("<HHQ", "<Q", 8) if big else ("<HHL", "<L", 4)
    head = bytearray(struct.pack("<Q" if big else "<H", len(directory)))
    next_at = len(head) + len(directory) * (struct.calcsize(entry) + size)
    tail = bytearray()
    for number in sorted(directory):
        value = directory[number]
        at = start + next_at + size + len(tail)
        if isinstance(value, dict):
            tail += pack(value, at, big)[0]
            value = Tag(16 if big else LONG, 1, struct.pack(position, at))
        elif len(value.data) > size:
            tail += value.data
            value = replace(value, data=struct.pack(position, at))
        tail += bytes(len(tail) % 2)
        head += struct.pack(entry, number, value.kind, value.count) + value.data.ljust(size, b"\0")
    return bytes(head) + bytes(size) + bytes(tail), next_at


def block(directory: Directory) -> bytes:
    """A little-endian TIFF header and the directory."""
    return header(False, 8) + pack(directory, 8)[0]
