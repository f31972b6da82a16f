"""Chunks of PNG: in a file, and in the metadata of a picture.

The key "png" of `Picture.metadata` holds the ancillary chunks of a file in their order, each as its length (4 bytes,
big-endian), its type (4 bytes) and its data, without the checksum. Among them stand marks of what has a place of its
own. Their types begin with "=", as no chunk's does, or are IDAT:

=icc   the chunk iCCP of the key "icc": the profile's name, a NUL, and the level (0 .. 9), window bits (9 .. f) and
       strategy (0 or 1) with which zlib gives the chunk's very bytes
=pal   the chunk PLTE of the palette; what follows is behind it
=alp   the chunk tRNS of the palette, without the opaque colours at its end
=res   the chunk pHYs of the key "resolution"
=exi   the chunk eXIf of the key "exif"
=xmp   the chunk iTXt of the key "xmp", not compressed; or level, window bits and strategy
IDAT   the pixels; what follows is behind them

A chunk that would not come back byte for byte from its mark stands there itself. A picture whose marks are where
`png_places` puts them anyway has no key "png".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vlae_codec.errors import CorruptFile, ImageTooLarge, UnsupportedImage
from vlae_codec.limits import Limits

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # of the types of colour
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHUNK_MEMORY = 256  # bytes that a chunk takes beside its data while a file is read, at most
KNOWN = (  # what they say holds for the pixels, however a file holds them
    *(
        b"PLTE",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"cICP",
        b"mDCV",
        b"cLLI",
        b"iCCP",
        b"bKGD",
        b"tRNS",
        b"sBIT",
        b"sPLT",
        b"hIST",
    ),
    *(b"tIME", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"eXIf", b"oFFs", b"pCAL", b"sCAL", b"sTER"),
)
MARKS = (b"=icc", b"=pal", b"=alp", b"=res", b"=exi", b"=xmp")
MEANING = (b"=pal", b"=alp", b"IDAT", b"tRNS")  # is no metadata
COLOURS = (b"=icc", b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM")

Chunk = tuple[bytes, bytes]  # type, data


class Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def channels(self) -> int:
        return CHANNELS[self.colour]

    def stride(self, width: int) -> int:
        """Bytes of a row of so many pixels."""
        return (width * self.channels * self.depth + 7) // 8


def damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged image (PNG: {what}): get a fresh copy of it")


def read_header(data: bytes | memoryview) -> Header:
    """The header of a file that begins with these bytes, 33 or more. Raises UnsupportedImage."""
    if data[:8] != SIGNATURE or len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise damaged("it does not begin with a header")
    body = bytes(data[16:29])
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise damaged("the checksum of its header is wrong")
    width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
    depth, colour, compression, filters, interlace = body[8:]
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise damaged(f"a size of {width}x{height}")
    if depth not in DEPTHS.get(colour, ()):
        raise damaged(f"{depth} bits of colour type {colour}")
    if compression or filters or interlace > 1:
        raise damaged("an unknown method of compression, filtering or interlacing")
    return Header(width, height, depth, colour, interlace == 1)


def read_chunks(data: bytes, limits: Limits) -> tuple[list[tuple[bytes, memoryview]], list[str]]:
    """The chunks of a file between its header and its end, and notes. Raises UnsupportedImage, ImageTooLarge.

    An ancillary chunk whose checksum is wrong is left out and noted.
    """
    view, at = memoryview(data), 33
    chunks: list[tuple[bytes, memoryview]] = []
    notes: list[str] = []
    most = limits.memory // CHUNK_MEMORY
    while True:
        length, kind, body = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8]), at + 8
        if body + length + 4 > len(data):
            raise damaged("it ends too early")
        if not (kind.isalpha() and kind.isascii()) or length >> 31:
            raise damaged("a chunk without a name")
        at = body + length + 4
        intact = zlib.crc32(view[body - 4 : at - 4]) == int.from_bytes(view[at - 4 : at], "big")
        if not intact and kind[:1].isupper():
            raise damaged(f"the checksum of {kind.decode()} is wrong")
        if kind == b"IEND":
            break
        if intact:
            chunks.append((kind, view[body : at - 4]))
        else:
            notes.append(f"the damaged chunk {kind.decode()}")
        if len(chunks) + len(notes) > most:
            raise ImageTooLarge(f"a PNG of more than {most} chunks: allow more by --max-memory or Limits(memory=...)")
    if at < len(data):
        notes.append(f"{len(data) - at} bytes after the end of the picture")
    return chunks, notes


def chunk(kind: bytes, data: bytes | memoryview) -> bytes:
    """A chunk as it stands in a file."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(data, zlib.crc32(kind)).to_bytes(4, "big")


def pack(entries: Iterable[Chunk]) -> bytes:
    """The metadata "png" of chunks and marks."""
    return b"".join(len(data).to_bytes(4, "big") + kind + data for kind, data in entries)


def unpack(packed: bytes) -> Iterator[Chunk]:
    """The inverse of `pack`. Raises CorruptFile."""
    at, pixels = 0, 0
    while at < len(packed):
        begin, end = at + 8, at + 8 + int.from_bytes(packed[at : at + 4], "big")
        kind = packed[at + 4 : begin]
        pixels += kind == b"IDAT"
        named = kind.isalpha() and (kind[:1].islower() or kind == b"PLTE" or (kind == b"IDAT" and end == begin))
        if end > len(packed) or end - begin >= 1 << 31 or not (named or kind in MARKS) or pixels > 1:
            raise CorruptFile("the PNG chunks of the metadata are damaged: get a fresh copy of the file")
        yield kind, packed[begin:end]
        at = end


def strip(packed: bytes, colours: bool) -> bytes:
    """What stays of the metadata "png": what pixels mean and, if wanted, what their colours are."""
    kept = [entry for entry in unpack(packed) if entry[0] in MEANING or (colours and entry[0] in COLOURS)]
    return pack(kept) if any(kind not in (b"=pal", b"=alp", b"IDAT") for kind, _ in kept) else b""


def describe(packed: bytes) -> Iterator[str]:
    """A line for each chunk that is no mark."""
    for kind, data in unpack(packed):
        if kind[:1] == b"=" or kind == b"IDAT":
            continue
        name = kind.decode("latin-1")
        keyword, _, text = data.partition(b"\0")
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"sPLT"):
            line = f"{name} {keyword[:80].decode('latin-1')}: "
            line += shorten(text) if kind == b"tEXt" else f"{len(text)} bytes"
        elif kind == b"gAMA" and len(data) == 4:
            line = f"gAMA: {int.from_bytes(data, 'big') / 100000:g}"
        else:
            line = f"{name}: {data.hex(' ') if 0 < len(data) <= 16 else f'{len(data)} bytes'}"
        yield "".join(letter if letter.isprintable() else "?" for letter in line)


def shorten(text: bytes, most: int = 60) -> str:
    """The beginning of a text on one line."""
    decoded = text[: 4 * most].decode("utf-8", "replace" if len(text) > 4 * most else "backslashreplace")
    line = "".join(letter if letter.isprintable() else " " for letter in decoded).strip()
    return line if len(line) <= most else line[: most - 3] + "..."
