"""What the C core does with JPEG coefficients: their Huffman-coded scans.

Coefficients of a component are (rows, columns, 64) int16, in natural order. A table of Huffman codes is (272,) uint8: how
many codes have 1 to 16 bits, then their symbols (ITU-T T.81, B.2.4.2).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from vlae_codec.native.library import ScanStruct, core, pointer

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
