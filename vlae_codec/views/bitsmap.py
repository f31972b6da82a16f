"""Where the bits of a picture went: how many each pixel and each latent took.

The file is decoded, and each of its streams is pushed again as its encoder pushed it (`streams.retrace`). So every
figure is -log2 of an integer frequency that the file really spent. Their sum is the streams' bits, without the rows of
the bands and without what the ANS heads cost (32 to 64 bits a lane, the checksum in the first of them). The map shows
the two parts of -ELBO:

    local     -log2 p(x | z), bands A and B, the channels of a pixel together
    latent    -log2 p(z) + log2 q(z | x), the KL term, of a cell of latents together, spread evenly over its pixels

What is no symbol of a model, as stored tiles, exceptions and coefficients, has the bytes of its stream, spread evenly
over the tile's pixels; a sample of chroma at half size is spread over the pixels that it stands for.

The map leaves out what is no stream: header, tables, metadata and a file's adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from vlae_codec.coder.streams import Shape, retrace
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import PRECISION
from vlae_codec.format import container
from vlae_codec.format.container import Bytes, Method, Part, Place, TileRecord, tiles_of
from vlae_codec.format.header import Kind, Planes
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.codec import codecs_for
from vlae_codec.pictures.decode import check_work
from vlae_codec.pictures.pieces import each_piece, samples_in
from vlae_codec.pictures.sources import Sources
from vlae_codec.threads import Progress, Run, counter, workers
from vlae_codec.views import mosaic

MAP_BYTES = 24  # of a pixel of a map while it is drawn
LEGEND = 76  # columns right of a map, of which the scale takes BAR
BAR = 12
TEXT = 11  # rows of a line of text
GROUND, INK = (255, 255, 255), (40, 40, 40)

# Colours of a share of the scale's end, -1 .. 1: a cell of latents can be cheaper under the prior than under the
# posterior. Lightness rises with the share's size.
SHARES = np.array([-1.0, -0.5, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
COLOURS = np.array(
    [
        (150, 225, 255),
        (30, 110, 200),
        (0, 0, 10),
        (62, 16, 100),
        (148, 32, 112),
        (220, 66, 66),
        (250, 150, 30),
        (255, 246, 180),
    ]
)


class BitsMap(NamedTuple):
    """Bits of each pixel of a picture, or of a mosaic of the pictures of a file; 0 between them."""

    local: np.ndarray  # (H, W) float32: of the pixel's symbols; in a stored tile its bytes, spread evenly
    latent: np.ndarray  # (H, W) float32: its share of its cell's KL; 0 without latents, may be negative
    tiles: tuple[tuple[Place, Method], ...]  # (y, x, h, w) in the map and how it is coded, of each group of planes


def bits_map(
    data: Bytes,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> BitsMap:
    """Where the bits of a .vlae file went. model: a name or path, by default what the file names.

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile and ImageTooLarge.
    """
    contents = container.read(data, limits)
    sizes = [(h, w) for w, h in contents.sizes()]
    height, width, corners = mosaic.places(sizes, limits, MAP_BYTES)
    codecs = codecs_for(contents, model, device)
    check_work(contents, codecs, limits)
    local, latent = np.zeros((2, height, width), np.float32)
    tick = counter(progress, samples_in(contents.parts))
    tiles: list[list[tuple[Place, Method]]] = []
    sources = Sources()  # which models take beside chroma

    def fill(run: Run, part: Part, codec: TileCodec | None, index: int) -> list[tuple[Place, Method]]:
        record, found = part.records[index], []
        pictures, places = zip(*tiles_of(part.pieces[index], part.planes.tile_size))
        if codec is None or record.stored:
            share = 8 * len(record.data) / sum(h * w for _, _, h, w in places)
            bits: Iterable[tuple[np.ndarray, np.ndarray]] = (
                (np.full((h, w), share), np.zeros((h, w))) for _, _, h, w in places
            )
        else:
            beside = sources.beside(part, codec)
            own = codec if beside is None else codec.beside(beside(part.pieces[index][0]))
            bits = _bits(own, record, [place[2:] for place in places], part.planes, run)
        for i, (y, x, h, w), (pixels, cells) in zip(pictures, places, bits, strict=True):
            (first, rows), (begin, columns) = _pixels_of(part.planes, (y, x, h, w), sizes[i])
            top, left, high, wide = corners[i][0] + first, corners[i][1] + begin, len(rows), len(columns)
            for into, values in ((local, pixels), (latent, cells)):
                into[top : top + high, left : left + wide] += _enlarged(values, rows, columns)
            found.append(((top, left, high, wide), Method(record.method)))
            tick(h * w)
        return found

    with workers(threads) as run:
        for part, codec in zip(contents.parts, codecs):
            if part.planes.kind == Kind.SOURCE:
                sources.add(part)
                each_piece(part, codec, sources.put, run, lambda _: None, sources.beside(part, codec))
            tiles += run(partial(fill, run, part, codec), range(len(part.records)))
    return BitsMap(local, latent, tuple(tile for some in tiles for tile in some))


def _pixels_of(planes: Planes, place: Place, size: Shape) -> list[tuple[int, np.ndarray]]:
    """The first row of pixels that a place in a group of planes stands for, and of that row and the next ones the row
    of samples in the place; likewise of columns. size: (height, width) of the picture.
    """
    source = planes.kind == Kind.SOURCE
    steps, shifts = (planes.halved, planes.shifted) if source else (planes.scale, (0, 0))
    counts, found = planes.size(size[1], size[0]), []
    for axis, (begin, count) in enumerate(((place[0], place[2]), (place[1], place[3]))):
        samples = (np.arange(size[axis]) - shifts[1 - axis]) // steps[1 - axis]
        inside = samples.clip(0, counts[1 - axis] - 1) - begin
        first, last = np.searchsorted(inside, [0, count])
        found.append((int(first), inside[first:last]))
    return found


def _enlarged(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Shares of values (h, w): of each pixel, of whose row and column these are the rows and columns of the value."""
    return (values / np.outer(np.bincount(rows), np.bincount(columns)))[rows][:, columns]


def _bits(
    codec: TileCodec, record: TileRecord, shapes: list[Shape], planes: Planes, run: Run
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(local, latent), (h, w) each, of the tiles of a model-coded record."""
    traced = retrace(codec, record, shapes, planes.channels, planes.lane_symbols, run)
    for (h, w), (_, split, _, spent) in zip(shapes, traced, strict=True):
        local, latent = np.zeros((2, h, w))
        for band, rows in (("band B", slice(0, split)), ("band A", slice(split, h))):
            if band in spent.freqs:
                local[rows] = _log(spent.freqs[band]).sum(2)
        if split:
            prior = _log(spent.freqs["prior"])
            cells = (prior - _log(spent.freqs["posterior"]).reshape(prior.shape)).sum(2)
            latent[:split] = _spread(cells, codec.stride, w)
        yield local, latent


def _log(freqs: np.ndarray) -> np.ndarray:
    """Bits of symbols of these frequencies."""
    return PRECISION - np.log2(freqs.astype(np.float64))


def _spread(cells: np.ndarray, stride: int, width: int) -> np.ndarray:
    """(h * stride, width) shares of cells (h, w), of which the last column may have fewer pixels."""
    columns = np.bincount(np.arange(width) // stride)  # pixels of each cell in a row
    return (cells / (columns * stride)).repeat(stride, axis=0).repeat(columns, axis=1)


# ---------------------------------------------------------------------------------------------------- drawing


def render(bits: BitsMap) -> np.ndarray:
    """(H, W', 3) uint8: the local map and the latent map side by side, each with its scale where there is room for it.

    A scale ends where all but one in two hundred of the pixels that have such bits do.
    """
    parts = []
    for values, name in ((bits.local, "pixels"), (bits.latent, "latents")):
        sizes = np.abs(values[values != 0])
        end = float(np.quantile(sizes, 0.995)) if len(sizes) else 1.0
        low = -end if values.min() < 0 else 0.0
        parts += [_colour(values / end), _legend(len(values), low, end, [name, f"{values.sum(dtype=float) / 8:.0f} B"])]
    return np.concatenate(parts, axis=1)


def _colour(shares: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 of shares (h, w) of the scale's end."""
    index = np.round((shares.clip(-1, 1) + 1) * 512).astype(np.int64)
    steps = np.linspace(-1, 1, 1025)
    table = np.stack([np.interp(steps, SHARES, channel) for channel in COLOURS.T], axis=1)
    return table.round().astype(np.uint8)[index]


def _legend(height: int, low: float, high: float, title: list[str]) -> np.ndarray:
    """(height, columns, 3) uint8: a scale from low at the bottom to high at the top, bits a pixel; larger in a larger
    picture, without words in a low one.
    """
    enlarged = max(1, height // 600)
    rows, top = -(-height // enlarged), TEXT * (len(title) + 1) + 4
    words = rows >= top + 3 * TEXT
    legend = Image.new("RGB", (LEGEND if words else BAR, rows), GROUND)
    draw, first, last = ImageDraw.Draw(legend), top if words else 0, rows - 1
    scale = np.linspace(high, low, last + 1 - first) / high
    legend.paste(Image.fromarray(_colour(scale[:, None].repeat(BAR - 4, axis=1))), (2, first))
    if words:
        for i, line in enumerate([*title, "bits/pixel"]):
            draw.text((2, TEXT * i), line, INK)
        for value in dict.fromkeys((high, 0.0, low)):
            y = first + round((high - value) / (high - low) * (last - first))
            draw.line((BAR - 2, y, BAR + 2, y), INK)
            draw.text((BAR + 5, min(max(y - TEXT // 2, top), rows - TEXT - 1)), f"{value:.3g}", INK)
    return np.asarray(legend).repeat(enlarged, axis=0)[:height].repeat(enlarged, axis=1)
