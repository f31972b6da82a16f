"""Kills runs that make an archive, or add to one, and looks at what is left.

    python -m bench.archive_faults [--kills N] [--seed N]

Each run is a process of its own that is killed (SIGKILL) at a random moment of the time that a whole run takes, or a
little later. After `create` there must be the archive that was there before, whole, or the new one, whole; after
`append` the old members, or these and all new ones. Every member is decoded and compared, and the next run goes on from
what is left. The pictures are tiny.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from vlae_codec import api
from vlae_codec.errors import VlaeError

RESET = 20  # appends after which the archive is small again
Pictures = dict[str, np.ndarray]


def pictures(first: int, count: int) -> Pictures:
    """Tiny ones by their names, all different."""
    found = {}
    for i in range(first, first + count):
        noise = np.random.default_rng(i).integers(0, 256, (6, 7, 3), np.uint8)
        found[f"folder {i % 3}/{i}.png"] = noise
    return found


def killed(work: Callable[[], Any], seconds: float) -> bool:
    """Whether a process that does the work was killed after so many seconds, before it had ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise click.ClickException("a run failed by itself")
    return os.WIFSIGNALED(status)


def held(path: Path, options: dict[str, Any]) -> Pictures:
    """All members, decoded."""
    with api.open_archive(path, **{key: options[key] for key in ("model", "threads")}) as archive:
        return {member.name: member.pixels for member in archive}


def same(found: Pictures, wanted: Pictures) -> bool:
    return list(found) == list(wanted) and all(np.array_equal(found[name], wanted[name]) for name in wanted)


class Count:
    """What became of the runs."""

    def __init__(self) -> None:
        self.killed = self.old = self.new = self.bad = 0

    def add(self, was_killed: bool, path: Path, options: dict[str, Any], old: Pictures, new: Pictures) -> None:
        self.killed += was_killed
        try:
            found = held(path, options)
        except VlaeError as error:
            click.echo(f"lost: {error}", err=True)
            self.bad += 1
            return
        self.old += same(found, old)
        self.new += same(found, new)
        self.bad += not (same(found, old) or same(found, new))

    def __str__(self) -> str:
        return f"{self.killed} killed; {self.old} as before, {self.new} complete, {self.bad} damaged"


def creations(folder: Path, kills: int, rng: np.random.Generator, options: dict[str, Any]) -> Count:
    """Archives that are made over an old one."""
    path, count = folder / "created.vlae", Count()
    old = pictures(0, 3)
    api.create_archive(path, old, **options)  # which reads the model
    begin = time.perf_counter()
    api.create_archive(path, old, force=True, **options)
    whole = time.perf_counter() - begin
    while count.killed < kills:
        new = pictures(10 * (count.killed + count.new), 6)
        work = lambda new=new: api.create_archive(path, new, force=True, **options)  # noqa: E731
        count.add(killed(work, rng.uniform(0, 3 * whole)), path, options, old, new)
        old = held(path, options)
    return count


def additions(folder: Path, kills: int, rng: np.random.Generator, options: dict[str, Any]) -> Count:
    """Members that are added to one archive."""
    base, path, count = folder / "base.vlae", folder / "appended.vlae", Count()
    old = first = pictures(0, 5)
    begin = time.perf_counter()
    api.create_archive(base, first, **options)  # the model is read
    whole = time.perf_counter() - begin
    runs = 0
    while count.killed < kills:
        if runs % RESET == 0:
            shutil.copy(base, path)
            old = first
        runs += 1
        some = pictures(10 * runs, 3)
        work = lambda some=some: api.append_archive(path, some, **options)  # noqa: E731
        count.add(killed(work, rng.uniform(0, 1.5 * whole)), path, options, old, old | some)
        old = held(path, options)
    return count


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=200, show_default=True, help="Of each kind of run.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--model", default="photo", show_default=True, metavar="PATH_OR_NAME")
def main(kills: int, seed: int, model: str) -> None:
    """Kill runs of archive create and append, and check what is left; exit status 1 if anything is lost."""
    options = {"model": model, "effort": 1, "threads": 1, "verify": False, "thumbnail": 0}
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, run in (("create", creations), ("append", additions)):
            count = run(Path(folder), kills, np.random.default_rng(seed), options)
            click.echo(f"{name}: {count}")
            bad += count.bad
    if bad:
        raise click.ClickException(f"{bad} archives were damaged")


if __name__ == "__main__":
    main()
