"""``vlae-codec models``. Needs no torch."""

from __future__ import annotations

import json

import click

HEADS = ("name", "id", "bytes", "modes", "mul-adds/pixel", "domain", "rate", "from")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects instead of a table.")
def models(as_json: bool) -> None:
    """List the models at hand: those of VLAE_CODEC_MODELS, then the built-in ones.

    VLAE_CODEC_MODELS names folders and weight files, separated as in PATH. The first model of a name is the one that
    --model NAME means; a file is decoded with whichever of them it was made with.
    """
    from vlae_codec.weights.cards import describe_models
    from vlae_codec.weights.safetensors import printable

    found, problems = describe_models()
    for problem in problems:
        click.echo(f"skipped: {problem}", err=True)
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [HEADS] + [
        (
            facts["name"],
            facts["id"],
            str(facts["bytes"]),
            ", ".join(facts["modes"]),
            str(facts["multiply_adds"]),
            facts["domain"] or "-",
            facts["rate"] or "-",
            facts["origin"],
        )
        for facts in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        click.echo(printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()))
