"""The waves of a batch of tiles on a torch device.

Canvas    All tiles of a batch are in one array of pixels (P, C). Each row is led by the columns that a window reaches
          to the left, which serve the row above as those to the right; the window's rows are on top and a spare row is
          below. Outside a tile stands OUTSIDE, so a window is one gather without a branch.
Rows      A wave is a grid (groups, T, L) of rows: tile t's row i, counted from the wave's first, stands in group
          i // L_t at place i % L_t. Within a group all lanes pop a channel in one operation; of the lanes that need a
          word, the first takes the top one, which is a running sum. A group waits for the heads of the group before it,
          and a channel for the channel before it; everything else is parallel. Heads are in the order of the next
          wave's places.
Steps     One function moves the whole batch by a wave. It reads the wave's number on the device, so a CUDA graph of it
          replays for all waves with as many groups, and the host looks at the stacks only at the end. A row beyond a
          wave's end goes through everything as a symbol of frequency 2^24, which leaves its head as it was. A stack
          that ran out goes on with the words below it: the symbols mean nothing, but indices stay within bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlae_codec.gpu.arithmetic import Constants
from vlae_codec.gpu.compiled import Function, Graphs
from vlae_codec.native.ans import HEAD_MIN, Message

GRAPHS = 8  # at most, one for each number of groups
TICK = 128  # waves between two signs of progress


class Canvas(NamedTuple):
    """The tiles of a batch in one array of P places."""

    pixels: Tensor  # (P, C) int16, OUTSIDE where there is none
    contexts: Tensor  # (P, F) int8
    firsts: np.ndarray  # (T,) int64: place of the first pixel of each band
    pitches: np.ndarray  # (T,) int64: from a place to the one below
    windows: Tensor  # (T, W) int64: from a place to those of its window


class Setting(NamedTuple):
    """What the waves need of a model on a device."""

    device: torch.device
    tensor: Callable[[np.ndarray], Tensor]  # a copy on the device
    constants: Constants
    find_mixture: Function
    pop_group: Function
    channels: int
    slope: int  # of the waves
    stretch: int  # left shift of a symbol among the pixels
    compiled: bool


class Walk:
    """A batch of tiles, the rows of which go from wave to wave."""

    def __init__(
        self,
        setting: Setting,
        messages: Sequence[Message],
        canvas: Canvas,
        shapes: Sequence[Sequence[int]],
        coded: int,
    ) -> None:
        self.setting, self.sent, self.canvas, self.coded = setting, messages, canvas, coded
        tensor, slope = setting.tensor, setting.slope
        rows, widths = np.array(shapes, np.int64).T
        lanes = np.array([len(m.heads) for m in messages], np.int64)
        self.waves = int((widths + slope * (rows - 1)).max())
        wave = np.arange(self.waves)[:, None]
        low = np.maximum(0, (wave - widths + slope) // slope)
        count = np.maximum(0, np.minimum(rows, wave // slope + 1) - low)
        down = canvas.pitches - slope  # from a row's place in a wave to the next row's
        self.pixels = count.sum(1)
        needed = np.maximum(1, -(-count // lanes)).max(1)  # in a narrow tile not every wave has rows
        unit = -(-int(needed.max()) // GRAPHS)
        self.groups = (-(-needed // unit) * unit).tolist()
        self.phases = rows * widths % lanes  # at the end

        at = np.arange(_lanes(int(lanes.max())) if setting.compiled else lanes.max())
        order = at + np.arange(max(self.groups))[:, None, None] * lanes[:, None]
        order = np.where(at < lanes[:, None], order, self.waves)  # (groups, T, L); `waves`: never
        self.order, self.ahead = tensor(order), tensor(order * down[:, None])
        self.schedule = tensor(np.stack([canvas.firsts + wave + low * down, count, count % lanes], 1))
        self.spare = tensor(canvas.firsts + rows * canvas.pitches)[:, None]
        self.at, self.lanes = tensor(at), tensor(lanes)[:, None]

        # As many words in front as a wave can take from an empty stack, one behind for those who need none
        sizes = np.array([len(m.words) for m in messages], np.int64)
        front = np.zeros(order.size * coded + 1, np.uint32)
        words = np.concatenate([front, *(m.words for m in messages), np.zeros(1, np.uint32)])
        ends = len(front) + np.cumsum(sizes)
        heads = np.full((len(messages), len(at)), HEAD_MIN, np.uint64)
        for row, message in zip(heads, messages):
            row[: len(message.heads)] = message.heads
        self.words, self.heads = tensor(words.astype(np.int64)), tensor(heads.view(np.int64))
        self.tops, self.bottoms = tensor(ends), tensor(ends - sizes)
        self.wave, self.lived = tensor(np.array([0])), tensor(np.zeros_like(sizes))

    def step(self, groups: int) -> None:
        """Moves every tile by one wave, of at most so many groups."""
        setting, c, canvas = self.setting, self.setting.constants, self.canvas
        first, count, shift = self.schedule.index_select(0, self.wave)[0].unbind(0)
        valid = self.order[:groups] < count[:, None]
        grid = torch.where(valid, self.ahead[:groups] + first[:, None], self.spare)
        places, windows = grid.flatten(), (grid[..., None] + canvas.windows[:, None]).flatten(0, 2)
        mixture = setting.find_mixture(c, canvas.pixels, canvas.contexts, places, windows)
        heads, tops = self.heads, torch.maximum(self.tops, self.bottoms - 1)
        found: list[Tensor] = []
        for group in range(groups):
            part = mixture.part(slice(group * heads.numel(), (group + 1) * heads.numel()), heads.shape)
            heads, tops, symbols = setting.pop_group(c, part, heads, tops, valid[group], self.words, self.coded)
            found += symbols
        values = (torch.stack(found) << setting.stretch).view(groups, self.coded, -1).movedim(1, 2).short()
        canvas.pixels[places] = values.flatten(0, 1).expand(-1, setting.channels)
        self.heads.copy_(heads.gather(1, torch.remainder(self.at + shift[:, None], self.lanes)))
        self.tops.copy_(tops)
        self.lived.add_(tops >= self.bottoms)
        self.wave.add_(1)

    def run(self, tick: Callable[[int], None] | None) -> None:
        """Moves every tile to its end; tick is told how many pixels were popped since it was last called."""
        graphs = Graphs(self.step, self.setting.device)
        for wave, groups in enumerate(self.groups):
            graphs.run(groups)
            if tick is not None and (wave % TICK == TICK - 1 or wave == self.waves - 1):
                tick(int(self.pixels[wave - wave % TICK : wave + 1].sum()))

    def failures(self) -> list[int]:
        """The wave in which each tile's stack ran out; the number of waves where it did not."""
        return self.lived.tolist()

    def messages(self) -> list[Message]:
        """The messages that are left."""
        heads, sizes = self.heads.cpu().numpy().view(np.uint64), (self.tops - self.bottoms).tolist()
        return [
            Message(np.roll(row[: len(m.heads)], phase), m.words[: max(size, 0)].copy())
            for m, row, phase, size in zip(self.sent, heads, self.phases, sizes)
        ]


def _lanes(most: int) -> int:
    """Lanes of a compiled batch: of few different numbers, for each is compiled anew."""
    return 1 << (most - 1).bit_length() if most < 8 else -(-most // 8) * 8
