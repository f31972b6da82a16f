"""Whether a picture was a JPEG, where its grid of blocks begins, and how its chroma was halved.

At its own grid a JPEG's transform has values near multiples of its steps, and more of them near 0 than at any other
place. A picture that was cut out of a decoded JPEG has its grid elsewhere than at the corner.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.jpeg.chroma import Factors, enlarge, halve
from vlae_codec.jpeg.coefficients import Cut
from vlae_codec.jpeg.search import SAMPLE, Plane, blocks_of, busiest, colours_back, filled
from vlae_codec.jpeg.tables import BIT, NAT, ONE, STANDARD, WRONG, costs, find_evidence, transform, transform_of

FACTORS = ((2, 2), (2, 1), (1, 2), (1, 1))  # tried in this order
WINDOW = 128  # pixels on each side, by which the factors are found
WINDOW_BLOCKS = 64  # of it, at most
STRIP = 32  # pixels at an edge
LOOKED_AT = 256  # blocks that may show signs of a lost JPEG
PLACES = 64  # parts of a picture in which another grid is looked for
LIKE_ZERO = 4 * ONE // 5  # of a value of the transform
SIGNS = 40 * NAT  # that must speak for a JPEG
KNOWN = 10, 6  # of 10 RGB values so many are those of some Y, Cb, Cr; 2.4 are by chance


def find_grid(pixels: np.ndarray) -> tuple[int, int] | None:
    """Columns and rows, 0 to 7 each, that the first blocks of a picture (H, W) or (H, W, 3) uint8 lack; None if it was
    likely no JPEG. Only a sample of its blocks is looked at.
    """
    first = _luma(_some(pixels, 8, LOOKED_AT))
    if first is None:
        return None
    if _shows_signs(first):
        return 0, 0
    larger = _luma(_some(pixels, 15, PLACES))
    if larger is None:
        return None
    views = np.lib.stride_tricks.sliding_window_view(larger, (8, 8), (1, 2))  # (n, 8, 8, 8, 8)
    values = transform_of(views.reshape(-1, 64)).reshape(len(larger), 64, 64)
    place = int((np.abs(values) < LIKE_ZERO).sum((0, 2)).argmax())
    grid = -(place % 8) % 8, -(place // 8) % 8
    blocks = _luma(_some(pixels[place // 8 :, place % 8 :], 8, LOOKED_AT))
    return grid if place and blocks is not None and _shows_signs(blocks) else None


def _some(pixels: np.ndarray, size: int, count: int) -> np.ndarray:
    """(n, size, size, channels): squares whose upper left corners are at multiples of 8, spread over a picture."""
    rows, columns = ((side - size) // 8 + 1 for side in pixels.shape[:2])
    rows, columns = max(rows, 0), max(columns, 0)
    places = np.unique(np.linspace(0, rows * columns - 1, min(rows * columns, count)).astype(int))
    tops, lefts = places // max(columns, 1) * 8, places % max(columns, 1) * 8
    inside = np.arange(size)
    found = pixels[tops[:, None, None] + inside[:, None], lefts[:, None, None] + inside]
    return found if pixels.ndim == 3 else found[..., None]


def _luma(squares: np.ndarray) -> np.ndarray | None:
    """(n, size, size) uint8: the luma of the squares in which nothing is clipped; None if there are none, or their
    colours are not those of a JPEG.
    """
    size = squares.shape[1]
    squares = np.ascontiguousarray(squares[((squares > 0) & (squares < 255)).all((1, 2, 3))])
    if not len(squares):
        return None
    if squares.shape[3] == 1:
        return squares[..., 0]
    luma, chroma = colours_back(squares.reshape(-1, size, 3))
    known = chroma[0].known
    return luma.reshape(-1, size, size) if KNOWN[0] * known.sum() >= KNOWN[1] * known.size else None


def _shows_signs(blocks: np.ndarray) -> bool:
    values = transform_of(blocks.reshape(-1, 64))
    return find_evidence(values[busiest(values)[: SAMPLE // 2]]) > SIGNS


def find_sampling(planes: list[Plane], grid: tuple[int, int]) -> tuple[Factors, Cut]:
    """Pixels that a sample of chroma covers, and what of the JPEG the picture lacks, given the grid of the luma.

    They are those by which a part of the picture takes the fewest bits.
    """
    known = planes[0].known
    starts = []
    for size, lacks in zip(known.shape, grid[::-1], strict=True):
        begin = -lacks % 8
        starts.append(sorted({begin + i * max(0, size - begin - WINDOW) // 4 // 16 * 16 for i in range(5)}))
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    corner = max(corners, key=lambda corner: _interest(planes, known, _window(corner)))
    view = _window(corner)
    sure, parts = np.ascontiguousarray(known[view]), [np.ascontiguousarray(each.guess[view]) for each in planes]
    best: tuple[int, Factors, tuple[int, int]] | None = None
    for factors in FACTORS:
        samples = [halve(part, sure, factors)[0] for part in parts]
        wrong = sum(_misses(plane, part, sure, factors) for plane, part in zip(samples, parts, strict=True))
        for phase in ((x, y) for y in range(0, 8 * factors[1], 8) for x in range(0, 8 * factors[0], 8)):
            behind = [(corner[1 - i] + grid[i] + phase[i]) % (8 * factors[i]) // factors[i] for i in range(2)]
            left, top = (-each % 8 for each in behind)
            cut = [plane[top:, left:] for plane in samples]
            if not cut[0].size:
                continue
            bits = BIT * WRONG * wrong + sum(_bits(plane, samples[0].size) for plane in cut)
            if best is None or bits < best[0]:
                best = bits, factors, phase
    assert best is not None  # the corner's own grid is always there
    _, factors, phase = best
    left, top = grid[0] + phase[0], grid[1] + phase[1]
    right, bottom = (_behind(planes, factors, axis, (left, top)) for axis in (0, 1))
    return factors, Cut(left, top, right, bottom)


def _window(corner: tuple[int, int]) -> tuple[slice, slice]:
    return slice(corner[0], corner[0] + WINDOW), slice(corner[1], corner[1] + WINDOW)


def _interest(planes: list[Plane], known: np.ndarray, view: tuple[slice, slice]) -> int:
    """How much of a part is known, and how much goes on there."""
    parts = [each.guess[view].astype(np.int32) for each in planes]
    lively = sum(int(np.abs(part - part.sum() // part.size).sum()) for part in parts)
    return int(known[view].sum()) * (known[view].size + lively)


def _misses(samples: np.ndarray, plane: np.ndarray, known: np.ndarray, factors: Factors) -> int:
    inner = (slice(2, -2), slice(2, -2))  # the picture goes on behind the edges
    return int(np.count_nonzero((enlarge(samples, plane.shape, factors) != plane)[inner] & known[inner]))


def _bits(samples: np.ndarray, size: int) -> int:
    """About the bits of so many samples, of which these are a part, in 1/256."""
    whole = filled(samples)
    blocks, values = blocks_of(whole).reshape(-1, 64), transform(whole).reshape(-1, 64)
    some = np.arange(0, len(blocks), -(-len(blocks) // WINDOW_BLOCKS))
    return int(costs(values[some], blocks[some], STANDARD[::6]).min()) * size // (64 * len(some))


def _behind(planes: list[Plane], factors: Factors, axis: int, lacks: tuple[int, int]) -> int:
    """Columns (axis 0) or rows (axis 1) behind the picture, up to the end of a whole unit, if its last pixels are mixed
    with a sample behind them; else 0. lacks: columns and rows before it.
    """
    size = planes[0].guess.shape[1 - axis]
    rest = -(size + lacks[axis]) % (8 * factors[axis])
    if factors[axis] == 1 or rest % 2 or not rest:
        return 0
    begin = -lacks[1 - axis] % factors[1 - axis]
    strip = (slice(begin, None), slice(-min(STRIP, size // 2 * 2), None))[:: 1 - 2 * axis]
    last = (slice(None), -1)[:: 1 - 2 * axis]
    misses = count = 0
    for plane in planes:
        part, known = np.ascontiguousarray(plane.guess[strip]), plane.known[strip]
        if not part.size:
            return 0
        again = enlarge(halve(part, known, factors)[0], part.shape, factors)
        misses += int(np.count_nonzero((again != part)[last] & known[last]))
        count += int(np.count_nonzero(known[last]))
    return rest if 32 * misses > count else 0
