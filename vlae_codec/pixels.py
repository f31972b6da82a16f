"""The pixels of a band of a tile on the CPU, in compiled loops: gather, network, distributions and coder.

A few pixels at a time go all the way, so that what lies between is never in memory. A band that is coded is in raster
order, all in parallel; one that is decoded is taken wave by wave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from vlae_codec.ans import Message
from vlae_codec.errors import EmptyStack
from vlae_codec.network import Packed, forward, scratch
from vlae_codec.simd import ROWS
from vlae_codec.tables import LEVEL_BITS, OUTER_IDENTITY, Tables, intervals, intervals_5_3, pop_rows, pop_rows_5_3
from vlae_codec.waves import SLACK, pixel_row, wave_rows, with_slack

BLOCK = 16 * ROWS  # pixels whose parameters are held at once where all are known
STRIP = 1 << 15  # such pixels that a thread takes at once


class Setting(NamedTuple):
    """What the pixels of a model need."""

    net: Packed  # the local network
    tables: Tables
    wide: int  # of the window
    up: int
    features: int  # of the context
    mixtures: int
    levels: int
    stretch: int  # left shift of a symbol where it enters the network


class Context(NamedTuple):
    """Features of a tile's pixels."""

    data: np.ndarray  # uint8, flat with SLACK: (period, width, features), 128 more than the features
    period: int  # rows after which they repeat


@njit(cache=True, nogil=True)
def pattern(setting, channels):
    """Memory of one row of the window."""
    return np.zeros(setting.wide * channels + SLACK, np.uint8)


@njit(cache=True, nogil=True)
def pixel_rows(setting, x, width, channels, context, positions, rows, references):
    """Rows (n, inputs) uint8 of inputs' bytes and references (n, C) uint8 of the pixels at flat indices `positions`.

    x: the tile (H, width, C), stretched, flat with SLACK.
    """
    memory = scratch(setting.net)[0]
    less, more = pattern(setting, channels), pattern(setting, channels)
    flat, window = references.reshape(-1), (setting.features, setting.wide, setting.up)
    for i in range(len(positions)):
        r, c = positions[i] // width, positions[i] % width
        place = (x, width, channels, context.data, context.period, *window, r, c)
        pixel_row(*place, less, more, memory, 0, flat, i * channels)
        rows[i] = memory[: rows.shape[1]]


@njit(cache=True, nogil=True)
def band_intervals(setting, x, width, channels, context, positions, coded, starts, freqs, at):
    """Fills starts, freqs (n or more, C) uint32 from row `at` on with the intervals of the pixels at flat `positions`.

    x: the tile (H, width, C), stretched, flat with SLACK.
    """
    net, count, window = setting.net, len(positions), (setting.features, setting.wide, setting.up)
    memory = scratch(net)
    less, more = pattern(setting, channels), pattern(setting, channels)
    params = np.empty((BLOCK, net.columns), np.int32)
    offsets, symbols = np.empty((BLOCK, channels), np.int32), np.empty((BLOCK, channels), np.uint8)
    references = np.empty(BLOCK * channels, np.uint8)
    outers = np.full((BLOCK, channels), OUTER_IDENTITY, np.int32)
    flat_params, flat_offsets, flat_symbols = params.reshape(-1), offsets.reshape(-1), symbols.reshape(-1)
    for begin in range(0, count, BLOCK):
        n = min(BLOCK, count - begin)
        for first in range(0, n, ROWS):
            for i in range(first, min(first + ROWS, n)):
                position = positions[begin + i]
                r, c = position // width, position % width
                place = (x, width, channels, context.data, context.period, *window, r, c)
                pixel_row(*place, less, more, memory[0], (i - first) * net.width, references, i * channels)
                for j in range(channels):
                    flat_symbols[i * channels + j] = x[position * channels + j] >> setting.stretch
            forward(net, 0, memory, flat_params, first * net.columns)
        for i in range(n * channels):
            flat_offsets[i] = (np.int32(references[i]) << LEVEL_BITS) >> setting.stretch
        out, args = slice(at + begin, at + begin + n), (setting.levels, coded, setting.tables)
        rows = (params[:n], offsets[:n], outers[:n], symbols[:n])
        if setting.mixtures == 5 and channels == 3:
            intervals_5_3(*rows, *args, starts[out], freqs[out])
        else:
            intervals(*rows, setting.mixtures, True, *args, starts[out], freqs[out])


@njit(cache=True, nogil=True)
def pop_band(setting, x, width, channels, context, first, last, coded, heads, words, size):
    """Pops rows first .. last of a tile into x, the rows above being there; the new number of words in the stack
    (`heads` and words[:size], changed in place), or -1 if it ran out.

    x: (H, width, C), stretched, flat with SLACK.
    """
    net, height, slope = setting.net, last - first, setting.wide // 2 + 1
    window = (setting.features, setting.wide, setting.up)
    memory = scratch(net)
    less, more = pattern(setting, channels), pattern(setting, channels)
    most = height + ROWS
    params = np.empty((most, net.columns), np.int32)
    offsets, symbols = np.empty((most, channels), np.int32), np.empty((most, channels), np.uint8)
    references = np.empty(most * channels, np.uint8)
    outers = np.full((most, channels), OUTER_IDENTITY, np.int32)
    flat_params, flat_offsets, flat_symbols = params.reshape(-1), offsets.reshape(-1), symbols.reshape(-1)
    phase = 0  # rows popped so far: the lanes are used in turn
    for wave in range(width + slope * (height - 1)):
        low, high = wave_rows(wave, height, width, slope)
        n = high - low
        for begin in range(0, n, ROWS):
            for i in range(begin, min(begin + ROWS, n)):
                r, c = first + low + i, wave - slope * (low + i)
                place = (x, width, channels, context.data, context.period, *window, r, c)
                pixel_row(*place, less, more, memory[0], (i - begin) * net.width, references, i * channels)
            forward(net, 0, memory, flat_params, begin * net.columns)
        for i in range(n * channels):
            flat_offsets[i] = (np.int32(references[i]) << LEVEL_BITS) >> setting.stretch
        args = (setting.levels, coded, setting.tables, heads, phase, words, size, symbols)
        if setting.mixtures == 5 and channels == 3:
            size = pop_rows_5_3(params, offsets, outers, n, *args)
        else:
            size = pop_rows(params, offsets, outers, n, setting.mixtures, True, *args)
        if size < 0:
            return size
        phase += n
        for i in range(n):
            at = ((first + low + i) * width + wave - slope * (low + i)) * channels
            for j in range(channels):
                x[at + j] = flat_symbols[i * channels + (j if j < coded else 0)] << setting.stretch
    return size


class Pixels:
    """p(x | context, rows above) on the CPU. null: (stride, stride, F) int8, the features of the no-latent mode.

    coded, here: channels that are coded; the others are equal to the first.
    """

    def __init__(self, setting: Setting, null: np.ndarray) -> None:
        self.setting, self.null = setting, null

    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Any = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (height, W, C) uint32, of a band (height, W, C) uint8 below the rows `above` of its tile.

        context: (height, W, F) int8, or None for the no-latent mode; spread: a `map`, perhaps of several threads.
        """
        height, width, channels = band.shape
        x, features, skip = self.prepare(above, band, context)
        starts, freqs = np.zeros((2, height * width, channels), np.uint32)

        def strip(begin: int) -> None:
            positions = np.arange(begin, min(begin + STRIP, height * width))
            args = (features, positions + skip * width, coded, starts, freqs, begin)
            band_intervals(self.setting, x, width, channels, *args)

        for _ in spread(strip, range(0, height * width, STRIP)):
            pass
        return starts.reshape(band.shape), freqs.reshape(band.shape)

    def at(
        self, tile: np.ndarray, context: np.ndarray | None, positions: np.ndarray, coded: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (n, C) uint32, of the pixels of a tile (H, W, C) uint8 at flat indices in raster order."""
        _, width, channels = tile.shape
        x, features, _ = self.prepare(tile[:0], tile, context)
        starts, freqs = np.zeros((2, len(positions), channels), np.uint32)
        band_intervals(self.setting, x, width, channels, features, positions, coded, starts, freqs, 0)
        return starts, freqs

    def rows(
        self, tile: np.ndarray, context: np.ndarray | None, positions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, inputs) int8 of the local network and reference values (n, C) uint8 of such pixels, stretched."""
        _, width, channels = tile.shape
        x, features, _ = self.prepare(tile[:0], tile, context)
        rows = np.empty((len(positions), int(self.setting.net.networks[0, 2])), np.uint8)
        references = np.empty((len(positions), channels), np.uint8)
        pixel_rows(self.setting, x, width, channels, features, positions, rows, references)
        return (rows ^ np.uint8(128)).view(np.int8), references

    def pop(
        self,
        messages: list[Message],
        known: list[np.ndarray],
        heights: Sequence[int],
        contexts: list[np.ndarray] | None,
        coded: int,
        tick: Callable[[int], None] | None = None,
    ) -> tuple[list[Message], list[np.ndarray]]:
        """(messages, bands): bands (height, W, C) uint8 below the known rows of their tiles, popped.

        tick: told how many pixels there are more. Raises EmptyStack, naming the tile.
        """
        popped, bands = [], []
        for t, (message, above, height) in enumerate(zip(messages, known, heights)):
            _, width, channels = above.shape
            band = np.zeros((height, width, channels), np.uint8)
            if height:
                x, features, skip = self.prepare(above, band, None if contexts is None else contexts[t])
                heads, words = message.heads.copy(), message.words.copy()
                args = (features, skip, skip + height, coded, heads, words, len(words))
                size = pop_band(self.setting, x, width, channels, *args)
                if size < 0:
                    raise EmptyStack(f"the coded stream of tile {t} ran out: the file is damaged")
                message = Message(heads, words[:size].copy())
                begin = skip * width * channels
                band[...] = x[begin : begin + band.size].reshape(band.shape) >> self.setting.stretch
                if tick is not None:
                    tick(height * width)
            popped.append(message)
            bands.append(band)
        return popped, bands

    def prepare(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None
    ) -> tuple[np.ndarray, Context, int]:
        """What compiled loops take: the tile from some row above the band on, its features, where the band begins."""
        stride, width = len(self.null), band.shape[1]
        first = max(0, len(above) - self.setting.up) // stride * stride
        skip = len(above) - first
        x = with_slack(np.concatenate([above[first:], band]) << self.setting.stretch)
        if context is None:
            period = np.tile(self.null, (1, -(-width // stride), 1))[:, :width]
        else:
            period = np.concatenate([np.zeros((skip, *context.shape[1:]), np.int8), context])
        return x, Context(with_slack(period.view(np.uint8) ^ np.uint8(128)), len(period)), skip
