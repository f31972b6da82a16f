"""``vlae-codec info``. Needs neither models nor torch, unless a map is asked for."""

from __future__ import annotations

import json
from typing import Any

import click

from vlae_codec import files, pipes
from vlae_codec.limits import UNLIMITED, Limits

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
    """Say what the .vlae file FILE (- is standard input) holds, after checking every checksum in it.

    --map draws two maps side by side: the bits of each pixel (lighter is more), and those of the latents, of each cell
    spread over its pixels (blue where a cell saves bits). The map of a file of many pictures is a mosaic.
    """
    if drawing is not None:
        from vlae_codec.images import image

        image.output_format(drawing, "RGB")
        files.check_output(drawing, force, source)
    from vlae_codec.format import container
    from vlae_codec.images.metadata import describe as describe_metadata
    from vlae_codec.views.describe import describe

    with blame(source):
        data = pipes.read(pipes.place(source), limits)
        facts = describe(data)
        metadata = container.read(data, UNLIMITED).metadata_of(0)
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
    size = f"{facts['width']}x{facts['height']}"
    if facts["pictures"] > 1:
        sizes = "" if facts["sizes"] == facts["kinds"] == 1 else f"{facts['sizes']} sizes, the first "
        size = f"{facts['pictures']} of {sizes}{size}"
    bits = "1 bit" if facts["bit_depth"] == 1 else f"{facts['bit_depth']} bits"
    bits = bits if facts["type"] == "unsigned" else facts["type"]
    colours = f", {facts['colours']} colours" if facts["colours"] else ""
    lines = {
        "picture" if facts["pictures"] == 1 else "pictures": f"{size} {facts['mode']}, {bits}{colours}",
        "size": f"{facts['bytes']} bytes, {facts['bpsp']:.4f} bits per subpixel",
    }
    if any(facts["origins"]):
        lines["origin"] = "; ".join(words or "none" for words in facts["origins"])
    for number, planes in enumerate(facts["planes"]):
        lines[f"planes {number}" if len(facts["planes"]) > 1 else "planes"] = _planes(planes)
    lines |= {
        "metadata": "; ".join(describe_metadata(metadata)) or "none",
        "bytes of": _list(facts["items"]),
        "decoding": "{model_pixels} pixels by the model, {bytes} bytes of pixels".format(**facts["decoding"]),
    }
    if drawing is not None:
        shares = _list({name: round(count / 8) for name, count in facts["bits"].items()})
        lines["map"] = f"{drawing}, bytes of {shares}"
    for name, text in lines.items():
        click.echo(f"{name:9} {text}")


_NAMES = {"coefficients": "coefficients", "exceptions": "exceptions"}


def _planes(planes: dict[str, Any]) -> str:
    """A group of planes in a line: its channels, what is special about it, its model and its streams."""
    first, last = planes["channels"]
    parts = [_NAMES.get(planes["kind"], f"channel {first}" if first == last else f"channels {first} to {last}")]
    if planes["kind"] == "source":
        parts = [("luma", "chroma 1", "chroma 2")[first], "{}x{}".format(*planes["size"])]
    if planes["kind"] != "samples":
        parts.append(f"{planes['bytes']} bytes")
    if planes["values"]:
        parts.append(f"{max(planes['values'])} values that occur")
    if planes["shift"]:
        parts.append(f"shift {planes['shift']}")
    if planes["scale"] != [1, 1]:
        parts.append("blocks of {}x{}".format(*planes["scale"]))
    parts.append("no model" if planes["model"] is None else f"model {planes['model']}")
    if learning := planes["learning"]:
        parts.append("learning" + (" in the last layer" if learning["layers"] == "last" else ""))
        parts[-1] += "" if learning["rate"] == 1 else f" at {learning['rate']:.3g} of the rate"
    where = f"{planes['chains']} chains" if planes["chains"] else f"tiles of up to {planes['tile_size']}"
    return f"{', '.join(parts)}, {where} ({_list(planes['methods'])})"


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
