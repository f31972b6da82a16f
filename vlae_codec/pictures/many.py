"""Many pictures of one mode in one file: in each group the bits of one picture pay for the latents of the next.

Alone, a small picture cannot use its latents: to draw them takes bits that are not there yet. In a chain (Townsend,
Bird and Barber 2019, arXiv 1901.04866) only the first picture of a group lacks them. A group is serial, but
groups do not depend on each other, so there are as many as their overhead allows: threads share them out, and on a
device all advance in common waves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec import api
from vlae_codec.adapter.effort import DEFAULT, Watch
from vlae_codec.errors import CorruptFile, ImageTooLarge, InputError, VlaeError
from vlae_codec.format import container, stored
from vlae_codec.format.container import STORED, Header, Pictures, TileRecord
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.pictures import image, single
from vlae_codec.pictures.adapting import Job, smallest
from vlae_codec.pictures.image import Picture
from vlae_codec.pictures.modes import Tiles, find_codec, for_file, pixels_of
from vlae_codec.threads import Progress, Run, counter, workers

LANE_SYMBOLS = 2**32 - 1  # one lane a group: there are groups enough to work on side by side
GROUP_BITS = 1 << 18  # a group has a head and checksums of some 130 bits, and a first picture without latents
GROUP_PIXELS = 1 << 22  # at most: a group is decoded one picture after another, however few bits they have
SAMPLE = 16  # pictures from which the bits of all are estimated


def compress_many(
    arrays: Sequence[np.ndarray],
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
    groups: int | None = None,
) -> bytes:
    """The .vlae file of a list of pictures of one mode: (H, W) uint8, (H, W, 3) uint8 or (H, W) bool, of any sizes.

    groups: how many chains share the pictures out (at most as many as there are pictures); fewer is smaller, more is
    faster. By default each has some 2^18 bits, so that groups cost less than 0.1 %. The other options are those of
    `compress`.

    Raises InputError (no pictures, several modes, a model for others), UnsupportedImage, ImageTooLarge, WeightsError,
    UnknownModel.
    """
    pictures = [image.check_pixels(pixels) for pixels in arrays]
    if not pictures:
        raise InputError("there are no pictures: give one or more")
    modes = sorted({Picture(pixels).mode for pixels in pictures})
    if len(modes) > 1:
        raise InputError(f"the pictures are of modes {' and '.join(modes)}: make a file of each mode")
    if groups is not None and groups < 1:
        raise InputError(f"the number of groups must be 1 or more, not {groups}")
    if len(pictures) > container.MAX_PICTURES or _area(pictures) > container.MAX_PIXELS:
        raise ImageTooLarge(
            f"{len(pictures)} pictures of {_area(pictures)} pixels are over the limit of {container.MAX_PICTURES} "
            f"pictures and {container.MAX_PIXELS} pixels: make several files"
        )
    with workers(threads) as run:
        codec = find_codec(model, None, device, modes[0])
        job = Job(effort, seed, verify, progress, watch, ledger)
        return _compress(codec, pictures, modes[0], groups, job, run)


def decompress_many(
    data: bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The pictures of a .vlae file, in order: (H, W) uint8, (H, W, 3) uint8 or (H, W) bool each.

    Of a file of `compress` a list of one. Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile,
    TruncatedFile, ImageTooLarge.
    """
    contents = container.read(data)
    if contents.pictures is None:
        return [api.decompress(data, model=model, device=device, threads=threads, progress=progress)]
    header = contents.header
    needed = any(record.method not in STORED for record in contents.tiles)
    with workers(threads) as run:
        codec = find_codec(model, header.model_id, device, header.mode) if needed else None
        pictures: list[Any] = [None] * contents.pictures.count
        _each_picture(codec, contents, contents.pictures, pictures.__setitem__, progress, run)
        return pictures


def _compress(codec: Any, pictures: list[np.ndarray], mode: str, groups: int | None, job: Job, run: Run) -> bytes:
    from vlae_codec.coder.streams import encode_chain
    from vlae_codec.coder.tile import Ledger

    sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in pictures]
    header = Header(*sizes[0], mode, codec.model.id, single.TILE_SIZE, LANE_SYMBOLS)
    if groups is None:
        bits = _expected_bits(codec, pictures, header, run)
        groups = max(bits // GROUP_BITS, -(-_area(pictures) // GROUP_PIXELS))
    table = Pictures.of(sizes, min(max(groups, 1), len(pictures)))
    channels = codec.config["channels"]

    def encode(codec: Any, adapter: bytes | None) -> tuple[bytes, Sequence[Ledger]]:
        tick = counter(job.progress, table.pixels)

        def encode_group(members: range) -> tuple[TileRecord, Ledger]:
            spent, group = Ledger(), [pictures[i] for i in members]
            tiles = list(Tiles(group, header.tile_size, channels))
            record = encode_chain(codec, tiles, header.channels, header.lane_symbols, spent, tick)
            record = stored.smaller(record, stored.joined(group))
            if record.method in STORED:
                spent.bits = {"stored": 8.0 * len(record.data)}
            return record, spent

        records, ledgers = zip(*run(encode_group, table.members()))
        return container.write(header, records, pictures=table, adapter=adapter), ledgers

    def compare(index: int, found: np.ndarray) -> None:
        if not np.array_equal(found, pictures[index]):
            raise VlaeError("the compressed pictures did not come back exactly; please report them")

    data = smallest(codec, Tiles(pictures, header.tile_size, channels), header.channels, encode, job, run)
    if job.verify:
        _each_picture(codec, container.read(data), table, compare, job.progress, run)
    return data


def _expected_bits(codec: Any, pictures: list[np.ndarray], header: Header, run: Run) -> int:
    """Bits of all pictures, from those of some."""
    from vlae_codec.coder.streams import encode_chain
    from vlae_codec.coder.tile import Ledger

    def cost(pixels: np.ndarray) -> int:
        spent, tiles = Ledger(), list(Tiles([pixels], header.tile_size, codec.config["channels"]))
        encode_chain(codec, tiles, header.channels, header.lane_symbols, spent)
        return round(sum(spent.bits.values()) * COST_UNIT)

    sample = pictures[:: -(-len(pictures) // SAMPLE)]
    return sum(run(cost, sample)) * _area(pictures) // (_area(sample) * COST_UNIT)


def _each_picture(
    codec: Any,
    contents: container.Contents,
    table: Pictures,
    put: Callable[[int, np.ndarray], None],
    progress: Progress | None,
    run: Run,
) -> None:
    """put(index, pixels) for each picture, in any order and by several threads. Raises CorruptFile."""
    from vlae_codec.coder.streams import decode_chains

    codec = for_file(codec, contents)
    header, mode = contents.header, contents.header.mode
    shapes = [(height, width) for width, height in table.sizes()]
    members = table.members()
    tick = counter(progress, table.pixels)
    places = [[container.tile_grid(w, h, header.tile_size) for h, w in (shapes[i] for i in group)] for group in members]

    coded = []
    for g, record in enumerate(contents.tiles):
        if record.method in STORED:
            group = [shapes[i] for i in members[g]]
            with _naming([g]):
                found = stored.restore_pictures(record.method, record.data, group, mode)
            for i, pixels in zip(members[g], found):
                put(i, pixels)
            tick(sum(h * w for h, w in group))
        else:
            coded.append(g)

    def decode(batch: Sequence[int]) -> None:
        records = [contents.tiles[g] for g in batch]
        tiles = [[place[2:] for grid in places[g] for place in grid] for g in batch]
        with _naming(batch):
            found = decode_chains(codec, records, tiles, header.channels, header.lane_symbols, tick)
        for g, parts in zip(batch, map(iter, found)):
            for i, grid in zip(members[g], places[g]):
                pixels = np.empty((*shapes[i], codec.config["channels"]), np.uint8)
                for y, x, h, w in grid:
                    pixels[y : y + h, x : x + w] = next(parts)
                put(i, pixels_of(pixels, mode))

    largest = max((h * w for group in places for grid in group for _, _, h, w in grid[:1]), default=1)
    size = 1 if codec is None or codec.device is None else max(1, single.BATCH_PIXELS // largest)
    run(decode, [coded[i : i + size] for i in range(0, len(coded), size)])


@contextmanager
def _naming(groups: Sequence[int]) -> Iterator[None]:
    """Put the groups before what is wrong with one of them."""
    try:
        yield
    except CorruptFile as error:
        raise type(error)(f"groups {groups[0]} to {groups[-1]}: {error}") from error


def _area(pictures: Sequence[np.ndarray]) -> int:
    return sum(pixels.shape[0] * pixels.shape[1] for pixels in pictures)
