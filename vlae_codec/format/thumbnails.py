"""Chunk t, a small lossy picture for listings and file managers: a whole WebP or JPEG file. No pixel depends on it.

A file has one at most that counts, the first. A writer SHOULD put it right behind chunk H, so that it is found in
the first bytes. A reader MUST NOT take it for the picture, and MUST limit its size before it decodes it.
"""

from __future__ import annotations

import zlib

from vlae_codec.errors import CorruptFile
from vlae_codec.format.chunks import CRC, DAMAGED, beginning, pack, read_varint
from vlae_codec.format.container import START, Bytes, Fetch

KIND = b"t"


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """A good .vlae file with a thumbnail behind its header."""
    length, payload = read_varint(data, START + 1)
    end = payload + length + CRC.size
    whole = b"".join([data[:end], pack(KIND, thumbnail), data[end : -CRC.size]])
    return whole + CRC.pack(zlib.crc32(whole))


def thumbnail_in(data: Bytes) -> bytes | None:
    """The thumbnail of a .vlae file. Raises CorruptFile."""
    view = memoryview(data)
    return find_thumbnail(lambda offset, size: bytes(view[offset : offset + size]), len(data))


def find_thumbnail(fetch: Fetch, length: int) -> bytes | None:
    """The same of a file of so many bytes, of which only those before its streams are fetched."""
    head = beginning(fetch, START, length)
    position = START
    while head[position : position + 1] != b"D":
        size, payload = read_varint(head, position + 1)
        end = payload + size
        if head[position : position + 1] == KIND:
            if zlib.crc32(head[position:end]) != CRC.unpack_from(head, end)[0]:
                raise CorruptFile(f"wrong checksum of the thumbnail: {DAMAGED}")
            found = head[payload:end]
            return found if found.startswith(b"\xff\xd8\xff") or found[8:12] == b"WEBP" else None
        position = end + CRC.size
    return None
