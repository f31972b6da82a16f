"""Pictures out of random bits. To sample is to decode: popped from bits that nobody pushed, symbols are distributed as
the model says (`ans`), so the decoder itself draws them, in integers, and the same bits are the same picture on every
machine.

    sample    z from the prior, then x from p(x | z): new pictures
    preview   z from a file, which has it on top of everything else, then x from p(x | z): the paper's lossy code
              (section 3.1: latents keep what the window of the local network cannot see)

Pushed again, a sample gives back exactly the random bits that it was made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.errors import InputError
from vlae_codec.format import container
from vlae_codec.format.container import MAX_PIXELS, MAX_TILE, STORED, Contents, Method, Place, TileRecord, lanes_for
from vlae_codec.native import ans
from vlae_codec.pictures.many import decompress_many
from vlae_codec.pictures.modes import codes, find_codec, for_file, pixels_of
from vlae_codec.pictures.single import LANE_SYMBOLS
from vlae_codec.threads import Progress, counter, workers
from vlae_codec.weights.model import default_model_name, find_model

GREY = 128  # where a preview has nothing to show
BILEVEL, THUMBNAIL, OTHER = 28, 32, 256  # edges of samples when no size is given
SEEDS = 1 << 32


def sample(
    *,
    model: str | Path | None = None,
    size: tuple[int, int] | None = None,
    count: int = 1,
    seed: int = 1,
    latents: bool = True,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """New pictures as a model imagines them: (H, W) or (H, W, 3) uint8 or (H, W) bool each, `count` of them.

    model: a weight file or a name, by default "photo". size: (width, height); by default 28x28 for bilevel models,
    32x32 for those with latents for each 4x4 pixels, 256x256 for others. seed: 0 .. 2^32 - 1; picture i of a seed is
    the same whatever the count. latents: False draws the pixels alone, in the no-latent mode.

    Raises InputError, WeightsError, UnknownModel.
    """
    found = find_model(model or default_model_name("RGB"))
    mode = next(mode for mode in ("RGB", "L", "1") if codes(found.config, mode))
    codec, coded = find_codec(model, None, device, mode), 3 if mode == "RGB" else 1
    edge = BILEVEL if mode == "1" else THUMBNAIL if codec.stride < 8 else OTHER
    width, height = size or (edge, edge)
    if not (1 <= width <= MAX_TILE and 1 <= height <= MAX_TILE):
        raise InputError(f"samples of {width}x{height} pixels cannot be drawn: both sides may be 1 to {MAX_TILE}")
    if not 1 <= count <= MAX_PIXELS // (width * height):
        most = MAX_PIXELS // (width * height)
        raise InputError(f"the number of samples of {width}x{height} pixels may be 1 to {most}, not {count}")
    _check_seed(seed)
    rows = -(-height // codec.stride) * codec.stride  # whole cells of latents: what is below the picture is cut off
    tick = counter(progress, count * rows * width)

    def one(index: int) -> np.ndarray:
        symbols = rows * width * coded + rows // codec.stride * -(-width // codec.stride) * codec.channels
        pair = codec.tiles([(rows, width)], [rows if latents else 0], coded, None, tick)
        _, (upper, lower) = pair.pop([_random_bits([seed, index], symbols)])
        return pixels_of(np.concatenate([upper[0], lower[0]])[:height], mode)

    with workers(threads) as run:
        return run(one, range(count))


class Preview(NamedTuple):
    """What the latents of a file say of its pictures."""

    pictures: list[np.ndarray]  # (H, W) or (H, W, 3) uint8; 0 and 255 for bilevel ones; mid grey where no latents are
    bits: float  # of the latents under the prior: the length of the lossy code
    tiles: int
    blank: int  # tiles without latents


def preview(
    data: bytes,
    *,
    seed: int = 1,
    beside: bool = False,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    limits: Any = None,
) -> Preview:
    """The pictures of a .vlae file by their latents alone: the pixels are drawn anew from p(x | z).

    The latents of a tile lie on top of its stack, so nothing of its pixels is decoded. In a file of many pictures those
    of each lie below all later pictures of its group: there everything is decoded to get at them, and then only they
    are used. Rows that a tile codes without latents are drawn from what is above them, tiles without any latents are
    mid grey: they have no lossy code. What a preview shows of a picture is what the model left to its latents, and in
    photographs that is little.

    seed: 0 .. 2^32 - 1. beside: decode the pictures too, and put each to the left of its preview.

    Raises what `decompress` raises, and InputError for a seed out of range.
    """
    _check_seed(seed)
    contents = container.read(data)
    header, channels = contents.header, contents.header.channels
    needed = any(record.method not in STORED for record in contents.tiles)
    codec = for_file(find_codec(model, header.model_id, device, header.mode) if needed else None, contents)
    sizes = [(header.width, header.height)] if contents.pictures is None else contents.pictures.sizes()
    pictures = [np.full((h, w, channels)[: 3 if channels == 3 else 2], GREY, np.uint8) for w, h in sizes]
    members = contents.members()
    tick = counter(progress, sum(w * h for w, h in sizes))

    def show(g: int) -> list[float]:
        """Bits of the latents of each tile of a record that has some."""
        spent, places = [], [place for _, place in members[g]]
        for i, (split, z, bits) in enumerate(_latents(codec, contents, contents.tiles[g], places)):
            p, (y, x, h, w) = members[g][i]
            if split:
                pixels = pixels_of(_draw(codec, split, z, (h, w), channels, [seed, g, i]), header.mode)
                pictures[p][y : y + h, x : x + w] = _shown(pixels)
                spent.append(bits)
            tick(h * w)
        return spent

    with workers(threads) as run:
        spent = [bits for record in run(show, range(len(members))) for bits in record]
    if beside:
        originals = decompress_many(data, model=model, device=device, threads=threads)
        pictures = [np.concatenate([_shown(one), other], axis=1) for one, other in zip(originals, pictures)]
    tiles = sum(map(len, members))
    return Preview(pictures, sum(spent), tiles, tiles - len(spent))


def _latents(
    codec: Any, contents: Contents, record: TileRecord, places: list[Place]
) -> Iterator[tuple[int, np.ndarray, float]]:
    """(rows of band B, its latents (h, w, C) uint8, their bits under the prior) of each tile of a record."""
    from vlae_codec.coder.streams import decode_chains, read_record, retrace

    shapes = [place[2:] for place in places]
    args = (contents.header.channels, contents.header.lane_symbols)
    if record.method in STORED:
        stacks: Any = ((0, ans.empty()) for _ in places)
    elif record.method == Method.CHAIN:
        (tiles,) = decode_chains(codec, [record], [shapes], *args)
        stacks = ((split, message) for split, message, _ in retrace(codec, record, tiles, *args))
    else:
        (split,), message = read_record(codec, record, shapes, *args)
        stacks = [(split, message)]
    for (_, width), (split, message) in zip(shapes, stacks, strict=True):
        if split:
            (rest,), (z,) = codec.prior([(split // codec.stride, -(-width // codec.stride))]).pop([message])
            yield split, z, ans.bits(message) - ans.bits(rest)
        else:
            yield 0, np.zeros((0, 0, 0), np.uint8), 0.0


def _draw(codec: Any, split: int, z: np.ndarray, shape: tuple[int, int], coded: int, seed: list[int]) -> np.ndarray:
    """A tile (H, W, C) uint8 drawn from p(x | z), and below `split` without latents."""
    height, width = shape
    nothing = np.zeros((0, width, codec.config["channels"]), np.uint8)
    messages = [_random_bits(seed, height * width * coded)]
    messages, upper = codec.pixels([nothing], [split], [codec.nets.context(z, width)], coded).pop(messages)
    _, lower = codec.pixels(upper, [height - split], None, coded).pop(messages)
    return np.concatenate([upper[0], lower[0]])


def _shown(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any mode as uint8: 0 and 255 of bilevel ones."""
    return pixels * np.uint8(255) if pixels.dtype == bool else pixels


def _random_bits(seed: list[int], symbols: int) -> ans.Message:
    """A stack, always the same for a seed, from which so many symbols can be popped: each takes one word at most."""
    lanes = lanes_for(symbols, LANE_SYMBOLS)
    words = np.frombuffer(np.random.RandomState(seed).bytes(4 * (2 * lanes + symbols)), "<u4")
    heads = words[: 2 * lanes].astype(np.uint64)
    return ans.Message(
        heads[::2] << np.uint64(32) | heads[1::2] | np.uint64(1 << 63), words[2 * lanes :].astype(np.uint32)
    )


def _check_seed(seed: int) -> None:
    if not 0 <= seed < SEEDS:
        raise InputError(f"the seed must be 0 to {SEEDS - 1}, not {seed}")
