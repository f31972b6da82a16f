"""``vlae-codec sample`` and ``vlae-codec preview``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import click

from vlae_codec import files

from .coding import blame, progress_bar, running

_SEED = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    show_default=True,
    help="Of the random bits that are decoded; the same ones are the same picture on every machine.",
)
_OUTPUT = click.option("-o", "--output", required=True, type=click.Path(), help="Picture to write.")


class Size(click.ParamType):
    """WIDTHxHEIGHT."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", str(value))
        if found is None:
            self.fail(f"{value!r} is no size: give WIDTHxHEIGHT, such as 320x200.", param, ctx)
        return int(found[1]), int(found[2])


def _writing(model: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that both commands share; model: which one without --model."""
    return lambda command: _OUTPUT(_SEED(running(command, model)))


@click.command()
@_writing("photo")
@click.option("--size", type=Size(), metavar="WxH", help="Of each picture [default: by the model, 28x28 to 256x256].")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Pictures.")
@click.option("--no-latents", is_flag=True, help="Pixels alone, in the mode that codes tiles without latents.")
def sample(
    output: str,
    size: tuple[int, int] | None,
    count: int,
    seed: int,
    no_latents: bool,
    model: str | None,
    device: str,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Draw new pictures from a model, several of them side by side in one.

    Random bits are decoded as if they were a file: first the latents, then the pixels.
    """
    from vlae_codec.pictures import image
    from vlae_codec.views import sampling
    from vlae_codec.views.mosaic import mosaic

    start = time.perf_counter()
    image.output_format(output)
    files.check_output(output, force)
    with progress_bar("sample", quiet) as bar:
        pictures = sampling.sample(
            model=model,
            size=size,
            count=count,
            seed=seed,
            latents=not no_latents,
            device=device,
            threads=threads,
            progress=bar.report if bar else None,
        )
    image.save(output, mosaic(pictures), force=force)
    if not quiet:
        height, width = pictures[0].shape[:2]
        seconds = time.perf_counter() - start
        click.echo(f"{output}: {count} of {width}x{height}, seed {seed}, {seconds:.1f} s", err=True)


@click.command()
@_writing("the one that the file names")
@click.option("--beside", is_flag=True, help="Each picture itself to the left of its preview.")
@click.argument("source", metavar="FILE", type=click.Path())
def preview(
    source: str,
    output: str,
    beside: bool,
    seed: int,
    model: str | None,
    device: str,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Show what the latents of the .vlae file FILE say of its picture: the lossy code inside the lossless one.

    Only the latents are decoded; the pixels are drawn at random from what the model then expects. Digits keep their
    shape, but of photographs little is left to the latents. Tiles that are coded without latents have no lossy code and
    are mid grey. The pictures of a file of many lie side by side; their latents lie too deep to be read alone.
    """
    from vlae_codec.format import container
    from vlae_codec.pictures import image
    from vlae_codec.views import sampling
    from vlae_codec.views.mosaic import mosaic

    start = time.perf_counter()
    image.output_format(output)
    files.check_output(output, force, source)
    data = files.read_file(source)
    with blame(source):
        image.output_format(output, "RGB" if container.read_header(data).mode == "RGB" else "L")
    with blame(source), progress_bar("preview", quiet) as bar:
        found = sampling.preview(
            data,
            seed=seed,
            beside=beside,
            model=model,
            device=device,
            threads=threads,
            progress=bar.report if bar else None,
        )
    image.save(output, mosaic(found.pictures), force=force)
    if quiet:
        return
    seconds = time.perf_counter() - start
    size = f"latents of {found.bits / 8:.0f} bytes, the file has {len(data)}"
    click.echo(f"{output}: {size}, {seconds:.1f} s", err=True)
    if found.blank:
        verb = "has" if found.blank == 1 else "have"
        click.echo(f"{found.blank} of {found.tiles} tiles {verb} no latents: mid grey", err=True)
