"""Threads that share out pictures, tiles or groups of pictures, and a count of what they have done.

Decoding a tile is serial: a wave is a hundred microseconds of work, and threads that meet at a barrier in each wave
get 60 times slower as soon as the machine has other work. An encoder knows all pixels, so it shares out parts of tiles.

A thread may share out what it works on: as long as every thread has a picture of its own, each does the tiles of its
picture, and a thread for which no picture is left takes tiles of another one's. So small pictures go side by side, a
large one goes tile by tile, no more threads than asked for are ever busy, and no more pictures than threads are held.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vlae_codec.errors import InputError

Progress = Callable[[int, int], None]  # (pixels done, pixels in all)
Map = Callable[
    [Callable[[Any], Any], Sequence[Any]], Iterable[Any]
]  # a `map` over parts, perhaps of several threads: `Run`


def counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that adds to a count of pixels and reports it, for use by several threads."""
    done, lock = 0, threading.Lock()

    def tick(count: int) -> None:
        nonlocal done
        if progress is not None:
            with lock:
                done += count
                progress(done, total)

    return tick


@contextmanager
def alone() -> Iterator[None]:
    """Inside, torch computes this thread's products in this thread, if torch is loaded in this process at all."""
    torch = sys.modules.get("torch")
    before = 1 if torch is None else torch.get_num_threads()
    if torch is None or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Job:
    """A function to be applied to items, in part done."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], lock: threading.Lock) -> None:
        self.function, self.items = function, items
        self.results: list[Any] = [None] * len(items)
        self.begun, self.running = 0, 0  # items begun, and those of them that are not yet done
        self.errors: dict[int, BaseException] = {}
        self.done = threading.Condition(lock)

    @property
    def ended(self) -> bool:
        return self.begun == len(self.items) and not self.running


class Run:
    """run(function, items) gives the results in order, computed by some threads, or raises the error of the first item
    that failed. `function` may call it, too.
    """

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # there are items to begin, or it is over
        self._jobs: list[_Job] = []  # those with items to begin, oldest first
        self._free = threads  # threads without an item
        self._over = False
        self._threads: list[threading.Thread] = []
        if threads > 1:
            self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def threads(self) -> int:
        """The number of threads that could work now on what the calling thread shares out."""
        return max(1, self._free + (threading.current_thread() in self._threads)) if self._threads else 1

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        if not self._threads or len(items) < 2:
            with alone():
                return [function(item) for item in items]
        job, helping = _Job(function, items, self._lock), threading.current_thread() in self._threads
        with self._lock:
            self._jobs.append(job)
            self._work.notify(len(items))
            while helping and job in self._jobs and not self._over:
                self._do_one(job)
            job.done.wait_for(lambda: job.ended or self._over)
            if job.errors:
                try:
                    raise job.errors[min(job.errors)]
                finally:
                    job.errors.clear()  # an error holds the frames it went through: it must not hold itself
            if self._over:
                raise _Over
        return job.results

    def close(self) -> None:
        """Begins no more items, and returns when those that are begun have ended."""
        with self._lock:
            self._over = True
            self._work.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        with self._lock:
            while not self._over:
                if self._jobs:
                    self._free -= 1
                    self._do_one(self._jobs[0])
                    self._free += 1
                else:
                    self._work.wait()

    def _do_one(self, job: _Job) -> None:
        """The next item of a job that has one; begins and ends with the lock held, works without."""
        index = job.begun
        job.begun, job.running = index + 1, job.running + 1
        if job.begun == len(job.items):
            self._jobs.remove(job)
        self._lock.release()
        try:
            with alone():
                job.results[index] = job.function(job.items[index])
        except BaseException as error:
            job.errors[index] = error
        self._lock.acquire()
        job.running -= 1
        if index in job.errors:  # what is not begun is left
            job.begun = len(job.items)
            if job in self._jobs:
                self._jobs.remove(job)
        if job.ended:
            job.done.notify()


class _Over(BaseException):
    """The threads are called back: a thread need not go on with what it is in the middle of."""


@contextmanager
def workers(threads: int | None) -> Iterator[Run]:
    """A `Run` of so many threads (None: the processors given to this process)."""
    if threads is not None and threads < 1:
        raise InputError(f"the number of threads must be 1 or more, not {threads}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    run = Run(threads or available)
    try:
        with alone():
            yield run
    finally:
        run.close()
