"""The streams of a group of planes -> pieces of its pictures, by several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from vlae_codec.coder import streams
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile
from vlae_codec.format import stored
from vlae_codec.format.container import Part, Piece, Place, tiles_of
from vlae_codec.pictures.sources import Beside
from vlae_codec.threads import Run

BATCH_PIXELS = 1 << 26  # of tiles that are decoded together on a device

Put = Callable[[Piece, np.ndarray, bool], None]  # takes a piece, its symbols, whether they are differences
Lose = Callable[[Part, int, str], None]  # takes a part, the number of a record that is damaged, and why


def added(symbols: np.ndarray, before: np.ndarray, levels: int) -> np.ndarray:
    """The symbols of which these are the differences from those before, modulo the levels."""
    return ((symbols.astype(np.uint32) + before) % levels).astype(symbols.dtype)


def samples_in(parts: Sequence[Part]) -> int:
    """The samples of all pieces, for counting."""
    return sum(h * w for part in parts for pieces in part.pieces for _, (_, _, h, w) in pieces)


def each_piece(
    part: Part,
    codec: TileCodec | None,
    put: Put,
    run: Run,
    tick: Callable[[int], None],
    beside: Beside | None = None,
    lose: Lose | None = None,
) -> None:
    """put(piece, symbols (h, w, C), differences) for each piece of each stream of a part, in any order and by several
    threads. tick: told how many more samples are done; beside: what is known beside a piece, if the model takes that.
    lose: takes records that are damaged, of which some pieces may have been put. Without it raises CorruptFile.
    """
    planes, pieces, records = part.planes, part.pieces, part.records
    channels = planes.channels

    def restore(index: int) -> None:
        record, some = records[index], pieces[index]
        with naming(part, [index], lose):
            shapes = [place[2:] for _, place in some]
            found = stored.restore(record.method, record.data, shapes, channels, planes.levels)
            for piece, symbols in zip(some, found, strict=True):
                put(piece, symbols, record.differences)
                tick(symbols.shape[0] * symbols.shape[1])

    def decode_batch(batch: Sequence[int]) -> None:
        assert codec is not None
        shapes = [[place[2:] for _, place in tiles_of(pieces[index], planes.tile_size)] for index in batch]
        found: Iterable[Iterable[np.ndarray]] = ()
        with naming(part, batch, lose):
            some = [records[index] for index in batch]
            own = codec if beside is None else codec.beside(beside(pieces[batch[0]][0]))
            found = streams.decode(own, some, shapes, channels, planes.lane_symbols, tick)
        for index, tiles in zip(batch, map(iter, found)):
            for piece in pieces[index]:
                places = [place for _, place in tiles_of([piece], planes.tile_size)]
                put(piece, _joined(part, piece, places, [next(tiles) for _ in places]), False)

    indices = range(len(records))
    _lose_wrong(part, lose)
    run(restore, [index for index in indices if records[index].stored])
    coded = [index for index in indices if records[index].coded]
    size = 1
    if codec is not None and codec.device is not None and beside is None and lose is None:
        largest = max((h * w for some in pieces for _, (_, _, h, w) in some), default=1)
        size = max(1, BATCH_PIXELS // min(largest, planes.tile_size**2))
    run(decode_batch, [coded[i : i + size] for i in range(0, len(coded), size)])


def _joined(part: Part, piece: Piece, places: Sequence[Place], tiles: Sequence[np.ndarray]) -> np.ndarray:
    """The symbols (h, w, C) of a piece that was decoded as tiles (H, W, C') at places."""
    channels = part.planes.channels
    if len(tiles) == 1:
        return tiles[0][..., :channels]
    _, (top, left, height, width) = piece
    symbols = np.empty((height, width, channels), np.uint8 if part.planes.levels <= 256 else np.uint16)
    for (y, x, h, w), tile in zip(places, tiles, strict=True):
        symbols[y - top : y - top + h, x - left : x - left + w] = tile[..., :channels]
    return symbols


def last_first(part: Part, codec: TileCodec | None) -> Iterator[tuple[Piece, np.ndarray]]:
    """(piece, symbols (h, w, C)) of a part of one chain, from the last picture to the first, each of them decoded when
    it is asked for. Raises CorruptFile, at the latest before the first picture.
    """
    planes, (record,), (pieces,) = part.planes, part.records, part.pieces
    with naming(part, [0]):
        if record.stored:
            shapes = [place[2:] for _, place in pieces]
            found = [*stored.restore(record.method, record.data, shapes, planes.channels, planes.levels)]
            yield from zip(reversed(pieces), reversed(found))
            return
        assert codec is not None
        shapes = [place[2:] for _, place in tiles_of(pieces, planes.tile_size)]
        tiles = streams.unwind(codec, [record], [shapes], planes.channels, planes.lane_symbols)
        for piece in reversed(pieces):
            places = [place for _, place in tiles_of([piece], planes.tile_size)]
            yield piece, _joined(part, piece, places, [next(tiles)[1] for _ in places][::-1])


def each_stream(
    part: Part, put: Callable[[Piece, bytes], None], run: Run, tick: Callable[[int], None], lose: Lose | None = None
) -> None:
    """put(piece, bytes of its stream) for each record of exceptions or coefficients, by several threads. lose: takes
    records that are damaged; without it raises CorruptFile.
    """

    def take(index: int) -> None:
        (piece,) = part.pieces[index]
        with naming(part, [index], lose):
            put(piece, part.records[index].data)
        tick(piece[1][2] * piece[1][3])

    _lose_wrong(part, lose)
    run(take, [index for index, record in enumerate(part.records) if not record.wrong])


def _lose_wrong(part: Part, lose: Lose | None) -> None:
    """What was found to be damaged when the file was read."""
    if lose is not None:
        for index, record in enumerate(part.records):
            if record.wrong:
                lose(part, index, record.wrong)


@contextmanager
def naming(part: Part, batch: Sequence[int], lose: Lose | None = None) -> Iterator[None]:
    """Puts the tiles or chains before what is wrong with one of them, or loses them."""
    try:
        yield
    except CorruptFile as error:
        names = " to ".join(dict.fromkeys(part.name(index) for index in (batch[0], batch[-1])))
        if lose is None:
            raise type(error)(f"{names}: {error}") from error
        for index in batch:
            lose(part, index, f"{names}: {error}")
