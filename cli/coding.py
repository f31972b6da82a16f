"""``vlae-codec compress`` and ``vlae-codec decompress``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlae_codec import container, files
from vlae_codec.effort import DEFAULT, LEVELS, Fitting
from vlae_codec.errors import CorruptFile, ImageTooLarge, NotAVlaeFile, UnsupportedVersion

from .app import Failure


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments that both directions share."""
    for decorate in (
        click.option("-q", "--quiet", is_flag=True, help="No progress and no summary."),
        click.option("-f", "--force", is_flag=True, help="Overwrite the output if it exists."),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads [default: all]."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where the networks run; the result is the same.",
        ),
        click.option("--model", metavar="PATH_OR_NAME", help="Weight file or name [default: a shipped one that fits]."),
        click.option("-o", "--output", required=True, type=click.Path(), help="File to write."),
        click.argument("source", metavar="INPUT", type=click.Path()),
    ):
        command = decorate(command)
    return command


@click.command()
@_options
@click.option(
    "--effort",
    type=click.IntRange(min(LEVELS), max(LEVELS)),
    default=DEFAULT,
    show_default=True,
    help="How long to adapt the model to the picture: smaller files for more time; reading them takes no longer.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the random numbers that adapting begins with.",
)
@click.option(
    "--verify/--no-verify", default=True, show_default=True, help="Decode and compare before the file is written."
)
def compress(
    source: str,
    output: str,
    model: str | None,
    device: str,
    threads: int | None,
    effort: int,
    seed: int,
    verify: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Compress the picture INPUT (8-bit grey or RGB, or 1 bit) into a .vlae file.

    Above effort 1 the local network is fitted to the picture and its change stored with it, if that makes the file
    smaller. For two Kodak pictures level 3 took 2 times as long as level 1 and saved 4.6 %, level 5 took 5.5 times
    (7.3 %), level 9 took 31 times (8.8 %): the README has the table and its command.
    """
    from vlae_codec import api

    start = time.perf_counter()
    files.check_output(output, force, source)
    with _progress("compress", quiet) as bar:
        data = api.compress(
            source,
            model=model,
            effort=effort,
            seed=seed,
            device=device,
            threads=threads,
            verify=verify,
            progress=bar.report if bar else None,
            watch=bar.watch if bar else None,
        )
    files.write_file(output, data, force)
    if not quiet:
        _summarise(output, container.read_header(data), len(data), start)


@click.command()
@_options
def decompress(
    source: str, output: str, model: str | None, device: str, threads: int | None, force: bool, quiet: bool
) -> None:
    """Bring back the picture of the .vlae file INPUT; OUTPUT is .png, .tif, .webp, .ppm, .pgm or .pbm."""
    from vlae_codec import api, image

    start = time.perf_counter()
    image.output_format(output)
    files.check_output(output, force, source)
    data = files.read_file(source)
    with blame(source):
        header = container.read_header(data)
        image.output_format(output, header.mode)
        with _progress("decompress", quiet) as bar:
            progress = bar.report if bar else None
            picture = api.decompress_picture(data, model=model, device=device, threads=threads, progress=progress)
    image.save(output, picture.pixels, picture.metadata, force)
    if not quiet:
        _summarise(output, header, len(data), start)


@contextmanager
def blame(source: str) -> Iterator[None]:
    """Put the name of the file before errors about what is in it."""
    try:
        yield
    except (NotAVlaeFile, UnsupportedVersion, CorruptFile, ImageTooLarge) as error:
        raise Failure(f"{source}: {error}") from error


def _summarise(output: str, header: container.Header, size: int, start: float) -> None:
    click.echo(
        f"{output}: {header.width}x{header.height} {header.mode}, {header.subpixels} samples <-> {size} bytes, "
        f"{8 * size / header.subpixels:.3f} bpsp, {header.subpixels / size:.2f}:1, {time.perf_counter() - start:.1f} s",
        err=True,
    )


class _Bar:
    """A progress bar: of pixels, and of the fit between two stages of these."""

    def __init__(self, label: str, bar: Any) -> None:
        self.label, self.bar = label, bar

    def report(self, done: int, total: int) -> None:
        self.bar.set_description_str(self.label, refresh=False)
        self.bar.total, self.bar.n = total, done
        self.bar.refresh()

    def watch(self, fitting: Fitting) -> None:
        self.bar.set_description_str(f"adapt {fitting.done:.0%}", refresh=False)
        saving = f"{fitting.now:.3f} bpsp, {fitting.now / fitting.before - 1:+.1%}"
        self.bar.set_postfix_str(saving)


@contextmanager
def _progress(label: str, quiet: bool) -> Iterator[_Bar | None]:
    """A bar on stderr, for people only: none with -q or when stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit="px", unit_scale=True, leave=False) as bar:
        yield _Bar(label, bar)
