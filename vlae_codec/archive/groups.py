"""Which pictures are coded together, and how.

Small pictures of a kind are coded in chains, a few in each, so that each pays for the latents of the next and still one
comes back soon: a chain has some 2^15 bits, of which its head takes 0.4 %. Large ones, several frames or pages, and
those whose very file is made of a JPEG's coefficients are files of their own, as `compress` makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vlae_codec.format import container
from vlae_codec.format.thumbnails import with_thumbnail
from vlae_codec.images.picture import Picture
from vlae_codec.images.thumbnails import make_thumbnail
from vlae_codec.limits import UNLIMITED
from vlae_codec.pictures.codec import codes, kind_of
from vlae_codec.pictures.encode import encode
from vlae_codec.pictures.planes import Options
from vlae_codec.threads import Run
from vlae_codec.weights.model import find_model, known_models

SMALL = 1 << 14  # pixels of a picture that is coded in a chain, at most
GROUP_PIXELS = 1 << 20  # of a group of chains
GROUP_PICTURES = 1 << 12
GROUP_METADATA = 1 << 16  # bytes of metadata of a group: they are read for each of its members
UNKNOWN_PIXELS = 1 << 17  # of a group that may be smaller without a model, which is then read as a whole
CHAIN_BITS, CHAIN_PIXELS = 1 << 15, 1 << 16  # of a chain, about and at most
TRIED = 8  # pictures by which a model is chosen
THUMBNAIL_SHARE = 0.01  # of a file that a thumbnail may take
THUMBNAIL_EDGE = 96  # pixels of the longer side

Kind = tuple[str, str, int]  # mode, type and levels: pictures of a kind may be coded together


class Ready(NamedTuple):
    """A member to be coded."""

    number: int  # its place in the order of the members
    pictures: list[Picture]

    @property
    def pixels(self) -> int:
        return sum(one.pixels.shape[0] * one.pixels.shape[1] for one in self.pictures)

    @property
    def metadata(self) -> int:
        return sum(len(value) for one in self.pictures for value in one.metadata.values())


class Way(NamedTuple):
    """How small pictures of a kind are coded, as a few of them tell."""

    model: str | Path | None
    bits: float  # a pixel
    clear: bool  # all of it is coded by a model


class Group(NamedTuple):
    """Members that are coded together; way: of chains."""

    members: list[Ready]
    way: Way | None = None

    @property
    def pixels(self) -> int:
        return sum(member.pixels for member in self.members)


class Grouping:
    """Puts members into groups, one after another, and codes groups.

    thumbnail: the longer side of those that large members get, pixels; 0: none.
    """

    def __init__(self, options: Options, run: Run, thumbnail: int = THUMBNAIL_EDGE) -> None:
        self.options, self.run, self.thumbnail = options, run, thumbnail
        self.open: dict[Kind, list[Ready]] = {}
        self.ways: dict[Kind, Way] = {}

    def add(self, member: Ready) -> Iterator[Group]:
        """Takes a member, and gives the groups that are full now."""
        first = member.pictures[0]
        if len(member.pictures) > 1 or first.coefficients is not None or member.pixels > SMALL:
            yield Group([member])
            return
        kind = first.mode, str(first.pixels.dtype), first.levels
        waiting = self.open.setdefault(kind, [])
        waiting.append(member)
        if len(waiting) == TRIED and kind not in self.ways:
            self.ways[kind] = self._find_way(waiting)
        pixels = GROUP_PIXELS if kind not in self.ways or self.ways[kind].clear else UNKNOWN_PIXELS
        if (
            sum(one.pixels for one in waiting) > pixels - SMALL
            or len(waiting) >= GROUP_PICTURES
            or sum(one.metadata for one in waiting) > GROUP_METADATA
        ):
            yield self._close(kind)

    def finish(self) -> Iterator[Group]:
        """The groups that are not full."""
        for kind in list(self.open):
            yield self._close(kind)

    def _close(self, kind: Kind) -> Group:
        members = self.open.pop(kind)
        if kind not in self.ways:
            self.ways[kind] = self._find_way(members)
        return Group(members, self.ways[kind])

    def _find_way(self, members: Sequence[Ready]) -> Way:
        """How some members take least, without an adapter."""
        pictures = [member.pictures[0] for member in members[:TRIED]]
        pixels = sum(picture.pixels.shape[0] * picture.pixels.shape[1] for picture in pictures)
        best: tuple[int, Way] | None = None
        for model in self._models(pictures[0]):
            options = self.options._replace(effort=1, verify=False, model=model, progress=None, watch=None)
            data = encode(pictures, 1, options, self.run)
            contents = container.read(data, UNLIMITED)
            streams = sum(len(record.data) for record in contents.records)
            clear = all(record.coded for record in contents.records)
            if best is None or streams < best[0]:
                best = streams, Way(model, 8 * streams / pixels, clear)
        assert best is not None
        return best[1]

    def _models(self, picture: Picture) -> list[str | Path | None]:
        """The models that pictures of this kind may be coded with: the one that is asked for, or all shipped ones."""
        channels = 3 if picture.channels >= 3 else 1
        kind = kind_of(picture.mode, channels)
        if self.options.model is not None or kind is None or not picture.levels:
            return [self.options.model]
        names = [found.name for found in known_models() if found.place == "built-in"]
        return [None, *(name for name in names if codes(find_model(name).config, kind))]

    def encode(self, group: Group) -> bytes:
        """The .vlae file of a group. Raises what `compress` raises."""
        pictures = [picture for member in group.members for picture in member.pictures]
        if group.way is None:
            data = encode(pictures, 0, self.options, self.run)
            small = make_thumbnail(pictures[0], self.thumbnail) if self.thumbnail else None
            pays = small is not None and len(small) <= THUMBNAIL_SHARE * len(data)
            return with_thumbnail(data, small) if small is not None and pays else data
        options = self.options._replace(model=group.way.model)
        bits = round(group.way.bits * group.pixels)
        chains = max(1, round(bits / CHAIN_BITS), -(-group.pixels // CHAIN_PIXELS))
        data = encode(pictures, chains, options, self.run)
        if group.way.clear:
            return data
        alone = (encode(pictures, count, options, self.run) for count in (0, 1))
        return min(data, *alone, key=len)
