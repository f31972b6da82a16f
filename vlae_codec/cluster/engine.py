"""All files of a plan, over the workers of a Ray cluster through Ray Data.

Each picture is a block of its own (a few, of very many pictures), and a block a task: Ray Data hands tasks to nodes as
they become free, and outcomes come back one by one. A task whose worker dies is given to another one. Ray Data would
do so for ever, so an actor counts how often each file was begun: one whose workers die `RETRIES` times more is reported
as failed, and the others go on.
"""

from __future__ import annotations

import logging
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from vlae_codec.cluster.places import Job
from vlae_codec.cluster.work import Outcome, Settings, convert
from vlae_codec.errors import InputError

RETRIES = 3  # of a file whose worker has died
MOST_TASKS = 10_000
KNOCK = 10  # seconds


def run(
    jobs: Sequence[Job],
    settings: Settings,
    address: str = "auto",
    report: Callable[[Outcome], None] | None = None,
    workers: int | None = None,
) -> list[Outcome]:
    """Converts the files of the jobs, and returns what became of each, in the order of the jobs.

    address: of a Ray cluster: "auto" for the one that runs here, "local" for one of this machine's processors that is
    there for this run only, ray://HOST:PORT or HOST:PORT. Each task takes `settings.threads` processors. The nodes need
    this package, the models, and what their URLs need: credentials, and folders that all of them see. report: told what
    became of each file, in the order in which they end. workers: how many files are converted at once, at most; by
    default as many as the cluster has processors for.

    Raises InputError without Ray or its cluster.
    """
    if not jobs:
        return []
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise InputError(f"a cluster needs Ray ({error}): pip install 'vlae-codec[ray]'") from error
    began = not ray.is_initialized()
    if began:
        try:
            _knock(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # many kinds
            raise InputError(
                f"cannot reach a Ray cluster at {address!r} ({error}): start one, or give local"
            ) from error
    try:
        found: dict[Job, Outcome] = {}
        for row in _rows(ray, jobs, settings, workers):
            for job, outcome in pickle.loads(row["outcomes"]):
                found[job] = outcome
                if report is not None:
                    report(outcome)
        for job in jobs:
            if job not in found:  # its task could not be run
                found[job] = _failed(job, "the cluster could not run it, see the logs of Ray")
                if report is not None:
                    report(found[job])
        return [found[job] for job in jobs]
    finally:
        if began:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError if nobody is at HOST:PORT, for which Ray would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def _rows(ray: Any, jobs: Sequence[Job], settings: Settings, workers: int | None) -> Any:
    """The rows that come back, as they come."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    context.max_errored_blocks = -1  # reported as failed
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    size = -(-len(jobs) // MOST_TASKS)
    rows = [{"jobs": pickle.dumps(jobs[i : i + size])} for i in range(0, len(jobs), size)]
    attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote()
    with ray.data.DataContext.current(context):
        blocks = ray.data.from_items(rows, override_num_blocks=len(rows))
        task = partial(_task, settings, attempts)
        yield from blocks.map(task, num_cpus=settings.threads, concurrency=workers).iter_rows()


class _Attempts:
    """How often each file was begun."""

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def begin(self, job: Job) -> int:
        self.counts[job.output] += 1
        return self.counts[job.output]


def _task(settings: Settings, attempts: Any, row: dict[str, Any]) -> dict[str, Any]:
    """What a worker does."""
    import ray

    done: list[tuple[Job, Outcome]] = []
    for job in pickle.loads(row["jobs"]):
        if ray.get(attempts.begin.remote(job)) > 1 + RETRIES:
            done.append((job, _failed(job, f"its worker died {1 + RETRIES} times, perhaps for lack of memory")))
        else:
            done.append((job, convert(job, settings)))
    return {"outcomes": pickle.dumps(done)}


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(job.source, job.output, job.size, problem=f"{job.source}: failed: {reason}")
