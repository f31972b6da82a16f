"""The pixels of one band of a tile, in compiled loops: gather, network, distribution and coder, wave by wave."""

from __future__ import annotations

import numpy as np
from numba import njit

from vlae_codec.matmul import CHUNK, ROWS, differences, move
from vlae_codec.network_new import scratch
from vlae_codec.tables import (
    FACTOR_BITS,
    LEVEL_BITS,
    SIGMOID_BITS,
)

MASS = FACTOR_BITS + SIGMOID_BITS
HALF_LEVEL = 1 << (LEVEL_BITS - 1)


@njit(cache=True, nogil=True)
def _median(left, upper, corner):
    if corner >= max(left, upper):
        return min(left, upper)
    if corner <= min(left, upper):
        return max(left, upper)
    return left + upper - corner


@njit(cache=True, nogil=True)
def gather(x, width, channels, context, rows_of_context, features, wide, up, r, c, refs, less, more, out, at):
    """Bytes of the network's inputs for pixel (r, c) to out[at:]; refs (channels,) int64: the reference values."""
    reach = wide // 2
    here = (r * width + c) * channels
    above = here - width * channels
    for ch in range(channels):
        if r == 0:
            ref = np.int64(x[here - channels + ch]) if c > 0 else np.int64(128)
        elif c == 0:
            ref = np.int64(x[above + ch])
        else:
            ref = _median(
                np.int64(x[here - channels + ch]), np.int64(x[above + ch]), np.int64(x[above - channels + ch])
            )
        refs[ch] = ref
    row, n = at, wide * channels
    if r >= up and c >= reach and c + reach < width:
        for ch in range(channels):
            low, high = np.uint8(max(refs[ch] - 128, 0)), np.uint8(max(128 - refs[ch], 0))
            for k in range(ch, n, channels):
                less[np.uintp(k)], more[np.uintp(k)] = low, high
        begin = here - (up * width + reach) * channels
        for k in range(up + 1):
            for piece in range(0, n, CHUNK):
                differences(x, begin + piece, less, more, piece, out, row + piece)
            begin += width * channels
            row += n
        row -= (reach + 1) * channels
    else:
        for dr in range(up, -1, -1):
            for dc in range(-reach, reach + 1 if dr else 0):
                inside = r >= dr and c + dc >= 0 and c + dc < width
                begin = here - (dr * width - dc) * channels
                for ch in range(channels):
                    difference = np.int64(x[begin + ch]) - refs[ch] if inside else 0
                    out[row + ch] = min(max(difference, -128), 127) + 128
                row += channels
    for ch in range(channels):
        out[np.uintp(row + ch)] = refs[ch]
    row += channels
    begin = ((r % rows_of_context) * width + c) * features
    for k in range(0, features, CHUNK):
        move(context, begin + k, out, row + k)


@njit(cache=True, nogil=True)
def test_gather(net, x, width, channels, context, rc, features, wide, up, first, last):
    mem = scratch(net)
    refs = np.empty(channels, np.int64)
    less, more = np.zeros((2, 64), np.uint8)
    s = 0
    for r in range(first, last):
        for c in range(width):
            gather(
                x,
                width,
                channels,
                context,
                rc,
                features,
                wide,
                up,
                r,
                c,
                refs,
                less,
                more,
                mem[0],
                (c % ROWS) * net.width,
            )
        s += mem[0][5]
    return s
