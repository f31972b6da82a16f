"""The quantisation steps of a lost JPEG, found in the DCT of its samples.

A decoder's samples are rounded, which adds noise of 0.29 to the transform's values, whatever the frequency; so the
values of a frequency stand near multiples of its step. `evidence` says how much likelier they are so than spread
evenly. Encoders take most tables from the two examples of T.81 (annex K), scaled by libjpeg's quality from 1 to 100.

What is decided here is decided by integers, so that it is the same on every machine: the transform has 13 bits of
fraction, likelihoods are in 1/256 nat, bits in 1/256. Its sums of products are below 2^24, so float32 has them exactly,
in any order. Logarithms are tabulated, and none of the tables' entries is near a half, where they are rounded
(`tests/jpeg/test_tables.py`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from vlae_codec.jpeg.decode import decode_plane
from vlae_codec.jpeg.parameters import standard_table
from vlae_codec.native.library import check, core, pointer

NOISE = 0.33  # of a value: rounded samples, and the rounding within the decoder
NAT = 256  # units of likelihood
FREE = 100 * NAT  # that a table of its own must gain
CHOICE = 1419  # ln 255 in these units, for one of 255 steps
MISS = 1e-2  # density of values of other origin, or of other noise
WRONG = 10  # bits of a wrong sample
BIT = 256  # units of bits
ONE_BITS = 13  # of the basis, and of values of the transform
ONE = 1 << ONE_BITS
MOST_VALUE = 2047


def basis() -> np.ndarray:
    """(64, 64) int16: what a frequency adds to each sample, both in natural order; orthonormal, in 2^-13."""
    k, x = np.mgrid[:8, :8]
    line = np.rint(ONE * np.cos((2 * x + 1) * k * np.pi / 16) / 2 * np.where(k == 0, 0.5**0.5, 1)).astype(np.int64)
    whole = np.einsum("vy,ux->vuyx", line, line).reshape(64, 64)
    return ((whole + ONE // 2) >> ONE_BITS).astype(np.int16)


BASIS = basis()
_COLUMNS = np.ascontiguousarray(BASIS.T.astype(np.float32))


def transform_of(blocks: np.ndarray) -> np.ndarray:
    """(n, 64) int32: the DCT of blocks (n, 64) of samples less 128, in 2^-13."""
    found: np.ndarray = (blocks.astype(np.float32) - 128) @ _COLUMNS
    return found.astype(np.int32)


def transform(samples: np.ndarray) -> np.ndarray:
    """(rows, columns, 64) int32: the DCT of a plane (8 rows, 8 columns) of samples, less 128, in 2^-13."""
    rows, columns = samples.shape[0] // 8, samples.shape[1] // 8
    blocks = samples.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    return transform_of(blocks).reshape(rows, columns, 64)


def nearest(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(..., 64) int16: the quantised values nearest to those of a transform."""
    step = table.astype(np.int32)
    found = (2 * values + (step << ONE_BITS)) // (step << (ONE_BITS + 1))
    return found.clip(-MOST_VALUE, MOST_VALUE).astype(np.int16)


@cache
def scores() -> np.ndarray:
    """(2, 255, 128) int16: log-likelihood of a value by its distance from a multiple of a step, in 32nds.

    It is relative to values that are spread evenly, in 1/256 nat. At the multiple 0 it is at most 0: the values of a
    smooth picture stand there as well.
    """
    return np.rint(exact_scores()).astype(np.int16)


def exact_scores() -> np.ndarray:
    """`scores` before they are rounded."""
    step, off = np.arange(1, 256)[:, None], np.arange(128) / 32
    near = np.exp(-0.5 * (off / NOISE) ** 2) + np.exp(-0.5 * ((step - off) / NOISE) ** 2)
    zero = np.log(near + MISS)
    found: np.ndarray = NAT * np.stack([np.minimum(zero, 0), zero + np.log(step / (NOISE * np.sqrt(2 * np.pi)))])
    return found


@cache
def sizes() -> np.ndarray:
    """(2049,) int32: about the bits of a value by its magnitude, in 1/256."""
    return np.rint(exact_sizes()).astype(np.int32)


def exact_sizes() -> np.ndarray:
    """`sizes` before they are rounded."""
    found: np.ndarray = 2 * BIT * np.log2(1 + np.arange(MOST_VALUE + 2))
    return found


def evidence(values: np.ndarray) -> np.ndarray:
    """(255, 64) int32: what values (n, 64) of a transform say for each step of each frequency."""
    columns = np.ascontiguousarray((values.T + (1 << (ONE_BITS - 6))) >> (ONE_BITS - 5), np.int32)
    sums = np.empty((255, 64), np.int32)
    check(
        core.vlae_score_steps(
            *(pointer(columns, np.int32), len(values), pointer(scores(), np.int16), pointer(sums, np.int32))
        ),
        "the transform of a picture",
    )
    return sums


STANDARD = np.unique([standard_table(number) for number in range(1, 201)], axis=0)


def free_table(values: np.ndarray) -> np.ndarray:
    """(64,) int32: the likeliest step of each frequency for itself, given values (n, 64)."""
    sums = evidence(values)
    best = STANDARD[sums[STANDARD - 1, np.arange(64)].sum(1).argmax()]
    better = sums.max(0) > np.maximum(sums[best - 1, np.arange(64)], 0) + CHOICE
    return np.where(better, sums.argmax(0) + 1, best).astype(np.int32)


def find_evidence(values: np.ndarray) -> int:
    """What speaks for some table of steps in values (n, 64), in 1/256 nat; below 0 for most other pictures.

    Frequencies 0 and 4 in both directions do not count, since they have multiples in drawings too; nor do like blocks.
    """
    sums = evidence(np.unique(values, axis=0))
    sums[:, [0, 4, 32, 36]] = 0
    free = np.maximum(sums.max(0) - CHOICE, 0).sum() - FREE
    return int(max(sums[STANDARD - 1, np.arange(64)].sum(1).max(), free))


def costs(values: np.ndarray, samples: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """(tables,) int64: about what the blocks take by each table, coefficients and samples that are wrong then, in 1/256
    bit.

    values (n, 64) are the transform of the samples (n, 64) uint8.
    """
    out, bits = np.empty((8, 8 * len(values)), np.uint8), []
    wanted = samples.reshape(-1, 8, 8).transpose(1, 0, 2).reshape(8, -1)
    for table in tables:
        blocks = nearest(values, table)
        decode_plane(blocks[None], table, out)
        bits.append(int(sizes()[np.abs(blocks)].sum()) + BIT * WRONG * int(np.count_nonzero(out != wanted)))
    return np.array(bits)


def find_table(values: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(64,) int32: the table by which the blocks take the fewest bits."""
    tables = np.concatenate([free_table(values)[None], STANDARD])
    bits = costs(values, samples, tables)
    best = int(bits[1:].argmin()) + 1
    if bits[0] < bits[best] - BIT * 8 * 64:  # a table of its own takes bits as well
        best = 0
    return tables[best].copy()
