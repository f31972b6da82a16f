"""Names of members: paths with / between folders, which never lead out of the folder that they are extracted into."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from vlae_codec.errors import InputError, OutputError

LONGEST = 4096  # bytes of UTF-8
RESERVED = frozenset({"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}) | {
    f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"
}
FORBIDDEN = frozenset('\\:*?"<>|') | {chr(code) for code in range(32)}  # in names on Windows


def problem_of(name: str) -> str | None:
    """Why no member may have this name; None if one may."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if not 0 < size <= LONGEST:
        return f"it has {size} bytes, not 1 to {LONGEST}"
    if "\0" in name:
        return "it holds a null byte"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "it is not a path below a folder"
    return None


def problem_on_windows(name: str) -> str | None:
    """Why no file on Windows can have this name."""
    for part in name.split("/"):
        if FORBIDDEN & set(part):
            return "Windows has no files with such a character in the name"
        if part.rstrip(" .") != part or part.partition(".")[0].rstrip(" ").upper() in RESERVED:
            return "Windows has no files of this name"
    return None


def name_of(path: PurePath) -> str:
    """The member's name for the path of a file: relative, without what leads upward. Raises InputError."""
    parts = [part for part in path.parts if part not in (path.anchor, ".", "..")]
    name = "/".join(parts)
    problem = problem_of(name)
    if problem is not None:
        raise InputError(f"{str(path)!r} cannot be the name of a member ({problem}): rename the file")
    return name


def place_of(folder: str | Path, name: str, windows: bool = os.name == "nt") -> Path:
    """Where a member goes in a folder; the folders that it lies in are made. Raises OutputError.

    No link inside the folder is followed, whoever put it there.
    """
    problem = problem_of(name) or (problem_on_windows(name) if windows else None)
    if problem is not None:
        raise OutputError(f"the member {name!r} cannot be extracted ({problem}): read it by vlae_codec.open_archive")
    root = Path(os.path.realpath(folder))
    place = root.joinpath(*name.split("/"))
    try:
        led_out = os.path.realpath(place.parent) != str(place.parent) or place.is_symlink()
        if not led_out:
            place.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {place} ({reason}): give another folder") from error
    if led_out:
        raise OutputError(f"a link stands where {place} would go: remove it, or give another folder")
    return place
