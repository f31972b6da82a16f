"""``vlae-codec compress``."""

from __future__ import annotations

from typing import Any

import click

from vlae_codec.adapter.effort import DEFAULT, LEVELS
from vlae_codec.format.header import MAX_TILE
from vlae_codec.origins.names import NAMES

from .options import clustered, converting
from .running import places_of, run_files
from .summary import Direction


@click.command()
@converting
@click.option(
    "--effort",
    type=click.IntRange(min(LEVELS), max(LEVELS)),
    default=DEFAULT,
    show_default=True,
    help="How long to adapt the model to the picture: smaller files for more time. From 5 on larger "
    "models are taken, whose files also take longer to read.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Seed of the random numbers that adapting begins with.",
)
@click.option(
    "--verify/--no-verify", default=True, show_default=True, help="Decode and compare before the file is written."
)
@click.option(
    "--origin",
    type=click.Choice(["auto", "none", *NAMES]),
    default="auto",
    show_default=True,
    help="What a picture was before it was RGB: look for all that is known, for nothing, or for one only.",
)
@click.option(
    "--tile",
    type=click.IntRange(32, MAX_TILE),
    metavar="N",
    help="Pixels a side of what one thread codes and decodes, a multiple of 16: fewer bring a lone picture back faster "
    "where there are threads for them, and make it larger [default: 512, where the model learns up to 768, from "
    "effort 5 on up to 1024].",
)
@click.option("--exact", is_flag=True, help="Keep the very file: decompress gives it back byte for byte.")
@click.option("--strict", is_flag=True, help="Refuse a picture of which anything would not be kept.")
@click.option(
    "--strip",
    type=click.Choice(["all", "all-but-icc"]),
    is_flag=False,
    flag_value="all",
    help="Drop the metadata; --strip=all-but-icc keeps the colour profile.",
)
@click.option(
    "--thumbnail",
    type=click.IntRange(0, 1024),
    metavar="N",
    default=0,
    help="Put a small lossy picture into the file, too, its longer side N pixels, for viewers [default: none].",
)
@clustered
@click.option("--skip-jpeg", is_flag=True, help="Pass JPEG files by.")
def compress(
    sources: tuple[str, ...],
    output: str | None,
    to_stdout: bool,
    exact: bool,
    strict: bool,
    strip: str | None,
    ray: str | None,
    **options: Any,
) -> None:
    """Compress the picture INPUT into a .vlae file.

    INPUT is of any kind that can be read sample by sample: PNG, TIFF, PNM, GIF, WebP and others, with palettes,
    transparency, 1 to 16 bits a sample and more, frames, pages and metadata. What is not kept is named in a line that
    says "not kept"; what cannot be read sample by sample is refused.

    Without --output the file stands beside INPUT: photo.png becomes photo.vlae, or photo.png.vlae where another INPUT
    would become that, too. Several pictures, and folders with all pictures in them and in their subfolders, go into the
    folder OUTPUT, each into a file of its own; so does one picture if OUTPUT is a folder or ends in /. An INPUT or
    OUTPUT of - is standard input or output. Hidden files, and files in folders that are not named like pictures, are
    left out. Pictures that fail are listed at the end; the others are done all the same. An OUTPUT that is named like a
    picture, such as photo.png, is refused without --force.

    Of a JPEG the coefficients are coded, and the very file comes back, byte for byte; of the few that cannot be taken
    apart, and with --strip, the pixels. A picture that was a JPEG, a lossy WebP or a PhotoCD scan before it was RGB is
    coded as what it was, where that is smaller; --origin none leaves that out.

    From effort 2 on the model learns while it codes; from 3 on it is also fitted to the picture and its change stored,
    and from 5 on it is a larger one, each if that makes the file smaller. On two Kodak pictures level 2 took 2.2 times
    as long as level 1 and saved 2.7 %, level 5 7.6 times (3.2 %), level 7 13 times (3.5 %): docs/benchmarks.md has the
    table and its command.
    """
    if exact and strip:
        raise click.UsageError("--exact and --strip exclude each other.")
    from vlae_codec.jobs import batch, convert

    keep = convert.Keep({None: "all", "all": "none", "all-but-icc": "icc"}[strip], exact, strict)
    if ray is not None:
        from .cluster import compress_over

        return compress_over(ray, sources, output, to_stdout=to_stdout, keep=keep, **options)
    places = places_of(sources, output, to_stdout)
    run_files(batch.compress_files, Direction("compress"), places, keep=keep, **options)
