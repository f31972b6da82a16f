"""Which file is made of which, where files and folders go into a folder; checked before the long work.

Folders are walked through, and the output folder mirrors them. From a folder come only files whose names end like those
of pictures (or in .vlae, to decompress), the hidden ones left out; a file that is named is taken whatever its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vlae_codec.errors import InputError, OutputError, OutputExists
from vlae_codec.files import check_output, make_folder, unreadable

CODED = frozenset({".vlae"})
JPEG = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})
PICTURES = frozenset(
    {".apng", ".avif", ".bmp", ".bw", ".cur", ".dib", ".gif", ".hdr", ".ico", ".j2k", ".jp2", ".jpx", ".mpo", ".pam"}
    | {".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff"}
    | {".webp", *JPEG}
)


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
    named = str(output).endswith(("/", os.sep))
    return named or len(sources) != 1 or os.path.isdir(sources[0]) or os.path.isdir(output)


def check_coded_name(output: str | Path, force: bool) -> None:
    """Raises OutputError for a .vlae file that would be named like a picture, without `force`."""
    if Path(output).suffix.lower() in PICTURES and not force:
        raise OutputError(f"{output} is named like a picture: give a name that ends in .vlae, or --force")


def stays(source: str | Path, output: str | Path, skip_existing: bool, newer: bool) -> bool:
    """Whether an output is left as it is: because it exists, or because it is at least as new as its source."""
    if not newer:
        return skip_existing and os.path.lexists(output)
    try:
        return os.stat(output).st_mtime_ns >= os.stat(source).st_mtime_ns
    except OSError:
        return False


def make_plan(
    sources: Sequence[str | Path],
    output: str | Path,
    wanted: frozenset[str],
    suffix: str,
    force: bool,
    skip_existing: bool = False,
    newer: bool = False,
    left_out: frozenset[str] = frozenset(),
) -> Plan:
    """What to make of files and folders in the folder `output`: NAME with `suffix` for its ending, if that is wanted.

    All outputs are checked and the folders made. Raises InputError when there is nothing to do, OutputExists for what
    exists and neither stays (`stays`) nor may be overwritten (`force`, `newer`), and OutputError when two files would
    have one name, an input would be overwritten, or a folder cannot be.
    """
    found = listed(sources, wanted, left_out)
    every = [Task(path, _output(output, name, wanted, suffix)) for path, name in found.files]
    _check_names(every, output, suffix)
    tasks: list[Task] = []
    left: list[Task] = []
    for task in every:
        (left if stays(*task, skip_existing, newer) else tasks).append(task)
    _check_places(tasks, force or newer)
    return Plan(tasks, left, found.skipped, found.problems)


def listed(sources: Sequence[str | Path], wanted: frozenset[str], left_out: frozenset[str] = frozenset()) -> Found:
    """The wanted files, and what else is in the folders. left_out: endings of files that are passed by.

    Raises InputError when there are none.
    """
    found = Found([], [], [])
    for source in map(Path, sources):
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


def _output(folder: str | Path, name: Path, wanted: frozenset[str], suffix: str) -> Path:
    """The name in the output folder; an ending that is no file type's, such as that of scan.001, stays."""
    stem = name.stem if name.suffix.lower() in wanted else name.name
    return Path(folder, name.parent, stem + suffix)


def _check_names(tasks: list[Task], output: str | Path, suffix: str) -> None:
    if not os.path.isdir(output) and Path(output).suffix.lower() in {suffix, *CODED, *PICTURES}:
        raise OutputError(f"{output} would be a folder, and is named like a file: give another name")
    first: dict[str, Path] = {}
    for task in tasks:
        other = first.setdefault(os.path.normcase(task.output), task.source)
        if other is not task.source:
            raise OutputError(
                f"{other} and {task.source} would both become {task.output}: convert them into different folders"
            )
    inputs = {os.path.realpath(task.source) for task in tasks if os.path.exists(task.source)}
    for task in tasks:
        if os.path.realpath(task.output) in inputs:
            raise OutputError(f"{task.output} is an input file: give another folder")


def _check_places(tasks: list[Task], force: bool) -> None:
    there = [task.output for task in tasks if os.path.lexists(task.output)]
    if there and not force:
        raise OutputExists(str(there[0]), len(there) - 1)
    for parent in dict.fromkeys(task.output.parent for task in tasks):
        make_folder(parent)
    for task in tasks:
        check_output(task.output, force)
