"""Every public function: pictures in memory, files, and lists of either.

A picture that is RGB now but was something else before, a decoded JPEG, a lossy WebP or a PhotoCD scan, is coded as
that where it is smaller, and comes back exactly. A path of a JPEG keeps the file, byte for byte (`jobs.convert`).

Options that all of them share:

model      a weight file, a built-in name or an id; by default the built-in one for such pictures, or that of the file
device     auto, cpu or cuda (or torch:DEVICE); it changes the speed and not a byte
threads    how many; by default the processors given to this process
limits     what an input may ask for before it is refused (`Limits`)
progress   a function that is told (pixels done, pixels in all) of each stage
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from vlae_codec.adapter.effort import DEFAULT as DEFAULT_EFFORT
from vlae_codec.adapter.effort import Watch
from vlae_codec.archive.extract import Extracted, extract_archive
from vlae_codec.archive.reader import Archive, Member
from vlae_codec.archive.writer import Added, append_archive, create_archive
from vlae_codec.errors import InputError
from vlae_codec.format.container import Bytes, Region
from vlae_codec.format.thumbnails import with_thumbnail
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.thumbnails import make_thumbnail
from vlae_codec.jobs import convert
from vlae_codec.jobs.batch import check_files, compress_files, decompress_files
from vlae_codec.jobs.convert import ALL, Keep
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.decode import decode_all, salvage_all
from vlae_codec.pictures.holes import Hole
from vlae_codec.threads import Progress, workers
from vlae_codec.views.bitsmap import bits_map
from vlae_codec.views.sampling import preview, sample

__all__ = [
    "Added",
    "Archive",
    "Extracted",
    "Keep",
    "Limits",
    "Member",
    "Picture",
    "Salvaged",
    "append_archive",
    "bits_map",
    "check_files",
    "compress",
    "compress_files",
    "compress_many",
    "create_archive",
    "decompress",
    "decompress_files",
    "decompress_many",
    "decompress_picture",
    "decompress_pictures",
    "extract_archive",
    "open_archive",
    "preview",
    "salvage",
    "sample",
]


def compress(
    source: np.ndarray | Picture | list[Picture] | tuple[Picture, ...] | str | os.PathLike[str],
    *,
    model: str | Path | None = None,
    effort: int = DEFAULT_EFFORT,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    origin: str = "auto",
    tile: int | None = None,
    verify: bool = True,
    keep: Keep = ALL,
    thumbnail: int = 0,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> bytes:
    """The .vlae file of a picture: a path, samples, a `Picture`, or a list of those: frames or pages.

    Samples are (H, W) or (H, W, C), of bool (bilevel), uint8, uint16, int8, int16, uint32, int32, float16, float32 or
    float64; 1 to 4 channels are grey, grey and alpha, RGB, RGB and alpha, unless a `Picture` says otherwise. Of a path
    all frames or pages are taken, with their metadata; keep: `Keep(metadata="all", exact=False, strict=False)`, what
    else, as `Keep` says. effort: 1 .. 9, how much the model follows the picture
    (`vlae_codec.adapter.effort`); 1 is not at all. The fit is in floats and begins with the random numbers of `seed`:
    on another machine it may find another adapter, and so another file, which decodes to the same pixels everywhere;
    the file of effort 1 is the same on all but for what is stored as WebP or LZMA, whose libraries may find other bytes
    in other versions. origin: what an RGB picture was before, where coding that is smaller: "auto" looks for all that
    is known, unless a model is asked for, "none" for nothing, one of `vlae_codec.origins.names.NAMES` for that one
    only. tile: pixels a side of what one thread codes and decodes, a multiple of 16, by default 512, or up to 1024
    where a model learns: smaller tiles bring a lone picture back faster where there are threads for them, and make its
    file a little larger. verify: decode the result and compare before returning it. thumbnail: the longer side, in
    pixels, of a small lossy picture of the first one that goes into the file, too; 0 for none. watch: a function that
    is told how far the fit is.

    Raises UnsupportedImage, InputError, ImageTooLarge, WeightsError, UnknownModel.
    """
    from vlae_codec.pictures.encode import encode
    from vlae_codec.pictures.planes import Options

    if isinstance(source, (str, os.PathLike)):
        pictures = convert.load(Path(source), keep, limits, convert.codes_jpeg(origin, model)).pictures
    elif isinstance(source, np.ndarray):
        pictures = [Picture(source)]
    elif isinstance(source, Picture):
        pictures = [source]
    elif isinstance(source, (list, tuple)) and source and all(isinstance(one, Picture) for one in source):
        pictures = list(source)
    else:
        raise InputError(f"a picture is a path, an array or a Picture, not {type(source).__name__}: give one of them")
    pictures = [check_picture(picture) for picture in pictures]
    _check_pictures([picture.pixels for picture in pictures], limits)
    with workers(threads) as run:
        options = Options(effort, seed, verify, progress, watch, model, device, origin, tile)
        data = encode(pictures, 0, options, run)
    return with_thumbnail(data, make_thumbnail(pictures[0], thumbnail)) if thumbnail else data


def decompress(
    data: Bytes,
    *,
    region: Region | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> np.ndarray:
    """The samples of a .vlae file of one picture: (H, W) or (H, W, C), of the type that they were given in.

    region: (x, y, w, h), the rectangle to bring back; only the tiles that it touches are decoded (`progress` counts
    their pixels), and damage in others does not matter.

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, ImageTooLarge, and InputError
    for a region that is not in the picture and for a file of several pictures (`decompress_pictures`).
    """
    return decompress_picture(
        data, region=region, model=model, device=device, threads=threads, limits=limits, progress=progress
    ).pixels


def decompress_picture(
    data: Bytes,
    *,
    region: Region | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> Picture:
    """The same with mode, palette and metadata."""
    with workers(threads) as run:
        (picture,) = decode_all(data, region, model, device, run, progress, limits, alone=True)
    return picture


def decompress_pictures(
    data: Bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> list[Picture]:
    """All pictures of a .vlae file, in order, with modes, palettes and metadata. Raises what `decompress` raises."""
    with workers(threads) as run:
        return decode_all(data, None, model, device, run, progress, limits)


class Salvaged(NamedTuple):
    """What is left of a damaged file."""

    pictures: list[Picture]
    holes: tuple[Hole, ...]  # the parts of them that are lost, which are grey (`vlae_codec.pictures.holes`)
    lost: list[str]  # what else is lost


def salvage(
    data: Bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> Salvaged:
    """All pictures of a .vlae file that may be damaged or cut off behind its header, as far as they are good.

    Each tile, or group of pictures, that is damaged or missing is a hole. Raises what `decompress` raises, CorruptFile
    and TruncatedFile only for a file without a good header or any good stream.
    """
    with workers(threads) as run:
        return Salvaged(*salvage_all(data, model, device, run, progress, limits))


def compress_many(
    arrays: Iterable[np.ndarray | Picture],
    *,
    model: str | Path | None = None,
    effort: int = DEFAULT_EFFORT,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    verify: bool = True,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
    watch: Watch | None = None,
    groups: int | None = None,
    origin: str = "auto",
) -> bytes:
    """The .vlae file of a list of small pictures, of any kinds and sizes: as of `compress`, but coded in chains.
    Pictures of 2^15 pixels or more that have an origin are coded on their own.

    groups: how many chains share the pictures of a kind out (at most as many as there are pictures); fewer is smaller,
    more is faster. By default each has some 2^18 bits, so that groups cost less than 0.1 %. The other options are those
    of `compress`.

    Raises InputError (no pictures, a model for others), UnsupportedImage, ImageTooLarge, WeightsError, UnknownModel.
    """
    from vlae_codec.pictures.encode import encode
    from vlae_codec.pictures.planes import Options

    pictures = [check_picture(one if isinstance(one, Picture) else Picture(np.asarray(one))) for one in arrays]
    if not pictures:
        raise InputError("there are no pictures: give one or more")
    if groups is not None and groups < 1:
        raise InputError(f"the number of groups must be 1 or more, not {groups}")
    _check_pictures([picture.pixels for picture in pictures], limits)
    with workers(threads) as run:
        return encode(pictures, groups, Options(effort, seed, verify, progress, watch, model, device, origin), run)


def decompress_many(
    data: Bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The samples of all pictures of a .vlae file, in order: (H, W) or (H, W, C) each.

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, ImageTooLarge.
    """
    found = decompress_pictures(data, model=model, device=device, threads=threads, limits=limits, progress=progress)
    return [picture.pixels for picture in found]


def open_archive(
    origin: str | os.PathLike[str] | BinaryIO,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
) -> Archive:
    """An archive, a sequence of its members by number or name; nothing but the end of the file is read until then.

    origin: a path; an object that seeks and reads bytes; or, with the extra `fsspec`, a URL such as s3://bucket/set.vlae.

    Raises InputError, NotAVlaeFile, UnsupportedVersion, CorruptFile, ImageTooLarge.
    """
    return Archive(origin, model=model, device=device, threads=threads, limits=limits)


def _check_pictures(pictures: Sequence[np.ndarray], limits: Limits) -> None:
    limits.check(sum(p.shape[0] * p.shape[1] for p in pictures), len(pictures), sum(p.nbytes for p in pictures))
