"""What the integers cost: bits per subpixel of one model in floats, with the integers' rounding, and as integers.

    python -m bench.quantisation CHECKPOINT PICTURES... [--crop 256]

CHECKPOINT: a run's state or a weight file. The weight file is exported anew; of each picture the centre crop counts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from vlae_codec.models.data import load_images
from vlae_codec.models.export import export
from vlae_codec.models.report import lines, report
from vlae_codec.models.restore import starting_point


@click.command(help=__doc__)
@click.argument("checkpoint", type=click.Path())
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--crop", type=click.IntRange(min=16), help="Pixels [default: all].")
def main(checkpoint: str, pictures: tuple[str, ...], crop: int | None) -> None:
    model = starting_point(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        export(model, weights)
        images = load_images(pictures, 16, model.config.channels, levels=model.config.levels)
        click.echo(lines(report(model, weights, images, crop)))


if __name__ == "__main__":
    main()
