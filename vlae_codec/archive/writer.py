"""An archive is made, or members are added to one, so that a run that is killed loses nothing.

What is written goes behind all that is there, and counts from the moment on when the footer is whole: groups, pages and
root are on the disk before it is written. A new archive gets its name when it is complete.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from vlae_codec import files
from vlae_codec.adapter.effort import DEFAULT as DEFAULT_EFFORT
from vlae_codec.adapter.effort import level
from vlae_codec.archive.groups import THUMBNAIL_EDGE, Group, Grouping, Ready
from vlae_codec.archive.index import FOOTER, PAGE_BYTES, PAGE_MEMBERS, START, Page, pack_end
from vlae_codec.archive.names import name_of, problem_of
from vlae_codec.archive.pages import Entry, pack_page
from vlae_codec.archive.reader import Archive
from vlae_codec.errors import InputError, VlaeError, out_of_memory
from vlae_codec.format import container
from vlae_codec.format.header import MODES
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.jobs import convert
from vlae_codec.jobs.convert import ALL, Keep
from vlae_codec.jobs.plan import PICTURES, Skipped, listed
from vlae_codec.limits import DEFAULT, UNLIMITED, Limits
from vlae_codec.pictures.planes import Options
from vlae_codec.threads import workers

AT_ONCE = 4  # groups that are coded side by side, for each thread
HELD = 1 << 24  # pixels of groups that wait to be coded, about

Pictures = np.ndarray | Picture | str | os.PathLike[str]
Sources = Sequence[str | os.PathLike[str]] | Mapping[str, Pictures] | Iterable[tuple[str, Pictures]]
Report = Callable[[int], None]  # told how many more members are done


class Item(NamedTuple):
    """What is to become a member."""

    name: str
    source: Pictures


class Added(NamedTuple):
    """What became of the sources."""

    members: int  # that were added
    size: int  # bytes of the archive now
    before: int  # bytes of the picture files that are members now
    problems: list[str]  # with what failed
    notes: list[str]  # what was not kept
    left: list[str]  # names that the archive had already
    skipped: list[Skipped]


def create_archive(output: str | Path, sources: Sources, *, force: bool = False, **options: Any) -> Added:
    """Makes an archive of picture files, folders of them, or pictures by their names; returns what became of them.

    sources: paths; or a mapping, or pairs, of names and paths, arrays or `Picture`s. Of a folder all pictures in it are
    taken, under the folder's name. The options are `model`, `effort`, `seed`, `device`, `threads`, `origin`, `verify`,
    `limits` as of `compress`; `keep` as of `compress`; thumbnail: the longer side of those that pictures of more than
    2^14 pixels get, if they take at most 1 % (0: none); report: told of every member that is done.

    Raises InputError (no pictures, two of one name), OutputExists without `force`, OutputError.
    """
    items, found = _items(sources)
    files.check_output(output, force)
    with files.new_file(output, force) as file:
        file.write(START)
        writer = Writer(file, len(START))
        added = _add(writer, items, **options)
        if not added.members:
            raise InputError(added.problems[0] if added.problems else "there are no pictures: give some")
        writer.finish([], 0)
        return added._replace(size=file.tell(), skipped=found[0], problems=[*found[1], *added.problems])


def append_archive(
    path: str | Path, sources: Sources, *, force: bool = False, skip_existing: bool = False, **options: Any
) -> Added:
    """Adds members to an archive; all else is as with `create_archive`.

    force: replace members of the same names, whose bytes stay in the file; skip_existing: leave them as they are.
    Raises InputError for names that the archive has already, and CorruptFile for a damaged one. If the run fails or is
    killed, the archive is as it was.
    """
    items, found = _items(sources)
    limits = options.get("limits", DEFAULT)
    with files.changed_file(path) as file:
        with Archive(path, limits=limits) as archive:
            end, pages, here = archive.footer.end, archive.pages, set(archive.names)
            there = [item.name for item in items if item.name in here]
            if there and not (force or skip_existing):
                raise InputError(f"{path} has a member {there[0]!r} already: give --force or --skip-existing")
            replaced = set(there) if force else set[str]()
            items = [item for item in items if force or item.name not in here]
            few = bool(pages) and pages[-1].members < PAGE_MEMBERS
            keep = 0 if replaced else len(pages) - few
            entries = [one for number in range(keep, len(pages)) for one in archive.page(number)]
        writer = Writer(file, end)
        try:
            added = _add(writer, items, **options)
            done = {entry.name for entry in writer.entries.values()}
            old = [entry for entry in entries if entry.name not in done]
            if added.members:
                writer.finish(old, end, pages[:keep])
                end = file.tell()
        finally:
            file.truncate(end)
        left = [] if force else there
        return added._replace(size=end, left=left, skipped=found[0], problems=[*found[1], *added.problems])


def _items(sources: Sources) -> tuple[list[Item], tuple[list[Skipped], list[str]]]:
    """What is to be added, what is not, and the folders that cannot be read. Raises InputError."""
    listing = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    pairs = list(listing.items() if isinstance(listing, Mapping) else listing)
    skipped, problems = list[Skipped](), list[str]()
    items: list[Item] = []
    for one in pairs:
        if isinstance(one, tuple):
            name, source = one
            problem = problem_of(name)
            if problem is not None:
                raise InputError(f"{name!r} cannot be the name of a member ({problem}): give another")
            items.append(Item(name, source))
            continue
        found = listed([str(one)], PICTURES)
        inside = os.path.isdir(one) and Path(one) != Path()
        folder = Path(Path(os.path.abspath(one)).name if inside else "")
        items += [Item(name_of(folder / inner), path) for path, inner in found.files]
        skipped += found.skipped
        problems += found.problems
    first: dict[str, Item] = {}
    for item in items:
        other = first.setdefault(item.name, item)
        if other is not item:
            raise InputError(f"two pictures would both be the member {item.name!r}: add them one after the other")
    if not items:
        raise InputError("there are no pictures: give some")
    return items, (skipped, problems)


class Writer:
    """Writes groups behind what counts, and keeps their entries by the numbers of the members."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file = file
        self.entries: dict[int, Entry] = {}
        file.seek(end)
        file.truncate()

    def group(self, data: bytes, entries: Iterable[tuple[int, Entry]]) -> None:
        offset = self.file.tell()
        self.file.write(data)
        for number, entry in entries:
            self.entries[number] = entry._replace(offset=offset, length=len(data))

    def finish(self, old: Sequence[Entry], previous: int, pages: Sequence[Page] = ()) -> None:
        """Writes pages of the old entries and the new ones, the root and the footer, which makes all of it count."""
        entries = iter([*old, *(self.entries[number] for number in sorted(self.entries))])
        listing = list(pages)
        while some := list(islice(entries, PAGE_MEMBERS)):
            for part, data in _pages(some):
                listing.append(Page(len(part), self.file.tell(), len(data), zlib.crc32(data)))
                self.file.write(data)
        end = pack_end(listing, previous)
        self.file.write(end[: -FOOTER.size])
        files.sync(self.file)
        self.file.write(end[-FOOTER.size :])
        files.sync(self.file)


def _pages(entries: Sequence[Entry]) -> Iterator[tuple[Sequence[Entry], bytes]]:
    """The page of some entries, or several where their names are long."""
    if sum(len(entry.name.encode()) for entry in entries) > PAGE_BYTES // 2 and len(entries) > 1:
        yield from _pages(entries[: len(entries) // 2])
        yield from _pages(entries[len(entries) // 2 :])
    else:
        yield entries, pack_page(entries)


def _add(
    writer: Writer,
    items: Sequence[Item],
    *,
    model: str | Path | None = None,
    effort: int = DEFAULT_EFFORT,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    origin: str = "auto",
    verify: bool = True,
    keep: Keep = ALL,
    limits: Limits = DEFAULT,
    thumbnail: int = THUMBNAIL_EDGE,
    report: Report | None = None,
) -> Added:
    """Codes items and writes their groups."""
    level(effort)
    convert_jpeg = convert.codes_jpeg(origin, model)
    options = Options(effort, seed, verify, None, None, model, device, origin)
    entries: dict[int, Entry] = {}
    before = 0
    problems, notes = list[str](), list[str]()
    with workers(threads) as run:
        grouping = Grouping(options, run, thumbnail)

        def attempt(group: Group) -> bytes | str:
            try:
                return grouping.encode(group)
            except (VlaeError, MemoryError) as error:
                return out_of_memory(error) if isinstance(error, MemoryError) else str(error)

        def write(groups: list[Group]) -> None:
            for group, data in zip(groups, run(attempt, groups)):
                if isinstance(data, str):
                    problems.extend(f"{entries[member.number].name}: {data}" for member in group.members)
                else:
                    writer.group(data, _placed(group, data, entries))
                if report is not None:
                    report(len(group.members))

        waiting: list[Group] = []
        for number, item in enumerate(items):
            try:
                pictures, lost, time_ns, permissions, size = _load(item, keep, limits, convert_jpeg)
            except (VlaeError, MemoryError) as error:
                problem = out_of_memory(error) if isinstance(error, MemoryError) else str(error)
                problems.append(problem if item.name in problem else f"{item.name}: {problem}")
                if report is not None:
                    report(1)
                continue
            notes += [f"{item.name}: not kept: {', '.join(lost)}"] if lost else []
            first = pictures[0]
            height, width = first.pixels.shape[:2]
            exact = size if RECIPE in first.metadata else 0
            mode = MODES.index(first.mode)
            what = (len(pictures), width, height, mode, first.bits, time_ns, permissions, exact)
            entries[number] = Entry(item.name, 0, 0, 0, *what)
            before += size
            waiting += grouping.add(Ready(number, pictures))
            if len(waiting) >= AT_ONCE * run.threads or sum(group.pixels for group in waiting) > HELD:
                write(waiting)
                waiting = []
        write([*waiting, *grouping.finish()])
    return Added(len(writer.entries), 0, before, problems, notes, [], [])


def _placed(group: Group, data: bytes, entries: Mapping[int, Entry]) -> Iterator[tuple[int, Entry]]:
    """The entries of a group's members, in the group."""
    first = 0
    for member in group.members:
        entry = entries[member.number]._replace(first=first)
        if entry.size and group.way is None and RECIPE not in container.read(data, UNLIMITED).metadata_of(0):
            entry = entry._replace(size=0)  # its recipe needed coefficients that are not what is stored
        yield member.number, entry
        first += len(member.pictures)


def _load(item: Item, keep: Keep, limits: Limits, jpeg: bool) -> tuple[list[Picture], list[str], int, int, int]:
    """The pictures of an item, what of it is lost, its time, permissions and bytes."""
    source = item.source
    if isinstance(source, (np.ndarray, Picture)):
        picture = check_picture(source if isinstance(source, Picture) else Picture(source))
        height, width = picture.pixels.shape[:2]
        limits.check(height * width, 1, picture.pixels.nbytes)
        return [picture], [], 0, 0, 0
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"a picture is a path, an array or a Picture, not {type(source).__name__}: give one of them")
    loaded = convert.load(Path(source), keep, limits, jpeg)
    status = os.stat(source)
    return loaded.pictures, loaded.notes, status.st_mtime_ns, status.st_mode & 0o777, status.st_size
