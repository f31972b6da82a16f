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
from vlae_codec.archive.index import START
from vlae_codec.archive.names import place_of
from vlae_codec.archive.pages import Entry
from vlae_codec.archive.reader import Archive
from vlae_codec.archive.source import BLOCK, Source
from vlae_codec.errors import CorruptFile, InputError, OutputError, VlaeError, out_of_memory
from vlae_codec.format import container
from vlae_codec.format.chunks import CRC, beginning, read_varint
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.pictures.decode import decode_all
from vlae_codec.threads import Run, workers

LOST = "lost+found"  # the folder of pictures whose names are lost
MARK = container.MAGIC + bytes([container.VERSION])
Report = Callable[[str], None]  # told the name of every member that is done


class Extracted(NamedTuple):
    """What became of the members."""

    members: int  # that are back
    problems: list[str]  # with what failed
    notes: list[str]  # what the formats of files could not hold
    left: list[str]  # members whose files were there
    found: int = 0  # pictures among the members whose names are lost


class Take(NamedTuple):
    """What is done with each member: it takes a name, pictures and an entry, and returns notes, None if it was left."""

    function: Callable[[str, list[Picture], Entry | None], list[str] | None]
    salvage: bool = False


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
    format cannot hold is a problem. force: overwrite files; skip_existing: leave them as they are. salvage: also of an
    archive whose index is damaged, and pictures whose names are lost, which go into lost+found.

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
    return _each(origin, names, Take(write, salvage), options, threads, report)


def check_archive(
    origin: str | os.PathLike[str] | BinaryIO,
    names: Sequence[str] = (),
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT,
    report: Report | None = None,
) -> Extracted:
    """Decodes members and writes nothing. All else is as with `extract_archive`."""
    options = {"model": model, "device": device, "limits": limits}
    return _each(origin, names, Take(lambda *_: []), options, threads, report)


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


def _each(
    origin: str | os.PathLike[str] | BinaryIO,
    names: Sequence[str],
    take: Take,
    options: Mapping[str, Any],
    threads: int | None,
    report: Report | None,
) -> Extracted:
    """Takes the members that are wanted, group by group."""
    done = Extracted(0, [], [], [])
    counts = [0, 0]

    def attempt(name: str, pictures: Callable[[], list[Picture]], entry: Entry | None) -> None:
        try:
            notes = take.function(name, pictures(), entry)
            if notes is None:
                done.left.append(name)
            else:
                counts[0] += 1
                done.notes.extend([f"{name}: not kept: {', '.join(notes)}"] if notes else [])
        except (VlaeError, MemoryError) as error:
            problem = out_of_memory(error) if isinstance(error, MemoryError) else str(error)
            done.problems.append(problem if name in problem else f"{name}: {problem}")
        if report is not None:
            report(name)

    def lost(source: Source, place: tuple[int, int], run: Run) -> None:
        model, device, limits = options["model"], options["device"], options["limits"]
        try:
            limits.check(0, memory=place[1])
            found = decode_all(source.read(*place), None, model, device, run, None, limits)
        except (VlaeError, MemoryError) as error:
            done.problems.append(f"a group at byte {place[0]}: {error}")
            return
        for number, picture in enumerate(found):
            before = counts[0]
            attempt(f"{LOST}/{place[0]:012d}-{number:04d}", lambda picture=picture: [picture], None)  # type: ignore[misc]
            counts[1] += counts[0] - before

    try:
        archive = Archive(origin, threads=1, **options)
    except CorruptFile as error:
        if not take.salvage:
            raise
        done.problems.append(str(error))
        source = Source(origin)
        with workers(threads) as run:
            for place in lost_groups(source, []):
                lost(source, place, run)
        source.close()
        return done._replace(members=counts[0], found=counts[1])
    with archive, workers(threads) as run:
        entries = list(_readable(archive, done.problems)) if take.salvage else list(archive.entries())
        groups: dict[tuple[int, int], list[Entry]] = {}
        for entry in chosen(entries, names):
            groups.setdefault((entry.offset, entry.length), []).append(entry)

        def one(members: list[Entry]) -> None:
            whole = _whole(archive, members, run) if len(members) > 1 else None
            for entry in members:

                def pictures(entry: Entry = entry) -> list[Picture]:
                    part = None if whole is None else whole[entry.first : entry.first + entry.pictures]
                    return part if part and len(part) == entry.pictures else archive.pictures_of(entry)

                attempt(entry.name, pictures, entry)

        run(one, list(groups.values()))
        if take.salvage and not names:
            known = {(entry.offset, entry.length) for entry in entries}
            for place in lost_groups(archive.source, sorted(known)):
                if done.problems:  # else it is a member that was replaced
                    lost(archive.source, place, run)
    return done._replace(members=counts[0], found=counts[1])


def _whole(archive: Archive, members: Sequence[Entry], run: Run) -> list[Picture] | None:
    """All pictures of a group, of which most are wanted; None if it is damaged, for some of them may be good."""
    entry = members[0]
    try:
        archive.limits.check(0, memory=entry.length)
        data = archive.source.read(entry.offset, entry.length)
        if container.read_header(data).count > 4 * len(members):
            return None
        return decode_all(data, None, archive.model, archive.device, run, None, archive.limits)
    except VlaeError:
        return None


def _readable(archive: Archive, problems: list[str]) -> Iterator[Entry]:
    """The entries of all pages that are good."""
    for number in range(len(archive.pages)):
        try:
            yield from archive.page(number)
        except VlaeError as error:
            problems.append(f"{archive.pages[number].members} members have lost their names: {error}")


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
