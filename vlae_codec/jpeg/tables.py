"""The quantisation steps of a lost JPEG, found in the DCT of its samples.

A decoder's samples are rounded, which adds noise of 0.29 to the transform's values, whatever the frequency; so the
values of a frequency stand near multiples of its step. `evidence` says how much likelier they are so than spread
evenly, in nats. Encoders take most tables from the two examples of T.81 (annex K), scaled by libjpeg's quality from 1
to 100.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from vlae_codec.jpeg.decode import decode_plane
from vlae_codec.jpeg.parameters import standard_table
from vlae_codec.native.library import check, core, pointer

NOISE = 0.33  # of a value: rounded samples, and the rounding within the decoder
FREE = 100.0  # nats that a table of its own must gain
MISS = 1e-2  # density of values of other origin, or of other noise
WRONG = 10  # bits of a wrong sample


def basis() -> np.ndarray:
    """(64, 64) float32: what a frequency adds to each sample, both in natural order; orthonormal."""
    k, x = np.mgrid[:8, :8]
    line = np.cos((2 * x + 1) * k * np.pi / 16) / 2 * np.where(k == 0, 0.5**0.5, 1)
    return np.einsum("vy,ux->vuyx", line, line).reshape(64, 64).astype(np.float32)


BASIS = basis()


def transform(samples: np.ndarray) -> np.ndarray:
    """(rows, columns, 64) float32: the DCT of a plane (8 rows, 8 columns) of samples, less 128."""
    rows, columns = samples.shape[0] // 8, samples.shape[1] // 8
    blocks = samples.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    return ((blocks.astype(np.float32) - 128) @ BASIS.T).reshape(rows, columns, 64)


@cache
def scores() -> np.ndarray:
    """(2, 255, 128) float32: log-likelihood of a value by its distance from a multiple of a step, in 32nds.

    It is relative to values that are spread evenly. At the multiple 0 it is at most 0: the values of a smooth picture
    stand there as well.
    """
    step, off = np.arange(1, 256)[:, None], (np.arange(128) + 0.5) / 32
    near = np.exp(-0.5 * (off / NOISE) ** 2) + np.exp(-0.5 * ((step - off) / NOISE) ** 2)
    zero = np.log(near + MISS)
    return np.stack([np.minimum(zero, 0), zero + np.log(step / (NOISE * np.sqrt(2 * np.pi)))]).astype(np.float32)


def evidence(values: np.ndarray) -> np.ndarray:
    """(255, 64) float32: what values (n, 64) say for each step of each frequency, in nats."""
    columns, sums = np.ascontiguousarray(values.T, np.float32), np.empty((255, 64), np.float32)
    check(
        core.vlae_score_steps(
            *(pointer(columns, np.float32), len(values), pointer(scores(), np.float32), pointer(sums, np.float32))
        ),
        "the transform of a picture",
    )
    return sums


STANDARD = np.unique([standard_table(number) for number in range(1, 201)], axis=0)


def free_table(values: np.ndarray) -> np.ndarray:
    """(64,) int32: the likeliest step of each frequency for itself, given values (n, 64)."""
    sums = evidence(values)
    best = STANDARD[sums[STANDARD - 1, np.arange(64)].sum(1).argmax()]
    better = sums.max(0) > np.maximum(sums[best - 1, np.arange(64)], 0) + np.log(255)
    return np.where(better, sums.argmax(0) + 1, best).astype(np.int32)


def find_evidence(values: np.ndarray) -> float:
    """What speaks for some table of steps in values (n, 64), in nats; below 0 for most other pictures.

    Frequencies 0 and 4 in both directions do not count, since they have multiples in drawings too; nor do like blocks.
    """
    sums = evidence(np.unique(values, axis=0))
    sums[:, [0, 4, 32, 36]] = 0
    free = np.maximum(sums.max(0) - np.log(255), 0).sum() - FREE
    return float(max(sums[STANDARD - 1, np.arange(64)].sum(1).max(), free))


def costs(values: np.ndarray, samples: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """(tables,) about how many bits the blocks take by each table: their coefficients, and samples that are wrong then.

    values (n, 64) are the transform of the samples (n, 64) uint8.
    """
    out, bits = np.empty((8, 8 * len(values)), np.uint8), []
    wanted = samples.reshape(-1, 8, 8).transpose(1, 0, 2).reshape(8, -1)
    for table in tables:
        blocks = np.rint(values / table).astype(np.int16)
        decode_plane(blocks[None], table, out)
        sizes = np.log2(1 + np.abs(blocks, dtype=np.float32))
        bits.append(2 * sizes.sum() + WRONG * np.count_nonzero(out != wanted))
    return np.array(bits)


def find_table(values: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, float]:
    """(64,) int32: the table by which the blocks take the fewest bits, and the bits a block less than by steps of 1."""
    tables = np.concatenate([free_table(values)[None], STANDARD])
    bits = costs(values, samples, tables)
    best = int(bits[1:].argmin()) + 1
    if bits[0] < bits[best] - 8 * 64:  # a table of its own takes bits as well
        best = 0
    return tables[best].copy(), float(bits[-1] - bits[best]) / len(values)
