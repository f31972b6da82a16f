"""Exceptions and the samples of a JPEG's blocks, decoded as docs/format.md says, and by nothing of the package.

Section numbers in comments are those of that page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from functools import cache

import numpy as np

Numbers = list[int]


def clamp(x: int, low: int, high: int) -> int:
    return min(max(x, low), high)


# Section 16


def divide(x: int, y: int) -> int:
    """x / y without what is behind the point."""
    return abs(x) // y if x >= 0 else -(abs(x) // y)


def _squashed() -> Numbers:
    below, power = [], 1 << 32
    for _ in range(3072):
        below.append(max(1, (power << 16) // ((1 << 32) + power)))
        power = power * 4278222805 >> 32
    return below[:0:-1] + [65536 - p for p in below]


SQUASHED = _squashed()  # of logits from -3071 on


def squash(logit: int) -> int:
    return SQUASHED[clamp(logit, -3071, 3071) + 3071]


@cache
def stretch(p: int) -> int:
    if p > 32768:
        return -stretch(65536 - p)
    return bisect_left(SQUASHED, p if p < 2048 else p // 16 * 16) - 3071


class Counter:
    def __init__(self) -> None:
        self.whole, self.seen = 1 << 21, 0

    @property
    def p(self) -> int:
        return self.whole >> 6

    def update(self, bit: int, limit: int) -> None:
        target = (1 << 22) - 1 if bit else 0
        self.whole += (target - self.whole) * (131072 // (2 * self.seen + 3)) >> 16
        self.seen = min(self.seen + 1, limit)


class Coder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.range = data, 4, 0xFFFFFFFF
        self.code = int.from_bytes((data + bytes(4))[:4], "big")

    def bit(self, p: int) -> int:
        bound = self.range * p >> 16
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code, self.range = self.code - bound, self.range - bound
        while self.range < 1 << 24:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.range, self.code, self.at = self.range << 8, (self.code << 8 | byte) & 0xFFFFFFFF, self.at + 1
        if self.at > len(self.data) + 4:
            raise ValueError("the stream ends too early")
        return bit

    def simple(self, counter: Counter, limit: int) -> int:
        bit = self.bit(max(1, counter.p))
        counter.update(bit, limit)
        return bit


def mix(weights: Numbers, inputs: Numbers) -> int:
    return sum(w * x >> 8 for w, x in zip(weights, inputs, strict=True)) >> 8


def learn(weights: Numbers, inputs: Numbers, error: int, rate: int) -> None:
    step = divide(error * rate, 256)
    for i, x in enumerate(inputs):
        weights[i] = clamp(weights[i] + ((x * step + (1 << 13)) >> 14), -(1 << 19), 1 << 19)


# Section 17


def index(x: int, most: int) -> int:
    return clamp(x, -most, most) + most


def bits(x: int) -> int:
    return abs(x).bit_length()


def mixed_hash(a: int, b: int) -> int:
    y = ((a & 0xFFFFFFFF) ^ (b * 0x85EBCA6B & 0xFFFFFFFF)) * 0x9E3779B1 & 0xFFFFFFFF
    return y ^ (y >> 15)


def colour(x: Numbers) -> int:
    return x[0] + (x[1] << 8) + (x[2] << 16)


def state(value: int) -> int:
    return 0 if value == 0 else 1 if value < 4 else 2 if value < 252 else 3 if value < 255 else 4


class Exceptions:
    """The pixels of a tile, given its base (h, w, 3)."""

    def __init__(self, data: bytes, base: np.ndarray) -> None:
        self.coder = Coder(data)
        self.base: list[list[Numbers]] = base.tolist()
        self.pixels: list[list[Numbers]] = base.tolist()
        self.height, self.width, _ = base.shape
        self.differences = [[[0, 0, 0] for _ in range(self.width)] for _ in range(self.height)]
        self.tables: list[dict[int, Counter]] = [defaultdict(Counter) for _ in range(7)]
        self.weights: dict[int, Numbers] = defaultdict(lambda: [14000] * 7)

    def decode(self) -> np.ndarray:
        counters = [[Counter() for _ in range(9)] for _ in range(2)]
        kinds = [0] * -(-self.width // 16)
        for y in range(self.height):
            if y % 16 == 0:
                for b, above in enumerate(kinds):
                    which = 3 * above + (kinds[b - 1] if b else 0)
                    kinds[b] = self.coder.simple(counters[0][which], 255)
                    if kinds[b]:
                        kinds[b] += self.coder.simple(counters[1][which], 255)
            for x in range(self.width):
                if kinds[x // 16]:
                    self.pixel(y, x, kinds[x // 16] == 2)
        return np.array(self.pixels, np.uint8)

    def bit(self, contexts: Numbers, node: int, weights: int) -> int:
        places = [((c + node * 0x9E3779B1) * 0x2C1B3C6D & 0xFFFFFFFF) >> 14 for c in contexts]
        counters = [table[place] for table, place in zip(self.tables, places, strict=True)]
        inputs = [stretch(counter.p) for counter in counters]
        p = squash(mix(self.weights[weights], inputs))
        bit = self.coder.bit(p)
        learn(self.weights[weights], inputs, 65536 * bit - p, 150)
        for counter in counters:
            counter.update(bit, 255)
        return bit

    def difference(self, contexts: Numbers, weights: int, predicted: int, certain: bool) -> int:
        if not certain and not self.bit(contexts, 0, weights):
            return 0
        negative = 0 if predicted == 0 else 1 if predicted == 255 else self.bit(contexts, 1, weights + 1)
        most, size = predicted if negative else 255 - predicted, 1
        while size < min(most, 13) and self.bit(contexts, size + 1, weights + min(size + 1, 12)):
            size += 1
        if size == 13 and size < most:
            more = 1
            for _ in range(8):
                more = 2 * more + self.bit(contexts, 14 + more, weights + 13)
            size += more & 255
        return -size if negative else size

    def pixel(self, y: int, x: int, other: bool) -> None:
        base, pixels, width = self.base, self.pixels, self.width
        here = base[y][x]
        w = (y, x - 1) if x else (y - 1, x) if y else None
        n = (y - 1, x) if y else w
        nw = (y - 1, x - 1) if x and y else n
        ne = (y - 1, x + 1) if y and x + 1 < width else n
        ww = (y, x - 2) if x > 1 else w
        nn = (y - 2, x) if y > 1 else n
        places = w, n, nw, ne, ww, nn
        around = [here if at is None else pixels[at[0]][at[1]] for at in places]
        unlike = sum(
            (at is not None and pixels[at[0]][at[1]] != base[at[0]][at[1]]) << i for i, at in enumerate(places)
        )
        W, N, NW, NE, WW, NN = around
        guess = []
        for a, b, c in zip(W, N, NW, strict=True):
            low, high = min(a, b), max(a, b)
            guess.append(low if c >= high else high if c <= low else a + b - c)
        dw = self.differences[y][x - 1] if x else [0, 0, 0]
        dn = self.differences[y - 1][x] if y else [0, 0, 0]
        off = [g - b for g, b in zip(guess, here, strict=True)]
        parity, near = 2 * (y % 2) + x % 2, unlike.bit_count()
        found = [state(value) for value in here]
        states = 25 * found[0] + 5 * found[1] + found[2]

        contexts = self.of_base(y, x, unlike, states, off, sum(map(abs, dw + dn)))
        asked: list[Numbers] = []
        for k, one in enumerate((here, W, N, NW, NE) if other else (here,)):
            if one in asked:
                continue
            asked.append(one)
            if self.bit(contexts, 2 * k + other, 56 + k if k else 28 * other + 4 * near + parity):
                pixels[y][x] = list(one)
                return
            if not k:
                same = [W == N, NW == W, N == NW, N == NE, W == WW, N == NN]
                s, turn = sum(bit << i for i, bit in enumerate(same)), 1 << 20
                contexts = [turn + s, turn + 64 * s + unlike, turn + unlike, mixed_hash(colour(W), turn)]
                contexts.append(mixed_hash(colour(N), contexts[3]))
                contexts.append(mixed_hash(colour(NE), mixed_hash(colour(NW), contexts[4])))
                contexts.append(mixed_hash(colour(WW), mixed_hash(colour(NN), contexts[5])))

        first = last = green = red = 0
        made = [0, 0, 0]
        for k, c in enumerate((1, 0, 2)):
            turn = (k + 3 * other) << 20
            beside = turn + 9 * index(dw[c], 4) + index(dn[c], 4)
            if other:
                predicted = clamp(guess[c] + first, 0, 255)
                known = mixed_hash((predicted << 16) + (green << 8) + red, turn)
                contexts = [known, beside]
                contexts.append(turn + 16 * (8 * bits(dw[c]) + bits(dn[c])) + bits(last))
                contexts.append(mixed_hash(colour(W), mixed_hash(colour(N), known)))
                contexts.append(turn + 3 * index(last if k else W[c] - guess[c], 16) + index(last, 1))
                contexts.append(mixed_hash(colour(NW), mixed_hash(colour(NE), contexts[3])))
                contexts.append(mixed_hash(colour(WW), mixed_hash(colour(NN), contexts[5])))
            else:
                predicted = here[c]
                before = turn + 9 * index(first, 4) + index(last, 4)
                moved = [one[c] + (green - one[1] if k else 0) - here[c] for one in (W, N, guess)]  # with green's steps
                contexts = [before, beside, turn + 4 * states + parity, mixed_hash(colour(here), before)]
                contexts.append(turn + 3 * index(off[c], 16) + index(last, 1))
                contexts.append(turn + 49 * index(moved[0], 24) + index(moved[1], 24))
                contexts.append(mixed_hash(turn + index(moved[2], 24), here[c]))
            certain = not other and k == 2 and not first and not last
            last = self.difference(contexts, 61 + 14 * (k + 3 * other), predicted, certain)
            value = predicted + last
            if not 0 <= value <= 255:
                raise ValueError("a value is outside 0 .. 255")
            pixels[y][x][c], made[c] = value, clamp(last, -127, 127)
            if k == 0:
                first, green = last, value
            elif k == 1:
                red = value
        self.differences[y][x] = made

    def of_base(self, y: int, x: int, unlike: int, states: int, off: Numbers, size: int) -> Numbers:
        """Contexts of whether a pixel is the base's."""
        base, here = self.base, self.base[y][x]
        left, right = base[y][max(x - 1, 0)], base[y][min(x + 1, self.width - 1)]
        above, below = base[max(y - 1, 0)][x], base[min(y + 1, self.height - 1)][x]
        slope = bits(max(abs(right[c] - left[c]) + abs(below[c] - above[c]) for c in range(3)))
        found = [state(value) for value in here]
        extreme = 2 if {0, 4} & {*found} else 1 if {1, 3} & {*found} else 0
        towards = 9 * index(off[0], 1) + 3 * index(off[1], 1) + index(off[2], 1)
        parity = 2 * (y % 2) + x % 2
        return [
            12 * unlike + 3 * parity + extreme,
            4 * states + unlike % 4,
            256 * unlike.bit_count() + 16 * slope + bits(size),
            mixed_hash(colour(here), unlike % 4),
            3 * (16 * towards + unlike % 16) + extreme,
            16 * (4 * states + parity) + slope,
            mixed_hash(off[2], mixed_hash(off[1], mixed_hash(off[0], 0))),
        ]


def exceptions(data: bytes, base: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: a tile, of its stream and what the decoder has already."""
    return Exceptions(data, base).decode() if data else base.copy()


# Section 15


def jpeg_parameters(data: bytes) -> dict[str, list]:
    """What the header says of a JPEG: flags, what lies around the picture, factors and tables by component.

    A table is the number of a standard one, or its steps.
    """
    flags, at, around = data[0], 1, [0, 0, 0, 0]
    if flags & 4:
        around, at = list(data[1:5]), 5
    count, at = data[at], at + 1
    entries = [(data[at + 2 * i] >> 4, data[at + 2 * i] & 15, data[at + 2 * i + 1]) for i in range(count)]
    at += 2 * count
    tables: list[Numbers] = []
    for _ in range(1 + max(entry[2] for entry in entries)):
        kind, wide = data[at], 1 + (data[at] == 255)
        size = 64 * wide if kind in (0, 255) else 0
        steps = data[at + 1 : at + 1 + size]
        tables.append([int.from_bytes(steps[i : i + wide], "little") for i in range(0, size, wide)] or [kind])
        at += 1 + size
    if at != len(data):
        raise ValueError("there is more than the parameters")
    sampling = [[h, v] for h, v, _ in entries]
    return {"flags": [flags], "around": around, "sampling": sampling, "tables": [tables[e[2]] for e in entries]}


# Section 18


def blocks_of_tile(
    parameters: dict[str, list], size: tuple[int, int], tile: tuple[int, int, int, int]
) -> list[tuple[int, int, int, int]]:
    """Of each component the rows and columns of blocks, from and to, that stand in a tile (y, x, h, w) of a picture of
    this (width, height).
    """
    (left, top, right, bottom), sampling = parameters["around"], parameters["sampling"]
    width, height = size[0] + left + right, size[1] + top + bottom
    most = [max(factors) for factors in zip(*sampling, strict=True)]
    y, x, h, w = tile
    found = []
    for own in sampling:
        if parameters["flags"][0] & 1 and len(sampling) > 1:
            columns, rows = (own[i] * -(-(width, height)[i] // (8 * most[i])) for i in range(2))
        else:
            columns, rows = (-(-(width, height)[i] * own[i] // (8 * most[i])) for i in range(2))
        last_row = rows if y + h == size[1] else (y + h) * own[1] // (8 * most[1])
        last_column = columns if x + w == size[0] else (x + w) * own[0] // (8 * most[0])
        found.append((y * own[1] // (8 * most[1]), last_row, x * own[0] // (8 * most[0]), last_column))
    return found


# Section 19


def samples(block: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(8, 8): the samples of a block (64,) and its table (64,)."""
    odd = [[11363, 9633, 6437, 2260], [9633, -2259, -11362, -6436], [6437, -11362, 2261, 9633]]
    odd.append([2260, -6436, 9633, -11363])

    def wrapped(x: int) -> int:
        return (x + (1 << 31)) % (1 << 32) - (1 << 31)

    def line(x: Numbers) -> Numbers:
        a, b = 8192 * (x[0] + x[4]), 8192 * (x[0] - x[4])
        c, d = 10703 * x[2] + 4433 * x[6], 4433 * x[2] - 10704 * x[6]
        even = [a + c, b + d, b - d, a - c]
        sums = [sum(factor * x[2 * i + 1] for i, factor in enumerate(row)) for row in odd]
        return [wrapped(even[k] + sums[k]) for k in range(4)] + [wrapped(even[k] - sums[k]) for k in (3, 2, 1, 0)]

    values = [clamp(int(x) * int(step), -(1 << 15), (1 << 15) - 1) for x, step in zip(block, table, strict=True)]
    columns = [line(values[c::8]) for c in range(8)]
    between = [[clamp(wrapped(x + 1024) >> 11, -(1 << 15), (1 << 15) - 1) for x in one] for one in columns]
    rows = [line([between[c][r] for c in range(8)]) for r in range(8)]
    return np.array([[clamp((wrapped(x + (1 << 17)) >> 18) + 128, 0, 255) for x in row] for row in rows])
