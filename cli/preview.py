"""``vlae-codec preview``."""

from __future__ import annotations

import time
from typing import Any

import click

from vlae_codec import files

from .common import blame, progress_bar, say
from .options import drawing, limited


@click.command()
@drawing("the one that the file names")
@limited
@click.option("--beside", is_flag=True, help="Show each picture itself to the left of its preview.")
@click.argument("source", metavar="FILE", type=click.Path())
def preview(
    source: str,
    output: str,
    beside: bool,
    force: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Show what the latents of the .vlae file FILE say of its picture: the lossy code inside the lossless one.

    Only the latents are decoded; the pixels are drawn at random from what the model then expects. Digits keep their
    shape, but the latents of a photograph carry next to nothing: its preview shows nothing that a person would
    recognise, and is for those who study the model. 'vlae-codec thumbnail' makes a small picture of it. Tiles that
    are coded without latents have no lossy code and are mid grey. The pictures of a file of many lie side by side;
    their latents lie too deep to be read alone.
    """
    from vlae_codec.format import container
    from vlae_codec.images import image
    from vlae_codec.views import sampling
    from vlae_codec.views.mosaic import mosaic

    start = time.perf_counter()
    image.output_format(output)
    files.check_output(output, force, source)
    with blame(source):
        data = files.read_file(source, options["limits"])
        first = container.read_header(data).first
        image.output_format(output, "RGB" if first.channels >= 3 or first.colours else "L")
    with blame(source), progress_bar("preview", quiet) as bar:
        found = sampling.preview(data, beside=beside, progress=bar.report if bar else None, **options)
    image.save(output, mosaic(found.pictures), force=force)
    if quiet:
        return
    seconds = time.perf_counter() - start
    size = f"latents of {found.bits / 8:.0f} bytes, the file has {len(data)}"
    say(f"{output}: {size}, {seconds:.1f} s")
    if found.blank:
        verb = "has" if found.blank == 1 else "have"
        say(f"{found.blank} of {found.tiles} tiles {verb} no latents: mid grey")
