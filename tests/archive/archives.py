"""Archives for tests, made by code."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import make_golden  # type: ignore[import-not-found]
import numpy as np

from vlae_codec.archive import index, pages
from vlae_codec.archive.writer import create_archive

TINY = Path(make_golden.DATA / "tiny.safetensors")
OPTIONS: dict[str, Any] = {"model": TINY, "effort": 1, "threads": 1, "verify": False}


def small(count: int, size: int = 8) -> dict[str, np.ndarray]:
    """Small pictures by their names, half of them in a folder."""
    return {f"{'sub/' * (i % 2)}{i:03d}.png": make_golden.synthetic(size, size, i) for i in range(count)}


def made(path: Path, pictures: dict[str, np.ndarray]) -> Path:
    create_archive(path, pictures, **OPTIONS)
    return path


def entry(name: str = "a.png", **changes: Any) -> pages.Entry:
    return pages.Entry(name, 9, 100, 0, 1, 8, 8, 1, 8, 0, 0, 0)._replace(**changes)


def archive_of(pages: list[tuple[int, bytes]], group: bytes = bytes(100)) -> io.BytesIO:
    """An archive of one group and pages (members, bytes), with right checksums."""
    file = io.BytesIO()
    file.write(index.START + group)
    listing = []
    for members, data in pages:
        listing.append(index.Page(members, file.tell(), len(data), zlib.crc32(data)))
        file.write(data)
    file.write(index.pack_end(listing, 0))
    return file


class Counted(io.FileIO):
    """A file that only seeks and reads, and counts."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes += len(data)
        return data

    def fileno(self) -> int:
        raise OSError("it has no number")
