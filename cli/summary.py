"""What is said on stderr of pictures that were converted: one, or all of a folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .app import Failure
from .common import Bar, say


class Direction:
    """How the sizes of picture files and .vlae files are told, by the direction that they were converted in."""

    def __init__(self, compressing: bool) -> None:
        self.compressing = compressing

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
        sizes = self.sizes(source, [header], picture_size, size)
        return f"{output}: {shape(header)}, {sizes}, {seconds:.1f} s"

    def total(self, output: str, outcomes: Sequence[Any], seconds: float) -> str:
        """The line on all pictures of a folder run that did not fail."""
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


class Reporter:
    """A line for each file, above the bar if there is one; the totals, what was left out and what failed at the end."""

    def __init__(self, direction: Direction, bar: Bar | None, quiet: bool, verbose: bool) -> None:
        self.direction, self.bar, self.quiet, self.verbose = direction, bar, quiet, verbose
        self.start = time.perf_counter()
        self.broken: OSError | None = None

    def options(self) -> dict[str, Any]:
        return {"progress": self.bar and self.bar.report, "report": None if self.quiet else self.report}

    def report(self, outcome: Any) -> None:
        """A stream that cannot be written to, such as a log on a full disk, does not end the work."""
        if outcome.header is None or self.broken:
            return
        names = (str(outcome.output), str(outcome.source))
        sizes = (outcome.picture_size, outcome.size)
        text = self.direction.picture(*names, outcome.header, *sizes, outcome.seconds)
        named = outcome.source if self.direction.compressing else outcome.output
        notes = not_kept(named, outcome.notes, outcome.jpeg, *sizes)
        try:
            for line in (text, *notes):
                self.bar.line(line) if self.bar else say(line)
        except OSError as error:
            self.broken = error

    def conclude(self, done: Any, output: str) -> None:
        """Raises Failure if any file or folder failed, and the error of the stream."""
        if self.broken:
            raise self.broken
        if not self.quiet:
            if len(done.outcomes) > 1 and done.done:
                say(self.direction.total(output, done.done, time.perf_counter() - self.start))
            self._left([task.output for task in done.plan.left])
            self._skipped(done.plan.skipped)
        for problem in done.problems:
            Failure(problem).show()
        if done.problems:
            raise Failure(f"{len(done.problems)} of {len(done.outcomes) + len(done.plan.problems)} failed")

    def _left(self, outputs: Sequence[Any]) -> None:
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
