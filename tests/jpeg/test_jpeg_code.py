"""Streams of DCT coefficients: back value for value, small, and harmless whatever bytes come."""

import numpy as np
import pytest
from stripes import STRIPE, empty, pop, push, stripes  # type: ignore[import-not-found]

from vlae_codec.errors import CorruptFile, EmptyStack
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.native.jpeg import Plane, push_coefficients
from vlae_codec.native.library import CoreError


def made(
    shapes: list[tuple[int, int]], sampling: tuple[tuple[int, int], ...], scale: float = 3.0, extreme: bool = False
) -> Coefficients:
    rng = np.random.default_rng(len(shapes) + shapes[0][0])
    fall = 1 / (1 + np.add.outer(np.arange(8), np.arange(8)).reshape(64))
    blocks = tuple(np.rint(rng.laplace(0, scale, (*shape, 64)) * fall).astype(np.int16) for shape in shapes)
    if extreme:
        for one in blocks:
            chosen = rng.random(one.shape) < 0.1
            one[chosen] = rng.integers(-32768, 32768, int(chosen.sum()))
            one[0, 0] = -32768
            one[-1, -1] = 32767
    tables = tuple(np.arange(64, dtype=np.int32) * 3 + 1 + i for i in range(len(shapes)))
    return Coefficients(8 * shapes[0][1], 8 * shapes[0][0], sampling, tables, blocks)


def back(coefficients: Coefficients, streams: list[bytes]) -> Coefficients:
    shapes = [blocks.shape[:2] for blocks in coefficients.blocks]
    one = coefficients
    unset = empty(one.width, one.height, one.sampling, one.tables, shapes)
    for blocks in unset.blocks:
        blocks[:] = 77  # nothing of what was there before matters
    pop(unset, streams)
    return unset


CASES = [
    ([(1, 1)], ((1, 1),)),
    ([(3, 1)], ((2, 2),)),
    ([(4, 6), (2, 3), (2, 3)], ((2, 2), (1, 1), (1, 1))),
    ([(5, 7), (3, 4), (3, 4)], ((2, 2), (1, 1), (1, 1))),
    ([(5, 7), (5, 7), (5, 7)], ((1, 1), (1, 1), (1, 1))),
    ([(4, 8), (4, 2), (4, 2)], ((4, 1), (1, 1), (1, 1))),
    ([(2, 2), (4, 4), (6, 3)], ((1, 1), (2, 2), (1, 3))),
    ([(3, 5)] * 4, ((1, 1),) * 4),
    ([(STRIPE * 2 + 3, 2), (STRIPE + 2, 1), (STRIPE + 2, 1)], ((2, 2), (1, 1), (1, 1))),
]


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("shapes", "sampling"), CASES, ids=str)
def test_back(shapes: list[tuple[int, int]], sampling: tuple[tuple[int, int], ...], extreme: bool) -> None:
    coefficients = made(shapes, sampling, extreme=extreme)
    streams = push(coefficients)
    for one, two in zip(back(coefficients, streams).blocks, coefficients.blocks, strict=True):
        assert np.array_equal(one, two)
    assert push(coefficients) == streams


def test_stripes() -> None:
    """They cover all rows once, and each is decoded without the others."""
    coefficients = made([(STRIPE * 3 + 2, 3), (STRIPE * 3 // 2 + 1, 2)], ((2, 2), (1, 1)))
    parts = stripes(coefficients)
    assert len(parts) == 4
    for i, blocks in enumerate(coefficients.blocks):
        rows = [row for planes in parts for row in range(planes[i].first, planes[i].last)]
        assert rows == list(range(blocks.shape[0]))
    streams = push(coefficients)
    assert streams[2] == push_coefficients(parts[2])
    other = back(coefficients, [streams[0], streams[1][:-1] + b"\1", streams[2], streams[3]])
    for i, (one, two) in enumerate(zip(other.blocks, coefficients.blocks, strict=True)):
        for k in (0, 2, 3):
            part = slice(parts[k][i].first, parts[k][i].last)
            assert np.array_equal(one[part], two[part])


def test_sizes() -> None:
    """Zeros cost nothing, noise not more than it must, what repeats less than noise."""
    zeros = made([(40, 40)], ((1, 1),), 0.0)
    assert sum(map(len, push(zeros))) < 40
    rng = np.random.default_rng(1)
    signs = made([(32, 32)], ((1, 1),), 0.0)
    signs.blocks[0][..., 9] = rng.choice([-1, 1], (32, 32))
    assert 128 <= sum(map(len, push(signs))) < 220  # a bit each, and what is learnt
    three = made([(32, 32)] * 3, ((1, 1),) * 3)
    apart = sum(map(len, push(three)))
    three.blocks[2][:] = three.blocks[1]
    assert sum(map(len, push(three))) < 0.85 * apart


def test_hostile() -> None:
    """Any bytes give some coefficients or a typed error."""
    rng = np.random.default_rng(2)
    coefficients = made([(6, 6), (3, 3), (3, 3)], ((2, 2), (1, 1), (1, 1)))
    good = push(coefficients)[0]
    failed = 0
    for i in range(60):
        hurt = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            hurt[place] = rng.integers(256)
        for stream in (bytes(hurt), good[: i * len(good) // 60], rng.bytes(i)):
            try:
                back(coefficients, [stream])
            except EmptyStack:
                failed += 1
    assert failed
    with pytest.raises(CorruptFile):
        back(coefficients, [good, good])


def test_refused() -> None:
    coefficients = made([(2, 2)], ((1, 1),))
    blocks, table = coefficients.blocks[0], coefficients.tables[0]
    push_coefficients([Plane(blocks, table, (1, 1), 0, 2)])
    for bad in (
        Plane(blocks, table, (1, 1), 0, 3),
        Plane(blocks, table, (1, 1), -1, 2),
        Plane(blocks, table, (1, 1), 2, 1),
        Plane(blocks, table, (0, 1), 0, 2),
        Plane(blocks, table, (1, 5), 0, 2),
        Plane(blocks, table * 0, (1, 1), 0, 2),
        Plane(blocks, table << 16, (1, 1), 0, 2),
    ):
        with pytest.raises(CoreError):
            push_coefficients([bad])
