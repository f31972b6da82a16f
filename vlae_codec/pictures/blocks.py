"""The coefficients of a picture that was a JPEG, tile by tile: the blocks of all components at the tile's place.

That place is the tile's in the picture, counted from the JPEG's corner, though the picture may begin behind that.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.format.container import Piece
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.parameters import Parameters
from vlae_codec.limits import Limits
from vlae_codec.native.jpeg import Plane, pop_coefficients, push_coefficients

TILE = 2048  # pixels: a stream learns from its blocks, so larger ones are smaller in all


def no_coefficients(parameters: Parameters, width: int, height: int, limits: Limits) -> Coefficients:
    """The coefficients of a picture of this size, all 0. Raises ImageTooLarge."""
    (above, below), (before, behind) = parameters.cut.pads
    width, height = before + width + behind, above + height + below
    shapes = [parameters.shape(i, width, height) for i in range(len(parameters.sampling))]
    limits.check(0, memory=sum(128 * rows * columns for rows, columns in shapes))
    blocks = tuple(np.zeros((*shape, 64), np.int16) for shape in shapes)
    return Coefficients(width, height, parameters.sampling, parameters.tables, blocks, parameters.cut)


def blocks_at(coefficients: Coefficients, piece: Piece) -> list[np.ndarray]:
    """Views (rows, columns, 64) of the blocks of each component at a tile, the last ones with what is behind them."""
    _, (y, x, h, w) = piece
    (above, below), (before, behind) = coefficients.cut.pads
    height, width = coefficients.height - above - below, coefficients.width - before - behind
    most_h, most_v = (max(factors) for factors in zip(*coefficients.sampling, strict=True))
    found = []
    for (across, down), blocks in zip(coefficients.sampling, coefficients.blocks):
        top, left = y * down // (8 * most_v), x * across // (8 * most_h)
        bottom = len(blocks) if y + h == height else (y + h) * down // (8 * most_v)
        right = blocks.shape[1] if x + w == width else (x + w) * across // (8 * most_h)
        found.append(blocks[top:bottom, left:right])
    return found


def write_blocks(coefficients: Coefficients, piece: Piece) -> bytes:
    """The stream of the blocks at a tile."""
    return push_coefficients(
        _planes(coefficients, [np.ascontiguousarray(one) for one in blocks_at(coefficients, piece)])
    )


def read_blocks(coefficients: Coefficients, piece: Piece, data: bytes) -> None:
    """Puts the blocks of a tile's stream in their place. Raises CorruptFile."""
    into = blocks_at(coefficients, piece)
    found = [np.zeros(blocks.shape, np.int16) for blocks in into]
    pop_coefficients(_planes(coefficients, found), data)
    for blocks, values in zip(into, found):
        blocks[...] = values


def _planes(coefficients: Coefficients, parts: list[np.ndarray]) -> list[Plane]:
    each = zip(parts, coefficients.tables, coefficients.sampling, strict=True)
    return [Plane(blocks, table, factors, 0, len(blocks)) for blocks, table, factors in each]
