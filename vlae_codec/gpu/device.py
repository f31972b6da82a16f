"""A tile's pixels coded wholly on a torch device: the same bytes as everywhere, a GPU's way of getting there.

All operations are on integers (`arithmetic`), on any device of torch, and the tests run them on the CPU. The shape of
the work is for a GPU: few operations on many numbers, no branch, nothing that waits for the device (`walk`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vlae_codec.contract import STRETCH, window_offsets, window_slope
from vlae_codec.errors import EmptyStack, VlaeError
from vlae_codec.gpu.arithmetic import OUTSIDE, find_intervals, find_mixture, make_constants, pop_group
from vlae_codec.gpu.compiled import Compiler, Function, find_compiler
from vlae_codec.gpu.walk import Canvas, Setting, Walk
from vlae_codec.native.ans import Message
from vlae_codec.threads import Map
from vlae_codec.weights.model import Model

BLOCK = 1 << 16  # pixels whose parameters are held at once when encoding; rows of a wave when decoding
SPREAD = 4  # a batch's most lanes are at most so many times a tile's: the grid would be mostly empty otherwise


class DevicePixels:
    """p(x | context, known) of a model on a torch device, as `vlae_codec.native.pixels` has it on the CPU.

    compiler: compiles the arithmetic, which takes a while, once; by default torch's, on CUDA. Raises WeightsError for
    tables other than `models.export` makes, VlaeError for a device that torch does not have.
    """

    def __init__(self, model: Model, device: str, compiler: Compiler | None = None) -> None:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # the latter from a build without CUDA
            raise VlaeError(f"torch has no device {device!r} here: use --device cpu, the bytes are the same") from error
        self.device = torch.device(device)
        window = model.config["window"]
        self.channels, self.stretch = model.config["channels"], STRETCH[model.config.get("levels", 256)]
        self.reach, self.up, self.slope = window[0] // 2, window[1], window_slope(window)
        self.window = np.array(window_offsets(window), np.int64)
        compiler = compiler or find_compiler(self.device.type)
        self.compiled = compiler is not None
        self.constants, self.null = make_constants(model, self.device, self.compiled), self.tensor(model.null)
        functions: list[Function] = [find_mixture, find_intervals, pop_group]
        mixture, self.intervals_of, pop = map(compiler, functions) if compiler else functions
        settings = self.channels, self.slope, self.stretch, self.compiled
        self.setting = Setting(self.device, self.tensor, self.constants, mixture, pop, *settings)

    def tensor(self, array: np.ndarray) -> Tensor:
        """A copy of the array on the device."""
        return torch.as_tensor(np.array(array), device=self.device)

    def _canvas(
        self,
        known: Sequence[np.ndarray],
        heights: Sequence[int],
        contexts: Sequence[np.ndarray] | None,
        bands: Sequence[np.ndarray] | None = None,
    ) -> Canvas:
        """The canvas of tiles with the rows above their bands, and the bands where they are known."""
        widths = np.array([k.shape[1] for k in known], np.int64)
        pitches = widths + self.reach
        rows = np.array(heights, np.int64) + self.up + 1
        begins = np.concatenate([[0], np.cumsum(rows * pitches)])
        pixels = torch.full((int(begins[-1]), self.channels), OUTSIDE, dtype=torch.int16, device=self.device)
        features = torch.zeros((len(pixels), self.null.shape[2]), dtype=torch.int8, device=self.device)
        stride = len(self.null)
        for t, above in enumerate(known):
            shape = (int(rows[t]), int(pitches[t]), -1)
            tile = pixels[begins[t] : begins[t + 1]].view(shape)[:, self.reach :]
            context = features[begins[t] : begins[t + 1]].view(shape)[self.up : -1, self.reach :]
            seen = above[-self.up :]
            tile[self.up - len(seen) : self.up] = self.tensor(seen) << self.stretch
            if bands is not None:
                tile[self.up : -1] = self.tensor(bands[t]) << self.stretch
            if contexts is not None:
                context[:] = self.tensor(contexts[t])
            else:  # by a pixel's place in its cell, from the top of the tile
                r = (torch.arange(heights[t], device=self.device) + len(above)) % stride
                context[:] = self.null[r[:, None], torch.arange(int(widths[t]), device=self.device) % stride]
        windows = self.window[:, 0] * pitches[:, None] + self.window[:, 1]
        firsts = begins[:-1] + self.up * pitches + self.reach
        return Canvas(pixels, features, firsts, pitches, self.tensor(windows))

    @torch.inference_mode()
    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Map = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (height, W, C) uint32, of a band (height, W, C) uint8 given the rows above it.

        context: (height, W, F) int8, or None for the no-latent mode; the channels from `coded` on are left 0. A
        device does not need `spread`.
        """
        height, width, channels = band.shape
        found = torch.zeros((2, band.size // channels, channels), dtype=torch.int32, device=self.device)
        canvas = self._canvas([above], [height], None if context is None else [context], [band])
        for begin in range(0, height * width, BLOCK):
            at = torch.arange(begin, min(begin + BLOCK, height * width), device=self.device)
            row = torch.div(at, width, rounding_mode="floor")
            places = torch.add(at + int(canvas.firsts[0]), row, alpha=int(canvas.pitches[0]) - width)
            windows = places[:, None] + canvas.windows
            mixture = self.setting.find_mixture(self.constants, canvas.pixels, canvas.contexts, places, windows)
            symbols = (canvas.pixels[places] >> self.stretch).long()
            parts = self.intervals_of(self.constants, mixture, symbols, coded)
            for whole, part in zip(found, parts):
                whole[begin : begin + BLOCK, :coded] = part
        starts, freqs = found.cpu().numpy().view(np.uint32).reshape(2, *band.shape)
        return starts, freqs

    @torch.inference_mode()
    def pop(
        self,
        messages: Sequence[Message],
        known: Sequence[np.ndarray],
        heights: Sequence[int],
        contexts: Sequence[np.ndarray] | None,
        coded: int,
        tick: Callable[[int], None] | None = None,
    ) -> tuple[list[Message], list[np.ndarray]]:
        """(messages, bands): the bands (height, W, C) uint8 of a batch of tiles, popped.

        known: (rows, W, C) uint8; contexts: (height, W, F) int8 each, or None for the no-latent mode; tick: told how
        many more pixels are done. Raises EmptyStack, which names the first tile whose stack ran out.
        """
        popped = list(messages)
        bands = [np.zeros((height, *k.shape[1:]), np.uint8) for k, height in zip(known, heights)]
        failed: list[tuple[int, int]] = []  # wave, tile
        for batch in self._batches(messages, bands):
            stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
            if stream is not None:
                stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):  # of None: nothing
                canvas = self._canvas(
                    [known[t] for t in batch], [heights[t] for t in batch], contexts and [contexts[t] for t in batch]
                )
                walk = Walk(
                    self.setting, [messages[t] for t in batch], canvas, [bands[t].shape[:2] for t in batch], coded
                )
                walk.run(tick)
                failed += [(wave, t) for t, wave in zip(batch, walk.failures()) if wave < walk.waves]
                pixels = (canvas.pixels >> self.stretch).to(torch.uint8).cpu().numpy()
                for t, message, first, pitch in zip(batch, walk.messages(), canvas.firsts, canvas.pitches):
                    height, width = bands[t].shape[:2]
                    tile = pixels[first : first + height * pitch].reshape(height, pitch, -1)
                    popped[t], bands[t] = message, tile[:, :width].copy()
        if failed:
            raise EmptyStack(f"the coded stream of tile {min(failed)[1]} ran out: the file is damaged")
        return popped, bands

    def _batches(self, messages: Sequence[Message], bands: Sequence[np.ndarray]) -> list[list[int]]:
        """The tiles that have pixels, in batches for common waves: of similar lanes, and not too many."""
        batches: list[list[int]] = []
        most = groups = 0
        for t in sorted(range(len(bands)), key=lambda t: -len(messages[t].heads)):
            height, width, _ = bands[t].shape
            if height and width:
                lanes = len(messages[t].heads)
                own = -(-min(height, -(-width // self.slope)) // lanes)
                groups = max(groups, own)
                if not batches or lanes * SPREAD < most or groups * (len(batches[-1]) + 1) * most > BLOCK:
                    batches.append([])
                    most, groups = lanes, own
                batches[-1].append(t)
        return batches
