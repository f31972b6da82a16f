"""What the codec's networks do by counting, and what the kernels of its compiled loops take, each alone.

Of the compiled loops over pixels (`vlae_codec.pixels`): bringing together the inputs of the local network, the network,
and the distributions (intervals when coding, search and pop when decoding). They run on pixels of one tile, those of
decoding in the order of waves. The floor under a network is its multiply-adds over the rate of the bare product.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numba import njit

from vlae_codec import ans, container, latents, single, tables, waves
from vlae_codec.inference import Inference
from vlae_codec.network import Network, Packed, forward, scratch
from vlae_codec.pixels import pattern
from vlae_codec.simd import PANEL, ROWS, dot
from vlae_codec.tile import TileCodec

SAMPLE = 1 << 13  # pixels
REPEAT = 7
GATHER, LOCAL, CODING = "pixels: gather", "pixels: local network", "pixels: distributions"


# ---------------------------------------------------------------------------------------------------- operations


def blocks(rows: int) -> int:
    """Runs of a network, ROWS rows each."""
    return -(-rows // ROWS)


@cache
def wave_blocks(height: int, width: int, slope: int) -> int:
    """Such runs, where a wave's rows are together."""
    spans = [waves.wave_rows(wave, height, width, slope) for wave in range(width + slope * (height - 1))]
    return sum(blocks(high - low) for low, high in spans)


def multiply_adds(net: Packed, which: int) -> int:
    """Of a row, with those that fill up panels."""
    begin, last = net.networks[which, :2]
    return sum(int(s) * net.step * int(panels) * PANEL for s, panels in net.layers[begin : last + 1, :2])


def of_a_cell(prior: latents.Prior) -> int:
    """Multiply-adds of the prior for a cell."""
    count = prior.affine + (len(prior.base) == 0)
    return sum(multiply_adds(prior.net, which) for which in range(count))


def per_pixel(nets: Inference) -> dict[str, dict[str, float]]:
    """network -> multiply-adds a pixel, those of both digits, as the layers are and as they are run."""
    cell, found = nets.stride**2, nets.model
    sizes = [4]
    while sizes[-1] < nets.stride:
        sizes.append(2 * sizes[-1])
    encoder = [size**2 for size in sizes] + [cell] * (len(found.encoder) - len(sizes))
    prior = [*found.affine, *([] if found.mixture is None else [found.mixture])]
    parts: dict[str, tuple[tuple[Network, ...] | list[Network], Packed, list[int]]] = {
        "local": ((found.local,), nets.pixels.setting.net, [1]),
        "encoder": (found.encoder, nets.encoder, encoder),
        "top-down": (found.topdown, nets.topdown, [cell] * 3 + [16] * 2),
        "prior": (prior, nets.prior.net, [cell] * len(prior)),
    }
    return {
        name: {
            "layers": sum(sum(x.weight.size for x in one.layers) / size for one, size in zip(networks, shares)),
            "run": sum(multiply_adds(packed, i) / size for i, size in enumerate(shares)),
        }
        for name, (networks, packed, shares) in parts.items()
    }


# ---------------------------------------------------------------------------------------------------- kernels

# Not cached: numba would keep what they take in of other modules after these have changed.


@njit(nogil=True)
def gather(setting, x, width, channels, context, positions, memory, references):
    """What the compiled loops do to bring together the inputs of pixels."""
    less, more = pattern(setting, channels), pattern(setting, channels)
    for i in range(len(positions)):
        r, c = positions[i] // width, positions[i] % width
        place = (x, width, channels, context.data, context.period, setting.features, setting.wide, setting.up, r, c)
        waves.pixel_row(*place, less, more, memory, (i % ROWS) * setting.net.width, references, 0)


@njit(nogil=True)
def products(net, memory, out, count):
    for _ in range(count):
        forward(net, 0, memory, out, 0)


@njit(nogil=True)
def dots(rows, stride, weights, layers, step, sums, count):
    """The products of all layers and nothing else."""
    for _ in range(count):
        for i in range(len(layers)):
            for panel in range(layers[i, 1]):
                dot(rows, stride, weights, layers[i, 4] + panel * layers[i, 0] * step * PANEL, layers[i, 0], sums)


def seconds(call: Callable[[], Any], repeat: int = REPEAT) -> float:
    """Median seconds of the thread, after a run that does not count."""
    times = []
    for _ in range(repeat + 1):
        begin = time.thread_time()
        call()
        times.append(time.thread_time() - begin)
    return statistics.median(times[1:])


def measure(codec: TileCodec, x: np.ndarray, coded: int) -> dict[str, dict[str, float]]:
    """direction -> seconds a pixel of gather and distributions, and a run of the local network; x: a tile (H, W, C)."""
    height, width, channels = x.shape
    nets, setting = codec.nets, codec.nets.pixels.setting
    grid = -(-height // codec.stride), -(-width // codec.stride)
    context = nets.context(np.full((*grid, codec.channels), latents.LEVELS // 2, np.uint8), width)[:height]
    band, features, _ = nets.pixels.prepare(x[:0], x, context)
    rows, columns = np.divmod(np.arange(height * width), width)
    by_wave = np.lexsort((rows, columns + nets.slope * rows))
    memory, out = scratch(setting.net), np.zeros((ROWS, setting.net.columns), np.int32).reshape(-1)
    count = blocks(SAMPLE)
    spent = seconds(partial(products, setting.net, memory, out, count)) / count
    found = {}
    for way, order in (("compress", np.arange(height * width)), ("decompress", by_wave)):
        positions = order[max(0, len(order) // 2 - SAMPLE // 2) :][:SAMPLE]
        args = (setting, band, width, channels, features, positions, memory[0], np.empty(channels, np.uint8))
        found[way] = {
            GATHER: seconds(partial(gather, *args)) / len(positions),
            LOCAL: spent,
            CODING: seconds(distributions(codec, x, context, positions, coded, way)) / len(positions),
        }
    return found


def distributions(
    codec: TileCodec, x: np.ndarray, context: np.ndarray, positions: np.ndarray, coded: int, way: str
) -> Callable[[], None]:
    """A call that finds the intervals of a tile's pixels from their parameters, or that pops them."""
    height, width, channels = x.shape
    setting = codec.nets.pixels.setting
    inputs, references = codec.nets.pixels.rows(x, context, positions)
    symbols = x.reshape(-1, channels)[positions]
    offsets = (references.astype(np.int32) << tables.LEVEL_BITS) >> setting.stretch
    given = (codec.nets.local(inputs), offsets, waves.identity_outer(offsets.shape))
    shared = (setting.mixtures, True, setting.levels, coded, setting.tables)
    starts, freqs = np.zeros((2, *symbols.shape), np.uint32)

    unrolled = setting.mixtures == 5 and channels == 3

    def find() -> None:
        if unrolled:
            tables.intervals_5_3(*given, symbols, *shared[2:], starts, freqs)
        else:
            tables.intervals(*given, symbols, *shared, starts, freqs)

    find()
    if way == "compress":
        return find
    lanes = container.lanes_for(height * width * coded, single.LANE_SYMBOLS)
    region = (0, len(symbols), 1)
    message = waves.push_region(ans.empty(lanes, 0), starts[:, None], freqs[:, None], region, 0, coded)
    back = np.empty_like(symbols)

    def pop() -> None:
        heads, words = message.heads.copy(), message.words
        if unrolled:
            tables.pop_rows_5_3(*given, len(symbols), *shared[2:], heads, 0, words, len(words), back)
        else:
            tables.pop_rows(*given, len(symbols), *shared, heads, 0, words, len(words), back)

    pop()
    assert np.array_equal(back[:, :coded], symbols[:, :coded])
    return pop


def product_rate(net: Packed) -> float:
    """Multiply-adds a second of the bare product, over the weights of the local network: the best of 20 runs."""
    rows, sums, count = np.zeros(ROWS * net.width, net.operand.dtype), np.empty(ROWS * PANEL, np.int32), 2000
    args = (rows, net.width // net.step, net.weights, net.layers, net.step, sums)
    best = min(seconds(partial(dots, *args, count), 1) for _ in range(20))
    return count * ROWS * multiply_adds(net, 0) / best
