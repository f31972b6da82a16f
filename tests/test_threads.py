"""Threads that share out work, and what is inside of it."""

import gc
import subprocess
import sys
import threading
import weakref
from contextlib import suppress

import pytest
import torch

from vlae_codec.errors import InputError
from vlae_codec.threads import alone, counter, workers

MANY = 1_000_000  # pieces of work that would take many seconds, were they all begun


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sanity(threads):
    with workers(threads) as run:
        assert run.threads == threads
        for n in (0, 1, 2, 50):
            assert run(lambda x: x * x, range(n)) == [x * x for x in range(n)]
        assert run(lambda n: sum(run(lambda x: x * n, range(n))), range(9)) == [n * n * (n - 1) // 2 for n in range(9)]


def test_default():
    with workers(None) as run:
        assert run.threads >= 1
    for threads in (0, -1):
        with pytest.raises(InputError, match="threads"), workers(threads):
            pass


@pytest.mark.parametrize("sizes", [[40, 1, 1, 1], [1, 1, 1, 40], [40], [3, 3, 3, 3]])
def test_all_are_busy(sizes):
    """A large job is shared out when there are no others; never are more threads at work than there should be."""
    lock, now, most = threading.Lock(), 0, 0
    helpers: list[set[int]] = [set() for _ in sizes]
    side_by_side, shared = threading.Event(), threading.Event()

    def piece(job):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            helpers[job].add(threading.get_ident())
            if now == 2:
                side_by_side.set()
            if sizes[job] == 40 and len(helpers[job]) == 2:
                shared.set()
        assert side_by_side.wait(60)
        assert sizes[job] < 40 or shared.wait(60)
        with lock:
            now -= 1
        return job

    with workers(2) as run:
        found = run(lambda job: run(piece, [job] * sizes[job]), range(len(sizes)))
    assert found == [[job] * size for job, size in enumerate(sizes)]
    assert most == 2
    assert shared.is_set() == (max(sizes) == 40)


def test_free_threads():
    """As many as could help: one while all have work of their own."""
    together = threading.Barrier(2)

    def look(_):
        together.wait()
        found = run.threads
        together.wait()
        return found

    with workers(2) as run:
        assert run(look, range(2)) == [1, 1]
        assert run.threads == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_errors(threads):
    """That of the first item that failed; what is not begun is left; the threads go on."""
    begun = []

    def fail(x):
        begun.append(x)
        if x % 10 == 3:
            raise KeyError(x)
        return x

    with workers(threads) as run:
        with pytest.raises(KeyError, match="3"):
            run(fail, range(MANY))
        assert len(begun) < MANY
        with pytest.raises(KeyError, match="13"):
            run(lambda n: run(fail, range(n, n + 9)), [4, 5, 30])
        assert run(abs, [-1, -2]) == [1, 2]


def test_errors_let_go():
    """Of what was held when it failed nothing stays."""

    class Pixels:
        pass

    def fail(_):
        raise KeyError

    def picture(_):
        pixels = Pixels()
        held.append(weakref.ref(pixels))
        with suppress(KeyError):
            run(fail, [pixels] * 3)

    held: list[weakref.ref] = []
    gc.disable()
    try:
        with workers(2) as run:
            run(picture, range(4))
        assert [reference() for reference in held] == [None] * 4
    finally:
        gc.enable()


def test_interrupt():
    """An error where the threads are used calls them back from the middle of their work."""
    begun, waiting = [], threading.Event()

    def piece(x):
        begun.append(x)
        waiting.set()

    def use(run):
        with suppress(BaseException):
            run(lambda _: run(piece, range(MANY)), [1, 2])

    def stop_early():
        with workers(2) as run:
            threading.Thread(target=use, args=[run], daemon=True).start()
            waiting.wait()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop_early()
    assert len(begun) < 2 * MANY


def test_torch_threads():
    """Each thread is alone in its torch products, and all is as before afterwards."""
    torch.set_num_threads(2)
    with workers(3) as run:
        assert torch.get_num_threads() == 1
        assert run(lambda _: torch.get_num_threads(), range(20)) == [1] * 20
    assert torch.get_num_threads() == 2
    with alone(), alone():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_no_torch():
    """Neither the threads nor what is read before any coding wait for torch."""
    code = (
        "import sys, vlae_codec.api, vlae_codec.jobs.batch\n"
        "from vlae_codec.threads import workers\n"
        "with workers(2) as run: print(run(abs, [-1, -2]), 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[1, 2] False"]


def test_counter():
    seen: list[tuple[int, int]] = []
    tick = counter(lambda *pair: seen.append(pair), 10)
    for n in (3, 7):
        tick(n)
    assert seen == [(3, 10), (10, 10)]
    counter(None, 10)(3)
