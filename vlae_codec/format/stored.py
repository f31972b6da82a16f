"""Tiles without a model: raw samples, or LZMA where that is smaller.

Screenshots and drawings repeat themselves over distances that a small causal window cannot see; noise cannot be
compressed at all. For such tiles the file says so and keeps one of these streams:

    RAW    h * w * C bytes, row by row, channels interleaved; of a bilevel tile h * ceil(w / 8) bytes, row by row,
           eight pixels a byte from the highest bit down, what is left of a row's last byte MUST be zero
    LZMA   u8 filter (0: none, 1: each byte minus the one C before it, modulo 256), then a raw LZMA2 stream with its
           own end mark, dictionary size 1 MiB; decoded, it is exactly as long as RAW

A stored group of pictures is one such stream: of the RAW bytes of all its pictures, one after another.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.format.container import STORED, Header, Method, Piece, TileRecord, sparse

_PLAIN, _DELTA = 0, 1
BLANK = 1 << 17  # samples
STRIP = 8  # rows of which every eighth is looked at first
_DICTIONARY = 1 << 20  # fixed, so that a reader can never be made to allocate more


def store(tile: np.ndarray) -> tuple[Method, bytes]:
    """The smaller of the raw and the LZMA stream, and which it is. ``tile`` is (h, w, C) uint8."""
    raw = tile.tobytes()
    best = raw
    if quick_bound(tile) < len(raw):
        for kind in (_PLAIN, _DELTA):
            filters = _filters(kind, tile.shape[2])
            coded = bytes([kind]) + lzma.compress(raw, lzma.FORMAT_RAW, filters=filters)
            best = min(best, coded, key=len)
    return (Method.RAW if best is raw else Method.LZMA), best


def quick_bound(tile: np.ndarray) -> int:
    """Bytes that a fast general compressor needs for the tile, (h, w, C) uint8: about the most `store` will give.

    zlib at level 1, on the samples or on their differences from the left neighbour, whichever is smaller.
    """
    differences = np.diff(tile, axis=1, prepend=np.uint8(0))
    return min(len(zlib.compress(array.tobytes(), 1)) for array in (tile, differences))


def keep(header: Header, parts: Sequence[Piece], pixels: Sequence[np.ndarray]) -> TileRecord:
    """The stored record of these parts. pixels: those of each part."""
    return _kept(_rows(pixels), header, parts)


def _kept(rows: np.ndarray, header: Header, parts: Sequence[Piece]) -> TileRecord:
    method, data = store(rows)
    if sparse(method, len(data), header, parts):
        method, data = Method.RAW, rows.tobytes()
    return TileRecord(method, data)


def smaller(record: TileRecord, header: Header, parts: Sequence[Piece], pixels: Sequence[np.ndarray]) -> TileRecord:
    """The model's record of these parts, or a stored one where that is smaller, or the model's may not stand in a file.

    pixels: those of each part.
    """
    rows, size = _rows(pixels), len(record.data)
    banned = sparse(record.method, size, header, parts)
    if banned or size >= rows.size or worth_a_try(rows, size):
        kept = _kept(rows, header, parts)
        if banned or len(kept.data) < size:
            return kept
    return record


def is_blank(pixels: Sequence[np.ndarray]) -> bool:
    """Whether all samples are equal, and so many that LZMA takes fewer bytes than a file asks of a model (`sparse`)."""
    first = pixels[0].flat[0]
    return sum(part.size for part in pixels) >= BLANK and all(bool((part == first).all()) for part in pixels)


def _rows(pixels: Sequence[np.ndarray]) -> np.ndarray:
    return samples(pixels[0]) if len(pixels) == 1 else joined(pixels)


def worth_a_try(samples: np.ndarray, size: int) -> bool:
    """Whether `store` may need less than `size` bytes; of many rows a part is looked at first."""
    if len(samples) >= 8 * STRIP:
        part = samples[np.arange(len(samples)) // STRIP % 8 == 0]
        if 2 * quick_bound(part) * len(samples) > 3 * size * len(part):
            return False
    return 4 * quick_bound(samples) < 5 * size


def samples(pixels: np.ndarray) -> np.ndarray:
    """What RAW keeps of pixels: (H, W, C) uint8, C being 1 for grey; of (H, W) bool the bits, (H, ceil(W / 8), 1)."""
    if pixels.dtype == bool:
        return np.packbits(pixels, axis=1)[..., None]
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The samples of several pictures in one row, (1, n, C)."""
    rows = [samples(pixels) for pixels in parts]
    return np.concatenate([row.reshape(1, -1, row.shape[2]) for row in rows], axis=1)


def restore(method: int, data: bytes, shapes: Sequence[tuple[int, int]], mode: str) -> Iterator[np.ndarray]:
    """The pixels of each picture, one after another, of a stream of the samples of all; shapes: their (height, width).

    Raises CorruptFile, at the latest after the last picture; never holds the samples of more than one.
    """
    channels = 3 if mode == "RGB" else 1
    reader = _Reader(method, data, channels)
    for height, width in shapes:
        shape = (height, -(-width // 8) if mode == "1" else width, channels)
        part = np.frombuffer(reader.take(prod(shape)), np.uint8).reshape(shape)
        if mode == "1":
            unpacked = np.unpackbits(part[..., 0], axis=1).view(bool)
            if unpacked[:, width:].any():
                raise CorruptFile("a stored bilevel picture has bits behind its rows: get a fresh copy of the file")
            yield unpacked[:, :width]
        else:
            yield part if mode == "RGB" else part[..., 0]
    reader.end()


class _Reader:
    """Takes samples from a stored stream."""

    def __init__(self, method: int, data: bytes, channels: int) -> None:
        self.raw, self.position, self.decoder = memoryview(data), 0, None
        if method not in STORED:
            raise ValueError(f"method {method} is not a stored one")
        if method == Method.LZMA:
            if not data or data[0] not in (_PLAIN, _DELTA):
                raise CorruptFile("a stored tile has no known filter: get a fresh copy of the file")
            self.decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(data[0], channels))
            self.position = 1

    def take(self, count: int) -> bytes | memoryview:
        """The next so many samples. Raises CorruptFile when there are fewer."""
        if self.decoder is None:
            part: bytes | memoryview = self.raw[self.position : self.position + count]
            self.position += count
        else:
            part = self._decompress(count)
        if len(part) != count:
            raise CorruptFile(f"a stored tile ends {count - len(part)} samples early: get a fresh copy of the file")
        return part

    def end(self) -> None:
        """Raises CorruptFile unless all samples were taken."""
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


def _filters(kind: int, channels: int) -> list[dict[str, Any]]:
    pack = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": _DICTIONARY}
    return [{"id": lzma.FILTER_DELTA, "dist": channels}, pack] if kind == _DELTA else [pack]
