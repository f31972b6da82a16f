"""The recipe of a file that has its samples as they are: PNM, BMP, TIFF and the like without compression.

The rows of the pictures, in the layout of the file, are found one behind the other in it. The recipe has the layout,
how many bytes stand before each row, and these bytes.

    number   layout: 1 * of ORDERS, 8 * of DEPTHS, 32 big-endian, 64 from the bottom up, 128 in planes, 256 inverted
    columns  rows from which on another number of bytes stands before each, and how many
    blob     all bytes that are no samples
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from vlae_codec.exact.filters import pack, whole
from vlae_codec.exact.packing import Reader, Writer, damaged
from vlae_codec.images.picture import Picture

# Channels of a pixel in the file, from those of the picture; ZERO and ONES are bytes of no meaning.
ZERO, ONES = -1, -2
ORDERS: tuple[tuple[int, ...] | None, ...] = (
    None,
    (2, 1, 0),
    (2, 1, 0, 3),
    (2, 1, 0, ZERO),
    (2, 1, 0, ONES),
    (0, 1, 2, ZERO),
)
DEPTHS = (0, 1, 2, 4)  # bits of packed samples; 0: whole bytes
_ORDER, _DEPTH, _BIG, _UP, _PLANAR, _INVERTED = 1, 8, 32, 64, 128, 256  # places in a layout's number


def _layouts(pictures: Sequence[Picture]) -> Iterator[int]:
    """Numbers of the layouts that the pictures can have, the likely ones first."""
    pixels = pictures[0].pixels
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    orders = [0, *(i for i, order in enumerate(ORDERS) if order and channels == sum(c >= 0 for c in order))]
    depths = [0, *(d for d in (1, 2, 3) if pictures[0].levels <= 1 << DEPTHS[d])]
    planar = (0, _PLANAR) if channels > 1 else (0,)
    big = (0, _BIG) if pixels.dtype.itemsize > 1 else (0,)
    inverted = (0, _INVERTED) if pixels.dtype in (bool, np.uint8, np.uint16) else (0,)
    for parts in product(inverted, planar, orders, depths, (0, _UP), big):
        yield parts[0] + parts[1] + parts[2] * _ORDER + parts[3] * _DEPTH + parts[4] + parts[5]


def _rows(picture: Picture, layout: int) -> np.ndarray | None:
    """(rows, bytes) uint8 in the order of the file; None where the picture has no such layout."""
    order, depth = layout % 8, DEPTHS[layout // _DEPTH % 4]
    values = whole(picture.pixels).reshape(*picture.pixels.shape[:2], -1)
    if layout & _INVERTED:
        if values.dtype not in (np.uint8, np.uint16):
            return None
        values = values.dtype.type(picture.levels - 1) - values
    chosen = ORDERS[order] if order < len(ORDERS) else ()
    if chosen is not None:
        if not chosen or values.dtype != np.uint8 or max(chosen) >= values.shape[2]:
            return None
        fills = {ZERO: 0, ONES: 255}
        parts = [values[..., c] if c >= 0 else np.full(values.shape[:2], fills[c], np.uint8) for c in chosen]
        values = np.stack(parts, 2)
    if depth and (values.dtype != np.uint8 or int(values.max()) >> depth):
        return None
    values = values[::-1] if layout & _UP else values
    if layout & _PLANAR:
        values = np.moveaxis(values, 2, 0).reshape(-1, values.shape[1], 1)
    if depth:
        return pack(values, depth)
    values = np.ascontiguousarray(
        values.reshape(len(values), -1), values.dtype.newbyteorder(">" if layout & _BIG else "<")
    )
    return values.view(np.uint8)


def _find(file: bytes, rows: np.ndarray, begin: int) -> list[int] | None:
    """Where each row stands, one behind the other."""
    places = []
    for row in rows:
        at = file.find(row.tobytes(), begin)
        if at < 0:
            return None
        places.append(at)
        begin = at + len(row)
    return places


def make(out: Writer, file: bytes, pictures: Sequence[Picture]) -> bool:
    """Writes the recipe. False: the rows are not in the file."""
    for layout in _layouts(pictures):
        begin, gaps, others = 0, [], []
        for picture in pictures:
            rows = _rows(picture, layout)
            places = _find(file, rows, begin) if rows is not None else None
            if rows is None or places is None:
                break
            for place in places:
                gaps.append(place - begin)
                others.append(file[begin:place])
                begin = place + rows.shape[1]
        else:
            out.number(layout)
            out.column([i for i, gap in enumerate(gaps) if i == 0 or gap != gaps[i - 1]])
            out.column([gap for i, gap in enumerate(gaps) if i == 0 or gap != gaps[i - 1]])
            out.blob(b"".join(others) + file[begin:])
            return True
    return False


def head(source: Reader) -> bytes:
    """What stands before the first row. Raises CorruptFile."""
    _, _, _ = source.number(), source.column(), source.column()
    return source.blob()[:64]


def restore(source: Reader, pictures: Sequence[Picture]) -> bytes:
    """The file. Raises CorruptFile."""
    layout, starts, values, others = source.number(), source.column(), source.column(), source.blob()
    found = [rows for picture in pictures if (rows := _rows(picture, layout)) is not None]
    count = sum(map(len, found))
    ends = np.append(starts[1:], count)
    if len(found) != len(pictures) or len(starts) != len(values) or not len(starts) or starts[0] != 0:
        raise damaged()
    if np.any(ends <= starts):
        raise damaged()
    gaps = np.repeat(values, ends - starts)
    if int(gaps.sum()) > len(others):
        raise damaged()
    parts, at = [], 0
    for gap, row in zip(gaps.tolist(), (row for rows in found for row in rows)):
        parts += [others[at : at + gap], row.tobytes()]
        at += gap
    return b"".join(parts) + others[at:]
