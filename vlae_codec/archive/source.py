"""Ranges of bytes of an archive: of a file, of an object that seeks and reads, or of a URL (extra `fsspec`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from vlae_codec.archive.index import END, FOOTER, MAGIC, START, VERSION, Footer, unpack_footer
from vlae_codec.errors import CorruptFile, InputError, NotAVlaeFile, TruncatedFile, UnsupportedVersion
from vlae_codec.files import open_file, unreadable
from vlae_codec.format.chunks import DAMAGED, checksum
from vlae_codec.format.fields import NEWER
from vlae_codec.limits import UNLIMITED, Limits

BLOCK = 1 << 20  # bytes that are looked through at once
TAIL = 1 << 12  # bytes that are fetched first from the end


class Source:
    """Bytes at offsets, for several threads and, of a path, for processes that were forked."""

    def __init__(self, origin: str | os.PathLike[str] | BinaryIO) -> None:
        self.origin, self._lock = origin, Lock()
        self._opened: Any = None
        if isinstance(origin, (str, os.PathLike)):
            if "://" in str(origin):
                self._opened = _import_fsspec().open(str(origin), "rb")
                self.file = self._opened.open()
            else:
                self.file = open_file(Path(origin), UNLIMITED)
        else:
            self.file = origin
        try:
            self.length = self.file.seek(0, os.SEEK_END)
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"cannot read {self} (it cannot seek): give the path of an archive") from error

    def __str__(self) -> str:
        return str(self.origin) if isinstance(self.origin, (str, os.PathLike)) else "the archive"

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes. Raises TruncatedFile if there are fewer, and InputError."""
        if offset < 0 or size < 0 or offset + size > self.length:
            raise TruncatedFile(f"the archive ends early: {DAMAGED}")
        try:
            if isinstance(self.origin, (str, os.PathLike)) and self._opened is None and hasattr(os, "pread"):
                data = self._at(offset, size)
            else:
                with self._lock:
                    self.file.seek(offset)
                    data = self.file.read(size)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise unreadable(str(self), error) from error
        if len(data) != size:
            raise TruncatedFile(f"the archive ends early: {DAMAGED}")
        return bytes(data)

    def _at(self, offset: int, size: int) -> bytes:
        """The same without a place in the file that others could move."""
        parts, descriptor = [], self.file.fileno()
        while size > 0:
            part = os.pread(descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Closes what was opened here; an object that was given stays open."""
        if self.file is not self.origin:
            self.file.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def __getstate__(self) -> Any:
        return self.origin

    def __setstate__(self, origin: Any) -> None:
        self.__init__(origin)  # type: ignore[misc]


def _import_fsspec() -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise InputError("a URL needs fsspec: install vlae-codec[fsspec], or give a path") from error
    return fsspec


def check_start(data: bytes) -> None:
    """Raises unless these are the first bytes of an archive."""
    if not data.startswith(MAGIC):
        if data.startswith(b"\xf6VLAE"):
            raise NotAVlaeFile("a .vlae file, not an archive: give it to 'vlae-codec decompress' or 'vlae-codec info'")
        raise NotAVlaeFile("not an archive: give a file that 'vlae-codec archive create' wrote")
    if len(data) < len(START):
        raise TruncatedFile("the archive ends inside its first bytes: get a fresh copy of it")
    if data[len(MAGIC)] != VERSION:
        raise UnsupportedVersion(f"archive version {data[len(MAGIC)]} is unknown here (known: {VERSION}): {NEWER}")


def find_footer(source: Source, limits: Limits) -> tuple[Footer, bytes]:
    """The last valid footer and its root, looked for from the end of the file backward.

    All roots that are checked are together no longer than the file, so this takes time in proportion to it. Raises
    CorruptFile if there is none, and ImageTooLarge for a root of more bytes than the limit of memory.
    """
    check_start(source.read(0, min(source.length, len(START))))
    tail = source.read(max(0, source.length - TAIL), min(source.length, TAIL))
    left = source.length
    for footer in _footers(source, tail):
        if footer.length > left:
            continue
        left -= footer.length
        limits.check(0, memory=footer.length)
        begin = footer.root - (source.length - len(tail))
        inside = begin >= 0
        root = tail[begin : begin + footer.length] if inside else source.read(footer.root, footer.length)
        if checksum([root]) == footer.crc:
            return footer, root
    raise CorruptFile(f"the archive has no valid index: {DAMAGED}, or try 'vlae-codec archive extract --salvage'")


def _footers(source: Source, tail: bytes) -> Iterator[Footer]:
    """What may be footers, from the end backward. tail: the last bytes."""
    end, least = source.length, FOOTER.size + len(START)
    if end >= least and (footer := unpack_footer(tail[-FOOTER.size :], end)) is not None:
        yield footer
    while end >= least:
        begin = max(0, end - BLOCK)
        block, found = source.read(begin, end - begin), end - begin
        while (found := block.rfind(END, 0, found)) >= 0:
            place = begin + found + len(END)
            if place >= least:
                footer = unpack_footer(source.read(place - FOOTER.size, FOOTER.size), place)
                if footer is not None:
                    yield footer
            found += len(END) - 1  # the end of a footer may overlap that of another one
        end = begin + len(END) - 1 if begin else 0
