"""Chunks, the parts of a .vlae file after its header: type, length, payload, CRC32. The rules stand in `container`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from vlae_codec.errors import CorruptFile, TruncatedFile

CRC = struct.Struct("<I")
HEAD = 10  # bytes of a chunk before its payload, at most
WINDOW = 1 << 12  # bytes that are fetched first of a file
DAMAGED = "the file is damaged: get a fresh copy of it"


class Chunk(NamedTuple):
    """Where a chunk stands: offsets into the file."""

    kind: bytes
    start: int  # of the type
    payload: int
    end: int  # of the CRC32, right after the payload
    good: bool  # its checksum agrees


def pack(kind: bytes, payload: bytes, before: bytes = b"") -> bytes:
    """``before`` and a chunk whose checksum covers ``before`` too."""
    return b"".join(pack_parts(kind, [payload], before))


def pack_parts(kind: bytes, payload: Sequence[bytes], before: bytes = b"") -> list[bytes]:
    """The same in parts, of a payload in parts: none of them is copied."""
    parts = [before, kind + pack_varint(sum(map(len, payload))), *payload]
    return [*parts, CRC.pack(checksum(parts))]


def checksum(parts: Iterable[bytes | memoryview]) -> int:
    """The CRC32 of all parts, one after another."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def scan(data: bytes, position: int, whole: int | None = None) -> Iterator[Chunk]:
    """The chunks from ``position`` to chunk D, which must end the file.

    whole: bytes of the file, if ``data`` is its beginning up to the payload of chunk D, which is then called ``good``.
    The chunk after one that is not ``good`` is where its length, perhaps wrong, says; do not go on to it.
    Raises TruncatedFile or CorruptFile.
    """
    view = memoryview(data)
    first, kind = True, b""
    while kind != b"D":
        start, kind = position, data[position : position + 1]
        length, payload = read_varint(data, start + 1)
        end = payload + length
        position = end + CRC.size
        if position == whole and kind == b"D":
            yield Chunk(kind, start, payload, end, True)
            return
        if position > len(data):
            raise TruncatedFile(f"the file ends early, inside a chunk that starts at byte {start}: {DAMAGED}")
        covered_from = 0 if first or kind == b"D" else start
        good = zlib.crc32(view[covered_from:end]) == CRC.unpack_from(data, end)[0]
        yield Chunk(kind, start, payload, end, good)
        if not kind.isalpha():
            raise CorruptFile(f"byte {start} is no chunk type: {DAMAGED}")
        first = False
    if position != len(data):
        raise CorruptFile(f"{len(data) - position} stray bytes follow the end of the file: cut them off")


def scan_damaged(data: bytes, position: int) -> Iterator[Chunk]:
    """The chunks of a file that may be damaged or cut off, as far as they can be found; of chunk D, what is there.

    Where a chunk is not `good` its length may be wrong: then it is believed only if a good chunk, or the last one,
    stands behind it. Else all up to a chunk D that ends where the data end is passed by.
    """
    view, first, doubt, start = memoryview(data), True, 0, position
    while position < len(data):
        start, kind = position, data[position : position + 1]
        try:
            length, payload = read_varint(data, start + 1)
        except CorruptFile:
            break
        end = payload + length
        position = end + CRC.size
        if not first and (position == len(data) or (kind == b"D" and not doubt)):
            yield Chunk(b"D", start, payload, min(end, len(data)), False)
            return
        good = position <= len(data) and checksum([view[0 if first else start : end]]) == CRC.unpack_from(data, end)[0]
        if doubt and not good:
            break
        yield Chunk(kind, start, payload, min(end, len(data)), good)
        first, doubt = False, 0 if good else start + 1
    start = doubt or start
    while (start := data.find(b"D", start)) >= 0:
        try:
            length, payload = read_varint(data, start + 1)
        except CorruptFile:
            length, payload = -1, 0
        if payload + length + CRC.size == len(data):
            yield Chunk(b"D", start, payload, payload + length, False)
            return
        start += 1


def beginning(fetch: Callable[[int, int], bytes], position: int, length: int) -> bytes:
    """The bytes of a file up to the payload of chunk D. fetch: (offset, size) -> bytes of it; length: its bytes.

    Raises TruncatedFile or CorruptFile.
    """
    data = fetch(0, min(length, WINDOW))
    while True:
        if len(data) < min(length, position + HEAD):
            data += fetch(len(data), min(length, max(position + HEAD, 2 * len(data))) - len(data))
        kind, (size, payload) = data[position : position + 1], read_varint(data, position + 1)
        if kind == b"D":
            return data[:payload]
        position = payload + size + CRC.size
        if position >= length:
            raise TruncatedFile(f"the file ends early, before its data: {DAMAGED}")


def pack_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The number and the position after it. Raises TruncatedFile or CorruptFile."""
    value = 0
    for shift in range(0, 63, 7):
        if position >= len(data):
            raise TruncatedFile(f"the file ends early, inside a length: {DAMAGED}")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 and shift:
                break  # not the shortest form
            return value, position
    raise CorruptFile(f"a malformed length before byte {position}: {DAMAGED}")
