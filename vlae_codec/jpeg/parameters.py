"""The parameters of a picture that was a JPEG, as they stand in a header beside its coefficients.

    u8      1 if the grids of blocks are filled up to whole minimum coded units, as in an interleaved scan, else 0; plus
            2 if three components are RGB and not Y, Cb, Cr; plus 4 if the picture is a part of the JPEG
    u8 4    if it is: columns before the picture, rows above it, columns behind it, rows below it; not all 0, and each
            less than 8 times the largest sampling factor in its direction
    u8      components, 1, 3 or 4; of each: u8 sampling factors, 16 h + v, 1 to 4 each; u8 number of its table
    tables  as many as are numbered, from 0 on: u8 1 to 100 one of T.81, Annex K, of luma, at that quality of the
            Independent JPEG Group's, 101 to 200 of chroma, likewise; 0 64 steps u8 follow, 255 64 steps u16, row by row

Tables are numbered in the order of the first component that has each, equal ones once, and stand in the first form that
can hold them. A JPEG's width and height are the picture's and what stands around it. If the grids of blocks are filled
up, a component has as many blocks as whole units have; else, and if it is the only one, ceil(height * v / (8 most v))
rows and ceil(width * h / (8 most h)) columns.

A step is 1 or more. The table of quality q is that of Annex K times s / 100, s being 5000 // q for q < 50, else
200 - 2 q, rounded half up and limited to 1 .. 255.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.jpeg.coefficients import WHOLE, Coefficients, Cut

_LUMA = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_CHROMA = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99 "
    "99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"
)
_STANDARD = tuple(np.array(table.split(), np.int32) for table in (_LUMA, _CHROMA))


@dataclass(frozen=True)
class Parameters:
    """What coefficients need beside their blocks."""

    sampling: tuple[tuple[int, int], ...]
    tables: tuple[np.ndarray, ...]  # (64,) int32 of each component
    padded: bool = False
    converted: bool = True  # three components are Y, Cb, Cr
    cut: Cut = WHOLE  # what the picture lacks of the JPEG

    @property
    def unit(self) -> tuple[int, int]:
        """Columns and rows of pixels of a minimum coded unit."""
        most_h, most_v = (max(factors) for factors in zip(*self.sampling, strict=True))
        return 8 * most_h, 8 * most_v

    def shape(self, component: int, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of blocks of a component of a JPEG of this size."""
        h, v = self.sampling[component]
        across, down = self.unit
        if self.padded and len(self.sampling) > 1:
            return v * -(-height // down), h * -(-width // across)
        return -(-height * v // down), -(-width * h // across)


def parameters_of(coefficients: Coefficients, converted: bool = True) -> Parameters | None:
    """The parameters of coefficients; None for grids of blocks that cannot be described."""
    size = coefficients.width, coefficients.height
    for padded in (False, True):
        found = Parameters(coefficients.sampling, coefficients.tables, padded, converted, coefficients.cut)
        if all(found.shape(i, *size) == blocks.shape[:2] for i, blocks in enumerate(coefficients.blocks)):
            return found
    return None


def standard_table(number: int) -> np.ndarray:
    """(64,) int32: table 1 .. 200."""
    quality = (number - 1) % 100 + 1
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    found: np.ndarray = ((_STANDARD[number > 100] * scale + 50) // 100).clip(1, 255)
    return found


@cache
def _numbers() -> dict[bytes, int]:
    """The number of each standard table, the lowest of equal ones."""
    return {standard_table(number).astype(np.int32).tobytes(): number for number in range(200, 0, -1)}


def pack(parameters: Parameters) -> bytes:
    """As they stand in a header."""
    tables: list[np.ndarray] = []
    lacks, flags = astuple(parameters.cut), parameters.padded + 2 * (not parameters.converted)
    out = bytearray([flags + 4, *lacks] if any(lacks) else [flags])
    out.append(len(parameters.sampling))
    for (h, v), table in zip(parameters.sampling, parameters.tables, strict=True):
        number = next((i for i, known in enumerate(tables) if np.array_equal(known, table)), len(tables))
        if number == len(tables):
            tables.append(table)
        out += bytes([16 * h + v, number])
    for table in tables:
        known = _numbers().get(table.astype(np.int32).tobytes())
        if known is not None:
            out.append(known)
        elif table.max() < 256:
            out += bytes([0, *table.tolist()])
        else:
            out += b"\xff" + table.astype("<u2").tobytes()
    return bytes(out)


def unpack(data: bytes) -> Parameters:
    """The inverse of `pack`. Raises CorruptFile."""
    wrong = CorruptFile("the parameters of a JPEG are impossible: get a fresh copy of the file")
    start = 5 if data and data[0] & 4 else 1
    count = data[start] if len(data) > start else 0
    if count not in (1, 3, 4) or data[0] > 7 or len(data) < start + 1 + 2 * count:
        raise wrong
    entries = [data[start + 1 + 2 * i : start + 3 + 2 * i] for i in range(count)]
    sampling = tuple((entry[0] >> 4, entry[0] & 15) for entry in entries)
    most = max(entry[1] for entry in entries)
    if not all(1 <= n <= 4 for pair in sampling for n in pair) or most >= count:
        raise wrong
    tables, at = [], start + 1 + 2 * count
    for _ in range(most + 1):
        kind, size = data[at] if at < len(data) else 254, 0
        if 1 <= kind <= 200:
            tables.append(standard_table(kind))
        elif kind in (0, 255):
            size = 128 if kind else 64
            steps = np.frombuffer(data[at + 1 : at + 1 + size], "<u2" if kind else "u1").astype(np.int32)
            if len(steps) != 64 or steps.min() < 1:
                raise wrong
            tables.append(steps)
        else:
            raise wrong
        at += 1 + size
    own = tuple(tables[entry[1]] for entry in entries)
    found = Parameters(sampling, own, bool(data[0] & 1), not data[0] & 2, Cut(*data[1:start]))
    outside = any(lacks >= side for lacks, side in zip(astuple(found.cut), 2 * found.unit, strict=True))
    if at != len(data) or outside or pack(found) != data:
        raise wrong
    return found
