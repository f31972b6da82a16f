"""Many files: each picture becomes a .vlae file of its own in a folder, or the other way round.

Each model is loaded once. As many pictures are in flight as there are threads, each coded by one, and threads for which
none is left help with the tiles of the others (`vlae_codec.threads`). What is wrong with one picture is noted, and the
others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from vlae_codec import files
from vlae_codec.adapter.effort import DEFAULT, Fitting, Watch, level
from vlae_codec.errors import VlaeError, out_of_memory
from vlae_codec.format import container
from vlae_codec.format.header import Header
from vlae_codec.format.thumbnails import with_thumbnail
from vlae_codec.images import image
from vlae_codec.images.thumbnails import make_thumbnail
from vlae_codec.jobs import convert
from vlae_codec.jobs.convert import ALL, Keep
from vlae_codec.jobs.plan import CODED, JPEG, PICTURES, Plan, Task, make_plan
from vlae_codec.limits import DEFAULT as LIMITS
from vlae_codec.limits import Limits
from vlae_codec.pictures.decode import decode_all
from vlae_codec.threads import Progress, workers

ON_DEVICE = 32  # pictures that are in flight on a GPU


class Outcome(NamedTuple):
    """What became of one file."""

    source: Path
    output: Path
    header: Header | None  # of the .vlae file; None: it failed
    size: int  # bytes of the .vlae file
    picture_size: int  # bytes of the picture file
    seconds: float
    problem: str | None  # why it failed, with the name of the file
    notes: tuple[str, ...] = ()  # what was not kept
    jpeg: bool = False  # the source is a JPEG


class Batch(NamedTuple):
    """What became of all files."""

    outcomes: list[Outcome]
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
    notes: tuple[str, ...] = ()
    jpeg: bool = False


Convert = Callable[[Task, Progress | None, Watch | None], Converted]


def compress_files(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | None = None,
    effort: int = DEFAULT,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    origin: str = "auto",
    verify: bool = True,
    keep: Keep = ALL,
    thumbnail: int = 0,
    skip_jpeg: bool = False,
    force: bool = False,
    skip_existing: bool = False,
    newer: bool = False,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Batch:
    """Compresses pictures and folders of pictures into the folder `output`, made if need be: NAME.png to NAME.vlae.

    Returns what became of each file; what is wrong with a picture is in its `Outcome`, and stops no other. Folders
    are walked through and mirrored. keep: what of the files is kept beside the samples. skip_jpeg: pass JPEG files
    by. thumbnail: as of `compress`. force: overwrite what is there. skip_existing: leave outputs that exist as they
    are. newer: leave only those that are at least as new as their pictures, and overwrite the others. progress:
    told (pixels done, pixels in all) of all pictures; report: told what became of each file, in the order in which
    they end. The other options are those of `compress`.

    Raises InputError (no pictures, no such model), OutputExists, OutputError before anything is compressed.
    """
    from vlae_codec.pictures.encode import encode
    from vlae_codec.pictures.planes import Options

    level(effort)
    _check_model(model)
    left_out = JPEG if skip_jpeg else frozenset[str]()
    plan = make_plan(sources, output, PICTURES, ".vlae", force, skip_existing, newer, left_out)
    force = force or newer
    with workers(_threads(device, threads)) as run:

        def compress(task: Task, progress: Progress | None, watch: Watch | None) -> Converted:
            loaded = convert.load(task.source, keep, limits, convert.codes_jpeg(origin, model))
            options = Options(effort, seed, verify, progress, watch, model, device, origin)
            data = encode(loaded.pictures, 0, options, run)
            if thumbnail:
                data = with_thumbnail(data, make_thumbnail(loaded.pictures[0], thumbnail))
            files.write_file(task.output, data, force)
            return Converted(container.read_header(data), len(data), tuple(loaded.notes), loaded.jpeg)

        def area(task: Task) -> int:
            width, height = image.size(task.source)
            return width * height

        stages = 1 + 2 * (effort > 1) + verify
        attempt = _attempts(plan, compress, area, stages, progress, report)
        return Batch(run(attempt, range(len(plan.tasks))), plan)


def decompress_files(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    suffix: str = ".png",
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    strict: bool = False,
    force: bool = False,
    skip_existing: bool = False,
    newer: bool = False,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Batch:
    """Brings back the pictures of .vlae files and of folders of them in the folder `output`: NAME.vlae to NAME.png.

    suffix: the names of the pictures end in it, and it says their format. strict: what a
    format cannot hold is an error. All else is as with `compress_files`.
    """
    image.output_format("picture" + suffix)
    _check_model(model)
    plan = make_plan(sources, output, CODED, suffix, force, skip_existing, newer)
    force = force or newer
    with workers(_threads(device, threads)) as run:

        def decompress(task: Task, progress: Progress | None, watch: Watch | None) -> Converted:
            data = files.read_file(task.source, limits)
            pictures = decode_all(data, None, model, device, run, progress, limits)
            notes = convert.store(task.output, pictures, force, strict, limits)
            return Converted(container.read_header(data), len(data), tuple(notes))

        def area(task: Task) -> int:
            with files.open_file(task.source, limits) as file:
                return container.read_header(file.read(container.HEAD_BYTES)).pixels

        attempt = _attempts(plan, decompress, area, 1, progress, report)
        return Batch(run(attempt, range(len(plan.tasks))), plan)


def _check_model(model: str | Path | None) -> None:
    """Raises InputError or UnknownModel when there is no such model, once and not for each file."""
    from vlae_codec.weights.model import find_weights

    if model is not None:
        find_weights(model)


def _threads(device: str, threads: int | None) -> int | None:
    """A GPU takes many pictures at once (`vlae_codec.gpu.convoy`), whatever the number of processors."""
    return ON_DEVICE if threads is None and "cuda" in device else threads


def _attempts(
    plan: Plan,
    convert: Convert,
    area: Callable[[Task], int],
    stages: int,
    progress: Progress | None,
    report: Report | None,
) -> Callable[[int], Outcome]:
    """The function that converts a file of the plan, by its number, and tells what became of it."""

    def measure(task: Task) -> int:
        try:
            return area(task)
        except Exception:  # what is wrong with it is found out later
            return 0

    whole = None if progress is None else _Whole(progress, [measure(task) for task in plan.tasks], stages)
    lock = Lock()

    def attempt(index: int) -> Outcome:
        task, start = plan.tasks[index], time.perf_counter()
        share = None if whole is None else _Share(whole, index)
        done, problem = None, None
        try:
            done = convert(task, *(share.progress, share.watch) if share else (None, None))
        except (VlaeError, MemoryError) as error:
            problem = out_of_memory(error) if isinstance(error, MemoryError) else str(error)
            problem = problem if str(task.source) in problem else f"{task.source}: {problem}"
        except Exception as error:  # the others can go on
            problem = f"{task.source}: failed ({type(error).__name__}: {error}): please report this picture"
        if share is not None:
            share.finish()
        picture = task.source if task.output.suffix in CODED else task.output
        seconds = time.perf_counter() - start
        if done is None:
            outcome = Outcome(*task, None, 0, 0, seconds, problem)
        else:
            before = files.size(picture)
            outcome = Outcome(*task, done.header, done.size, before, seconds, None, done.notes, done.jpeg)
        if report is not None:
            with lock:
                report(outcome)
        return outcome

    return attempt


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
