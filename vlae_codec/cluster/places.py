"""Files by URL: listing, reading, writing in one step, and the plan of which file is made of which.

A URL is what fsspec takes, such as s3://bucket/folder; a name without a scheme is a local path. Folders are walked
through, and the output folder mirrors them. An output that exists is whole, so a run that was interrupted goes on where
it stopped: local files get their names when they are complete; object stores show an object when all of it has come;
elsewhere a temporary file is renamed.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from vlae_codec import files
from vlae_codec.errors import InputError, OutputError, OutputExists, VlaeError
from vlae_codec.jobs.plan import CODED
from vlae_codec.limits import Limits

# of stores that show an object when all of it has come
_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})


class Job(NamedTuple):
    """One file to convert."""

    source: str
    output: str
    size: int  # bytes of the source


class Plan(NamedTuple):
    jobs: list[Job]  # the largest first: then no worker begins with one when the others are done
    left: list[Job]  # whose outputs stay as they are
    skipped: list[str]  # what else lies in the folders


class _Entry(NamedTuple):
    url: str
    name: PurePosixPath  # in the folder that it comes from
    size: int
    time: float  # when it was written, in seconds


def _system(url: str) -> tuple[Any, str]:
    """fsspec's file system, and the path in it. Raises InputError."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise InputError("URLs need fsspec: pip install 'vlae-codec[ray]'") from error
    try:
        return url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"cannot open {url} ({error}): give a URL that fsspec knows, and install what it needs"
        ) from error


def _is_local(system: Any) -> bool:
    return "file" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol)


def _url(system: Any, path: str) -> str:
    return path if _is_local(system) else str(system.unstrip_protocol(path))


def make_plan(
    sources: Sequence[str],
    output: str,
    wanted: frozenset[str],
    suffix: str,
    force: bool = False,
    newer: bool = False,
    left_out: frozenset[str] = frozenset(),
) -> Plan:
    """What to make of files and folders in the folder `output`: NAME with `suffix` for its ending, if that is wanted.

    Inputs that would become one output keep their whole names: a.png and a.jpg become a.png.vlae and a.jpg.vlae.
    Outputs that exist stay, unless `force` is given, or `newer` and they are older than their source.

    Raises InputError when there is nothing to do, or a source is not there, and OutputError for an impossible output.
    """
    entries, skipped = _listed(sources, wanted, left_out)
    system, folder = _system(output)
    try:
        system.invalidate_cache()
        there = system.find(folder, detail=True) if system.exists(folder) else {}
        if folder in there:
            raise OutputError(f"{output} is a file: give a folder")
    except OSError as error:
        raise OutputError(f"cannot list {output} ({error}): give another output") from error
    jobs: list[Job] = []
    left: list[Job] = []
    for entry, name in zip(entries, _names([entry.name for entry in entries], wanted, suffix)):
        path = f"{folder.rstrip('/')}/{name}"
        job = Job(entry.url, _url(system, path), entry.size)
        if job.output == job.source:
            raise OutputError(f"{job.output} is an input file: give another folder")
        known = there.get(path)
        stays = known is not None and not force and (not newer or _time(known) >= entry.time)
        (left if stays else jobs).append(job)
    return Plan(sorted(jobs, key=lambda job: -job.size), left, skipped)


def _listed(sources: Sequence[str], wanted: frozenset[str], left_out: frozenset[str]) -> tuple[list[_Entry], list[str]]:
    entries: dict[str, _Entry] = {}
    skipped: list[str] = []
    for source in sources:
        system, top = _system(source)
        try:
            system.invalidate_cache()
            found = system.find(top, detail=True)
        except OSError as error:
            raise InputError(f"cannot list {source} ({error}): give a folder or a file that can be read") from error
        if not found and not system.exists(top):
            raise InputError(f"cannot read {source} (there is no such file or folder): give one that is there")
        for path, info in found.items():
            alone = path == top
            name = PurePosixPath(PurePosixPath(path).name if alone else path[len(top.rstrip("/")) + 1 :])
            ending, hidden = name.suffix.lower(), any(part.startswith(".") for part in name.parts)
            url = _url(system, path)
            if ending in left_out or (not alone and (hidden or ending not in wanted)):
                skipped.append(url)
            else:
                entries.setdefault(url, _Entry(url, name, int(info.get("size") or 0), _time(info)))
    if not entries:
        kinds = "no .vlae files" if wanted == CODED else "no pictures"
        raise InputError(f"there are {kinds} in {', '.join(sources)}: give files or folders with some")
    return list(entries.values()), skipped


def _time(info: dict[str, Any]) -> float:
    """When a file was written; 0 where its system does not say."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        when = info.get(key)
        if isinstance(when, datetime):
            return when.replace(tzinfo=when.tzinfo or timezone.utc).timestamp()
        if isinstance(when, (int, float)):
            return float(when)
    return 0.0


def _names(names: Sequence[PurePosixPath], wanted: frozenset[str], suffix: str) -> list[str]:
    """The names of outputs, no two alike. Raises OutputError."""
    short = [str(name.with_suffix("") if name.suffix.lower() in wanted else name) + suffix for name in names]
    counts = Counter(short)
    found = [one if counts[one] == 1 else f"{name}{suffix}" for one, name in zip(short, names)]
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise OutputError(f"two inputs would become {twice[0]}: convert them into different folders")
    return found


def read(url: str, limits: Limits) -> bytes:
    """The file's bytes. Raises InputError, and ImageTooLarge for more than the limit of memory."""
    system, path = _system(url)
    if _is_local(system):
        return files.read_file(path, limits)
    try:
        limits.check(0, memory=int(system.info(path).get("size") or 0))
        return bytes(system.cat_file(path))
    except VlaeError:
        raise
    except Exception as error:  # each system has its own
        raise InputError(f"cannot read {url} ({_reason(error)}): give the URL of a readable file") from error


def size_of(url: str) -> int | None:
    """The file's bytes; None if it is not there. Raises InputError."""
    system, path = _system(url)
    try:
        return int(system.info(path)["size"])
    except FileNotFoundError:
        return None
    except Exception as error:
        raise InputError(f"cannot look for {url} ({_reason(error)})") from error


def write(url: str, data: bytes, force: bool) -> None:
    """Writes a file in one step, and the folders that it lies in. Raises OutputExists without `force`, OutputError."""
    system, path = _system(url)
    parent = path.rpartition("/")[0]
    if _is_local(system):
        files.make_folder(Path(parent))
        files.write_file(path, data, force)
        return
    try:
        if not force and system.exists(path):
            raise OutputExists(url)
        if _OBJECTS & {*([system.protocol] if isinstance(system.protocol, str) else system.protocol)}:
            system.pipe_file(path, data)
            return
        system.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{secrets.token_hex(8)}{files.TEMPORARY}"
        try:
            system.pipe_file(temporary, data)
            system.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                system.rm_file(temporary)
            raise
    except VlaeError:
        raise
    except Exception as error:
        raise OutputError(f"cannot write {url} ({_reason(error)}): give another output or free the place") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
