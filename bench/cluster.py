"""Throughput of `compress --ray` on local clusters of 1 and more workers, what lies past them, and killed workers.

    python -m bench.cluster PICTURE... [--workers 1,2] [--effort 1] [--origin auto] [--rounds 1] [--latency 0.06]
    python -m bench.cluster PICTURE... --kills 200

It compresses the pictures, as often as `--repeat` says, with each number of workers in turn, once more at first, which
loads the models, and prints pictures a second and the gain over the first number. Beside it stand as many processes of
`compress`, each with its share of the pictures: what the machine itself gives. Then the tasks a second that Ray Data
itself hands out, its start included, by files that are done already. From these and the seconds of each picture it
simulates larger clusters: a worker takes the next picture when it is free, `--latency` seconds go to reading and
writing an object, and no two tasks are handed out within the time that one takes. With `--kills` it kills one or both
of two workers at random moments until so many are dead, and checks that every output is whole in the end.
"""

from __future__ import annotations

import heapq
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np

import vlae_codec
from vlae_codec.cluster import Compressing, Outcome, make_plan, run
from vlae_codec.cluster.engine import MOST_TASKS
from vlae_codec.jobs.plan import PICTURES

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def started(workers: int, tries: int = 3) -> Any:
    """A local cluster. On a machine that is busy with other work its processes may be too late for each other."""
    os.environ.setdefault("RAY_DASHBOARD_STARTUP_TIMEOUT_S", "300")
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "300")
    import ray

    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    for left in reversed(range(tries)):
        try:
            ray.init(address="local", num_cpus=workers, **quiet)
            break
        except Exception:
            if not left:
                raise
            ray.shutdown()
    return ray


def measured(folder: Path, workers: int, settings: Compressing) -> tuple[float, list[Outcome]]:
    """(seconds, outcomes) of all pictures of a folder, on the cluster that was started."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as output:
        plan = make_plan([str(folder)], output, PICTURES, ".vlae")
        begin = time.perf_counter()
        outcomes = run(plan.jobs, settings, workers=workers)
        return time.perf_counter() - begin, outcomes


def plain(folder: Path, processes: int, settings: Compressing) -> float:
    """Seconds of so many processes of `compress`, each of which takes every so many-th picture."""
    paths = sorted(map(str, folder.iterdir()))
    options = ["--effort", str(settings.effort), "--origin", settings.origin, "--threads", "1", "--jobs", "1"]
    with tempfile.TemporaryDirectory(dir=folder.parent) as output:
        begin = time.perf_counter()
        started = []
        for first in range(processes):
            os.mkdir(part := f"{output}/{first}")
            command = [sys.executable, "-m", "cli", "compress", *paths[first::processes], "-o", part, *options]
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if any(process.wait() for process in started):
            raise SystemExit("a process of compress failed")
        return time.perf_counter() - begin


def tasks_a_second(folder: Path, count: int = 200) -> float:
    """How many tasks Ray Data hands out, each of which finds that its output is there."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as output:
        (job, *_) = make_plan([str(folder)], output, PICTURES, ".vlae").jobs
        jobs = [job._replace(output=f"{output}/{number}.vlae") for number in range(count)]
        for one in jobs:
            Path(one.output).write_bytes(b"there")
        begin = time.perf_counter()
        run(jobs, Compressing())
        return count / (time.perf_counter() - begin)


def simulated(seconds: Sequence[float], workers: int, latency: float, rate: float, count: int = 100_000) -> float:
    """Pictures a second of a cluster: a queue in which each free worker takes the next task, of one picture or of as
    many as `cluster.run` puts into one, and tasks are handed out `rate` times a second.
    """
    drawn = np.random.default_rng(1).choice(np.asarray(seconds), count) + latency
    block = -(-count // MOST_TASKS)
    tasks = np.add.reduceat(drawn, np.arange(0, count, block))
    free = [0.0] * workers
    handed = end = 0.0
    for task in tasks:
        handed = max(handed + 1 / rate, free[0])
        done = handed + float(task)
        heapq.heapreplace(free, done)
        end = max(end, done)
    return count / end


def workers_of_ours() -> list[int]:
    """The processes of our cluster that are at a task."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = "".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and "Map" in title:
            found.append(process.pid)
    return found


def killed(folder: Path, kills: int, settings: Compressing) -> tuple[int, int, int, int]:
    """(kills, runs, outputs that are whole, outputs): runs that go on where the last one stopped, workers killed."""
    ray = started(2)
    taken, _ = measured(folder, 2, settings)
    draw, count, runs, whole, outputs = random.Random(1), 0, 0, 0, 0
    ended = threading.Event()

    def kill() -> None:
        nonlocal count
        while count < kills and not ended.wait(draw.uniform(0, taken / 4)):  # so some outputs come between
            for pid in workers_of_ours()[: draw.randint(1, 2)]:
                with suppress(ProcessLookupError):  # it has ended since
                    os.kill(pid, signal.SIGKILL)
                    count += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        while count < kills:
            with tempfile.TemporaryDirectory(dir=folder.parent) as output:
                while (plan := make_plan([str(folder)], output, PICTURES, ".vlae")).jobs:
                    runs += 1
                    run(plan.jobs, settings)
                for job in make_plan([str(folder)], output, PICTURES, ".vlae").left:
                    outputs += 1
                    pixels = vlae_codec.decompress(Path(job.output).read_bytes(), threads=1)
                    source = vlae_codec.images.image.load(job.source).pixels
                    whole += bool(np.array_equal(pixels, source))
            click.echo(f"{count} kills, {runs} runs, {whole} of {outputs} outputs whole")
    finally:
        ended.set()
        killer.join()
        ray.shutdown()
    return count, runs, whole, outputs


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--workers", default="1,2", show_default=True, help="Numbers of workers to measure.")
@click.option("--effort", default=1, show_default=True)
@click.option("--origin", default="auto", show_default=True)
@click.option("--repeat", default=1, show_default=True, help="How often each picture is compressed.")
@click.option("--rounds", default=1, show_default=True, help="How often all is measured; the median counts.")
@click.option("--latency", default=0.06, show_default=True, help="Seconds that an object takes to come and go.")
@click.option("--kills", default=0, show_default=True, help="Kill workers so often, and measure nothing.")
def main(
    pictures: tuple[str, ...],
    workers: str,
    effort: int,
    origin: str,
    repeat: int,
    rounds: int,
    latency: float,
    kills: int,
) -> None:
    """Measure `compress --ray` on the PICTURES."""
    settings = Compressing(effort=effort, origin=origin)
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "pictures")
        folder.mkdir()
        for number in range(repeat):
            for path in map(Path, pictures):
                shutil.copy(path, folder / f"{number}-{path.name}")
        if kills:
            found = killed(folder, kills, settings)
            raise SystemExit(found[2] != found[3])
        numbers = [int(number) for number in workers.split(",")]
        rates, seconds = dict[int, list[float]](), list[float]()
        peers = dict[int, list[float]]()
        ray = started(max(numbers))
        try:
            measured(folder, max(numbers), settings)  # starts the workers, which load the models
            for turn in range(rounds):
                for number in numbers if turn % 2 == 0 else reversed(numbers):
                    taken, outcomes = measured(folder, number, settings)
                    rates.setdefault(number, []).append(len(outcomes) / taken)
                    peers.setdefault(number, []).append(len(outcomes) / plain(folder, number, settings))
                    seconds += [one.seconds for one in outcomes] if number == min(numbers) else []
                    load = os.getloadavg()[0]
                    click.echo(f"{number} workers: {len(outcomes)} pictures in {taken:.1f} s, load {load:.1f}")
            handed = tasks_a_second(folder)
        finally:
            ray.shutdown()
        medians = {number: float(np.median(found)) for number, found in rates.items()}
        beside = {number: float(np.median(found)) for number, found in peers.items()}
        for number, rate in medians.items():
            click.echo(
                f"{number} workers: {rate:.3f} pictures/s, {rate / medians[numbers[0]]:.2f} times; "
                f"{number} processes: {beside[number]:.3f} pictures/s, {beside[number] / beside[numbers[0]]:.2f} times"
            )
        click.echo(
            f"tasks handed out: {handed:.0f} /s; a picture takes {np.mean(seconds):.2f} s, at most {max(seconds):.2f} s"
        )
        one = simulated(seconds, 1, latency, handed, 2000)
        for size in SIZES:
            rate = simulated(seconds, size, latency, handed)
            click.echo(
                f"simulated {size:5} workers: {rate:9.2f} pictures/s, {rate / one / size:6.1%} of {size} times one"
            )


if __name__ == "__main__":
    main()
