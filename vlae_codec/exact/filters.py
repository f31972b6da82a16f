"""Scanlines of PNG: samples packed into bytes, passes of interlaced pictures, and the five filters.

A filter takes from each byte a prediction by the bytes to the left (a), above (b) and above left (c); its number stands
before the row. Which filter an encoder took is predicted by the rules below; the recipe has the exceptions.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.exact.packing import Reader, Writer, damaged

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
# Each one filter, or those of which the least sum of absolute values is taken, the first among equals.
RULES = (
    *((0,), (1,), (2,), (3,), (4,), (0, 1, 2, 3, 4), (0, 2, 1, 3, 4), (0, 2, 1, 4)),
    *((0, 1), (1, 2, 3, 4), (4, 3, 2, 1, 0)),
)
ROWS = 1 << 20  # bytes that are filtered at once


def whole(pixels: np.ndarray) -> np.ndarray:
    """The pixels, those of bool as 0 and 1: in memory a True may be any byte."""
    return (pixels.view(np.uint8) != 0).astype(np.uint8) if pixels.dtype == bool else pixels


def samples(pixels: np.ndarray, colour: int, depth: int) -> np.ndarray | None:
    """(H, W, C) uint8 or uint16 of a picture's pixels for a colour type of PNG; None where they do not fit it."""
    flat = whole(pixels).reshape(*pixels.shape[:2], -1)
    if flat.shape[2] != CHANNELS[colour] or flat.dtype not in (np.uint8, np.uint16):
        return None
    if flat.dtype.itemsize * 8 > depth and flat.size and int(flat.max()) >> depth:
        return None
    return flat.astype(np.uint16 if depth == 16 else np.uint8)


def scanlines(values: np.ndarray, depth: int, interlaced: bool) -> list[np.ndarray]:
    """The rows of each pass that has any, (rows, bytes) uint8, without filters."""
    height, width, _ = values.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    return [pack(values[y::dy, x::dx], depth) for y, x, dy, dx in passes if y < height and x < width]


def pack(values: np.ndarray, depth: int) -> np.ndarray:
    """(H, bytes) uint8: samples (H, W, C) of so many bits, the first in the high bits, zeros behind the last."""
    height = len(values)
    if depth == 16:
        return np.ascontiguousarray(values.reshape(height, -1), ">u2").view(np.uint8)
    flat = np.ascontiguousarray(values.reshape(height, -1))
    if depth == 8:
        return flat
    many = 8 // depth
    padded = np.zeros((height, -(-flat.shape[1] // many) * many), np.uint8)
    padded[:, : flat.shape[1]] = flat
    parts = padded.reshape(height, -1, many) << (np.arange(many, dtype=np.uint8)[::-1] * depth)
    return np.bitwise_or.reduce(parts, axis=2)


def filtered(kind: int, here: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """(rows, bytes) uint8: rows filtered, given the rows above them and the bytes of a pixel."""
    if kind == 0:
        return here
    if kind == 2:
        return here - above
    left = np.zeros_like(here)
    left[:, step:] = here[:, :-step]
    if kind == 1:
        return here - left
    a, b = left.astype(np.int16), above.astype(np.int16)
    if kind == 3:
        return here - ((a + b) >> 1).astype(np.uint8)
    c = np.zeros_like(b)
    c[:, step:] = b[:, :-step]
    to_a, to_b = b - c, a - c
    to_c = np.abs(to_a + to_b)
    to_a, to_b = np.abs(to_a), np.abs(to_b)
    guess = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return here - guess.astype(np.uint8)


def _bands(rows: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Some rows at a time with those above them: first row, rows, rows above."""
    many = max(1, ROWS // rows.shape[1])
    above = np.zeros((1, rows.shape[1]), np.uint8)
    found = []
    for y in range(0, len(rows), many):
        here = rows[y : y + many]
        found.append((y, here, np.concatenate((above if y == 0 else rows[y - 1 : y], here[:-1]))))
    return found


def apply(passes: list[np.ndarray], kinds: np.ndarray, step: int) -> np.ndarray:
    """(n,) uint8: all rows filtered, each behind its filter's number; kinds (rows,) of all passes."""
    done, parts = 0, []
    for rows in passes:
        of_pass = kinds[done : done + len(rows)]
        out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        out[:, 0] = of_pass
        for y, here, above in _bands(rows):
            for kind in np.unique(of_pass[y : y + len(here)]):
                at = np.flatnonzero(of_pass[y : y + len(here)] == kind)
                out[y + at, 1:] = filtered(int(kind), here[at], above[at], step)
        parts.append(out.ravel())
        done += len(rows)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def sums(passes: list[np.ndarray], step: int) -> np.ndarray:
    """(rows, 5) int64: sums of the absolute values of the rows by each filter."""
    found = []
    for rows in passes:
        for _, here, above in _bands(rows):
            each = [filtered(kind, here, above, step) for kind in range(5)]
            found.append(np.stack([np.minimum(row, 0 - row).sum(1, dtype=np.int64) for row in each], 1))
    return np.concatenate(found)


def predict(rule: int, passes: list[np.ndarray], step: int, known: np.ndarray | None = None) -> np.ndarray:
    """(rows,) uint8: the filters of all rows by a rule; known: what `sums` returns, if it is at hand."""
    order = np.array(RULES[rule], np.uint8)
    if len(order) == 1:
        return np.full(sum(map(len, passes)), order[0], np.uint8)
    totals = sums(passes, step) if known is None else known
    return order[totals[:, order].argmin(1)]


def write(out: Writer, kinds: np.ndarray, passes: list[np.ndarray], step: int) -> None:
    """Writes the filters of all rows: the rule that predicts most of them, and the others."""
    known = sums(passes, step) if len(kinds) and np.ptp(kinds) else np.zeros((len(kinds), 5), np.int64)
    wrong = [np.flatnonzero(predict(rule, passes, step, known) != kinds) for rule in range(len(RULES))]
    rule = min(range(len(RULES)), key=lambda r: len(wrong[r]))
    out.number(rule)
    out.column(np.diff(wrong[rule], prepend=0))
    if len(wrong[rule]):
        out.column(kinds[wrong[rule]])


def read(source: Reader, passes: list[np.ndarray], step: int) -> np.ndarray:
    """(rows,) uint8 that `write` wrote. Raises CorruptFile."""
    rule = source.number()
    if rule >= len(RULES):
        raise damaged()
    kinds, places = predict(rule, passes, step), np.cumsum(source.column())
    if len(places):
        values = source.column()
        if len(values) != len(places) or places.min() < 0 or places.max() >= len(kinds) or values.max() > 4:
            raise damaged()
        kinds[places] = values
    return kinds
