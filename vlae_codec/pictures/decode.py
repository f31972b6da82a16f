"""A file -> pictures: the streams are read, decoded some at a time, and put in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import InputError
from vlae_codec.format import container
from vlae_codec.format.container import Bytes, Contents, Part, Piece, Region
from vlae_codec.format.header import Kind
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.codec import codecs_for
from vlae_codec.pictures.holes import Hole, Holes
from vlae_codec.pictures.modes import blank, picture_of, restored
from vlae_codec.pictures.pieces import added, each_piece, last_first, samples_in
from vlae_codec.pictures.rebuild import Rebuilding
from vlae_codec.threads import Progress, Run, counter

Codecs = Sequence[TileCodec | None]  # of each part of a file


def decode(
    contents: Contents,
    codecs: Codecs,
    run: Run,
    progress: Progress | None = None,
    limits: Limits = DEFAULT,
    holes: Holes | None = None,
) -> list[Picture]:
    """The pictures of a file, or the region of its picture that was read.

    codecs: what `codecs_for` found; holes: takes what is damaged, which then is grey. Without them raises CorruptFile;
    and ImageTooLarge for more work than the limits allow.
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
    rebuilding, coefficients = None, dict[int, Coefficients]()
    for part, codec in zip(contents.parts, codecs, strict=True):
        if part.planes.kind != Kind.SAMPLES:
            rebuilding = rebuilding or Rebuilding(contents, limits, holes)
            if rebuilding.take(part, codec, run, tick):
                rebuilding.put(arrays, (left, top))
                coefficients |= rebuilding.coefficients
                rebuilding = None
            continue
        target = _Target(part, arrays, (left, top), holes)
        put = target.put_symbols if target.symbols else target.put
        each_piece(part, codec, put, run, tick, lose=None if holes is None else holes.lose)
        target.finish()
    if holes is not None:
        holes.found = holes.fill(arrays, [layouts[layout] for layout, _, _ in pictures])
        if holes.found:
            coefficients = {}
    return [
        picture_of(array, layouts[layout], metadata, None if region else coefficients.get(i))
        for i, (array, (layout, _, _), metadata) in enumerate(zip(arrays, pictures, contents.metadata_by_picture()))
    ]


def unwind_chains(contents: Contents, codecs: Codecs, limits: Limits = DEFAULT) -> Iterator[tuple[int, Picture]]:
    """(number in the file, picture) of the chains that `container.read_chain` found, from the last picture to the
    first, each of them decoded when it is asked for. Raises CorruptFile, at the latest before the first picture.
    """
    check_work(contents, codecs, limits)
    parts = contents.parts
    layout, mine = parts[0].layout, {number for number, _, _ in parts[0].pictures}
    sizes = {i: (width, height) for i, (_, width, height) in enumerate(contents.header.pictures()) if i in mine}
    metadata = {number: contents.metadata_of(number) for number in mine}

    def joined(found: Sequence[tuple[Piece, np.ndarray]]) -> tuple[int, Picture]:
        (number, _), _ = found[0]
        array = blank(*sizes[number], layout)
        for part, (piece, symbols) in zip(parts, found):
            _Target(part, {number: array}, (0, 0)).put(piece, symbols)
        return number, picture_of(array, layout, metadata[number])

    return map(joined, zip(*map(last_first, parts, codecs)))


class _Target:
    """Takes the pieces of a part, and puts their samples where they stand in the pictures."""

    def __init__(
        self,
        part: Part,
        arrays: list[np.ndarray] | dict[int, np.ndarray],
        corner: tuple[int, int],
        holes: Holes | None = None,
    ) -> None:
        self.part, self.arrays, (self.left, self.top), self.holes = part, arrays, corner, holes
        self.differences: list[Piece] = []
        self.symbols: dict[int, np.ndarray] = {}  # of whole pictures, where some hold differences from others
        if any(record.differences for record in part.records):
            dtype, channels = np.uint8 if part.planes.levels <= 256 else np.uint16, part.planes.channels
            self.symbols = {i: np.zeros((h, w, channels), dtype) for i, w, h in part.pictures}

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
            if self.holes is not None and self.holes.is_lost(self.part, (i - 1, (y, x, h, w))):
                self.symbols[i][y : y + h, x : x + w] = 0
                self.holes.lose_piece(self.part, (i, (y, x, h, w)), "it holds differences from a tile that is lost")
                continue
            here, before = (self.symbols[j][y : y + h, x : x + w] for j in (i, i - 1))
            here[...] = added(here, before, self.part.planes.levels)
        for i, symbols in self.symbols.items():
            self.put((i, (0, 0, *symbols.shape[:2])), symbols)


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


def salvage_all(
    data: Bytes,
    model: str | Path | None,
    device: str,
    run: Run,
    progress: Progress | None = None,
    limits: Limits = DEFAULT,
) -> tuple[list[Picture], tuple[Hole, ...], list[str]]:
    """The pictures of a file that may be damaged or cut off, the holes in them, and what else is lost.

    Raises what `container.read` raises for a file whose header is damaged, and UnknownModel.
    """
    contents, lost = container.read_damaged(data, limits)
    holes = Holes(contents)
    pictures = decode(contents, codecs_for(contents, model, device), run, progress, limits, holes)
    if holes.found and RECIPE in pictures[0].metadata:
        metadata = {key: value for key, value in pictures[0].metadata.items() if key != RECIPE}
        pictures[0] = pictures[0].replaced(metadata=metadata)
        lost.append("the very file")
    return pictures, tuple(holes.found), lost


def check_work(contents: Contents, codecs: Codecs, limits: Limits) -> None:
    """Raises ImageTooLarge for a file whose decoding would take longer than the limits allow, by an estimate."""
    for part, codec in zip(contents.parts, codecs):
        if codec is not None:
            limits.check_work(part.model_pixels, codec.multiply_adds, part.tile_count)
