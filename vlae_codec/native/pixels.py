"""The pixels of a band of a tile on the CPU: gather, network, distributions and coder, in the core.

The core takes a few pixels at a time through all of these, so that what lies between is never in memory. An encoder
takes a band in raster order, in parallel; a decoder takes it wave by wave.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from vlae_codec.contract import PIXEL_CENTRE, SLACK
from vlae_codec.native.ans import Message, Stack
from vlae_codec.native.learning import Learning
from vlae_codec.native.library import PixelsStruct, TileStruct, aligned, check, core, pointer, span
from vlae_codec.native.mixture import Tables, sample_type, set_pointer
from vlae_codec.native.network import Packed
from vlae_codec.threads import Map

STRIP = 1 << 15  # pixels that a thread takes at once where all are known

Messages = list[Message]
Arrays = list[np.ndarray]
Tick = Callable[[int], None]  # told the number of pixels just popped


class PixelCodec(Protocol):
    """p(x | context, rows above): `Pixels`, or `gpu.device.DevicePixels`, which gives the same."""

    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Map = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs) of a band below the rows `above` of its tile."""

    def pop(
        self,
        messages: Messages,
        known: Arrays,
        heights: Sequence[int],
        contexts: Arrays | None,
        coded: int,
        tick: Tick | None = None,
    ) -> tuple[Messages, Arrays]:
        """(messages, bands) below the known rows of their tiles."""


class Setting(NamedTuple):
    """What the pixels of a model need."""

    net: Packed  # the local network
    tables: Tables
    channels: int
    wide: int  # of the window
    up: int
    features: int  # of the context
    mixtures: int
    levels: int
    stretch: int  # left shift of a symbol where it enters the network
    shift: int = 0  # the network works in coarse levels of 2^shift levels
    escape: int = 0  # 1 .. 16 in the restricted form
    values: np.ndarray | None = None  # (65536, 4) uint64, the set of the restricted form (`origins.triples`)
    learning: Learning | None = None

    @property
    def deep(self) -> bool:
        """Whether pixels have shifts, and distributions of the deep form (`mixture`)."""
        return self.shift > 0 or (self.levels != 256 and not self.stretch)

    @property
    def kind(self) -> type[np.uint8 | np.uint16]:
        """The type of samples."""
        return sample_type(self.levels)

    @property
    def struct(self) -> PixelsStruct:
        """The setting as the core takes it."""
        learn = None if self.learning is None else self.learning.struct
        address = None if learn is None else ctypes.addressof(learn)
        struct = PixelsStruct(
            *span(self.net.memory), self.tables.struct, set_pointer(self.values), address, *self[2:-2]
        )
        struct.learning = learn  # lives as long
        return struct

    def scratch(self, rows: int, lanes: int) -> np.ndarray:
        """Memory in which the core codes a band of so many rows."""
        if self.learning is None:
            return self.net.scratch(rows, lanes, self.channels)
        return aligned(check(core.vlae_learn_scratch(ctypes.byref(self.struct), rows, lanes), "a network"))


class Tile(NamedTuple):
    """A tile from some row on, in the core's form."""

    x: np.ndarray  # the bytes of samples (height, width, C), stretched, with SLACK
    context: np.ndarray  # uint8, flat with SLACK: (period, width, features), PIXEL_CENTRE more than the features
    height: int
    width: int
    period: int  # rows after which the features repeat

    @property
    def struct(self) -> TileStruct:
        """The tile as the core takes it."""
        x, context = pointer(self.x, np.uint8), pointer(self.context, np.uint8)
        return TileStruct(x, context, self.x.size, self.context.size, *self[2:])


class Pixels:
    """p(x | context, rows above) on the CPU. null: (stride, stride, F) int8, the features of the no-latent mode.

    side: (H, W, S) int8, features of all pixels of the only tile that this codes, which stand behind those of the
    context; None of a model without side planes. Only the first `coded` channels are coded; the others are equal to the
    first.
    """

    def __init__(self, setting: Setting, null: np.ndarray, side: np.ndarray | None = None) -> None:
        self.setting, self.null, self.side = setting, null, side

    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Map = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (height, W, C) uint32, of a band (height, W, C) below the rows `above` of its tile.

        Samples are uint8, or uint16 if there are more than 256 levels. context: (height, W, F) int8, or None for the
        no-latent mode; spread: maps over strips of the band.
        """
        height, width, channels = band.shape
        tile, skip = self.prepare(above, band, context)
        starts, freqs = np.zeros((2, height * width, channels), np.uint32)
        if self.setting.learning is not None:
            which, out = (skip, skip + height, coded), (pointer(starts, np.uint32), pointer(freqs, np.uint32))
            scratch = self.setting.scratch(height, 1)
            check(core.vlae_learn_intervals(*self._structs(tile), *which, *out, *span(scratch)), "a tile")
            return starts.reshape(band.shape), freqs.reshape(band.shape)

        def strip(begin: int) -> None:
            part = slice(begin, begin + STRIP)
            self._fill(tile, None, begin + skip * width, coded, starts[part], freqs[part])

        for _ in spread(strip, range(0, height * width, STRIP)):
            pass
        return starts.reshape(band.shape), freqs.reshape(band.shape)

    def at(self, tile: Tile, positions: np.ndarray, coded: int) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (n, C) uint32, of the pixels at flat indices of a tile that `whole` made."""
        starts, freqs = np.zeros((2, len(positions), self.setting.channels), np.uint32)
        self._fill(tile, np.ascontiguousarray(positions, np.int64), 0, coded, starts, freqs)
        return starts, freqs

    def _fill(
        self, tile: Tile, at: np.ndarray | None, begin: int, coded: int, starts: np.ndarray, freqs: np.ndarray
    ) -> None:
        """Fills starts, freqs (n, C) uint32 with the intervals of the pixels at flat indices, or from `begin` on."""
        scratch = self.setting.net.scratch(channels=self.setting.channels)
        which = (None if at is None else pointer(at, np.int64), begin, len(starts), coded)
        out = (pointer(starts, np.uint32), pointer(freqs, np.uint32), *span(scratch))
        check(core.vlae_band_intervals(*self._structs(tile), *which, *out), "a tile")

    def _structs(self, tile: Tile) -> tuple[Any, Any]:
        return ctypes.byref(self.setting.struct), ctypes.byref(tile.struct)

    def rows(self, tile: Tile, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs (n, inputs) int8 of the local network, reference values (n, C) of the samples' type, stretched, and
        shifts (n,) int32.

        positions: flat indices of the pixels in a tile that `whole` made.
        """
        positions = np.ascontiguousarray(positions, np.int64)
        rows = np.empty((len(positions), self.setting.net.inputs), np.uint8)
        kind = self.setting.kind
        references = np.empty((len(positions), self.setting.channels), kind)
        shifts = np.empty(len(positions), np.int32)
        out = (pointer(rows, np.uint8), pointer(references, kind), pointer(shifts, np.int32))
        check(core.vlae_pixel_rows(*self._structs(tile), pointer(positions, np.int64), len(rows), *out), "a tile")
        return np.bitwise_xor(rows, np.uint8(PIXEL_CENTRE), out=rows).view(np.int8), references, shifts

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

        tick: told how many more pixels are done. Raises EmptyStack, which names the tile.
        """
        popped, bands = [], []
        for t, (message, above, height) in enumerate(zip(messages, known, heights)):
            _, width, channels = above.shape
            kind = self.setting.kind
            band = np.zeros((height, width, channels), kind)
            if height:
                tile, skip = self.prepare(above, band, None if contexts is None else contexts[t])
                stack, scratch = Stack(message), self.setting.scratch(height, len(message.heads))
                given = (*self._structs(tile), skip, skip + height, coded)
                check(core.vlae_pop_band(*given, stack.struct, *span(scratch)), f"tile {t}")
                message, begin = stack.message(), skip * width * channels
                samples = tile.x.view(kind)[begin : begin + band.size]
                np.right_shift(samples.reshape(band.shape), self.setting.stretch, out=band)
                if tick is not None:
                    tick(height * width)
            popped.append(message)
            bands.append(band)
        return popped, bands

    def whole(self, tile: np.ndarray, context: np.ndarray | None) -> Tile:
        """A whole tile (H, W, C) under its context, as `at` and `rows` take it."""
        return self.prepare(tile[:0], tile, context)[0]

    def prepare(self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None) -> tuple[Tile, int]:
        """The tile from some row above the band on, and the row of it where the band begins."""
        stride, width, kind = len(self.null), band.shape[1], self.setting.kind
        if above.dtype != kind or band.dtype != kind:
            raise ValueError(f"samples of {self.setting.levels} levels are {kind.__name__}, not {band.dtype}")
        first = max(0, len(above) - self.setting.up) // stride * stride
        skip = len(above) - first
        x = with_slack(np.concatenate([above[first:], band]) << self.setting.stretch)
        if context is None:
            period = np.tile(self.null, (1, -(-width // stride), 1))[:, :width]
        else:
            period = np.concatenate([np.zeros((skip, *context.shape[1:]), np.int8), context])
        if self.side is None:
            features = with_slack(period.view(np.uint8) ^ np.uint8(PIXEL_CENTRE))
        else:
            features, period = self._with_side(period, first, skip + len(band))
        return Tile(x, features, skip + len(band), width, len(period)), skip

    def _with_side(self, period: np.ndarray, first: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """(bytes of a tile's features, the same as (rows, W, F + S)): these (n, W, F) repeat, the side's from a row."""
        assert self.side is not None
        count, shape = period.shape[-1], (rows, period.shape[1], period.shape[-1] + self.side.shape[-1])
        flat = np.empty(prod(shape) + SLACK, np.uint8)
        flat[-SLACK:] = 0
        made = flat[:-SLACK].reshape(shape)
        for begin in range(0, rows, len(period)):
            own = made[begin : begin + len(period), :, :count]
            own[...] = period.view(np.uint8)[: len(own)]
        made[..., count:] = self.side[first : first + rows].view(np.uint8)
        np.bitwise_xor(flat[:-SLACK], np.uint8(PIXEL_CENTRE), out=flat[:-SLACK])
        return flat, made


def with_slack(array: np.ndarray) -> np.ndarray:
    """The array's bytes, flat, with SLACK more behind them."""
    flat = np.zeros(array.nbytes + SLACK, np.uint8)
    flat[: array.nbytes].view(array.dtype).reshape(array.shape)[...] = array
    return flat
