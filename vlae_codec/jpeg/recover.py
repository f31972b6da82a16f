"""The JPEG that a picture was decoded from: its tables and coefficients, found in the pixels.

A decoder rounds and clips samples. So a block's coefficients are those whose decoding rounds to what is seen, and
mostly there is one set of them only. Here: pixels -> the interval of each sample -> tables (`tables`) -> the nearest
coefficients -> a search among their neighbours (`core/recover.h`) -> exact decoding (`decode`), which says what is
wrong. Floats propose; integers decide.

Chroma comes first, since clipped pixels leave Y open unless their chroma is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.tables import BASIS, STANDARD, WRONG, costs, find_evidence, find_table, transform
from vlae_codec.native.library import check, core, pointer

SAMPLINGS = ((2, 2), (2, 1), (1, 2), (1, 1))  # pixels that a sample of chroma covers, tried in this order
SWEEPS = 12  # of halving
STEPS = 1000  # of a block's search
FEW_STEPS = 100  # where the steps of quantisation are larger than the noise
DOUBT = 2  # of a sample whose enlargement is not what is seen
ROUNDS = 4  # of chroma at clipped pixels
SAMPLE = 128  # blocks in which a table is looked for
WINDOW = 128  # pixels on each side, by which the sampling is found
LOOKED_AT = 256  # blocks that may show signs of a lost JPEG
SIGNS = 40.0  # nats that must speak for it
KNOWN = 0.6  # part of the RGB values that are those of some Y, Cb, Cr; 0.24 is chance
LEAST = 0.8  # part of the pixels that must come out


@dataclass(frozen=True)
class Recovered:
    """Coefficients, and which pixels (H, W) bool their decoding gives wrongly."""

    coefficients: Coefficients
    wrong: np.ndarray

    @property
    def exact(self) -> bool:
        return not self.wrong.any()


@dataclass(frozen=True)
class Plane:
    """Samples of a component (h, w) uint8 as they are guessed, between `low` and `high`."""

    guess: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return self.low == self.high


def recover(pixels: np.ndarray) -> Recovered | None:
    """The JPEG of a picture (H, W) or (H, W, 3) uint8; None if it shows no signs of one.

    It is None as well if more than a fifth of the pixels come out wrongly. Pixels that were changed since, or are
    clipped, may stay wrong.
    """
    pixels = np.ascontiguousarray(pixels)
    if not shows_signs(pixels):
        return None
    if pixels.ndim == 2:
        return _result(pixels, (1, 1), [_find(Plane(pixels, pixels, pixels))])
    luma, chroma = _colours_back(pixels)
    known = chroma[0].known
    factors = _find_factors([plane.guess for plane in chroma], known)
    found = [_find_chroma(plane, factors) for plane in chroma]
    enlarged = [_enlarged(blocks, table, luma.shape, factors) for table, blocks in found]
    low, high = np.empty_like(luma), np.empty_like(luma)
    inputs = (pointer(each, np.uint8) for each in (pixels, *enlarged))
    check(core.vlae_luma_range(*inputs, luma.size, pointer(low, np.uint8), pointer(high, np.uint8)), "a picture")
    lost = low > high
    low[lost], high[lost] = 0, 255
    return _result(pixels, factors, [_find(Plane(np.clip(luma, low, high), low, high)), *found])


def _result(
    pixels: np.ndarray, factors: tuple[int, int], found: list[tuple[np.ndarray, np.ndarray]]
) -> Recovered | None:
    sampling = (factors, (1, 1), (1, 1))[: len(found)]
    tables, blocks = (tuple(part) for part in zip(*found, strict=True))
    coefficients = Coefficients(pixels.shape[1], pixels.shape[0], sampling, tables, blocks)
    wrong = decode.decode(coefficients) != pixels
    if wrong.ndim == 3:
        wrong = wrong.any(2)
    return Recovered(coefficients, wrong) if wrong.mean() <= 1 - LEAST else None


def shows_signs(pixels: np.ndarray) -> bool:
    """Whether a picture (H, W) or (H, W, 3) uint8 was likely decoded from a JPEG whose grid begins at its corner.

    Only a sample of its blocks is looked at.
    """
    rows, columns = pixels.shape[0] // 8, pixels.shape[1] // 8
    if not rows or not columns:
        return False
    grid = pixels[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8, -1).transpose(0, 2, 1, 3, 4)
    places = np.unique(np.linspace(0, rows * columns - 1, min(rows * columns, LOOKED_AT)).astype(int))
    blocks = np.ascontiguousarray(grid[np.unravel_index(places, (rows, columns))]).reshape(len(places), 64, -1)
    unclipped = ((blocks > 0) & (blocks < 255)).all((1, 2))
    if not unclipped.any():
        return False
    blocks = blocks[unclipped]
    if blocks.shape[2] == 3:
        luma, chroma = _colours_back(blocks)
        if chroma[0].known.mean() < KNOWN:
            return False
        blocks = luma[..., None]
    values = (blocks[..., 0].astype(np.float32) - 128) @ BASIS.T
    return find_evidence(values[_busiest(values)[: SAMPLE // 2]]) > SIGNS


def _busiest(values: np.ndarray) -> np.ndarray:
    """Numbers of the blocks with most values that are not near 0: only their rounding is like noise."""
    return np.argsort(-(np.abs(values) > 1.2).sum(1), kind="stable")[:SAMPLE]


def _colours_back(pixels: np.ndarray) -> tuple[np.ndarray, list[Plane]]:
    luma = np.empty(pixels.shape[:2], np.uint8)
    chroma, low, high = (np.empty((*luma.shape, 2), np.uint8) for _ in range(3))
    outputs = (pointer(each, np.uint8) for each in (luma, chroma, low, high))
    check(core.vlae_jfif_back(pointer(pixels, np.uint8), luma.size, *outputs), "a picture")
    return luma, [Plane(*(np.ascontiguousarray(each[..., k]) for each in (chroma, low, high))) for k in range(2)]


def _find_chroma(pixels: Plane, factors: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Table and blocks of a component of chroma, given its enlarged samples."""
    if factors == (1, 1):
        return _find(pixels)
    known, guess = pixels.known, pixels.guess
    height, width = guess.shape
    across, down = factors
    pads = ((0, -height % down), (0, -width % across))
    samples = _halve(guess, known, factors)
    cells = (samples.shape[0], down, samples.shape[1], across)
    sure = np.asarray(np.pad(known, pads, mode="edge").reshape(cells).all((1, 3)))
    fits = np.pad(~known | (_enlarge(samples, guess.shape, factors) == guess), pads, mode="edge").reshape(cells)
    doubt = np.where(fits.all((1, 3)), 0, DOUBT)
    low, high = (np.clip(samples + each, 0, 255).astype(np.uint8) for each in (-doubt, doubt))
    low, high = np.where(sure, low, 0), np.where(sure, high, 255)
    table, blocks = _find(Plane(samples, low, high))
    open_blocks = ~_blocks(_padded(sure, 1)).all(2)
    low, high = (_blocks(_padded(each, fill))[open_blocks] for each, fill in ((low, 0), (high, 255)))
    for _ in range(ROUNDS if len(low) else 0):
        enlarged = _enlarged(blocks, table, guess.shape, factors).astype(np.float32)
        off = np.pad(np.clip(enlarged, pixels.low, pixels.high) - enlarged, pads, mode="edge")
        mended = _samples(blocks, table)[: sure.shape[0], : sure.shape[1]] + off.reshape(cells).mean((1, 3)) * 1.5
        values = transform(_padded(np.where(sure, samples, mended)))[open_blocks]
        blocks[open_blocks] = _search(low, high, values, table, FEW_STEPS)
    return table, blocks


def _halve(plane: np.ndarray, known: np.ndarray, factors: tuple[int, int]) -> np.ndarray:
    """(h, w) uint8: the samples whose enlargement is nearest to the plane, first of all where it is known."""
    across, down = factors
    shape = (-(-plane.shape[0] // down), -(-plane.shape[1] // across))
    samples, halved = np.empty(shape, np.uint8), np.empty(shape, np.float32)
    left, weights = np.empty(plane.shape, np.float32), np.where(known, 64, 1).astype(np.uint8)
    check(
        core.vlae_halve(
            *(pointer(plane, np.uint8), pointer(weights, np.uint8), *plane.shape, across, down, SWEEPS),
            *(pointer(left, np.float32), pointer(halved, np.float32), pointer(samples, np.uint8), *shape),
        ),
        "a picture",
    )
    return samples


def _samples(blocks: np.ndarray, table: np.ndarray) -> np.ndarray:
    out = np.empty((8 * blocks.shape[0], 8 * blocks.shape[1]), np.uint8)
    decode.decode_plane(blocks, table, out)
    return out


def _enlarged(blocks: np.ndarray, table: np.ndarray, shape: tuple[int, ...], factors: tuple[int, int]) -> np.ndarray:
    across, down = factors
    return _enlarge(_samples(blocks, table)[: -(-shape[0] // down), : -(-shape[1] // across)], shape, factors)


def _enlarge(samples: np.ndarray, shape: tuple[int, ...], factors: tuple[int, int]) -> np.ndarray:
    form = Coefficients(shape[1], shape[0], (factors, (1, 1)), (), ())
    return decode.enlarge(form, 1, samples, 0, (0, shape[0]))


def _find_factors(planes: list[np.ndarray], known: np.ndarray) -> tuple[int, int]:
    """Pixels that a sample of chroma covers: those by which a part of the picture takes the fewest bits."""
    tops, lefts = ([i * max(0, size - WINDOW) // 4 // 16 * 16 for i in range(5)] for size in known.shape)
    views = [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y in set(tops) for x in set(lefts)]
    view = max(
        sorted(views, key=str), key=lambda view: known[view].mean() * (1 + sum(each[view].std() for each in planes))
    )
    sure, parts = np.ascontiguousarray(known[view]), [np.ascontiguousarray(each[view]) for each in planes]
    return min(SAMPLINGS, key=lambda factors: sum(_window_cost(part, sure, factors) for part in parts))


def _window_cost(plane: np.ndarray, known: np.ndarray, factors: tuple[int, int]) -> float:
    samples = _halve(plane, known, factors)
    again = _enlarge(samples, plane.shape, factors)
    inner = (slice(2, -2), slice(2, -2))  # the picture goes on behind the edges
    padded = _padded(samples)
    bits = costs(transform(padded).reshape(-1, 64), _blocks(padded).reshape(-1, 64), STANDARD[::4]).min()
    return float(bits + WRONG * np.count_nonzero((again != plane)[inner] & known[inner]))


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(rows, columns, 64): the samples of each block."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    return plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(rows, columns, 64)


def _padded(plane: np.ndarray, fill: int | None = None) -> np.ndarray:
    """The plane with whole blocks, filled with its last samples or with a number."""
    pads = [(0, -size % 8) for size in plane.shape]
    padded = np.pad(plane, pads, mode="edge") if fill is None else np.pad(plane, pads, constant_values=fill)
    return np.ascontiguousarray(padded)


def _find(plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Table (64,) int32 and blocks (rows, columns, 64) int16 of a component."""
    guess, low, high = _padded(plane.guess), _padded(plane.low, 0), _padded(plane.high, 255)
    low, high = _blocks(low), _blocks(high)
    values = transform(guess)
    sure = ((low == high) & (low > 0) & (low < 255)).all(2)
    sure |= not sure.any()
    busiest = _busiest(values[sure])
    table, _ = find_table(values[sure][busiest], _blocks(guess)[sure][busiest])
    return table, _search(low, high, values, table)


def _search(low: np.ndarray, high: np.ndarray, values: np.ndarray, table: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """(..., 64) int16: the coefficients of blocks whose samples are in intervals, and whose transform is guessed."""
    blocks = np.rint(values / table).clip(-2047, 2047).astype(np.int16)
    wrong, steps = np.empty(blocks.shape[:-1], np.uint8), steps if table[[0, 1, 8]].min() <= 2 else FEW_STEPS
    low, high = np.ascontiguousarray(low), np.ascontiguousarray(high)
    check(
        core.vlae_search_blocks(
            *(pointer(low, np.uint8), pointer(high, np.uint8), wrong.size, pointer(table, np.int32)),
            *(pointer(BASIS, np.float32), steps, pointer(blocks, np.int16), pointer(wrong, np.uint8)),
        ),
        "the samples of a picture",
    )
    return blocks
