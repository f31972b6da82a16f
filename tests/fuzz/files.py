"""Fuzzing of the whole decoder: files that are damaged but whose checksums are right.

    python tests/fuzz/files.py --runs 10000 --seed 1 [--minutes M] [--keep DIR]
    python tests/fuzz/sanitized.py tests/fuzz/files.py --runs 10000      # with the core under ASan and UBSan

A run takes a golden file of tests/data, or a small one that the tiny model makes, changes some bytes or numbers, mends
all checksums so that the change reaches the decoder, and decodes what came out on two targets of the core. A finding is

    an exception other than VlaeError, or a CoreError: the core was given what it does not take
    a crash, or a run of more than 5 s, twice
    other pixels, or another error, on one target than on the other

Findings are kept in DIR (./findings by default). Files of more than 256 x 256 pixels or of more than 64 tiles are left
out, as a header alone can ask for 2^30 pixels. A file of a seed and a number is always the same one.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlae_codec import compress, compress_many, decompress, decompress_many
from vlae_codec.coder.streams import encode_tile
from vlae_codec.errors import VlaeError
from vlae_codec.format import chunks, container
from vlae_codec.format.chunks import pack_varint, read_varint
from vlae_codec.format.container import Header, Method, TileRecord
from vlae_codec.native import library
from vlae_codec.pictures.codec import find_codec, with_adapter
from vlae_codec.pictures.encode import Source, Tiles

DATA = Path(__file__).parent.parent / "data"
MODEL = DATA / "tiny.safetensors"
MOST_PIXELS, MOST_TILES, SLOW = 256 * 256, 64, 5.0
BATCH = 100  # files that are decoded on one target before the other has its turn
ODD = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31, 2**32 - 1)


# ---------------------------------------------------------------------------------------------------- first files


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint8: a slope under noise."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + np.array([60, 90, 120])
    return (slope + rng.normal(size=(height, width, 3)) * 2.0 ** rng.integers(0, 6)).clip(0, 255).astype(np.uint8)


def with_tiles(pixels: np.ndarray, tile_size: int, lane_symbols: int, payload: bytes | None = None) -> bytes:
    """The file of RGB pixels in such tiles, perhaps with an adapter."""
    codec = find_codec(MODEL, None, "cpu", "RGB")
    if payload is not None:
        codec = with_adapter(codec, payload)
    header = Header(pixels.shape[1], pixels.shape[0], "RGB", codec.model.id, tile_size, lane_symbols)
    tiles = [encode_tile(codec, tile, 3, lane_symbols) for tile in Tiles(Source([pixels], header, None, {}), 3)]
    return container.write(header, tiles, {"icc": b"profile"}, adapter=payload)


def forced(height: int, width: int, latent_rows: int, seed: int) -> bytes:
    """A file whose only tile has latents and an arbitrary stream: most do not end well."""
    codec = find_codec(MODEL, None, "cpu", "RGB")
    words = np.random.default_rng(seed).bytes(4 * height * width)
    stream = latent_rows.to_bytes(2, "little") + words[:4] + b"\1\0\0\0" + words
    header = Header(width, height, "RGB", codec.model.id)
    return container.write(header, [TileRecord(Method.LATENTS, stream)])


@cache
def first_files() -> tuple[bytes, ...]:
    """The files that are changed."""
    adapted = container.read((DATA / "adapted.vlae").read_bytes())
    files = [(DATA / f"{name}.vlae").read_bytes() for name in ("strip", "grey", "pixel", "many", "tiles", "adapted")]
    small = [noise(12, 10, 1), noise(9, 17, 2), noise(8, 8, 3)]
    files += [compress(pixels, model=MODEL, effort=1) for pixels in small]
    files += [compress(pixels[..., 0], model=MODEL, effort=1) for pixels in small]
    files += [compress_many(small, model=MODEL, effort=1, groups=groups) for groups in (1, 2)]
    files += [compress_many([pixels[..., 1] for pixels in small], model=MODEL, effort=1, groups=1)]
    files += [with_tiles(noise(17, 20, 4), 8, 60), with_tiles(noise(10, 9, 5), 8, 1)]
    files += [with_tiles(noise(9, 12, 6), 512, 50, adapted.adapter)]
    files += [forced(16, 12, 1, 7), forced(8, 10, 1, 8), forced(20, 9, 2, 9)]
    flat = np.zeros((40, 30, 3), np.uint8)
    files += [compress(flat, model=MODEL, effort=1), compress(noise(6, 7, 9), model=MODEL, effort=1)]
    bits = Header(13, 3, "1", b"whatever")
    files += [container.write(bits, [TileRecord(Method.RAW, bytes([1, 8, 2, 16, 3, 32]))])]
    files += [container.write(replace(bits, mode="L"), [TileRecord(Method.LATENTS, b"\1\0" + bytes(40))])]
    return tuple(files)


# ---------------------------------------------------------------------------------------------------- changes


@dataclass
class Parts:
    """A file taken apart; what stands in `others` comes between table and data as it is."""

    header: bytearray
    table: list[tuple[int, bytes]]  # method and stream
    others: list[tuple[bytes, bytes]] = field(default_factory=list)  # type and payload
    lies: dict[int, int] = field(default_factory=dict)  # lengths that the table says instead

    @staticmethod
    def of(data: bytes) -> Parts:
        contents = container.read(data)
        found = [(c.kind, data[c.payload : c.end]) for c in chunks.scan(data, container.HEADER_BYTES)]
        others = [part for part in found if part[0] not in (b"T", b"D", b"E")]
        return Parts(bytearray(data[: container.HEADER_BYTES]), [(t.method, t.data) for t in contents.tiles], others)

    def joined(self) -> bytes:
        """The file, all of its checksums right."""
        table = b"".join(
            bytes([method]) + pack_varint(self.lies.get(i, len(data))) + chunks.CRC.pack(zlib.crc32(data))
            for i, (method, data) in enumerate(self.table)
        )
        parts = [chunks.pack(b"T", table, before=bytes(self.header))]
        parts += [chunks.pack(kind, payload) for kind, payload in self.others]
        parts += [chunks.pack(b"D", b"".join(data for _, data in self.table))]
        end = b"E" + pack_varint(0)
        return b"".join([*parts, end, chunks.CRC.pack(chunks.checksum([*parts, end]))])


def sealed(data: bytes) -> bytes:
    """The file with all of its checksums right, as far as its chunks can be told."""
    mended, position, table, streams = bytearray(data), container.HEADER_BYTES, (0, 0), (0, 0)
    places = []
    try:
        while position < len(data):
            start, kind = position, data[position : position + 1]
            length, payload = read_varint(data, position + 1)
            position = payload + length + 4
            if position > len(data):
                break
            places.append((kind, start, payload + length))
            if kind == b"T":
                table = (payload, payload + length)
            if kind == b"D":
                streams = (payload, payload + length)
        at, offset = table[0], streams[0]
        while at < table[1]:
            length, after = read_varint(data, at + 1)
            mended[after : after + 4] = chunks.CRC.pack(zlib.crc32(data[offset : offset + length]))
            at, offset = after + 4, offset + length
    except VlaeError:
        pass
    for i, (kind, start, end) in enumerate(places):
        begin = 0 if i == 0 or kind == b"E" else start
        mended[end : end + 4] = chunks.CRC.pack(zlib.crc32(mended[begin:end]))
    return bytes(mended[: len(data)])


def changed_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Some bytes flipped, replaced, cut out, doubled, or taken from other data."""
    found = bytearray(data)
    for _ in range(1 + int(rng.expovariate(0.7))):
        at = rng.randrange(len(found) + 1) if rng.random() < 0.7 else min(len(found), rng.randrange(24))
        length = min(len(found) - at, 1 + int(rng.expovariate(0.15)))
        kind = rng.randrange(8)
        if kind < 2 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            found[at : at + length] = rng.randbytes(length)
        elif kind == 3:
            del found[at : at + length]
        elif kind == 4:
            found[at:at] = found[at : at + length]
        elif kind == 5:
            other = rng.choice(others)
            begin = rng.randrange(len(other) + 1)
            found[at : at + length] = other[begin : begin + length]
        elif kind == 6:
            number = rng.choice(ODD)
            size = max(1, (number.bit_length() + 7) // 8)
            found[at : at + size] = number.to_bytes(size, "little")
        else:
            del found[rng.randrange(len(found) + 1) :]
    return bytes(found)


def change_header(rng: random.Random, parts: Parts) -> None:
    """One field of the header; dimensions stay small ones."""
    fields = {
        "version": (8, 1, 256),
        "model": (9, 8, 2**64),
        "width": (17, 4, 80),
        "height": (21, 4, 80),
        "mode": (25, 1, 4),
        "depth": (26, 1, 10),
        "tile": (27, 2, 2**16),
        "lanes": (29, 4, 2**32),
    }
    at, size, most = fields[rng.choice([*fields, "width", "height", "tile", "lanes", "lanes"])]
    old = int.from_bytes(parts.header[at : at + size], "little")
    values = (rng.choice(ODD) % most, rng.randrange(most), old + 1, abs(old - 1), old ^ 1 << rng.randrange(8 * size))
    parts.header[at : at + size] = (rng.choice(values) % 256**size).to_bytes(size, "little")


def change_table(rng: random.Random, parts: Parts) -> None:
    """A record's method or length, or the records' number or order."""
    i = rng.randrange(len(parts.table))
    method, stream = parts.table[i]
    kind = rng.randrange(6)
    if kind == 0:
        parts.table[i] = (rng.randrange(6), stream)
    elif kind == 1:
        parts.lies[i] = max(0, len(stream) + rng.choice((-4, -1, 1, 4, 8, 100, 2**40)))
    elif kind == 2:
        parts.table.insert(i, (method, stream))
    elif kind == 3 and len(parts.table) > 1:
        del parts.table[i]
    elif kind == 4:
        rng.shuffle(parts.table)
    else:  # rows of band B, or splits
        parts.table[i] = (method, rng.choice((0, 1, 2, 3, 5, 255, 2**16 - 1)).to_bytes(2, "little") + stream[2:])


def change_stream(rng: random.Random, parts: Parts, streams: Sequence[bytes]) -> None:
    """Bytes of one stream."""
    i = rng.randrange(len(parts.table))
    method, stream = parts.table[i]
    parts.table[i] = (method, changed_bytes(rng, stream, streams))


def change_other(rng: random.Random, parts: Parts, streams: Sequence[bytes]) -> None:
    """A chunk between table and data: an adapter, the sizes of pictures, metadata."""
    if rng.random() < 0.1 or not parts.others:
        kind = rng.choice((b"A", b"P", b"i", b"x", b"Q", b"q", b"T", b"E"))
        parts.others.insert(0, (kind, rng.choice(streams)[: rng.randrange(40)]))
        return
    i = rng.randrange(len(parts.others))
    kind, payload = parts.others[i]
    if kind == b"P" and rng.random() < 0.5:
        numbers = [rng.choice((0, 1, 2, 3, 5, 8, 17, 2**33)) for _ in range(1 + 3 * rng.randrange(3))]
        payload = b"".join(map(pack_varint, numbers))
    else:
        payload = changed_bytes(rng, payload, streams)
    parts.others[i] = (kind, payload)


@cache
def taken_apart() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The first files, and all of their streams and chunks."""
    files = first_files()
    found = [Parts.of(data) for data in files]
    return files, tuple(b for p in found for b in [*(data for _, data in p.table), *(data for _, data in p.others)])


def make_file(seed: int, number: int) -> bytes:
    """A damaged file with right checksums."""
    rng = random.Random(seed * 2**32 + number)
    files, streams = taken_apart()
    data = files[rng.randrange(len(files))] if rng.random() < 0.3 else files[rng.randrange(6, len(files))]
    if rng.random() < 0.2:
        return sealed(changed_bytes(rng, data, files))
    parts = Parts.of(data)
    changes: list[Callable[[], None]] = [
        lambda: change_header(rng, parts),
        lambda: change_table(rng, parts),
        lambda: change_stream(rng, parts, streams),
        lambda: change_stream(rng, parts, streams),
        lambda: change_other(rng, parts, streams),
    ]
    for _ in range(1 + int(rng.expovariate(1.5))):
        rng.choice(changes)()
    return parts.joined()


def is_small(data: bytes) -> bool:
    """Whether a file's dimensions are within what is decoded here; one that is refused at once is small."""
    try:
        contents = container.read(data)
    except VlaeError:
        return True
    header, pictures = contents.header, contents.pictures
    pixels, count = (header.width * header.height, 1) if pictures is None else (pictures.pixels, pictures.count)
    tiles = sum(len(container.tiles_of(parts, header.tile_size)) for parts in contents.pieces())
    return pixels <= MOST_PIXELS and count <= MOST_TILES and tiles <= MOST_TILES


# ---------------------------------------------------------------------------------------------------- runs


class Result(NamedTuple):
    name: str  # "pixels" or an error's type
    digest: int  # of the pixels
    seconds: float
    text: str = ""

    @property
    def kind(self) -> tuple[str, int]:
        """What must not depend on the target."""
        return self.name, self.digest


def decode(data: bytes, number: int) -> Result:
    """What comes of a file."""
    begin, digest, name, text = time.perf_counter(), 0, "pixels", ""
    try:
        if number % 8 == 7:  # a region
            x, y, w, h = number // 8 % 5, number // 40 % 5, 1 + number // 200 % 9, 1 + number // 1800 % 9
            pictures = [decompress(data, region=(x, y, w, h), model=MODEL, threads=1)]
        else:
            pictures = decompress_many(data, model=MODEL, threads=1)
        for pixels in pictures:
            digest = zlib.crc32(repr(pixels.shape).encode() + pixels.tobytes(), digest)
    except Exception as error:
        name, text = type(error).__name__, str(error)
        if not isinstance(error, VlaeError) or isinstance(error, library.CoreError):
            name = f"finding {name}"
    return Result(name, digest, time.perf_counter() - begin, text)


class Tally:
    """What came of all files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.left_out, self.findings = folder, 0, 0, 0
        self.results: Counter[str] = Counter()
        self.slowest = 0.0

    def keep(self, data: bytes, why: str, name: str) -> None:
        """Keeps a finding."""
        self.findings += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.vlae").write_bytes(data)
        with open(self.folder / "findings.txt", "a") as file:
            file.write(f"{name}: {why}\n")
        print(f"finding {name}: {why}", flush=True)


def run_batch(seed: int, numbers: Sequence[int], targets: Sequence[str], tally: Tally, current: Path | None) -> None:
    """Decodes files on each of the targets, and compares. current: where a file stands while it is decoded."""
    files = {number: make_file(seed, number) for number in numbers}
    small = {number: data for number, data in files.items() if is_small(data)}
    tally.left_out += len(files) - len(small)
    results: dict[int, list[Result]] = {number: [] for number in small}
    for target in targets:
        library.use(target)
        for number, data in small.items():
            if current is not None:
                current.write_bytes(data)
            results[number].append(decode(data, number))
    for number, found in results.items():
        tally.files += 1
        tally.results[found[0].name] += 1
        tally.slowest = max(tally.slowest, *(result.seconds for result in found))
        name = f"{seed}-{number}"
        if len({result.kind for result in found}) > 1:
            tally.keep(small[number], f"{dict(zip(targets, (result[:2] for result in found)))}", name)
        for result in found:
            if result.name.startswith("finding"):
                tally.keep(small[number], f"{result.name}: {result.text}", name)
                break
            if result.seconds > SLOW and decode(small[number], number).seconds > SLOW:
                tally.keep(small[number], f"it takes {result.seconds:.1f} s", name)
                break


def run(runs: int, seed: int, folder: Path, minutes: float = 0, current: Path | None = None, first: int = 0) -> Tally:
    """Decodes so many files, or fewer if the time is over. Each batch is on the plainest target and one other."""
    before, tally, begin = library.target(), Tally(folder), time.monotonic()
    names = library.targets()
    others = [name for name in names if name != names[-1]] or names
    try:
        for batch, start in enumerate(range(first, first + runs, BATCH)):
            if minutes and time.monotonic() - begin > 60 * minutes:
                break
            pair = [names[-1], others[batch % len(others)]]
            run_batch(seed, range(start, min(start + BATCH, first + runs)), pair, tally, current)
            if current is not None:
                current.with_suffix(".next").write_text(str(start + BATCH))
                if batch % 100 == 99:
                    print(f"{tally.files} files, {tally.files / (time.monotonic() - begin):.0f} a second", flush=True)
    finally:
        library.use(before)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Decode damaged files with right checksums.")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0, help="the end, if it comes first")
    parser.add_argument("--keep", type=Path, default=Path("findings"), help="folder for findings")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    current = options.keep / f"current-{options.seed}"
    if options.worker:
        faulthandler.enable()
        begin = time.monotonic()
        tally = run(options.runs, options.seed, options.keep, options.minutes, current, options.first)
        seconds = time.monotonic() - begin
        print(f"{tally.files} files in {seconds:.0f} s, {tally.left_out} left out, the slowest {tally.slowest:.2f} s")
        print(", ".join(f"{name}: {count}" for name, count in tally.results.most_common()))
        print(f"{tally.findings} findings")
        return 0
    begin, first, crashes = time.monotonic(), options.first, 0
    end = options.first + options.runs
    while first < end:  # a crash ends the worker: the next one goes on behind it
        left = max(0.01, options.minutes - (time.monotonic() - begin) / 60) if options.minutes else 0
        arguments = ["--runs", end - first, "--seed", options.seed, "--minutes", left, "--keep", options.keep]
        command = [sys.executable, __file__, *map(str, [*arguments, "--first", first]), "--worker"]
        status = subprocess.run(command, env=os.environ).returncode
        if status == 0:
            break
        crashes += 1
        if current.exists():
            os.replace(current, options.keep / f"crash-{options.seed}-{crashes}.vlae")
        print(f"finding: the process ended with status {status}", flush=True)
        following = current.with_suffix(".next")
        first = max(int(following.read_text()) if following.exists() else first, first) + BATCH
    for path in (current, current.with_suffix(".next")):
        path.unlink(missing_ok=True)
    return 1 if crashes or (options.keep / "findings.txt").exists() else 0


if __name__ == "__main__":
    sys.exit(main())
