"""``vlae-codec sample``."""

from __future__ import annotations

import time
from typing import Any

import click

from vlae_codec import files

from .common import progress_bar, say
from .options import Size, drawing


@click.command()
@drawing("photo")
@click.option(
    "--size", type=Size(), metavar="WxH", help="Size of each picture [default: by the model, 28x28 to 256x256]."
)
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Number of pictures."
)
@click.option("--no-latents", is_flag=True, help="Draw pixels alone, as in tiles that are coded without latents.")
def sample(
    output: str,
    size: tuple[int, int] | None,
    count: int,
    no_latents: bool,
    force: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw new pictures from a model, several of them side by side in one.

    Random bits are decoded as if they were a file: first the latents, then the pixels.
    """
    from vlae_codec.images import image
    from vlae_codec.views import sampling
    from vlae_codec.views.mosaic import mosaic

    start = time.perf_counter()
    image.output_format(output)
    files.check_output(output, force)
    with progress_bar("sample", quiet) as bar:
        pictures = sampling.sample(
            size=size, count=count, latents=not no_latents, progress=bar.report if bar else None, **options
        )
    image.save(output, mosaic(pictures), force=force)
    if not quiet:
        height, width = pictures[0].shape[:2]
        seconds = time.perf_counter() - start
        say(f"{output}: {count} of {width}x{height}, seed {options['seed']}, {seconds:.1f} s")
