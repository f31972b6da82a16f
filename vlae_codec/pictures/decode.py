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
from vlae_codec.format.container import Bytes, Contents, Part, Piece, Region, tiles_of
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.codec import codecs_for
from vlae_codec.pictures.modes import blank, picture_of, restored
from vlae_codec.threads import Progress, Run, counter

BATCH_PIXELS = 1 << 26  # of tiles that are decoded together on a device

Codecs = Sequence[TileCodec | None]  # of each part of a file
Put = Callable[[Piece, np.ndarray, bool], None]  # takes a piece, its symbols, whether they are differences


def decode(
    contents: Contents, codecs: Codecs, run: Run, progress: Progress | None = None, limits: Limits = DEFAULT
) -> list[Picture]:
    """The pictures of a file, or the region of its picture that was read.

    codecs: what `codecs_for` found. Raises CorruptFile, and ImageTooLarge for more work than the limits allow.
    """
    check_work(contents, codecs, limits)
    region, layouts = contents.region, contents.header.layouts
    pictures = list(contents.header.pictures())
    sizes = [region[2:]] if region else contents.sizes()
    arrays = [blank(*size, layouts[layout]) for size, (layout, _, _) in zip(sizes, pictures)]
    left, top = region[:2] if region else (0, 0)
    tick = counter(progress, samples_in(contents.parts))
    if any(record.differences for record in contents.records):
        limits.check(0, memory=2 * contents.header.bytes)
    for part, codec in zip(contents.parts, codecs, strict=True):
        target = _Target(part, arrays, (left, top))
        each_piece(part, codec, target.put_symbols if target.symbols else target.put, run, tick)
        target.finish()
    return [
        picture_of(array, layouts[layout], metadata)
        for array, (layout, _, _), metadata in zip(arrays, pictures, contents.metadata_by_picture())
    ]


class _Target:
    """Takes the pieces of a part, and puts their samples where they stand in the pictures."""

    def __init__(self, part: Part, arrays: list[np.ndarray], corner: tuple[int, int]) -> None:
        self.part, self.arrays, (self.left, self.top) = part, arrays, corner
        self.differences: list[Piece] = []
        self.symbols: dict[int, np.ndarray] = {}  # of whole pictures, where some hold differences from others
        if any(record.differences for record in part.records):
            dtype, channels = np.uint8 if part.planes.levels <= 256 else np.uint16, part.planes.channels
            self.symbols = {i: np.empty((h, w, channels), dtype) for i, w, h in part.pictures}

    def put(self, piece: Piece, found: np.ndarray, differences: bool = False) -> None:
        part, (i, (y, x, _, _)) = self.part, piece
        into = self.arrays[i][..., part.channel : part.channel + part.planes.channels]
        y, x = y * part.planes.scale[1] - self.top, x * part.planes.scale[0] - self.left
        values = restored(part, found, into.shape[0] - y, into.shape[1] - x)
        first, last = max(y, 0), min(y + values.shape[0], into.shape[0])
        begin, end = max(x, 0), min(x + values.shape[1], into.shape[1])
        into[first:last, begin:end] = values[first - y : last - y, begin - x : end - x]

    def put_symbols(self, piece: Piece, found: np.ndarray, differences: bool) -> None:
        i, (y, x, h, w) = piece
        self.symbols[i][y : y + h, x : x + w] = found
        if differences:
            self.differences.append(piece)

    def finish(self) -> None:
        for i, (y, x, h, w) in sorted(self.differences):
            here, before = (self.symbols[j][y : y + h, x : x + w] for j in (i, i - 1))
            here[...] = added(here, before, self.part.planes.levels)
        for i, symbols in self.symbols.items():
            self.put((i, (0, 0, *symbols.shape[:2])), symbols)


def added(symbols: np.ndarray, before: np.ndarray, levels: int) -> np.ndarray:
    """The symbols of which these are the differences from those before, modulo the levels."""
    return ((symbols.astype(np.uint32) + before) % levels).astype(symbols.dtype)


def decode_all(
    data: Bytes,
    region: Region | None,
    model: str | Path | None,
    device: str,
    run: Run,
    progress: Progress | None = None,
    limits: Limits = DEFAULT,
    alone: bool = False,
) -> list[Picture]:
    """The pictures of a file, or a region of its picture. alone: a file of several is refused before it is decoded.

    Raises what `container.read` and `codecs_for` raise, and InputError for several pictures.
    """
    contents = container.read(data, limits, region)
    if alone and contents.header.count > 1:
        raise InputError(f"the file holds {contents.header.count} pictures: use vlae_codec.decompress_pictures")
    return decode(contents, codecs_for(contents, model, device), run, progress, limits)


def check_work(contents: Contents, codecs: Codecs, limits: Limits) -> None:
    """Raises ImageTooLarge for a file whose decoding would take longer than the limits allow, by an estimate."""
    for part, codec in zip(contents.parts, codecs):
        if codec is not None:
            limits.check_work(part.model_pixels, codec.model.multiply_adds, part.tile_count)


def samples_in(parts: Sequence[Part]) -> int:
    """The samples of all pieces, for counting."""
    return sum(h * w for part in parts for pieces in part.pieces for _, (_, _, h, w) in pieces)


def each_piece(part: Part, codec: TileCodec | None, put: Put, run: Run, tick: Callable[[int], None]) -> None:
    """put(piece, symbols (h, w, C), differences) for each piece of each stream of a part, in any order and by several
    threads. tick: told how many more samples are done. Raises CorruptFile.
    """
    planes, pieces, records = part.planes, part.pieces, part.records
    channels = planes.channels

    def restore(index: int) -> None:
        record, some = records[index], pieces[index]
        with _naming(part, [index]):
            shapes = [place[2:] for _, place in some]
            found = stored.restore(record.method, record.data, shapes, channels, planes.levels)
            for piece, symbols in zip(some, found, strict=True):
                put(piece, symbols, record.differences)
                tick(symbols.shape[0] * symbols.shape[1])

    def decode_batch(batch: Sequence[int]) -> None:
        assert codec is not None
        shapes = [[place[2:] for _, place in tiles_of(pieces[index], planes.tile_size)] for index in batch]
        with _naming(part, batch):
            some = [records[index] for index in batch]
            found = streams.decode(codec, some, shapes, channels, planes.lane_symbols, tick)
        for index, tiles in zip(batch, map(iter, found)):
            for piece in pieces[index]:
                _, (top, left, height, width) = piece
                places = [place for _, place in tiles_of([piece], planes.tile_size)]
                if len(places) == 1:
                    put(piece, next(tiles)[..., :channels], False)
                    continue
                symbols = np.empty((height, width, channels), np.uint8 if planes.levels <= 256 else np.uint16)
                for y, x, h, w in places:
                    symbols[y - top : y - top + h, x - left : x - left + w] = next(tiles)[..., :channels]
                put(piece, symbols, False)

    indices = range(len(records))
    run(restore, [index for index in indices if records[index].stored])
    coded = [index for index in indices if not records[index].stored]
    size = 1
    if codec is not None and codec.device is not None:
        largest = max((h * w for some in pieces for _, (_, _, h, w) in some), default=1)
        size = max(1, BATCH_PIXELS // min(largest, planes.tile_size**2))
    run(decode_batch, [coded[i : i + size] for i in range(0, len(coded), size)])


@contextmanager
def _naming(part: Part, batch: Sequence[int]) -> Iterator[None]:
    """Puts the tiles or chains before what is wrong with one of them."""
    try:
        yield
    except CorruptFile as error:
        names = " to ".join(dict.fromkeys(part.name(index) for index in (batch[0], batch[-1])))
        raise type(error)(f"{names}: {error}") from error
