"""``vlae-codec decompress``."""

from __future__ import annotations

from typing import Any

import click

from .options import clustered, converting
from .running import places_of, run_files
from .summary import SALVAGED, Direction

FORMATS = ("png", "tif", "webp", "ppm", "pgm", "pbm", "pnm", "pam", "pfm")


@click.command()
@converting
@click.option("--region", type=int, nargs=4, metavar="X Y W H", help="Only this part of the picture, in pixels.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="Format of pictures that OUTPUT does not name [default: that of the picture INPUT was made of, or png].",
)
@clustered
@click.option("--strict", is_flag=True, help="Refuse a format that cannot hold everything.")
@click.option(
    "--salvage",
    is_flag=True,
    help=f"Bring back what is good of a damaged file; the rest is grey, and the exit status {SALVAGED}.",
)
def decompress(
    sources: tuple[str, ...],
    output: str | None,
    to_stdout: bool,
    region: tuple[int, int, int, int] | None,
    kind: str | None,
    ray: str | None,
    **options: Any,
) -> None:
    """Bring back the picture of the .vlae file INPUT; OUTPUT is .png, .tif, .webp, .ppm, .pgm, .pbm, .pam or .pfm.

    Frames with times become an animated PNG, pages a TIFF. What the format has no place for is named in a line that
    says "not kept". A file made with --exact, or of a JPEG, gives the very file back if OUTPUT is of its format.

    Without --output the picture stands beside INPUT: photo.vlae becomes photo.png, or photo.jpg if it holds a JPEG
    file, and so on. Several files, and folders with all .vlae files in them and in their subfolders, go into the folder
    OUTPUT; so does one file if OUTPUT is a folder or ends in /. An INPUT or OUTPUT of - is standard input or output.

    With --region only the tiles that the region touches are decoded; damage in others does no harm. With --salvage what
    is damaged or missing is grey, and its places are named; --json lists them all.
    """
    if region is not None and options["salvage"]:
        raise click.UsageError("--region and --salvage exclude each other: damage outside of a region does no harm.")
    if options["salvage"] and options["remove_source"]:
        raise click.UsageError("--salvage and --remove-source exclude each other.")
    if ray is not None:
        from .cluster import decompress_over

        options |= {"to_stdout": to_stdout, "region": region, "suffix": f".{kind or 'png'}"}
        return decompress_over(ray, sources, output, **options)
    places = places_of(sources, output, to_stdout)
    if region is not None and places.folder:
        raise click.UsageError("--region is for one INPUT, and an OUTPUT that is a file or -.")
    if kind is not None and not places.folder and not places.to_stdout:
        raise click.UsageError("--format is for an OUTPUT that is a folder; the name of a file says its format.")
    from vlae_codec.jobs import batch

    options |= {"region": region, "suffix": kind and f".{kind}"}
    run_files(batch.decompress_files, Direction("decompress", region), places, **options)
