"""The latents of a tile on the CPU, in compiled loops: the flow prior, and pops of the posterior.

Step t of the flow sees a window of plane u_t (u_0 being the latents themselves) and gives, for each cell, how u_(t+1)
comes from z there: u = (z - offset) / outer scale. The last step gives the distribution, under the affine map of those
before it; a prior without steps has a constant one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vlae_codec.network import Packed, forward, scratch
from vlae_codec.simd import ROWS
from vlae_codec.tables import (
    LEVEL_BITS,
    OUTER_IDENTITY,
    OUTER_SCALES,
    Tables,
    intervals,
    pop_rows,
)
from vlae_codec.waves import latent_row, wave_rows

LEVELS = 64
CENTRE = (LEVELS // 2) << LEVEL_BITS  # the latent 0
OFFSET_LIMIT = 1 << 20


class Prior(NamedTuple):
    """What the prior of a model needs."""

    net: Packed  # the affine steps and, if there is one, the mixture
    affine: int  # number of affine steps
    base: np.ndarray  # (1, P) int32, or (0, 0) with a mixture
    tables: Tables
    offsets: np.ndarray  # (n, 2) int64, the window's
    slope: int
    mixtures: int


def centred(z: np.ndarray) -> np.ndarray:
    """Latent symbols 0 .. 63 as network inputs: int8, 4 steps a level."""
    return ((z - np.uint8(LEVELS // 2)) << np.uint8(2)).view(np.int8)


@njit(cache=True, nogil=True)
def _step(prior, t, plane, rows, columns, begin, n, memory, params):
    """params (n or more, columns) int32 of step t at the cells rows, columns [begin : begin + n]."""
    flat = params.reshape(-1)
    for first in range(0, n, ROWS):
        for i in range(first, min(first + ROWS, n)):
            r, c = rows[begin + i], columns[begin + i]
            latent_row(plane, prior.offsets, r, c, memory[0], (i - first) * prior.net.width)
        forward(prior.net, t, memory, flat, first * prior.net.columns)


@njit(cache=True, nogil=True)
def _affine(prior, params, n, offsets, outers, begin):
    """Offsets and outer scales (.., C) of n cells from `begin` on, one step further; in place."""
    channels = offsets.shape[1]
    for i in range(n):
        for c in range(channels):
            outer = outers[begin + i, c]
            moved = (np.int64(params[i, c]) * prior.tables.outer_scale[outer]) >> 16
            offset = np.int64(offsets[begin + i, c]) + moved
            offsets[begin + i, c] = min(max(offset, -OFFSET_LIMIT), OFFSET_LIMIT)
            outers[begin + i, c] = min(max(outer + params[i, channels + c], 0), OUTER_SCALES - 1)


@njit(cache=True, nogil=True)
def _publish(prior, z, offsets, outers, plane, rows, columns, n):
    """The plane (h, w, C) int8 of u in 1/16 at n cells, of z (n, C) under the affine map."""
    for i in range(n):
        for c in range(z.shape[1]):
            inverse = prior.tables.outer_inverse[outers[i, c]]
            u = (((np.int64(z[i, c]) << LEVEL_BITS) - offsets[i, c]) * inverse) >> 16
            plane[rows[i], columns[i], c] = min(max((u + 2) >> 2, -128), 127)


@njit(cache=True, nogil=True)
def _last(prior, plane, rows, columns, begin, n, memory, params):
    """Parameters of the distributions at n cells."""
    if len(prior.base):
        for i in range(n):
            params[i, : prior.base.shape[1]] = prior.base[0]
    else:
        _step(prior, prior.affine, plane, rows, columns, begin, n, memory, params)


@njit(cache=True, nogil=True)
def prior_intervals(prior, z, starts, freqs):
    """Fills starts, freqs (h * w, C) uint32 with the intervals of latents z (h, w, C) uint8."""
    height, width, channels = z.shape
    cells, block = height * width, 16 * ROWS
    memory, params = scratch(prior.net), np.empty((block, max(prior.net.columns, prior.base.shape[1])), np.int32)
    offsets = np.full((cells, channels), np.int32(CENTRE))
    outers = np.full((cells, channels), np.int32(OUTER_IDENTITY))
    rows, columns = np.arange(cells) // width, np.arange(cells) % width
    symbols = z.reshape((cells, channels))
    plane = np.empty((height, width, channels), np.int8)
    for i in range(cells):
        for c in range(channels):
            plane[rows[i], columns[i], c] = (np.int64(symbols[i, c]) - LEVELS // 2) << 2
    for t in range(prior.affine):
        for begin in range(0, cells, block):
            n = min(block, cells - begin)
            _step(prior, t, plane, rows, columns, begin, n, memory, params)
            _affine(prior, params, n, offsets, outers, begin)
        plane = np.empty((height, width, channels), np.int8)
        _publish(prior, symbols, offsets, outers, plane, rows, columns, cells)
    for begin in range(0, cells, block):
        n = min(block, cells - begin)
        _last(prior, plane, rows, columns, begin, n, memory, params)
        part = slice(begin, begin + n)
        args = (prior.mixtures, len(prior.base) == 0, LEVELS, channels, prior.tables)
        intervals(params[:n], offsets[part], outers[part], symbols[part], *args, starts[part], freqs[part])


@njit(cache=True, nogil=True)
def pop_prior(prior, z, heads, words, size):
    """Pops latents into z (h, w, C) uint8; the new number of words in the stack (`heads` and words[:size], changed in
    place), or -1 if it ran out.
    """
    height, width, channels = z.shape
    most = height + ROWS
    memory, params = scratch(prior.net), np.empty((most, max(prior.net.columns, prior.base.shape[1])), np.int32)
    planes = np.zeros((prior.affine + 1, height, width, channels), np.int8)
    offsets = np.empty((prior.affine + 1, most, channels), np.int32)
    outers = np.empty((prior.affine + 1, most, channels), np.int32)
    symbols = np.empty((most, channels), np.uint8)
    rows, columns = np.empty((2, most), np.int64)
    phase = 0
    for wave in range(width + prior.slope * (height - 1)):
        low, high = wave_rows(wave, height, width, prior.slope)
        n = high - low
        for i in range(n):
            rows[i], columns[i] = low + i, wave - prior.slope * (low + i)
        offsets[0, :n], outers[0, :n] = CENTRE, OUTER_IDENTITY
        for t in range(prior.affine):
            _step(prior, t, planes[t], rows, columns, 0, n, memory, params)
            offsets[t + 1, :n], outers[t + 1, :n] = offsets[t, :n], outers[t, :n]
            _affine(prior, params, n, offsets[t + 1], outers[t + 1], 0)
        _last(prior, planes[prior.affine], rows, columns, 0, n, memory, params)
        args = (prior.mixtures, len(prior.base) == 0, LEVELS, channels, prior.tables)
        last = prior.affine
        size = pop_rows(params, offsets[last], outers[last], n, *args, heads, phase, words, size, symbols)
        if size < 0:
            return size
        phase += n
        for i in range(n):
            for c in range(channels):
                z[rows[i], columns[i], c] = symbols[i, c]
                planes[0, rows[i], columns[i], c] = (np.int64(symbols[i, c]) - LEVELS // 2) << 2
        for t in range(1, prior.affine + 1):
            _publish(prior, symbols, offsets[t], outers[t], planes[t], rows, columns, n)
    return size
