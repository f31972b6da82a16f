"""How a recipe is written: numbers of 7 bits a byte, blobs by the smallest of a few methods, and columns of numbers.

A number is written from its low bits up, 7 a byte, the top bit set in all bytes but the last. A blob is its length, a
method, the length of what was packed, and that: 0 as it is, 1 deflate with the recipe's dictionary, 2 LZMA. A column of
numbers below 2^32 is their count, the number of bytes a number, and a blob of the low bytes of all, then the next ones.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Sequence

import numpy as np

from vlae_codec.errors import CorruptFile, TruncatedFile
from vlae_codec.limits import Limits

_PLAIN, _DEFLATE, _LZMA = 0, 1, 2
_FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 24, "lc": 0, "lp": 0, "pb": 0}]
_DAMAGED = "the recipe of a file is damaged: get a fresh copy of it"


def damaged() -> CorruptFile:
    return CorruptFile(_DAMAGED)


class Writer:
    """Collects the bytes of a recipe. The dictionary is what the reader knows already: its blobs refer to it."""

    def __init__(self, dictionary: bytes = b"") -> None:
        self.data, self.dictionary = bytearray(), dictionary

    def number(self, value: int) -> None:
        while value > 127:
            self.data.append(value & 127 | 128)
            value >>= 7
        self.data.append(value)

    def blob(self, data: bytes) -> None:
        self.number(len(data))
        if not data:
            return
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=self.dictionary)
        ways = {_PLAIN: data, _DEFLATE: packer.compress(data) + packer.flush()}
        if len(data) > 32:
            ways[_LZMA] = lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)
        method = min(ways, key=lambda way: len(ways[way]))
        self.number(method)
        if method != _PLAIN:
            self.number(len(ways[method]))
        self.data += ways[method]

    def column(self, values: np.ndarray | Sequence[int]) -> None:
        numbers = np.asarray(values, "<u8")
        self.number(len(numbers))
        if not len(numbers):
            return
        planes = -(-int(numbers.max()).bit_length() // 8)
        self.number(planes)
        if planes:
            self.blob(np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 8)[:, :planes].T).tobytes())


class Reader:
    """Reads what a Writer wrote. All methods raise CorruptFile; blobs and columns over the limit ImageTooLarge."""

    def __init__(self, data: bytes, limits: Limits, dictionary: bytes = b"") -> None:
        self.data, self.at, self.limits, self.dictionary = data, 0, limits, dictionary

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise TruncatedFile("the recipe of a file ends too early: get a fresh copy of it")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 56:
                raise damaged()

    def blob(self) -> bytes:
        size = self.number()
        if not size:
            return b""
        self.limits.check(0, memory=size)
        method = self.number()
        if method == _PLAIN:
            return self.take(size)
        packed = self.take(self.number())
        try:
            if method == _DEFLATE:
                data = zlib.decompressobj(-15, zdict=self.dictionary).decompress(packed, size)
            elif method == _LZMA:
                data = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(packed, size)
            else:
                raise damaged()
        except (zlib.error, lzma.LZMAError) as error:
            raise damaged() from error
        if len(data) != size:
            raise damaged()
        return data

    def column(self) -> np.ndarray:
        """(n,) int64, each below 2^32."""
        count = self.number()
        if not count:
            return np.zeros(0, np.int64)
        planes = self.number()
        self.limits.check(0, memory=8 * count)
        if planes > 4:
            raise damaged()
        values = np.zeros((count, 8), np.uint8)
        if planes:
            data = self.blob()
            if len(data) != planes * count:
                raise damaged()
            values[:, :planes] = np.frombuffer(data, np.uint8).reshape(planes, count).T
        return values.view("<i8").reshape(count).astype(np.int64)

    def end(self) -> None:
        """Raises CorruptFile unless all was read."""
        if self.at != len(self.data):
            raise damaged()
