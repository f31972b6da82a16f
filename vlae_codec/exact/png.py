"""The recipe of a PNG file: its chunks, the filters of its rows, and its deflate stream.

A file is what stands before its IDAT chunks, these, and what stands behind. Pixels and filters give the bytes that were
packed; `stream` has how. Checksums are computed; where one of a file is wrong, it is in the recipe.

    number   flags: 1 the next blobs have checksums, 2 some IDAT chunks have a wrong one, 4 the stream's is wrong
    blobs    what stands behind the signature and before IDAT, and what stands behind IDAT, without checksums
    column   flag 2: steps to chunks with a wrong checksum; a blob has these
    column   size of all IDAT chunks but the last, or all sizes
    2 bytes  header of the stream
    blob     flag 4: what follows the blocks of the stream instead of its Adler-32
    filters  number of the rule, of RULES; column: steps to rows with other filters; if there are any, column: filters
    column   steps to bytes of filtered rows that are others; if there are any, column: their values
    blob     what was packed behind the last row
    stream   as `stream` says
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlae_codec.exact import filters, stream
from vlae_codec.exact.packing import Reader, Writer, damaged
from vlae_codec.images.picture import Picture
from vlae_codec.limits import Limits
from vlae_codec.native import deflate

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MORE = 1 << 16  # bytes behind the last row that a stream may hold
# What many files have, for the dictionary.
USUAL = (
    b"IDAT\0\0\0\x0ctIME\x07\xe0\0\0\0\x20tEXtSoftware\0Adobe ImageReady\0\0\0\x25tEXtdate:create\x00202"
    b"\0\0\0\x25tEXtdate:modify\x00202\0\0\0\x01bKGD\0\0\0\x06bKGD\0\0\0\0\0\0\0\0\0\x20cHRM\0\0z%\0\0\x80\x83"
    b"\0\0\xf9\xff\0\0\x80\xe9\0\0u0\0\0\xea`\0\0:\x98\0\0\x17o\0\0\0\x01tRNS\0\0\0\x03PLTE\0\0\0\x04sBIT\x08\x08\x08\x08"
    b"\0\0\0\x09pHYs\0\0\x0b\x13\0\0\x0b\x13\x01\0\0\0\x04gAMA\0\x01\x86\xa0\0\0\0\x04gAMA\0\0\xb1\x8f\0\0\0\x01sRGB\0"
    b"\0\0\0\0IEND"
)


def dictionary(pictures: Sequence[Picture]) -> bytes:
    """What maker and reader of a recipe both have: metadata, palette and size of the first picture."""
    first = pictures[0]
    height, width = first.pixels.shape[:2]
    colour = {"P": 3, "LA": 4, "RGBA": 6, "RGB": 2}.get(first.mode, 0)
    known = [first.metadata[key] for key in sorted(first.metadata) if key != "file"]
    if first.palette is not None:
        known.append(first.palette.tobytes() + b"tRNS" + first.palette[:, 3:].tobytes())
        known.append(struct.pack(">I", 3 * len(first.palette)) + b"PLTE" + first.palette[:, :3].tobytes())
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, first.bits, colour, 0, 0, 0)
    return b"".join(known) + USUAL + SIGNATURE + header + b"\0\0\0\x04gAMA\0\0\xb1\x8f\0\0\0\x01sRGB\0"


@dataclass
class _Parts:
    """A file as its parts."""

    before: bytes
    chunks: list[tuple[bytes, bytes]]  # data and checksum of each IDAT chunk
    behind: bytes


def _split(file: bytes) -> _Parts | None:
    chunks: list[tuple[bytes, bytes]] = []
    at, begin, end = len(SIGNATURE), 0, 0
    while at + 12 <= len(file):
        size, kind = struct.unpack_from(">I4s", file, at)
        if at + 12 + size > len(file):
            break
        if kind == b"IDAT":
            if chunks and at != end:
                return None
            begin, end = begin if chunks else at, at + 12 + size
            chunks.append((file[at + 8 : end - 4], file[end - 4 : end]))
        at += 12 + size
    return _Parts(file[:begin], chunks, file[end:]) if chunks else None


def _checksum(chunk: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))


def _bare(data: bytes) -> bytes | None:
    """Chunks without their checksums, and what stands behind IEND; None unless all of them are right."""
    out, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (0, b"")
        end = at + 8 + size
        if end + 4 > len(data) or _checksum(data[at + 4 : end]) != data[end : end + 4]:
            return None
        out.append(data[at:end])
        at = end + 4
        if kind == b"IEND":
            out.append(data[at:])
            break
    return b"".join(out)


def _checked(bare: bytes) -> bytes:
    """The inverse of `_bare`."""
    out, at = [], 0
    while at < len(bare):
        size, kind = struct.unpack_from(">I4s", bare, at) if at + 8 <= len(bare) else (1 << 32, b"")
        end = at + 8 + size
        if end > len(bare):
            raise damaged()
        out += [bare[at:end], _checksum(bare[at + 4 : end])]
        at = end
        if kind == b"IEND":
            out.append(bare[at:])
            break
    return b"".join(out)


def _passes(before: bytes, picture: Picture) -> tuple[list[np.ndarray], int] | None:
    """The rows of the passes and the bytes of a pixel, by the file's header; None if it does not fit the pixels."""
    if len(before) < 33 or before[:8] != SIGNATURE or before[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", before, 16)
    if depth not in filters.DEPTHS.get(colour, ()) or interlaced > 1 or (height, width) != picture.pixels.shape[:2]:
        return None
    values = filters.samples(picture.pixels, colour, depth)
    if values is None:
        return None
    return filters.scanlines(values, depth, interlaced == 1), max(1, depth * filters.CHANNELS[colour] // 8)


def _sizes(sizes: Sequence[int]) -> list[int]:
    """One number where all chunks but the last are of this size, and the last is not larger; else all."""
    usual = all(size == sizes[0] for size in sizes[:-1]) and 0 < sizes[-1] <= sizes[0]
    return [sizes[0]] if usual else list(sizes)


def make(out: Writer, file: bytes, pictures: Sequence[Picture]) -> bool:
    """Writes the recipe. False: the file is none that its picture's pixels make."""
    parts = _split(file)
    if parts is None or len(pictures) != 1:
        return False
    found = _passes(parts.before, pictures[0])
    if found is None:
        return False
    passes, step = found
    rows = sum(map(len, passes))
    expected = sum(map(np.size, passes)) + rows
    data = b"".join(chunk for chunk, _ in parts.chunks)
    if len(data) < 2 or data[0] & 15 != 8 or data[0] >> 4 > 7 or data[1] & 32:
        return False
    packed = deflate.inflate(data[2:], expected + MORE)
    if packed is None or len(packed.plain) < expected:
        return False
    starts = np.cumsum([0, *(1 + p.shape[1] for p in passes for _ in range(len(p)))])[:-1]
    kinds = packed.plain[starts]
    if kinds.max() > 4:
        return False
    bare = _bare(parts.before[8:]), _bare(parts.behind)
    kept = bare[0] is None or bare[1] is None
    wrong = [i for i, (chunk, check) in enumerate(parts.chunks) if _checksum(b"IDAT" + chunk) != check]
    adler = struct.pack(">I", zlib.adler32(packed.plain.data))
    rest = data[2 + packed.size :]
    usual = rest == adler
    out.number(kept + 2 * bool(wrong) + 4 * (not usual))
    for part, stripped in zip((parts.before[8:], parts.behind), bare):
        out.blob(part if kept or stripped is None else stripped)
    if wrong:
        out.column(np.diff(wrong, prepend=0))
        out.blob(b"".join(parts.chunks[i][1] for i in wrong))
    out.column(_sizes([len(chunk) for chunk, _ in parts.chunks]))
    out.data += data[:2]
    if not usual:
        out.blob(rest)
    filters.write(out, kinds, passes, step)
    rebuilt = filters.apply(passes, kinds, step)
    different = np.flatnonzero(rebuilt != packed.plain[:expected])
    out.column(np.diff(different, prepend=0))
    if len(different):
        out.column(packed.plain[different])
    out.blob(packed.plain[expected:].tobytes())
    stream.write(out, packed, np.frombuffer(data, np.uint8, offset=2), max(9, (data[0] >> 4) + 8))
    return True


def restore(source: Reader, pictures: Sequence[Picture], limits: Limits) -> bytes:
    """The file. Raises CorruptFile and ImageTooLarge."""
    flags = source.number()
    parts = [source.blob(), source.blob()]
    if not flags & 1:
        parts = [_checked(part) for part in parts]
    before, behind = SIGNATURE + parts[0], parts[1]
    found = _passes(before, pictures[0])
    if found is None or len(pictures) != 1:
        raise damaged()
    passes, step = found
    wrong = np.cumsum(source.column()) if flags & 2 else np.zeros(0, np.int64)
    checksums = source.blob() if flags & 2 else b""
    sizes, header = source.column(), source.take(2)
    rest = source.blob() if flags & 4 else None
    plain = filters.apply(passes, filters.read(source, passes, step), step)
    places = np.cumsum(source.column())
    if len(places):
        values = source.column()
        if len(values) != len(places) or places.max() >= len(plain) or values.max() > 255:
            raise damaged()
        plain[places] = values
    if more := source.blob():
        plain = np.concatenate((plain, np.frombuffer(more, np.uint8)))
    packed = stream.read(source, plain, limits)
    data = header + packed + (struct.pack(">I", zlib.adler32(plain.data)) if rest is None else rest)
    if not len(sizes) or (len(sizes) == 1 and sizes[0] == 0):
        raise damaged()
    count = -(-len(data) // int(sizes[0])) if len(sizes) == 1 else len(sizes)
    limits.check(0, memory=len(data) + 256 * count)
    if len(sizes) == 1:
        sizes = np.full(count, sizes[0])
        sizes[-1] = len(data) - int(sizes[:-1].sum())
    ends = np.cumsum(sizes)
    if int(ends[-1]) != len(data) or len(checksums) != 4 * len(wrong) or (len(wrong) and wrong.max() >= len(sizes)):
        raise damaged()
    chunks = [b"IDAT" + data[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist())]
    checks = [_checksum(chunk) for chunk in chunks]
    for k, i in enumerate(wrong):
        checks[i] = checksums[4 * k : 4 * k + 4]
    lengths = [struct.pack(">I", len(chunk) - 4) for chunk in chunks]
    return before + b"".join(b"".join(chunk) for chunk in zip(lengths, chunks, checks)) + behind
