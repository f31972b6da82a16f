"""One picture in one file: picture -> tiles -> streams -> file, and back, never more than some tiles at a time.

Beside its pixels and the file a picture of any size needs the memory of the tiles that are being coded: some for each
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vlae_codec.errors import CorruptFile, InputError, VlaeError
from vlae_codec.format import container, stored
from vlae_codec.format.container import STORED, Header, Place, Region, TileRecord
from vlae_codec.pictures.adapting import Job, smallest
from vlae_codec.pictures.image import Picture
from vlae_codec.pictures.modes import Codecs, Tiles, for_file, pixels_of, tile_of
from vlae_codec.threads import Progress, Run, counter

TILE_SIZE = 512
LANE_SYMBOLS = 32768
BATCH_PIXELS = 1 << 26  # of tiles that are decoded together on a device


def encode(codecs: Codecs, picture: Picture, job: Job, run: Run) -> bytes:
    """The file of a picture whose pixels were checked. Raises VlaeError if they do not come back from it."""
    from vlae_codec.coder.streams import encode_tile
    from vlae_codec.coder.tile import Ledger

    codec, pixels = codecs.find(None, picture.mode), picture.pixels
    height, width = pixels.shape[:2]
    header = Header(width, height, picture.mode, codec.model.id, TILE_SIZE, LANE_SYMBOLS)

    def part(place: Place) -> np.ndarray:
        y, x, h, w = place
        return pixels[y : y + h, x : x + w]

    def encode_all(codec: Any, adapter: bytes | None) -> tuple[bytes, Sequence[Ledger]]:
        tick = counter(job.progress, width * height)

        def encode_place(place: Place) -> tuple[TileRecord, Ledger]:
            spent = Ledger()
            tile = tile_of(part(place), codec.config["channels"])
            both = job.ledger is not None  # to report both modes is to try both
            record = encode_tile(codec, tile, header.channels, LANE_SYMBOLS, spent, run, both)
            record = stored.smaller(record, stored.samples(part(place)))
            if record.method in STORED:
                spent.bits = {"stored": 8.0 * len(record.data)}
            tick(place[2] * place[3])
            return record, spent

        records, ledgers = zip(*run(encode_place, container.tile_grid(width, height, TILE_SIZE)))
        return container.write(header, records, picture.metadata, adapter=adapter), ledgers

    def compare(place: Place, found: np.ndarray) -> None:
        if not np.array_equal(found, part(place)):
            raise VlaeError("the compressed picture did not come back exactly; please report this picture")

    tiles = Tiles([pixels], TILE_SIZE, codec.config["channels"])
    data = smallest(codec, tiles, header.channels, encode_all, job, run)
    if job.verify:
        each_tile(codec, container.read(data), compare, job.progress, run)
    return data


def decode(codecs: Codecs, data: bytes, region: Region | None, progress: Progress | None, run: Run) -> Picture:
    """The picture of a file, or a region of it. Raises what `container.read` raises, InputError and UnknownModel."""
    contents = container.read(data, region=region)
    if contents.pictures is not None:
        raise InputError("the file holds a list of pictures: use vlae_codec.decompress_many")
    header = contents.header
    coded = any(record.method not in STORED for record in contents.tiles)
    codec = codecs.find(header.model_id, header.mode) if coded else None
    left, top, width, height = contents.region or (0, 0, header.width, header.height)
    kind = bool if header.mode == "1" else np.uint8
    pixels = np.empty((height, width, 3)[: 3 if header.mode == "RGB" else 2], kind)

    def put(place: Place, found: np.ndarray) -> None:
        y, x, h, w = place
        rows, columns = slice(max(y, top), min(y + h, top + height)), slice(max(x, left), min(x + w, left + width))
        inside = found[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside

    each_tile(codec, contents, put, progress, run)
    return Picture(pixels, contents.metadata)


def each_tile(
    codec: Any,
    contents: container.Contents,
    put: Callable[[Place, np.ndarray], None],
    progress: Progress | None,
    run: Run,
) -> None:
    """put(place, pixels) for each tile, in any order and by several threads. Raises CorruptFile."""
    codec = for_file(codec, contents)
    header, mode = contents.header, contents.header.mode
    pairs = list(zip(contents.places(), contents.tiles))
    tick = counter(progress, sum(h * w for (_, _, h, w), _ in pairs))

    def restore(pair: tuple[Place, TileRecord]) -> None:
        place, record = pair
        with _naming(header, [place]):
            put(place, stored.restore_pictures(record.method, record.data, [place[2:]], mode)[0])
        tick(place[2] * place[3])

    def decode_batch(batch: Sequence[tuple[Place, TileRecord]]) -> None:
        from vlae_codec.coder.streams import decode_tiles

        places, records = zip(*batch)
        with _naming(header, places):
            shapes = [place[2:] for place in places]
            tiles = decode_tiles(codec, records, shapes, header.channels, header.lane_symbols, tick)
        for place, tile in zip(places, tiles):
            put(place, pixels_of(tile, mode))

    run(restore, [pair for pair in pairs if pair[1].method in STORED])
    coded = [pair for pair in pairs if pair[1].method not in STORED]
    size = 1 if codec is None or codec.device is None else max(1, BATCH_PIXELS // header.tile_size**2)
    run(decode_batch, [coded[i : i + size] for i in range(0, len(coded), size)])


@contextmanager
def _naming(header: Header, places: Sequence[Place]) -> Iterator[None]:
    """Put the tiles before what is wrong with one of them."""
    try:
        yield
    except CorruptFile as error:
        first, last = (header.tile_index(*place[:2]) for place in (places[0], places[-1]))
        raise type(error)(f"tiles {first} to {last}: {error}") from error
