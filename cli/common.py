"""Progress and errors of several commands. Both go to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlae_codec.adapter.effort import Fitting
from vlae_codec.errors import CorruptFile, ImageTooLarge, NotAVlaeFile, UnsupportedVersion

from .app import Failure


def say(text: str) -> None:
    click.echo(text, err=True)


def on_terminal() -> bool:
    """Whether somebody sees stderr as it is written; a service may have closed it."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def blame(source: str) -> Iterator[None]:
    """Put the name of the file before errors about what is in it."""
    try:
        yield
    except (NotAVlaeFile, UnsupportedVersion, CorruptFile, ImageTooLarge) as error:
        raise Failure(str(error) if source in str(error) else f"{source}: {error}") from error


class Bar:
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
        say(text)
        self.bar.refresh()


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Bar | None]:
    """A bar for people only: there is none with -q or when stderr is not a terminal."""
    if quiet or not on_terminal():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit="px", unit_scale=True, leave=False) as bar:
        yield Bar(label, bar)
