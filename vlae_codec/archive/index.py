"""The bytes of an archive beside its groups, version 1. `docs/archive.md` is this docstring.

An archive holds pictures under names. Numbers are little-endian, ``u8 u16 u32 u64`` unsigned; ``varint`` and CRC32 are
those of a .vlae file. A ``signed`` number n is the varint 2 n, or -2 n - 1 if n < 0.

    archive = magic, version, { group | page | root, footer }, root, footer

    offset bytes field
       0     8   magic       F6 56 4C 41 52 0D 0A 1A: as of a .vlae file, but "VLAR"
       8     1   version     u8 1; a reader MUST refuse any other

A group is a whole .vlae file of one or more pictures. A page describes members, the root lists the pages, and the
footer ends the archive. To append is to write groups, pages, a root and a footer behind the last footer; older roots
stay where they are and mean nothing any more. A reader that finds no valid footer at the end of the file MUST take the
last valid one before it, and what stands behind that is not part of the archive: so an append that was cut off has not
happened, and the next one is written over it. A footer is valid if its magic and its own CRC32 are right and the root
before it has the CRC32 that it gives.

    footer = root length u64, previous u64, CRC32 of the root u32, CRC32 of the 20 bytes before u32,
             magic F6 1A 0A 0D 52 41 4C 56                                            32 bytes, right behind the root

``previous`` is where the footer before ends, 0 if there is none.

    root = pages varint, then of each page: members varint, 1 .. 1024; gap signed, its offset less the end of the page
           before (0 for the first); length varint; CRC32 u32 of its bytes

The pages are listed in the order of their members.

    page = deflate (zlib) of: groups varint, then of each group: gap signed, its offset less the end of the group before
           (0 for the first), length varint; unit u8, 0, 3, 6 or 9; ten columns; three columns of lengths; letters

What a page inflates to MUST NOT be longer than 4 MiB. A column has one number for each member, one member after the
other. The numbers of the ten columns are ``signed`` differences from the member before (0 for the first), but for the
second, of which they are differences from the end of the last member of this page in the same group (0 if none).

    column        value
    group         which of the page's groups the member is in
    first         the number of its first picture in the group
    count         its pictures: frames or pages, 1 or more
    width         of the first picture, pixels
    height        of the first picture, pixels
    mode          of the first picture, as in the header of a .vlae file: 0 .. 14
    bits          a sample of the first picture, 1 .. 64
    time          of the file's last change, in units of 10^unit nanoseconds since 1970-01-01 00:00 UTC; 0 if not known
    permissions   of the file, 0 .. 511; 0 if not known
    size          bytes of the file if the very file comes back, else 0

The names follow: of each member how many bytes its name has in common with that of the member before from the start,
of each how many from the end, of each how many stand between, all varint; then those bytes of all members. A name is
UTF-8 of 1 to 4096 bytes, has / between its parts, and no part MUST be empty, "." or "..", or hold a null byte. All
names of an archive are different.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np

from vlae_codec.archive.names import LONGEST, problem_of
from vlae_codec.errors import CorruptFile
from vlae_codec.format.chunks import CRC, DAMAGED, pack_varint, read_varint
from vlae_codec.format.header import MODES

MAGIC = b"\xf6VLAR\r\n\x1a"
VERSION = 1
START = MAGIC + bytes([VERSION])
FOOTER = struct.Struct("<QQII8s")
END = b"\xf6\x1a\n\rRALV"
PAGE_MEMBERS = 1024
PAGE_BYTES = 1 << 22  # of a page that is inflated, at most
COLUMNS = 10
UNITS = (9, 6, 3, 0)


class Entry(NamedTuple):
    """A member, as the index knows it."""

    name: str
    offset: int  # of its group
    length: int
    first: int
    pictures: int
    width: int
    height: int
    mode: int
    bits: int
    time: int  # nanoseconds, 0 if not known
    permissions: int
    size: int


class Page(NamedTuple):
    """Where the entries of some members stand."""

    members: int
    offset: int
    length: int
    crc: int


class Footer(NamedTuple):
    root: int  # offset
    length: int
    previous: int
    crc: int

    @property
    def end(self) -> int:
        return self.root + self.length + FOOTER.size


def pack_page(entries: Sequence[Entry]) -> bytes:
    """The page of 1 .. 1024 members."""
    found = list(dict.fromkeys((entry.offset, entry.length) for entry in entries))
    groups = {place: number for number, place in enumerate(found)}
    out, end = bytearray(pack_varint(len(groups))), 0
    for offset, length in found:
        out += pack_varint(_unsigned(offset - end)) + pack_varint(length)
        end = offset + length
    unit = next(unit for unit in UNITS if all(entry.time % 10**unit == 0 for entry in entries))
    out.append(unit)
    ends: dict[int, int] = {}
    rows = []
    for entry in entries:
        group = groups[entry.offset, entry.length]
        rows.append([group, entry.first - ends.get(group, 0), *entry[4:9], entry.time // 10**unit, *entry[10:]])
        ends[group] = entry.first + entry.pictures
    for i in range(COLUMNS):
        before = 0
        for row in rows:
            out += pack_varint(_unsigned(row[i] - before))
            before = row[i] if i != 1 else 0
    names = [entry.name.encode() for entry in entries]
    shared = [_shared(name, before) for name, before in zip(names, [b"", *names])]
    for column in zip(*[(head, tail, len(name) - head - tail) for name, (head, tail) in zip(names, shared)]):
        out += b"".join(map(pack_varint, column))
    out += b"".join(name[head : len(name) - tail] for name, (head, tail) in zip(names, shared))
    return zlib.compress(bytes(out), 9)


def _unsigned(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _signed(value: int) -> int:
    return value >> 1 if not value & 1 else -(value >> 1) - 1


def _shared(name: bytes, before: bytes) -> tuple[int, int]:
    """How many bytes of a name are those of the one before, from the start and from the end."""
    most = min(len(name), len(before))
    head = next((i for i in range(most) if name[i] != before[i]), most)
    return head, next((i for i in range(most - head) if name[-1 - i] != before[-1 - i]), most - head)


class Entries(Sequence[Entry]):
    """The members of a page; each is made when it is asked for. Raises CorruptFile for a name that none may have."""

    def __init__(
        self, names: Sequence[bytes], groups: Sequence[tuple[int, int]], columns: Sequence[Sequence[int]]
    ) -> None:
        self.names, self.groups, self.columns = names, groups, columns

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, key: int) -> Entry: ...

    @overload
    def __getitem__(self, key: slice) -> list[Entry]: ...

    def __getitem__(self, key: int | slice) -> Entry | list[Entry]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        try:
            name = self.names[key].decode()
        except UnicodeDecodeError:
            name = ""
        if problem_of(name) is not None:
            raise CorruptFile(f"a malformed name in the archive's index: {DAMAGED}")
        which, *others = (column[key] for column in self.columns)
        return Entry(name, *self.groups[which], *others)


def unpack_page(data: bytes, page: Page) -> Entries:
    """The members that a page describes; nothing is believed. Raises CorruptFile."""
    if zlib.crc32(data) != page.crc or len(data) != page.length:
        raise CorruptFile(f"wrong checksum of a page of the archive's index: {DAMAGED}")
    inflating = zlib.decompressobj()
    try:
        raw = inflating.decompress(data, PAGE_BYTES)
    except zlib.error as error:
        raise CorruptFile(f"a page of the archive's index cannot be inflated: {DAMAGED}") from error
    if not inflating.eof or inflating.unused_data:
        raise CorruptFile(f"a page of the archive's index is too long: {DAMAGED}")
    count, position = read_varint(raw, 0)
    groups, end = [], 0
    for _ in range(count):  # each takes bytes of the page
        gap, position = read_varint(raw, position)
        length, position = read_varint(raw, position)
        offset = end + _signed(gap)
        end = offset + length
        groups.append((offset, length))
    unit = raw[position] if position < len(raw) else 255
    members = page.members
    numbers, position = _varints(raw, position + 1, (COLUMNS + 3) * members)
    table = numbers[: COLUMNS * members].reshape(COLUMNS, members)
    table = (table >> 1) ^ -(table & 1)
    values = np.cumsum(table, axis=1)
    group, pictures = values[0].tolist(), values[2].tolist()
    ends = dict[int, int]()
    for i, (which, ahead) in enumerate(zip(group, table[1].tolist())):
        values[1, i] = (ends.get(which, 0) + ahead) % (1 << 62)
        ends[which] = int(values[1, i]) + pictures[i]
    good = all(len(START) <= offset < 1 << 62 and 0 < length < 1 << 62 for offset, length in groups)
    late = (1 << 62) // 10**unit
    least = np.array([0, 0, 1, 1, 1, 0, 1, -late, 0, 0])[:, None]
    most = np.array([len(groups), *[1 << 32] * 4, len(MODES), 65, late, 512, 1 << 62])[:, None]
    if not good or unit not in UNITS or (values < least).any() or (values >= most).any():
        raise CorruptFile(f"impossible values of a member in the archive's index: {DAMAGED}")
    columns = values.tolist()
    columns[7] = [time * 10**unit for time in columns[7]]
    names = _names(raw[position:], numbers[COLUMNS * members :].reshape(3, members).tolist())
    return Entries(names, groups, columns)


def _varints(raw: bytes, position: int, count: int) -> tuple[np.ndarray, int]:
    """So many varints (count,) int64, and the position after them."""
    data = np.frombuffer(raw, np.uint8, offset=min(position, len(raw)))
    ends = np.flatnonzero(data < 128)[:count] + 1
    if len(ends) < count:
        raise CorruptFile(f"a page of the archive's index ends early: {DAMAGED}")
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    lengths = ends - starts
    if lengths.max() > 9 or (data[ends - 1][lengths > 1] == 0).any():
        raise CorruptFile(f"a malformed number in the archive's index: {DAMAGED}")
    data = data[: ends[-1]]
    places = np.arange(len(data)) - np.repeat(starts, lengths)
    values = np.add.reduceat((data & 127).astype(np.int64) << 7 * places, starts)
    return values, position + int(ends[-1])


def _names(letters: bytes, lengths: Sequence[Sequence[int]]) -> list[bytes]:
    names, before, position = [], b"", 0
    for head, tail, between in zip(*lengths):
        size = head + tail + between
        if head + tail > len(before) or size > LONGEST:
            raise CorruptFile(f"a malformed name in the archive's index: {DAMAGED}")
        before = before[:head] + letters[position : position + between] + before[len(before) - tail :]
        position += between
        if len(before) != size:
            raise CorruptFile(f"a malformed name in the archive's index: {DAMAGED}")
        names.append(before)
    if position != len(letters):
        raise CorruptFile(f"a page of the archive's index is too long: {DAMAGED}")
    return names


def pack_end(pages: Sequence[Page], previous: int) -> bytes:
    """The root and the footer of an archive of these pages."""
    out, end = bytearray(pack_varint(len(pages))), 0
    for page in pages:
        out += pack_varint(page.members) + pack_varint(_unsigned(page.offset - end)) + pack_varint(page.length)
        out += CRC.pack(page.crc)
        end = page.offset + page.length
    footer = FOOTER.pack(len(out), previous, zlib.crc32(out), 0, END)[:20]
    return bytes(out) + footer + CRC.pack(zlib.crc32(footer)) + END


def unpack_root(data: bytes, before: int) -> list[Page]:
    """The pages that a root lists, all of them in the first `before` bytes of the archive. Raises CorruptFile."""
    count, position = read_varint(data, 0)
    pages, end = [], 0
    for _ in range(count):  # each takes bytes of the root
        members, position = read_varint(data, position)
        gap, position = read_varint(data, position)
        length, position = read_varint(data, position)
        offset = end + _signed(gap)
        end = offset + length
        if position + CRC.size > len(data) or not 1 <= members <= PAGE_MEMBERS:
            raise CorruptFile(f"the root of the archive's index is malformed: {DAMAGED}")
        if not (len(START) <= offset and end <= before):
            raise CorruptFile(f"a page of the archive's index lies outside the archive: {DAMAGED}")
        pages.append(Page(members, offset, length, CRC.unpack_from(data, position)[0]))
        position += CRC.size
    if position != len(data):
        raise CorruptFile(f"the root of the archive's index is too long: {DAMAGED}")
    return pages


def unpack_footer(data: bytes, end: int) -> Footer | None:
    """The footer whose 32 bytes end at a place of the file; None if they are none."""
    length, previous, crc, own, magic = FOOTER.unpack(data)
    root = end - FOOTER.size - length
    if magic != END or own != zlib.crc32(data[:20]) or root < len(START) or previous > root:
        return None
    return Footer(root, length, previous, crc)
