"""``vlae-codec test``."""

from __future__ import annotations

from typing import Any

import click

from .common import progress_bar
from .options import testing
from .running import expanded
from .summary import Direction, Reporter


@click.command()
@testing
def test(sources: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Decode the .vlae file INPUT and write nothing: exit status 0 says that all of it is good.

    INPUT may be several files, folders with all .vlae files in them and in their subfolders, or - for standard input.
    Each checksum is checked, each sample decoded, and of a file that holds one the very file is made.
    """
    from vlae_codec.jobs import batch

    with progress_bar("test", quiet) as bar:
        reporter = Reporter(Direction("test"), bar, quiet, verbose, as_json)
        done = batch.check_files(expanded(sources), **options, **reporter.options())
    reporter.conclude(done, None)
