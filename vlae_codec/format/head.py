"""What stands before the streams of a file: header and metadata, from an open file, of which no more is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from vlae_codec.errors import CorruptFile, TruncatedFile
from vlae_codec.format.chunks import CRC, DAMAGED, checksum, read_varint
from vlae_codec.format.container import START, Contents, Metadata, check_start, read_header, unpack_metadata
from vlae_codec.limits import DEFAULT, Limits

_LEAD = 10  # bytes of a type and the longest length


def read_head(file: BinaryIO, limits: Limits = DEFAULT) -> Contents:
    """Header and metadata of a file that can seek, without parts; their checksums are verified, the streams not read.

    Raises NotAVlaeFile, UnsupportedVersion, TruncatedFile, CorruptFile and ImageTooLarge (for a header and metadata of
    more bytes than the limit of memory).
    """
    file.seek(0)
    start = file.read(START)
    check_start(start)
    chunks = _chunks(file, start, limits)
    kind, chunk, _ = next(chunks)
    if kind != b"H":
        raise CorruptFile(f"the first chunk is not the header: {DAMAGED}")
    header = read_header(start + chunk)
    metadata: list[Metadata] = []
    for kind, chunk, payload in chunks:
        if kind == b"m":
            metadata.append(unpack_metadata(memoryview(chunk)[payload : -CRC.size], header))
    return Contents(header, (), tuple(metadata))


def _chunks(file: BinaryIO, start: bytes, limits: Limits) -> Iterator[tuple[bytes, bytes, int]]:
    """(type, bytes, where in these the payload begins) of the chunks before chunk D; of adapters no bytes."""
    end, position, taken = file.seek(0, os.SEEK_END), len(start), 0
    while True:
        file.seek(position)
        lead = file.read(_LEAD)
        kind = lead[:1]
        if kind == b"D":
            return
        if lead and not kind.isalpha():
            raise CorruptFile(f"byte {position} is no chunk type: {DAMAGED}")
        length, payload = read_varint(lead, 1)
        size = payload + length + CRC.size
        if position + size > end:
            raise TruncatedFile(f"the file ends early, inside a chunk that starts at byte {position}: {DAMAGED}")
        chunk = b""
        if kind in (b"H", b"m"):
            taken += size
            limits.check(0, memory=taken)
            file.seek(position)
            chunk = file.read(size)
            before = start if position == len(start) else b""
            if checksum([before, chunk[: -CRC.size]]) != CRC.unpack(chunk[-CRC.size :])[0]:
                raise CorruptFile(f"wrong checksum of the chunk at byte {position}: {DAMAGED}")
        yield kind, chunk, payload
        position += size
