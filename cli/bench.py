"""``vlae-codec bench``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlae_codec import files
from vlae_codec.adapter.effort import DEFAULT, LEVELS

from .common import on_terminal

PROGRAM = "vlae-codec"


@click.command()
@click.argument("sources", metavar="DIR...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option(
    "--effort",
    "efforts",
    multiple=True,
    type=click.IntRange(min(LEVELS), max(LEVELS)),
    default=(1, DEFAULT),
    show_default=True,
    help="Effort of our models; may be given several times, like --model and --peer.",
)
@click.option(
    "--model",
    "models",
    metavar="PATH_OR_NAME",
    multiple=True,
    help="Weight file or name [default: a shipped one that fits].",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    type=click.Choice(["auto", "none"]),
    default=("auto",),
    show_default=True,
    help="As of compress; both for rows of both.",
)
@click.option(
    "--peer", "names", metavar="NAME", multiple=True, help="Another codec, such as png or jxl-e7 [default: all]."
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Our CPU threads [default: all]; the others have 1.",
)
@click.option("--first", type=click.IntRange(min=1), metavar="N", help="Take only the first N pictures.")
@click.option("--json", "as_json", type=click.Path(), metavar="OUT", help="Write all figures here, after each picture.")
@click.option("--html", type=click.Path(), metavar="OUT", help="Write a page with plots here.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the outputs if they exist.")
def bench(
    sources: tuple[str, ...],
    efforts: tuple[int, ...],
    models: tuple[str, ...],
    origins: tuple[str, ...],
    names: tuple[str, ...],
    threads: int | None,
    first: int | None,
    as_json: str | None,
    html: str | None,
    force: bool,
) -> None:
    """Compare our models with other codecs on the pictures DIR: folders, with their subfolders, or files.

    Every picture goes through PNG, WebP, JPEG 2000, JPEG-LS, JPEG XL (e3, e7, e9), QOI and AVIF, and comes back: a
    codec that loses one has no rate. The exit status is 1 if it was one of ours. The others are on one thread; they
    need the extra: pip install 'vlae-codec[bench]'.
    """
    from vlae_codec.bench import compare, page, peers, processes

    outputs = [files.check_output(out, force) for out in (as_json, html) if out is not None]
    if len(set(outputs)) < len(outputs):
        raise click.UsageError("--json and --html would be one file.")
    if html is not None:
        page.check_drawing()
    chosen = [name.lower().replace("-", " ") for name in names] or peers.NAMES
    if unknown := set(chosen) - set(peers.NAMES):
        raise click.UsageError(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peers.NAMES)}")
    others = compare.others(chosen)
    if not others:
        click.echo(compare.NO_PEERS, err=True)
    threads = threads or processes.cores()
    pictures, codecs = compare.named(sources, first), [*compare.ours(efforts, models, threads, origins), *others]

    def save(found: Any) -> None:
        if as_json is not None:
            files.write_file(as_json, json.dumps(found.contents(PROGRAM), indent=1).encode(), force=True)

    with _progress(len(pictures)) as watch:
        found = compare.compare(pictures, codecs, threads, watch, save)
    for reason in found.skipped:
        click.echo(f"skipped {reason}", err=True)
    for codec in codecs:
        for picture, why in compare.failures(found.rows, codec.name):
            click.echo(f"{codec.name} failed on {picture}: {why}", err=True)
    click.echo(f"{found.conditions()}\n\n{compare.table(found.summary())}")
    if html is not None:
        files.write_file(html, page.page(found.contents(PROGRAM), found.sample).encode(), force)
    raise SystemExit(1 if found.failed() else 0)


@contextmanager
def _progress(pictures: int) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr if that is a terminal: a function of the pictures done and of what is next."""
    if not on_terminal():
        yield lambda done, label: None
        return
    from tqdm import tqdm

    form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining} {desc}"
    with tqdm(total=pictures, bar_format=form, leave=False) as bar:

        def watch(done: float, label: str) -> None:
            bar.set_description_str(label, refresh=False)
            bar.update(done - bar.n)

        yield watch
