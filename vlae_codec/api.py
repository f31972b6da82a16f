"""Compress and decompress: pictures -> tiles -> streams -> file, and back.

Threads share out tiles. Inside a tile all is serial: a wave is a hundred microseconds of work, and threads that meet at
a barrier in each wave get 60 times slower as soon as the machine has other work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec import container, image, stored
from vlae_codec.container import Header, Method, TileRecord
from vlae_codec.errors import CorruptFile, InputError, VlaeError
from vlae_codec.image import Picture

Progress = Callable[[int, int], None]  # (pixels done, pixels in all)

TILE_SIZE = 512
LANE_SYMBOLS = 32768
BATCH_PIXELS = 1 << 22  # tiles decoded together


def compress(
    source: np.ndarray | str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    verify: bool = True,
    progress: Progress | None = None,
    ledger: Any = None,
) -> bytes:
    """The .vlae file of a picture: a path, or (H, W) grey or (H, W, 3) RGB uint8 pixels.

    A path's ICC profile and EXIF block are kept. model: a weight file or a built-in name. device: auto, cpu or cuda
    (or a backend's name: int8, float32, torch:DEVICE); the bytes are the same on each. verify: decode the result and
    compare before returning it. ledger: a `vlae_codec.tile.Ledger` that receives the bits of each term of -ELBO.

    Raises UnsupportedImage, InputError, WeightsError, UnknownModel.
    """
    picture = source if isinstance(source, np.ndarray) else image.load(source)
    if isinstance(picture, np.ndarray):
        picture = Picture(picture)
    pixels = image.check_pixels(picture.pixels)
    with _workers(threads) as run:
        return _compress(_codec(model, None, device), pixels, picture.metadata, verify, progress, ledger, run)


def decompress(
    data: bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """The pixels of a .vlae file, (H, W) grey or (H, W, 3) RGB uint8.

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, ImageTooLarge.
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
    needed = any(t.method in (Method.NO_LATENTS, Method.LATENTS) for t in contents.tiles)
    with _workers(threads) as run:
        codec = _codec(model, contents.header.model_id, device) if needed else None
        return Picture(_decompress(codec, contents, progress, run), contents.metadata)


def _compress(
    codec: Any,
    pixels: np.ndarray,
    metadata: dict[str, bytes],
    verify: bool,
    progress: Progress | None,
    ledger: Any,
    run: _Run,
) -> bytes:
    from vlae_codec.streams import encode_tile
    from vlae_codec.tile import Ledger

    colour = pixels.ndim == 3
    height, width = pixels.shape[:2]
    header = Header(width, height, "RGB" if colour else "L", codec.model.id, TILE_SIZE, LANE_SYMBOLS)
    tick = _counter(progress, width * height)

    def encode(place: tuple[int, int, int, int]) -> tuple[TileRecord, Ledger]:
        y, x, h, w = place
        part = pixels[y : y + h, x : x + w]
        tile = np.array(part if colour else np.repeat(part[..., None], 3, axis=-1), order="C")
        spent = Ledger()
        record = encode_tile(codec, tile, header.channels, LANE_SYMBOLS, spent)
        record = _smaller(record, np.ascontiguousarray(tile[..., : header.channels]))
        tick(h * w)
        return record, spent

    results = list(run(encode, container.tile_grid(width, height, TILE_SIZE)))
    if ledger is not None:
        for _, spent in results:
            ledger.merge(spent)
    data = container.write(header, [record for record, _ in results], metadata)
    if verify and not np.array_equal(_decompress(codec, container.read(data), progress, run), pixels):
        raise VlaeError("the compressed picture did not come back exactly; please report this picture")
    return data


def _smaller(record: TileRecord, tile: np.ndarray) -> TileRecord:
    """The model's record, or a stored one where that is smaller."""
    if len(record.data) >= tile.size or 4 * stored.quick_bound(tile) < 5 * len(record.data):
        method, data = stored.store(tile)
        if len(data) < len(record.data):
            return TileRecord(method, data)
    return record


def _decompress(codec: Any, contents: container.Contents, progress: Progress | None, run: _Run) -> np.ndarray:
    from vlae_codec.streams import decode_tiles

    header, channels = contents.header, contents.header.channels
    grid = container.tile_grid(header.width, header.height, header.tile_size)
    pixels = np.empty((header.height, header.width, channels), np.uint8)
    tick = _counter(progress, header.width * header.height)

    def put(index: int, tile: np.ndarray) -> None:
        y, x, h, w = grid[index]
        pixels[y : y + h, x : x + w] = tile[..., :channels]

    coded = []
    for i, record in enumerate(contents.tiles):
        if record.method in (Method.RAW, Method.LZMA):
            put(i, stored.restore(record.method, record.data, (*grid[i][2:], channels)))
            tick(grid[i][2] * grid[i][3])
        else:
            coded.append(i)

    def decode(batch: Sequence[int]) -> None:
        records, shapes = [contents.tiles[i] for i in batch], [grid[i][2:] for i in batch]
        try:
            tiles = decode_tiles(codec, records, shapes, channels, header.lane_symbols, tick)
        except CorruptFile as error:
            raise type(error)(f"tiles {batch[0]} to {batch[-1]}: {error}") from error
        for i, tile in zip(batch, tiles):
            put(i, tile)

    most = max(1, BATCH_PIXELS // header.tile_size**2)
    size = min(most, -(-len(coded) // run.threads)) or 1
    for _ in run(decode, [coded[i : i + size] for i in range(0, len(coded), size)]):
        pass
    return pixels if channels == 3 else pixels[..., 0]


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that adds to a count of pixels and reports it, for use by several threads."""
    done, lock = 0, threading.Lock()

    def tick(count: int) -> None:
        nonlocal done
        if progress is not None:
            with lock:
                done += count
                progress(done, total)

    return tick


class _Run:
    """run(function, items): the results in order, computed by some threads."""

    def __init__(self, threads: int, pool: ThreadPoolExecutor | None) -> None:
        self.threads, self._pool = threads, pool

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        return (map if self._pool is None or len(items) < 2 else self._pool.map)(function, items)


@contextmanager
def _workers(threads: int | None) -> Iterator[_Run]:
    """A `_Run` of so many threads (None: the processors given to this process), each alone in its torch products."""
    import torch

    if threads is not None and threads < 1:
        raise InputError(f"the number of threads must be 1 or more, not {threads}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count, before = threads or available, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if count == 1:
            yield _Run(1, None)
        else:
            with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield _Run(count, pool)
    finally:
        torch.set_num_threads(before)


def _codec(model: str | Path | None, model_id: bytes | None, device: str) -> Any:
    """A `TileCodec`. "auto" is the CPU: until whole waves run on a GPU, sending each there and back is slower."""
    from vlae_codec.model import find_model
    from vlae_codec.tile import TileCodec

    backend = {"auto": "int8", "cpu": "int8", "cuda": "torch:cuda"}.get(device, device)
    return TileCodec(find_model(model, model_id), backend)
