"""Compress and decompress: pictures -> tiles -> streams -> file, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    codec = _codec(model, None, device, threads)
    return _compress(codec, pixels, picture.metadata, verify, progress, ledger)


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
    codec = _codec(model, contents.header.model_id, device, threads) if needed else None
    return Picture(_decompress(codec, contents, progress), contents.metadata)


def _compress(
    codec: Any, pixels: np.ndarray, metadata: dict[str, bytes], verify: bool, progress: Progress | None, ledger: Any
) -> bytes:
    from vlae_codec.tile import encode_tile

    colour = pixels.ndim == 3
    height, width = pixels.shape[:2]
    header = Header(width, height, "RGB" if colour else "L", codec.model.id, TILE_SIZE, LANE_SYMBOLS)
    records, done = [], 0
    for y, x, h, w in container.tile_grid(width, height, TILE_SIZE):
        part = pixels[y : y + h, x : x + w]
        tile = np.ascontiguousarray(part if colour else np.repeat(part[..., None], 3, axis=-1))
        record = encode_tile(codec, tile, header.channels, LANE_SYMBOLS, ledger)
        records.append(_smaller(record, np.ascontiguousarray(tile[..., : header.channels])))
        done += h * w
        if progress is not None:
            progress(done, width * height)
    data = container.write(header, records, metadata)
    if verify and not np.array_equal(_decompress(codec, container.read(data), progress), pixels):
        raise VlaeError("the compressed picture did not come back exactly; please report this picture")
    return data


def _smaller(record: TileRecord, tile: np.ndarray) -> TileRecord:
    """The model's record, or a stored one where that is smaller."""
    if len(record.data) >= tile.size or 4 * stored.quick_bound(tile) < 5 * len(record.data):
        method, data = stored.store(tile)
        if len(data) < len(record.data):
            return TileRecord(method, data)
    return record


def _decompress(codec: Any, contents: container.Contents, progress: Progress | None) -> np.ndarray:
    from vlae_codec.tile import decode_tiles

    header = contents.header
    channels = header.channels
    grid = container.tile_grid(header.width, header.height, header.tile_size)
    pixels = np.empty((header.height, header.width, channels), np.uint8)
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, header.width * header.height)

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
    size = max(1, BATCH_PIXELS // header.tile_size**2)
    for begin in range(0, len(coded), size):
        batch = coded[begin : begin + size]
        records: Sequence[TileRecord] = [contents.tiles[i] for i in batch]
        try:
            tiles = decode_tiles(codec, records, [grid[i][2:] for i in batch], channels, header.lane_symbols, tick)
        except CorruptFile as error:
            raise type(error)(f"tiles {batch[0]} to {batch[-1]}: {error}") from error
        for i, tile in zip(batch, tiles):
            put(i, tile)
    return pixels if channels == 3 else pixels[..., 0]


def _codec(model: str | Path | None, model_id: bytes | None, device: str, threads: int | None) -> Any:
    """A `TileCodec`, with the number of threads set."""
    import numba

    from vlae_codec.model import find_model
    from vlae_codec.tile import TileCodec

    backend = {"auto": _automatic_backend(), "cpu": "int8", "cuda": "torch:cuda"}.get(device, device)
    if threads is not None and threads < 1:
        raise InputError(f"the number of threads must be 1 or more, not {threads}")
    available: int = getattr(numba.config, "NUMBA_NUM_THREADS")  # noqa: B009 (set at run time, unknown to mypy)
    count = min(threads or available, available)
    numba.set_num_threads(count)
    if backend != "float32":
        import torch

        torch.set_num_threads(count)
    return TileCodec(find_model(model, model_id), backend)


def _automatic_backend() -> str:
    """The int8 product of the CPU: until whole waves run on a GPU, sending each there and back is slower."""
    return "int8"
