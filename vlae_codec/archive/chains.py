"""Chains of pictures, decoded from the last one to the first, each no sooner than it or one before it is wanted.

The checksum of a chain's stream is verified before anything is decoded. That the coder's stack is empty at the end, as
it was at the beginning, is seen only where the first picture is decoded, and is raised there.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from vlae_codec.errors import CorruptFile
from vlae_codec.format.chunks import DAMAGED
from vlae_codec.images.picture import Picture


class Chain:
    """Pictures that come one after another, by their numbers in a group. Threads may share it.

    numbers: all that will come; size: bytes of their samples.
    """

    def __init__(self, numbers: Iterable[int], pictures: Iterable[tuple[int, Picture]], size: int) -> None:
        self.numbers, self.size = frozenset(numbers), size
        self.shared = False  # it is kept, so its pictures are given away as copies
        self.failed: BaseException | None = None  # why no more will come
        self._coming, self._found, self._lock = iter(pictures), dict[int, Picture](), Lock()

    def picture(self, number: int) -> Picture:
        """The picture, in memory of its own. Raises what decoding raises, and CorruptFile if there is none."""
        with self._lock:
            while number not in self._found:
                self._next(number)
            found = self._found[number]
        return found.replaced(pixels=found.pixels.copy()) if self.shared else found

    def _next(self, number: int) -> None:
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        try:
            other, picture = next(self._coming)
        except StopIteration:
            raise CorruptFile(f"a group has no picture {number}: {DAMAGED}") from None
        except BaseException as error:
            self.failed = error
            raise
        self._found[other] = picture
        if len(self._found) == len(self.numbers):
            self._coming = iter(())  # which lets go of what decoding needed


class Chains:
    """The chains that were read last, by the offsets of their groups; most: bytes of memory, about."""

    EACH = 1 << 14  # of a chain beside its samples, about

    def __init__(self, most: int) -> None:
        self.most, self._size, self._lock = most, 0, Lock()
        self._kept: dict[Chain, int] = {}  # with the offsets, oldest first
        self._where: dict[tuple[int, int], Chain] = {}

    def find(self, offset: int, number: int) -> Chain | None:
        """The chain that a picture of the group at an offset is in, if it is kept and has not failed."""
        chain = self._where.get((offset, number))
        return None if chain is None or chain.failed is not None else chain

    def keep(self, offset: int, chain: Chain) -> None:
        """Keeps a chain in the place of all that have pictures in common with it, and lets go of the oldest."""
        with self._lock:
            for other in {self._where[offset, i] for i in chain.numbers if (offset, i) in self._where}:
                self._drop(other)
            chain.shared = True
            self._kept[chain] = offset
            self._where |= {(offset, number): chain for number in chain.numbers}
            self._size += chain.size + self.EACH
            while self._size > self.most:
                self._drop(next(iter(self._kept)))

    def _drop(self, chain: Chain) -> None:
        offset = self._kept.pop(chain)
        self._size -= chain.size + self.EACH
        for number in chain.numbers:
            del self._where[offset, number]

    def clear(self) -> None:
        with self._lock:
            for chain in list(self._kept):
                self._drop(chain)
