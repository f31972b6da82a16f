"""Reading and writing whole files, so that a run that fails, is killed or races with another leaves nothing half-done.

Only regular files are read: a pipe could block for ever, and a device could have no end. A file is written under a
temporary name in the same folder, brought to the disk, and gets its name when it is complete: a reader sees the old
file or the new one, never half of one. Without `force` it gets the name only if that is free at this moment, so one of
two runs that write the same file fails. A killed process leaves its temporary file behind; the next write into the
folder removes it once it is an hour old and no process holds its lock.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

from vlae_codec.errors import ImageTooLarge, InputError, OutputError, OutputExists
from vlae_codec.limits import DEFAULT, UNLIMITED, Limits

TEMPORARY = ".vlae-codec.tmp"  # the ending of temporary names
HOUR = 3600
# Opening a pipe waits for no writer; on Windows bytes stay as they are.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # of file systems that cannot bring data to a disk


def open_file(path: str | Path, limits: Limits = DEFAULT) -> BinaryIO:
    """The regular file, open for reading. Raises InputError, and ImageTooLarge if it is larger than `limits.memory`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise unreadable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"cannot read {path} (it is a folder, a device or a pipe): give the path of a regular file"
            )
        limits.check(0, memory=status.st_size)
        return os.fdopen(descriptor, "rb")
    except ImageTooLarge as error:
        os.close(descriptor)
        raise ImageTooLarge(f"{path}: {error}") from error
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | Path, limits: Limits = DEFAULT) -> bytes:
    """The file's bytes. Raises what `open_file` raises, and InputError for a file that grows while it is read."""
    try:
        with open_file(path, limits) as file:
            known = os.fstat(file.fileno()).st_size
            data = file.read(known + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) > known:  # such as what /proc holds, which can have no end
        raise InputError(
            f"cannot read {path} (it is longer than the system says): give a copy of it, when it is written"
        )
    return data


def size(path: str | Path) -> int:
    """The file's bytes; 0 if it cannot be read."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def check_output(path: str | Path, force: bool = False, source: str | Path | None = None) -> Path:
    """The path that would be written, symbolic links followed; writes nothing, so call it before the long work.

    Raises OutputExists without `force`, OutputError if the path is no regular file, lies in no folder that can be
    written to, or is the input file `source`.
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
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write {path}: the folder {target.parent} is read-only, give another")
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    return target


def make_folder(path: str | Path) -> None:
    """Makes the folder, and those it lies in, unless it is there. Raises OutputError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def write_file(path: str | Path, data: bytes, force: bool = False, like: os.stat_result | None = None) -> None:
    """Writes `data` to `path` in one step (`new_file`)."""
    with new_file(path, force, like) as file:
        file.write(data)


@contextmanager
def new_file(path: str | Path, force: bool = False, like: os.stat_result | None = None) -> Iterator[BinaryIO]:
    """A file to be written part by part, which gets its name when the block ends, and none if that fails; then it has
    the permissions of the file that it replaces, or those of the umask.

    like: what the system said of the file that the data were made of: the new file gets its times and, unless it
    replaces another one, its owner and permissions as far as that may be.

    Raises OutputExists without `force`, also if the file has come there since, and OutputError.
    """
    target = check_output(path, force)
    temporary = target.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
    _sweep(target.parent, int(time.time() // HOUR))
    try:
        try:
            old = target.stat() if target.exists() else like
            mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                _lock(file)
                if old is not None and hasattr(os, "fchmod"):
                    _give(file, old, mode)
                yield file
                file.flush()
                if like is not None:
                    with suppress(OSError):
                        os.utime(temporary, ns=(like.st_atime_ns, like.st_mtime_ns))
                sync(file)
            if force:
                os.replace(temporary, target)
            else:
                _name(temporary, target)
        finally:  # after an interrupt, too
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise OutputExists(str(path)) from error
    except OSError as error:
        raise unwritable(path, error) from error
    with suppress(OSError):  # not every system can open a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def changed_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file that is there, open for reading and writing, and locked so that no other process changes it.

    Raises InputError, and OutputError if it is locked or cannot be written.
    """
    open_file(path, UNLIMITED).close()  # a regular file
    try:
        with open(path, "r+b") as file:
            if not _lock(file):
                raise OutputError(f"cannot write {path} (another process writes it): wait until it has ended")
            yield file
    except OSError as error:
        raise unwritable(path, error) from error


def sync(file: BinaryIO) -> None:
    """Brings what was written to the disk, where the file system can."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _UNABLE:
            raise


def _give(file: BinaryIO, old: os.stat_result, mode: int) -> None:
    """Gives a new file owner and permissions of the old one, and never opens it to more users than that was."""
    with suppress(OSError):
        os.fchown(file.fileno(), old.st_uid, old.st_gid)
    if os.fstat(file.fileno()).st_gid != old.st_gid:  # another group has what all have
        mode &= ~0o070 | (mode & 0o007) << 3
    with suppress(OSError):  # some file systems have no permissions
        os.fchmod(file.fileno(), mode)


def _name(temporary: Path, target: Path) -> None:
    """Gives the file the name `target` if that is free. Raises FileExistsError.

    A hard link is made in one step. Where there are none the name is taken first, with an empty file.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(temporary, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


@lru_cache(1024)
def _sweep(folder: Path, hour: int) -> None:
    """Removes what killed runs left in the folder; the cache has it look once an hour."""
    for path in folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError):
            with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE | _NO_LINK)) as file:
                status = os.fstat(file.fileno())
                old = stat.S_ISREG(status.st_mode) and status.st_mtime < time.time() - HOUR
                dead = old and _lock(file)
            if dead:  # names are used once, so it cannot come to life again
                path.unlink()


def _lock(file: BinaryIO) -> bool:
    """Takes the file's lock, until the file is closed; whether that was possible. Without locks it is said to be."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unreadable(path: str | Path, error: Exception) -> InputError:
    """The error for what the system says of an input."""
    return InputError(f"cannot read {path} ({_reason(error)}): give the path of a readable file")


def unwritable(path: str | Path, error: Exception) -> OutputError:
    return OutputError(f"cannot write {path} ({_reason(error)}): give another output or free the place")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
