"""Rate of real files, against the model's own promise and against other codecs.

    python -m bench.rate PICTURES... [--model NAME_OR_PATH] [--effort N] [--grey] [--json OUT] [--checkpoint CKPT]

For every picture: file bits per subpixel, the negative ELBO of the coded sample and the gap between the two in percent,
the terms of the ELBO, what the same weights need with latents in every tile that can pay for them, what of that is KL,
and what without any (a file takes the smaller for each tile), where the bytes go, and whether it came back exactly.
PNG, WebP and JPEG XL where the extra `bench` is installed. A set's rate is total
bits over total subpixels. --checkpoint adds the rate of the float model that the weights were exported from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np

from vlae_codec import api
from vlae_codec.format import container
from vlae_codec.images.image import load

from . import peers
from .account import Account, account


def listed(given: Iterable[Path]) -> list[Path]:
    """Pictures, and those of folders."""
    return [p for path in given for p in (sorted(path.iterdir()) if path.is_dir() else [path])]


def read(path: Path, grey: bool) -> np.ndarray:
    """The pixels of a picture; grey: of a colour picture its luma."""
    pixels = load(path).pixels
    if grey and pixels.ndim == 3:
        from vlae_codec.models.data import luma

        pixels = luma(pixels)
    return pixels


def measure(name: str, pixels: np.ndarray, model: str | None, effort: int = 1) -> tuple[dict[str, Any], bytes, Account]:
    """(the row of a picture in a file of its own, without an origin; the file; what its streams consist of)."""
    data = api.compress(pixels, model=model, effort=effort, origin="none", verify=False)
    failures = int(not np.array_equal(api.decompress(data, model=model), pixels))
    spent = account(data, model)
    return row(name, pixels.size, data, spent, failures), data, spent


def row(name: str, subpixels: int, data: bytes, spent: Account, failures: int) -> dict[str, Any]:
    """What is to be said of a file; sizes in bytes, terms of the ELBO in bits."""
    methods = [record.method for record in container.read(data).records]
    elbo = sum(spent.bits.values())
    # Of the streams, what is beyond -ELBO is lanes and 2 bytes a tile with latents; bits-back starts from nothing.
    items = {**container.itemise(data), "initial bits": 0}
    streams = elbo - spent.adapter  # an adapter has a chunk of its own
    items["lanes"] = round(items["data"] - streams / 8 - 2 * methods.count(container.Method.LATENTS))
    return {
        "picture": name,
        "subpixels": subpixels,
        "bytes": len(data),
        "elbo_bits": elbo,
        "terms": spent.bits,
        "modes": spent.modes,
        "items": items,
        "latent_tiles": sum("band B" in part for part in spent.parts),
        "stored_tiles": sum(m in container.STORED for m in methods),
        "tiles": len(methods),
        "failures": failures,
    }


def line(found: dict[str, Any]) -> str:
    """A row in words."""
    n, elbo, modes = found["subpixels"], found["elbo_bits"], found["modes"]
    return (
        f"{found['picture']:24} {8 * found['bytes'] / n:.4f} bpsp, -ELBO {elbo / n:.4f} "
        f"(gap {100 * (8 * found['bytes'] / elbo - 1):.3f} %), "
        f"latents {modes['latents'] / n:.4f} / without {modes['no latents'] / n:.4f}, "
        f"adapter {found['items']['adapter']} bytes, {'FAILED' if found['failures'] else 'exact'}"
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Totals of a set."""
    n = sum(r["subpixels"] for r in rows)
    terms = sorted({t for r in rows for t in r["terms"]})
    gaps = [100 * (8 * r["bytes"] / r["elbo_bits"] - 1) for r in rows]
    return {
        "pictures": len(rows),
        "failures": sum(r["failures"] for r in rows),
        "bpsp": 8 * sum(r["bytes"] for r in rows) / n,
        "elbo_bpsp": sum(r["elbo_bits"] for r in rows) / n,
        "gap_percent": 100 * (8 * sum(r["bytes"] for r in rows) / sum(r["elbo_bits"] for r in rows) - 1),
        "worst_gap_percent": max(gaps),
        "terms_bpsp": {t: sum(r["terms"].get(t, 0) for r in rows) / n for t in terms},
        "modes_bpsp": {m: sum(r["modes"][m] for r in rows) / n for m in rows[0]["modes"]},
        "items": {k: sum(r["items"][k] for r in rows) for k in rows[0]["items"]},
        "adapters": sum(r["items"]["adapter"] > 0 for r in rows),
        "latent_tiles": sum(r["latent_tiles"] for r in rows),
        "stored_tiles": sum(r["stored_tiles"] for r in rows),
        "tiles": sum(r["tiles"] for r in rows),
    }


def float_rate(checkpoint: Path, paths: list[Path], grey: bool) -> dict[str, float]:
    """Bits per subpixel of the float model on whole tiles: one sample with latents, and without."""
    from vlae_codec.models.data import luma
    from vlae_codec.models.evaluation import evaluate
    from vlae_codec.models.restore import starting_point

    model = starting_point(checkpoint)
    images = []
    for path in paths:
        pixels = load(path).pixels
        images.append(np.stack([luma(pixels)] * 3, -1) if grey else pixels)
    return evaluate(model, images, crop=None, grey=grey)


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", help="Weight file or built-in name.")
@click.option("--effort", default=1, show_default=True, help="1 to 9: above 1 an adapter is fitted to each picture.")
@click.option("--grey", is_flag=True, help="Code the luma of colour pictures.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Also report the float model of this checkpoint.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all rows and the summary here.")
def main(
    pictures: tuple[Path, ...], model: str | None, effort: int, grey: bool, checkpoint: Path | None, out: Path | None
) -> None:
    paths = listed(pictures)
    rows = []
    for path in paths:
        pixels = read(path, grey)
        found, _, _ = measure(path.name, pixels, model, effort)
        found["peers"] = {name: peers.measure(peer, pixels)[0] for name, peer in peers.peers().items()}
        rows.append(found)
        n = pixels.size
        others = " ".join(f"{name} {8 * size / n:.3f}" for name, size in found["peers"].items())
        click.echo(f"{line(found)}  {others}")
    total = summary(rows)
    total["peers_bpsp"] = {
        peer: 8 * sum(r["peers"][peer] for r in rows) / sum(r["subpixels"] for r in rows) for peer in rows[0]["peers"]
    }
    if checkpoint is not None:
        total["float"] = float_rate(checkpoint, paths, grey)
    click.echo(json.dumps(total, indent=2))
    if out is not None:
        out.write_text(json.dumps({"rows": rows, "summary": total}, indent=1))
    raise SystemExit(1 if total["failures"] else 0)


if __name__ == "__main__":
    main()
