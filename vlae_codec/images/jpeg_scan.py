"""Whether the Huffman codes of a JPEG of one scan are those of its blocks: no more, no fewer, none that is no code.

The codes are followed block by block; their values do not matter. Sources: ITU-T T.81, sections A.2 (order of blocks),
C (codes), F.2.2 (decoding) and B (segments).
"""

from __future__ import annotations

_DHT, _DRI = 0xC4, 0xDD
_WORD = 4  # bytes that are taken at once
_MASK = (1 << 64) - 1


def is_whole(data: bytes, segments: list[tuple[int, int, int]], frame: int, end: int) -> bool:
    """segments: marker, begin and end of each up to the scan's header; frame: where the frame's data begin.

    end: where the entropy-coded data end. The file is baseline or extended sequential, all components in one scan.
    Raises IndexError or ZeroDivisionError for headers that no such file has.
    """
    raw: dict[int, tuple[bytes, bytes]] = {}
    interval = 0
    for marker, begin, stop in segments:
        if marker == _DHT:
            raw |= _tables(data[begin:stop])
        elif marker == _DRI:
            interval = int.from_bytes(data[begin : begin + 2], "big")
    tables = {key: _table(*value) for key, value in raw.items() if key & 15 < 4 and key >> 4 < 2}
    scan, start = segments[-1][1], segments[-1][2]
    height, width, count = (int.from_bytes(data[frame + i : frame + i + n], "big") for i, n in ((1, 2), (3, 2), (5, 1)))
    factors = {data[frame + 6 + 3 * i]: divmod(data[frame + 7 + 3 * i], 16) for i in range(count)}
    blocks: list[tuple[list[int], list[int]]] = []
    for i in range(count):
        name, chosen = data[scan + 1 + 2 * i], data[scan + 2 + 2 * i]
        across, down = factors.get(name, (0, 0))
        pair = tables.get(chosen >> 4), tables.get(16 | chosen & 15)
        if pair[0] is None or pair[1] is None:
            return False
        blocks += [(pair[0], pair[1])] * (1 if count == 1 else across * down)
    wide = 8 if count == 1 else 8 * max(across for across, _ in factors.values())
    high = 8 if count == 1 else 8 * max(down for _, down in factors.values())
    left = -(-width // wide) * -(-height // high)
    parts = _parts(data, start, end)
    if not left or len(parts) != (-(-left // interval) if interval else 1):
        return False
    for part in parts:
        now = min(left, interval) if interval else left
        if not _follows(part, blocks, now):
            return False
        left -= now
    return True


def _tables(segment: bytes) -> dict[int, tuple[bytes, bytes]]:
    """By class and number: how many codes of each length there are, and their values."""
    found, at = {}, 0
    while at + 17 <= len(segment):
        counts = segment[at + 1 : at + 17]
        found[segment[at]] = counts, segment[at + 17 : at + 17 + sum(counts)]
        at += 17 + sum(counts)
    return found


def _table(counts: bytes, values: bytes) -> list[int]:
    """For each 16 bits that may come, the code's length and value, or -1."""
    table: list[int] = []
    at = 0
    for length, count in enumerate(counts, 1):
        for value in values[at : at + count]:
            table += [length << 8 | value] * (1 << (16 - length))
            if len(table) > 1 << 16:
                raise IndexError
        at += count
    return table + [-1] * ((1 << 16) - len(table))


def _parts(data: bytes, start: int, end: int) -> list[bytes]:
    """The entropy-coded bytes between restart markers, without stuffing."""
    found, begin, at = [], start, start
    while 0 <= (at := data.find(b"\xff", at, end)) < end - 1:
        if 0xD0 <= data[at + 1] <= 0xD7:
            found.append(data[begin:at])
            begin = at + 2
        at += 2
    return [part.replace(b"\xff\0", b"\xff") for part in (*found, data[begin:end])]


def _follows(part: bytes, blocks: list[tuple[list[int], list[int]]], count: int) -> bool:
    """Whether the bytes are the codes of so many times these blocks, and fewer than 8 bits more."""
    bits = ready = at = 0
    last = 8 * len(part)
    for _ in range(count):
        for first, others in blocks:
            index, table = 0, first
            while index < 64:
                if ready < 32:
                    bits = (bits << 32 | int.from_bytes(part[at : at + _WORD].ljust(_WORD, b"\xff"), "big")) & _MASK
                    ready, at = ready + 32, at + _WORD
                code = table[bits >> ready - 16 & 0xFFFF]
                if code < 0:
                    return False
                ready -= (code >> 8) + (code & 15)
                if table is first:
                    index, table = 1, others
                    first = []  # compared by identity: a file may have one table for both
                elif code & 15:
                    index += (code >> 4 & 15) + 1
                elif code & 0xFF == 0xF0:
                    index += 16
                else:
                    break
            if index > 64 or 8 * at - ready > last:
                return False
    return last - (8 * at - ready) < 8
