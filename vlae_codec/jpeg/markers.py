"""The markers of a JPEG file, walked through in order: what each says, and where the scans are (ITU-T T.81, annex B).

A file with its scans cut out is walked in the same way as the file, so one walk takes files apart and puts them
together: `scan` is called where the entropy-coded data of a scan begin, and says how many bytes there are of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vlae_codec.native.jpeg import Scan, ScanComponent

NATURAL = np.array(
    [
        *(0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5),
        *(12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28),
        *(35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51),
        *(58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63),
    ]
)  # places in natural order of the values in zigzag order
SOI, EOI, SOS, DQT, DHT, DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
_OTHERS = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xD0), 0xDC, 0xDE, 0xDF)  # lossless, arithmetic, hierarchical, DNL
MOST_SCANS = 256


class Unlike(Exception):
    """The file is damaged, or of a kind that is not taken apart."""


@dataclass
class Frame:
    """What the markers have said so far."""

    width: int = 0
    height: int = 0
    progressive: bool = False
    names: bytes = b""  # identifiers of the components
    sampling: tuple[tuple[int, int], ...] = ()
    selectors: bytes = b""  # which table of quantisation each component has
    interval: int = 0
    scans: int = 0
    tables: list[np.ndarray | None] = field(default_factory=lambda: [None] * 4)  # (64,) int32, natural order
    codes: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # by class (0: DC) and number
    blocks: list[np.ndarray] = field(default_factory=list)  # of each component
    used: list[np.ndarray | None] = field(default_factory=list)  # the table that each component's first scan had

    @property
    def most(self) -> tuple[int, int]:
        """The largest sampling factors."""
        h, v = (max(factors) for factors in zip(*self.sampling, strict=True))
        return h, v

    @property
    def mcus(self) -> tuple[int, int]:
        """Rows and columns of MCUs of a scan of several components."""
        h, v = self.most
        return -(-self.height // (8 * v)), -(-self.width // (8 * h))

    def shape(self, component: int) -> tuple[int, int]:
        """Rows and columns of blocks of a component: whole MCUs, but of an only component what the picture needs."""
        if len(self.sampling) == 1:
            return -(-self.height // 8), -(-self.width // 8)
        h, v = self.sampling[component]
        return self.mcus[0] * v, self.mcus[1] * h


def walk(data: bytes, frame: Frame, start: Callable[[Frame], None], scan: Callable[[Scan, int], int]) -> int:
    """Walks through the markers of a file to its end of image, and returns the place behind it.

    start: called once the frame's header is known; it sets the blocks. scan: given a scan and the place of its data,
    returns how many bytes of the walked data are skipped. Raises Unlike.
    """
    if data[:2] != bytes([0xFF, SOI]):
        raise Unlike
    at = 2
    while True:
        if data[at : at + 1] != b"\xff":
            raise Unlike
        while data[at : at + 1] == b"\xff":
            at += 1
        if at + 3 > len(data):
            if data[at:][:1] == bytes([EOI]):
                return at + 1
            raise Unlike
        marker, size = data[at], int.from_bytes(data[at + 1 : at + 3], "big")
        if marker == EOI:
            return at + 1
        body = data[at + 3 : at + 1 + size]
        if marker in _OTHERS or marker < 0xC0 or 0xD0 <= marker <= SOI or size < 2 or len(body) != size - 2:
            raise Unlike
        at += 1 + size
        try:
            if marker in SEQUENTIAL or marker == PROGRESSIVE:
                _read_frame(body, frame, marker == PROGRESSIVE)
                start(frame)
            elif marker == DQT:
                _read_tables(body, frame)
            elif marker == DHT:
                _read_codes(body, frame)
            elif marker == DRI:
                frame.interval = int.from_bytes(body, "big")
            elif marker == SOS:
                at += scan(_read_scan(body, frame), at)
        except IndexError:
            raise Unlike from None


def _read_frame(body: bytes, frame: Frame, progressive: bool) -> None:
    count = body[5]
    if frame.sampling or body[0] != 8 or count not in (1, 3, 4) or len(body) != 6 + 3 * count:
        raise Unlike
    frame.height, frame.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    frame.progressive, frame.names, frame.selectors = progressive, body[6::3], body[8::3]
    frame.sampling = tuple((factors >> 4, factors & 15) for factors in body[7::3])
    factors_fit = all(1 <= h <= 4 and 1 <= v <= 4 for h, v in frame.sampling)
    if not (frame.height and frame.width and factors_fit and len(set(frame.names)) == count):
        raise Unlike
    if max(frame.selectors) > 3:
        raise Unlike
    frame.used = [None] * count


def _read_tables(body: bytes, frame: Frame) -> None:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        size = 64 << wide
        values = body[at + 1 : at + 1 + size]
        if wide > 1 or number > 3 or len(values) != size:
            raise Unlike
        table = np.empty(64, np.int32)
        table[NATURAL] = np.frombuffer(values, ">u2" if wide else np.uint8)
        if not table.all():
            raise Unlike
        frame.tables[number] = table
        at += 1 + size


def _read_codes(body: bytes, frame: Frame) -> None:
    at = 0
    while at < len(body):
        kind, number = body[at] >> 4, body[at] & 15
        counts = body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(counts)]
        if kind > 1 or number > 3 or len(counts) != 16 or sum(counts) > 256 or len(symbols) != sum(counts):
            raise Unlike
        table = np.zeros(272, np.uint8)
        table[: 16 + len(symbols)] = np.frombuffer(counts + symbols, np.uint8)
        frame.codes[kind, number] = table
        at += 17 + len(symbols)


def _read_scan(body: bytes, frame: Frame) -> Scan:
    count = body[0]
    frame.scans += 1
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count or not frame.blocks or frame.scans > MOST_SCANS:
        raise Unlike
    begin, end, high, low = body[-3], body[-2], body[-1] >> 4, body[-1] & 15
    wrong = (begin == 0) != (end == 0) or end > 63 or begin > end or low > 13 or (begin and count > 1)
    if wrong if frame.progressive else (begin, end, high, low) != (0, 63, 0, 0):
        raise Unlike
    components = []
    for name, numbers in zip(body[1 : 1 + 2 * count : 2], body[2 : 2 + 2 * count : 2], strict=True):
        index = frame.names.find(name)
        dc, ac = frame.codes.get((0, numbers >> 4)), frame.codes.get((1, numbers & 15))
        no_dc, no_ac = begin or high, end == 0
        if index < 0 or (dc is None and not no_dc) or (ac is None and not no_ac):
            raise Unlike
        if frame.used[index] is None:
            frame.used[index] = frame.tables[frame.selectors[index]]
        factors = frame.sampling[index] if count > 1 else (1, 1)
        components.append(ScanComponent(frame.blocks[index], *factors, None if no_dc else dc, None if no_ac else ac))
    if count > 1:
        rows, columns = frame.mcus
    else:
        h, v = frame.sampling[index] if len(frame.sampling) > 1 else (1, 1)
        most_h, most_v = frame.most if len(frame.sampling) > 1 else (1, 1)
        rows, columns = -(-frame.height * v // (8 * most_v)), -(-frame.width * h // (8 * most_h))
    return Scan(tuple(components), rows, columns, begin, end, high, low, frame.interval)
