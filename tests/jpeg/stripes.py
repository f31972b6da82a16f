"""Coefficients as streams, one for each stripe of a picture, which are coded independently of each other.

A stripe has whole rows of MCUs: at most `STRIPE` rows of blocks, 512 of pixels, of the components with the most, and
fewer of the others. `core/coefficients.h` says how it is coded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.native.jpeg import Plane, pop_coefficients, push_coefficients

STRIPE = 64  # rows of blocks of the components that have the most


def stripes(coefficients: Coefficients) -> list[list[Plane]]:
    """For each stripe the rows of all components, which share the memory of the coefficients."""
    factors = [v for _, v in coefficients.sampling]
    mcus = max(1, STRIPE // max(factors))
    shapes = [blocks.shape[0] for blocks in coefficients.blocks]
    count = max(-(-rows // (mcus * v)) for rows, v in zip(shapes, factors, strict=True))
    parts = list(zip(coefficients.blocks, coefficients.tables, coefficients.sampling, strict=True))
    return [
        [
            Plane(blocks, table, (h, v), *(min(blocks.shape[0], row * mcus * v) for row in (stripe, stripe + 1)))
            for blocks, table, (h, v) in parts
        ]
        for stripe in range(count)
    ]


def push(coefficients: Coefficients) -> list[bytes]:
    """The streams of all stripes."""
    return [push_coefficients(planes) for planes in stripes(coefficients)]


def empty(
    width: int,
    height: int,
    sampling: tuple[tuple[int, int], ...],
    tables: tuple[np.ndarray, ...],
    shapes: Sequence[tuple[int, int]],
) -> Coefficients:
    """Coefficients of so many rows and columns of blocks, unset, for `pop`. The caller checks what they take."""
    return Coefficients(width, height, sampling, tables, tuple(np.zeros((*shape, 64), np.int16) for shape in shapes))


def pop(coefficients: Coefficients, streams: Sequence[bytes]) -> None:
    """Sets coefficients to those of streams. Raises CorruptFile for streams that are damaged, where that shows."""
    places = stripes(coefficients)
    if len(places) != len(streams):
        raise CorruptFile("a JPEG's coefficients have another number of streams: get a fresh copy of the file")
    for planes, stream in zip(places, streams, strict=True):
        pop_coefficients(planes, stream)
