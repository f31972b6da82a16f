"""Where the time goes, on one thread at effort 1, for a picture and for a mosaic of several megapixels.

    python -m bench.profile PICTURES... [--target NAME ...] [--megapixels 24] [--model NAME_OR_PATH] [--json OUT]

The first picture is coded as it is, then a mosaic of all (`bench.speed.of_size`), on each target (the best one, if none
is named). For each direction, from the picture file to the .vlae bytes and back, not verifying:

\b
start      a process's start and its imports: fresh processes
parts      functions of the package are replaced by ones that charge their time, less that of such functions
           inside them, to a part; all inside the choice of the mode counts there
kernels    what the core's loop does to pixels is told apart by its kernels, each timed alone on pixels of the
           first tile and scaled to the pixels coded (`bench.kernels`); the rest of the loop's time is what
           they do not explain: a wave's last rows that fill no block, and caches

Seconds are of the thread's own processor time, so that other work matters less. The exit status is 1 if a picture did
not come back.
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

from vlae_codec import api
from vlae_codec.coder import choice, streams, tile
from vlae_codec.coder.inference import Inference
from vlae_codec.format import container, stored
from vlae_codec.format.header import TILE_SIZE
from vlae_codec.images import image
from vlae_codec.native import ans, latents, library, mixture, pixels, waves
from vlae_codec.pictures import encode
from vlae_codec.pictures.codec import find_codec
from vlae_codec.pictures.modes import symbols_of, tile_of
from vlae_codec.weights import model

from . import kernels
from .effort import write
from .kernels import CODING, GATHER, LOCAL, per_pixel
from .peers import timed
from .processes import machine
from .rate import listed
from .speed import Row, of_size, rounded, table

PLAN, CHOICE, LOOP = "choice of the planes", "choice of the mode", "pixels"
UNEXPLAINED, REST = "pixels: not explained", "the rest"
ENCODER, TOPDOWN, PRIOR, POSTERIOR = "encoder network", "top-down network", "prior of latents", "posterior of latents"
FILE, BYTES, BITS = "picture file", "container, checksums", "costs of the symbols"

_START = """
import sys, time
begin = time.perf_counter()
from vlae_codec import api
from vlae_codec.coder import streams, tile
from vlae_codec.images import image
from vlae_codec.pictures import modes
from vlae_codec.weights import model
import vlae_codec.cli.compress
print(time.perf_counter() - begin)
"""


# ---------------------------------------------------------------------------------------------------- parts


class Watched(NamedTuple):
    """A function whose time counts as a part's (None: that of its caller), and what of its arguments is noted."""

    owner: Any
    name: str
    part: str | None
    note: Callable[..., int] | None = None  # pixels of a call


WATCHED = (
    Watched(image, "read", FILE),
    Watched(image, "save", FILE),
    Watched(model, "find_model", "weights: reading"),
    Watched(encode, "find_scale", PLAN),
    Watched(encode, "plan_planes", PLAN),
    Watched(Inference, "posterior_parameters", ENCODER),
    Watched(Inference, "context", TOPDOWN),
    Watched(latents, "prior_intervals", PRIOR),
    Watched(latents, "pop_prior", PRIOR),
    Watched(mixture, "intervals", POSTERIOR),
    Watched(mixture, "pop_rows", POSTERIOR),
    Watched(streams, "try_latents", CHOICE),
    Watched(streams, "choose_split", "choice of the split"),
    Watched(pixels.Pixels, "prepare", "pixels: preparing tiles"),
    Watched(pixels.Pixels, "_fill", LOOP, lambda *args: len(args[5])),
    Watched(pixels.Pixels, "pop", LOOP, lambda _, __, known, heights, *___: known[0].shape[1] * heights[0]),
    Watched(waves, "push_region", "ANS push"),
    Watched(tile.Ledger, "add", BITS),
    Watched(choice.Draft, "cost", BITS),
    Watched(stored, "smaller", "stored-tile check"),
    Watched(container, "write", BYTES),
    Watched(container, "read", BYTES),
    Watched(ans, "to_bytes", BYTES),
    Watched(ans, "from_bytes", BYTES),
    Watched(zlib, "crc32", BYTES),
)


class Stopwatch:
    """Seconds of each part, and pixels that went through the loop."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.coded = 0  # pixels that went through the loop
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
                self.coded += function.note(*args)
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


def start() -> dict[str, float]:
    """Seconds of a process until it codes, by the clock."""
    interpreter = min(timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True))[1] for _ in range(3))
    command = [sys.executable, "-c", _START]
    runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout for _ in range(3)]
    return {"interpreter": interpreter, "imports": min(map(float, runs))}


def profile(path: Path, codec: tile.TileCodec, weights: str | None) -> dict[str, Row]:
    """direction -> the parts of a picture file's way to .vlae bytes or back, and their totals."""
    options: Row = {"model": weights, "threads": 1}
    pixels = image.load(path).pixels
    first = tile_of(symbols_of(pixels)[:TILE_SIZE, :TILE_SIZE], codec.config["channels"])
    kernel = kernels.measure(codec, first, 1 if pixels.ndim == 2 else 3)
    with tempfile.TemporaryDirectory() as folder:
        back = Path(folder, "back.png")
        with watching() as watch:
            data, wall = timed(lambda: api.compress(path, verify=False, effort=1, **options))
        found = {"compress": figures(watch, wall, kernel["compress"])}
        with watching() as watch:
            _, wall = timed(lambda: image.save(back, api.decompress(data, **options)))
        found["decompress"] = figures(watch, wall, kernel["decompress"])
        failures = int(not np.array_equal(image.load(back).pixels, pixels))
    for row in found.values():
        row |= {"pixels": prod(pixels.shape[:2]), "failures": failures}
    return found


def figures(watch: Stopwatch, wall: float, kernel: dict[str, float]) -> Row:
    """Parts in seconds, those of the core's loop by its kernels; see `profile`."""
    parts = dict(watch.seconds)
    total, loop = sum(parts.values()), parts.pop(LOOP, 0.0)
    split = {name: kernel[name] * watch.coded for name in (GATHER, LOCAL, CODING)}
    parts |= {**split, UNEXPLAINED: loop - sum(split.values())}
    return {
        "parts": dict(sorted(parts.items(), key=lambda item: -item[1])),
        "total_s": total,
        "wall_s": wall,
        "loop_s": loop,
        "loop_explained_percent": 100 * sum(split.values()) / loop if loop else 100.0,
        "pixels_in_loop": watch.coded,
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
        f"of the core's loop over pixels, {row['loop_s']:.3f} s, its kernels explain "
        f"{row['loop_explained_percent']:.1f} %; by the clock, start-up excluded, {row['wall_s']:.3f} s\n"
    )


@click.command(help=__doc__)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--megapixels", type=click.FloatRange(min=0), default=24.0, show_default=True, help="0: no mosaic.")
@click.option("--model", "weights", help="Weight file or built-in name.")
@click.option("--target", "targets", multiple=True, help="A target of the core; several are shown one after another.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all figures here.")
def main(
    pictures: tuple[Path, ...], megapixels: float, weights: str | None, targets: tuple[str, ...], out: Path | None
) -> None:
    paths = listed(pictures)
    loaded = [image.load(path) for path in paths]
    codec, begin = find_codec(weights, None, "cpu", loaded[0].mode), start()
    contents: Row = {"made": machine(), "multiply_adds_per_pixel": per_pixel(codec.nets), "start": begin}
    contents["profiles"] = {}
    counts = ", ".join(f"{name} {count:,.0f}" for name, count in contents["multiply_adds_per_pixel"].items())
    click.echo(f"multiply-adds a pixel: {counts}\n")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        cases = {paths[0].name: paths[0]}
        if megapixels:
            height = round((megapixels * 1e6 * 2 / 3) ** 0.5)
            cases[f"{megapixels:g} MP"] = Path(folder, "mosaic.png")
            (mosaic,) = of_size([x.pixels for x in loaded], height, round(megapixels * 1e6 / height))
            Image.fromarray(mosaic).save(cases[f"{megapixels:g} MP"], compress_level=1)
        for target in targets or library.targets()[:1]:
            library.use(target)
            for name, path in cases.items():
                found = contents["profiles"][f"{target}, {name}"] = profile(path, codec, weights)
                for way, row in found.items():
                    show(f"{target}, {name}", way, row, begin)
                    failures += row["failures"]
                if out is not None:
                    write(out, rounded(contents))
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
