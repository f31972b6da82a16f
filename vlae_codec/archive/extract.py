"""Members back into files, or only decoded; and what of a damaged archive can be saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vlae_codec import files
from vlae_codec.archive.encode import file_of
from vlae_codec.archive.names import place_of
from vlae_codec.archive.pages import Entry
from vlae_codec.archive.reader import Archive
from vlae_codec.archive.salvage import Saved, lost_groups
from vlae_codec.archive.source import Source
from vlae_codec.errors import CorruptFile, InputError, OutputError, VlaeError, out_of_memory
from vlae_codec.format import container
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.decode import decode_all
from vlae_codec.pictures.holes import Hole
from vlae_codec.threads import Run, workers

LOST = "lost+found"  # the folder of pictures whose names are lost
Report = Callable[[str], None]  # told the name of every member that is done
Take = Callable[[str, list[Picture], Entry | None], list[str] | None]


class Extracted(NamedTuple):
    """What became of the members."""

    members: int  # that are back
    problems: list[str]  # with what failed
    notes: list[str]  # what the formats of files could not hold
    left: list[str]  # members whose files were there
    found: int = 0  # pictures among the members whose names are lost
    holes: Mapping[str, tuple[Hole, ...]] = {}  # of members of which only a part is back
    lost: Sequence[str] = ()  # of which nothing is back, with the reasons


def extract_archive(
    origin: str | os.PathLike[str] | BinaryIO,
    output: str | Path,
    names: Sequence[str] = (),
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    strict: bool = False,
    force: bool = False,
    skip_existing: bool = False,
    salvage: bool = False,
    limits: Limits = DEFAULT,
    report: Report | None = None,
) -> Extracted:
    """Writes members of an archive into the folder `output`, made if need be; returns what became of them.

    names: of members, of folders of them, or patterns such as "*.png"; all without any. A member gets the name that it
    has, with .png or .tif behind it if its pictures cannot be written in the format that the name says; times and
    permissions are those that it had. What is wrong with one is in the problems, and stops no other. strict: what a
    format cannot hold is a problem. force: overwrite files; skip_existing: leave them as they are. salvage: what is
    good of a damaged member, with holes as `vlae_codec.salvage` leaves them; also of an archive whose index is damaged,
    and pictures whose names are lost, which go into lost+found. Damage is no problem then, but in `holes` and `lost`.

    Raises InputError (no such member), NotAVlaeFile, UnsupportedVersion, CorruptFile (no index), OutputError.
    """
    files.make_folder(output)

    def write(name: str, pictures: list[Picture], entry: Entry | None) -> list[str] | None:
        made = file_of(name, pictures, limits)
        if made.notes and strict:
            raise OutputError(f"{made.name} cannot hold {', '.join(made.notes)}: leave out --strict")
        place = place_of(output, made.name)
        if skip_existing and os.path.lexists(place):
            return None
        files.write_file(place, made.data, force)
        with suppress(OSError):  # some file systems have no permissions, or no such times
            if entry is not None and entry.permissions:
                os.chmod(place, entry.permissions)
            if entry is not None and entry.time:
                os.utime(place, ns=(entry.time, entry.time))
        return made.notes

    options = {"model": model, "device": device, "limits": limits}
    with workers(threads) as run:
        return _Taking(write, salvage, options, run, report).each(origin, names)


def check_archive(
    origin: str | os.PathLike[str] | BinaryIO,
    names: Sequence[str] = (),
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    salvage: bool = False,
    limits: Limits = DEFAULT,
    report: Report | None = None,
) -> Extracted:
    """Decodes members and writes nothing. All else is as with `extract_archive`."""
    options = {"model": model, "device": device, "limits": limits}
    with workers(threads) as run:
        return _Taking(lambda *_: [], salvage, options, run, report).each(origin, names)


def chosen(entries: Iterable[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries that names, folders or patterns name. Raises InputError for one that names none."""
    if not names:
        return list(entries)
    wanted, found = {name.rstrip("/") for name in names}, []
    patterns = [name for name in wanted if any(letter in name for letter in "*?[")]
    used = set[str]()
    for entry in entries:
        parts = entry.name.split("/")
        exact = {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)} & wanted
        matching = exact | {pattern for pattern in patterns if fnmatchcase(entry.name, pattern)}
        used |= matching
        if matching:
            found.append(entry)
    if missing := sorted(wanted - used):
        raise InputError(f"the archive has no member {missing[0]!r}: 'vlae-codec archive list' names them")
    return found


class _Taking:
    """Does something with members, group by group: `take` gets the name, the pictures and the entry of each, and
    returns notes, or None if it was left.
    """

    def __init__(self, take: Take, salvage: bool, options: Mapping[str, Any], run: Run, report: Report | None) -> None:
        self.take, self.salvage, self.options, self.run, self.report = take, salvage, options, run, report
        self.back, self.found = list[str](), list[str]()  # members, and pictures whose names are lost
        self.problems, self.notes, self.left, self.lost = list[str](), list[str](), list[str](), list[str]()
        self.holes: dict[str, tuple[Hole, ...]] = {}

    def each(self, origin: str | os.PathLike[str] | BinaryIO, names: Sequence[str]) -> Extracted:
        """Takes the members that are wanted."""
        try:
            archive = Archive(origin, threads=1, **self.options)
        except CorruptFile as error:
            if not self.salvage:
                raise
            self.lost.append(str(error))
            source = Source(origin)
            for place in lost_groups(source, []):
                self._nameless(source, place)
            source.close()
        else:
            with archive:
                self._named(archive, names)
        members, found = len(self.back) + len(self.found), len(self.found)
        return Extracted(members, self.problems, self.notes, self.left, found, self.holes, self.lost)

    def _named(self, archive: Archive, names: Sequence[str]) -> None:
        entries = list(self._readable(archive) if self.salvage else archive.entries())
        groups: dict[tuple[int, int], list[Entry]] = {}
        for entry in chosen(entries, names):
            groups.setdefault((entry.offset, entry.length), []).append(entry)
        self.run(lambda members: self._group(archive, members), list(groups.values()))
        if len(entries) < len(archive) and not names:  # else a group that is not known holds a member that was replaced
            known = {(entry.offset, entry.length) for entry in entries}
            for place in lost_groups(archive.source, sorted(known)):
                self._nameless(archive.source, place)

    def _group(self, archive: Archive, members: Sequence[Entry]) -> None:
        whole = self._whole(archive, members) if len(members) > 1 else None
        saved: Saved | None = None
        for entry in members:
            holes: tuple[Hole, ...] = ()
            try:
                part = None if whole is None else whole[entry.first : entry.first + entry.pictures]
                try:
                    pictures = part if part and len(part) == entry.pictures else archive.pictures_of(entry)
                except CorruptFile:
                    if not self.salvage:
                        raise
                    saved = saved or self._saved(archive.source, (entry.offset, entry.length))
                    pictures, holes = saved.pictures(entry.first, entry.pictures)
            except (VlaeError, MemoryError) as error:
                self._fail(entry.name, error)
            else:
                self._take(entry.name, pictures, entry, holes, self.back)
            if self.report is not None:
                self.report(entry.name)

    def _take(
        self, name: str, pictures: list[Picture], entry: Entry | None, holes: tuple[Hole, ...], back: list[str]
    ) -> None:
        try:
            notes = self.take(name, pictures, entry)
        except (VlaeError, MemoryError) as error:
            return self._fail(name, error)
        if notes is None:
            return self.left.append(name)
        back.append(name)
        self.notes += [f"{name}: not kept: {', '.join(notes)}"] if notes else []
        if holes:
            self.holes[name] = holes

    def _fail(self, name: str, error: VlaeError | MemoryError) -> None:
        problem = out_of_memory(error) if isinstance(error, MemoryError) else str(error)
        damaged = self.salvage and isinstance(error, CorruptFile)
        (self.lost if damaged else self.problems).append(problem if name in problem else f"{name}: {problem}")

    def _saved(self, source: Source, place: tuple[int, int]) -> Saved:
        self.options["limits"].check(0, memory=place[1])
        return Saved(source.read(*place), run=self.run, **self.options)

    def _nameless(self, source: Source, place: tuple[int, int]) -> None:
        """Takes the pictures of a group whose members are not known."""
        try:
            saved = self._saved(source, place)
        except (VlaeError, MemoryError) as error:
            return self._fail(f"a group at byte {place[0]}", error)
        for number in range(len(saved.all)):
            name = f"{LOST}/{place[0]:012d}-{number:04d}"
            try:
                pictures, holes = saved.pictures(number, 1)
            except CorruptFile as error:
                self._fail(name, error)
            else:
                self._take(name, pictures, None, holes, self.found)
            if self.report is not None:
                self.report(name)

    def _whole(self, archive: Archive, members: Sequence[Entry]) -> list[Picture] | None:
        """All pictures of a group, of which most are wanted; None if it is damaged, for some of them may be good."""
        entry = members[0]
        try:
            archive.limits.check(0, memory=entry.length)
            data = archive.source.read(entry.offset, entry.length)
            if container.read_header(data).count > 4 * len(members):
                return None
            return decode_all(data, None, archive.model, archive.device, self.run, None, archive.limits)
        except VlaeError:
            return None

    def _readable(self, archive: Archive) -> Iterator[Entry]:
        """The entries of all pages that are good."""
        for number in range(len(archive.pages)):
            try:
                yield from archive.page(number)
            except VlaeError as error:
                self.lost.append(f"{archive.pages[number].members} members have lost their names: {error}")
