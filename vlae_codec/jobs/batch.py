"""Many files: each picture becomes a .vlae file of its own, or the other way round, or is decoded for a test.

Each model is loaded once. As many pictures are in flight as there are threads, each coded by one, and threads for which
none is left help with the tiles of the others (`vlae_codec.threads`); `jobs` holds fewer pictures at once. What is
wrong with one picture is noted, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vlae_codec import files, pipes
from vlae_codec.adapter.effort import DEFAULT, Watch, level
from vlae_codec.errors import InputError
from vlae_codec.exact.recipe import restore
from vlae_codec.format import container
from vlae_codec.format.container import Region
from vlae_codec.format.thumbnails import with_thumbnail
from vlae_codec.images import image
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.images.thumbnails import make_thumbnail
from vlae_codec.jobs import convert, names
from vlae_codec.jobs.attempts import Batch, Converted, Outcome, Report, attempt_all
from vlae_codec.jobs.convert import ALL, Keep
from vlae_codec.jobs.plan import CODED, JPEG, PICTURES, Plan, Task, check_coded_name, listed, make_plan
from vlae_codec.jobs.verify import coded_lacks, picture_lacks, remove
from vlae_codec.limits import DEFAULT as LIMITS
from vlae_codec.limits import Limits
from vlae_codec.pictures.decode import decode_all, salvage_all
from vlae_codec.pictures.holes import Hole
from vlae_codec.pipes import STREAM
from vlae_codec.threads import Progress, workers

__all__ = ["Batch", "Outcome", "check_files", "compress_files", "decompress_files"]
ON_DEVICE = 32  # pictures that are in flight on a GPU


def compress_files(
    sources: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    model: str | Path | None = None,
    effort: int = DEFAULT,
    seed: int = 1,
    device: str = "auto",
    threads: int | None = None,
    jobs: int | None = None,
    origin: str = "auto",
    tile: int | None = None,
    verify: bool = True,
    keep: Keep = ALL,
    thumbnail: int = 0,
    skip_jpeg: bool = False,
    folder: bool = True,
    force: bool = False,
    skip_existing: bool = False,
    newer: bool = False,
    fail_fast: bool = False,
    dry_run: bool = False,
    remove_source: bool = False,
    accept_loss: bool = False,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Batch:
    """Compresses pictures and folders of pictures into the folder `output`, made if need be, or each beside its source
    if that is None: NAME.png to NAME.vlae (`jobs.names`), with the times and permissions of its source.

    Returns what became of each file; what is wrong with a picture is in its `Outcome`, and stops no other. Folders are
    walked through and mirrored. folder: else `output` is the file to make of one source. keep: what of the files is
    kept beside the samples. thumbnail: as of `compress`. skip_jpeg: pass JPEG files by. force: overwrite what is there.
    skip_existing: leave outputs that exist as they are. newer: leave only those that are at least as new as their
    pictures, and overwrite the others. jobs: pictures at once, at most. fail_fast: begin no more after a failure.
    dry_run: only the plan is made. remove_source: remove a source when its output, read back from the disk, gives all
    of it again; accept_loss: even if something of it was not kept but its samples are. progress: told (pixels done,
    pixels in all) of all pictures; report: told what became of each file, in the order of the plan. The other options
    are those of `compress`.

    Raises InputError (no pictures, no such model), OutputExists, OutputError before anything is compressed.
    """
    from vlae_codec.pictures.encode import encode
    from vlae_codec.pictures.planes import Options

    level(effort)
    _check_model(model)
    left_out = JPEG if skip_jpeg else frozenset[str]()
    if output is not None and not folder:
        check_coded_name(output, force)
    plan = make_plan(
        sources, output, PICTURES, ".vlae", force, skip_existing, newer, left_out, folder=folder, dry=dry_run
    )
    _check_removal(plan, remove_source)
    if dry_run:
        return Batch([], plan)
    with workers(_threads(device, threads)) as run:

        def compress(task: Task, progress: Progress | None, watch: Watch | None) -> Converted:
            status = pipes.status(task.source)  # before it is read: what is changed meanwhile looks newer
            before, name = pipes.read(task.source, limits), pipes.shown(task.source)
            loaded = convert.loaded(name, before, keep, limits, convert.codes_jpeg(origin, model))
            options = Options(effort, seed, verify, progress, watch, model, device, origin, tile)
            data = encode(loaded.pictures, 0, options, run)
            if thumbnail:
                data = with_thumbnail(data, make_thumbnail(loaded.pictures[0], thumbnail))
            pipes.write(task.output, data, force or newer, status)
            done = Converted(container.read_header(data), len(data), len(before), tuple(loaded.notes), loaded.jpeg)
            return _removing(task, done, coded_lacks(task, limits, decode), accept_loss) if remove_source else done

        def decode(data: bytes) -> list[Picture]:
            return decode_all(data, None, model, device, run, None, limits)

        def area(task: Task) -> int:
            width, height = image.size(task.source)
            return width * height

        stages = 1 + 2 * (effort > 1) + verify
        return attempt_all(plan, compress, area, stages, run, jobs, fail_fast, progress, report)


def decompress_files(
    sources: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    suffix: str | None = None,
    region: Region | None = None,
    salvage: bool = False,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    jobs: int | None = None,
    strict: bool = False,
    folder: bool = True,
    force: bool = False,
    skip_existing: bool = False,
    newer: bool = False,
    fail_fast: bool = False,
    dry_run: bool = False,
    remove_source: bool = False,
    accept_loss: bool = False,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Batch:
    """Brings back the pictures of .vlae files and of folders of them in the folder `output`, or each beside its source.

    suffix: the names of the pictures end in it, and it says their format; by default in that of the files that they
    were made of, as far as that is known (`jobs.names`). region: (x, y, w, h), only this part. salvage: of a damaged
    file all that is good, with grey `holes` in its outcome (`pictures.holes`). strict: what a format cannot hold is an
    error. All else is as with `compress_files`.
    """
    if suffix is not None:
        image.output_format("picture" + suffix)
    if output not in (None, "-") and not folder and Path(output).suffix.lower() not in image.BITMAPS + image.JPEGS:
        image.output_format(output)  # the others only a recipe makes
    _check_model(model)

    def ending(path: Path) -> str:
        return suffix or names.ending_of(path, limits, exact=not salvage)

    plan = make_plan(sources, output, CODED, ending, force, skip_existing, newer, folder=folder, dry=dry_run)
    _check_removal(plan, remove_source)
    if dry_run:
        return Batch([], plan)
    with workers(_threads(device, threads)) as run:

        def decompress(task: Task, progress: Progress | None, watch: Watch | None) -> Converted:
            status = pipes.status(task.source)
            data, holes, damaged = pipes.read(task.source, limits), tuple[Hole, ...](), list[str]()
            if salvage:
                pictures, holes, damaged = salvage_all(data, model, device, run, progress, limits)
            else:
                pictures = decode_all(data, region, model, device, run, progress, limits, alone=region is not None)
            if region is not None:
                pictures = [convert.without_recipe(pictures[0])]
            name: str | Path = task.output
            if name == STREAM:
                name = pipes.shown(STREAM, False) + (suffix or names.ending(data, limits, not salvage) or ".png")
            rendered = convert.render(name, pictures, strict, limits)
            pipes.write(task.output, rendered.data, force or newer, status)
            sizes, notes = (len(data), len(rendered.data)), tuple(rendered.notes)
            done = Converted(container.read_header(data), *sizes, notes, holes=holes, damaged=tuple(damaged))
            if not remove_source:
                return done
            return _removing(task, done, picture_lacks(task, data, pictures, rendered.exact, limits), accept_loss)

        return attempt_all(plan, decompress, _coded_area(limits), 1, run, jobs, fail_fast, progress, report)


def check_files(
    sources: Sequence[str | Path],
    *,
    model: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Batch:
    """Decodes .vlae files and folders of them, and makes the very files of those that hold these; writes nothing.

    A file that is good has an outcome without a problem. All else is as with `decompress_files`.
    """
    _check_model(model)
    if "-" in sources:
        plan = make_plan(sources, None, CODED, ".png", False)
    else:
        found = listed(sources, CODED)
        plan = Plan([Task(path, path) for path, _ in found.files], [], found.skipped, found.problems)
    with workers(_threads(device, threads)) as run:

        def decode(task: Task, progress: Progress | None, watch: Watch | None) -> Converted:
            data = pipes.read(task.source, limits)
            pictures = decode_all(data, None, model, device, run, progress, limits)
            if (recipe := pictures[0].metadata.get(RECIPE)) is not None:
                restore(pictures, recipe, limits)
            return Converted(container.read_header(data), len(data), 0)

        return attempt_all(plan, decode, _coded_area(limits), 1, run, jobs, fail_fast, progress, report)


def _coded_area(limits: Limits) -> Callable[[Task], int]:
    def area(task: Task) -> int:
        with files.open_file(task.source, limits) as file:
            return container.read_header(file.read(container.HEAD_BYTES)).pixels

    return area


def _check_model(model: str | Path | None) -> None:
    """Raises InputError or UnknownModel when there is no such model, once and not for each file."""
    from vlae_codec.weights.model import find_weights

    if model is not None:
        find_weights(model)


def _check_removal(plan: Plan, remove_source: bool) -> None:
    if remove_source and any(STREAM in task for task in plan.tasks):
        raise InputError("--remove-source is for files, not for standard input or output")


def _removing(task: Task, done: Converted, lacking: Sequence[str], accept_loss: bool) -> Converted:
    """Removes the source unless the output lacks something. Raises InputError."""
    lacking = tuple(dict.fromkeys((*done.notes, *lacking)))
    if lacking and not accept_loss:
        return done._replace(removed=False, lacking=lacking)
    remove(task.source)
    return done._replace(removed=True)


def _threads(device: str, threads: int | None) -> int | None:
    """A GPU takes many pictures at once (`vlae_codec.gpu.convoy`), whatever the number of processors."""
    return ON_DEVICE if threads is None and "cuda" in device else threads
