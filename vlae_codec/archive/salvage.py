"""What of a damaged archive can be saved: groups that no index names, and what is good of damaged ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vlae_codec.archive.index import START
from vlae_codec.archive.source import BLOCK, Source
from vlae_codec.errors import CorruptFile, VlaeError
from vlae_codec.format import container
from vlae_codec.format.chunks import CRC, DAMAGED, beginning, read_varint
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.limits import Limits
from vlae_codec.pictures.decode import salvage_all
from vlae_codec.pictures.holes import Hole
from vlae_codec.threads import Run

MARK = container.MAGIC + bytes([container.VERSION])


class Saved:
    """The pictures of a damaged group, as far as they are good."""

    def __init__(self, data: bytes, model: str | Path | None, device: str, run: Run, limits: Limits) -> None:
        """Raises CorruptFile where nothing is good, and what `decompress` raises."""
        self.all, self.holes, self.lost = salvage_all(data, model, device, run, None, limits)

    def pictures(self, first: int, count: int) -> tuple[list[Picture], tuple[Hole, ...]]:
        """So many pictures, and the holes in them, by their numbers among these.

        Raises CorruptFile where nothing of them is left.
        """
        holes = tuple(hole._replace(picture=hole.picture - first) for hole in self.holes)
        holes = tuple(hole for hole in holes if 0 <= hole.picture < count)
        pictures = self.all[first : first + count]
        if len(pictures) < count:
            raise CorruptFile(f"its group has only {len(self.all)} pictures: {DAMAGED}")
        if all(_is_lost(picture, [hole for hole in holes if hole.picture == i]) for i, picture in enumerate(pictures)):
            raise CorruptFile(holes[0].reason)
        if holes:  # then the very file cannot be made
            words = [{key: value for key, value in one.metadata.items() if key != RECIPE} for one in pictures]
            pictures = [one.replaced(metadata=metadata) for one, metadata in zip(pictures, words)]
        return pictures, holes


def _is_lost(picture: Picture, holes: Sequence[Hole]) -> bool:
    """Whether all of a picture is, as that of a chain that is damaged."""
    size = picture.pixels.shape[1], picture.pixels.shape[0]
    whole = [hole for hole in holes if not hole.inexact and hole[1:5] == (0, 0, *size)]
    return {c for hole in whole for c in range(hole.first, hole.first + hole.channels)} == {*range(picture.channels)}


def lost_groups(source: Source, known: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(offset, length) of what look like groups in an archive, but for those that are known, in order of offset.

    What is read to look at them is together no more than four times the file.
    """
    position, left, index = len(START), 4 * source.length, 0
    while position < source.length:
        while index < len(known) and known[index][0] + known[index][1] <= position:
            index += 1
        if index < len(known) and known[index][0] <= position:
            position = sum(known[index])
            continue
        end = min(known[index][0] if index < len(known) else source.length, position + BLOCK)
        block = source.read(position, min(end + len(MARK) - 1, source.length) - position)
        found = block.find(MARK)
        if found < 0:
            position = end
            continue
        position += found
        size, spent = _length(source, position, left)
        left -= spent
        if size:
            yield position, size
        position += size or 1


def _length(source: Source, offset: int, most: int) -> tuple[int, int]:
    """(bytes of the group at an offset, 0 if it is none; bytes that were read)."""
    spent = 0

    def fetch(begin: int, size: int) -> bytes:
        nonlocal spent
        spent += size
        if spent > most:
            raise CorruptFile("too much looks like groups")
        return source.read(offset + begin, min(size, source.length - offset - begin))

    try:
        head = beginning(fetch, container.START, source.length - offset)
        length, payload = read_varint(head, _data_chunk(head) + 1)
        end = payload + length + CRC.size
        return (end if offset + end <= source.length else 0), spent
    except VlaeError:
        return 0, spent


def _data_chunk(head: bytes) -> int:
    """Where chunk D begins."""
    position = container.START
    while head[position : position + 1] != b"D":
        size, payload = read_varint(head, position + 1)
        position = payload + size + CRC.size
    return position
