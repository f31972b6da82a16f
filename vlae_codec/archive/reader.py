"""An archive as a sequence of its members: only what is asked for is read, and decoded.

A member of a group of chains is decoded with the few others that stand behind it in its chain. What is decoded of a
chain is kept for a while, since the others are often wanted next, and decoding goes on from there.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np

from vlae_codec.archive.chains import Chain, Chains
from vlae_codec.archive.encode import file_of
from vlae_codec.archive.index import unpack_root
from vlae_codec.archive.pages import Entries, Entry, unpack_page
from vlae_codec.archive.source import Source, find_footer
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile, InputError
from vlae_codec.format import container
from vlae_codec.format.chunks import DAMAGED
from vlae_codec.format.header import MODES, Layout
from vlae_codec.format.thumbnails import find_thumbnail
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.codec import codecs_for
from vlae_codec.pictures.decode import decode_all, unwind_chains
from vlae_codec.threads import workers

KEPT = 1 << 25  # bytes of the samples of chains that an archive keeps
CODECS = 64  # groups whose codecs an archive keeps
PAGES = 16  # of the index that an archive keeps
ENTRY_BYTES = 1 << 10  # of memory for a member whose name is known


class Member:
    """A member of an archive: what the index says of it, and, decoded when they are asked for, its pictures.

    name; width, height (pixels), mode, bits (a sample) and count of its pictures, the first one's; time (nanoseconds
    since 1970, 0 if not known), permissions (0 if not known), size (bytes, if the very file comes back, else 0).
    """

    def __init__(self, archive: Archive, entry: Entry) -> None:
        self.archive, self.entry = archive, entry
        self.name, self.count = entry.name, entry.pictures
        self.width, self.height = entry.width, entry.height
        self.mode, self.bits = MODES[entry.mode], entry.bits
        self.time, self.permissions, self.size = entry.time, entry.permissions, entry.size

    def __repr__(self) -> str:
        return f"<Member {self.name!r}: {self.width}x{self.height} {self.mode}>"

    @property
    def pictures(self) -> list[Picture]:
        """All frames or pages, with their metadata. Raises what `decompress_pictures` raises."""
        return self.archive.pictures_of(self.entry)

    @property
    def picture(self) -> Picture:
        """The first of them."""
        return self.pictures[0]

    @property
    def pixels(self) -> np.ndarray:
        """The samples of the first of them: (H, W) or (H, W, C)."""
        return self.picture.pixels

    def read(self) -> bytes:
        """The very file if it was kept, else a picture file: of the kind that the name says, or PNG or TIFF."""
        return file_of(self.name, self.pictures, self.archive.limits).data

    @property
    def thumbnail(self) -> bytes | None:
        """A small lossy picture, a WebP file, if the archive has one of the member; nothing is decoded."""
        return self.archive.thumbnail_of(self.entry)


class Archive(Sequence[Member]):
    """The members of an archive, by number or by name; `open_archive` opens one.

    It can be pickled if it was opened by a path or a URL, shared by threads, and given to processes that are forked.
    """

    def __init__(
        self,
        origin: str | os.PathLike[str] | BinaryIO,
        *,
        model: str | Path | None = None,
        device: str = "auto",
        threads: int | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.options = {"model": model, "device": device, "threads": threads, "limits": limits}
        self.model, self.device, self.threads, self.limits = model, device, threads, limits
        self.source = Source(origin)
        try:
            self.footer, root = find_footer(self.source, limits)
            self.pages = unpack_root(root, self.footer.root)
        except BaseException:
            self.source.close()
            raise
        self._ends = list(accumulate(page.members for page in self.pages))
        self._page = lru_cache(PAGES)(self._read_page)
        self._places: dict[str, int] | None = None
        self._kept = Chains(KEPT)
        self._found: dict[tuple[int, Layout], list[TileCodec | None]] = {}

    # The index

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _read_page(self, number: int) -> Entries:
        page = self.pages[number]
        self.limits.check(0, memory=page.length)
        return unpack_page(self.source.read(page.offset, page.length), page)

    def entry(self, number: int) -> Entry:
        """What the index says of a member."""
        page = bisect_right(self._ends, number)
        return self._page(page)[number - self._ends[page]]

    def page(self, number: int) -> Entries:
        """The same of the members of a page."""
        return self._page(number)

    def entries(self) -> Iterator[Entry]:
        """The same of all members."""
        for number in range(len(self.pages)):
            yield from self._page(number)

    @property
    def names(self) -> list[str]:
        """Of all members, in order."""
        return list(self._by_name())

    def _by_name(self) -> dict[str, int]:
        if self._places is None:
            self.limits.check(0, memory=ENTRY_BYTES * len(self))
            places = {entry.name: number for number, entry in enumerate(self.entries())}
            if len(places) != len(self):
                raise CorruptFile(f"{self.source}: two members have one name: {DAMAGED}")
            self._places = places
        return self._places

    def number(self, name: str) -> int:
        """Of the member with this name. Raises InputError."""
        try:
            return self._by_name()[name]
        except KeyError:
            raise InputError(f"{self.source} has no member {name!r}: 'vlae-codec archive list' names them") from None

    def has(self, name: str) -> bool:
        """Whether there is a member of this name."""
        return name in self._by_name()

    @overload
    def __getitem__(self, key: int | str) -> Member: ...

    @overload
    def __getitem__(self, key: slice) -> list[Member]: ...

    def __getitem__(self, key: int | str | slice) -> Member | list[Member]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        number = self.number(key) if isinstance(key, str) else key
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} members, and no member {key}")
        return Member(self, self.entry(number % len(self)))

    # Pictures

    def pictures_of(self, entry: Entry) -> list[Picture]:
        """The pictures of a member. Raises what `decompress_pictures` raises."""
        self.limits.check(0, entry.pictures)
        found, chain = list[Picture](), None
        for number in range(entry.first, entry.first + entry.pictures):
            if chain is None or number not in chain.numbers:
                chain = self._chain(entry, number)
            found.append(chain.picture(number))
        return found

    def _chain(self, entry: Entry, number: int) -> Chain:
        """The chain that a picture of a group is in."""
        chain = self._kept.find(entry.offset, number)
        if chain is None:
            chain = self._read_chain(entry, number)
            if len(chain.numbers) > entry.pictures:
                self._kept.keep(entry.offset, chain)
        return chain

    def _read_chain(self, entry: Entry, number: int) -> Chain:
        fetch = self.fetch(entry)
        contents = container.read_chain(fetch, entry.length, number, self.limits)
        if contents is not None:
            codecs = self._codecs(entry.offset, contents)
            part = contents.parts[0]
            samples = sum(w * h for _, w, h in part.pictures) * prod(part.planes.scale) * part.layout.channels
            numbers = (number for number, _, _ in part.pictures)
            return Chain(numbers, unwind_chains(contents, codecs, self.limits), samples * part.layout.bytes)
        self.limits.check(0, memory=entry.length)
        with workers(self.threads) as run:
            data = fetch(0, entry.length)
            pictures = decode_all(data, None, self.model, self.device, run, None, self.limits)
        size = sum(picture.pixels.nbytes for picture in pictures)
        return Chain(range(len(pictures)), enumerate(pictures), size)

    def _codecs(self, offset: int, contents: container.Contents) -> list[TileCodec | None]:
        """The codecs of chains, which are those of all chains of their group and layout."""
        key = offset, contents.parts[0].layout
        found = self._found.get(key)
        if found is None or any(
            codec is None and part.model_needed for codec, part in zip(found, contents.parts, strict=True)
        ):
            found = codecs_for(contents, self.model, self.device)
            if len(self._found) >= CODECS:
                self._found.clear()
            self._found[key] = found
        return found

    def thumbnail_of(self, entry: Entry) -> bytes | None:
        """The thumbnail of a member, if it has one. Raises CorruptFile."""
        return find_thumbnail(self.fetch(entry), entry.length) if entry.first == 0 else None

    def fetch(self, entry: Entry) -> container.Fetch:
        """A function that reads bytes of a member's group."""
        return lambda offset, size: self.source.read(entry.offset + offset, min(size, entry.length - offset))

    @property
    def arrays(self) -> Arrays:
        """The samples of all members, as a sequence: a Dataset of torch that its own `default_collate` takes."""
        return Arrays(self)

    # Closing and pickling

    def close(self) -> None:
        """Closes the file, if it was opened here."""
        self.source.close()
        self._kept.clear()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _reopen, (self.source.origin, self.options)


def _reopen(origin: Any, options: dict[str, Any]) -> Archive:
    return Archive(origin, **options)


class Arrays(Sequence[np.ndarray]):
    """The samples of the members of an archive, (H, W) or (H, W, C) each."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def __len__(self) -> int:
        return len(self.archive)

    @overload
    def __getitem__(self, key: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: slice) -> list[np.ndarray]: ...

    def __getitem__(self, key: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        return self.archive[key].pixels
