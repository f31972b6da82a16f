"""``vlae-codec decompress``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from vlae_codec import files
from vlae_codec.format import container
from vlae_codec.jobs import plan

from .common import blame, progress_bar, say
from .options import clustered, converting
from .summary import Direction, Reporter, not_kept

FORMATS = ("png", "tif", "webp", "ppm", "pgm", "pbm", "pnm", "pam", "pfm")


@click.command()
@converting
@click.option("--region", type=int, nargs=4, metavar="X Y W H", help="Only this part of the picture, in pixels.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Format of pictures in a folder [default: png].")
@clustered
@click.option("--strict", is_flag=True, help="Refuse a format that cannot hold everything.")
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
    strict: bool,
    ray: str | None,
    **options: Any,
) -> None:
    """Bring back the picture of the .vlae file INPUT; OUTPUT is .png, .tif, .webp, .ppm, .pgm, .pbm, .pam or .pfm.

    Frames with times become an animated PNG, pages a TIFF. What the format has no place for is named in a line that
    says "not kept". A file made with --exact gives the very file back if OUTPUT is of its format.

    Several files, and folders with all .vlae files in them and in their subfolders, go into the folder OUTPUT, in the
    format that --format says; so does one file if OUTPUT is a folder or ends in /. With --region only the tiles that
    the region touches are decoded; damage in others does no harm.
    """
    from vlae_codec.images import image

    if skip_existing and newer:
        raise click.UsageError("--skip-existing and --newer exclude each other.")
    if ray is not None:
        from .cluster import decompress_over

        if region is not None:
            raise click.UsageError("--region is for one INPUT and an OUTPUT that is a file.")
        options |= {"force": force, "newer": newer, "strict": strict, "suffix": f".{kind or 'png'}"}
        return decompress_over(ray, sources, output, quiet, verbose, **options)
    direction = Direction(compressing=False)
    if plan.into_folder(sources, output):
        from vlae_codec.jobs import batch

        if region is not None:
            raise click.UsageError("--region is for one INPUT and an OUTPUT that is a file.")
        options |= {"force": force, "skip_existing": skip_existing, "newer": newer, "suffix": f".{kind or 'png'}"}
        options["strict"] = strict
        with progress_bar("decompress", quiet) as bar:
            reporter = Reporter(direction, bar, quiet, verbose)
            done = batch.decompress_files(sources, output, **options, **reporter.options())
        reporter.conclude(done, output)
        return
    from vlae_codec import api
    from vlae_codec.jobs import convert

    if kind is not None:
        raise click.UsageError("--format is for an OUTPUT that is a folder; the name of a file says its format.")
    start, (source,) = time.perf_counter(), sources
    if Path(output).suffix.lower() not in image.BITMAPS + image.JPEGS:  # which only a recipe makes
        image.output_format(output)
    if plan.stays(source, output, skip_existing, newer):
        return None if quiet else say(f"left as it is: {output}")
    files.check_output(output, force or newer, source)
    with blame(source):
        data = files.read_file(source, options["limits"])
        header = container.read_header(data)
        with progress_bar("decompress", quiet) as bar:
            progress = bar.report if bar else None
            if region is None:
                pictures = api.decompress_pictures(data, progress=progress, **options)
            else:
                part = api.decompress_picture(data, region=region, progress=progress, **options)
                pictures = [convert.without_recipe(part)]
        notes = convert.store(output, pictures, force or newer, strict, options["limits"])
    for line in not_kept(output, notes):
        say(line)
    seconds = time.perf_counter() - start
    if quiet:
        return
    if region is None:
        say(direction.picture(output, source, header, files.size(output), len(data), seconds))
        return
    x, y, width, height = region
    whole = f"{header.width}x{header.height} {header.first.mode}"
    say(f"{output}: {width}x{height} at x={x}, y={y} of {whole}, {seconds:.1f} s")
