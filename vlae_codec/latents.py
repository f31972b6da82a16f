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
    columns: int  # of a row of parameters, in memory


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
            for j in range(prior.base.shape[1]):
                params[i, j] = prior.base[0, j]
    else:
        _step(prior, prior.affine, plane, rows, columns, begin, n, memory, params)


@njit(cache=True, nogil=True)
def prior_parameters(prior, z, rows, columns, planes, params, offsets, outers):
    """Fills params (cells, prior.columns) int32 and offsets, outers (cells, C) int32 of known latents.

    z: (cells, C) uint8 at cells rows, columns (cells,) int64; planes: (affine + 1, h, w, C) int8, to work in.
    """
    cells, block = len(z), 16 * ROWS
    memory, part = scratch(prior.net), np.empty((block, params.shape[1]), np.int32)
    for i in range(cells):
        for c in range(z.shape[1]):
            offsets[i, c], outers[i, c] = CENTRE, OUTER_IDENTITY
            planes[0, rows[i], columns[i], c] = (np.int64(z[i, c]) - LEVELS // 2) << 2
    for t in range(prior.affine + 1):
        for begin in range(0, cells, block):
            n = min(block, cells - begin)
            if t < prior.affine:
                _step(prior, t, planes[t], rows, columns, begin, n, memory, part)
                _affine(prior, part, n, offsets, outers, begin)
            else:
                _last(prior, planes[t], rows, columns, begin, n, memory, part)
                for i in range(n):
                    for j in range(params.shape[1]):
                        params[begin + i, j] = part[i, j]
        if t < prior.affine:
            _publish(prior, z, offsets, outers, planes[t + 1], rows, columns, cells)


@njit(cache=True, nogil=True)
def pop_prior(prior, z, heads, words, size):
    """Pops latents into z (h, w, C) uint8; the new number of words in the stack (`heads` and words[:size], changed in
    place), or -1 if it ran out.
    """
    height, width, channels = z.shape
    steps, most = prior.affine, height + ROWS
    memory, params = scratch(prior.net), np.empty((most, prior.columns), np.int32)
    planes = np.zeros((steps + 1, height, width, channels), np.int8)
    offsets, outers = np.empty((steps + 1, most, channels), np.int32), np.empty((steps + 1, most, channels), np.int32)
    symbols = np.empty((most, channels), np.uint8)
    rows, columns = np.empty(most, np.int64), np.empty(most, np.int64)
    args = (prior.mixtures, len(prior.base) == 0, LEVELS, channels, prior.tables)
    phase = 0
    for wave in range(width + prior.slope * (height - 1)):
        low, high = wave_rows(wave, height, width, prior.slope)
        n = high - low
        for i in range(n):
            rows[i], columns[i] = low + i, wave - prior.slope * (low + i)
            for c in range(channels):
                offsets[0, i, c], outers[0, i, c] = CENTRE, OUTER_IDENTITY
        for t in range(steps):
            _step(prior, t, planes[t], rows, columns, 0, n, memory, params)
            for i in range(n):
                for c in range(channels):
                    offsets[t + 1, i, c], outers[t + 1, i, c] = offsets[t, i, c], outers[t, i, c]
            _affine(prior, params, n, offsets[t + 1], outers[t + 1], 0)
        _last(prior, planes[steps], rows, columns, 0, n, memory, params)
        size = pop_rows(params, offsets[steps], outers[steps], n, *args, heads, phase, words, size, symbols)
        if size < 0:
            return size
        phase += n
        for i in range(n):
            for c in range(channels):
                z[rows[i], columns[i], c] = symbols[i, c]
                planes[0, rows[i], columns[i], c] = (np.int64(symbols[i, c]) - LEVELS // 2) << 2
        for t in range(1, steps + 1):
            _publish(prior, symbols, offsets[t], outers[t], planes[t], rows, columns, n)
    return size


def prior_intervals(prior: Prior, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, freqs), uint32 of the shape of the latents z (h, w, C) uint8."""
    height, width, channels = z.shape
    symbols, shape = np.ascontiguousarray(z).reshape(-1, channels), (height * width, channels)
    rows, columns = np.divmod(np.arange(height * width), width)
    planes = np.empty((prior.affine + 1, *z.shape), np.int8)
    params = np.empty((height * width, prior.columns), np.int32)
    offsets, outers = np.empty((2, *shape), np.int32)
    prior_parameters(prior, symbols, rows, columns, planes, params, offsets, outers)
    starts, freqs = np.zeros((2, *shape), np.uint32)
    args = (prior.mixtures, len(prior.base) == 0, LEVELS, channels, prior.tables)
    intervals(params, offsets, outers, symbols, *args, starts, freqs)
    return starts.reshape(z.shape), freqs.reshape(z.shape)
