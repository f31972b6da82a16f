"""Reading and writing whole files, so that a failed run leaves nothing behind.

A file is written under a temporary name in the same folder and renamed when it is complete: a reader sees the old file
or the new one, never half of one.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import BinaryIO

from vlae_codec.errors import InputError, OutputError, OutputExists


def open_file(path: str | Path) -> BinaryIO:
    """The file, open for reading. Raises InputError."""
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise unreadable(path, error) from error


def read_file(path: str | Path) -> bytes:
    """The file's bytes. Raises InputError."""
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from error


def check_output(path: str | Path, force: bool = False, source: str | Path | None = None) -> Path:
    """The path that would be written, symbolic links followed; writes nothing, so call it before the long work.

    Raises OutputExists without ``force``, OutputError if the path is no regular file, lies in no folder, or is the
    input file ``source``.
    """
    try:
        target = Path(os.path.realpath(path))
        if source is not None and target.exists() and os.path.exists(source) and target.samefile(source):
            raise OutputError(f"{path} is the input file: give another output")
        if target.exists() and not target.is_file():
            raise OutputError(f"{path} is not a regular file: give the name of a file")
        if target.exists() and not force:
            raise OutputExists(str(path))
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {path}: there is no folder {target.parent}, create it or give another")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    return target


def make_folder(path: str | Path) -> None:
    """Makes the folder, and those it lies in, unless it is there. Raises OutputError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def write_file(path: str | Path, data: bytes, force: bool = False) -> None:
    """Write ``data`` to ``path`` in one step. Raises OutputExists without ``force``, and OutputError."""
    target = check_output(path, force)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            # Plain open, not tempfile: the result has the permissions that the user's umask gives.
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, target)
        except BaseException:  # an interrupt must not leave the temporary file either
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error


def unreadable(path: str | Path, error: Exception) -> InputError:
    """The error for what the system says of an input."""
    return InputError(f"cannot read {path} ({_reason(error)}): give the path of a readable file")


def _unwritable(path: str | Path, error: Exception) -> OutputError:
    return OutputError(f"cannot write {path} ({_reason(error)}): give another output or free the place")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
