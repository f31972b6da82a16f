"""Streams without a model: samples as they are, or LZMA or lossless WebP where one of these is smaller.

Screenshots, drawings and masks repeat themselves over distances that a small causal window cannot see; noise cannot be
compressed at all. For such tiles the file says so and keeps one of these streams of its h * w * C symbols:

    RAW    row by row, channels interleaved. Of more than 256 levels u16 each, of more than 16 u8 each; of fewer, the
           symbols of a row are packed from the highest bit of a byte down, with 4 bits each, 2 (4 levels or fewer) or 1
           (2 levels), and what is left of a row's last byte MUST be zero
    LZMA   u8 filter (0: none, 1: each byte minus the one D before it, modulo 256; D is the bytes of a sample times C,
           at most 256, and 1 where symbols are packed), then a raw LZMA2 stream with its own end mark, dictionary size
           1 MiB; decoded, it is exactly as long as RAW
    WEBP   the data of a chunk 'VP8L' (RFC 9649, section 3) of a picture of w x h pixels: 3 channels are red, green and
           blue, 4 also alpha; 1 channel is green, and a writer makes red and blue the same; of 2 the second is alpha.
           Of 1 to 4 channels of 256 levels or fewer. What is left of the picture's channels does not count

Each symbol MUST be below the number of levels. A stored chain of pictures is one such stream, RAW or LZMA: of the RAW
bytes of all its pictures, one after another.
"""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Iterator, Sequence
from math import inf, prod
from typing import Any

import numpy as np
from PIL import Image

from vlae_codec.errors import CorruptFile
from vlae_codec.format.container import STORED, Method, Piece, TileRecord, sparse
from vlae_codec.format.header import Planes

_PLAIN, _DELTA = 0, 1
BLANK = 1 << 17  # samples
EASY = 12  # samples a byte: more have hardly any photographs, and all that a small window cannot see repeating
STRIP = 8  # rows of which every eighth is looked at first
FEW = 64  # bytes: of a stream of hardly more the best search may find a fraction, so it is tried
QUICK, BEST = 75, 100  # how long libwebp searches; the best takes 10 to 50 times as long
CLOSE = 1.05  # times the smallest other stream, or what is of use: what the quick search may need for the best one
_DICTIONARY = 1 << 20  # fixed, so that a reader can never be made to allocate more
_RIFF = b"RIFF%sWEBPVP8L%s"


def store(symbols: np.ndarray, levels: int, webp: bool = False) -> tuple[Method, bytes]:
    """The smallest of the streams, and which it is. ``symbols`` is (h, w, C) uint8 or uint16; webp: try that, too."""
    return _smallest(pack(symbols, levels), levels, symbols if webp and levels <= 256 else None)


def keep(planes: Planes, pieces: Sequence[Piece], symbols: Sequence[np.ndarray], most: float = inf) -> TileRecord:
    """The stored record of these pieces. symbols: those of each, (h, w, C); most: bytes, of no use if it has more."""
    packed = [pack(one, planes.levels) for one in symbols]
    rows = packed[0] if len(packed) == 1 else joined(packed)
    single = not planes.chains and planes.levels <= 256 and planes.channels <= 4
    method, data = _smallest(rows, planes.levels, symbols[0] if single else None, most)
    if sparse(method, len(data), planes, pieces):
        method, data = Method.RAW, rows.tobytes()
    return TileRecord(method, data)


def smaller(record: TileRecord, planes: Planes, pieces: Sequence[Piece], symbols: Sequence[np.ndarray]) -> TileRecord:
    """The model's record of these pieces, or a stored one where that is smaller, or the model's may not stand in a
    file. symbols: those of each, (h, w, C).
    """
    size = len(record.data)
    banned = sparse(record.method, size, planes, pieces)
    total = sum(one.size for one in symbols)
    if banned or size >= total * bits_of(planes.levels) // 8 or any(worth_a_try(one, size) for one in _looked(symbols)):
        kept = keep(planes, pieces, symbols, inf if banned else size)
        if banned or len(kept.data) < size:
            return kept
    return record


def _looked(symbols: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [symbols[0]] if len(symbols) == 1 else [joined(symbols)]


def is_blank(symbols: Sequence[np.ndarray]) -> bool:
    """Whether all samples are equal, and so many that LZMA takes fewer bytes than a file asks of a model (`sparse`)."""
    first = symbols[0].flat[0]
    return sum(part.size for part in symbols) >= BLANK and all(bool((part == first).all()) for part in symbols)


def worth_a_try(symbols: np.ndarray, size: int) -> bool:
    """Whether `store` may need less than `size` bytes; of many rows a part is looked at first."""
    if EASY * size < symbols.size:
        return True
    if len(symbols) >= 8 * STRIP:
        part = symbols[np.arange(len(symbols)) // STRIP % 8 == 0]
        if 2 * quick_bound(part) * len(symbols) > 3 * size * len(part):
            return False
    return 4 * quick_bound(symbols) < 5 * size


def quick_bound(symbols: np.ndarray) -> int:
    """Bytes that a fast general compressor needs for symbols, (h, w, C): about the most `store` will give.

    zlib at level 1, on the symbols or on their differences from the left neighbour, whichever is smaller.
    """
    differences = np.diff(symbols, axis=1, prepend=symbols.dtype.type(0))
    return min(len(zlib.compress(array.tobytes(), 1)) for array in (symbols, differences))


def bits_of(levels: int) -> int:
    """Bits that a symbol takes in RAW."""
    return next(bits for bits in (1, 2, 4, 8, 16) if levels <= 1 << bits)


def pack(symbols: np.ndarray, levels: int) -> np.ndarray:
    """What RAW keeps of symbols (h, w, C): (h, bytes of a row, C or 1) uint8; bytes of a wide symbol are channels."""
    bits = bits_of(levels)
    height, width, channels = symbols.shape
    if bits == 16:
        return symbols.astype("<u2").view(np.uint8).reshape(height, width, 2 * channels)
    if bits == 8:
        return np.ascontiguousarray(symbols, np.uint8)
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8)
    digits = symbols.reshape(height, width * channels, 1).astype(np.uint8) >> shifts & 1
    return np.packbits(digits.reshape(height, -1), axis=1)[..., None]


def unpack(packed: np.ndarray, width: int, channels: int, levels: int) -> np.ndarray:
    """The inverse of `pack`, from (h, bytes of a row). Raises CorruptFile for bits behind a row."""
    bits, height = bits_of(levels), len(packed)
    if bits == 16:
        return packed.reshape(-1).view("<u2").astype(np.uint16).reshape(height, width, channels)
    if bits == 8:
        return packed.reshape(height, width, channels)
    digits = np.unpackbits(packed, axis=1)
    if digits[:, width * channels * bits :].any():
        raise CorruptFile("a stored tile has bits behind its rows: get a fresh copy of the file")
    digits = digits[:, : width * channels * bits].reshape(height, width, channels, bits)
    return np.bitwise_or.reduce(digits << np.arange(bits - 1, -1, -1, dtype=np.uint8), axis=3)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Several (h, w, C) in one row, (1, n, C)."""
    return np.concatenate([part.reshape(1, -1, part.shape[2]) for part in parts], axis=1)


def _smallest(packed: np.ndarray, levels: int, symbols: np.ndarray | None, most: float = inf) -> tuple[Method, bytes]:
    """Of RAW and LZMA, and of WebP if there are symbols for it. most: bytes that are of use."""
    raw = packed.tobytes()
    found: list[tuple[Method, bytes]] = [(Method.RAW, raw)]
    if quick_bound(packed) < len(raw):
        for kind in (_PLAIN, _DELTA):
            filters = _filters(kind, packed.shape[2], bits_of(levels))
            found.append((Method.LZMA, bytes([kind]) + lzma.compress(raw, lzma.FORMAT_RAW, filters=filters)))
        if symbols is not None:
            quick = pack_webp(symbols, QUICK)
            close = len(quick) < CLOSE * min(most + FEW, *(len(data) for _, data in found))
            found.append((Method.WEBP, pack_webp(symbols, BEST) if close else quick))
    return min(found, key=lambda one: len(one[1]))


def _filters(kind: int, distance: int, bits: int = 8) -> list[dict[str, Any]]:
    """bits: of a sample in `pack`, by which an encoder chooses; the stream says what a decoder needs."""
    lc, lp, pb = (0, 0, 0) if bits < 8 else (2, 2, 2) if distance == 4 else (4, 0, 0) if distance % 2 else (0, 1, 1)
    pack = {"id": lzma.FILTER_LZMA2, "dict_size": _DICTIONARY, "lc": lc, "lp": lp, "pb": pb, "nice_len": 273}
    return [{"id": lzma.FILTER_DELTA, "dist": min(distance, 256)}, pack] if kind == _DELTA else [pack]


# ---------------------------------------------------------------------------------------------------- WebP


def pack_webp(symbols: np.ndarray, quality: int) -> bytes:
    """The data of the chunk 'VP8L' of symbols (h, w, C) uint8, C = 1 .. 4. quality: 0 .. 100, how long to search."""
    channels = symbols.shape[2]
    order = {1: [0, 0, 0], 2: [0, 0, 0, 1], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]
    pixels = np.ascontiguousarray(symbols.astype(np.uint8, copy=False)[..., order])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, exact=True, quality=quality, method=6)
    data = buffer.getvalue()
    assert data[12:16] == b"VP8L"
    return data[20 : 20 + int.from_bytes(data[16:20], "little")]


def unpack_webp(data: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """The symbols (h, w, C) uint8 of the data of a chunk 'VP8L'. Raises CorruptFile."""
    size = int.from_bytes(data[1:5], "little")
    if data[:1] != b"\x2f" or (size & 16383, size >> 14 & 16383) != (width - 1, height - 1):
        raise CorruptFile("a stored tile is no WebP of its size: get a fresh copy of the file")
    padded = data + bytes(len(data) % 2)
    lengths = ((12 + len(padded)).to_bytes(4, "little"), len(data).to_bytes(4, "little"))
    try:
        with Image.open(io.BytesIO(_RIFF % lengths + padded), formats=("WEBP",)) as image:
            pixels = np.asarray(image)
    except Exception as error:  # Pillow's reader raises many types
        raise CorruptFile("a stored tile does not decode: get a fresh copy of the file") from error
    if pixels.shape[:2] != (height, width):
        raise CorruptFile("a stored tile is no WebP of its size: get a fresh copy of the file")
    if channels in (2, 4) and pixels.shape[2] == 3:  # all of it is opaque
        pixels = np.concatenate([pixels, np.full((height, width, 1), 255, np.uint8)], axis=2)
    return np.ascontiguousarray(pixels[..., {1: [1], 2: [1, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]])


# ---------------------------------------------------------------------------------------------------- reading


def restore(
    method: int, data: bytes, shapes: Sequence[tuple[int, int]], channels: int, levels: int
) -> Iterator[np.ndarray]:
    """The symbols (h, w, C) of each picture, one after another, of a stream of all; shapes: their (height, width).

    Raises CorruptFile, at the latest after the last picture; never holds the symbols of more than one.
    """
    if method == Method.WEBP:
        ((height, width),) = shapes
        yield _checked(unpack_webp(data, height, width, channels), levels)
        return
    bits = bits_of(levels)
    reader = _Reader(method, data, channels * max(1, bits // 8) if bits >= 8 else 1)
    for height, width in shapes:
        shape = (height, -(-width * channels * bits // 8))
        packed = np.frombuffer(reader.take(prod(shape)), np.uint8).reshape(shape)
        yield _checked(unpack(packed, width, channels, levels), levels)
    reader.end()


def _checked(symbols: np.ndarray, levels: int) -> np.ndarray:
    if levels not in (256, 65536) and symbols.size and int(symbols.max()) >= levels:
        raise CorruptFile("a stored tile has a symbol that there is not: get a fresh copy of the file")
    return symbols


class _Reader:
    """Takes bytes from a stored stream."""

    def __init__(self, method: int, data: bytes, distance: int) -> None:
        self.raw, self.position, self.decoder = memoryview(data), 0, None
        if method not in STORED:
            raise ValueError(f"method {method} is not a stored one")
        if method == Method.LZMA:
            if not data or data[0] not in (_PLAIN, _DELTA):
                raise CorruptFile("a stored tile has no known filter: get a fresh copy of the file")
            self.decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(data[0], distance))
            self.position = 1

    def take(self, count: int) -> bytes | memoryview:
        """The next so many bytes. Raises CorruptFile when there are fewer."""
        if self.decoder is None:
            part: bytes | memoryview = self.raw[self.position : self.position + count]
            self.position += count
        else:
            part = self._decompress(count)
        if len(part) != count:
            raise CorruptFile(f"a stored tile ends {count - len(part)} bytes early: get a fresh copy of the file")
        return part

    def end(self) -> None:
        """Raises CorruptFile unless all bytes were taken."""
        if self.decoder is None:
            more = self.position < len(self.raw)
        else:
            more = bool(self._decompress(1)) or not self.decoder.eof or bool(self.decoder.unused_data)
        if more:
            raise CorruptFile("a stored tile has too many samples, or no end: get a fresh copy of the file")

    def _decompress(self, count: int) -> bytes:
        assert self.decoder is not None
        parts: list[bytes] = []
        try:
            while count and not self.decoder.eof:
                given, self.position = self.raw[self.position :], len(self.raw)
                part = self.decoder.decompress(given, max_length=count)
                if not part and not self.decoder.eof and self.decoder.needs_input:
                    break
                parts.append(part)
                count -= len(part)
        except lzma.LZMAError as error:
            raise CorruptFile("a stored tile does not decode: get a fresh copy of the file") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)
