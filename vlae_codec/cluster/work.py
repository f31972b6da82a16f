"""One file, from URL to URL, as a worker converts it. What is wrong with it is noted; nothing is raised."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vlae_codec.adapter.effort import DEFAULT as DEFAULT_EFFORT
from vlae_codec.cluster.places import Job, read, size_of, write
from vlae_codec.errors import OutputExists, VlaeError, out_of_memory
from vlae_codec.jobs.convert import ALL, Keep, codes_jpeg, loaded, render
from vlae_codec.limits import DEFAULT, Limits


@dataclass(frozen=True)
class Compressing:
    """How pictures become .vlae files; the options are those of `vlae_codec.compress`."""

    effort: int = DEFAULT_EFFORT
    seed: int = 1
    model: str | Path | None = None
    origin: str = "auto"
    tile: int | None = None
    verify: bool = True
    keep: Keep = ALL
    limits: Limits = DEFAULT
    threads: int = 1
    force: bool = False


@dataclass(frozen=True)
class Decompressing:
    """How .vlae files become pictures, of the format that the outputs' names say."""

    model: str | Path | None = None
    strict: bool = False
    limits: Limits = DEFAULT
    threads: int = 1
    force: bool = False


Settings = Compressing | Decompressing


class Outcome(NamedTuple):
    """What became of one file."""

    source: str
    output: str
    before: int = 0  # bytes of the source
    after: int = 0  # bytes of the output
    seconds: float = 0.0
    notes: tuple[str, ...] = ()  # what was not kept
    problem: str | None = None  # why it failed, with the name of the file


def convert(job: Job, settings: Settings) -> Outcome:
    """Converts one file. An output that is there is whole, and stays unless `force` is given: another worker has made
    it and was killed before it could tell.
    """
    start = time.perf_counter()
    try:
        before, after, notes = _convert(job, settings)
        return Outcome(job.source, job.output, before, after, time.perf_counter() - start, notes)
    except (VlaeError, MemoryError) as error:
        problem = out_of_memory(error) if isinstance(error, MemoryError) else str(error)
        problem = problem if job.source in problem else f"{job.source}: {problem}"
    except Exception as error:  # the others can go on
        problem = f"{job.source}: failed ({type(error).__name__}: {error}): please report this picture"
    return Outcome(job.source, job.output, job.size, 0, time.perf_counter() - start, (), problem)


def _convert(job: Job, settings: Settings) -> tuple[int, int, tuple[str, ...]]:
    """(bytes of the source, bytes of the output, notes)."""
    there = None if settings.force else size_of(job.output)
    if there is not None:
        return job.size, there, ()
    data = read(job.source, settings.limits)
    if isinstance(settings, Compressing):
        made, notes = _compressed(job, data, settings)
    else:
        made, notes = _decompressed(job, data, settings)
    try:
        write(job.output, made, settings.force)
    except OutputExists:
        return len(data), size_of(job.output) or 0, notes
    return len(data), len(made), notes


def _compressed(job: Job, data: bytes, settings: Compressing) -> tuple[bytes, tuple[str, ...]]:
    from vlae_codec import api

    origin, model = settings.origin, settings.model
    found = loaded(job.source, data, settings.keep, settings.limits, codes_jpeg(origin, model))
    coded = api.compress(
        found.pictures,
        effort=settings.effort,
        seed=settings.seed,
        model=model,
        origin=origin,
        tile=settings.tile,
        verify=settings.verify,
        threads=settings.threads,
        limits=settings.limits,
        device="cpu",
    )
    return coded, tuple(found.notes)


def _decompressed(job: Job, data: bytes, settings: Decompressing) -> tuple[bytes, tuple[str, ...]]:
    from vlae_codec import api

    pictures = api.decompress_pictures(
        data, model=settings.model, threads=settings.threads, limits=settings.limits, device="cpu"
    )
    found = render(job.output, pictures, settings.strict, settings.limits)
    return found.data, tuple(found.notes)
