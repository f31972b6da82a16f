"""Threads that share a device: their tiles go together, and each gets its own back."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vlae_codec.coder import tile
from vlae_codec.errors import EmptyStack
from vlae_codec.gpu.convoy import Convoy
from vlae_codec.native import ans


@pytest.fixture
def parts(tiny_codec):
    """Four (message, band), each popped in two ways: with a context and without."""
    rng = np.random.default_rng(3)
    found = []
    for height in (5, 8, 3, 6):
        band = rng.integers(0, 256, (height, 9, 3)).astype(np.uint8)
        codec = tiny_codec.pixels([band[:0]], [height], None, 3)
        found.append((codec.push([ans.empty(1, height)], [band])[0], band))
    return found


class Counted:
    """The CPU's codec, and how many tiles came at once."""

    def __init__(self, codec):
        self.codec, self.calls = codec, []

    def pop(self, messages, *rest):
        self.calls.append(len(messages))
        return self.codec.pop(messages, *rest)


def convoy_of(codec, threads):
    """A convoy that sets out when all threads have asked."""

    def wait():
        while not gone and convoy.waiting < threads:
            time.sleep(0)  # the others go on
        gone.append(True)

    gone: list[bool] = []
    convoy = Convoy(codec, wait)
    return convoy


def pop(convoy, message, band, tick=None):
    (left,), (found,) = convoy.pop([message], [band[:0]], [len(band)], None, 3, tick)
    return left, found


def test_together(tiny_codec, parts):
    counted = Counted(tiny_codec.pixel_codec)
    told: list[int] = []
    convoy = convoy_of(counted, 4)

    def one(part):
        message, band = part
        return pop(convoy, message, band, told.append)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, parts))
    for (_, band), (left, found) in zip(parts, results):
        assert np.array_equal(found, band)
        assert ans.is_empty(left, len(band))
    assert counted.calls == [4]
    assert sum(told) == sum(band[..., 0].size for _, band in parts)


def test_one_of_them_is_damaged(tiny_codec, parts):
    """Only the thread whose stream ran out is told so."""
    convoy = convoy_of(tiny_codec.pixel_codec, 4)
    short = ans.Message(parts[1][0].heads, parts[1][0].words[:0])

    def one(i):
        message, band = parts[i]
        if i != 1:
            return pop(convoy, message, band)
        with pytest.raises(EmptyStack, match="tile 0"):
            pop(convoy, short, band)
        return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(4)))
    for i in (0, 2, 3):
        assert np.array_equal(results[i][1], parts[i][1])


def test_an_unforeseen_error_reaches_all(parts):
    class Broken:
        def pop(self, *args):
            raise MemoryError

    convoy = convoy_of(Broken(), 4)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(pop, convoy, *part) for part in parts]
    assert all(isinstance(job.exception(), MemoryError) for job in jobs)


def test_device_codecs_have_one(tiny_codec):
    codec = tile.TileCodec(tiny_codec.model, "torch:cpu")
    assert isinstance(codec.pixel_codec, Convoy)
    band = np.random.default_rng(1).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    expected = tiny_codec.pixel_codec.intervals(band[:0], band, None, 3)
    assert all(map(np.array_equal, codec.pixel_codec.intervals(band[:0], band, None, 3), expected))
