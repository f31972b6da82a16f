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
# Some of them hold pictures that cannot be coded, such as palettes: that these are left out is to be said, not hidden.
PICTURES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".pbm", ".pcx", ".pgm"}
    | {".png", ".pnm", ".ppm", ".psd", ".sgi", ".tga", ".tif", ".tiff", ".webp"}
)


class Task(NamedTuple):
    source: Path
    output: Path


class Plan(NamedTuple):
    tasks: list[Task]
    skipped: list[Path]  # files in the folders that are not to be converted


def into_folder(sources: Sequence[str | Path], output: str | Path) -> bool:
    """Whether `output` is to be a folder: there are several inputs, or a folder as input, or as output."""
    return len(sources) != 1 or os.path.isdir(sources[0]) or os.path.isdir(output)


def make_plan(
    sources: Sequence[str | Path], output: str | Path, wanted: frozenset[str], suffix: str, force: bool
) -> Plan:
    """What to make of files and folders in the folder `output`: NAME with `suffix` for its ending, if that is wanted.

    All outputs are checked and the folders made. Raises InputError when there is nothing to do, OutputExists without
    `force`, and OutputError when two files would have one name, an input would be overwritten, or a folder cannot be.
    """
    found, skipped = listed(sources, wanted)
    tasks = [Task(path, _output(output, name, wanted, suffix)) for path, name in found]
    _check(tasks, output, suffix, force)
    return Plan(tasks, skipped)


def listed(sources: Sequence[str | Path], wanted: frozenset[str]) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """The wanted files, each with its path in the folder that it comes from, and the other files of the folders.

    Raises InputError when there are none.
    """
    found, skipped = [], []
    for source in map(Path, sources):
        if os.path.isdir(source):
            for path in _walk(source):
                if path.suffix.lower() in wanted and not path.name.startswith(".") and path.is_file():
                    found.append((path, path.relative_to(source)))
                else:
                    skipped.append(path)
        else:
            found.append((source, Path(source.name)))
    if not found:
        kinds = "no .vlae files" if wanted == CODED else "no pictures"
        raise InputError(f"there are {kinds} in {', '.join(map(str, sources))}: give files or folders with some")
    return found, skipped


def _walk(folder: Path) -> Iterator[Path]:
    """All files in it and in the folders in it that are not hidden. Raises InputError for one that cannot be read."""

    def fail(error: OSError) -> None:
        raise unreadable(error.filename, error) from error

    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names))


def _output(folder: str | Path, name: Path, wanted: frozenset[str], suffix: str) -> Path:
    """The name in the output folder; an ending that is no file type's, such as that of scan.001, stays."""
    stem = name.stem if name.suffix.lower() in wanted else name.name
    return Path(folder, name.parent, stem + suffix)


def _check(tasks: list[Task], output: str | Path, suffix: str, force: bool) -> None:
    if not Path(output).is_dir() and Path(output).suffix.lower() in {suffix, *CODED, *PICTURES}:
        raise OutputError(f"{output} would be a folder, for several files: give the name of a folder")
    first: dict[str, Path] = {}
    for task in tasks:
        other = first.setdefault(os.path.normcase(task.output), task.source)
        if other is not task.source:
            raise OutputError(
                f"{other} and {task.source} would both become {task.output}: convert them into different folders"
            )
    inputs = {os.path.realpath(task.source) for task in tasks if task.source.exists()}
    for task in tasks:
        if os.path.realpath(task.output) in inputs:
            raise OutputError(f"{task.output} is an input file: give another folder")
    there = [task.output for task in tasks if os.path.lexists(task.output)]
    if there and not force:
        raise OutputExists(str(there[0]), len(there) - 1)
    for parent in dict.fromkeys(task.output.parent for task in tasks):
        make_folder(parent)
    for task in tasks:
        check_output(task.output, force)
