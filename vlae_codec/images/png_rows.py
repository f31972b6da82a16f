"""Samples <-> the compressed rows of a PNG: deflate, filters, interlacing and samples of less than a byte."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable

import numpy as np

from vlae_codec.images.png_chunks import PALETTE, Header, damaged
from vlae_codec.limits import Limits
from vlae_codec.native.rows import filter_rows, unfilter

PASSES = (  # of Adam7: x and y of the first pixel, steps in x and y
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
LEVEL = 6  # of zlib
PART = 1 << 16  # compressed bytes that are given at a time
BAND = 1 << 18  # bytes of rows that are restored at a time


def read_samples(header: Header, parts: Iterable[memoryview], limits: Limits) -> tuple[np.ndarray, list[str]]:
    """(H, W), or (H, W, C) of several channels, uint8 or, with 16 bits, uint16: the samples as they stand; and notes.

    parts: the data of the chunks with the compressed rows. Raises UnsupportedImage and, before memory is taken,
    ImageTooLarge.
    """
    width, height, channels = header.width, header.height, header.channels
    wide = header.depth == 16
    steps = PASSES if header.interlaced else ((0, 0, 1, 1),)
    sizes = [((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in steps]
    whole = header.depth >= 8 and not header.interlaced
    taken = width * height * channels * (1 + wide)
    row = 1 + header.stride(width)
    limits.check(width * height, 1, (2 - whole) * taken + row + min(height * row, max(row, BAND)))
    samples = np.empty((height, width, channels)[: 3 if channels > 1 else 2], np.uint16 if wide else np.uint8)
    rows, step = _Rows(parts), max(1, channels * header.depth // 8)
    for (x, y, dx, dy), (w, h) in zip(steps, sizes):
        if not (w and h):
            continue
        stride = header.stride(w)
        plain = samples.reshape(h, -1).view(np.uint8) if whole else np.empty((h, stride), np.uint8)
        band = np.empty((min(h, max(1, BAND // (1 + stride))), 1 + stride), np.uint8)
        for first in range(0, h, len(band)):
            filtered = band[: h - first]
            rows.fill(filtered.reshape(-1))
            if not unfilter(filtered, step, plain, first):
                raise damaged("an unknown filter")
        if not whole:
            part = plain.view(samples.dtype) if header.depth >= 8 else _unpack(plain, w * channels, header.depth)
            samples[y::dy, x::dx] = part.reshape(h, w, *samples.shape[2:])
    if wide and sys.byteorder == "little":
        samples.byteswap(inplace=True)
    return samples, rows.finish()


class _Rows:
    """The inflated rows, in order. No part gives more than is asked for, so that nothing large is made of little."""

    def __init__(self, parts: Iterable[memoryview]) -> None:
        self._slices = (part[begin : begin + PART] for part in parts for begin in range(0, len(part), PART))
        self._inflater = zlib.decompressobj()

    def _next(self, most: int) -> bytes:
        """1 to `most` bytes; nothing when there are no more. Raises UnsupportedImage."""
        while not self._inflater.eof:
            given = self._inflater.unconsumed_tail or next(self._slices, b"")
            try:
                got = self._inflater.decompress(given, most)
            except zlib.error as error:
                raise damaged(str(error)) from error
            if got or not given:
                return got
        return b""

    def fill(self, out: np.ndarray) -> None:
        """Fills in (n,) uint8. Raises UnsupportedImage."""
        at = 0
        while at < out.size:
            got = self._next(out.size - at)
            if not got:
                raise damaged("pixels are missing")
            out[at : at + len(got)] = np.frombuffer(got, np.uint8)
            at += len(got)

    def finish(self) -> list[str]:
        """Notes on the end of the rows. Raises UnsupportedImage if their checksum is wrong."""
        if self._next(1):
            return ["data behind the last row"]
        return [] if self._inflater.eof else ["the end of the compressed rows, which is missing"]


def _unpack(rows: np.ndarray, width: int, depth: int) -> np.ndarray:
    """(h, width) samples of 1, 2 or 4 bits from bytes, the highest bits first."""
    if depth == 1:
        return np.unpackbits(rows, axis=1, count=width)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    return (rows[..., None] >> shifts & (1 << depth) - 1).reshape(len(rows), -1)[:, :width]


def _pack(samples: np.ndarray, depth: int) -> np.ndarray:
    """The inverse of `_unpack`."""
    if depth == 1:
        return np.packbits(samples, axis=1)
    height, width = samples.shape
    count = 8 // depth
    padded = np.zeros((height, -(-width // count), count), np.uint8)
    padded.reshape(height, -1)[:, :width] = samples
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    return np.bitwise_or.reduce(padded << shifts, axis=2)


def write_samples(header: Header, samples: np.ndarray) -> bytes:
    """The compressed rows, not interlaced. Rows of bytes that are no indices are filtered."""
    if header.depth < 8:
        rows = _pack(samples, header.depth)
    else:
        rows = np.ascontiguousarray(samples, ">u2" if header.depth == 16 else np.uint8).reshape(header.height, -1)
        rows = rows.view(np.uint8)
    if header.depth < 8 or header.colour == PALETTE:
        filtered, strategy = np.pad(rows, ((0, 0), (1, 0))), zlib.Z_DEFAULT_STRATEGY
    else:
        filtered, strategy = filter_rows(rows, header.channels * header.depth // 8), zlib.Z_FILTERED
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, 15, 9, strategy)
    return deflater.compress(filtered.data) + deflater.flush()
