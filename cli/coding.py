"""``vlae-codec compress`` and ``vlae-codec decompress``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlae_codec import container, files
from vlae_codec.errors import CorruptFile, ImageTooLarge, NotAVlaeFile, UnsupportedVersion

from .app import Failure

Progress = Callable[[int, int], None]


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
    "--verify/--no-verify", default=True, show_default=True, help="Decode and compare before the file is written."
)
def compress(
    source: str,
    output: str,
    model: str | None,
    device: str,
    threads: int | None,
    verify: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Compress the picture INPUT (8-bit grey or RGB, or 1 bit) into a .vlae file."""
    from vlae_codec import api

    start = time.perf_counter()
    files.check_output(output, force, source)
    with _progress("compress", quiet) as progress:
        data = api.compress(source, model=model, device=device, threads=threads, verify=verify, progress=progress)
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
        with _progress("decompress", quiet) as progress:
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


@contextmanager
def _progress(label: str, quiet: bool) -> Iterator[Progress | None]:
    """A bar on stderr, for people only: none with -q or when stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit="px", unit_scale=True, leave=False) as bar:

        def report(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        yield report
