"""A file -> pictures: the streams are read, decoded some at a time, and put in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vlae_codec.coder import streams
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile, InputError
from vlae_codec.format import container, stored
from vlae_codec.format.container import STORED, Bytes, Contents, Piece, Region, tiles_of
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.codec import codec_for
from vlae_codec.pictures.image import Picture
from vlae_codec.pictures.modes import blank, pixels_of
from vlae_codec.threads import Progress, Run, counter

BATCH_PIXELS = 1 << 26  # of tiles that are decoded together on a device

Put = Callable[[Piece, np.ndarray], None]  # takes a piece of a picture and its pixels


def decode(
    contents: Contents, codec: TileCodec | None, run: Run, progress: Progress | None = None, limits: Limits = DEFAULT
) -> list[np.ndarray]:
    """The pixels of each picture of a file, or of the region of its picture that was read.

    codec: what `codec_for` found. Raises CorruptFile, and ImageTooLarge for more work than the limits allow.
    """
    check_work(contents, codec, limits)
    left, top, width, height = contents.region or (0, 0, 0, 0)
    sizes = [(width, height)] if contents.region else contents.sizes()
    pictures = [blank(*size, contents.header.mode) for size in sizes]

    def put(piece: Piece, found: np.ndarray) -> None:
        i, (y, x, h, w) = piece
        pixels = pictures[i]
        first, last = max(y, top), min(y + h, top + len(pixels))
        begin, end = max(x, left), min(x + w, left + pixels.shape[1])
        pixels[first - top : last - top, begin - left : end - left] = found[first - y : last - y, begin - x : end - x]

    each_piece(contents, codec, put, run, progress)
    return pictures


def decode_picture(
    data: Bytes,
    region: Region | None,
    model: str | Path | None,
    device: str,
    run: Run,
    progress: Progress | None = None,
    limits: Limits = DEFAULT,
) -> Picture:
    """The picture of a file, or a region of it.

    Raises what `container.read` and `codec_for` raise, and InputError for a file of several pictures.
    """
    contents = container.read(data, limits, region)
    if contents.pictures is not None:
        raise InputError("the file holds a list of pictures: use vlae_codec.decompress_many")
    (pixels,) = decode(contents, codec_for(contents, model, device), run, progress, limits)
    return Picture(pixels, contents.metadata)


def check_work(contents: Contents, codec: TileCodec | None, limits: Limits) -> None:
    """Raises ImageTooLarge for a file whose decoding would take longer than the limits allow, by an estimate."""
    if codec is not None:
        parts = [place for some in contents.pieces for _, place in some]
        tiles = sum(container.tiles_in(w, h, contents.header.tile_size) for _, _, h, w in parts)
        limits.check_work(contents.model_pixels, codec.model.multiply_adds, tiles)


def each_piece(
    contents: Contents, codec: TileCodec | None, put: Put, run: Run, progress: Progress | None = None
) -> None:
    """put(piece, pixels) for each piece of each stream, in any order and by several threads. Raises CorruptFile."""
    header, mode, pieces = contents.header, contents.header.mode, contents.pieces
    tick = counter(progress, sum(h * w for parts in pieces for _, (_, _, h, w) in parts))

    def restore(index: int) -> None:
        record, parts = contents.tiles[index], pieces[index]
        with _naming(contents, [index]):
            found = stored.restore(record.method, record.data, [place[2:] for _, place in parts], mode)
            for piece, pixels in zip(parts, found, strict=True):
                put(piece, pixels)
                tick(pixels.shape[0] * pixels.shape[1])

    def decode_batch(batch: Sequence[int]) -> None:
        assert codec is not None
        records, parts = [contents.tiles[index] for index in batch], [pieces[index] for index in batch]
        shapes = [[place[2:] for _, place in tiles_of(some, header.tile_size)] for some in parts]
        with _naming(contents, batch):
            found = streams.decode(codec, records, shapes, header.channels, header.lane_symbols, tick)
        for some, tiles in zip(parts, map(iter, found)):
            for piece in some:
                _, (top, left, height, width) = piece
                places = [place for _, place in tiles_of([piece], header.tile_size)]
                if len(places) == 1:
                    put(piece, pixels_of(next(tiles), mode))
                    continue
                pixels = blank(width, height, mode)
                for y, x, h, w in places:
                    pixels[y - top : y - top + h, x - left : x - left + w] = pixels_of(next(tiles), mode)
                put(piece, pixels)

    indices = range(len(contents.tiles))
    run(restore, [index for index in indices if contents.tiles[index].method in STORED])
    coded = [index for index in indices if contents.tiles[index].method not in STORED]
    size = 1
    if codec is not None and codec.device is not None:
        largest = max((h * w for parts in pieces for _, (_, _, h, w) in parts), default=1)
        size = max(1, BATCH_PIXELS // min(largest, header.tile_size**2))
    run(decode_batch, [coded[i : i + size] for i in range(0, len(coded), size)])


@contextmanager
def _naming(contents: Contents, batch: Sequence[int]) -> Iterator[None]:
    """Puts the tiles or groups before what is wrong with one of them."""
    try:
        yield
    except CorruptFile as error:
        kind = "tiles" if contents.pictures is None else "groups"
        if contents.region is None:
            first, last = batch[0], batch[-1]
        else:
            pieces = contents.pieces
            first, last = (contents.header.tile_index(*pieces[index][0][1][:2]) for index in (batch[0], batch[-1]))
        raise type(error)(f"{kind} {first} to {last}: {error}") from error
