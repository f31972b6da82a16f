"""What the header of a JPEG file is likely to be, given its coefficients: a dictionary for packing it."""

from __future__ import annotations

import numpy as np

from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.markers import DHT, DQT, NATURAL, SOS

# The tables of Huffman codes of T.81, annex K.3: counts of lengths 1 to 16, then symbols.
_DC = (bytes.fromhex("00010501010101010100000000000000"), bytes.fromhex("00030101010101010101010000000000"))
_AC_COUNTS = (bytes.fromhex("0002010303020403050504040000017d"), bytes.fromhex("00020102040403040705040400010277"))
_AC_FIRST = (  # the symbols up to the last length but one; the others follow in their order
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282",
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f1",
)


def _ac(number: int) -> bytes:
    first = bytes.fromhex(_AC_FIRST[number])
    valid = [0, 0xF0, *(zeros << 4 | bits for zeros in range(16) for bits in range(1, 11))]
    return _AC_COUNTS[number] + first + bytes(sorted(set(valid) - set(first)))


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _scan(components: list[int], begin: int, end: int, approximation: int, codes: tuple[int, ...]) -> bytes:
    chosen = bytes(byte for i in components for byte in (i + 1, codes[i]))
    return _segment(SOS, bytes([len(components)]) + chosen + bytes([begin, end, approximation]))


def likeness(coefficients: Coefficients) -> bytes:
    """Bytes such as those of a header that libjpeg writes, what is most usual last."""
    count = len(coefficients.tables)
    selectors, tables = [], list[np.ndarray]()
    for table in coefficients.tables:
        same = [i for i, other in enumerate(tables) if np.array_equal(table, other)]
        selectors.append(same[0] if same else len(tables))
        tables += [] if same else [table]
    if count == 3 and selectors == [0, 0, 0]:
        selectors, tables = [0, 1, 1], [tables[0], tables[0]]
    steps = b""
    for number, table in enumerate(tables):
        wide = bool(table.max() > 255)
        values = table[NATURAL].astype(">u2" if wide else np.uint8).tobytes()
        steps += _segment(DQT, bytes([wide << 4 | number]) + values)
    size = coefficients.height.to_bytes(4, "big")[2:] + coefficients.width.to_bytes(4, "big")[2:]
    factors = zip(coefficients.sampling, selectors, strict=True)
    components = b"".join(bytes([i + 1, h << 4 | v, selector]) for i, ((h, v), selector) in enumerate(factors))
    codes = tuple(0x11 if count == 3 and i else 0 for i in range(count))
    every, ones = list(range(count)), [[i] for i in range(count)]
    script = _scan(every, 0, 0, 0x01, codes)  # libjpeg's progressive one
    for chosen, begin, end, bits in (
        *((ones[:1], 1, 5, 0x02), (ones[2:3], 1, 63, 0x01), (ones[1:2], 1, 63, 0x01), (ones[:1], 6, 63, 0x02)),
        *((ones[:1], 1, 63, 0x21), ([every], 0, 0, 0x10), (ones[2:3], 1, 63, 0x10), (ones[1:2], 1, 63, 0x10)),
        (ones[:1], 1, 63, 0x10),
    ):
        script += b"".join(
            _scan(each, begin, end, bits, tuple(code if not begin else code & 15 for code in codes)) for each in chosen
        )
    jfif = _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    frames = [_segment(sof, b"\x08" + size + bytes([count]) + components) for sof in (0xC2, 0xC0)]
    huffman = b""
    for number in range(2 if count == 3 else 1):
        dc = _DC[number] + bytes(range(12))
        huffman += _segment(DHT, bytes([number]) + dc) + _segment(DHT, bytes([0x10 | number]) + _ac(number))
    last = _scan(every, 0, 63, 0, codes)
    return script + frames[0] + b"\xff\xff\xd8" + jfif + steps + frames[1] + huffman + last + b"\xff\xd9"
