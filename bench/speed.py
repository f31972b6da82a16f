"""Speed, start-up and memory, beside other codecs in the same run.

    python -m bench.speed PICTURES... [--part NAME ...] [--threads 1,2] [--device cpu,cuda] [--effort 1,3]
                          [--target amx,avx2] [--tile 256,512] [--peers "jxl e3,jxl e7"] [--limit N] [--repeat 3]
                          [--label TEXT] [--json OUT] [--plot OUT.png]

\b
speed    each picture by our codec, at each effort, device and number of threads, and by the peers, on one
         thread each, in turn
batch    all pictures as one job, as many at a time as the largest number of threads, each on one thread; JPEG XL
         effort 7 likewise, and one after another
sizes    seconds against the size of a picture: crops of several for a small size, a mosaic of the pictures
         side by side for a large one, mirrored from the second time on, none upscaled
start    processes of the command line on a crop of 256x256, from the second run on: seconds, peak memory, and
         what they import
memory   processes that take a picture of each size from PNG to .vlae, verifying included, and back

All parts unless some are named. MB/s are of raw pixels, medians of --repeat runs; what takes longer than 3 seconds a
picture is timed once. A ratio says how many times as fast it is as JPEG XL effort 7 encodes in the same run on one
thread. A target is one of the core's (`vlae_codec.native.library`), by default the processor's best; others run slower
here, as on processors that have no better one. Compressing is without verifying, except in processes: the bench decodes
and compares each time, ours and the peers', and the exit status is 1 if a picture did not come back. All is coded once
untimed first, ours without origins. Several sizes of tiles are for the part speed.
In the JSON each part has its own command line, machine and load; parts of a former run stay.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, zip_longest
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from vlae_codec import api
from vlae_codec.adapter.effort import LEVELS
from vlae_codec.images.image import load
from vlae_codec.native import library

from .effort import write
from .peers import NAMES, Peer, peers, same, timed
from .processes import cores, machine, memory, start_up
from .rate import listed

REFERENCE = "jxl e7"
OTHERS = "png,webp,jxl e3,jxl e7,jxl e9"
SLOW = 3.0  # seconds a picture
SIZES = {  # height, width
    "64x64": (64, 64),
    "128x128": (128, 128),
    "256x256": (256, 256),
    "512x512": (512, 512),
    "1 MP": (1024, 1024),
    "4 MP": (2048, 2048),
    "12 MP": (3000, 4000),
    "24 MP": (4000, 6000),
}
UNIT = "1 MP"  # to whose cost a pixel that of the others is compared
LINEAR = 0.2  # by how much a larger picture's may differ
WAYS = ("encode", "decode")
SPEEDS = {"bpsp": ".4f", "encode_MBps": ".2f", "decode_MBps": ".2f", "encode_ratio": ".2f", "decode_ratio": ".2f"}
COSTS = {f"{way}_{key}": form for way in WAYS for key, form in (("s", ".3f"), ("MBps", ".2f"), ("relative", ".2f"))}
Row = dict[str, Any]


class Plan(NamedTuple):
    """What is to be measured."""

    names: Sequence[str]  # of the pictures
    pictures: Sequence[np.ndarray]
    threads: Sequence[int]
    devices: Sequence[str]
    efforts: Sequence[int]
    targets: Sequence[str]
    peers: dict[str, Peer]
    sizes: dict[str, tuple[int, int]]
    repeat: int
    model: str | None
    plot: Path | None
    tiles: Sequence[int | None] = (None,)

    def ours(self) -> dict[str, Peer]:
        return {
            f"vlae e{effort} {device}{name}{f' {tile}' if len(self.tiles) > 1 else ''} {threads}t": on_target(
                ours(effort, device, threads, self.model, tile), target
            )
            for effort in self.efforts
            for device in self.devices
            for target, name in self.named_targets()
            for tile in self.tiles
            for threads in self.threads
        }

    def named_targets(self) -> list[tuple[str, str]]:
        """Targets, and what they add to the names of codecs: nothing if there is one."""
        return [(target, f" {target}" if len(self.targets) > 1 else "") for target in self.targets]

    def shared(self) -> list[str]:
        """Options of the command line."""
        return ["--threads", str(max(self.threads)), *(["--model", self.model] if self.model else [])]


# ---------------------------------------------------------------------------------------------------- codecs of lists


def ours(
    effort: int, device: str, threads: int, model: str | None, tile: int | None = None, origin: str = "none"
) -> Peer:
    """Our codec of a picture; tile: None as `compress` chooses."""
    options: Row = {"model": model, "device": device, "threads": threads}
    encode = partial(api.compress, verify=False, effort=effort, tile=tile, origin=origin, **options)
    return Peer(encode, partial(api.decompress, **options))


def on_target(codec: Peer, target: str) -> Peer:
    """A codec whose calls choose a target of the core first."""

    def run(call: Callable[[Any], Any], item: Any) -> Any:
        library.use(target)
        return call(item)

    return Peer(partial(run, codec.encode), partial(run, codec.decode))


def side_by_side(codec: Peer, threads: int = 1) -> Peer:
    """The codec of lists of pictures, so many at a time."""

    def spread(call: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        if threads == 1:
            return [call(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(call, items))

    return Peer(partial(spread, codec.encode), partial(spread, codec.decode))


def our_batch(effort: int, device: str, threads: int, model: str | None) -> Peer:
    """Our codec of lists: the place for a function of the package that takes several pictures."""
    return side_by_side(ours(effort, device, 1, model), threads)


def in_turn(mine: dict[str, Peer], others: dict[str, Peer]) -> dict[str, Peer]:
    """Ours, another, ours, another and so on, as codecs of lists."""
    pairs = chain.from_iterable(zip_longest(mine.items(), others.items()))
    return {pair[0]: side_by_side(pair[1]) for pair in pairs if pair is not None}


# ---------------------------------------------------------------------------------------------------- measuring


def measure(codecs: dict[str, Peer], pictures: Sequence[np.ndarray], repeat: int) -> dict[str, Row]:
    """codec of lists -> bytes, median seconds of each direction, and how often a picture did not come back."""
    runs: dict[str, Row] = {name: {"bytes": 0, "encode_s": [], "decode_s": [], "failures": 0} for name in codecs}
    for _ in range(repeat):
        for name, codec in codecs.items():
            run = runs[name]
            if max(run["encode_s"] + run["decode_s"], default=0.0) > SLOW * len(pictures):
                continue
            files, encode_s = timed(partial(codec.encode, pictures))
            backs, decode_s = timed(partial(codec.decode, files))
            run["bytes"] = sum(map(len, files))
            run["encode_s"].append(encode_s)
            run["decode_s"].append(decode_s)
            run["failures"] += sum(not same(back, pixels) for back, pixels in zip(backs, pictures))
    raw = sum(pixels.nbytes for pixels in pictures)
    medians = [{f"{way}_s": statistics.median(run[f"{way}_s"]) for way in WAYS} for run in runs.values()]
    return with_rates({name: run | median for (name, run), median in zip(runs.items(), medians)}, raw)


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """codec -> totals of the rows of a set."""
    parts = {name: [row["codecs"][name] for row in rows] for name in rows[0]["codecs"]}
    keys = ("bytes", "encode_s", "decode_s", "failures")
    totals = {name: {key: sum(part[key] for part in found) for key in keys} for name, found in parts.items()}
    return with_rates(totals, sum(row["raw_bytes"] for row in rows))


def with_rates(codecs: dict[str, Row], raw: int) -> dict[str, Row]:
    """The rows of codecs with rates, and with the ratios if the reference is among them; raw: bytes of the pixels."""
    for row in codecs.values():
        row["bpsp"] = 8 * row["bytes"] / raw
        row |= {f"{way}_MBps": raw / row[f"{way}_s"] / 1e6 for way in WAYS}
        if REFERENCE in codecs:
            row |= {f"{way}_ratio": codecs[REFERENCE]["encode_s"] / row[f"{way}_s"] for way in WAYS}
    return codecs


def of_size(pictures: Sequence[np.ndarray], height: int, width: int) -> list[np.ndarray]:
    """Pictures of one size made of others: the middles of as many as have a megapixel together, or one mosaic."""
    rows, columns = min(x.shape[0] for x in pictures), min(x.shape[1] for x in pictures)
    if height <= rows and width <= columns:
        count = max(1, (1 << 20) // (height * width))
        return [_middle(x, height, width) for x in pictures[:count]]
    down, across = -(-height // rows), -(-width // columns)
    cells = []
    for i in range(down * across):
        turn, which = divmod(i, len(pictures))
        cell = _middle(pictures[which], rows, columns)
        cells.append(cell[:: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1])
    bands = [np.concatenate(cells[i : i + across], axis=1) for i in range(0, len(cells), across)]
    return [np.ascontiguousarray(np.concatenate(bands)[:height, :width])]


def _middle(x: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return np.ascontiguousarray(x[top : top + height, left : left + width])


def with_costs(rows: Sequence[Row]) -> dict[str, bool]:
    """Adds microseconds a pixel, and these over those of UNIT if it is among the sizes, to rows of growing sizes.

    Codec and direction -> whether no size from UNIT on costs much more or less a pixel.
    """
    for row in rows:
        for codec in row["codecs"].values():
            codec |= {f"{way}_us": 1e6 * codec[f"{way}_s"] / row["pixels"] for way in WAYS}
    sizes = [row["size"] for row in rows]
    if UNIT not in sizes:
        return {}
    unit = sizes.index(UNIT)
    for row in rows:
        for name, codec in row["codecs"].items():
            codec |= {f"{way}_relative": codec[f"{way}_us"] / rows[unit]["codecs"][name][f"{way}_us"] for way in WAYS}
    return {
        f"{name} {way}": all(abs(row["codecs"][name][f"{way}_relative"] - 1) <= LINEAR for row in rows[unit:])
        for name in rows[unit]["codecs"]
        for way in WAYS
    }


# ---------------------------------------------------------------------------------------------------- parts


def speed_part(plan: Plan) -> Row:
    codecs, rows = in_turn(plan.ours(), plan.peers), []
    for name, pixels in zip(plan.names, plan.pictures):
        found = measure(codecs, [pixels], plan.repeat)
        rows.append({"picture": name, "raw_bytes": pixels.nbytes, "codecs": found})
        times = ", ".join(f"{codec} {row['encode_s']:.2f}/{row['decode_s']:.2f}" for codec, row in found.items())
        click.echo(f"{name}  encode/decode s: {times}")
    totals = summary(rows)
    click.echo(table(f"{len(rows)} pictures", totals, SPEEDS))
    return {"failures": sum(row["failures"] for row in totals.values()), "rows": rows, "summary": totals}


def batch_part(plan: Plan) -> Row:
    threads, codecs = max(plan.threads), {}
    for effort in plan.efforts:
        for device in plan.devices:
            for target, name in plan.named_targets():
                batch = our_batch(effort, device, threads, plan.model)
                codecs[f"vlae e{effort} {device}{name} batch"] = on_target(batch, target)
    if REFERENCE in plan.peers:
        codecs[REFERENCE] = side_by_side(plan.peers[REFERENCE])
        codecs[f"{REFERENCE} batch"] = side_by_side(plan.peers[REFERENCE], threads)
    totals = measure(codecs, plan.pictures, plan.repeat)
    click.echo(table(f"{len(plan.pictures)} pictures, {threads} threads", totals, SPEEDS))
    return {"failures": sum(row["failures"] for row in totals.values()), "threads": threads, "summary": totals}


def sizes_part(plan: Plan) -> Row:
    rows: list[Row] = []
    for size, shape in plan.sizes.items():
        made = of_size(plan.pictures, *shape)
        found = measure(in_turn(plan.ours(), {}), made, plan.repeat)
        for codec in found.values():
            codec |= {f"{way}_s": codec[f"{way}_s"] / len(made) for way in WAYS}  # of one
        rows.append({"size": size, "pictures": len(made), "pixels": prod(shape), "codecs": found})
    steady = with_costs(rows)
    for name in rows[0]["codecs"]:
        click.echo(table(name, {row["size"]: row["codecs"][name] for row in rows}, COSTS))
    click.echo(f"within {LINEAR:.0%} of {UNIT} a pixel from there on: {steady}")
    if plan.plot is not None:
        plot(rows, plan.plot)
    failures = sum(codec["failures"] for row in rows for codec in row["codecs"].values())
    return {"failures": failures, "rows": rows, "linear": steady}


def start_part(plan: Plan) -> Row:
    found, failures = start_up(of_size(plan.pictures, 256, 256)[0], plan.repeat, plan.shared())
    click.echo(table("start", found, {"s": ".2f", "MiB": ".0f", "torch": ""}))
    for name, row in found.items():
        click.echo(f"{name} imports {', '.join(row['imports'])}")
    return {"failures": failures, "commands": found}


def memory_part(plan: Plan) -> Row:
    rows, lost = {}, 0
    for size, shape in plan.sizes.items():
        found, failures = memory(of_size(plan.pictures, *shape)[0], plan.efforts[0], plan.shared())
        rows[size] = {f"{way}_{key}": value for way, row in found.items() for key, value in row.items()}
        lost += failures
    click.echo(table(f"processes, {max(plan.threads)} threads", rows, dict.fromkeys(rows[size], ".1f")))
    return {"failures": lost, "threads": max(plan.threads), "sizes": rows}


PARTS: dict[str, Callable[[Plan], Row]] = {
    "speed": speed_part,
    "batch": batch_part,
    "sizes": sizes_part,
    "start": start_part,
    "memory": memory_part,
}


def rounded(figures: Row) -> Row:
    """The figures as JSON has them, to five digits."""
    found: Row = json.loads(json.dumps(figures), parse_float=lambda digits: float(f"{float(digits):.5g}"))
    return found


def table(corner: str, rows: dict[str, Row], columns: dict[str, str]) -> str:
    """Rows of figures; columns: key -> format. What a row lacks is left blank."""
    lines = [[corner, *columns]]
    for name, row in rows.items():
        lines.append([name, *(format(row[key], form) if key in row else "" for key, form in columns.items())])
    first, *widths = (max(map(len, column)) for column in zip(*lines))
    return "\n".join("  ".join([line[0].ljust(first), *map(str.rjust, line[1:], widths)]) for line in lines)


def plot(rows: Sequence[Row], out: Path) -> None:
    """Seconds of a picture against megapixels, and what would be in proportion to the largest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4.2), layout="constrained")
    sizes = [row["pixels"] / 1e6 for row in rows]
    for i, name in enumerate(rows[0]["codecs"]):
        for way, style in zip(WAYS, ("o-", "s--")):
            seconds = [row["codecs"][name][f"{way}_s"] for row in rows]
            axes.loglog(sizes, seconds, style, color=f"C{i}", markersize=4, linewidth=1.2, label=f"{name} {way}")
    last = next(iter(rows[-1]["codecs"].values()))["encode_s"]
    axes.loglog(sizes, [last * size / sizes[-1] for size in sizes], ":", color="grey", label="in proportion")
    axes.set_xlabel("megapixels")
    axes.set_ylabel("seconds a picture")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(out, dpi=100)
    pyplot.close(figure)


# ---------------------------------------------------------------------------------------------------- command


def _tiles(context: click.Context, parameter: click.Parameter, value: str | None) -> list[int | None]:
    return [None] if value is None else [*_numbers(context, parameter, value)]


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    return [int(click.IntRange(min=1)(part, parameter, context)) for part in value.split(",")]


def _words(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="[default: all]")
@click.option("--threads", default=f"1,{cores()}" if cores() > 1 else "1", show_default=True, callback=_numbers)
@click.option("--device", "devices", default="cpu", show_default=True, callback=_words, help="Or several: cpu,cuda.")
@click.option("--effort", "efforts", default="1", show_default=True, callback=_numbers, help="Or several: 1,3.")
@click.option("--target", "targets", default="", callback=_words, help="Or several: amx,avx2.")
@click.option("--tile", "tiles", callback=_tiles, help="Or several: 256,512.  [default: as of compress]")
@click.option("--peers", "others", default=OTHERS, show_default=True, callback=_words)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many pictures.")
@click.option(
    "--largest",
    type=click.Choice(list(SIZES)),
    default="24 MP",
    show_default=True,
    help="The largest size that is measured.",
)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--model", help="Weight file or built-in name.")
@click.option("--label", default="", help="Appended to the parts' names in the JSON, for a run with other options.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all figures here, after each part.")
@click.option("--plot", "drawing", type=click.Path(path_type=Path), help="Draw seconds against sizes here.")
def main(
    pictures: tuple[Path, ...],
    parts: tuple[str, ...],
    threads: list[int],
    devices: list[str],
    efforts: list[int],
    targets: list[str],
    tiles: list[int | None],
    others: list[str],
    limit: int | None,
    largest: str,
    repeat: int,
    model: str | None,
    label: str,
    out: Path | None,
    drawing: Path | None,
) -> None:
    if unknown := set(others) - set(NAMES):
        raise click.UsageError(f"no such peers: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if max(efforts) > max(LEVELS):
        raise click.UsageError(f"the effort is at most {max(LEVELS)}")
    paths = listed(pictures)[:limit]
    loaded = [load(path).pixels for path in paths]
    if len({x.shape[2:] for x in loaded}) > 1:
        raise click.UsageError("give pictures of one mode, all colour or all grey")
    sizes = {name: shape for name, shape in SIZES.items() if prod(shape) <= prod(SIZES[largest])}
    names = [path.name for path in paths]
    targets = targets or [library.target()]
    plan = Plan(names, loaded, threads, devices, efforts, targets, peers(others), sizes, repeat, model, drawing, tiles)
    measure(in_turn(plan.ours(), plan.peers), of_size(loaded, 128, 128)[:1], 1)
    contents: Row = json.loads(out.read_text()) if out is not None and out.exists() else {}
    failures = 0
    for part in parts or PARTS:
        figures = PARTS[part](plan)
        failures += figures["failures"]
        contents[f"{part} {label}".strip()] = rounded({"made": machine(), **figures})
        if out is not None:
            write(out, contents)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
