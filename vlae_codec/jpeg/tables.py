"""The quantisation steps of a lost JPEG, found in the DCT of its samples.

A decoder's samples are rounded, which adds noise of 0.29 to the transform's values, whatever the frequency; so the values
of a frequency stand near multiples of its step. `evidence` says how much likelier they are so than spread evenly,
in nats. Encoders take most tables from the two examples of T.81 (annex K), scaled by libjpeg's quality from 1 to 100.
"""

from __future__ import annotations

import numpy as np

NOISE = 0.33  # of a value: rounded samples, and the rounding within the decoder
MISS = 1e-4  # density of values of other origin
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


def evidence(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(steps, frequencies): for values (n, frequencies) and steps (steps, frequencies or 1).

    Values near 0 can only speak against a step: those of a smooth picture stand there as well.
    """
    sums = []
    for step in steps:
        times = np.rint(values / step)
        off = (values - times * step) / NOISE
        near = np.exp(-0.5 * off**2)
        if np.min(step) == 1:
            near = near + np.exp(-0.5 * (np.abs(off) - step / NOISE) ** 2)
        found = np.log(near / (NOISE * np.sqrt(2 * np.pi)) + MISS)
        sums.append(np.where(times == 0, found + np.log(NOISE * np.sqrt(2 * np.pi)), found + np.log(step)).sum(0))
    return np.array(sums)
