"""What effort buys: bytes and seconds at several levels, beside JPEG XL effort 7 on one thread in the same run.

    python -m bench.effort PICTURES... [--effort N ...] [--model NAME_OR_PATH] [--origin none] [--grey] [--threads N]
                           [--json OUT] [--resume] [--markdown]

Level 1, which fits no adapter, is always there: gains and ratios are against it. For every picture and level: bytes of
the file, of them the adapter's, seconds to compress (verifying included) and to decompress (best of
three), and whether the picture came back. JPEG XL where the extra `bench` is installed. A set's rate is total bits over
total subpixels. The JSON is written after each measurement; --resume goes on with what it holds. The exit status is 1
if a picture failed or its file is larger than at level 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from vlae_codec import api
from vlae_codec.adapter.effort import DEFAULT, LEVELS
from vlae_codec.format import container
from vlae_codec.pictures.codec import find_codec

from .peers import measure as measure_peer
from .peers import peers, timed
from .processes import machine
from .rate import listed, read

PEER = "jxl e7"
COLUMNS = {  # figure -> heading, format; figures that a summary lacks are left out
    "pictures": ("pictures", "d"),
    "bpsp": ("bpsp", ".4f"),
    "over_peer": ("of JPEG XL's bytes", ".4f"),
    "gain_percent": ("gain %", ".2f"),
    "best_gain_percent": ("best %", ".2f"),
    "worst_gain_percent": ("worst %", ".2f"),
    "adapter_percent": ("adapter %", ".2f"),
    "adapters": ("with adapter", "d"),
    "larger": ("larger", "d"),
    "failures": ("failed", "d"),
    "compress_s": ("compress s", ".2f"),
    "compress_s_max": ("at most", ".2f"),
    "compress_ratio": ("x level 1", ".2f"),
    "decompress_s": ("decompress s", ".2f"),
    "decompress_ratio": ("x level 1", ".2f"),
    "peer_encode_s": ("JPEG XL encode s", ".2f"),
}


def measure(pixels: np.ndarray, effort: int, origin: str, options: dict[str, Any]) -> dict[str, Any]:
    """Sizes in bytes and times in seconds of one picture at one level."""
    data, compress_s = timed(lambda: api.compress(pixels, effort=effort, origin=origin, **options))
    runs = [timed(lambda: api.decompress(data, **options)) for _ in range(3)]
    return {
        "bytes": len(data),
        "adapter_bytes": container.itemise(data)["adapter"],
        "compress_s": compress_s,
        "decompress_s": min(spent for _, spent in runs),
        "exact": all(np.array_equal(back, pixels) for back, _ in runs),
    }


def warm_up(shape: Sequence[int], options: dict[str, Any]) -> bytes:
    """The file of a small picture of such a shape, of noise, which has bits enough for an adapter to be fitted."""
    return api.compress(np.random.default_rng(0).integers(0, 256, (160, 160, *shape[2:]), np.uint8), **options)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """level -> totals of a set, for the levels at which all pictures were measured."""
    common = set.intersection(*(set(row["levels"]) for row in rows))
    return {level: _totals(rows, level) for level in sorted(common, key=int)}


def _totals(rows: Sequence[dict[str, Any]], level: str) -> dict[str, Any]:
    pairs = [(row["levels"]["1"], row["levels"][level]) for row in rows]
    first, here = ({key: sum(row[key] for row in side) for key in pairs[0][0]} for side in zip(*pairs))
    gains = [100 * (1 - now["bytes"] / before["bytes"]) for before, now in pairs]
    found = {
        "pictures": len(rows),
        "bpsp": 8 * here["bytes"] / sum(row["subpixels"] for row in rows),
        "gain_percent": 100 * (1 - here["bytes"] / first["bytes"]),
        "best_gain_percent": max(gains),
        "worst_gain_percent": min(gains),
        "adapter_percent": 100 * here["adapter_bytes"] / here["bytes"],
        "adapters": sum(now["adapter_bytes"] > 0 for _, now in pairs),
        "larger": sum(now["bytes"] > before["bytes"] for before, now in pairs),
        "failures": len(rows) - here["exact"],
        "compress_s": here["compress_s"] / len(rows),
        "compress_s_max": max(now["compress_s"] for _, now in pairs),
        "compress_ratio": here["compress_s"] / first["compress_s"],
        "decompress_s": here["decompress_s"] / len(rows),
        "decompress_ratio": here["decompress_s"] / first["decompress_s"],
    }
    if all(row.get(PEER, {}).get("bytes") for row in rows):
        found["over_peer"] = here["bytes"] / sum(row[PEER]["bytes"] for row in rows)
        found["peer_encode_s"] = sum(row[PEER]["encode_s"] for row in rows) / len(rows)
    return found


def table(totals: dict[str, dict[str, Any]], markdown: bool) -> str:
    """A line a level."""
    shown = [key for key in COLUMNS if all(key in found for found in totals.values())]
    lines = [["effort", *(COLUMNS[key][0] for key in shown)]]
    lines += [[level, *(format(found[key], COLUMNS[key][1]) for key in shown)] for level, found in totals.items()]
    if markdown:
        lines.insert(1, ["---:"] * len(lines[0]))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines)


def resumed(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """name -> row of a former run. Raises click.UsageError if it had other settings."""
    former = json.loads(out.read_text())
    if former["settings"] != settings:
        raise click.UsageError(f"{out} is of another model, other levels or other options: give another file")
    return {row["picture"]: row for row in former["rows"]}


def write(out: Path, contents: dict[str, Any]) -> None:
    """All or nothing, whenever the process may be killed."""
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(contents, indent=1))
    part.replace(out)


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--effort", multiple=True, type=click.IntRange(min(LEVELS), max(LEVELS)), help=f"[default: {DEFAULT}]")
@click.option("--model", help="Weight file or built-in name.")
@click.option(
    "--origin", default="auto", show_default=True, type=click.Choice(["auto", "none"]), help="As compress has."
)
@click.option("--grey", is_flag=True, help="Code the luma of colour pictures.")
@click.option("--threads", type=click.IntRange(min=1))
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all rows and the summary here.")
@click.option("--resume", is_flag=True, help="Go on with the rows of that file, if it is there.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
def main(
    pictures: tuple[Path, ...],
    effort: tuple[int, ...],
    model: str | None,
    origin: str,
    grey: bool,
    threads: int | None,
    out: Path | None,
    resume: bool,
    markdown: bool,
) -> None:
    paths = listed(pictures)
    options: dict[str, Any] = {"model": model, "threads": threads}
    shape, wanted = read(paths[0], grey).shape, sorted({1, *(effort or [DEFAULT])})
    mode = "L" if len(shape) == 2 else "RGB"
    ids = [find_codec(model, None, "cpu", mode, level).model.id.hex() for level in wanted]
    warm_up(shape, options)
    levels = [list(LEVELS[level]) for level in sorted(LEVELS)]
    settings = {"model": model, "ids": ids, "origin": origin, "grey": grey, "threads": threads, "levels": levels}
    rows = resumed(out, settings) if resume and out and out.exists() else {}
    peer, warm, made = peers().get(PEER), {len(shape)}, machine()

    def note(figures: str) -> None:
        click.echo(f"{name:32} {figures}")
        if out is not None:
            write(out, {"made": made, "settings": settings, "rows": list(rows.values())})

    for path in paths:
        name, pixels = f"{path.parent.name}/{path.name}", read(path, grey)
        row = rows.setdefault(name, {"picture": name, "subpixels": pixels.size, "levels": {}})
        if peer is not None and PEER not in row:
            size, spent = measure_peer(peer, pixels)
            row[PEER] = {"bytes": size, "encode_s": spent}
            note(f"JPEG XL {size} bytes, encode {spent:.2f} s")
        for level in wanted:
            if str(level) in row["levels"]:
                continue
            if pixels.ndim not in warm:
                warm_up(pixels.shape, options)
                warm.add(pixels.ndim)
            found = row["levels"][str(level)] = measure(pixels, level, origin, options)
            note(
                f"effort {level} {found['bytes']} bytes, adapter {found['adapter_bytes']}, "
                f"compress {found['compress_s']:.2f} s, decompress {found['decompress_s']:.2f} s, "
                f"{'exact' if found['exact'] else 'FAILED'}"
            )
    totals = summary(list(rows.values()))
    if out is not None:
        write(out, {"made": made, "settings": settings, "rows": list(rows.values()), "summary": totals})
    click.echo(table(totals, markdown))
    raise SystemExit(1 if any(found["failures"] or found["larger"] for found in totals.values()) else 0)


if __name__ == "__main__":
    main()
