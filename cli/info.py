"""``vlae-codec info``. Needs neither models nor torch."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from vlae_codec import container, files

from .coding import blame


def describe(data: bytes) -> dict[str, Any]:
    """What a .vlae file holds, as JSON types; ``items`` is where its bytes go. Raises what `container.read` raises.

    Of a list of pictures, ``width`` and ``height`` are those of the first, ``tiles`` is the number of ``groups``.
    """
    contents = container.read(data)
    header, table = contents.header, contents.pictures
    methods = Counter(container.Method(tile.method).name.lower() for tile in contents.tiles)
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "bit_depth": header.bit_depth,
        "pictures": 1 if table is None else table.count,
        "sizes": 1 if table is None else len({run[1:] for run in table.runs}),
        "groups": None if table is None else table.groups,
        "bytes": len(data),
        "bpsp": 8 * len(data) / contents.subpixels,
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
    size, parts = f"{facts['width']}x{facts['height']}", f"of up to {facts['tile_size']}x{facts['tile_size']}"
    if facts["groups"] is not None:
        sizes = "" if facts["sizes"] == 1 else f"{facts['sizes']} sizes, the first "
        size, parts = f"{facts['pictures']} of {sizes}{size}", "groups"
    bits = "1 bit" if facts["bit_depth"] == 1 else f"{facts['bit_depth']} bits"
    for name, text in {
        "picture" if facts["groups"] is None else "pictures": f"{size} {facts['mode']}, {bits}",
        "size": f"{facts['bytes']} bytes, {facts['bpsp']:.4f} bits per subpixel",
        "model": facts["model"],
        "tiles": f"{facts['tiles']} {parts} ({_list(facts['methods'])})",
        "metadata": _list(facts["metadata"]) or "none",
        "bytes of": _list(facts["items"]),
    }.items():
        click.echo(f"{name:9} {text}")


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
