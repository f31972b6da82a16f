"""Options that several commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from vlae_codec.limits import DEFAULT, Limits

Command = Callable[..., Any]


class Number(click.ParamType):
    """A whole number, or one with k, M, G or T behind it, each `base` times the one before."""

    name = "number"

    def __init__(self, base: int) -> None:
        self.base = base

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d{1,18})(\.\d{1,9})?([kmgt]?)", str(value).lower())
        number = found and int(float(found[1] + (found[2] or "")) * self.base ** " kmgt".find(found[3] or " "))
        if not number:
            self.fail(f"{value!r} is no size: give a number above 0, such as 500000, 512M or 1.5G.", param, ctx)
        return number


class Size(click.ParamType):
    """WIDTHxHEIGHT."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", str(value))
        if found is None:
            self.fail(f"{value!r} is no size: give WIDTHxHEIGHT, such as 320x200.", param, ctx)
        return int(found[1]), int(found[2])


def add(command: Command, *options: Callable[[Command], Command]) -> Command:
    """The command with the options, which its help lists in this order."""
    for option in reversed(options):
        command = option(command)
    return command


threads = click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads [default: all].")


quiet = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no summary.")


def computing(model: str) -> Callable[[Command], Command]:
    """The options of all commands that run a model; model: which one without --model."""
    return lambda command: add(
        command,
        click.option("--model", metavar="PATH_OR_NAME", help=f"Weight file or name [default: {model}]."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where the networks run; the result is the same.",
        ),
        threads,
    )


def running(model: str) -> Callable[[Command], Command]:
    """The options of all commands that run a model and write a file; model: which one without --model."""
    force = click.option("-f", "--force", is_flag=True, help="Overwrite the output if it exists.")
    return lambda command: add(command, computing(model), force, quiet)


def limited(command: Command) -> Command:
    """Gives the command its `limits`."""

    @functools.wraps(command)
    def call(*args: Any, max_pixels: int, max_memory: int, **options: Any) -> Any:
        return command(*args, limits=Limits(pixels=max_pixels, memory=max_memory), **options)

    return add(
        call,
        click.option(
            "--max-pixels",
            type=Number(1000),
            metavar="N",
            default=DEFAULT.pixels,
            show_default=True,
            help="Refuse a file of more pixels; 500M is 500 million.",
        ),
        click.option(
            "--max-memory",
            type=Number(1024),
            metavar="SIZE",
            default=DEFAULT.memory,
            help=f"Refuse a file that takes more memory, in bytes; 4G is 4 GiB [default: {DEFAULT.memory >> 20}M].",
        ),
    )


def over_files(command: Command) -> Command:
    """Options of commands that take many files."""
    return add(
        command,
        click.option("-v", "--verbose", is_flag=True, help="Name the files that are skipped or left as they are."),
        click.option(
            "--jobs", type=click.IntRange(min=1), metavar="N", help="Files at a time [default: one for each thread]."
        ),
        click.option(
            "--fail-fast/--keep-going",
            default=False,
            help="Begin no more files after a failure, or go on with the others [default: go on].",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each file, one a line."),
        limited,
    )


def converting(command: Command) -> Command:
    """The arguments and options of both directions."""
    return add(
        command,
        click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=click.Path()),
        click.option(
            "-o",
            "--output",
            type=click.Path(),
            help="File to write, folder, or - for standard output [default: beside INPUT].",
        ),
        click.option("-c", "--stdout", "to_stdout", is_flag=True, help="Write to standard output, as -o - does."),
        running("a shipped one that fits"),
        click.option("--skip-existing", is_flag=True, help="Leave outputs that exist as they are."),
        click.option(
            "--newer", is_flag=True, help="Convert only what is newer than its output or has none, and overwrite that."
        ),
        click.option("--dry-run", is_flag=True, help="Print what would be made of which file, and do nothing."),
        click.option(
            "--remove-source",
            is_flag=True,
            help="Remove INPUT when the output, read back from the disk, gives all of it again.",
        ),
        click.option(
            "--accept-loss", is_flag=True, help="Let --remove-source remove what was not kept but for its samples."
        ),
        over_files,
    )


def testing(command: Command) -> Command:
    """The arguments and options of a command that decodes files and writes none."""
    argument = click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=click.Path())
    return add(command, argument, computing("that of each file"), quiet, over_files)


clustered = click.option(
    "--ray",
    metavar="ADDRESS",
    help="Spread the files over a Ray cluster: auto, local, ray://HOST:PORT. INPUT and OUTPUT may be URLs (s3://...), "
    "OUTPUT is a folder, and outputs that exist stay.",
)


def drawing(model: str) -> Callable[[Command], Command]:
    """The options of commands that draw pictures at random; model: which one without --model."""
    return lambda command: add(
        command,
        click.option("-o", "--output", required=True, type=click.Path(), help="Picture to write."),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            default=1,
            show_default=True,
            help="Seed of the random bits; the same seed gives the same picture on every machine.",
        ),
        running(model),
    )
