"""p(x | z) by decoders of every reach: from z (B, D) and scaled pixels (B, C, H, W) to parameters (B, P, H, W)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlae_codec.contract import window_offsets

from .latents import FEATURES, TopDown
from .layers import Conv
from .likelihoods import MIXTURES, UNIT

if TYPE_CHECKING:
    from .nets import Spec


class Dense(nn.Module):
    """Two hidden layers from z to all pixels at once."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        width = 512
        outputs = spec.parameters * spec.size**2
        self.layers = nn.ModuleList([nn.Linear(spec.dimensions, width), nn.Linear(width, width)])
        self.out = nn.Linear(width, outputs)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        for layer in self.layers:
            z = F.relu(layer(z))
        return self.out(z).view(len(z), self.spec.parameters, self.spec.size, self.spec.size)


class Window(nn.Module):
    """A masked window and features of the latents, then 1x1 layers."""

    def __init__(self, spec: Spec, outputs: int | None = None) -> None:
        super().__init__()
        self.topdown = TopDown(spec) if spec.latents else None
        self.join = Conv(FEATURES if spec.latents else 1, spec.width)
        offsets = window_offsets(spec.window)
        size = (2 * spec.window[1] + 1, spec.window[0])
        self.look = Conv(spec.channels, spec.width, size, offsets=offsets) if offsets else None
        self.hidden = Conv(spec.width, spec.width)
        self.out = Conv(spec.width, spec.parameters if outputs is None else outputs, gain=0.3)
        # Colours: locations may follow the neighbours linearly; they begin as the left one's value.
        self.line = None
        if offsets and spec.levels > 2:
            self.line = Conv(spec.channels, MIXTURES * spec.channels, size, offsets=offsets)
            nn.init.zeros_(self.line.weight)
            left = self.line.weight.data.view(MIXTURES, spec.channels, spec.channels, *size)
            for c in range(spec.channels):
                left[:, c, c, spec.window[1], spec.window[0] // 2 - 1] = 127.5 / UNIT

    def joined(self, z: Tensor, x: Tensor) -> Tensor:
        """What the latents say and what the window shows, (B, width, H, W)."""
        features = self.topdown(z) if self.topdown is not None else torch.ones_like(x[:, :1])
        h = self.join(features)
        return h + self.seen(x, features) if self.look is not None else h

    def seen(self, x: Tensor, features: Tensor) -> Tensor:
        assert self.look is not None
        return self.look(x)

    def finish(self, h: Tensor, x: Tensor) -> Tensor:
        out = self.out(F.relu(self.hidden(F.relu(h))))
        if self.line is not None:
            k, n = MIXTURES, self.line.shape[0]
            out = torch.cat([out[:, :k], out[:, k : k + n] + self.line(x), out[:, k + n :]], dim=1)
        return out

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.finish(self.joined(z, x), x)


class Attention(Window):
    """The window by attention: four heads, queries from the latents' features, keys and values from the neighbours'
    values and relative positions (Shaw et al. 2018), and a null neighbour for pixels that have no other."""

    HEADS, SIZE = 4, 16

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.look = None
        self.offsets, heads, size = window_offsets(spec.window), self.HEADS, self.SIZE
        n = len(self.offsets) + 1
        self.query = Conv(FEATURES if spec.latents else 1, heads * size)
        self.position = nn.Parameter(torch.randn(heads, n, size) * size**-0.5)
        self.content = nn.Parameter(torch.randn(heads, spec.channels, size) * size**-0.5)
        self.values = Conv(heads * n * (1 + spec.channels), spec.width)

    def joined(self, z: Tensor, x: Tensor) -> Tensor:
        features = self.topdown(z) if self.topdown is not None else torch.ones_like(x[:, :1])
        return self.join(features) + self.seen(x, features)

    def seen(self, x: Tensor, features: Tensor) -> Tensor:
        b, c, h, w = x.shape
        wide, up = max(abs(c) for _, c in self.offsets), max(-r for r, _ in self.offsets)
        padded = F.pad(torch.cat([x, torch.ones_like(x[:, :1])], 1), (wide, wide, up, 0))  # last: is inside
        at = [padded[:, :, up + r : up + r + h, wide + s : wide + s + w] for r, s in self.offsets]
        near = torch.stack([*at, torch.ones_like(at[0])], 1)  # (B, n, C + 1, H, W)
        near, inside = near[:, :, :-1], near[:, :, -1]
        q = self.query(features).view(b, self.HEADS, self.SIZE, h, w)
        logits = torch.einsum("bkdhw,knd->bknhw", q, self.position)
        logits = logits + torch.einsum("bkchw,bnchw->bknhw", torch.einsum("bkdhw,kcd->bkchw", q, self.content), near)
        weight = logits.masked_fill(inside[:, None] == 0, -1e4).softmax(2)
        valued = torch.einsum("bknhw,bnchw->bknchw", weight, near)
        return self.values(torch.cat([weight.flatten(1, 2), valued.flatten(1, 3)], 1))


class Unrestricted(Window):
    """Window, then residual blocks of dilated masked 3x3 convolutions (van den Oord et al. 2016): sees all before.

    Going up by r rows these reach no more than r + 3 columns to the right, PixelCNN's blind spot; so each pixel also
    gets features of the whole row above.
    """

    DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        causal = [*window_offsets((3, 1)), (0, 0)]
        self.narrow = Conv(spec.width, 32)
        self.above = nn.Linear(spec.channels * spec.size, 16 * spec.size)
        self.widen_above = Conv(16, 32)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                Conv(32, 16),
                nn.ReLU(),
                Conv(16, 16, (3, 3), dilation=d, offsets=causal),
                nn.ReLU(),
                Conv(16, 32, gain=0.3),
            )
            for d in self.DILATIONS
        )
        self.widen = Conv(32, spec.width)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        h = self.joined(z, x)
        row = F.pad(x, (0, 0, 1, 0))[:, :, :-1].transpose(1, 2).flatten(2)  # (B, H, C * W): the row above each row
        above = self.above(row).view(*row.shape[:2], 16, -1).transpose(1, 2)
        far = self.narrow(F.relu(h)) + self.widen_above(F.relu(above))
        for block in self.blocks:
            far = far + block(far)
        return self.finish(h + self.widen(F.relu(far)), x)


DECODERS = {"dense": Dense, "window": Window, "attention": Attention, "unrestricted": Unrestricted}
