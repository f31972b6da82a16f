"""What the C core does with JPEG coefficients: their Huffman-coded scans, and the streams of this codec.

Coefficients of a component are (rows, columns, 64) int16, in natural order. A table of Huffman codes is (272,) uint8:
how many codes have 1 to 16 bits, then their symbols (ITU-T T.81, B.2.4.2).

A stream has the blocks of all components at a tile, one component after the other, row by row. docs/format.md has the
coder and its terms. Here x / y drops what is behind the point, also of negative numbers. A block X, X[8 v + u] being
the value of the horizontal frequency u and the vertical one v, is coded in four parts:

    inner    the number of values u, v > 0 that are not 0, kind COUNTS, 6 bits, more than 49 being 49; then, in zigzag
             order until so many have come, these values, kind VALUES
    sides    side 0, of u = j and v = 0, then side 1, of u = 0 and v = j, j = 1 .. 7: the number of values that are not
             0, kind SIDES, 3 bits; then, until so many have come, these values, kind EDGES
    DC       X[0] less a prediction, kind DCS; the sum is taken modulo 2^16, as int16

A number is coded from its highest bit down, each at a node: 1, then 2 node + bit. A value of a kind is coded so:

    node 0               whether it is not 0
    node 0 of its signs  whether it is negative; kinds SIGNS, EDGE_SIGNS and DC_SIGNS
    node U + min(b, 9)   whether its size has more than b bits, from b = 1 on until it has not, or b is 16
    node U + min(8 + b, 15)   the second highest of the b bits. Bits below it are simple ones, by a counter of the
                         class, the kind, b and a place, limit 250: the place of bit i (0 is the lowest) is i, but of
                         the third highest i + 16 + 16 * (the second highest bit)

U is 16 if the kind is EDGES, `smooth` (below) is not 0 and has the other sign; else 0. The class of a component is 1,
but 0 of the first and of the fourth of four; components of a class share all that adapts.

A bit of a kind has contexts, each of which, with the node, names a counter; limit 200. Inputs are the logits of the
counters and 256. They are mixed twice, by the weights of the node and by those of min(node, 7) and the kind's pick;
first weights are 10000, of the input 256 they are 0. Both logits are clamped to -3071 .. 3071 and mixed by the final
weights of the node, first 32768, to one, which is clamped so, too. With p its squash and r1, r2 what the refinements of
the two weights make of it, the probability is clamp((2 p + r1 + r2) // 4, 1, 65535). Then the two weights learn by the
errors of their own logits at rate 90, the final ones by that of p at rate 12, and the refinements at rate 6.

A, L, C, R, AA and LL are the blocks above, to the left, above to the left, above to the right, two above and two to the
left. In row 0 A and R are L, in column 0 L is A, in the last column R is A; C is A in row 0 or column 0, AA is A in
rows 0 and 1, LL is L in columns 0 and 1; all are 0 in the first block. O is the block at the same place of the
component before, if that is not the first and has as many rows and columns of blocks and the same factors, else 0. Of
blocks, inner, side0 and side1 are the three numbers and residue what was coded of the DC; |x| is the size of x.

    luma      of the first component 0. Else of that one's blocks from row y V / v and column x H / h on, (H, V) being
              its factors and (h, v) the component's: two rows if V >= 2 v, else one, and two columns likewise, as far
              as there are such, n in all. inner, side0, side1, residue: sums / n. luma[8 v + u]: min(4 sum |block[8 v'
              + u']| / n, 32767), v' being (v + 1) / 2 of two rows, else v, and u' likewise. Y is the block if neither
              rows nor columns are two, else 0
    near      10 (|A| + |L|) + 4 (|C| + |R|) + 2 (|AA| + |LL|) of the value, at most 32767
    level(x)  0 of 0, 1 of 1, else 1 + 2 k + the bit below the highest one, k that one's place; at most 23
    few(x)    x up to 4, 5 up to 6, 6 up to 8, 7 up to 11, 8 up to 15, 9 up to 21, 10 up to 29, 11 up to 39, 12 beyond
    sign(x)   0 below 0, 1 of 0, 2 above
    b0, b1    sizes of the values before this one and before that in the part, 0 before them

COUNTS, with a, l, c, r inner of A, L, C, R, h = (a + l + 1) / 2 and m = (2 a + 2 l + c + r + 3) / 6; pick few(h):

    h    13 few(a) + few(l)    13 few(luma) + few(h)    m    13 few(O) + few(h)    13 few(c) + few(r)

VALUES, number k of the zigzag order of these (0 .. 48), f = few(g), g being how many are still to come, n = level(near)
and lower = 2 |X[v - 1, u]| + 2 |X[v, u - 1]| + |X[v - 1, u - 1]| + |X[v - 2, u]| + |X[v, u - 2]|, those of u or v 0 or
less being 0 here and in SIGNS; pick k:

    24 k + n                         (13 k + f) 4 + min(n / 4, 3)                   24 k + level(lower)
    (24 n + level(lower)) 13 + f     13 (36 min(|A|, 3) + 9 min(|L|, 3) + 3 min(|C|, 2) + min(|R|, 2)) + u + v - 2
    24 k + level(luma)               50 g + k                                       16 k + 4 min(b0, 3) + min(b1, 3)
    24 k + level(2 near + near of the places around, u or v one less or more, in 0 .. 7 + 12 lower)
    13 k + few(m)                    50 k + the number of values                    (13 k + min(|O|, 12)) 4
                                                                                    + min(n / 4, 3)

SIGNS, pick k, of the signs of these values:

    9 k + 3 A + L    9 k + 3 O + Y    9 k + 3 X[v - 2, u] + X[v, u - 2]
    27 k + 9 X[v - 1, u] + 3 X[v, u - 1] + X[v - 1, u - 1]               27 k + 9 C + 3 A + L

M[x, u] is 4096 cos((2 x + 1) u pi / 16) to the nearest integer, of u = 0 2896; Q is clamp(clamp(X, -2047, 2047) * step,
-16383, 16383). Each block leaves lines, below for the next row and beside for the next column, 0 where there is none.
For side 0 they are those of A, for side 1 of L, and X is transposed for side 1 in these formulas:

    first   sum of M[0, i] Q[8 i + j] over i = 1 .. 7, >> 10; second by M[1, i]
    flat    (near_j - first) * 5793 / 4096            equal   clamp(flat / step, -32767, 32767)
    bent    (near_j - far_j - first + second) * 5793 / 4096
    smooth  clamp((flat + bent / 2) / step, -32767, 32767); equal and smooth are 0 if there is no block on the side

SIDES, with s the side, i the block's inner, a and l the side's number of A and L, h = (a + l + 1) / 2, and e how many
of the 7 |smooth| are 3 or more; pick 13 s + few(i):

    (13 s + few(i)) 8 + h    (8 s + a) 8 + l    (13 s + few(luma's inner)) 8 + luma's side    (8 s + o) 8 + h, o being
    side0 of the block in side 1, else 0        (8 s + O's side) 8 + h                        (8 s + e) 13 + few(i)

EDGES, k = 7 s + j - 1, g to come, E = level(|smooth|), S = level(|equal|), n = level(near), and inward = 4 |X[8 + j]|
+ 2 |X[16 + j]| + |X[24 + j]| + 2 |X[9 + j]| if j < 7 + 2 |X[7 + j]| if j > 1; pick k:

    24 k + E                   24 k + n                  (8 k + g) 12 + min(n / 2, 11)           24 k + level(inward)
    24 k + level(luma)         (13 k + few(i)) 8 + g     (24 s + E) 24 + n       16 k + 4 min(b0, 3) + min(b1, 3)
    24 k + S                   (24 k + level(2 |O|)) 4 + min(E / 3, 3)

EDGE_SIGNS, with p = 1 if smooth < 0 and q = 1 if equal < 0, else 0; pick k:

    24 (2 k + p) + E    24 (2 k + q) + S    9 k + 3 sign(A) + sign(L)    9 k + 3 sign(O) + sign(Y)
    24 (24 (4 s + 2 q + p) + S) + E

DC, with X[0] = 0; all sums are clamped to -32767 .. 32767 after their shift:

    rows[v, x]     sum of M[x, u] Q[8 v + u] over u >> 10        columns[u, y]  sum of M[y, v] Q[8 v + u] over v >> 10
    pixels[y, x]   sum of M[y, v] rows[v, x] over v >> 13
    guess_i        near_i - first + (near_i - far_i - first + second) / 2 of the side's lines, i = 0 .. 7; first and
                   second are pixels[0, i] and pixels[1, i], in side 1 pixels[i, 0] and pixels[i, 1]
    mean, spread   sum of guess_i; sum of |guess_i - mean / 8|, of each side
    guess          (mean0 (spread1 + 8) + mean1 (spread0 + 8)) / (spread0 + spread1 + 16) with blocks on both sides, and
                   spread is the smaller; with one that side's; with none both are 0. differ = |mean0 - mean1|, or 0
    prediction     g = guess / 8; (g + half) / step, half being step / 2, or -step / 2 if g < 0; clamped as sums

DCS, with t = level(spread / step), d = level(differ / step), r = level(|A's residue| + |L's|); pick t. DC_SIGNS, of the
signs of residues, pick 0:

    t    24 t + d    24 t + r    24 few(inner) + r    24 level(|luma's residue|) + level(|O's|)    d
    3 A + L          24 sign(mean0 - mean1) + d       O                                            9 O + 3 luma + L

Lines, the nearer first, with w = Q[0] of the DC, clamped as sums:

    below    near_i, far_i of pixels: pixels[7, i] + w, pixels[6, i] + w    of frequencies: columns[i, 7], columns[i, 6]
    beside   near_i, far_i of pixels: pixels[i, 7] + w, pixels[i, 6] + w    of frequencies: rows[i, 7], rows[i, 6]
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
