"""Where the time goes, on one thread at effort 1, for a picture and for a mosaic of several megapixels.

    python -m bench.profile PICTURES... [--megapixels 24] [--model NAME_OR_PATH] [--json OUT]

The first picture is coded as it is, then a mosaic of all (`bench.speed.of_size`). For each direction, from the picture
file to the .vlae bytes and back, not verifying:

\b
start      a process's start, its imports, and the compiled loops' way out of their cache: fresh processes
parts      functions of the package are replaced by ones that charge their time, less that of such functions
           inside them, to a part; all inside the choice of the mode counts there
kernels    what one compiled loop does to pixels is told apart by its kernels, each timed alone on pixels of the
           first tile and scaled to the pixels coded, the network's to its runs (`bench.kernels`); the rest of
           the loop's time is what they do not explain

Seconds are of the thread's own processor time, so that other work matters less. The floor of a network is its
multiply-adds, with those that fill up panels and rows, over the rate of the bare product on the local network's own
weights in the same run. The exit status is 1 if a picture did not come back.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import numpy as np
from PIL import Image

from vlae_codec import (
    ans,
    api,
    container,
    image,
    latents,
    model,
    network,
    pixels,
    single,
    stored,
    streams,
    tables,
    tile,
    waves,
)
from vlae_codec.inference import Inference
from vlae_codec.modes import find_codec, tile_of
from vlae_codec.simd import ROWS

from . import kernels
from .effort import write
from .kernels import CODING, GATHER, LOCAL, blocks, multiply_adds, of_a_cell, per_pixel, product_rate, wave_blocks
from .peers import timed
from .processes import machine
from .rate import listed
from .speed import Row, of_size, rounded, table

CHOICE, LOOP = "choice of the mode", "pixels"
UNEXPLAINED, REST = "pixels: not explained", "the rest"
ENCODER, TOPDOWN, PRIOR, POSTERIOR = "encoder network", "top-down network", "prior of latents", "posterior of latents"
FILE, BYTES, BITS = "picture file", "container, checksums", "bits of the symbols"

_START = """
import sys, time
begin = time.perf_counter()
from vlae_codec import api, image, model, modes, streams, tile
import vlae_codec.cli.coding
imported = time.perf_counter()
way, path, weights = sys.argv[1:]
source, spent = path if way == "compress" else open(path, "rb").read(), []
for _ in range(3):
    call = time.perf_counter()
    if way == "compress":
        api.compress(source, effort=1, threads=1, verify=False, model=weights or None)
    else:
        api.decompress(source, threads=1, model=weights or None)
    spent.append(time.perf_counter() - call)
print(imported - begin, spent[0] - min(spent[1:]))
"""


# ---------------------------------------------------------------------------------------------------- parts


class Watched(NamedTuple):
    """A function whose time counts as a part's (None: that of its caller), and what of its arguments is noted."""

    owner: Any
    name: str
    part: str | None
    note: Callable[..., tuple[Any, ...]] | None = None


def pop_note(setting: Any, x: Any, width: int, channels: int, context: Any, first: int, last: int, *_: Any) -> Any:
    """(pixels, the band's (height, width, slope))."""
    return (last - first) * width, (last - first, width, setting.wide // 2 + 1)


WATCHED = (
    Watched(image, "load", FILE),
    Watched(image, "save", FILE),
    Watched(model, "find_model", "weights: reading"),
    Watched(Inference, "__init__", "weights: packing"),
    Watched(Inference, "posterior_parameters", ENCODER),
    Watched(Inference, "context", TOPDOWN),
    Watched(network, "run", None, lambda net, which, rows, *_: (multiply_adds(net, which), blocks(len(rows)))),
    Watched(latents, "prior_intervals", PRIOR, lambda prior, z, *_: (of_a_cell(prior), blocks(z[..., 0].size))),
    Watched(latents, "pop_prior", PRIOR, lambda prior, z, *_: (of_a_cell(prior), (*z.shape[:2], prior.slope))),
    Watched(tables, "intervals", POSTERIOR),
    Watched(tables, "pop_rows", POSTERIOR),
    Watched(streams, "try_latents", CHOICE),
    Watched(streams, "choose_split", "choice of the split"),
    Watched(pixels.Pixels, "prepare", "pixels: preparing tiles"),
    Watched(pixels, "band_intervals", LOOP, lambda *args: (len(args[5]), blocks(len(args[5])))),
    Watched(pixels, "pop_band", LOOP, pop_note),
    Watched(waves, "push_region", "ANS push"),
    Watched(tile.Ledger, "add", BITS),
    Watched(streams.Draft, "bits", BITS),
    Watched(stored, "smaller", "stored-tile check"),
    Watched(container, "write", BYTES),
    Watched(container, "read", BYTES),
    Watched(ans, "to_bytes", BYTES),
    Watched(ans, "from_bytes", BYTES),
    Watched(zlib, "crc32", BYTES),
)


class Stopwatch:
    """Seconds of each part, and the notes of its calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.notes: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.part, self.since = REST, time.thread_time()

    def charge(self, part: str) -> str:
        """What passed since the last time goes to the part at hand, which is returned; from here on it is another."""
        now, before = time.thread_time(), self.part
        self.seconds[before] += now - self.since
        self.part, self.since = part, now
        return before

    def watched(self, function: Watched) -> Callable[..., Any]:
        call = getattr(function.owner, function.name)

        def run(*args: Any, **kwargs: Any) -> Any:
            if self.part == CHOICE:
                return call(*args, **kwargs)
            before = self.charge(function.part or self.part)
            if function.note is not None:
                self.notes[self.part].append(function.note(*args))
            try:
                return call(*args, **kwargs)
            finally:
                self.charge(before)

        return run


@contextmanager
def watching() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    with ExitStack() as stack:
        for function in WATCHED:
            stack.enter_context(patch.object(function.owner, function.name, watch.watched(function)))
        yield watch
        watch.charge(REST)


# ---------------------------------------------------------------------------------------------------- profiles


def start(pixels: np.ndarray, weights: str | None) -> dict[str, dict[str, float]]:
    """direction -> seconds of a process until it codes, by the clock; pixels: a small picture that has latents."""
    interpreter = min(timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True))[1] for _ in range(3))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        picture, file = Path(folder, "a.png"), Path(folder, "a.vlae")
        Image.fromarray(pixels).save(picture)
        file.write_bytes(api.compress(pixels, effort=1, model=weights))
        for way, path in (("compress", picture), ("decompress", file)):
            command = [sys.executable, "-c", _START, way, str(path), weights or ""]
            runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout for _ in range(3)]
            imports, loops = (min(column) for column in zip(*(map(float, run.split()) for run in runs)))
            found[way] = {"interpreter": interpreter, "imports": imports, "compiled loops": max(loops, 0.0)}
    return found


def profile(path: Path, codec: tile.TileCodec, weights: str | None, rate: float) -> dict[str, Row]:
    """direction -> the parts of a picture file's way to .vlae bytes or back, their totals, and the networks' floors."""
    options: Row = {"model": weights, "threads": 1}
    pixels = image.load(path).pixels
    first = tile_of(pixels[: single.TILE_SIZE, : single.TILE_SIZE], codec.config["channels"])
    kernel = kernels.measure(codec, first, 1 if pixels.ndim == 2 else 3)
    with tempfile.TemporaryDirectory() as folder:
        back = Path(folder, "back.png")
        with watching() as watch:
            data, wall = timed(lambda: api.compress(path, verify=False, effort=1, **options))
        found = {"compress": figures(watch, wall, kernel["compress"], codec, rate)}
        with watching() as watch:
            _, wall = timed(lambda: image.save(back, api.decompress(data, **options)))
        found["decompress"] = figures(watch, wall, kernel["decompress"], codec, rate)
        failures = int(not np.array_equal(image.load(back).pixels, pixels))
    for row in found.values():
        row |= {"pixels": prod(pixels.shape[:2]), "failures": failures}
    return found


def runs(shape: Any) -> int:
    """Runs of a network for a number of them, or for a (height, width, slope) in waves."""
    return wave_blocks(*shape) if isinstance(shape, tuple) else int(shape)


def figures(watch: Stopwatch, wall: float, kernel: dict[str, float], codec: tile.TileCodec, rate: float) -> Row:
    """Parts in seconds, those of the compiled loop by its kernels; see `profile`."""
    parts = dict(watch.seconds)
    total, loop = sum(parts.values()), parts.pop(LOOP, 0.0)
    coded = sum(count for count, _ in watch.notes[LOOP])
    work = [(multiply_adds(codec.nets.pixels.setting.net, 0), shape) for _, shape in watch.notes[LOOP]]
    local_runs = sum(runs(shape) for _, shape in work)
    split = {GATHER: kernel[GATHER] * coded, LOCAL: kernel[LOCAL] * local_runs, CODING: kernel[CODING] * coded}
    parts |= {**split, UNEXPLAINED: loop - sum(split.values())}
    floors = {}
    for name, notes in ((LOCAL, work), *((name, watch.notes[name]) for name in (ENCODER, TOPDOWN, PRIOR))):
        if notes:
            operations = sum(one * ROWS * runs(shape) for one, shape in notes)
            floors[name] = {"multiply_adds": operations, "floor_s": operations / rate, "s": parts[name]}
    unknown = parts.get(REST, 0.0) + abs(parts[UNEXPLAINED])
    return {
        "parts": dict(sorted(parts.items(), key=lambda item: -item[1])),
        "total_s": total,
        "wall_s": wall,
        "explained_percent": 100 * (1 - unknown / total),
        "loop_s": loop,
        "loop_explained_percent": 100 * sum(split.values()) / loop if loop else 100.0,
        "pixels_in_loop": coded,
        "floors": floors,
    }


def show(name: str, way: str, row: Row, begin: dict[str, float]) -> None:
    total = row["total_s"] + sum(begin.values())
    listed = {**{f"start: {key}": value for key, value in begin.items()}, **row["parts"], "total": total}
    parts = {
        key: {"s": value, "percent": 100 * value / total, "ns/pixel": 1e9 * value / row["pixels"]}
        for key, value in listed.items()
    }
    click.echo(table(f"{name}, {way}", parts, {"s": ".4f", "percent": ".1f", "ns/pixel": ".0f"}))
    click.echo(
        f"explained {row['explained_percent']:.1f} % (of the compiled loop over pixels, {row['loop_s']:.3f} s, "
        f"{row['loop_explained_percent']:.1f} %); by the clock, start-up excluded, {row['wall_s']:.3f} s"
    )
    floors = {key: {**found, "times": found["s"] / found["floor_s"]} for key, found in row["floors"].items()}
    click.echo(table("floor", floors, {"multiply_adds": ".3e", "floor_s": ".4f", "s": ".4f", "times": ".2f"}) + "\n")


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--megapixels", type=click.FloatRange(min=0), default=24.0, show_default=True, help="0: no mosaic.")
@click.option("--model", "weights", help="Weight file or built-in name.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all figures here.")
def main(pictures: tuple[Path, ...], megapixels: float, weights: str | None, out: Path | None) -> None:
    paths = listed(pictures)
    loaded = [image.load(path) for path in paths]
    codec = find_codec(weights, None, "cpu", loaded[0].mode)
    small = of_size([x.pixels for x in loaded], 256, 256)[0]
    begin = start(small, weights)
    rate = product_rate(codec.nets.pixels.setting.net)
    contents: Row = {"made": machine(), "GMACps": rate / 1e9, "multiply_adds_per_pixel": per_pixel(codec.nets)}
    contents |= {"start": begin, "profiles": {}}
    click.echo(table("multiply-adds a pixel", contents["multiply_adds_per_pixel"], {"layers": ",.0f", "run": ",.0f"}))
    click.echo(f"the bare product: {rate / 1e9:.1f} G multiply-adds a second\n")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        cases = {paths[0].name: paths[0]}
        if megapixels:
            height = round((megapixels * 1e6 * 2 / 3) ** 0.5)
            cases[f"{megapixels:g} MP"] = Path(folder, "mosaic.png")
            (mosaic,) = of_size([x.pixels for x in loaded], height, round(megapixels * 1e6 / height))
            Image.fromarray(mosaic).save(cases[f"{megapixels:g} MP"], compress_level=1)
        for name, path in cases.items():
            found = contents["profiles"][name] = profile(path, codec, weights, rate)
            for way, row in found.items():
                show(name, way, row, begin[way])
                failures += row["failures"]
            if out is not None:
                write(out, rounded(contents))
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
