"""An origin: what a picture was before it was RGB. It says how the picture is rebuilt from its source planes.

The source planes are Y, Cb, Cr (`jfif`, `photocd`, ...), or the one channel of a picture whose channels are equal
(`grey`). Chroma planes may have half as many columns or rows; then they are enlarged before the conversion:

    number  conversion      number  enlargement
    0       grey            0       none: chroma is not halved, and of grey there is none
    1       jfif            1       box: a sample stands for two pixels
    2       photocd         2       triangle: a pixel takes 3/4 of the sample it lies in and 1/4 of the one next to it
    3       webp                    (libjpeg's "fancy" upsampling; libwebp's)
                            3       photocd: a sample stands at every second pixel, the mean of two or four between

The phase is 1 where the picture begins with the second pixel of a sample, and for `photocd` where the second pixel is
the first that has a sample. A column x, and likewise a row y, has a near sample, a far one, and the weight q of the far
one in quarters, p being the phase:

    not halved   near x, q = 0
    box          near (x + p) >> 1, q = 0
    triangle     near (x + p) >> 1, far near + 1 if x + p is odd, else near - 1; q = 1
    photocd      near (x - p) >> 1, far near + 1, q = 2 if x - p is odd, else 0

In place of samples before the first and behind the last stand these. Chroma at a pixel is (sum + bias) >> 4 of four
samples, each times 4 - q or q of its row and 4 - q or q of its column. The bias is 8; but of `jfif` with the triangle,
by the parity of y + p of rows and x + p of columns:

                                   even row, even column   even, odd   odd, even   odd, odd
    columns and rows halved        8                       7           8           7
    columns halved                 4                       8           4           8
    rows halved                    4                       4           8           8
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.native import origins as native
from vlae_codec.origins.conversions import CONVERSIONS, formula
from vlae_codec.origins.names import GREY

_CONVERSIONS = (GREY, *CONVERSIONS)  # their places are numbers of the file
_ENLARGEMENTS = ("none", "box", "triangle", "photocd")
SUBSAMPLED = {(1, 1): "4:4:4", (2, 1): "4:2:2", (1, 2): "4:4:0", (2, 2): "4:2:0"}
# Sixteenths that are added before the sum is rounded down: for even and odd columns of even rows, then of odd rows.
_HALF = (8, 8, 8, 8)
_LIBJPEG = {(2, 2): (8, 7, 8, 7), (2, 1): (4, 8, 4, 8), (1, 2): (4, 4, 8, 8)}

Region = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True)
class Origin:
    """How RGB came from source planes. Raises ValueError for what does not exist."""

    conversion: str
    enlargement: str = "none"
    halved: tuple[int, int] = (1, 1)  # columns, rows of a chroma sample: 1 or 2
    phase: tuple[int, int] = (0, 0)  # of columns, of rows: 0 or 1, and 0 where they are not halved

    def __post_init__(self) -> None:
        known = self.conversion in _CONVERSIONS and self.enlargement in _ENLARGEMENTS and self.halved in SUBSAMPLED
        plain = self.halved == (1, 1)
        if not known or (self.enlargement == "none") != plain or (self.conversion == GREY and not plain):
            raise ValueError(f"there is no origin {self.conversion} {self.enlargement} {self.halved}")
        if any(not 0 <= phase < halved for phase, halved in zip(self.phase, self.halved, strict=True)):
            raise ValueError(f"there is no phase {self.phase} of {self.halved}")

    @property
    def channels(self) -> int:
        """The number of source planes: 1 or 3."""
        return 1 if self.conversion == GREY else 3

    @property
    def words(self) -> str:
        """What the picture was, for people."""
        if self.conversion == GREY:
            return "grey, stored as RGB"
        name = CONVERSIONS[self.conversion].words
        return f"{name}, {SUBSAMPLED[self.halved]}" + (" by a box" if self.enlargement == "box" else "")

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Three numbers below 256 for a file: the conversion, the enlargement, and bits of what is halved and where."""
        flags = [halved - 1 for halved in self.halved] + [*self.phase]
        return (
            *(_CONVERSIONS.index(self.conversion), _ENLARGEMENTS.index(self.enlargement)),
            sum(flag << i for i, flag in enumerate(flags)),
        )

    @staticmethod
    def from_numbers(conversion: int, enlargement: int, flags: int) -> Origin:
        """The origin of these `numbers`. Raises CorruptFile if there is none."""
        try:
            if min(conversion, enlargement) < 0 or not 0 <= flags < 16:
                raise ValueError("a number is out of range")
            columns, rows, x, y = ((flags >> i) & 1 for i in range(4))
            names = _CONVERSIONS[conversion], _ENLARGEMENTS[enlargement]
            return Origin(*names, (columns + 1, rows + 1), (x, y))
        except (IndexError, ValueError) as error:
            raise CorruptFile("the file names an origin that does not exist: it is damaged, or made later") from error

    def sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Width and height of each source plane of a picture of this size."""
        chroma = _count(self, 0, width), _count(self, 1, height)
        return [(width, height), chroma, chroma][: self.channels]


def _count(origin: Origin, axis: int, size: int) -> int:
    """The samples of so many columns or rows."""
    halved, phase = origin.halved[axis], origin.phase[axis]
    if halved == 1:
        return size
    return max(1, (size + 1 - phase) // 2) if origin.enlargement == "photocd" else (size + 1 + phase) // 2


def _axis(origin: Origin, axis: int, size: int, begin: int, end: int) -> np.ndarray:
    """(end - begin, 3): near sample, far sample, quarters of the far one, of these columns or rows of `size`."""
    x = np.arange(begin, end)
    if origin.halved[axis] == 1:
        near, far, quarters = x, x, 0 * x
    elif origin.enlargement == "photocd":
        x = x - origin.phase[axis]
        near, far, quarters = x >> 1, (x >> 1) + 1, 2 * (x & 1)
    else:
        x = x + origin.phase[axis]
        aside = 2 * (x & 1) - 1
        near, far, quarters = x >> 1, (x >> 1) + aside, 1 + 0 * x
        if origin.enlargement == "box":
            far, quarters = near, 0 * x
    last = _count(origin, axis, size) - 1
    return np.stack([near.clip(0, last), far.clip(0, last), quarters], 1).astype(np.int32)


def _grid(origin: Origin, width: int, height: int, region: Region) -> tuple[native.Grid, Region]:
    """The grid of a region, whose samples are counted from the first that it needs, and the part of chroma it needs."""
    x, y, columns, rows = region
    axes = [_axis(origin, 0, width, x, x + columns), _axis(origin, 1, height, y, y + rows)]
    begins = [int(axis[:, :2].min()) for axis in axes]
    counts = [int(axis[:, :2].max()) + 1 - begin for axis, begin in zip(axes, begins, strict=True)]
    for axis, begin in zip(axes, begins, strict=True):
        axis[:, :2] -= begin
    libjpeg = origin.conversion == "jfif" and origin.enlargement == "triangle"
    bias = np.reshape(_LIBJPEG[origin.halved] if libjpeg else _HALF, (2, 2))
    bias = np.roll(bias, (-(y + origin.phase[1]), -(x + origin.phase[0])), (0, 1))
    a, b, c, d = (int(value) for value in bias.flat)
    (wide, high) = counts
    return native.Grid(axes[0], axes[1], (a, b, c, d), wide, high), (begins[0], begins[1], counts[0], counts[1])


def grid(origin: Origin, width: int, height: int) -> native.Grid:
    """Where the chroma of each pixel comes from."""
    return _grid(origin, width, height, (0, 0, width, height))[0]


def needs(origin: Origin, width: int, height: int, region: Region) -> list[Region]:
    """The part of each source plane that a region of a picture is rebuilt from: x, y, width, height."""
    chroma = _grid(origin, width, height, region)[1] if origin.channels == 3 else region
    return [region, chroma, chroma][: origin.channels]


def rebuild(
    origin: Origin, planes: list[np.ndarray], width: int, height: int, region: Region | None = None
) -> np.ndarray:
    """(height, width, 3) uint8: the picture, or a region of it, from its source planes.

    planes: uint8, of `sizes`; for a region those parts of them that `needs` names. Raises ValueError for other shapes.
    """
    region = region or (0, 0, width, height)
    shapes = [(h, w) for _, _, w, h in needs(origin, width, height, region)]
    if [plane.shape for plane in planes] != shapes:
        raise ValueError(f"planes of {[plane.shape for plane in planes]} must be of {shapes}")
    if origin.channels == 1:
        return np.repeat(planes[0][..., None], 3, 2)
    planes = [np.ascontiguousarray(plane) for plane in planes]
    return native.rebuild(formula(origin.conversion), _grid(origin, width, height, region)[0], planes)
