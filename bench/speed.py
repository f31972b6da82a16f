"""Speed of both directions, start-up excluded, beside JPEG XL effort 7 on one thread in the same run.

    python -m bench.speed PICTURES... [--model NAME_OR_PATH] [--effort 1] [--threads N] [--device D] [--repeat 3]
                          [--json OUT]

The first picture is coded once untimed (imports, compilation, weights into the cache). Then each picture is coded
`repeat` times in each direction, ours and the peer's in turn, and the medians are given. MB/s are of raw pixels. Peak
memory is that of the process, interpreter and libraries included; --no-peer leaves JPEG XL out of it.
"""

from __future__ import annotations

import json
import resource
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.peers import peers, timed
from bench.rate import listed
from vlae_codec import api
from vlae_codec.effort import LEVELS
from vlae_codec.image import load


def measure(pixels: np.ndarray, effort: int, repeat: int, peer: bool, options: dict[str, Any]) -> dict[str, float]:
    """Median seconds of each direction, ours and JPEG XL's, and their ratio where measured."""
    data = api.compress(pixels, verify=False, effort=effort, **options)
    calls: dict[str, Callable[[], Any]] = {
        "compress": lambda: api.compress(pixels, verify=False, effort=effort, **options),
        "decompress": lambda: api.decompress(data, **options),
    }
    jxl = peers().get("jxl e7") if peer else None
    if jxl is not None:
        coded = jxl.encode(pixels)
        calls["jxl e7 encode"] = lambda: jxl.encode(pixels)
        calls["jxl e7 decode"] = lambda: jxl.decode(coded)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            times[name].append(timed(call)[1])
    return {name: statistics.median(values) for name, values in times.items()}


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", help="Weight file or built-in name.")
@click.option("--effort", type=click.IntRange(min(LEVELS), max(LEVELS)), default=1, show_default=True)
@click.option("--threads", type=int)
@click.option("--device", default="auto", show_default=True)
@click.option("--repeat", default=3, show_default=True)
@click.option("--tile", default=1, show_default=True, help="Repeat each picture so often each way, for a large one.")
@click.option("--peer/--no-peer", default=True)
@click.option("--json", "out", type=click.Path(path_type=Path))
def main(
    pictures: tuple[Path, ...],
    model: str | None,
    effort: int,
    threads: int | None,
    device: str,
    repeat: int,
    tile: int,
    peer: bool,
    out: Path | None,
) -> None:
    options: dict[str, Any] = {"model": model, "threads": threads, "device": device}
    paths = listed(pictures)
    first = load(paths[0]).pixels[:256, :256]
    api.decompress(api.compress(first, verify=False, effort=min(effort, 2), **options), **options)
    rows: list[dict[str, Any]] = []
    for path in paths:
        pixels = load(path).pixels
        pixels = np.tile(pixels, (tile, tile, *[1] * (pixels.ndim - 2)))
        times = measure(pixels, effort, repeat, peer, options)
        rows.append({"picture": path.name, "raw_bytes": pixels.size, **times})
        click.echo(
            f"{path.name:24} "
            + ", ".join(f"{k} {v:.3f} s ({pixels.size / v / 1e6:.2f} MB/s)" for k, v in times.items())
        )
    raw = sum(r["raw_bytes"] for r in rows)
    total = {name: sum(r[name] for r in rows) for name in rows[0] if name not in ("picture", "raw_bytes")}
    summary: dict[str, Any] = {f"{name} MB/s": raw / value / 1e6 for name, value in total.items()}
    summary |= {f"{name} s per picture": value / len(rows) for name, value in total.items()}
    if "jxl e7 encode" in total:
        for ours in ("compress", "decompress"):
            summary[f"{ours} speed over jxl e7 encode"] = total["jxl e7 encode"] / total[ours]
    summary["peak memory MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(json.dumps(summary, indent=2))
    if out is not None:
        out.write_text(json.dumps({"rows": rows, "summary": summary}, indent=1))


if __name__ == "__main__":
    main()
