"""Passages of a file that are known from elsewhere, and numbers that say where: seven bits a byte, the lowest first."""

from __future__ import annotations

from collections.abc import Sequence

from vlae_codec.errors import CorruptFile

_LEAST = 32  # bytes of a passage
MOST = 1000  # passages


def passages(data: bytes, known: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """(where in data, where in all that is known, length) of parts of what is known that stand in data, in the order of
    data. After each of them the next one is looked for, so a long profile that stands in data in pieces is found.
    """
    found, first = list[tuple[int, int, int]](), 0
    for value in known:
        at = begin = 0
        while begin + _LEAST <= len(value) and len(found) < MOST:
            at = data.find(value[begin : begin + _LEAST], at)
            if at < 0:
                break
            length = _common(data, at, value, begin)
            found.append((at, first + begin, length))
            at, begin = at + length, begin + length
        first += len(value)
    apart, end = [], 0
    for at, begin, length in sorted(found):
        if at >= end:
            apart.append((at, begin, length))
            end = at + length
    return apart


def _common(data: bytes, at: int, known: bytes, begin: int) -> int:
    """How many bytes are the same from there on."""
    length, step = 0, 1 << 24
    while step:
        if (part := data[at + length : at + length + step]) and part == known[
            begin + length : begin + length + len(part)
        ]:
            length += len(part)
        else:
            step >>= 1
    return length


def pack_number(value: int) -> bytes:
    """A number of 0 or more."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class Numbers:
    """Reads numbers and bytes. All methods raise CorruptFile."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise CorruptFile("the recipe of a JPEG file ends too early: get a fresh copy of it")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """A number below 2^35."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise CorruptFile("the recipe of a JPEG file has an impossible number: get a fresh copy of it")

    def passages(self) -> list[tuple[int, int, int]]:
        """How many, and three numbers of each."""
        count = self.number()
        if not 1 <= count <= MOST:
            raise CorruptFile("the recipe of a JPEG file has an impossible number: get a fresh copy of it")
        return [(self.number(), self.number(), self.number()) for _ in range(count)]
