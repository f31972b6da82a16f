"""Every public function: pictures in memory, files, and lists of either.

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

import numpy as np

from vlae_codec.adapter.effort import DEFAULT as DEFAULT_EFFORT
from vlae_codec.adapter.effort import Watch
from vlae_codec.errors import InputError
from vlae_codec.format import container
from vlae_codec.format.container import Bytes, Region
from vlae_codec.jobs.batch import compress_files, decompress_files
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures import image
from vlae_codec.pictures.codec import codec_for, find_codec
from vlae_codec.pictures.decode import decode, decode_picture
from vlae_codec.pictures.image import Picture
from vlae_codec.threads import Progress, workers
from vlae_codec.views.bitsmap import bits_map
from vlae_codec.views.sampling import preview, sample

__all__ = [
    "Limits",
    "bits_map",
    "compress",
    "compress_files",
    "compress_many",
    "decompress",
    "decompress_files",
    "decompress_many",
    "decompress_picture",
    "preview",
    "sample",
]


def compress(
    source: np.ndarray | str | os.PathLike[str],
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
) -> bytes:
    """The .vlae file of a picture: a path, or pixels: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool (bilevel).

    A path's ICC profile and EXIF block are kept. effort: 1 .. 9, how long the model is adapted to the picture
    (`vlae_codec.adapter.effort`); 1 is not at all. The fit is in floats and begins with the random numbers of `seed`:
    on another machine it may find another adapter, and so another file, which decodes to the same pixels everywhere;
    the file of effort 1 is the same on all. verify: decode the result and compare before returning it. watch: a
    function that is told how far the fit is.

    Raises UnsupportedImage, InputError, ImageTooLarge, WeightsError, UnknownModel.
    """
    from vlae_codec.pictures.encode import Options, encode_picture

    if isinstance(source, (str, os.PathLike)):
        picture = image.load(Path(source), limits)
    elif isinstance(source, np.ndarray):
        picture = Picture(source)
    else:
        raise InputError(f"a picture is a path or an array, not {type(source).__name__}: give one of them")
    picture = Picture(image.check_pixels(picture.pixels), picture.metadata)
    _check_pictures([picture.pixels], limits)
    with workers(threads) as run:
        codec = find_codec(model, None, device, picture.mode)
        return encode_picture(codec, picture, Options(effort, seed, verify, progress, watch), run)


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
    """The pixels of a .vlae file: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool (bilevel).

    region: (x, y, w, h), the rectangle to bring back; only the tiles that it touches are decoded (`progress` counts
    their pixels), and damage in others does not matter.

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, ImageTooLarge, and InputError
    for a region that is not in the picture and for a file of several pictures (`decompress_many`).
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
    """The same with the metadata."""
    with workers(threads) as run:
        return decode_picture(data, region, model, device, run, progress, limits)


def compress_many(
    arrays: Iterable[np.ndarray],
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
) -> bytes:
    """The .vlae file of a list of pictures of one mode: (H, W) uint8, (H, W, 3) uint8 or (H, W) bool, of any sizes.

    groups: how many chains share the pictures out (at most as many as there are pictures); fewer is smaller, more is
    faster. By default each has some 2^18 bits, so that groups cost less than 0.1 %. The other options are those of
    `compress`.

    Raises InputError (no pictures, several modes, a model for others), UnsupportedImage, ImageTooLarge, WeightsError,
    UnknownModel.
    """
    from vlae_codec.pictures.encode import Options, encode_list

    pictures = [image.check_pixels(pixels) for pixels in arrays]
    if not pictures:
        raise InputError("there are no pictures: give one or more")
    modes = sorted({Picture(pixels).mode for pixels in pictures})
    if len(modes) > 1:
        raise InputError(f"the pictures are of modes {' and '.join(modes)}: make a file of each mode")
    if groups is not None and groups < 1:
        raise InputError(f"the number of groups must be 1 or more, not {groups}")
    _check_pictures(pictures, limits)
    with workers(threads) as run:
        codec = find_codec(model, None, device, modes[0])
        return encode_list(codec, pictures, modes[0], groups, Options(effort, seed, verify, progress, watch), run)


def decompress_many(
    data: Bytes,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The pictures of a .vlae file, in order: (H, W) uint8, (H, W, 3) uint8 or (H, W) bool each.

    For a file of `compress` the result is a list of one. Raises NotAVlaeFile, UnsupportedVersion, UnknownModel,
    CorruptFile, TruncatedFile, ImageTooLarge.
    """
    contents = container.read(data, limits)
    with workers(threads) as run:
        return decode(contents, codec_for(contents, model, device), run, progress, limits)


def _check_pictures(pictures: Sequence[np.ndarray], limits: Limits) -> None:
    limits.check(sum(p.shape[0] * p.shape[1] for p in pictures), len(pictures), sum(p.nbytes for p in pictures))
