"""``vlae-codec info``. Needs neither models nor torch, unless a map is asked for."""

from __future__ import annotations

import json

import click

from vlae_codec import files
from vlae_codec.limits import Limits

from .common import blame, progress_bar
from .options import limited, threads


@click.command()
@click.argument("source", metavar="FILE", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--map", "drawing", metavar="PICTURE", type=click.Path(), help="Decode, and draw where the bits went.")
@click.option("--model", metavar="PATH_OR_NAME", help="Weight file or name, for --map [default: the file's].")
@threads
@click.option("-f", "--force", is_flag=True, help="Overwrite PICTURE if it exists.")
@limited
def info(
    source: str,
    as_json: bool,
    drawing: str | None,
    model: str | None,
    threads: int | None,
    force: bool,
    limits: Limits,
) -> None:
    """Say what the .vlae file FILE holds, after checking every checksum in it.

    --map draws two maps side by side: the bits of each pixel (lighter is more), and those of the latents, of each cell
    spread over its pixels (blue where a cell saves bits). The map of a file of many pictures is a mosaic.
    """
    if drawing is not None:
        from vlae_codec.pictures import image

        image.output_format(drawing, "RGB")
        files.check_output(drawing, force, source)
    from vlae_codec.views.describe import describe

    with blame(source):
        data = files.read_file(source, limits)
        facts = describe(data)
        if drawing is not None:
            from vlae_codec.views import bitsmap

            with progress_bar("map", quiet=as_json) as bar:
                progress = bar.report if bar else None
                found = bitsmap.bits_map(data, model, threads=threads, progress=progress, limits=limits)
            image.save(drawing, bitsmap.render(found), force=force)
            facts["bits"] = {
                "pixels": float(found.local.sum(dtype=float)),
                "latents": float(found.latent.sum(dtype=float)),
            }
    if as_json:
        click.echo(json.dumps(facts))
        return
    size, parts = f"{facts['width']}x{facts['height']}", f"of up to {facts['tile_size']}x{facts['tile_size']}"
    if facts["groups"] is not None:
        sizes = "" if facts["sizes"] == 1 else f"{facts['sizes']} sizes, the first "
        size, parts = f"{facts['pictures']} of {sizes}{size}", "groups"
    bits = "1 bit" if facts["bit_depth"] == 1 else f"{facts['bit_depth']} bits"
    lines = {
        "picture" if facts["groups"] is None else "pictures": f"{size} {facts['mode']}, {bits}",
        "size": f"{facts['bytes']} bytes, {facts['bpsp']:.4f} bits per subpixel",
        "model": facts["model"],
        "tiles": f"{facts['tiles']} {parts} ({_list(facts['methods'])})",
        "metadata": _list(facts["metadata"]) or "none",
        "bytes of": _list(facts["items"]),
        "decoding": "{model_pixels} pixels by the model, {bytes} bytes of pixels".format(**facts["decoding"]),
    }
    if drawing is not None:
        shares = _list({name: round(count / 8) for name, count in facts["bits"].items()})
        lines["map"] = f"{drawing}, bytes of {shares}"
    for name, text in lines.items():
        click.echo(f"{name:9} {text}")


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
