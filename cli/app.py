"""The command group, and what becomes of errors, signals and broken streams.

Commands are imported when they are called, so that ``info`` never waits for torch. Every failure is one line on stderr
and exit status 1, an interrupt is status 130, a reader of stdout that has gone is status 141 and no line;
VLAE_CODEC_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

from vlae_codec import __version__
from vlae_codec.errors import VlaeError, out_of_memory

CLOSED = 128 + 13  # the status of a program that SIGPIPE ends
# name -> (module, the command in it, line of help): listing the commands imports none of them.
_COMMANDS = {
    "archive": ("vlae_codec.cli.archive", "archive", "Put many pictures into one file, and bring them back."),
    "bench": ("vlae_codec.cli.bench", "bench", "Compare the models with other codecs on your pictures."),
    "completion": ("vlae_codec.cli.completion", "completion", "Print what makes a shell complete commands and names."),
    "compress": ("vlae_codec.cli.compress", "compress", "Compress a picture into a .vlae file."),
    "decompress": ("vlae_codec.cli.decompress", "decompress", "Bring back the picture of a .vlae file."),
    "info": ("vlae_codec.cli.info", "info", "Say what a .vlae file holds."),
    "man": ("vlae_codec.cli.man", "man", "Print the manual page."),
    "models": ("vlae_codec.cli.models", "models", "List the models at hand."),
    "preview": ("vlae_codec.cli.preview", "preview", "Show what the latents of a .vlae file say."),
    "sample": ("vlae_codec.cli.sample", "sample", "Draw new pictures from a model."),
    "test": ("vlae_codec.cli.test", "test", "Decode .vlae files and write nothing."),
    "thumbnail": ("vlae_codec.cli.thumbnail", "thumbnail", "Write a small picture of a .vlae file."),
    "train": ("vlae_codec.cli.train", "train", "Train a model on your own pictures."),
    "view": ("vlae_codec.cli.view", "view", "Show .vlae files in the browser."),
}


class Failure(click.ClickException):
    """One line on stderr and exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {' '.join(self.message.split())}", file=file, err=True)


class Interrupted(Failure):
    """Ctrl-C."""

    exit_code = 128 + signal.SIGINT


class Closed(click.ClickException):
    """Nobody reads stdout any more, as in a pipe into head: there is nothing to say."""

    exit_code = CLOSED

    def __init__(self) -> None:
        super().__init__("")

    def show(self, file: IO[Any] | None = None) -> None:
        pass


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for, and ends the process with one line whatever goes wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # click would make status 1 of it
            raise Interrupted("interrupted") from error
        except BrokenPipeError as error:  # likewise
            raise Closed from error

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as error:  # of --help
            raise Closed from error

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        run: Callable[..., Any] = super().main
        extra.setdefault("windows_expand_args", False)  # `running.expanded` does it for names of files only
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        _hold_descriptors()
        status = 1
        try:
            with _ended_by_signals():
                status = run(*args, standalone_mode=False, **extra) or 0
        except Exception as error:
            failure = _failure(error)
            if os.environ.get("VLAE_CODEC_DEBUG") and failure is not error:
                traceback.print_exc()
            with suppress(OSError):
                failure.show()
            status = failure.exit_code
        finally:
            lost = _end_streams()
        sys.exit(status or lost)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vlae-codec")
def main() -> None:
    """Lossless image compression with a variational lossy autoencoder and bits-back ANS."""


def _failure(error: Exception) -> click.ClickException:
    """The line and the status for an error."""
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, click.Abort):  # an interrupt before the command began
        return Interrupted("interrupted")
    if isinstance(error, VlaeError):
        return Failure(str(error))
    if isinstance(error, MemoryError):
        return Failure(out_of_memory(error))
    if isinstance(error, OSError):  # of files it would be a VlaeError
        where = error.filename or "the standard output or error stream"
        return Failure(f"cannot read or write {where} ({error.strerror or error})")
    return Failure(
        f"unexpected error ({type(error).__name__}: {error}): please report it with this command; "
        "VLAE_CODEC_DEBUG=1 shows where it comes from"
    )


def _hold_descriptors() -> None:
    """Streams that the caller closed: no file may get their numbers, since a library's messages would go into it.

    Without stdout what is written to it fails; without stderr there are no messages (Python's own choice).
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
            pass
        os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115


def _end_streams() -> int:
    """Writes what the streams hold back; the status if one cannot, which then lets go of it, so that Python is silent,
    too.
    """
    lost = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            lost = CLOSED if isinstance(error, BrokenPipeError) else 1
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    return lost


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process as an interrupt does, so that temporary files are removed."""

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise SystemExit(128 + number)

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    mine = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores one
    for number in mine:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
