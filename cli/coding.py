"""``vlae-codec compress`` and ``vlae-codec decompress``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlae_codec import files
from vlae_codec.adapter.effort import DEFAULT, LEVELS, Fitting
from vlae_codec.errors import CorruptFile, ImageTooLarge, NotAVlaeFile, UnsupportedVersion
from vlae_codec.format import container
from vlae_codec.jobs import plan

from .app import Failure

FORMATS = ("png", "tif", "webp", "ppm", "pgm", "pbm", "pnm")


def running(command: Callable[..., Any], model: str) -> Callable[..., Any]:
    """The options of all commands that run a model and write a file; model: which one without --model."""
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
        click.option("--model", metavar="PATH_OR_NAME", help=f"Weight file or name [default: {model}]."),
    ):
        command = decorate(command)
    return command


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments that both directions share."""
    output = click.option("-o", "--output", required=True, type=click.Path(), help="File to write, or folder.")
    sources = click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=click.Path())
    return sources(output(running(command, "a shipped one that fits")))


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
    sources: tuple[str, ...],
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

    Several pictures, and folders with all pictures in them and in their subfolders, go into the folder OUTPUT, each
    into a file of its own. Hidden files, and files in folders that are not named like pictures, are left out. Those
    that fail are listed at the end; the others are done all the same.

    Above effort 1 the local network is fitted to the picture and its change stored with it, if that makes the file
    smaller. For two Kodak pictures level 3 took 2.6 times as long as level 1 and saved 4.6 %, level 5 took 12 times
    (7.3 %), level 9 took 70 times (8.9 %): the README has the table and its command.
    """
    start = time.perf_counter()
    options: dict[str, Any] = {"model": model, "effort": effort, "seed": seed, "device": device, "threads": threads}
    options["verify"] = verify
    if plan.into_folder(sources, output):
        from vlae_codec.jobs import batch

        with progress_bar("compress", quiet) as bar:
            report = _Reporter(bar, quiet)
            done = batch.compress_files(sources, output, force=force, **options, **report.options())
        _conclude(done, output, quiet, start)
        return
    from vlae_codec import api

    (source,) = sources
    files.check_output(output, force, source)
    with progress_bar("compress", quiet) as bar:
        progress, watch = (bar.report, bar.watch) if bar else (None, None)
        data = api.compress(source, progress=progress, watch=watch, **options)
    files.write_file(output, data, force)
    if not quiet:
        click.echo(_summary(output, container.read_header(data), len(data), time.perf_counter() - start), err=True)


@click.command()
@_options
@click.option("--region", type=int, nargs=4, metavar="X Y W H", help="Only this part of the picture, in pixels.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Of the pictures in a folder [default: png].")
def decompress(
    sources: tuple[str, ...],
    output: str,
    region: tuple[int, int, int, int] | None,
    kind: str | None,
    model: str | None,
    device: str,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Bring back the picture of the .vlae file INPUT; OUTPUT is .png, .tif, .webp, .ppm, .pgm or .pbm.

    Several files, and folders with all .vlae files in them and in their subfolders, go into the folder OUTPUT, in the
    format that --format says. Of a region only the tiles that it touches are decoded; damage in others does no harm.
    """
    from vlae_codec.pictures import image

    start = time.perf_counter()
    options: dict[str, Any] = {"model": model, "device": device, "threads": threads}
    if plan.into_folder(sources, output):
        from vlae_codec.jobs import batch

        if region is not None:
            raise click.UsageError("--region is for one INPUT and an OUTPUT that is a file.")
        with progress_bar("decompress", quiet) as bar:
            report = _Reporter(bar, quiet)
            options["suffix"] = f".{kind or 'png'}"
            done = batch.decompress_files(sources, output, force=force, **options, **report.options())
        _conclude(done, output, quiet, start)
        return
    from vlae_codec import api

    if kind is not None:
        raise click.UsageError("--format is for an OUTPUT that is a folder; the name of a file says its format.")
    (source,) = sources
    image.output_format(output)
    files.check_output(output, force, source)
    data = files.read_file(source)
    with blame(source):
        header = container.read_header(data)
        image.output_format(output, header.mode)
        with progress_bar("decompress", quiet) as bar:
            progress = bar.report if bar else None
            picture = api.decompress_picture(data, region=region, progress=progress, **options)
    image.save(output, picture.pixels, picture.metadata, force)
    seconds = time.perf_counter() - start
    if not quiet:
        summary = _summary(output, header, len(data), seconds)
        if region is not None:
            whole = f"{header.width}x{header.height} {header.mode}"
            summary = f"{output}: {region[2]}x{region[3]} at x={region[0]}, y={region[1]} of {whole}, {seconds:.1f} s"
        click.echo(summary, err=True)


@contextmanager
def blame(source: str) -> Iterator[None]:
    """Put the name of the file before errors about what is in it."""
    try:
        yield
    except (NotAVlaeFile, UnsupportedVersion, CorruptFile, ImageTooLarge) as error:
        raise Failure(f"{source}: {error}") from error


def _summary(output: str, header: container.Header, size: int, seconds: float) -> str:
    picture = f"{header.width}x{header.height} {header.mode}"
    return f"{output}: {picture}, {_sizes(header.subpixels, size)}, {seconds:.1f} s"


def _sizes(subpixels: int, size: int) -> str:
    return f"{subpixels} samples <-> {size} bytes, {8 * size / subpixels:.3f} bpsp, {subpixels / size:.2f}:1"


class _Bar:
    """A progress bar: of pixels, and of the fit between two stages of these."""

    def __init__(self, label: str, bar: Any) -> None:
        self.label, self.bar = label, bar

    def report(self, done: int, total: int) -> None:
        self.bar.set_description_str(self.label, refresh=False)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def watch(self, fitting: Fitting) -> None:
        self.bar.set_description_str(f"adapt {fitting.done:.0%}", refresh=False)
        saving = f"{fitting.now:.3f} bpsp, {fitting.now / fitting.before - 1:+.1%}"
        self.bar.set_postfix_str(saving)

    def line(self, text: str) -> None:
        """A line above the bar."""
        self.bar.clear()
        click.echo(text, err=True)
        self.bar.refresh()


class _Reporter:
    """A line for each file, above the bar if there is one; those that failed have theirs at the end."""

    def __init__(self, bar: _Bar | None, quiet: bool) -> None:
        self.bar, self.quiet = bar, quiet

    def options(self) -> dict[str, Any]:
        return {"progress": self.bar and self.bar.report, "report": None if self.quiet else self.report}

    def report(self, outcome: Any) -> None:
        if outcome.header is not None:
            text = _summary(str(outcome.output), outcome.header, outcome.size, outcome.seconds)
            self.bar.line(text) if self.bar else click.echo(text, err=True)


def _conclude(done: Any, output: str, quiet: bool, start: float) -> None:
    """The summary, and what failed; exit status 1 if anything did."""
    if not quiet and len(done.outcomes) > 1 and done.pictures:
        sizes = _sizes(done.subpixels, done.size)
        click.echo(f"{output}: {done.pictures} pictures, {sizes}, {time.perf_counter() - start:.1f} s", err=True)
    if not quiet and done.skipped:
        kinds = ", ".join(sorted({path.suffix.lower() or "no ending" for path in done.skipped}))
        click.echo(f"skipped {len(done.skipped)} other files ({kinds})", err=True)
    for problem in done.problems:
        Failure(problem).show()
    if done.problems:
        raise Failure(f"{len(done.problems)} of {len(done.outcomes)} failed")


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[_Bar | None]:
    """A bar on stderr, for people only: none with -q or when stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit="px", unit_scale=True, leave=False) as bar:
        yield _Bar(label, bar)
