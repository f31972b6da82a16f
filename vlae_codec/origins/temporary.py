from dataclasses import dataclass
from typing import NamedTuple
import numpy as np
from vlae_codec.native import origins as no
from vlae_codec.origins.conversions import formula
from vlae_codec.origins.origin import grid

CONV = ("grey", "jfif", "photocd")
ENL = ("none", "box", "triangle", "photocd")


@dataclass(frozen=True)
class Origin:
    conversion: str
    enlargement: str
    halved: tuple
    phase: tuple

    @property
    def words(self):
        return "a PhotoCD scan"

    @property
    def numbers(self):
        return (
            CONV.index(self.conversion),
            ENL.index(self.enlargement),
            (self.halved[0] - 1)
            + 2 * (self.halved[1] - 1)
            + 4 * self.phase[0]
            + 8 * self.phase[1]
            + 16 * (self.conversion == "grey")
            + 32 * (self.enlargement == "photocd"),
        )

    @staticmethod
    def of(numbers):
        c, e, g = numbers
        return Origin(CONV[c], ENL[e], (1 + (g & 1), 1 + (g >> 1 & 1)), (g >> 2 & 1, g >> 3 & 1))


class Found(NamedTuple):
    origin: Origin
    planes: list
    exceptions: int


def find(rgb, kind="photocd", conv="photocd", halved=(2, 2)):
    f = formula(conv)
    h, w, _ = rgb.shape
    cb, cr, n = no.chroma(f, np.ascontiguousarray(rgb[::7, ::7].reshape(-1, 3)))
    if (cb == -2).mean() > 0.1:
        return None
    cb, cr, n = no.chroma(f, np.ascontiguousarray(rgb.reshape(-1, 3)))
    best = None
    for px in (0, 1):
        for py in (0, 1):
            g = grid(kind, halved, (px, py), conv, w, h)
            planes, mis = no.halve(f, g, rgb, (cb, cr))
            if best is None or mis < best[0]:
                best = (mis, (px, py), g, planes)
    mis, phase, g, planes = best
    y, exact = no.luma(f, g, rgb, planes)
    return Found(Origin(conv, kind, halved, phase), [y, *planes], h * w - exact)


def rebuild(origin, planes, width, height, region=None):
    g = grid(origin.enlargement, origin.halved, origin.phase, origin.conversion, width, height)
    rgb = no.rebuild(formula(origin.conversion), g, planes)
    if region is None:
        return rgb
    x, y, w, h = region
    return rgb[y : y + h, x : x + w]
