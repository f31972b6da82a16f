"""What the codec's networks do by counting, and what the kernels of the core's loops over pixels take, each alone.

The kernels are: bringing together the inputs of the local network, the network, and the distributions (intervals when
coding, search and pop when decoding). They run on pixels of one tile on the target in use.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from vlae_codec.coder.inference import Inference
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import LEVEL_BITS, REDUCTIONS
from vlae_codec.format import container
from vlae_codec.format.header import LANE_SYMBOLS
from vlae_codec.native import ans, latents, mixture, waves
from vlae_codec.native.network import Network

SAMPLE = 1 << 13  # pixels
REPEAT = 7
GATHER, LOCAL, CODING = "pixels: gather", "pixels: local network", "pixels: distributions"


def multiply_adds(network: Network) -> int:
    """Multiply-adds of a row, a weight of two digits counted once."""
    return sum(len(layer.weight) * layer.multiplier.size for layer in network.layers)


def per_pixel(nets: Inference) -> dict[str, float]:
    """network -> multiply-adds a pixel."""
    cell, found = nets.stride**2, nets.model
    sizes = [4]
    for side in REDUCTIONS[nets.stride]:
        sizes.append(side * sizes[-1])
    encoder = [size**2 for size in sizes] + [cell] * (len(found.encoder) - len(sizes))
    prior = [*found.affine, *([] if found.mixture is None else [found.mixture])]
    parts: dict[str, tuple[Sequence[Network], list[int]]] = {
        "local": ((found.local,), [1]),
        "encoder": (found.encoder, encoder),
        "top-down": (found.topdown, [cell] * 3 + [16] * 2),
        "prior": (prior, [cell] * len(prior)),
    }
    return {
        name: sum(multiply_adds(one) / size for one, size in zip(networks, shares))
        for name, (networks, shares) in parts.items()
    }


def seconds(call: Callable[[], Any], repeat: int = REPEAT) -> float:
    """Median seconds of the thread, after a run that does not count."""
    times = []
    for _ in range(repeat + 1):
        begin = time.thread_time()
        call()
        times.append(time.thread_time() - begin)
    return statistics.median(times[1:])


def measure(codec: TileCodec, x: np.ndarray, coded: int) -> dict[str, dict[str, float]]:
    """direction -> kernel -> seconds a pixel. x: a tile (H, W, C)."""
    height, width, channels = x.shape
    nets, setting = codec.nets, codec.nets.pixels.setting
    grid = -(-height // codec.stride), -(-width // codec.stride)
    context = nets.context(np.full((*grid, codec.channels), latents.LEVELS // 2, np.uint8), width)[:height]
    begin = max(0, (height * width - SAMPLE) // 2)
    positions = np.arange(begin, min(begin + SAMPLE, height * width))
    tile = nets.pixels.whole(x, context)
    rows, references, _ = nets.pixels.rows(tile, positions)
    params, symbols = nets.local(rows), x.reshape(-1, channels)[positions]
    offsets = (references.astype(np.int32) << LEVEL_BITS) >> setting.stretch
    given = mixture.Rows(params, offsets, None, setting.mixtures, True, setting.levels, coded, setting.tables)
    starts, freqs = (array[:, None] for array in mixture.intervals(given, symbols))
    lanes = container.lanes_for(height * width * coded, LANE_SYMBOLS)
    message = waves.push_region(ans.empty(lanes, 0), starts, freqs, 0, coded)
    shared = {
        GATHER: seconds(partial(nets.pixels.rows, tile, positions)),
        LOCAL: seconds(partial(nets.local, rows)),
    }
    intervals, pop = partial(mixture.intervals, given, symbols), partial(mixture.pop_rows, given, message)
    found = {"compress": shared | {CODING: seconds(intervals)}, "decompress": shared | {CODING: seconds(pop)}}
    return {way: {name: spent / len(positions) for name, spent in one.items()} for way, one in found.items()}
