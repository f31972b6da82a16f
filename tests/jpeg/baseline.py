"""A small reader of baseline JPEG files, for tests: their coefficients, by the letter of T.81."""

import numpy as np

from vlae_codec.jpeg.coefficients import Coefficients

# fmt: off
ZIGZAG = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14,
          21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53,
          60, 61, 54, 47, 55, 62, 63]
# fmt: on


class Bits:
    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data.replace(b"\xff\x00", b"\xff"))
        self.at = 0

    def take(self, count: int) -> str:
        self.at += count
        return self.text[self.at - count : self.at]

    def symbol(self, codes: dict[str, int]) -> int:
        word = ""
        while word not in codes:
            word += self.take(1)
            assert len(word) <= 16
        return codes[word]

    def number(self, size: int) -> int:
        word = self.take(size)
        return 0 if not size else int(word, 2) if word[0] == "1" else int(word, 2) - (1 << size) + 1


def huffman(payload: bytes) -> dict[tuple[int, int], dict[str, int]]:
    found = {}
    while payload:
        counts, code, at, codes = payload[1:17], 0, 17, {}
        for bits in range(1, 17):
            for _ in range(counts[bits - 1]):
                codes[f"{code:0{bits}b}"] = payload[at]
                code, at = code + 1, at + 1
            code <<= 1
        found[payload[0] >> 4, payload[0] & 15] = codes
        payload = payload[at:]
    return found


def read(data: bytes) -> Coefficients:
    """The coefficients of a baseline JPEG of one interleaved scan, without restart markers."""
    tables, at, components, scan = {}, 2, [], {}
    codes: dict = {}
    height = width = 0
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        payload = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDB:
            while payload:
                table = np.zeros(64, np.int32)
                table[ZIGZAG] = np.frombuffer(payload[1:65], np.uint8)
                tables[payload[0]] = table
                payload = payload[65:]
        elif marker == 0xC4:
            codes |= huffman(payload)
        elif marker == 0xC0:
            height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
            components = [payload[6 + 3 * i : 9 + 3 * i] for i in range(payload[5])]
        elif marker == 0xDA:
            scan = {payload[1 + 2 * i]: payload[2 + 2 * i] for i in range(payload[0])}
            break
    sampling = [(each[1] >> 4, each[1] & 15) for each in components]
    most_h, most_v = max(h for h, _ in sampling), max(v for _, v in sampling)
    if len(components) == 1:
        sampling, most_h, most_v = [(1, 1)], 1, 1
    across, down = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    blocks = [np.zeros((down * v, across * h, 64), np.int16) for h, v in sampling]
    bits, last = Bits(data[at:-2]), [0] * len(sampling)
    for unit in range(across * down):
        for i, (h, v) in enumerate(sampling):
            direct, alternating = (scan[components[i][0]] >> 4, scan[components[i][0]] & 15)
            for place in range(h * v):
                row, column = unit // across * v + place // h, unit % across * h + place % h
                block = blocks[i][row, column]
                last[i] += bits.number(bits.symbol(codes[0, direct]))
                block[0], k = last[i], 1
                while k < 64:
                    symbol = bits.symbol(codes[1, alternating])
                    if symbol == 0:
                        break
                    k += symbol >> 4
                    block[ZIGZAG[k]] = bits.number(symbol & 15)
                    k += 1
    found = Coefficients(width, height, tuple(sampling), tuple(tables[each[2]] for each in components), tuple(blocks))
    grids = [found.grid(i) for i in range(len(sampling))]
    cut = tuple(
        np.ascontiguousarray(each[:rows, :columns]) for each, (rows, columns) in zip(blocks, grids, strict=True)
    )
    return Coefficients(width, height, found.sampling, found.tables, cut)
