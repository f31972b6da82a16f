"""Threads that share out tiles or groups of pictures, and a count of what they have done.

Inside a tile all is serial: a wave is a hundred microseconds of work, and threads that meet at a barrier in each wave
get 60 times slower as soon as the machine has other work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from vlae_codec.errors import InputError

Progress = Callable[[int, int], None]  # (pixels done, pixels in all)


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


class Run:
    """run(function, items): the results in order, computed by some threads."""

    def __init__(self, threads: int, pool: ThreadPoolExecutor | None) -> None:
        self.threads, self._pool = threads, pool

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        return (map if self._pool is None or len(items) < 2 else self._pool.map)(function, items)


@contextmanager
def workers(threads: int | None) -> Iterator[Run]:
    """A `Run` of so many threads (None: the processors given to this process)."""
    if threads is not None and threads < 1:
        raise InputError(f"the number of threads must be 1 or more, not {threads}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = threads or available
    if count == 1:
        yield Run(1, None)
    else:
        with ThreadPoolExecutor(count) as pool:
            yield Run(count, pool)
