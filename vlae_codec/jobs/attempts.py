"""Many tasks side by side: so many at once, what becomes of each, and how far they are.

Outcomes are told in the order of the plan, whichever ends first, so that a log is the same with any number of threads.
What is wrong with one file is noted, and the others go on, unless the run is to end with the first failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

from vlae_codec.adapter.effort import Fitting, Watch
from vlae_codec.errors import OutputError, VlaeError, out_of_memory
from vlae_codec.format.header import Header
from vlae_codec.jobs.plan import Plan, Task
from vlae_codec.pictures.holes import Hole
from vlae_codec.pipes import shown
from vlae_codec.threads import Progress, Run


class Outcome(NamedTuple):
    """What became of one file."""

    source: Path
    output: Path
    header: Header | None  # of the .vlae file; None: it failed
    size: int  # bytes of the .vlae file
    picture_size: int  # bytes of the picture file; 0 if there is none
    seconds: float
    problem: str | None  # why it failed, with the name of the file
    notes: tuple[str, ...] = ()  # what was not kept
    jpeg: bool = False  # the source is a JPEG that does not come back, only its pixels
    holes: tuple[Hole, ...] = ()  # what of the pictures of a damaged file is lost
    damaged: tuple[str, ...] = ()  # what else of it is
    removed: bool | None = None  # the source; None: it was not to be
    lacking: tuple[str, ...] = ()  # in the output, so that the source stays


class Batch(NamedTuple):
    """What became of all files."""

    outcomes: list[Outcome]  # without those that were not begun
    plan: Plan  # with what was skipped, and whose outputs were left as they are

    @property
    def done(self) -> list[Outcome]:
        """Those that did not fail."""
        return [outcome for outcome in self.outcomes if outcome.problem is None]

    @property
    def problems(self) -> list[str]:
        """What went wrong, with the folders that cannot be read."""
        return [*self.plan.problems, *(outcome.problem for outcome in self.outcomes if outcome.problem is not None)]


Report = Callable[[Outcome], None]


class Converted(NamedTuple):
    header: Header
    size: int  # bytes of the .vlae file
    picture_size: int
    notes: tuple[str, ...] = ()
    jpeg: bool = False
    holes: tuple[Hole, ...] = ()
    damaged: tuple[str, ...] = ()
    removed: bool | None = None
    lacking: tuple[str, ...] = ()


Convert = Callable[[Task, Progress | None, Watch | None], Converted]


def attempt_all(
    plan: Plan,
    convert: Convert,
    area: Callable[[Task], int],
    stages: int,
    run: Run,
    jobs: int | None = None,
    fail_fast: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Batch:
    """What becomes of the tasks of a plan. area: the pixels of a task, each of which is done so many times (stages).

    jobs: files at once, by default as many as `run` has threads. fail_fast: no task begins after one has failed.
    """
    tasks = plan.tasks
    whole = None if progress is None else _Whole(progress, [_measured(area, task) for task in tasks], stages)
    found: list[Outcome | None] = [None] * len(tasks)
    over, told, left = Event(), _InOrder(report), iter(range(len(tasks)))

    def lane(_: int) -> None:
        for index in left:  # which all lanes share
            if over.is_set():
                return
            share = None if whole is None else _Share(whole, index)
            outcome = found[index] = attempt(tasks[index], convert, share)
            if outcome.problem is not None and fail_fast:
                over.set()
            told.take(index, outcome)

    try:
        run(lane, range(min(jobs or run.threads, len(tasks))))
    except BaseException:
        over.set()
        raise
    told.finish()
    return Batch([outcome for outcome in found if outcome is not None], plan)


def _measured(area: Callable[[Task], int], task: Task) -> int:
    try:
        return area(task)
    except Exception:  # what is wrong with it is found out later
        return 0


def attempt(task: Task, convert: Convert, share: _Share | None = None) -> Outcome:
    """Converts one file; what goes wrong is in the outcome. A broken pipe is raised."""
    start, name = time.perf_counter(), shown(task.source)
    done, problem = None, None
    try:
        done = convert(task, *(share.progress, share.watch) if share else (None, None))
    except (VlaeError, MemoryError) as error:
        problem = out_of_memory(error) if isinstance(error, MemoryError) else str(error)
        named = name in problem or (isinstance(error, OutputError) and str(task.output) in problem)
        problem = problem if named else f"{name}: {problem}"
    except BrokenPipeError:
        raise
    except Exception as error:  # the others can go on
        problem = f"{name}: failed ({type(error).__name__}: {error}): please report this picture"
    if share is not None:
        share.finish()
    seconds = time.perf_counter() - start
    if done is None:
        return Outcome(*task, None, 0, 0, seconds, problem)
    return Outcome(*task, seconds=seconds, problem=None, **done._asdict())


class _InOrder:
    """Tells outcomes in the order of their tasks."""

    def __init__(self, report: Report | None) -> None:
        self.report, self.lock = report, Lock()
        self.waiting: dict[int, Outcome] = {}
        self.next = 0

    def take(self, index: int, outcome: Outcome) -> None:
        if self.report is None:
            return
        with self.lock:
            self.waiting[index] = outcome
            while self.next in self.waiting:
                self.report(self.waiting.pop(self.next))
                self.next += 1

    def finish(self) -> None:
        """Those behind a task that was not begun."""
        for index in sorted(self.waiting):
            assert self.report is not None
            self.report(self.waiting[index])


class _Whole:
    """How far many pictures are that go on side by side, in pixels."""

    def __init__(self, progress: Progress, areas: Sequence[int], stages: int) -> None:
        self.progress, self.areas, self.stages = progress, areas, stages
        self.total, self.done, self.lock = sum(areas), 0.0, Lock()

    def add(self, pixels: float) -> None:
        with self.lock:
            self.done += pixels
            self.progress(min(self.total, round(self.done)), self.total)


class _Share:
    """What one picture adds to the whole: an equal part for each of its stages, told apart by their new beginnings."""

    def __init__(self, whole: _Whole, index: int) -> None:
        self.whole, self.area = whole, whole.areas[index]
        self.stage, self.last, self.told = 0, 0.0, 0.0

    def progress(self, done: int, total: int) -> None:
        self._at(done / total)

    def watch(self, fitting: Fitting) -> None:
        self._at(fitting.done)

    def finish(self) -> None:
        """Stages that did not come, too."""
        self.whole.add(self.area - self.told)

    def _at(self, share: float) -> None:
        self.stage += share < self.last or self.last == 1.0
        self.last = share
        now = self.area * min(1.0, (self.stage + share) / self.whole.stages)
        self.whole.add(now - self.told)
        self.told = now
