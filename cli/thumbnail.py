"""``vlae-codec thumbnail``."""

from __future__ import annotations

import io

import click

from vlae_codec import files
from vlae_codec.errors import OutputError
from vlae_codec.limits import Limits

from .common import blame
from .options import limited

FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}


@click.command()
@click.argument("source", metavar="FILE", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="File to write: .png, .webp or .jpg.")
@click.option("--size", type=click.IntRange(1, 1024), default=128, show_default=True, help="Longer side in pixels.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output if it exists.")
@limited
def thumbnail(source: str, output: str, size: int, force: bool, limits: Limits) -> None:
    """Write a small lossy picture of the .vlae file FILE, as file managers ask for.

    It is the thumbnail that 'compress --thumbnail' put into the file, if that is large enough, or else made of the
    picture, which is then decoded.
    """
    from pathlib import Path

    from vlae_codec import api
    from vlae_codec.format import container
    from vlae_codec.images.thumbnails import scaled, stored_thumbnail

    kind = FORMATS.get(Path(output).suffix.lower())
    if kind is None:
        raise OutputError(f"{output}: no format of thumbnails: use one of {', '.join(FORMATS)}")
    files.check_output(output, force, source)
    with blame(source):
        data = files.read_file(source, limits)
        container.read_header(data)  # says what is wrong with other files
        image = stored_thumbnail(data)
        if image is None or max(image.size) < size:
            image = scaled(api.decompress_pictures(data, limits=limits)[0], size)
    image.thumbnail((size, size))
    out = io.BytesIO()
    (image.convert("RGB") if kind == "JPEG" else image).save(out, kind)
    files.write_file(output, out.getvalue(), force)
