"""The members of an archive as files of fsspec (extra `fsspec`), so that pandas, Ray, dask and others read them by URL:

    vlae://album/one.png::file:///data/set.vlae
    vlae://*.png::s3://bucket/set.vlae

A member is read as the very file if that was kept, else as a picture file of the kind that its name says, or PNG or
TIFF (`Member.read`). Nothing can be written.
"""

from __future__ import annotations

import io
import os
from typing import Any

import fsspec
from fsspec.archive import AbstractArchiveFileSystem

from vlae_codec.archive.reader import Archive


class ArchiveFileSystem(AbstractArchiveFileSystem):
    """The members of an archive.

    fo: a path, a URL or an object that seeks and reads; target_protocol, target_options: of a URL, as fsspec takes
    them; the others are options of `open_archive`.
    """

    protocol = "vlae"
    root_marker = ""
    cachable = False

    def __init__(
        self,
        fo: Any = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        model: Any = None,
        device: str = "auto",
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(self, **kwargs)
        self.of = None
        if isinstance(fo, (str, os.PathLike)):
            self.of = fsspec.open(os.fspath(fo), "rb", protocol=target_protocol, **(target_options or {}))
            fo = self.of.open()
        self.fo = fo
        self.archive = Archive(self.fo, model=model, device=device, threads=threads)
        self.dir_cache: dict[str, dict[str, Any]] | None = None

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path).lstrip("/")

    def _get_dirs(self) -> None:
        if self.dir_cache is not None:
            return
        folders = self._all_dirnames(set(self.archive.names))
        self.dir_cache = {name: {"name": name, "size": 0, "type": "directory"} for name in folders}
        for entry in self.archive.entries():
            self.dir_cache[entry.name] = {
                "name": entry.name,
                "size": entry.size or None,  # known only of the very file
                "type": "file",
                "mtime": entry.time / 1e9 if entry.time else None,
                "width": entry.width,
                "height": entry.height,
            }

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **kwargs: Any,
    ) -> io.BytesIO:
        if mode != "rb":
            raise OSError("members of an archive can only be read")
        path = self._strip_protocol(path)
        if not self.archive.has(path):
            raise FileNotFoundError(path)
        return io.BytesIO(self.archive[path].read())

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """The bytes of a member, or some of them."""
        with self._open(path) as file:
            return file.read()[start:end]

    def close(self) -> None:
        """Closes the archive, and the file if it was opened here."""
        self.archive.close()
        if self.of is not None:
            self.fo.close()
