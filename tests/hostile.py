"""Small files that ask for much, each made by code; and a measure of what it takes to refuse them.

    python tests/hostile.py [FILE ...]

The command prints, for each input and each function that a caller may give it to, the error, the seconds and the memory
over that of the process before, in MiB.
"""

from __future__ import annotations

import lzma
import resource
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec.format import chunks
from vlae_codec.format.chunks import CRC, pack_varint

DATA = Path(__file__).parent / "data"
MAGIC = b"\xf6VLAE\r\n\x1a\x02"
NOBODY = bytes(8)  # no model has this id
GREY, RGB, BITS, BANDS = 0, 1, 2, 14  # modes


def numbers(*values: int) -> bytes:
    return b"".join(map(pack_varint, values))


def planes(channels: int = 3, tile: int = 512, chains: int = 0, lane: int = 2**32 - 1, model: bytes = NOBODY) -> bytes:
    """A group of planes of so many channels, with a model where there is one of so many."""
    flags = 1 * bool(model) + 16 * (tile != 512) + 32 + 64 * bool(chains)
    size = pack_varint(tile // 8) if tile != 512 else b""
    return bytes([channels, flags]) + model + size + pack_varint(lane) + (pack_varint(chains) if chains else b"")


def layout(mode: int = RGB, **options: Any) -> bytes:
    return bytes([mode]) + planes(3 if mode == RGB else 1, **options)


def header(layouts: Sequence[bytes], runs: Sequence[tuple[int, int, int, int]]) -> bytes:
    """runs: (count, layout, width, height)."""
    sizes = b"".join(numbers(*run) for run in runs)
    return pack_varint(len(layouts)) + b"".join(layouts) + pack_varint(len(runs)) + sizes


def one(width: int, height: int, mode: int = RGB, count: int = 1, **options: Any) -> bytes:
    return header([layout(mode, **options)], [(count, 0, width, height)])


def file(fields: bytes, records: list[tuple[int, bytes]], others: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A file whose checksums are right; others: types and payloads of chunks between the header and the data."""
    table = bytearray()
    for i, (method, stream) in enumerate(records):
        table += bytes([method]) + (pack_varint(len(stream)) if i + 1 < len(records) else b"")
        table += CRC.pack(zlib.crc32(stream))
    parts = [chunks.pack(b"H", fields + table, before=MAGIC), *(chunks.pack(*other) for other in others)]
    *last, _ = chunks.pack_parts(b"D", [s for _, s in records])
    return b"".join([*parts, *last, CRC.pack(chunks.checksum([*parts, *last]))])


FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]


@cache
def lzma_of(size: int) -> bytes:
    """A stored stream of so many zeros."""
    packer, parts = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=FILTERS), []
    for begin in range(0, size, 1 << 24):
        parts.append(packer.compress(bytes(min(1 << 24, size - begin))))
    return b"\0" + b"".join([*parts, packer.flush()])


STREAM = bytes(4) + b"\1\0\0\0"  # a head of 2^32, no words
CHAIN = b"\0\0" + STREAM


def webp_of(edge: int) -> bytes:
    """A WebP stream of a blank picture."""
    from vlae_codec.format.stored import pack_webp

    return pack_webp(np.zeros((edge, edge, 3), np.uint8), 0)


def files() -> Iterator[tuple[str, bytes]]:
    """(what it asks for, the file)."""
    yield "one picture of 2^30 pixels, a table of one tile", file(one(2**15, 2**15), [(0, STREAM)])
    yield "one picture of 2^64 pixels", file(one(2**32 - 1, 2**32 - 1, tile=8), [(0, STREAM)])
    yield "tiles of 8 in 2^30 pixels", file(one(2**15, 2**15, tile=8), [(0, STREAM)])
    yield "tiles of 8 in 2^28 pixels", file(one(2**14, 2**14, tile=8), [(0, STREAM)])
    yield "a chain of one picture in tiles of 8", file(one(2**15, 2**15, tile=8, chains=1), [(4, CHAIN)])
    yield "a chain of one smaller picture in tiles of 8", file(one(2**14, 2**14, tile=8, chains=1), [(4, CHAIN)])
    for count in (2**22, 2**20, 2**16, 2**12):
        yield f"{count} pictures of one pixel", file(one(1, 1, count=count, chains=1), [(4, CHAIN)])
    yield "2^20 pictures of one bit", file(one(1, 1, BITS, count=2**20, chains=1), [(4, CHAIN)])
    yield "2^62 pictures", file(one(1, 1, count=2**62, chains=1), [(4, CHAIN)])
    runs = [(1, 0, 1, 1)] * 80_000
    yield "80,000 runs of pictures in as many chains", file(header([layout(chains=80_000)], runs), [(4, CHAIN)])
    groups = [(2, b"\0\0\0")] * 8_000
    yield "8,000 runs in 8,000 chains", file(header([layout(chains=8_000)], runs[:8_000]), groups)
    yield "100,000 unknown chunks", file(one(1, 1), [(2, bytes(3))], [(b"q", b"")] * 100_000)
    yield "2^28 bits by a model", file(one(2**14, 2**14, BITS, tile=2048), [(0, STREAM)] * 64)
    yield "2^22 bits by a model", file(one(2048, 2048, BITS, tile=2048), [(0, STREAM + bytes(280))])
    yield "a stored tile of 2^26 zeros for one of 512x512", file(one(512, 512), [(3, lzma_of(2**26))])
    yield "2^26 stored zeros for 2^30", file(one(2**15, 2**15, GREY, chains=1), [(3, lzma_of(2**26))])
    yield (
        "a chain of one stored picture of 3 * 2^28 samples",
        file(one(2**14, 2**14, RGB, chains=1), [(3, lzma_of(2**20))]),
    )
    yield from files_of_planes()


def files_of_planes() -> Iterator[tuple[str, bytes]]:
    """What layouts, groups of planes, tables of values, metadata and WebP ask for."""
    bare = b"\1\x20\1"  # a group of one channel in lanes of one symbol
    many = [bytes([GREY]) + b"\1\0"] * 3_000
    yield "3,000 layouts of one picture", file(header(many, [(1, 0, 1, 1)]), [(2, b"a")])
    each = [(1, i, 1, 1) for i in range(3_000)]
    yield "3,000 layouts of a picture each", file(header(many, each), [(2, b"a")] * 3_000)
    doubles = b"\x2e\x07\xff" + bare * (8 * 255)  # 255 bands of float64, each byte in a group of its own
    yield "10 layouts of 2040 groups", file(header([doubles] * 10, [(1, i, 1, 1) for i in range(10)]), [(2, b"a")])
    some = [(1, 0, 1 + i % 2, 1) for i in range(40_000)]
    yield "2040 groups of 40,000 runs", file(header([doubles], some), [(2, bytes(2**16))])
    chained = b"\x2e\x07\xff" + b"\1\x40\1" * (8 * 255)
    yield "2040 chains of 40,000 runs", file(header([chained], some), [(2, bytes(2**11))] * 2040)
    yield "2040 chains of 2^20 pictures", file(header([chained], [(2**20, 0, 1, 1)]), [(2, bytes(2**11))] * 2040)
    adapters = [(b"A", numbers(i)) for i in range(2_000)]
    named = [bytes([GREY]) + b"\1\1" + NOBODY] * 2_000
    sizes = [(1, i, 1, 1) for i in range(2_000)]
    yield "2,000 adapters", file(header(named, sizes), [(2, b"a")] * 2_000, adapters)
    ramp = b"\0" + lzma.compress(bytes(2 * 65536), lzma.FORMAT_RAW, filters=FILTERS)
    table = b"\1" + numbers(65536) + b"\3" + pack_varint(len(ramp)) + ramp
    tables = b"\x4e" + numbers(65536) + b"\xff" + (b"\1\x80" + table) * 255
    yield "255 tables of 65536 values", file(header([tables], [(1, 0, 1, 1)]), [(2, b"ab")] * 255)
    turns = [(1, i, 1, 1) for i in range(20)]
    yield "5100 tables of 65536 values", file(header([tables] * 20, turns), [(2, b"ab")] * 5100)
    rows = [(b"m", numbers(0, 2**16) + bytes([4]) + b"%04d" % i + b"v") for i in range(9_000)]
    pixels = one(1, 1, GREY, count=2**16, chains=1, model=b"")
    yield "9,000 names of 65536 pictures", file(pixels, [(2, bytes(2**16))], rows)
    yield "a WebP tile of 2^24 pixels", file(one(4096, 4096, tile=4096, model=b""), [(5, webp_of(4096))])
    yield "a WebP tile of another size", file(one(4096, 4096, tile=4096, model=b""), [(5, webp_of(4088))])
    wide = bytes([BANDS]) + b"\xff" + planes(255, 4096, model=b"")
    yield "a tile of 2^24 pixels of 255 bands", file(header([wide], [(1, 0, 4096, 4096)]), [(3, lzma_of(2**20))])


def calls() -> dict[str, Callable[[bytes], object]]:
    import vlae_codec
    from vlae_codec.format import container

    return {
        "decompress": vlae_codec.decompress,
        "decompress_many": vlae_codec.decompress_many,
        "region": lambda data: vlae_codec.decompress(data, region=(0, 0, 1, 1)),
        "preview": vlae_codec.preview,
        "bits_map": vlae_codec.bits_map,
        "salvage": vlae_codec.salvage,
        "itemise": container.itemise,
    }


def refuse(data: bytes, name: str) -> dict[str, Any]:
    """What becomes of a file in this process: the error's type, its text, seconds, and MiB more than before."""
    call = calls()[name]
    before, start = peak(reset=True), time.perf_counter()
    error, text = "", ""
    try:
        call(data)
    except Exception as problem:
        error, text = type(problem).__name__, str(problem)
    spent = time.perf_counter() - start
    return {"error": error, "text": text, "seconds": round(spent, 3), "mib": round(peak() - before, 1)}


def peak(reset: bool = False) -> float:
    """The most memory that this process has had, in MiB; reset: since now, which Linux can do."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(given: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(label, function, `refuse`) of each input and each function, in this process."""
    for label, data in given:
        for name in calls():
            yield label, name, {"bytes": len(data), **refuse(data, name)}


def main() -> None:
    given = [(path, Path(path).read_bytes()) for path in sys.argv[1:]] or files()
    for label, name, found in measured(given):
        figures = f"{found['bytes']:8} bytes {found['seconds']:7.3f} s {found['mib']:7.1f} MiB"
        print(f"{label:50} {name:16} {figures}  {found['error']}: {found['text']}"[:200], flush=True)


if __name__ == "__main__":
    main()
