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
from struct import pack
from typing import Any

from vlae_codec.format import chunks
from vlae_codec.format.chunks import CRC, pack_varint

DATA = Path(__file__).parent / "data"
HEADER = "<8sB8sIIBBHI"
MAGIC = b"\xf6VLAE\r\n\x1a"
NOBODY = bytes(8)  # no model has this id


def header(width: int, height: int, mode: int = 1, tile: int = 512, lane: int = 2**32 - 1) -> bytes:
    return pack(HEADER, MAGIC, 1, NOBODY, width, height, mode, 1 if mode == 2 else 8, tile, lane)


def file(head: bytes, records: list[tuple[int, bytes]], others: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A file whose checksums are right; others: types and payloads of chunks between the table and the data."""
    table = b"".join(bytes([m]) + pack_varint(len(s)) + CRC.pack(zlib.crc32(s)) for m, s in records)
    parts = [chunks.pack(b"T", table, before=head), *(chunks.pack(*other) for other in others)]
    parts += [chunks.pack(b"D", b"".join(s for _, s in records))]
    end = b"E" + pack_varint(0)
    return b"".join([*parts, end, CRC.pack(chunks.checksum([*parts, end]))])


def table(*numbers: int) -> tuple[bytes, bytes]:
    return b"P", b"".join(map(pack_varint, numbers))


@cache
def lzma_of(size: int, channels: int = 3) -> bytes:
    """A stored stream of so many zeros."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
    packer, parts = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters), []
    for begin in range(0, size, 1 << 24):
        parts.append(packer.compress(bytes(min(1 << 24, size - begin))))
    return b"\0" + b"".join([*parts, packer.flush()])


STREAM = bytes(4) + b"\1\0\0\0"  # a head of 2^32, no words
CHAIN = b"\0\0" + STREAM


def files() -> Iterator[tuple[str, bytes]]:
    """(what it asks for, the file)."""
    yield "one picture of 2^30 pixels, a table of one tile", file(header(2**15, 2**15), [(0, STREAM)])
    yield "one picture of 2^64 pixels", file(header(2**32 - 1, 2**32 - 1, tile=8), [(0, STREAM)])
    yield "tiles of 8 in 2^30 pixels", file(header(2**15, 2**15, tile=8), [(0, STREAM)])
    yield "tiles of 8 in 2^28 pixels", file(header(2**14, 2**14, tile=8), [(0, STREAM)])
    big = header(2**15, 2**15, tile=8)
    yield "a list of one picture in tiles of 8", file(big, [(4, CHAIN)], [table(1, 1, 2**15, 2**15)])
    small = header(2**14, 2**14, tile=8)
    yield "a list of one smaller picture in tiles of 8", file(small, [(4, CHAIN)], [table(1, 1, 2**14, 2**14)])
    for count in (2**22, 2**20, 2**16, 2**12):
        yield f"{count} pictures of one pixel", file(header(1, 1), [(4, CHAIN)], [table(1, count, 1, 1)])
    yield "2^20 pictures of one bit", file(header(1, 1, mode=2), [(4, CHAIN)], [table(1, 2**20, 1, 1)])
    yield "2^62 pictures", file(header(1, 1), [(4, CHAIN)], [table(1, 2**62, 1, 1)])
    runs = [1, 1, 1] * 80_000
    yield "80,000 runs of pictures in as many groups", file(header(1, 1), [(4, CHAIN)], [table(80_000, *runs)])
    groups = [(2, b"\0\0\0")] * 20_000
    yield "20,000 runs in 20,000 groups", file(header(1, 1), groups, [table(20_000, *[1, 1, 1] * 20_000)])
    yield "300,000 unknown chunks", file(header(1, 1), [(2, bytes(3))], [(b"q", b"")] * 300_000)
    bits = header(2**14, 2**14, mode=2, tile=2048)
    yield "2^28 bits by a model", file(bits, [(0, STREAM)] * 64)
    page = header(2048, 2048, mode=2, tile=2048)
    yield "2^22 bits by a model", file(page, [(0, STREAM + bytes(280))])
    yield "a stored tile of 2^26 zeros for one of 512x512", file(header(512, 512), [(3, lzma_of(2**26))])
    yield (
        "2^26 stored zeros for 2^30",
        file(header(2**15, 2**15, 0), [(3, lzma_of(2**26))], [table(1, 1, 2**15, 2**15)]),
    )
    thick = header(2**14, 2**14, 1)
    yield (
        "a list of one stored picture of 3 * 2^28 samples",
        file(thick, [(3, lzma_of(2**20))], [table(1, 1, 2**14, 2**14)]),
    )


def calls() -> dict[str, Callable[[bytes], object]]:
    import vlae_codec
    from vlae_codec.format import container

    return {
        "decompress": vlae_codec.decompress,
        "decompress_many": vlae_codec.decompress_many,
        "preview": vlae_codec.preview,
        "bits_map": vlae_codec.bits_map,
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
