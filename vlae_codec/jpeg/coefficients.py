"""The quantised DCT coefficients of a JPEG, and what its decoder must know beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cut:
    """Columns and rows of a JPEG that a picture lacks."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def of(self, whole: np.ndarray) -> np.ndarray:
        """The part of the JPEG (H, W, ...) that is in the picture."""
        found = whole[self.top : len(whole) - self.bottom, self.left : whole.shape[1] - self.right]
        return np.ascontiguousarray(found)

    @property
    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.top, self.bottom), (self.left, self.right)


WHOLE = Cut()


@dataclass(frozen=True)
class Coefficients:
    """What a JPEG says about its pixels: a step and an integer for each frequency of each block.

    Block (0, 0) of each component begins at the upper left corner of the JPEG, which may be larger than the picture.
    The horizontal frequency is i % 8 and the vertical one i // 8 at place i of 64, which is called natural order. A
    component with the largest sampling factors has ceil(width / 8) columns of blocks; `grid` says how many another has.
    """

    width: int  # of the JPEG, pixels
    height: int
    sampling: tuple[tuple[int, int], ...]  # (h, v) of each component, 1 to 4: 1, 3 or 4 components
    tables: tuple[np.ndarray, ...]  # (64,) int32 of each component: quantisation steps, 1 to 65535, natural order
    blocks: tuple[np.ndarray, ...]  # (rows, columns, 64) int16 of each component: quantised values, natural order
    cut: Cut = WHOLE  # what the picture lacks of it

    def grid(self, component: int) -> tuple[int, int]:
        """Rows and columns of blocks that a component needs (T.81, A.1.1 and A.2.4)."""
        h, v = self.sampling[component]
        most_h, most_v = (max(factors) for factors in zip(*self.sampling, strict=True))
        return -(-self.height * v // (8 * most_v)), -(-self.width * h // (8 * most_h))
