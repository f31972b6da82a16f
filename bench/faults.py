"""What runs leave behind that are killed, or that find no room: nothing half-written.

    python -m bench.faults --kills 200
    python -m bench.faults --kills 200 --case decompress --json faults.json

A run works in a folder of its own on small pictures, in a child of this process that has loaded the program, so that
no kill is spent on loading it. `kill -9` comes at a random moment: half of the times at any, half
of them after the first file has appeared, when files are being written. Then each file of the folder has to be what it
was before the run or what an undisturbed run makes of it, byte for byte, but for temporary files, whose names say that
they are ones. The last run is not killed, and has to make all that is missing.

`survive` takes any command and a check of what is on the disk. Full disks are file systems in memory if that may be,
else a limit of the size of a file; read-only folders are such file systems, or have no permission to write.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import click
import numpy as np
from PIL import Image

from vlae_codec.cli import main as cli
from vlae_codec.files import TEMPORARY

from .processes import machine

PICTURES, EDGE = 6, 24
STEP = 0.002  # seconds between two looks at a folder
LONGEST = 300.0  # seconds of a run

Contents = dict[str, bytes]  # of the files of a folder, by their paths in it


class Survival(NamedTuple):
    """What became of many runs."""

    kills: int  # of them; the others ended before it came
    ended: int
    writing: int  # that left a temporary file
    problems: list[str]  # what a check found


def contents(folder: Path) -> Contents:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_temporary(name: str) -> bool:
    """Whether a killed run may leave a file of this name."""
    last = name.rpartition("/")[2]
    return last.startswith(".") and last.endswith(TEMPORARY)


class Process(Protocol):
    """A run on its way; it leads a group of processes."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Forked:
    """A run of the program in a child of this process, which has loaded it: it is at work at once."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, log: str | Path = os.devnull, limited: bool = False
    ) -> None:
        """log: a file that takes what it says on stderr; limited: no file may have more than a few bytes."""
        self.status: int | None = None
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.setsid()
                nowhere, told = os.open(os.devnull, os.O_RDWR), os.open(log, os.O_WRONLY | os.O_CREAT)
                for number, stream in enumerate((nowhere, nowhere, told)):
                    os.dup2(stream, number)
                os.chdir(folder)
                sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
                if limited:
                    _limit_size()
                cli(list(arguments), prog_name="vlae-codec")
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stderr.flush()
                os._exit(status)

    def poll(self) -> int | None:
        if self.status is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.status = os.waitstatus_to_exitcode(found[1])
        return self.status

    def wait(self, timeout: float | None = None) -> int:
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def process(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> Process:
    """A run of any command."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet, env=environment, start_new_session=True)


def survive(
    start: Callable[[], Process],
    folder: Path,
    reset: Callable[[], None],
    check: Callable[[], list[str]],
    kills: int,
    seed: int = 1,
) -> Survival:
    """Starts runs in a folder again and again and kills them, until so many were killed in the middle.

    start: begins one, such as `process` or `Forked` do; it is killed with all that it has started. reset: makes the
    folder as it is before a run; check: what is wrong with it after one. Raises RuntimeError if a run that nobody kills
    fails, or if they are always done before.
    """
    rng = random.Random(seed)
    first, whole = _measure(start, folder, reset)
    killed = ended = writing = 0
    problems: list[str] = []
    while killed < kills:
        if ended > 3 * kills + 20:
            raise RuntimeError(f"{ended} runs ended before they were killed")
        reset()
        process = start()
        try:
            if rng.random() < 0.5:
                time.sleep(rng.uniform(0, whole))
            else:
                _wait_for_change(process, folder)
                time.sleep(rng.uniform(0, whole - first))
            alive = process.poll() is None
        finally:
            _kill(process)
        killed, ended = killed + alive, ended + (not alive)
        writing += alive and any(map(is_temporary, contents(folder)))
        problems += check()
    return Survival(killed, ended, writing, problems)


def _measure(start: Callable[[], Process], folder: Path, reset: Callable[[], None]) -> tuple[float, float]:
    """Seconds until the folder changes, and until a run that nobody kills has ended."""
    reset()
    begin = time.perf_counter()
    process = start()
    _wait_for_change(process, folder)
    first = time.perf_counter() - begin
    if status := process.wait(LONGEST):
        raise RuntimeError(f"a run that nobody kills ends with status {status}")
    return first, time.perf_counter() - begin


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):  # it leads no group yet
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    process.wait(LONGEST)


def _wait_for_change(process: Process, folder: Path) -> None:
    """Until there is another file in the folder, or the process has ended."""
    before = _names(folder)
    while process.poll() is None and _names(folder) == before:
        time.sleep(STEP)


def _names(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]


# ---------------------------------------------------------------------------------------------------- cases


class Case(NamedTuple):
    """A command of the program, and the files that it begins with and ends with."""

    name: str
    arguments: list[str]
    before: Contents
    after: Contents  # of an undisturbed run
    removes: dict[str, str]  # a source that goes -> the output that stands for it

    def reset(self, folder: Path) -> None:
        for path in list(folder.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write(folder, self.before)

    def check(self, folder: Path) -> list[str]:
        """What is neither as before nor as after."""
        found = contents(folder)
        problems = []
        for name, data in found.items():
            if not is_temporary(name) and data not in (self.before.get(name), self.after.get(name)):
                problems.append(f"{self.name}: {name} is half-written: {len(data)} bytes")
        for name in self.before:
            if name not in found and self.after.get(self.removes.get(name, ""), b"-") != found.get(self.removes[name]):
                problems.append(f"{self.name}: {name} has gone, and its output is not whole")
        return problems


def write(folder: Path, files: Contents) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def pictures(count: int = PICTURES, edge: int = EDGE) -> Contents:
    """Small PNGs: smooth, with a little noise."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:edge, :edge]
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for number in range(count):
            waves = 120 + 60 * np.sin(x / (3 + number)) + 40 * np.cos(y / 5)
            pixels = (waves[..., None] + rng.normal(0, 3, (edge, edge, 3))).clip(0, 255).astype(np.uint8)
            path = Path(place, f"{number}.png")
            Image.fromarray(pixels).save(path)
            found[f"in/{path.name}"] = path.read_bytes()
    return found


def cases(model: Sequence[str] = (), count: int = PICTURES) -> Iterator[Case]:
    """Compressing and decompressing folders of so many pictures: new files, files that are replaced, sources that go.

    model: options that name one.
    """
    sources = pictures(count)
    coding = ["--effort", "1", "--origin", "none", "--threads", "1", *model]
    decoding = ["--threads", "1", *model]
    yield _case("compress", ["compress", "in", "-o", "out", *coding], sources)
    coded = _after(["compress", "in", "-o", "coded", *coding], sources)
    files = {name: data for name, data in coded.items() if name.startswith("coded/")}
    yield _case("decompress", ["decompress", "coded", "-o", "out", *decoding], files)
    old = {name.replace("coded/", "out/"): b"an old file, " * 40 for name in files}
    yield _case("compress --force", ["compress", "in", "-o", "out", "--force", *coding], sources | old)
    yield _case("compress --remove-source", ["compress", "in", "--remove-source", *coding], sources)
    yield _case("decompress --remove-source", ["decompress", "coded", "--remove-source", *decoding], files)


def _case(name: str, arguments: list[str], before: Contents) -> Case:
    after = _after(arguments, before)
    gone = [one for one in before if one not in after]
    removes = {one: next(other for other in after if Path(other).stem == Path(one).stem) for one in gone}
    return Case(name, arguments, before, after, removes)


def _after(arguments: Sequence[str], before: Contents) -> Contents:
    with tempfile.TemporaryDirectory() as place:
        write(Path(place), before)
        if Forked([*arguments, "-q"], Path(place)).wait():
            raise RuntimeError(f"a run that nobody disturbs fails: {' '.join(arguments)}")
        return contents(Path(place))


def load() -> None:
    """Imports what a run does, so that its children need not."""
    for name in ("api", "pictures.encode", "pictures.planes", "adapter.fit", "cli.compress", "cli.decompress"):
        importlib.import_module(f"vlae_codec.{name}")


def run_case(case: Case, kills: int, seed: int = 1) -> Survival:
    """A case, killed so many times in a folder of its own, and then not."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        arguments = [*case.arguments, "-q"]

        def start() -> Process:
            return Forked(arguments, folder)

        found = survive(start, folder, lambda: case.reset(folder), lambda: case.check(folder), kills, seed)
        resume = arguments + ([] if "--force" in arguments else ["--skip-existing"])
        problems = list(found.problems)
        if not case.removes:
            Forked(resume, folder).wait()
            left = {name: data for name, data in contents(folder).items() if not is_temporary(name)}
            problems += [] if left == case.after else [f"{case.name}: a run that goes on does not make all files"]
        return found._replace(problems=problems)


# ---------------------------------------------------------------------------------------------------- no room


@contextmanager
def small_disk(size: int) -> Iterator[Path | None]:
    """A file system of so many bytes; None where the process may not make one."""
    with tempfile.TemporaryDirectory() as place:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
        try:
            done = subprocess.run(mount, capture_output=True).returncode == 0
        except OSError:
            done = False
        try:
            yield Path(place) if done else None
        finally:
            if done:
                subprocess.run(["umount", "-l", place], check=True)


def full_disk(case: Case, room: int) -> list[str]:
    """What is wrong after a run whose disk has room for so many more pages of 4096 bytes, which has to be fewer than it
    needs: it fails, and half of nothing stays.
    """
    with small_disk(1 << 20) as disk, tempfile.TemporaryDirectory() as other:
        folder = disk or Path(other)
        write(folder, case.before)
        filler = folder / "filler"
        if disk:
            free = os.statvfs(disk)
            filler.write_bytes(bytes((free.f_bavail - room) * free.f_frsize))
        problems = _failed(case, "full disk", folder, limited=not disk)
        filler.unlink(missing_ok=True)
        left = [name for name in contents(folder) if is_temporary(name)]
        return problems + [f"{case.name}: {name} was left" for name in left] + case.check(folder)


def _failed(case: Case, why: str, folder: Path, limited: bool = False) -> list[str]:
    """What is wrong with how a run ends that has to fail."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        status = Forked([*case.arguments, "-q"], folder, log, limited).wait()
        said = log.read_text()
    problems = [] if status == 1 else [f"{case.name}: {why}, status {status}"]
    return problems + ([] if said.startswith("error: ") else [f"{case.name}: {why}: {said[:200]!r}"])


def _limit_size() -> None:
    """To fewer bytes than any output has."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))


def read_only(case: Case) -> list[str]:
    """What is wrong after a run in a folder that cannot be written to."""
    with small_disk(1 << 22) as disk, tempfile.TemporaryDirectory() as other:
        folder = disk or Path(other)
        write(folder, case.before)
        if disk:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        elif os.geteuid() == 0:
            return []  # who may write everywhere
        else:
            folder.chmod(0o555)
        problems = _failed(case, "read-only folder", folder)
        folder.chmod(0o755) if not disk else None
        return problems + ([] if contents(folder) == case.before else [f"{case.name}: a read-only folder has changed"])


@click.command()
@click.option("--kills", default=200, show_default=True, type=click.IntRange(min=1), help="Runs killed in each case.")
@click.option("--case", "names", multiple=True, help="Only this one; may be given several times [default: all].")
@click.option("--seed", default=1, show_default=True, help="Seed of the moments.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the counts here.")
def main(kills: int, names: tuple[str, ...], seed: int, out: Path | None) -> None:
    """Kill runs and give them no room: exit status 1 if anything is left half-written."""
    load()
    rows, problems = [], []
    for case in cases():
        if names and case.name not in names:
            continue
        start = time.perf_counter()
        found = run_case(case, kills, seed)
        wrong = [*found.problems, *read_only(case)]
        frees = "--force" in case.arguments or case.removes
        for room in (0,) if frees else (0, 1, 3):  # what is replaced or goes makes room
            wrong += full_disk(case, room)
        rows.append({"case": case.name, **found._asdict(), "problems": wrong})
        problems += wrong
        click.echo(
            f"{case.name}: {found.kills} kills, {found.writing} of them with a temporary file, {found.ended} runs "
            f"ended before; {len(wrong)} problems; {time.perf_counter() - start:.0f} s"
        )
    for problem in problems[:50]:
        click.echo(problem)
    if out is not None:
        out.write_text(json.dumps({"machine": machine(), "cases": rows}, indent=1) + "\n")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
