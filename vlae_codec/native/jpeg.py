"""What the C core does with JPEG coefficients: their Huffman-coded scans, and the streams of this codec.

Coefficients of a component are (rows, columns, 64) int16, in natural order. A table of Huffman codes is (272,) uint8:
how many codes have 1 to 16 bits, then their symbols (ITU-T T.81, B.2.4.2).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlae_codec.native.library import CoefficientsStruct, ScanStruct, aligned, check, core, pointer, span

_NO_TABLE = np.zeros(272, np.uint8)


@dataclass(frozen=True)
class ScanComponent:
    """A component of a scan. An MCU has h by v blocks of it. Codes that the scan does not use may be missing."""

    blocks: np.ndarray
    h: int
    v: int
    dc: np.ndarray | None
    ac: np.ndarray | None


@dataclass(frozen=True)
class Scan:
    """A scan: MCUs in rows and columns, and what T.81, B.2.3 and B.2.4.4 call Ss, Se, Ah, Al and Ri."""

    components: tuple[ScanComponent, ...]
    rows: int
    columns: int
    begin: int
    end: int
    high: int
    low: int
    interval: int  # MCUs between markers of restart; 0: there are none

    @property
    def intervals(self) -> int:
        """How many parts the markers of restart make of it."""
        return -(-self.rows * self.columns // self.interval) if self.interval else 1

    @property
    def struct(self) -> ScanStruct:
        struct = ScanStruct(count=len(self.components), rows=self.rows, columns=self.columns, begin=self.begin)
        struct.end, struct.high, struct.low, struct.interval = self.end, self.high, self.low, self.interval
        for slot, one in zip(struct.components, self.components, strict=False):
            codes = (_NO_TABLE if code is None else code for code in (one.dc, one.ac))
            slot.blocks, slot.dc, slot.ac = pointer(one.blocks, np.int16), *(pointer(code, np.uint8) for code in codes)
            (slot.rows, slot.columns, _), slot.h, slot.v = one.blocks.shape, one.h, one.v
        return struct


def read_scan(scan: Scan, data: bytes, at: int) -> tuple[int, np.ndarray] | None:
    """Bytes of the entropy-coded data of a scan that begin at a place, and (intervals,) uint8 of what pads them.

    The coefficients are set. None: the data are damaged, or not coded as encoders do.
    """
    padding = np.empty(scan.intervals, np.uint8)
    coded = np.frombuffer(data, np.uint8)[at:]
    used = core.vlae_read_scan(
        ctypes.byref(scan.struct), pointer(coded, np.uint8), len(coded), pointer(padding, np.uint8), len(padding)
    )
    return (used, padding) if used >= 0 else None


def write_scan(scan: Scan, padding: np.ndarray, out: np.ndarray) -> int | None:
    """How many bytes the entropy-coded data of a scan are, which are written to (n,) uint8 as far as there is room.

    None: the codes cannot express the coefficients.
    """
    used: int = core.vlae_write_scan(
        ctypes.byref(scan.struct), pointer(padding, np.uint8), len(padding), pointer(out, np.uint8), len(out)
    )
    return used if used >= 0 else None


@dataclass(frozen=True)
class Plane:
    """The rows of a component from the first to before the last one, which a stream holds."""

    blocks: np.ndarray
    table: np.ndarray  # (64,) int32: steps, natural order
    sampling: tuple[int, int]
    first: int
    last: int


def _struct(planes: Sequence[Plane]) -> CoefficientsStruct:
    struct = CoefficientsStruct(count=len(planes))
    for slot, plane in zip(struct.planes, planes, strict=False):
        slot.blocks, slot.table = pointer(plane.blocks, np.int16), pointer(plane.table, np.int32)
        (slot.rows, slot.columns, _), (slot.h, slot.v) = plane.blocks.shape, plane.sampling
        slot.first, slot.last = plane.first, plane.last
    return struct


def push_coefficients(planes: Sequence[Plane]) -> bytes:
    """A stream of the rows of all components."""
    struct, size = _struct(planes), 1024
    scratch = aligned(check(core.vlae_coefficients_scratch(ctypes.byref(struct)), "coefficients"))
    size += sum(64 * (plane.last - plane.first) * plane.blocks.shape[1] for plane in planes)
    while True:
        out = np.empty(size, np.uint8)
        size = check(core.vlae_push_coefficients(ctypes.byref(struct), *span(out), *span(scratch)), "coefficients")
        if size <= len(out):
            return out[:size].tobytes()


def pop_coefficients(planes: Sequence[Plane], stream: bytes) -> None:
    """Sets the rows of all components to those of a stream. Raises EmptyStack for one that ends too early."""
    struct = _struct(planes)
    scratch = aligned(check(core.vlae_coefficients_scratch(ctypes.byref(struct)), "coefficients"))
    data = np.frombuffer(stream or b"\0", np.uint8)
    check(core.vlae_pop_coefficients(ctypes.byref(struct), *span(data), *span(scratch)), "coefficients")
