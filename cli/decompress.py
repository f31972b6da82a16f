"""``vlae-codec decompress``."""

from __future__ import annotations

import time
from typing import Any

import click

from vlae_codec import files
from vlae_codec.format import container
from vlae_codec.jobs import plan

from .common import blame, progress_bar, say
from .options import converting
from .summary import Direction, Reporter

FORMATS = ("png", "tif", "webp", "ppm", "pgm", "pbm", "pnm")


@click.command()
@converting
@click.option("--region", type=int, nargs=4, metavar="X Y W H", help="Only this part of the picture, in pixels.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Format of pictures in a folder [default: png].")
def decompress(
    sources: tuple[str, ...],
    output: str,
    force: bool,
    skip_existing: bool,
    newer: bool,
    quiet: bool,
    verbose: bool,
    region: tuple[int, int, int, int] | None,
    kind: str | None,
    **options: Any,
) -> None:
    """Bring back the picture of the .vlae file INPUT; OUTPUT is .png, .tif, .webp, .ppm, .pgm or .pbm.

    Several files, and folders with all .vlae files in them and in their subfolders, go into the folder OUTPUT, in the
    format that --format says; so does one file if OUTPUT is a folder or ends in /. With --region only the tiles that
    the region touches are decoded; damage in others does no harm.
    """
    from vlae_codec.pictures import image

    if skip_existing and newer:
        raise click.UsageError("--skip-existing and --newer exclude each other.")
    direction = Direction(compressing=False)
    if plan.into_folder(sources, output):
        from vlae_codec.jobs import batch

        if region is not None:
            raise click.UsageError("--region is for one INPUT and an OUTPUT that is a file.")
        options |= {"force": force, "skip_existing": skip_existing, "newer": newer, "suffix": f".{kind or 'png'}"}
        with progress_bar("decompress", quiet) as bar:
            reporter = Reporter(direction, bar, quiet, verbose)
            done = batch.decompress_files(sources, output, **options, **reporter.options())
        reporter.conclude(done, output)
        return
    from vlae_codec import api

    if kind is not None:
        raise click.UsageError("--format is for an OUTPUT that is a folder; the name of a file says its format.")
    start, (source,) = time.perf_counter(), sources
    image.output_format(output)
    if plan.stays(source, output, skip_existing, newer):
        return None if quiet else say(f"left as it is: {output}")
    files.check_output(output, force or newer, source)
    with blame(source):
        data = files.read_file(source, options["limits"])
        header = container.read_header(data)
        image.output_format(output, header.mode)
        with progress_bar("decompress", quiet) as bar:
            progress = bar.report if bar else None
            picture = api.decompress_picture(data, region=region, progress=progress, **options)
    image.save(output, picture.pixels, picture.metadata, force or newer)
    seconds = time.perf_counter() - start
    if quiet:
        return
    if region is None:
        say(direction.picture(output, source, header, files.size(output), len(data), seconds))
        return
    x, y, width, height = region
    whole = f"{header.width}x{header.height} {header.mode}"
    say(f"{output}: {width}x{height} at x={x}, y={y} of {whole}, {seconds:.1f} s")
