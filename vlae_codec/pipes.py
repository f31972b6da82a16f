"""Files, and standard input and output by the name "-". A file of this name is given as "./-"."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vlae_codec import files
from vlae_codec.errors import ImageTooLarge, InputError
from vlae_codec.limits import DEFAULT, Limits

STREAM = Path("-")  # standard input or output
_BLOCK = 1 << 20  # bytes of a stream that are read at once


def place(name: str | Path) -> Path:
    """The path of a name as it was given, or `STREAM` for the string "-"."""
    path = Path(name)
    return path if path != STREAM or name == "-" else path.absolute()


def read(path: Path, limits: Limits = DEFAULT) -> bytes:
    """The bytes of a file, or all of standard input for `STREAM`. Raises what `read_file` raises."""
    if path != STREAM:
        return files.read_file(path, limits)
    if sys.stdin is None:
        raise InputError("cannot read standard input (it is closed): give the path of a file")
    parts: list[bytes] = []
    total = 0
    try:
        while block := sys.stdin.buffer.read(_BLOCK):  # at once it would allocate all that is asked for
            total += len(block)
            limits.check(0, memory=total)
            parts.append(block)
    except ImageTooLarge as error:
        raise ImageTooLarge(f"standard input: {error}") from error
    except OSError as error:
        raise files.unreadable("standard input", error) from error
    return b"".join(parts)


def write(path: Path, data: bytes, force: bool = False, like: os.stat_result | None = None) -> None:
    """Writes a file, or for `STREAM` to standard output. Raises what `write_file` raises, and BrokenPipeError."""
    if path != STREAM:
        files.write_file(path, data, force, like)
        return
    left = memoryview(data)
    try:
        while left:  # what PYTHONUNBUFFERED asks for may take a part only
            left = left[sys.stdout.buffer.write(left) or 0 :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise files.unwritable("standard output", error) from error


def shown(path: Path, reading: bool = True) -> str:
    """The name for people."""
    return str(path) if path != STREAM else "standard input" if reading else "standard output"


def status(path: Path) -> os.stat_result | None:
    """What the system says of a file; None of a stream and of one that it does not know."""
    try:
        return None if path == STREAM else os.stat(path)
    except (OSError, ValueError):
        return None
