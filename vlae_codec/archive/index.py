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
from typing import NamedTuple

from vlae_codec.errors import CorruptFile
from vlae_codec.format.chunks import CRC, DAMAGED, pack_varint, read_varint

MAGIC = b"\xf6VLAR\r\n\x1a"
VERSION = 1
START = MAGIC + bytes([VERSION])
FOOTER = struct.Struct("<QQII8s")
END = b"\xf6\x1a\n\rRALV"
PAGE_MEMBERS = 1024
PAGE_BYTES = 1 << 22  # of a page that is inflated, at most
COLUMNS = 10
UNITS = (9, 6, 3, 0)


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


def unsigned(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def signed(value: int) -> int:
    return value >> 1 if not value & 1 else -(value >> 1) - 1


def pack_end(pages: Sequence[Page], previous: int) -> bytes:
    """The root and the footer of an archive of these pages."""
    out, end = bytearray(pack_varint(len(pages))), 0
    for page in pages:
        out += pack_varint(page.members) + pack_varint(unsigned(page.offset - end)) + pack_varint(page.length)
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
        offset = end + signed(gap)
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
