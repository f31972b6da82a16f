"""Compress and decompress one picture, in memory. Lists of pictures in one file: `many`; many files: `batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec.adapter.effort import DEFAULT, Watch
from vlae_codec.format import container
from vlae_codec.format.container import Region
from vlae_codec.limits import DEFAULT as LIMITS
from vlae_codec.limits import Limits
from vlae_codec.pictures import image, single
from vlae_codec.pictures.adapting import Job
from vlae_codec.pictures.image import Picture
from vlae_codec.pictures.modes import Codecs
from vlae_codec.threads import Progress, workers


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
    limits: Limits = LIMITS,
) -> bytes:
    """The .vlae file of a picture: a path, or pixels: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool (bilevel).

    A path's ICC profile and EXIF block are kept. model: a weight file or a built-in name; by default the built-in one
    for such pictures. effort: 1 .. 9, how long the model is adapted to the picture (`vlae_codec.adapter.effort`); 1 is
    not at all. The fit is in floats and begins with the random numbers of `seed`: on another machine it may find
    another adapter, and so another file, which decodes to the same pixels everywhere; the file of effort 1 is the same
    on all. device: auto, cpu or cuda (or torch:DEVICE). verify: decode the result and compare
    before returning it. progress: told (pixels done, pixels in all) of each stage; watch: told how far the fit is.
    ledger: a `vlae_codec.coder.tile.Ledger` that receives the bits of each term of -ELBO; for its sake each tile is
    coded with and without latents, where a sample of its pixels would have said which is smaller.

    Raises UnsupportedImage, InputError, ImageTooLarge, WeightsError, UnknownModel.
    """
    picture = source if isinstance(source, np.ndarray) else image.load(source, limits)
    if isinstance(picture, np.ndarray):
        picture = Picture(picture)
    pixels = image.check_pixels(picture.pixels)
    job = Job(effort, seed, verify, progress, watch, ledger)
    with workers(threads) as run:
        return single.encode(Codecs(model, device), Picture(pixels, picture.metadata), job, run)


def decompress(
    data: bytes,
    *,
    region: Region | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
) -> np.ndarray:
    """The pixels of a .vlae file: (H, W) grey or (H, W, 3) RGB uint8, or (H, W) bool (bilevel).

    region: (x, y, w, h), the rectangle to bring back; only the tiles that it touches are decoded (`progress` counts
    their pixels), and damage in others does not matter.

    Raises NotAVlaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, ImageTooLarge, and InputError
    for a region that is not in the picture and for a file of several pictures (`decompress_many`).
    """
    options: dict[str, Any] = {"model": model, "device": device, "threads": threads, "progress": progress}
    return decompress_picture(data, region=region, **options).pixels


def decompress_picture(
    data: bytes,
    *,
    region: Region | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
) -> Picture:
    """As `decompress`, with the metadata."""
    with workers(threads) as run:
        header = container.read_header(data)
        limits.check(header.width * header.height)
        return single.decode(Codecs(model, device), data, region, progress, run)
