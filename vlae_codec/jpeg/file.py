"""A JPEG file as its coefficients and a recipe, from which it is made again byte for byte.

    byte     how all that follows is packed: 0 as it is, 1 deflate with a dictionary, 2 LZMA2; plus 4 if it has passages
    numbers  if it has: how many; of each how many bytes of the file come before it, counted from the passage before
             (0: from the file's begin), where it begins in what is known, and its length, 1 or more
    byte     of all bits of padding, 255 for ones; 128: a number of bytes and the bytes follow, one for each interval
    bytes    the file without the entropy-coded data of its scans, and without the passages

Known are the values of the picture's metadata but for "file", in the order of their names, one behind the other; so a
profile or EXIF stands in a .vlae file once. The dictionary is a header such as libjpeg writes for the coefficients, so
tables of quantisation and usual tables of Huffman codes cost next to nothing. A number is written seven bits a byte,
the lowest first.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Sequence

import numpy as np

from vlae_codec.errors import CorruptFile, ImageTooLarge
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.likeness import likeness
from vlae_codec.jpeg.markers import Frame, Unlike, walk
from vlae_codec.jpeg.passages import Numbers, pack_number, passages
from vlae_codec.limits import Limits
from vlae_codec.native.jpeg import Scan, read_scan, write_scan

_RAW, _DEFLATE, _LZMA = 0, 1, 2
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 24, "pb": 0}]
_PASSAGES = 4
_LISTED = 128
_LARGE = 1000  # bytes of a recipe for which LZMA2 is tried; it takes a tenth of a second to begin
_HEADER = 1 << 26  # bytes, the most that a recipe unpacks to
_SECONDS, _MEMORY = 2e-7, 3 * 128  # of a block in a scan; bytes of a block


def split(data: bytes, limits: Limits, known: Sequence[bytes] = ()) -> tuple[Coefficients, bytes] | None:
    """Coefficients and recipe of a JPEG file (8 bits; sequential or progressive; Huffman codes). known: bytes that may
    stand in the file, in one piece or in several.

    None: it is no such file, it is damaged, its encoder makes other choices than the usual ones, or it is over limits.
    """
    frame, kept, padding, last = Frame(), [], [], 0

    def start(frame: Frame) -> None:
        _check(frame, limits)
        frame.blocks = [np.zeros((*frame.shape(i), 64), np.int16) for i in range(len(frame.sampling))]

    def scan(scan: Scan, at: int) -> int:
        nonlocal last
        _check(frame, limits)
        found = read_scan(scan, data, at)
        if found is None:
            raise Unlike
        kept.append(data[last:at])
        padding.append(found[1])
        last = at + found[0]
        return found[0]

    try:
        walk(data, frame, start, scan)
        if not frame.blocks or any(table is None for table in frame.used):
            return None
        kept.append(data[last:])
        tables = tuple(table for table in frame.used if table is not None)
        coefficients = Coefficients(frame.width, frame.height, frame.sampling, tables, tuple(frame.blocks))
        recipe = _pack(coefficients, b"".join(kept), np.concatenate(padding), known)
        return (coefficients, recipe) if join(coefficients, recipe, limits, known) == data else None
    except (Unlike, ImageTooLarge, CorruptFile):
        return None


def join(coefficients: Coefficients, recipe: bytes, limits: Limits, known: Sequence[bytes] = ()) -> bytes:
    """The JPEG file of coefficients and a recipe, made beside the same known bytes.

    Raises CorruptFile for a recipe that is damaged or is not of these coefficients, and ImageTooLarge.
    """
    kept, padding = _unpack(coefficients, recipe, limits, b"".join(known))
    parts: list[bytes] = []
    frame, last, interval, size = Frame(), 0, 0, len(kept)

    def start(frame: Frame) -> None:
        shapes = [(*frame.shape(i), 64) for i in range(len(frame.sampling))]
        told = (coefficients.width, coefficients.height, coefficients.sampling)
        if (frame.width, frame.height, frame.sampling) != told or [b.shape for b in coefficients.blocks] != shapes:
            raise Unlike
        frame.blocks = [np.ascontiguousarray(blocks) for blocks in coefficients.blocks]

    def scan(scan: Scan, at: int) -> int:
        nonlocal last, interval, size
        _check(frame, limits)
        own = padding[interval : interval + scan.intervals] if len(padding) > 1 else padding.repeat(scan.intervals)
        if len(own) != scan.intervals:
            raise Unlike
        interval += scan.intervals
        out = np.empty(64 + sum(8 * one.blocks.size // 64 for one in scan.components), np.uint8)
        used = write_scan(scan, own, out)
        size += used or 0
        limits.check(0, memory=2 * size)
        if used is not None and used > len(out):
            out = np.empty(used, np.uint8)
            used = write_scan(scan, own, out)
        if used is None:
            raise Unlike
        parts.extend((kept[last:at], out[:used].tobytes()))
        last = at
        return 0

    try:
        walk(kept, frame, start, scan)
    except Unlike:
        raise _damaged() from None
    return b"".join((*parts, kept[last:]))


def _check(frame: Frame, limits: Limits) -> None:
    rows, columns = zip(*(frame.shape(i) for i in range(len(frame.sampling))), strict=True)
    blocks = sum(r * c for r, c in zip(rows, columns, strict=True))
    limits.check(frame.width * frame.height, 1, blocks * _MEMORY, frame.scans * blocks * _SECONDS)


def _damaged() -> CorruptFile:
    return CorruptFile("the recipe of a JPEG file does not fit its coefficients: get a fresh copy of it")


def _pack(coefficients: Coefficients, kept: bytes, padding: np.ndarray, known: Sequence[bytes]) -> bytes:
    found = passages(kept, known)
    places = b"" if not found else pack_number(len(found))
    last, rest = 0, []
    for at, begin, length in found:
        places += pack_number(at - last) + pack_number(begin) + pack_number(length)
        rest.append(kept[last:at])
        last = at + length
    kept = b"".join((*rest, kept[last:]))
    if (padding == padding[0]).all():
        text = places + bytes([padding[0]]) + kept
    else:
        text = places + bytes([_LISTED]) + pack_number(len(padding)) + padding.tobytes() + kept
    flag = _PASSAGES if found else 0
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=likeness(coefficients))
    packed = [bytes([flag | _DEFLATE]) + deflate.compress(text) + deflate.flush(), bytes([flag | _RAW]) + text]
    if len(packed[0]) > _LARGE:
        packed.append(bytes([flag | _LZMA]) + lzma.compress(text, lzma.FORMAT_RAW, filters=_FILTERS))
    return min(packed, key=len)


def _unpack(coefficients: Coefficients, recipe: bytes, limits: Limits, known: bytes) -> tuple[bytes, np.ndarray]:
    """The file without its scans, and what pads the intervals: one byte for all, or one for each."""
    kind, packed, most = recipe[0] if recipe else _PASSAGES, recipe[1:], min(_HEADER, limits.memory)
    method = kind & ~_PASSAGES
    try:
        if method == _DEFLATE:
            inflate = zlib.decompressobj(-15, zdict=likeness(coefficients))
            text, whole = inflate.decompress(packed, most), inflate.eof and not inflate.unused_data
        elif method == _LZMA:
            lzma_ = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
            text, whole = lzma_.decompress(packed, most), lzma_.eof and not lzma_.unused_data
        else:
            text, whole = packed, method == _RAW
    except (zlib.error, lzma.LZMAError):
        raise _damaged() from None
    if not whole:
        raise _damaged()
    reader = Numbers(text)
    places = reader.passages() if kind & _PASSAGES else []
    padding = np.frombuffer(reader.take(1), np.uint8)
    if padding[0] == _LISTED:
        padding = np.frombuffer(reader.take(reader.number()), np.uint8)
        if len(padding) < 2:
            raise _damaged()
    rest, size, parts = reader.take(len(text) - reader.at), 0, list[bytes]()
    limits.check(0, memory=len(rest) + sum(length for _, _, length in places))
    for before, begin, length in places:
        size += before
        parts += [rest[size - before : size], known[begin : begin + length]]
        if size > len(rest) or len(parts[-1]) != length or not length:
            raise _damaged()
    return b"".join((*parts, rest[size:])), padding
