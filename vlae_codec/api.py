"""Compress and decompress one picture: picture -> tiles -> streams -> file, and back. Lists of them: `many`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec import container, image, stored
from vlae_codec.adapting import Job, smallest
from vlae_codec.container import STORED, Header, TileRecord
from vlae_codec.effort import DEFAULT, Watch
from vlae_codec.errors import CorruptFile, InputError, VlaeError
from vlae_codec.image import Picture
from vlae_codec.modes import find_codec, for_file, pixels_of, tile_of, tiles_of
from vlae_codec.workers import Progress, Run, counter, workers

TILE_SIZE = 512
LANE_SYMBOLS = 32768
BATCH_PIXELS = 1 << 22  # tiles decoded together


def compress(
    source: np.ndarray | str | Path,
    *,
    model: str | Path | None = None,
    effort: int = DEFAULT,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    verify: bool = True,
    progress: Progress | None = None,
    watch: Watch | None = None,
    ledger: Any = None,
) -> bytes:
    """The .vlae file of a picture: a path, or pixels: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool (bilevel).

    A path's ICC profile and EXIF block are kept. model: a weight file or a built-in name; by default the built-in one
    for such pictures. effort: 1 .. 9, how long the model is adapted to the picture (`vlae_codec.effort`); 1 is not at
    all. The fit is in floats and begins with the random numbers of `seed`: on another machine it may find another
    adapter, and so another file, which decodes to the same pixels everywhere; the file of effort 1 is the same on all.
    device: auto, cpu or cuda (or a backend's name: int8, float32, torch:DEVICE). verify: decode the result and compare
    before returning it. progress: told (pixels done, pixels in all) of each stage; watch: told how far the fit is.
    ledger: a `vlae_codec.tile.Ledger` that receives the bits of each term of -ELBO.

    Raises UnsupportedImage, InputError, WeightsError, UnknownModel.
    """
    picture = source if isinstance(source, np.ndarray) else image.load(source)
    if isinstance(picture, np.ndarray):
        picture = Picture(picture)
    pixels = image.check_pixels(picture.pixels)
    with workers(threads) as run:
        codec = find_codec(model, None, device, picture.mode)
        job = Job(effort, seed, verify, progress, watch, ledger)
        return _compress(codec, Picture(pixels, picture.metadata), job, run)


def decompress(
    data: bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """The pixels of a .vlae file: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool (bilevel).

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, ImageTooLarge, and InputError
    for a file of several pictures (`decompress_many`).
    """
    return decompress_picture(data, model=model, device=device, threads=threads, progress=progress).pixels


def decompress_picture(
    data: bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Picture:
    """As `decompress`, with the metadata."""
    contents = container.read(data)
    if contents.pictures is not None:
        raise InputError("the file holds a list of pictures: use vlae_codec.decompress_many")
    header = contents.header
    needed = any(t.method not in STORED for t in contents.tiles)
    with workers(threads) as run:
        codec = find_codec(model, header.model_id, device, header.mode) if needed else None
        return Picture(_decompress(codec, contents, progress, run), contents.metadata)


def _compress(codec: Any, picture: Picture, job: Job, run: Run) -> bytes:
    from vlae_codec.streams import encode_tile
    from vlae_codec.tile import Ledger

    pixels = picture.pixels
    height, width = pixels.shape[:2]
    header = Header(width, height, picture.mode, codec.model.id, TILE_SIZE, LANE_SYMBOLS)

    def encode(codec: Any, adapter: bytes | None) -> tuple[bytes, Sequence[Ledger]]:
        tick = counter(job.progress, width * height)

        def encode_place(place: tuple[int, int, int, int]) -> tuple[TileRecord, Ledger]:
            y, x, h, w = place
            part = pixels[y : y + h, x : x + w]
            spent = Ledger()
            record = encode_tile(codec, tile_of(part, codec.config["channels"]), header.channels, LANE_SYMBOLS, spent)
            record = stored.smaller(record, stored.samples(part))
            if record.method in STORED:
                spent.bits = {"stored": 8.0 * len(record.data)}
            tick(h * w)
            return record, spent

        records, ledgers = zip(*run(encode_place, container.tile_grid(width, height, TILE_SIZE)))
        return container.write(header, records, picture.metadata, adapter=adapter), ledgers

    tiles = tiles_of(pixels, TILE_SIZE, codec.config["channels"])
    data = smallest(codec, tiles, header.channels, encode, job, run)
    if job.verify and not np.array_equal(_decompress(codec, container.read(data), job.progress, run), pixels):
        raise VlaeError("the compressed picture did not come back exactly; please report this picture")
    return data


def _decompress(codec: Any, contents: container.Contents, progress: Progress | None, run: Run) -> np.ndarray:
    from vlae_codec.streams import decode_tiles

    codec = for_file(codec, contents)
    header, mode = contents.header, contents.header.mode
    grid = container.tile_grid(header.width, header.height, header.tile_size)
    shape = (header.height, header.width, 3)[: 3 if mode == "RGB" else 2]
    pixels = np.empty(shape, bool if mode == "1" else np.uint8)
    tick = counter(progress, header.width * header.height)

    def put(index: int, part: np.ndarray) -> None:
        y, x, h, w = grid[index]
        pixels[y : y + h, x : x + w] = part

    coded = []
    for i, record in enumerate(contents.tiles):
        if record.method in STORED:
            put(i, stored.restore_pictures(record.method, record.data, [grid[i][2:]], mode)[0])
            tick(grid[i][2] * grid[i][3])
        else:
            coded.append(i)

    def decode(batch: Sequence[int]) -> None:
        records, shapes = [contents.tiles[i] for i in batch], [grid[i][2:] for i in batch]
        try:
            tiles = decode_tiles(codec, records, shapes, header.channels, header.lane_symbols, tick)
        except CorruptFile as error:
            raise type(error)(f"tiles {batch[0]} to {batch[-1]}: {error}") from error
        for i, tile in zip(batch, tiles):
            put(i, pixels_of(tile, mode))

    most = max(1, BATCH_PIXELS // header.tile_size**2)
    size = min(most, -(-len(coded) // run.threads)) or 1
    for _ in run(decode, [coded[i : i + size] for i in range(0, len(coded), size)]):
        pass
    return pixels
