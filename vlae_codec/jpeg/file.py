"""A JPEG file as its coefficients and a recipe, from which it is made again byte for byte.

    byte     how all that follows is packed: 0 as it is, 1 deflate with a dictionary, 2 LZMA2
    byte     of all bits of padding, 255 for ones; 128: a number of bytes and the bytes follow, one for each interval
    bytes    the file without the entropy-coded data of its scans

The dictionary is a header such as libjpeg writes for the coefficients, so tables of quantisation and usual tables of
Huffman codes cost next to nothing. A number is written seven bits a byte, the lowest first.
"""

from __future__ import annotations

import lzma
import zlib

import numpy as np

from vlae_codec.errors import CorruptFile, ImageTooLarge
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.likeness import likeness
from vlae_codec.jpeg.markers import Frame, Unlike, walk
from vlae_codec.limits import Limits
from vlae_codec.native.jpeg import Scan, read_scan, write_scan

_RAW, _DEFLATE, _LZMA = 0, 1, 2
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 24, "pb": 0}]
_LISTED = 128
_LARGE = 1000  # bytes of a recipe for which LZMA2 is tried; it takes a tenth of a second to begin
_HEADER = 1 << 26  # bytes, the most that a recipe unpacks to
_SECONDS, _MEMORY = 2e-7, 3 * 128  # of a block in a scan; bytes of a block


def split(data: bytes, limits: Limits) -> tuple[Coefficients, bytes] | None:
    """Coefficients and recipe of a JPEG file (8 bits; sequential or progressive; Huffman codes).

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
        recipe = _pack(coefficients, b"".join(kept), np.concatenate(padding))
        return (coefficients, recipe) if join(coefficients, recipe, limits) == data else None
    except (Unlike, ImageTooLarge, CorruptFile):
        return None


def join(coefficients: Coefficients, recipe: bytes, limits: Limits) -> bytes:
    """The JPEG file of coefficients and a recipe.

    Raises CorruptFile for a recipe that is damaged or is not of these coefficients, and ImageTooLarge.
    """
    kept, padding = _unpack(coefficients, recipe, limits)
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


def _pack(coefficients: Coefficients, kept: bytes, padding: np.ndarray) -> bytes:
    if (padding == padding[0]).all():
        text = bytes([padding[0]]) + kept
    else:
        count, digits = len(padding), b""
        while count > 127:
            digits, count = digits + bytes([count & 127 | 128]), count >> 7
        text = bytes([_LISTED]) + digits + bytes([count]) + padding.tobytes() + kept
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=likeness(coefficients))
    packed = [bytes([_DEFLATE]) + deflate.compress(text) + deflate.flush(), bytes([_RAW]) + text]
    if len(packed[0]) > _LARGE:
        packed.append(bytes([_LZMA]) + lzma.compress(text, lzma.FORMAT_RAW, filters=_FILTERS))
    return min(packed, key=len)


def _unpack(coefficients: Coefficients, recipe: bytes, limits: Limits) -> tuple[bytes, np.ndarray]:
    """The file without its scans, and what pads the intervals: one byte for all, or one for each."""
    kind, packed, most = recipe[:1], recipe[1:], min(_HEADER, limits.memory)
    try:
        if kind == bytes([_DEFLATE]):
            inflate = zlib.decompressobj(-15, zdict=likeness(coefficients))
            text, whole = inflate.decompress(packed, most), inflate.eof and not inflate.unused_data
        elif kind == bytes([_LZMA]):
            lzma_ = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
            text, whole = lzma_.decompress(packed, most), lzma_.eof and not lzma_.unused_data
        else:
            text, whole = packed, kind == bytes([_RAW])
    except (zlib.error, lzma.LZMAError):
        raise _damaged() from None
    if not whole or not text:
        raise _damaged()
    padding, at = np.frombuffer(text[:1], np.uint8), 1
    if text[0] == _LISTED:
        count = shift = 0
        while at < len(text) and shift < 35:
            count |= (text[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if text[at - 1] < 128:
                break
        padding = np.frombuffer(text[at : at + count], np.uint8)
        at += count
        if len(padding) != count or count < 2:
            raise _damaged()
    return text[at:], padding
