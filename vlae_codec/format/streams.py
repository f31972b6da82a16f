"""Streams: the bytes of one tile or of one group of pictures, as the model codes them.

    method NO_LATENTS    the message
    method LATENTS       u16 little-endian, rows of band B in latent rows; the message
    method CHAIN         { length varint, 1 or more; rows varint }, 0 varint, rows varint; the message

A message (`native.ans`) starts as the empty stack with the CRC-32 of the tile's symbols as its seed, and a decoder MUST
find exactly that at its end: row by row, u8 each or u16 of more than 256 levels, of a group of one channel as many
equal ones as the model has.

In a chain the tiles of all pictures of a group, in the order of its pictures and each picture's tiles row by row, are
pushed one after another onto one message, so that the bits of those before pay for the latents of the next. The seed is
the CRC-32 of all their symbols in this order, the lanes are those of all their symbols. The splits are runs: `length`
tiles have band B of `rows` latent rows, or of all whole ones where they have fewer, and length 0 stands for all tiles
that are left, of which there MUST be one or more. A decoder pops the tiles last to first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vlae_codec.errors import CorruptFile
from vlae_codec.format.chunks import pack_varint, read_varint
from vlae_codec.format.container import Method, TileRecord


def pack_splits(rows: Sequence[int], most: Sequence[int]) -> bytes:
    """The runs of a chain's splits. rows, most: latent rows of each tile's band B, and how many whole ones it has."""
    full = max(most)
    *runs, (last, _) = [
        (value, len(list(run))) for value, run in groupby(full if n == m else n for n, m in zip(rows, most))
    ]
    numbers = [number for value, length in runs for number in (length, value)]
    return b"".join(map(pack_varint, [*numbers, 0, last]))


def read_splits(record: TileRecord, heights: Sequence[int], stride: int) -> tuple[list[int], int]:
    """(rows of band B of each tile of a model-coded stream, where its message begins); heights: rows of the tiles.

    Raises CorruptFile.
    """
    if record.method == Method.CHAIN:
        rows, position = _read_splits(record.data, [height // stride for height in heights])
        return [stride * n for n in rows], position
    if record.method != Method.LATENTS:
        return [0], 0
    split = int.from_bytes(record.data[:2], "little") * stride
    if not 0 < split < heights[0]:
        raise CorruptFile("a tile's bands do not fit its height; the file is damaged")
    return [split], 2


def _read_splits(data: bytes, most: Sequence[int]) -> tuple[list[int], int]:
    """(latent rows of band B of each tile, the position after them). Raises CorruptFile."""
    rows: list[int] = []
    position, length = 0, 1
    while length:
        length, position = read_varint(data, position)
        value, position = read_varint(data, position)
        left = len(most) - len(rows)
        if length >= left:
            raise CorruptFile("the bands of a group are more than its tiles; the file is damaged")
        rows += [value] * (length or left)
    return [min(n, m) for n, m in zip(rows, most)], position
