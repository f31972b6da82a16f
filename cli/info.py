"""``vlae-codec info``. Needs neither models nor torch."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from vlae_codec import container, files

from .coding import blame


def describe(data: bytes) -> dict[str, Any]:
    """What a .vlae file holds, as JSON types; ``items`` is where its bytes go. Raises what `container.read` raises."""
    contents = container.read(data)
    header = contents.header
    methods = Counter(container.Method(tile.method).name.lower() for tile in contents.tiles)
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "bytes": len(data),
        "bpsp": 8 * len(data) / header.subpixels,
        "model": header.model_id.hex(),
        "tiles": len(contents.tiles),
        "tile_size": header.tile_size,
        "methods": dict(sorted(methods.items())),
        "metadata": {key: len(value) for key, value in contents.metadata.items()},
        "items": container.itemise(data),
    }


@click.command()
@click.argument("source", metavar="FILE", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def info(source: str, as_json: bool) -> None:
    """Say what the .vlae file FILE holds, after checking every checksum in it."""
    data = files.read_file(source)
    with blame(source):
        facts = describe(data)
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, text in {
        "picture": f"{facts['width']}x{facts['height']} {facts['mode']}, 8 bits",
        "size": f"{facts['bytes']} bytes, {facts['bpsp']:.4f} bits per subpixel",
        "model": facts["model"],
        "tiles": f"{facts['tiles']} of up to {facts['tile_size']}x{facts['tile_size']} ({_list(facts['methods'])})",
        "metadata": _list(facts["metadata"]) or "none",
        "bytes of": _list(facts["items"]),
    }.items():
        click.echo(f"{name:9} {text}")


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
