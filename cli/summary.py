"""What is said of files that were converted or tested: lines for people on stderr, JSON for programs on stdout."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from vlae_codec.pipes import shown

from .app import Failure
from .common import Bar, say

SALVAGED = 3  # the exit status where a part of a damaged file was brought back
NAMED = 20  # holes of a file that are named on stderr


class Direction:
    """How the sizes of picture files and .vlae files are told, by what was done with them.

    region: (x, y, w, h) if only this part of the picture was brought back.
    """

    def __init__(self, verb: str, region: tuple[int, int, int, int] | None = None) -> None:
        self.verb, self.compressing, self.region = verb, verb == "compress", region

    def sizes(self, source: str, headers: Sequence[Any], picture_size: int, size: int) -> str:
        """source: the name of the input; picture_size: bytes of the picture files, size: of their .vlae files."""
        subpixels = sum(header.subpixels for header in headers)
        pixels = sum(header.bits for header in headers) / 8
        rate = f"{size:,} bytes, {8 * size / subpixels:.3f} bpsp"
        if not self.compressing:
            return f"{picture_size:,} bytes; {source}: {rate}"
        rate = f"{rate}, {100 * size / pixels:.0f} % of the pixels' bytes"
        if not picture_size:  # it has gone since
            return rate
        if size > picture_size:
            return f"{rate}; larger than {source}: {picture_size:,} -> {size:,} bytes"
        return f"{rate}; {100 * size / picture_size:.0f} % of {source} ({picture_size:,} bytes)"

    def picture(self, output: str, source: str, header: Any, picture_size: int, size: int, seconds: float) -> str:
        """The line on one picture."""
        if self.verb == "test":
            return f"{source}: good, {shape(header)}, {size:,} bytes, {seconds:.1f} s"
        if self.region is not None:
            x, y, width, height = self.region
            whole = f"{header.width}x{header.height} {header.first.mode}"
            return f"{output}: {width}x{height} at x={x}, y={y} of {whole}, {seconds:.1f} s"
        sizes = self.sizes(source, [header], picture_size, size)
        return f"{output}: {shape(header)}, {sizes}, {seconds:.1f} s"

    def total(self, output: str, outcomes: Sequence[Any], seconds: float) -> str:
        """The line on all pictures of a run that did not fail."""
        if self.verb == "test":
            return f"{output}: {len(outcomes)} files are good, {seconds:.1f} s"
        picture_size, size = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("picture_size", "size"))
        sizes = self.sizes("the input files", [outcome.header for outcome in outcomes], picture_size, size)
        larger = sum(outcome.size > outcome.picture_size for outcome in outcomes) if self.compressing else 0
        also = f", {larger} of them larger than the input file" if larger else ""
        return f"{output}: {len(outcomes)} pictures{also}, {sizes}, {seconds:.1f} s"


def shape(header: Any) -> str:
    """The pictures of a file in a few words."""
    first, several = header.first, f"{header.count} pictures, the first " if header.count > 1 else ""
    usual = 1 if first.mode == "1" else 8
    depth = f" {first.type}" if first.type != "unsigned" else f" of {first.bits} bits" if first.bits != usual else ""
    return f"{several}{header.width}x{header.height} {first.mode}{depth}"


def not_kept(path: Any, notes: Sequence[str], jpeg: bool = False, before: int = 0, size: int = 0) -> list[str]:
    """Lines on what a file has lost; of a JPEG that does not come back, that its pixels do, and the sizes of both."""
    damage = [note for note in notes if note.startswith("the file is damaged")]
    lines = [f"{path}: {note}" for note in damage]
    if lost := [note for note in notes if note not in damage]:
        lines.append(f"{path}: not kept: {', '.join(lost)}")
    if jpeg:
        sizes = f", which takes more: {before:,} -> {size:,} bytes" if size > before else ""
        lines.append(f"{path}: a JPEG: its pixels are kept, not the file{sizes}")
    return lines


def holes_in(output: str, holes: Sequence[Any], damaged: Sequence[str], more: str = ": --json lists them") -> list[str]:
    """Lines on what of a damaged file is lost; more: of the last one, if there are many."""
    lines = [f"{output}: lost: {what}" for what in damaged]
    for hole in holes[:NAMED]:
        of = f" of picture {hole.picture}" if hole.picture else ""
        what = "inexact" if hole.inexact else "lost"
        lines.append(f"{output}: {what}: {hole.width}x{hole.height} at x={hole.x}, y={hole.y}{of}: {hole.reason}")
    if len(holes) > NAMED:
        lines.append(f"{output}: {len(holes) - NAMED} more places are lost{more}")
    return lines


def as_object(outcome: Any, direction: Direction) -> dict[str, Any]:
    """What --json says of a file."""
    tested = direction.verb == "test"
    names = (
        ("picture_size", "size") if direction.compressing else ("size", None) if tested else ("size", "picture_size")
    )
    before, after = (None if name is None or outcome.problem else getattr(outcome, name) for name in names)
    status = "failed" if outcome.problem else "salvaged" if is_salvaged(outcome) else "done"
    return {
        "source": str(outcome.source),
        "output": None if tested else str(outcome.output),
        "status": status,
        "source_bytes": before,
        "output_bytes": after,
        "seconds": round(outcome.seconds, 3),
        "error": outcome.problem,
        "not_kept": list(outcome.notes),
        "removed": bool(outcome.removed),
        "lost": [*outcome.damaged, *(hole._asdict() for hole in outcome.holes)],
    }


def is_salvaged(outcome: Any) -> bool:
    return bool(outcome.holes or outcome.damaged)


class Reporter:
    """A line for each file, above the bar if there is one; the totals, what was left out and what failed at the end."""

    def __init__(self, direction: Direction, bar: Bar | None, quiet: bool, verbose: bool, as_json: bool) -> None:
        self.direction, self.bar, self.quiet, self.verbose, self.as_json = direction, bar, quiet, verbose, as_json
        self.start = time.perf_counter()
        self.broken: OSError | None = None

    def options(self) -> dict[str, Any]:
        return {"progress": self.bar and self.bar.report, "report": self.report}

    def report(self, outcome: Any) -> None:
        """A stream that cannot be written to, such as a log on a full disk, does not end the work."""
        if self.broken:
            return
        try:
            if self.as_json:
                self._print(as_object(outcome, self.direction))
            for line in [] if outcome.header is None else self._lines(outcome):
                self.bar.line(line) if self.bar else say(line)
        except OSError as error:
            self.broken = error

    def _lines(self, outcome: Any) -> list[str]:
        source, output = shown(outcome.source), shown(outcome.output, reading=False)
        sizes = (outcome.picture_size, outcome.size)
        named = source if self.direction.compressing else output
        lines = not_kept(named, outcome.notes, outcome.jpeg, *sizes) + holes_in(output, outcome.holes, outcome.damaged)
        if outcome.removed is False:
            lines.append(f"{source} stays: {output} lacks {', '.join(outcome.lacking)}")
        if self.quiet:
            return lines
        return [self.direction.picture(output, source, outcome.header, *sizes, outcome.seconds), *lines]

    def _print(self, found: dict[str, Any]) -> None:
        click.echo(json.dumps(found))

    def conclude(self, done: Any, output: str | None) -> None:
        """Raises Failure if any file or folder failed, and the error of the stream; ends with `SALVAGED` if only a part
        of some could be brought back.
        """
        if self.broken:
            raise self.broken
        plan = done.plan
        if self.as_json:
            self._print_plan(done)
        if not done.outcomes:  # a dry run, or there is nothing to do
            for source, target in plan.tasks if not self.as_json else ():
                click.echo(f"{source} -> {target}")
        if not self.quiet:
            if len(done.outcomes) > 1 and done.done:
                name = "all" if output is None else output
                say(self.direction.total(name, done.done, time.perf_counter() - self.start))
            self._left([task.output for task in plan.left], alone=len(plan.left) == 1 and not plan.tasks)
            self._skipped(plan.skipped)
        self._fail(done)
        if any(map(is_salvaged, done.outcomes)):
            click.get_current_context().exit(SALVAGED)

    def _fail(self, done: Any) -> None:
        if not done.problems:
            return
        files = len(done.plan.tasks) + len(done.plan.problems)
        if files == 1:
            raise Failure(done.problems[0])
        for problem in done.problems:
            Failure(problem).show()
        not_begun = len(done.plan.tasks) - len(done.outcomes)
        raise Failure(f"{len(done.problems)} of {files} failed" + (f", {not_begun} not begun" if not_begun else ""))

    def _print_plan(self, done: Any) -> None:
        """What becomes of files that were not converted."""
        plan = done.plan
        for status, tasks in (("left", plan.left), ("planned", () if done.outcomes else plan.tasks)):
            for source, target in tasks:
                self._print({"source": str(source), "output": str(target), "status": status})
        for path, reason in plan.skipped:
            self._print({"source": str(path), "output": None, "status": "skipped", "reason": reason})
        for problem in plan.problems:
            self._print({"source": None, "output": None, "status": "failed", "error": problem})

    def _left(self, outputs: Sequence[Any], alone: bool) -> None:
        if alone:
            say(f"left as it is: {outputs[0]}")
            return
        if self.verbose:
            for path in outputs:
                say(f"left as it is: {path}")
        if outputs:
            say(f"{len(outputs)} output{'s' if len(outputs) > 1 else ''} left as before")

    def _skipped(self, skipped: Sequence[Any]) -> None:
        if self.verbose:
            for path, reason in skipped:
                say(f"skipped {path}: {reason}")
        elif skipped:
            kinds = Counter(path.suffix.lower() or "no ending" for path, _ in skipped)
            say(f"skipped {len(skipped)} other files ({', '.join(sorted(kinds))}): -v names them")
