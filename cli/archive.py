"""``vlae-codec archive``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from vlae_codec import files
from vlae_codec.adapter.effort import DEFAULT, LEVELS
from vlae_codec.limits import Limits

from .app import Failure
from .common import blame, on_terminal, say
from .options import add, limited, quiet, running, threads
from .summary import SALVAGED, holes_in


@click.group()
def archive() -> None:
    """Many pictures in one file, any of which comes back alone.

    Small pictures are coded together, so that each pays for the latents of the next; names, times, permissions and
    metadata are kept. A run of create or append that is killed leaves the old archive as it was.
    """


def _adding(command: Any) -> Any:
    """The options of create and append."""
    return add(
        command,
        click.argument("output", metavar="ARCHIVE", type=click.Path()),
        click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=click.Path()),
        running("whichever shipped one does best"),
        click.option("--effort", type=click.IntRange(min(LEVELS), max(LEVELS)), default=DEFAULT, show_default=True),
        click.option("--verify/--no-verify", default=True, show_default=True, help="Decode and compare."),
        click.option("--exact", is_flag=True, help="Keep the very files: extract gives them back byte for byte."),
        click.option("--strict", is_flag=True, help="Refuse pictures of which anything would not be kept."),
        click.option(
            "--strip",
            type=click.Choice(["all", "all-but-icc"]),
            is_flag=False,
            flag_value="all",
            help="Drop the metadata; --strip=all-but-icc keeps the colour profile.",
        ),
        click.option(
            "--thumbnail",
            type=click.IntRange(0, 1024),
            metavar="N",
            default=96,
            show_default=True,
            help="Longer side of the thumbnails that large pictures get, if they take at most 1 %; 0 for none.",
        ),
        limited,
    )


@archive.command()
@_adding
def create(output: str, sources: tuple[str, ...], **options: Any) -> None:
    """Make the archive ARCHIVE of pictures and of folders with all pictures in them.

    The pictures of a folder are named with it: album/one.png. Hidden files, and files in folders that are not named
    like pictures, are left out. Pictures that fail are listed at the end; the others are done all the same.
    """
    from vlae_codec.archive.writer import create_archive

    files.check_output(output, options["force"])
    _build(create_archive, output, sources, options)


@archive.command()
@click.option("--skip-existing", is_flag=True, help="Leave members that the archive has as they are.")
@_adding
def append(output: str, sources: tuple[str, ...], **options: Any) -> None:
    """Add pictures to the archive ARCHIVE. With --force they replace members of the same names.

    The archive is as it was until all of it is on the disk, and stays so if the run fails or is killed.
    """
    from vlae_codec.archive.writer import append_archive

    if options["force"] and options["skip_existing"]:
        raise click.UsageError("--force and --skip-existing exclude each other.")
    with blame(output):
        _build(append_archive, output, sources, options)


def _build(function: Any, output: str, sources: tuple[str, ...], options: dict[str, Any]) -> None:
    from vlae_codec.jobs.convert import Keep

    quiet, start = options.pop("quiet"), time.perf_counter()
    exact, strict, strip = options.pop("exact"), options.pop("strict"), options.pop("strip")
    if exact and strip:
        raise click.UsageError("--exact and --strip exclude each other.")
    keep = Keep({None: "all", "all": "none", "all-but-icc": "icc"}[strip], exact, strict)
    with _counter("archive", quiet) as report:
        added = function(output, list(sources), keep=keep, report=report, **options)
    for note in added.notes:
        say(note)
    if not quiet:
        share = f", {100 * added.size / added.before:.0f} % of the input files" if added.before else ""
        share = share if function.__name__ == "create_archive" else f", {added.size:,} bytes now"
        size = f", {added.size:,} bytes" if function.__name__ == "create_archive" else ""
        say(f"{output}: {added.members} members added{size}{share}, {time.perf_counter() - start:.1f} s")
        if added.left:
            say(f"{len(added.left)} members left as before")
        if added.skipped:
            say(f"skipped {len(added.skipped)} other files")
    _conclude(added.problems)


@archive.command(name="list")
@click.argument("source", metavar="ARCHIVE", type=click.Path())
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each member, one a line.")
@click.option("--html", "page", metavar="FILE", type=click.Path(), help="Write a page that shows all members.")
@click.option("-f", "--force", is_flag=True, help="Overwrite FILE if it exists.")
@limited
def listing(source: str, names: tuple[str, ...], as_json: bool, page: str | None, force: bool, limits: Limits) -> None:
    """Name the members of ARCHIVE, or those that NAME names: a member, a folder or a pattern such as "*.png".

    A line has the permissions, the bytes of the file if the very file comes back, the size and kind of the picture, the
    time and the name. --html writes one page that needs no other file; it shows thumbnails, and decodes the members
    that have none.
    """
    from vlae_codec.archive import listing as lines
    from vlae_codec.archive.extract import chosen
    from vlae_codec.archive.reader import Archive, Member

    with blame(source), Archive(source, limits=limits) as opened:
        if page is not None:
            with files.new_file(page, force) as file:
                for part in lines.page(opened, source):
                    file.write(part.encode())
            return
        for entry in chosen(opened.entries(), names):
            member = Member(opened, entry)
            click.echo(json.dumps(lines.facts(member)) if as_json else lines.line(member))


def _decoding(command: Any) -> Any:
    """The arguments and options of extract and test."""
    return add(
        command,
        click.argument("source", metavar="ARCHIVE", type=click.Path()),
        click.argument("names", metavar="[NAME]...", nargs=-1),
        click.option("--model", metavar="PATH_OR_NAME", help="Weight file or name [default: those of the archive]."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        click.option(
            "--salvage",
            is_flag=True,
            help=f"Bring back what is good of a damaged archive; the exit status is {SALVAGED} if anything is lost.",
        ),
        threads,
        quiet,
        limited,
    )


@archive.command()
@_decoding
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to write into.")
@click.option("-f", "--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave files that exist as they are.")
@click.option("--strict", is_flag=True, help="Refuse a format that cannot hold everything.")
def extract(source: str, names: tuple[str, ...], output: str, quiet: bool, **options: Any) -> None:
    """Bring back all members of ARCHIVE, or those that NAME names: a member, a folder or a pattern such as "*.png".

    A JPEG, and a file that was added with --exact, comes back byte for byte; any other member as a picture file of the
    kind that its name says, or with .png or .tif behind the name. No member leaves the folder OUTPUT, and no link in
    it is followed. A member that is damaged is named, and the others come back. With --salvage so does what is good of
    it, the rest is grey and its places are named; and pictures whose names are lost go into OUTPUT/lost+found.
    """
    from vlae_codec.archive.extract import extract_archive

    if options["force"] and options["skip_existing"]:
        raise click.UsageError("--force and --skip-existing exclude each other.")
    start = time.perf_counter()
    with blame(source), _counter("extract", quiet) as report:
        step = None if report is None else lambda _: report(1)
        done = extract_archive(source, output, names, report=step, **options)
    for note in done.notes:
        say(note)
    if not quiet:
        say(f"{output}: {done.members} members, {time.perf_counter() - start:.1f} s")
        if done.found:
            say(f"{done.found} of them have lost their names")
        if done.left:
            say(f"{len(done.left)} files left as before")
    _conclude_with_holes(done)


@archive.command()
@_decoding
def test(source: str, names: tuple[str, ...], quiet: bool, **options: Any) -> None:
    """Decode all members of ARCHIVE, or those that NAME names, and write nothing; status 1 if one is damaged.

    With --salvage what is damaged is named place by place, as extract --salvage would find it.
    """
    from vlae_codec.archive.extract import check_archive

    start = time.perf_counter()
    with blame(source), _counter("test", quiet) as report:
        step = None if report is None else lambda _: report(1)
        done = check_archive(source, names, report=step, **options)
    if not quiet:
        good = done.members - len(done.holes)
        say(f"{source}: {good} members are good, {time.perf_counter() - start:.1f} s")
    _conclude_with_holes(done)


def _conclude_with_holes(done: Any) -> None:
    """Names what is lost, which --salvage alone finds."""
    from vlae_codec.archive.listing import printable

    for name, holes in sorted(done.holes.items()):
        for line in holes_in(printable(name), holes, (), ""):
            say(line)
    for line in done.lost:
        say(f"lost: {printable(line)}")
    _conclude(done.problems)
    if done.holes or done.lost:
        click.get_current_context().exit(SALVAGED)


def _conclude(problems: list[str]) -> None:
    for problem in problems:
        Failure(problem).show()
    if problems:
        raise Failure(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")


@contextmanager
def _counter(label: str, quiet: bool) -> Iterator[Any]:
    """A function that counts members on a bar, for people only."""
    if quiet or not on_terminal():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=" members", leave=False) as bar:
        yield bar.update
