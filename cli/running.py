"""What compress, decompress and test have in common: from their options to a run over files, and its report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from .app import Failure
from .common import progress_bar
from .summary import Direction, Reporter

FILES_ONLY = ("skip_existing", "newer", "remove_source", "dry_run")


class Places(NamedTuple):
    """Which files are converted, and where to."""

    sources: Sequence[str]
    output: str | None  # None: beside them; "-": standard output
    folder: bool  # the output is a folder, or there is none

    @property
    def to_stdout(self) -> bool:
        return self.output == "-"


def places_of(sources: Sequence[str], output: str | None, to_stdout: bool) -> Places:
    """What the arguments mean. Raises UsageError."""
    from vlae_codec.jobs.plan import into_folder

    if to_stdout and output not in (None, "-"):
        raise click.UsageError("--stdout and --output exclude each other.")
    sources = expanded(sources)
    if to_stdout or (output is None and "-" in sources):
        output = "-"
    return Places(sources, output, output is None or into_folder(sources, output))


def expanded(sources: Sequence[str]) -> Sequence[str]:
    """The sources; on Windows, whose shell does not, patterns are replaced by what they match."""
    if os.name != "nt":
        return sources
    from vlae_codec.jobs.names import expand

    return expand(sources)


def run_files(
    function: Callable[..., Any],
    direction: Direction,
    places: Places,
    *,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Calls a function of `jobs.batch` and reports what became of all files: on stderr, and on stdout with --json.

    Raises UsageError, Failure if a file failed, and ends with the status `SALVAGED` where something was lost.
    """
    _check(places, as_json, options)
    with progress_bar(direction.verb, quiet) as bar:
        reporter = Reporter(direction, bar, quiet, verbose, as_json)
        options |= {"folder": places.folder, **reporter.options()}
        done = function(places.sources, places.output, **options)
    reporter.conclude(done, places.output)


def _check(places: Places, as_json: bool, options: dict[str, Any]) -> None:
    if options["skip_existing"] and options["newer"]:
        raise click.UsageError("--skip-existing and --newer exclude each other.")
    if options["accept_loss"] and not options["remove_source"]:
        raise click.UsageError("--accept-loss is for --remove-source.")
    if not places.to_stdout:
        return
    given = [f"--{name.replace('_', '-')}" for name in FILES_ONLY if options[name]] + ["--json"] * as_json
    if given:
        raise click.UsageError(f"{given[0]} is not for standard output.")
    if sys.stdout is not None and sys.stdout.isatty() and not options["force"]:
        raise Failure("standard output is a terminal: give -o FILE, or > FILE, or --force")
