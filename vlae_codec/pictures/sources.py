"""The source planes of pictures with an origin, as far as they are known, and what is known beside a plane.

Luma is coded like a grey picture. A plane of chroma is coded beside the luma at its size and the plane before it; the
first one has 128 in the place of the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile
from vlae_codec.format import header
from vlae_codec.format.container import Part, Piece, Region
from vlae_codec.format.header import Layout, Planes
from vlae_codec.jpeg.coefficients import WHOLE
from vlae_codec.jpeg.parameters import unpack
from vlae_codec.origins import origin as origins
from vlae_codec.origins.conversions import CONVERSIONS

UNKNOWN = "the file names an origin that does not exist: get a fresh copy of the file"

Beside = Callable[[Piece], list[np.ndarray]]  # of a piece the planes (h, w) uint8 known beside it


class Sources:
    """The source planes of the pictures of a layout: (h, w) uint8 each, 0 where they are not known yet."""

    def __init__(self, planes: dict[int, list[np.ndarray]] | None = None) -> None:
        """planes: those of each picture, by its number, where they are known."""
        self.planes = planes or {}

    def add(self, part: Part) -> None:
        """Makes room for the planes of a part."""
        for i, width, height in part.pictures:
            self.planes.setdefault(i, []).append(np.zeros((height, width), np.uint8))

    def put(self, piece: Piece, found: np.ndarray, differences: bool = False) -> None:
        """Takes a piece of the planes added last."""
        i, (y, x, h, w) = piece
        self.planes[i][-1][y : y + h, x : x + w] = found[..., 0]

    def beside(self, part: Part, codec: TileCodec | None) -> Beside | None:
        """What is known beside the pieces of a part: as many planes as its model takes; None if it takes none."""
        count = 0 if codec is None else codec.config.get("side", 0)

        def known(piece: Piece) -> list[np.ndarray]:
            i, (y, x, h, w) = piece
            luma, *chroma = self.planes[i]
            near = luma_beside(luma, part.planes, (y, x, h, w))
            before = chroma[0][y : y + h, x : x + w] if part.channel == 2 else np.full_like(near, 128)
            return [near, np.ascontiguousarray(before)][:count]

        return known if count else None


def luma_beside(luma: np.ndarray, planes: Planes, place: tuple[int, int, int, int]) -> np.ndarray:
    """The luma (h, w) uint8 of the samples at a place (y, x, h, w) of a plane of chroma.

    In each direction in which the plane is halved it is the mean of two samples, or, if chroma is cosited, with weights
    1, 2, 1 that of the one at the chroma's place and those beside it; it is rounded at the end. What is outside of the
    luma is as its edge.
    """
    y, x, h, w = place
    weighted, shift = luma, 0
    for axis, (first, count) in enumerate(((y, h), (x, w))):
        half, begin = planes.halved[1 - axis], planes.shifted[1 - axis]
        at = half * np.arange(first, first + count) + begin
        taps = (0,) if half == 1 else (-1, 0, 0, 1) if planes.cosited else (0, 1)
        parts = [weighted.take((at + tap).clip(0, luma.shape[axis] - 1), axis).astype(np.uint16) for tap in taps]
        weighted, shift = sum(parts[1:], parts[0]), shift + len(taps) // 2
    return ((weighted + (1 << shift >> 1)) >> shift).astype(np.uint8)


def rebuild_planes(layout: Layout, planes: Sequence[np.ndarray], size: tuple[int, int], region: Region) -> np.ndarray:
    """(h, w, 3) uint8: a region of a picture of this (width, height), of its source planes. Raises CorruptFile."""
    assert layout.origin is not None
    origin = origin_of(layout.origin)
    parts = [plane[y : y + h, x : x + w] for plane, (x, y, w, h) in zip(planes, origins.needs(origin, *size, region))]
    return origins.rebuild(origin, parts, *size, region)


def origin_of(origin: header.Origin) -> origins.Origin:
    """The origin of a form of source planes. Raises CorruptFile for one that there is not."""
    conversion, enlargement, geometry = origin.data
    found = origins.Origin.from_numbers(conversion, enlargement, geometry & 15)
    if geometry_of(found) != geometry:
        raise CorruptFile(UNKNOWN)
    return found


def geometry_of(origin: origins.Origin) -> int:
    """What a header says of the size of chroma."""
    return origin.numbers[2] + 16 * (origin.channels == 1) + 32 * (origin.enlargement == "photocd")


def words(origin: header.Origin) -> str:
    """What a picture was, for people. Raises CorruptFile for an origin that there is not."""
    if origin.form == header.SOURCE_PLANES:
        return origin_of(origin).words
    if origin.form == header.VALUES:
        if origin.data[0] >= len(CONVERSIONS):
            raise CorruptFile(UNKNOWN)
        return f"values of {tuple(CONVERSIONS.values())[origin.data[0]].words}"
    found = unpack(origin.data)
    sampling, part = found.sampling, "" if found.cut == WHOLE else "a part of "
    most = tuple(max(factors) for factors in zip(*sampling))
    form = f", {origins.SUBSAMPLED[most]}" if most in origins.SUBSAMPLED and len(sampling) == 3 else ""
    return f"{part}a JPEG{form}, its coefficients"
