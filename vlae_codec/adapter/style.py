"""Styles: adapters that come with a model, of which a file names one.

What a picture is like as a whole, how noisy, how colourful, whether it was a JPEG, the local network cannot tell from
its window. So it was trained together with shifts of its layers' outputs, of which each picture has those by which it
needs least. In the terms of the VLAE a style is a latent of the whole picture, with a uniform prior over all and a
posterior that knows the best one.

    there are some stages, and in each of them styles 1 .. n; 0 is none
    output o of the local layers, in order, gets s / 2 more, s the sum of styles[stage, k - 1, o] over the stages, k its
    style there, unless it is 0; s is clamped to -127 .. 127

The payload of its chunk is the style of each stage, u8 each; it is shorter than that of any other adapter. Without a
chunk there is no style.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from vlae_codec.adapter.chunk import RECORD, Adapter, Part, adapt, unpack
from vlae_codec.coder.choice import Look
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import INT8_MAX
from vlae_codec.errors import CorruptFile
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.native.network import Packed
from vlae_codec.weights.model import Model

UNIT = -1  # a number is worth 2^UNIT steps of an output
ROUNDS = ((128, 3), (1024, 1))  # of each stage: so many pixels of a look, or more, say which styles, so many, are left
WORTH = 24  # bytes that a style must save: its chunk takes some 10, and a look knows it but roughly


def style(model: Model, numbers: bytes) -> Adapter:
    """The adapter that is a style. Raises CorruptFile when the model has none of these numbers."""
    found, styles = [], model.styles
    if styles is None or len(numbers) != len(styles) or max(numbers) > styles.shape[1]:
        raise CorruptFile("the file names a style that its model does not have: the file is damaged")
    zero = np.zeros(styles.shape[2], np.int32)
    total = sum((styles[stage, k - 1] for stage, k in enumerate(numbers) if k), zero).clip(-INT8_MAX, INT8_MAX)
    ends = np.cumsum([layer.multiplier.size for layer in model.local.layers])
    for layer, bias in zip(model.local.layers, np.split(total.astype(np.int8), ends[:-1])):
        found.append(Part(np.zeros((len(layer.weight), 0), np.int8), np.zeros((0, len(bias)), np.int8), bias, 0, UNIT))
    return tuple(found)


def read(payload: bytes, model: Model) -> Adapter:
    """The adapter of a chunk: a style, or one of the file's own. Raises CorruptFile when it does not fit the model."""
    return style(model, payload) if 0 < len(payload) < RECORD else unpack(payload, model.local, model.tables)


@lru_cache(64)
def changed(model: Model, payload: bytes) -> Packed:
    """The local network under an adapter. Raises CorruptFile and WeightsError as `read` and `adapt` do."""
    return Packed(adapt(model.local, read(payload, model)))


def choose_style(codec: TileCodec, tiles: Sequence[np.ndarray], coded: int) -> bytes | None:
    """The payload of the style by which tiles (H, W, C) need least, as some of their pixels tell; None: none is worth
    it. Stage by stage the best is taken. coded: the number of channels that are coded.
    """
    if codec.model.styles is None:
        return None
    look, (stages, count, _) = Look(codec, tiles, coded), codec.model.styles.shape

    @cache
    def cost(payload: bytes, step: int) -> int:
        return look.cost(codec.adapted(changed(codec.model, payload)), step)

    best, none = bytes(stages), bytes(stages)
    for stage in range(stages):
        left = [best[:stage] + bytes([number]) + best[stage + 1 :] for number in range(count + 1)]
        for pixels, most in ROUNDS:
            step = max(1, look.count // pixels)
            left = sorted(left, key=lambda payload: cost(payload, step))[:most]
        (best,) = left
    saved = (cost(none, step) - cost(best, step)) * step * look.total // look.count
    return best if saved > 8 * WORTH * COST_UNIT else None
