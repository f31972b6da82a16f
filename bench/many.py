"""Many small pictures in one file: its size against the model's own promise.

    python -m bench.many PICTURES... --model NAME_OR_PATH [--binary] [--effort N] [--groups N] [--json OUT]

PICTURES: files, folders, FILE.npz or FILE.npz:KEY (`vlae_codec.models.data.load_images`), of one mode. Prints bits per
dimension (subpixel) and nats per picture of the real file, all overhead included, of -ELBO, of its terms, and of the
same weights without latents; every picture is decoded and compared.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np

from vlae_codec import compress_many, decompress_many
from vlae_codec.effort import LEVELS
from vlae_codec.models.data import load_images
from vlae_codec.tile import Ledger

NATS = 0.6931471805599453  # of a bit


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--model", required=True, help="Weight file or name.")
@click.option("--binary", is_flag=True, help="Bilevel pictures.")
@click.option("--grey", is_flag=True, help="Grey pictures.")
@click.option("--effort", type=click.IntRange(min(LEVELS), max(LEVELS)), default=1, show_default=True)
@click.option("--groups", type=click.IntRange(min=1), help="Chains [default: by size].")
@click.option("--first", type=click.IntRange(min=1), help="Only so many pictures.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here.")
def main(
    pictures: tuple[str, ...],
    model: str,
    binary: bool,
    grey: bool,
    effort: int,
    groups: int | None,
    first: int | None,
    out: Path | None,
) -> None:
    loaded = load_images(pictures, 1, 1 if binary or grey else 3, levels=2 if binary else 256)[:first]
    arrays = [x[..., 0].astype(bool) if binary else x[..., 0] if grey else x for x in loaded]
    ledger = Ledger()
    start = time.perf_counter()
    data = compress_many(arrays, model=model, effort=effort, groups=groups, verify=False, ledger=ledger)
    encoded = time.perf_counter()
    back = decompress_many(data, model=model)
    decoded = time.perf_counter()
    dimensions, elbo = sum(x.size for x in arrays), sum(ledger.bits.values())

    def both(bits: float) -> dict[str, float]:
        return {"bits_per_dimension": bits / dimensions, "nats_per_picture": bits * NATS / len(arrays)}

    figures = {
        "pictures": len(arrays),
        "bytes": len(data),
        "file": both(8 * len(data)),
        "-elbo": both(elbo),
        "gap_percent": 100 * (8 * len(data) / elbo - 1),
        "terms": {name: both(bits) for name, bits in ledger.bits.items()},
        "modes": {name: both(bits) for name, bits in ledger.modes.items()},
        "encode_s": encoded - start,
        "decode_s": decoded - encoded,
        "failures": sum(not np.array_equal(a, b) for a, b in zip(arrays, back)) + abs(len(arrays) - len(back)),
    }
    click.echo(json.dumps(figures, indent=2))
    if out is not None:
        out.write_text(json.dumps(figures, indent=1))
    raise SystemExit(1 if figures["failures"] else 0)


if __name__ == "__main__":
    main()
