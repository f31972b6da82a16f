"""Pages of the index of an archive: what `index` says of them, written and read.

A page is read as columns of numbers; a member is made of these when it is asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np

from vlae_codec.archive.index import COLUMNS, PAGE_BYTES, START, UNITS, Page, signed, unsigned
from vlae_codec.archive.names import LONGEST, problem_of
from vlae_codec.errors import CorruptFile
from vlae_codec.format.chunks import DAMAGED, pack_varint, read_varint
from vlae_codec.format.header import MODES


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


def pack_page(entries: Sequence[Entry]) -> bytes:
    """The page of 1 .. 1024 members."""
    found = list(dict.fromkeys((entry.offset, entry.length) for entry in entries))
    groups = {place: number for number, place in enumerate(found)}
    out, end = bytearray(pack_varint(len(groups))), 0
    for offset, length in found:
        out += pack_varint(unsigned(offset - end)) + pack_varint(length)
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
            out += pack_varint(unsigned(row[i] - before))
            before = row[i] if i != 1 else 0
    names = [entry.name.encode() for entry in entries]
    shared = [_shared(name, before) for name, before in zip(names, [b"", *names])]
    for column in zip(*[(head, tail, len(name) - head - tail) for name, (head, tail) in zip(names, shared)]):
        out += b"".join(map(pack_varint, column))
    out += b"".join(name[head : len(name) - tail] for name, (head, tail) in zip(names, shared))
    return zlib.compress(bytes(out), 9)


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
        offset = end + signed(gap)
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
