"""The quantisation steps of a lost JPEG, found in the DCT of its samples.

A decoder's samples are rounded, which adds noise of 0.29 to the transform's values, whatever the frequency; so the values
of a frequency stand near multiples of its step. `evidence` says how much likelier they are so than spread evenly,
in nats. Encoders take most tables from the two examples of T.81 (annex K), scaled by libjpeg's quality from 1 to 100.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from vlae_codec.native.library import check, core, pointer

NOISE = 0.33  # of a value: rounded samples, and the rounding within the decoder
MISS = 1e-2  # density of values of other origin, or of other noise
# fmt: off
LUMA = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87,
    80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92,
    95, 98, 112, 100, 103, 99])
CHROMA = np.array([
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99,
    99, 99] + 32 * [99])
# fmt: on


def basis() -> np.ndarray:
    """(64, 64) float32: what a frequency adds to each sample, both in natural order; orthonormal."""
    k, x = np.mgrid[:8, :8]
    line = np.cos((2 * x + 1) * k * np.pi / 16) / 2 * np.where(k == 0, 0.5**0.5, 1)
    return np.einsum("vy,ux->vuyx", line, line).reshape(64, 64).astype(np.float32)


BASIS = basis()


def standard(quality: int, chroma: bool) -> np.ndarray:
    """(64,) int32: an example table of T.81 as libjpeg scales it."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip(((CHROMA if chroma else LUMA) * scale + 50) // 100, 1, 255).astype(np.int32)


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


STANDARD = np.array([[standard(quality, chroma) for quality in range(1, 101)] for chroma in (False, True)])


def find_table(values: np.ndarray) -> tuple[np.ndarray, float]:
    """(64,) int32: the likeliest table for the values (n, 64) of blocks, and what speaks for it in nats.

    A standard table is taken where it explains the values as well as the best step of each frequency does.
    """
    sums = evidence(values)
    single = sums.max(0)
    totals = sums[STANDARD - 1, np.arange(64)].sum(2)
    best = STANDARD[np.unravel_index(totals.argmax(), totals.shape)]
    of_best = sums[best - 1, np.arange(64)]
    if totals.max() >= 0.95 * single.sum() - 64 * np.log(255):
        return best.copy(), float(totals.max())
    table = np.where(single > np.maximum(of_best, 0) + np.log(255), sums.argmax(0) + 1, best).astype(np.int32)
    return table, float(sums[table - 1, np.arange(64)].sum() - 64 * np.log(255))
