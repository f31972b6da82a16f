"""Which file is made of which; checked before the long work.

Outputs go into a folder, or each beside its input, or one into a file. Folders are walked through, and the output
folder mirrors them. From a folder come only files whose names end like those of pictures (or in .vlae, to decompress),
the hidden ones left out; a file that is named is taken whatever its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vlae_codec.errors import InputError, OutputError, OutputExists
from vlae_codec.files import check_output, make_folder, unreadable
from vlae_codec.jobs.names import CODED, JPEG, PICTURES, apart, output_name
from vlae_codec.pipes import STREAM, place

__all__ = ["CODED", "JPEG", "PICTURES", "Plan", "Task", "into_folder", "listed", "make_plan"]


class Task(NamedTuple):
    source: Path
    output: Path


class Skipped(NamedTuple):
    """What lies in a folder and is not to be converted."""

    path: Path
    reason: str


class Found(NamedTuple):
    files: list[tuple[Path, Path]]  # each with its path in the folder that it comes from
    skipped: list[Skipped]
    problems: list[str]  # of folders that cannot be read


class Plan(NamedTuple):
    tasks: list[Task]
    left: list[Task]  # whose outputs stay as they are
    skipped: list[Skipped]
    problems: list[str]


def into_folder(sources: Sequence[str | Path], output: str | Path) -> bool:
    """Whether `output` is to be a folder: there are several inputs, or a folder as input, or its name ends in /."""
    if output == "-":
        return False
    named = str(output).endswith(("/", os.sep))
    return named or len(sources) != 1 or os.path.isdir(sources[0]) or os.path.isdir(output)


def check_coded_name(output: str | Path, force: bool) -> None:
    """Raises OutputError for a .vlae file that would be named like a picture, without `force`."""
    if Path(output).suffix.lower() in PICTURES and not force:
        raise OutputError(f"{output} is named like a picture: give a name that ends in .vlae, or --force")


def stays(source: Path, output: Path, skip_existing: bool, newer: bool) -> bool:
    """Whether an output is left as it is: because it exists, or because it is at least as new as its source."""
    if not newer:
        return skip_existing and os.path.lexists(output)
    try:
        return os.stat(output).st_mtime_ns >= os.stat(source).st_mtime_ns
    except OSError:
        return False


def make_plan(
    sources: Sequence[str | Path],
    output: str | Path | None,
    wanted: frozenset[str],
    suffix: str | Callable[[Path], str],
    force: bool,
    skip_existing: bool = False,
    newer: bool = False,
    left_out: frozenset[str] = frozenset(),
    folder: bool = True,
    dry: bool = False,
) -> Plan:
    """What to make of files and folders in the folder `output`, or beside each of them if that is None: NAME with
    `suffix` for its ending, if that is wanted (`jobs.names`). folder: else `output` is the file to make of the only
    input. "-" is standard input or output (`pipes.STREAM`), and without an output the former goes to the latter.

    All outputs are checked and, unless the run is a dry one, the folders made. Raises InputError when there is nothing
    to do, OutputExists for what exists and neither stays (`stays`) nor may be overwritten (`force`, `newer`), and
    OutputError when an input would be overwritten, or a folder cannot be.
    """
    if "-" in sources or output == "-":
        return Plan([_stream(sources, output, folder)], [], [], [])
    if output is not None and not folder:
        (source,) = map(place, sources)
        skipped = [Skipped(source, "it is a JPEG")] if source.suffix.lower() in left_out else []
        every = [] if skipped else [Task(source, place(output))]
        found = Found([], skipped, [])
    else:
        found = listed(sources, wanted, left_out)
        every = _tasks(found, output, wanted, suffix)
        _check_folder(output, suffix)
    _check_inputs(every)
    tasks: list[Task] = []
    left: list[Task] = []
    for task in every:
        (left if stays(*task, skip_existing, newer) else tasks).append(task)
    _check_places(tasks, force or newer, folder, dry)
    return Plan(tasks, left, found.skipped, found.problems)


def _stream(sources: Sequence[str | Path], output: str | Path | None, folder: bool) -> Task:
    """The task of standard input or output. Raises InputError, OutputError."""
    if len(sources) != 1:
        raise InputError("standard input and output are of one picture: give one INPUT")
    (source,) = map(place, sources)
    target = STREAM if output is None else place(output)
    if target == STREAM:
        if os.path.isdir(source):
            raise InputError(f"{source} is a folder, and standard output is of one picture: give a file")
        return Task(source, target)
    if folder:
        raise OutputError(f"{output} is a folder, and standard input has no name: give the name of a file")
    return Task(source, target)


def _tasks(
    found: Found, output: str | Path | None, wanted: frozenset[str], suffix: str | Callable[[Path], str]
) -> list[Task]:
    """Each file that was found once, with its output."""
    tasks: list[Task] = []
    seen: set[tuple[Path, str]] = set()
    for path, name in found.files:
        ending = suffix if isinstance(suffix, str) else suffix(path)
        to = path.parent if output is None else Path(output, name.parent)
        task = Task(path, to / output_name(name.name, wanted, ending))
        if (both := (task.output, os.path.realpath(path))) in seen:
            found.skipped.append(Skipped(path, "it was named before"))
            continue
        seen.add(both)
        tasks.append(task)
    return [Task(task.source, output) for task, output in zip(tasks, apart(tasks))]


def listed(sources: Sequence[str | Path], wanted: frozenset[str], left_out: frozenset[str] = frozenset()) -> Found:
    """The wanted files, and what else is in the folders. left_out: endings of files that are passed by.

    Raises InputError when there are none.
    """
    found = Found([], [], [])
    for source in map(place, sources):
        if not os.path.isdir(source):
            if source.suffix.lower() in left_out:
                found.skipped.append(Skipped(source, "it is a JPEG"))
                continue
            found.files.append((source, Path(source.name)))
            continue
        for path in _walk(source, found):
            if path.name.startswith("."):
                reason = "it is hidden"
            elif path.suffix.lower() not in wanted:
                reason = f"its name does not end like {'that of a .vlae file' if wanted == CODED else 'a picture'}"
            elif not os.path.isfile(path):
                reason = "it is no regular file"
            elif path.suffix.lower() in left_out:
                reason = "it is a JPEG"
            else:
                found.files.append((path, path.relative_to(source)))
                continue
            found.skipped.append(Skipped(path, reason))
    if not found.files:
        kinds = "no .vlae files" if wanted == CODED else "no pictures"
        nothing = f"there are {kinds} in {', '.join(map(str, sources))}: give files or folders with some"
        raise InputError(found.problems[0] if found.problems else nothing)
    return found


def _walk(folder: Path, found: Found) -> Iterator[Path]:
    """All files in it and in the folders in it that are not hidden; those behind links come last, and none twice."""

    def note(error: OSError) -> None:
        found.problems.append(str(unreadable(error.filename, error)))

    seen: set[tuple[int, int]] = set()
    tops = [os.fspath(folder)]
    for top in tops:  # which grows
        for root, folders, names in os.walk(top, onerror=note):
            try:
                status = os.stat(root)
            except OSError as error:  # it has vanished
                note(error)
                continue
            inside, folders[:] = sorted(folders), []
            if (status.st_dev, status.st_ino) in seen:
                found.skipped.append(Skipped(Path(root), "it is a folder that was met before"))
                continue
            seen.add((status.st_dev, status.st_ino))
            for name in inside:
                path = os.path.join(root, name)
                if name.startswith("."):
                    found.skipped.append(Skipped(Path(path), "it is hidden"))
                elif os.path.islink(path):
                    tops.append(path)
                else:
                    folders.append(name)
            yield from (Path(root, name) for name in sorted(names))


def _check_folder(output: str | Path | None, suffix: str | Callable[[Path], str]) -> None:
    if output is None or os.path.isdir(output):
        return
    if Path(output).suffix.lower() in {suffix, *CODED, *PICTURES}:
        raise OutputError(f"{output} would be a folder, and is named like a file: give another name")


def _check_inputs(tasks: list[Task]) -> None:
    inputs = {os.path.realpath(task.source) for task in tasks if os.path.exists(task.source)}
    for task in tasks:
        if os.path.realpath(task.output) in inputs:
            raise OutputError(f"{task.output} is the input file, or another one: give another output")


def _check_places(tasks: list[Task], force: bool, folder: bool, dry: bool) -> None:
    there = [task.output for task in tasks if os.path.lexists(task.output)]
    if there and not force:
        raise OutputExists(str(there[0]), len(there) - 1)
    if folder and not dry:
        for parent in dict.fromkeys(task.output.parent for task in tasks):
            make_folder(parent)
    for task in tasks:
        if not (folder and dry) or task.output.parent.is_dir():
            check_output(task.output, force)
