"""Pictures drawn from random bits. To sample is to decode: symbols that are popped from bits that nobody pushed are
distributed as the model says (`ans`). So the decoder itself draws them, in integers, and the same bits are the same
picture on every machine.

    sample    z from the prior, then x from p(x | z): new pictures
    preview   z from a file, which has it on top of everything else, then x from p(x | z): the paper's lossy code
              (section 3.1: latents keep what the window of the local network cannot see)

Pushed again, a sample gives back exactly the random bits that it was made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlae_codec.coder.streams import Shape, read_record, retrace
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import InputError
from vlae_codec.format import container
from vlae_codec.format.container import Bytes, Method, Part, TileRecord, lanes_for, tiles_of
from vlae_codec.format.header import LANE_SYMBOLS, Kind, Layout
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.native import ans
from vlae_codec.pictures.codec import codecs_for, codes, find_codec
from vlae_codec.pictures.decode import check_work, decode
from vlae_codec.pictures.modes import restored, symbols_of, unpack_form
from vlae_codec.threads import Progress, counter, workers
from vlae_codec.views.chroma import is_chroma, with_chroma
from vlae_codec.weights.model import default_model_name, find_model

MAX_SIDE = 2048  # of a sample
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
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """New pictures as a model imagines them: (H, W) or (H, W, 3) uint8 or (H, W) bool each, `count` of them.

    model: a weight file or a name, by default "photo". size: (width, height); by default 28x28 for bilevel models,
    32x32 for those with latents for each 4x4 pixels, 256x256 for others. seed: 0 .. 2^32 - 1; picture i of a seed is
    the same whatever the count. latents: False draws the pixels alone, in the no-latent mode.

    Raises InputError, WeightsError, UnknownModel, ImageTooLarge.
    """
    found = find_model(model or default_model_name("RGB"))
    mode = next(mode for mode in ("RGB", "L", "1") if codes(found.config, mode))
    codec, coded = find_codec(model, None, device, mode), 3 if mode == "RGB" else 1
    edge = BILEVEL if mode == "1" else THUMBNAIL if codec.stride < 8 else OTHER
    width, height = size or (edge, edge)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InputError(f"samples of {width}x{height} pixels cannot be drawn: both sides may be 1 to {MAX_SIDE}")
    if count < 1:
        raise InputError(f"the number of samples must be 1 or more, not {count}")
    limits.check(count * width * height, count, count * width * height * 3)
    _check_seed(seed)
    rows = -(-height // codec.stride) * codec.stride  # whole cells of latents: what is below the picture is cut off
    tick = counter(progress, count * rows * width)

    def one(index: int) -> np.ndarray:
        symbols = rows * width * coded + rows // codec.stride * -(-width // codec.stride) * codec.channels
        pair = codec.tiles([(rows, width)], [rows if latents else 0], coded, None, tick)
        _, (upper, lower) = pair.pop([_random_bits([seed, index], symbols)])
        tile = np.concatenate([upper[0], lower[0]])[:height]
        return tile if mode == "RGB" else tile[..., 0].astype(bool if mode == "1" else np.uint8)

    with workers(threads) as run:
        return run(one, range(count))


class Preview(NamedTuple):
    """What the latents of a file say of its pictures."""

    pictures: list[np.ndarray]  # (H, W) or (H, W, 3) uint8; mid grey where no latents are
    bits: float  # of the latents under the prior: the length of the lossy code
    tiles: int
    blank: int  # tiles without latents


def preview(
    data: Bytes,
    *,
    seed: int = 1,
    beside: bool = False,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> Preview:
    """The pictures of a .vlae file by their latents alone: the pixels are drawn anew from p(x | z).

    The latents of a tile lie on top of its stack, so nothing of its pixels is decoded. In a file of many pictures those
    of each lie below all later pictures of its group: there everything is decoded to get at them, and then only they
    are used. Rows that a tile codes without latents are drawn from what is above them, tiles without any latents are
    mid grey: they have no lossy code. What a preview shows of a picture is what the model left to its latents, and in
    photographs that is little. Only the first group of planes of a picture is shown: its colours, or its greys. Of
    source planes the luma has latents, and chroma is drawn beside it, as its model expects it; coefficients of a JPEG
    have no latents. More than 256 levels are shown as 256.

    seed: 0 .. 2^32 - 1. beside: decode the pictures too, and put each to the left of its preview.

    Raises what `decompress` raises, and InputError for a seed out of range.
    """
    _check_seed(seed)
    contents = container.read(data, limits)
    sizes = contents.sizes()
    limits.check(0, memory=(2 if beside else 1) * 6 * sum(w * h for w, h in sizes))
    codecs = codecs_for(contents, model, device)
    check_work(contents, codecs, limits)
    first = [not part.channel and part.planes.kind != Kind.EXCEPTIONS for part in contents.parts]
    shown = [(part, codec) for part, codec, is_first in zip(contents.parts, codecs, first) if is_first]
    pictures: list[np.ndarray] = [np.empty(0, np.uint8) for _ in sizes]
    for part, _ in shown:
        for i, _, _ in part.pictures:
            (w, h), coloured = sizes[i], part.planes.channels >= 3 or part.planes.kind == Kind.SOURCE
            colour = coloured or part.layout.palette is not None
            pictures[i] = np.full((h, w, 3) if colour else (h, w), GREY, np.uint8)
    chroma = [(part, codec) for part, codec in zip(contents.parts, codecs) if is_chroma(part)]
    tick = counter(progress, sum(w * h for part, _ in shown + chroma for _, w, h in part.pictures))
    blank: list[tuple[int, tuple[slice, slice]]] = []  # pictures and places that have no latents

    def show(part: Part, codec: TileCodec | None, g: int) -> list[tuple[float, bool]]:
        """(bits of the latents, whether there are some) of each tile of a record."""
        spent, tiles, (sx, sy) = [], tiles_of(part.pieces[g], part.planes.tile_size), part.planes.scale
        latents = _latents(codec, part, part.records[g], [place[2:] for _, place in tiles])
        for i, ((p, (y, x, h, w)), (split, z, bits)) in enumerate(zip(tiles, latents, strict=True)):
            if codec is not None and split:
                drawn = _draw(codec, split, z, (h, w), part.planes.channels, [seed, g, i])[..., : part.planes.channels]
                into = pictures[p][y * sy : (y + h) * sy, x * sx : (x + w) * sx]
                values = to_8_bits(_known(part, drawn, *into.shape[:2]), part.layout)
                into[...] = values if values.ndim == into.ndim else values[..., None]
            else:
                blank.append((p, np.s_[y * sy : (y + h) * sy, x * sx : (x + w) * sx]))
            spent.append((bits, split > 0))
            tick(h * w)
        return spent

    found: list[tuple[float, bool]] = []
    with workers(threads) as run:
        for part, codec in shown:
            records = range(len(part.records))
            found += [tile for some in run(partial(show, part, codec), records) for tile in some]
        lumas = {i: np.ascontiguousarray(pictures[i][..., 0]) for part, _ in chroma for i, _, _ in part.pictures}
        for i, picture in with_chroma(chroma, lumas, partial(_draw_chroma, seed), run, tick).items():
            for p, place in blank:
                picture[place] = GREY if p == i else picture[place]
            pictures[i] = picture
        if beside:
            layouts = [contents.header.layouts[layout] for layout, _, _ in contents.header.pictures()]
            originals = decode(contents, codecs, run)
            pictures = [
                np.concatenate([to_8_bits(_first(symbols_of(one.pixels), other), layout), other], axis=1)
                for one, other, layout in zip(originals, pictures, layouts)
            ]
    return Preview(pictures, sum(bits for bits, _ in found), len(found), sum(not some for _, some in found))


def _known(part: Part, drawn: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The samples that drawn symbols stand for; those without a value are taken for the last that has one."""
    if part.planes.values:
        most = min(count for count, _ in part.planes.values) - 1
        drawn = np.minimum(drawn, drawn.dtype.type(most))
    return restored(part, drawn, rows, columns)


def _first(symbols: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The channels of symbols (H, W, C) that a preview shows."""
    return symbols[..., : 3 if like.ndim == 3 and symbols.shape[2] >= 3 else 1]


def to_8_bits(symbols: np.ndarray, layout: Layout) -> np.ndarray:
    """(H, W, 3) or (H, W) uint8 for symbols (H, W, 3) or (H, W, 1) of the first channels of a picture."""
    if layout.palette is not None:
        palette = unpack_form(layout.palette, (1, layout.colours), layout.columns, 256)[0, :, :3]
        return palette[np.minimum(symbols[..., 0], layout.colours - 1)]
    values = symbols
    if layout.levels != 256:
        values = (symbols.astype(np.uint32) * 255 // (layout.levels - 1)).astype(np.uint8)
    return values if values.shape[2] == 3 else values[..., 0]


def _latents(
    codec: TileCodec | None, part: Part, record: TileRecord, shapes: list[Shape]
) -> Iterator[tuple[int, np.ndarray, float]]:
    """(rows of band B, its latents (h, w, C) uint8, their bits under the prior) of each tile of a record."""
    args = (part.planes.channels, part.planes.lane_symbols)
    if codec is None or record.stored:
        yield from ((0, np.zeros((0, 0, 0), np.uint8), 0.0) for _ in shapes)
        return
    if record.method == Method.CHAIN:
        traced = retrace(codec, record, shapes, *args)
        stacks: Iterator[tuple[int, ans.Message]] = ((split, message) for _, split, message, _ in traced)
    else:
        (split,), message = read_record(codec, record, shapes, *args)
        stacks = iter([(split, message)])
    for (_, width), (split, message) in zip(shapes, stacks, strict=True):
        cells = (split // codec.stride, -(-width // codec.stride))
        (rest,), (z,) = codec.prior([cells]).pop([message])
        yield split, z, ans.bits(message) - ans.bits(rest)


def _draw(
    codec: TileCodec, split: int, z: np.ndarray, shape: tuple[int, int], coded: int, seed: list[int]
) -> np.ndarray:
    """A tile (H, W, C) drawn from p(x | z), and below `split` without latents."""
    height, width = shape
    nothing = np.zeros((0, width, codec.config["channels"]), codec.kind)
    messages = [_random_bits(seed, height * width * coded)]
    messages, upper = codec.pixels([nothing], [split], [codec.nets.context(z, width)], coded).pop(messages)
    _, lower = codec.pixels(upper, [height - split], None, coded).pop(messages)
    return np.concatenate([upper[0], lower[0]])


def _draw_chroma(seed: int, codec: TileCodec, shape: tuple[int, int], more: list[int]) -> np.ndarray:
    """A tile (H, W, 1) drawn without latents."""
    nothing = np.zeros((0, shape[1], 1), codec.kind)
    bits = _random_bits([seed, *more, 0], shape[0] * shape[1])
    _, (drawn,) = codec.pixels([nothing], [shape[0]], None, 1).pop([bits])
    return drawn


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
