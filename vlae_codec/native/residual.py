"""Exceptions: pixels that differ from pixels the decoder has already, as bytes.

A tile that a formula makes from other planes is mostly what it should be. `encode` codes where it is not, and what its
pixels are there, by adaptive binary arithmetic coding. Clusters of small differences, as clipping makes them, cost
least; something else laid over the tile costs about what a lossless codec takes for it.

The stream, of which docs/format.md has the coder, counters, mixers, squash and stretch; numbers of 32 bits are modulo
2^32, h and w are the tile's rows and columns, base is what the decoder has. No bytes mean that there is no exception.

    kinds      Blocks of 16x16 pixels, cut to the tile. Before the first row of a row of blocks come their kinds, from
               the left. A kind is a simple bit, whether it is not EXACT (0), and if so another, whether it is OTHER (2)
               and not NEAR (1): each by the counter 3 above + left of nine, which are kinds of blocks, 0 where there is
               none. Then the rows' pixels follow. Those of EXACT blocks are the base's.
    pixels     W is the pixel to the left; in column 0 that above, and in the first pixel the base's. N is above, or W
               in row 0; NW and NE above to the left and right, or N; WW two to the left, or W; NN two above, or N.
               G[c] is min(W, N) of channel c if NW >= max(W, N), else max(W, N) if NW <= min(W, N), else W + N - NW.
    colours    A flag for each of the colours base and, of OTHER, W, N, NW, NE, but for one that was asked for: whether
               the pixel has it; a 1 ends the pixel. Number k of these has node 2 k + other (0 of NEAR, 1 of OTHER) and
               the weights 28 other + 4 near + parity for k = 0, else 56 + k.
    otherwise  the differences from a prediction of green, red and blue, turns t = 0, 1, 2 of NEAR and 3, 4, 5 of
               OTHER: of NEAR the base's value, of OTHER clamp(G + the difference of green, 0, 255), green itself by G.

A difference has the weights s = 61 + 14 t. Node 0, weights s: whether it is not 0; of NEAR and blue, if the others are
0, that is not coded, it is not. Node 1, weights s + 1: whether it is negative, not coded if the prediction p is 0 or
255. Its size is 1 and at most p or 255 - p; as long as it is below that and below 13, a bit says whether it is larger:
of size n node n + 1, weights s + min(n + 1, 12). If it is 13 then and below the most, 8 bits of what it has more
follow, the highest first: node 14 + m, weights s + 13, m being 1 before the first and 2 m + bit after each. A value
outside 0 .. 255 MUST be refused.

A bit has 7 contexts. Context i and a node name the counter (context + node * 0x9E3779B1) * 0x2C1B3C6D >> 14 of table i.
The logits stretch(p) of the 7 counters are mixed by the weights' 7 numbers, squash of the sum is the probability. Rate
150, first weights 14000, limit 255, of kinds as well. With |x| bits(x) bits long, and

    hash(a, b)    y ^ (y >> 15), y = (a ^ (b * 0x85EBCA6B)) * 0x9E3779B1
    colour(x)     x[0] + 2^8 x[1] + 2^16 x[2]
    index(v, m)   clamp(v, -m, m) + m
    state(v)      0 of 0, 1 below 4, 2 below 252, 3 below 255, 4 of 255
    states        25 state(base[0]) + 5 state(base[1]) + state(base[2])
    extreme       2 if a state is 0 or 4, else 1 if one is 1 or 3, else 0
    unlike        bits 0 to 5: whether W, N, NW, NE, WW, NN are not as the base in their places; 0 in the first pixel
    near          the number of these bits
    parity        2 (row mod 2) + column mod 2
    dw, dn        differences that were coded of the pixels to the left and above, at most 127 in size; 0 without
    slope         the largest, over channels, of |right - left| + |below - above| of the base, the place itself at edges
    e[c]          G[c] - base[c]

the contexts are these, T being 2^20 t:

    flag of the base               flags of others, S below       difference, NEAR
    0  12 unlike + 3 parity        2^20 + S                       B = T + 9 index(first, 4) + index(last, 4)
       + extreme
    1  4 states + unlike mod 4     2^20 + 64 S + unlike           T + 9 index(dw[c], 4) + index(dn[c], 4)
    2  256 near + 16 bits(slope)   2^20 + unlike                  T + 4 states + parity
       + bits(sum |dw| + |dn|)
    3  hash(colour(base),          hash(colour(W), 2^20)          hash(colour(base), B)
       unlike mod 4)
    4  3 (16 towards               hash(colour(N), context 3)     T + 3 index(e[c], 16) + index(last, 1)
       + unlike mod 16) + extreme
    5  16 (4 states + parity)      hash(colour(NE),               T + 49 index(W' - base[c], 24)
       + bits(slope)               hash(colour(NW), context 4))   + index(N' - base[c], 24)
    6  apart                       hash(colour(WW),               hash(T + index(G' - base[c], 24), base[c])
                                   hash(colour(NN), context 5))

    difference, OTHER
    0  K = hash(2^16 p + 2^8 green + red, T), values of channels not yet coded being 0
    1  T + 9 index(dw[c], 4) + index(dn[c], 4)
    2  T + 16 (8 bits(dw[c]) + bits(dn[c])) + bits(last)
    3  hash(colour(W), hash(colour(N), K))
    4  T + 3 index(W[c] - G[c] if t is 3, else last, 16) + index(last, 1)
    5  hash(colour(NW), hash(colour(NE), context 3))
    6  hash(colour(WW), hash(colour(NN), context 5))

    S        bit 0 W = N, 1 NW = W, 2 N = NW, 3 N = NE, 4 W = WW, 5 N = NN
    towards  9 index(e[0], 1) + 3 index(e[1], 1) + index(e[2], 1)
    apart    hash(e[2], hash(e[1], hash(e[0], 0)))
    first    the difference of green, 0 of green itself; last: that of the channel before, 0 of green
    W' N' G' W[c] N[c] G[c]; if t > 0 plus the value of green, less W[1] N[1] G[1]
"""

from __future__ import annotations

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.native.library import aligned, check, core, pointer, span

DAMAGED = "the exceptions of a tile are damaged: get a fresh copy of the file"


def encode(base: np.ndarray, true: np.ndarray) -> bytes:
    """The data from which `decode` makes `true` of `base`, both (h, w, 3) uint8; empty if they are equal.

    Raises ValueError for arrays of other or of different shapes.
    """
    if true.shape != base.shape or base.ndim != 3 or base.shape[2] != 3:
        raise ValueError(f"both must be (h, w, 3), not {base.shape} and {true.shape}")
    if np.array_equal(base, true):
        return b""
    base, true = np.ascontiguousarray(base), np.ascontiguousarray(true)
    (height, width, _), room = base.shape, true.size + 64
    scratch = aligned(check(core.vlae_residual_scratch(height, width), "a tile"))
    while True:
        data = np.empty(room, np.uint8)
        args = (pointer(base, np.uint8), pointer(true, np.uint8), height, width, *span(data), *span(scratch))
        needed = check(core.vlae_residual_encode(*args), "exceptions")
        if needed <= room:
            return data[:needed].tobytes()
        room = needed


def decode(data: bytes, base: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: what `encode` was given with this base. Raises CorruptFile for data that it did not write."""
    if not data or not base.size:
        if data:
            raise CorruptFile(DAMAGED)
        return base.copy()
    base, packed = np.ascontiguousarray(base), np.frombuffer(data, np.uint8)
    height, width, _ = base.shape
    true = np.zeros_like(base)
    scratch = aligned(check(core.vlae_residual_scratch(height, width), "a tile"))
    args = (pointer(base, np.uint8), pointer(true, np.uint8), height, width, *span(packed), *span(scratch))
    if core.vlae_residual_decode(*args) < 0:
        raise CorruptFile(DAMAGED)
    return true
