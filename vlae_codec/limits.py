"""Limits: what one file may ask for. They are checked against headers and tables, before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from vlae_codec.errors import ImageTooLarge


@dataclass(frozen=True)
class Limits:
    """A file that asks for more is refused with ImageTooLarge; a caller who trusts it gives other numbers.

    The pixels and pictures are those of a whole file. The memory is what its pixels and tables take when they are
    decoded or read, in bytes, without what the process has at its start. The seconds are an estimate, the same on every
    machine: multiply-adds by the rate of one thread with AVX2 (`SPEED`), and what each tile takes beside them.
    """

    pixels: int = 1 << 28
    pictures: int = 1 << 20
    memory: int = 1 << 30
    seconds: float = 1800.0

    def check(self, pixels: int, pictures: int = 1, memory: int = 0, seconds: float = 0.0) -> None:
        """Raises ImageTooLarge for the first of the numbers that is over its limit."""
        for name, asked, most, way in (
            ("pixels", pixels, self.pixels, "--max-pixels or Limits(pixels=...)"),
            ("pictures", pictures, self.pictures, "Limits(pictures=...)"),
            ("bytes of memory", memory, self.memory, "--max-memory or Limits(memory=...)"),
            ("seconds", ceil(seconds * 1000) / 1000, self.seconds, "Limits(seconds=...)"),
        ):
            if asked > most:
                raise ImageTooLarge(
                    f"{asked} {name} are over the limit of {most}: split the picture, or allow more by {way}"
                )

    def check_work(self, pixels: int, multiply_adds: int, tiles: int) -> None:
        """Raises ImageTooLarge for pixels that a model of so many multiply-adds a pixel would take too long for."""
        self.check(0, seconds=pixels * multiply_adds / SPEED + tiles * TILE_SECONDS)


DEFAULT = Limits()
UNLIMITED = Limits(1 << 62, 1 << 62, 1 << 62, float("inf"))
# `python -m bench.limits kodim04.png --target avx2`: 1.6e-4 s, and 6.3e10 to 7.2e10 multiply-adds a second
TILE_SECONDS = 2e-4  # of a tile, beside its pixels
SPEED = 5e10  # multiply-adds a second of one thread with AVX2
