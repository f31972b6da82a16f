"""An origin: how a picture became RGB, and so how it is rebuilt from its source planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.native.origins import Grid

KINDS = {"none": (0, 0), "box": (0, 0), "triangle": (1, 1), "photocd": (0, 2)}
BIAS = {"none": (8,) * 4, "box": (8,) * 4, "photocd": (8,) * 4}


def _axis(size, samples, kind, halved, phase):
    x = np.arange(size)
    if halved == 1:
        near = far = x
        w = x * 0
    else:
        x = x + phase if kind != "photocd" else x - phase
        near = x >> 1
        if kind == "box":
            far, w = near, x * 0
        elif kind == "triangle":
            far, w = near + 2 * (x & 1) - 1, x * 0 + 1
        else:
            far, w = near + 1, 2 * (x & 1)
    return np.ascontiguousarray(np.stack([near.clip(0, samples - 1), far.clip(0, samples - 1), w], 1).astype(np.int32))


def samples(size, kind, halved, phase):
    if halved == 1:
        return size
    return max(1, (size + 1 - phase) // 2) if kind == "photocd" else (size + 1 + phase) // 2


def bias(kind, halved, phase, conversion):
    if kind != "triangle" or conversion != "jfif":
        return (8, 8, 8, 8)
    b = {(2, 2): (8, 7, 8, 7), (2, 1): (4, 8, 4, 8), (1, 2): (4, 4, 8, 8)}[halved]
    b = np.array(b).reshape(2, 2)
    return tuple(int(t) for t in np.roll(b, (-phase[1], -phase[0]), (0, 1)).ravel())


def grid(kind, halved, phase, conversion, width, height):
    w, h = samples(width, kind, halved[0], phase[0]), samples(height, kind, halved[1], phase[1])
    return Grid(
        _axis(width, w, kind, halved[0], phase[0]),
        _axis(height, h, kind, halved[1], phase[1]),
        bias(kind, halved, phase, conversion),
        w,
        h,
    )
