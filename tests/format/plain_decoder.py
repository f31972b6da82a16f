"""A decoder of .vlae files written from docs/format.md alone: it uses nothing of the package, and takes its time.

    python tests/format/plain_decoder.py FILE.vlae [WEIGHTS.safetensors ...]

Section numbers in comments are those of that page. It shows that the page is complete and right; for anything else the
package is 100 times as fast.
"""

from __future__ import annotations

import copy
import hashlib
import io
import itertools
import json
import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

NO_LATENTS, LATENTS, RAW, LZMA, CHAIN, WEBP = range(6)
STORED = (RAW, LZMA, WEBP)
MODES = ["L", "RGB", "1", "LA", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "La", "RGBa", "RGBX", "bands"]
CHANNELS = [1, 3, 1, 2, 4, 1, 2, 4, 3, 3, 3, 2, 4, 4]
TYPES = ["unsigned", "int8", "int16", "uint32", "int32", "float16", "float32", "float64"]
BYTES = {"uint32": 4, "int32": 4, "float16": 2, "float32": 4, "float64": 8}
WHOLE = 1 << 24
EMPTY = 1 << 32


class Damage(Exception):
    """The file breaks a rule."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Damage(what)


# ------------------------------------------------------------------------------------------------ the file (2)


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        must(at < len(data) and shift < 63, "a number that does not end")
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            must(byte > 0 or shift == 0, "a number that is not in its shortest form")
            return value, at
        shift += 7


class Reader:
    """Takes fields from a chunk."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varint(self) -> int:
        value, self.at = varint(self.data, self.at)
        return value

    def take(self, count: int) -> bytes:
        must(self.at + count <= len(self.data), "a field that does not end")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def optional(self, there: int, read: Callable[[], Any], default: Any) -> Any:
        """A field in brackets: it stands only where it says something else than its absence."""
        if not there:
            return default
        found = read()
        must(found != default, "a field that says nothing")
        return found

    def form(self, height: int, width: int, channels: int, levels: int, methods: Sequence[int]) -> np.ndarray:
        """The samples of a stored form."""
        method = self.byte()
        must(method in methods, "a table of an unknown form")
        stream = self.take(self.varint())
        return stored(method, stream, [(height, width)], channels, levels)[0]


@dataclass
class Group:
    """A group of planes."""

    layout: int
    channel: int  # the first
    channels: int
    model_id: bytes | None
    levels: int
    shift: int
    scale: tuple[int, int]  # columns, rows
    tile_size: int
    lane_symbols: int
    chains: int
    values: list[np.ndarray]
    learning: int
    shapes: dict[int, tuple[int, int]] = field(default_factory=dict)  # (rows, columns) of the pictures' samples
    records: list[tuple[int, bool, bytes]] = field(default_factory=list)  # (method, differences, stream)
    adapter: bytes | None = None

    @property
    def streams(self) -> list[list[tuple[int, tuple[int, int, int, int]]]]:
        """What each stream holds: (picture, its place), ..."""
        whole = [(i, (0, 0, *shape)) for i, shape in self.shapes.items()]
        if self.chains:
            return [whole[chain :: self.chains] for chain in range(self.chains)]
        return [[(i, tile)] for i, shape in self.shapes.items() for tile in tiles_of(shape, self.tile_size)]


@dataclass
class Layout:
    mode: str
    type: str
    levels: int
    channels: int
    palette: np.ndarray | None


class File(NamedTuple):
    layouts: list[Layout]
    pictures: list[tuple[int, int, int]]  # (layout, height, width)
    groups: list[Group]
    metadata: list[dict[str, bytes]]  # of each picture


def read_file(data: bytes) -> File:
    must(len(data) > 9 and data[:8] == b"\xf6VLAE\r\n\x1a" and data[8] == 2, "not a .vlae file of version 2")
    chunks: list[tuple[str, bytes]] = []
    at, kind = 9, ""
    while kind != "D":
        must(at < len(data), "the file ends early")
        start, kind = at, chr(data[at])
        must(kind.isascii() and kind.isalpha(), "no type of a chunk")
        length, at = varint(data, at + 1)
        payload, at = data[at : at + length], at + length
        must(at + 4 <= len(data), "the file ends early")
        covered = data[0 if not chunks or kind == "D" else start : at]
        must(struct.unpack_from("<I", data, at)[0] == zlib.crc32(covered), f"the checksum of chunk {kind}")
        at += 4
        must(kind in "HAD" or kind.islower(), f"an unknown critical chunk {kind}")
        must((kind == "H") == (not chunks), "the first chunk is the header, and no other")
        chunks.append((kind, payload))
    must(at == len(data), "something follows the data")

    reader = Reader(chunks[0][1])
    layouts, groups = [], []
    for number in range(reader.varint()):
        layout, found = read_layout(reader, number)
        layouts.append(layout)
        groups += found
    pictures = []
    for _ in range(reader.varint()):
        count, number, width, height = (reader.varint() for _ in range(4))
        must(count > 0 and number < len(layouts) and 0 < width < 1 << 32 and 0 < height < 1 << 32, "impossible sizes")
        must(count * width * height <= 1 << 28, "more than this decoder takes")
        pictures += [(number, height, width)] * count
    must({number for number, _, _ in pictures} == {*range(len(layouts))} and layouts != [], "an unused layout")

    for group in groups:
        sx, sy = group.scale
        group.shapes = {i: (-(-h // sy), -(-w // sx)) for i, (n, h, w) in enumerate(pictures) if n == group.layout}
        must(group.chains <= len(group.shapes), "more chains than pictures")
    wanted = [(group, pieces) for group in groups for pieces in group.streams]
    streams, offset = chunks[-1][1], 0
    for index, (group, pieces) in enumerate(wanted):
        code = reader.byte()
        length = reader.varint() if index + 1 < len(wanted) else len(streams) - offset
        stream, offset = streams[offset : offset + length], offset + length
        must(len(stream) == length, "a stream that does not fit the data")
        must(struct.unpack("<I", reader.take(4))[0] == zlib.crc32(stream), "the checksum of a stream")
        check_record(group, pieces, code % 128, code >= 128, stream, pictures)
        group.records.append((code % 128, code >= 128, stream))
    must(reader.at == len(reader.data) and offset == len(streams), "records that do not fit the data")

    last = -1
    metadata: list[dict[str, bytes]] = [{} for _ in pictures]
    for kind, payload in chunks[1:-1]:
        reader = Reader(payload)
        if kind == "A":
            number = reader.varint()
            must(last < number < len(groups) and groups[number].model_id is not None, "an adapter of no group")
            groups[number].adapter, last = payload[reader.at :], number
        elif kind == "m":
            first, count = reader.varint(), reader.varint()
            name = reader.take(reader.byte()).decode()
            value = payload[reader.at :]
            must(name != "" and value != b"" and 0 < count <= len(pictures) - first, "metadata of nothing")
            must(not any(name in one for one in metadata[first:]), "metadata out of order")
            for one in metadata[first : first + count]:
                one[name] = value
    return File(layouts, pictures, groups, metadata)


def read_layout(reader: Reader, number: int) -> tuple[Layout, list[Group]]:
    code = reader.byte()
    must(code < 128 and code & 31 < len(MODES), "an unknown mode")
    mode, indexed = MODES[code & 31], code & 31 in (5, 6)
    kind = reader.optional(code & 32, reader.byte, 0)
    must(kind < len(TYPES), "an unknown type")
    usual = 2 if mode == "1" else 65536 if TYPES[kind] == "int16" else 256
    levels = reader.optional(code & 64, reader.varint, usual)
    must(2 <= levels <= (256 if indexed else 65536), "impossible levels")
    must(levels == usual or (kind == 0 and mode != "1"), "levels where there are none")
    must(kind == 0 or not (indexed or mode == "1"), "a type of other modes")
    channels = reader.byte() if mode == "bands" else CHANNELS[code & 31]
    palette = None
    if indexed:
        colours, columns = reader.varint(), reader.byte()
        must(1 <= colours <= 256 and columns in (3, 4), "an impossible palette")
        palette = reader.form(1, colours, columns, 256, STORED)[0]
    layout = Layout(mode, TYPES[kind], levels, channels, palette)
    coded, groups = channels * BYTES.get(TYPES[kind], 1), []
    first = 0
    while first < coded:
        groups.append(read_group(reader, number, first, levels))
        first += groups[-1].channels
    must(first == coded and coded > 0, "groups of planes that do not fit")
    return layout, groups


def read_group(reader: Reader, layout: int, first: int, levels: int) -> Group:
    channels, flags = reader.byte(), reader.byte()
    must(channels > 0, "a group of nothing")
    model_id = reader.take(8) if flags & 1 else None
    must(model_id is None or channels in (1, 3), "a model of so many channels")
    fewer = reader.optional(flags & 2, reader.varint, levels)
    must(2 <= fewer <= levels and (fewer == levels or flags & 128 > 0), "impossible levels of a group")
    learning, shift = divmod(reader.optional(flags & 4, reader.byte, 0), 16)
    must(shift <= (10 if fewer > 256 else 0) and learning != 8, "an impossible shift")
    must(not learning or (model_id is not None and not flags & 64), "a group that cannot learn")
    scale = reader.optional(flags & 8, lambda: (reader.byte(), reader.byte()), (1, 1))
    tile_size = 8 * reader.optional(flags & 16, reader.varint, 64)
    lane_symbols = reader.optional(flags & 32, reader.varint, 32768)
    chains = reader.optional(flags & 64, reader.varint, 0)
    must(min(scale) > 0 and 8 <= tile_size <= 4096 and 0 < lane_symbols < 1 << 32, "an impossible group")
    values, n = [], 65536 if levels > 256 else 256
    if flags & 128:
        tables = reader.byte()
        must(tables == 1 or 2 <= tables == channels <= 4, "an impossible number of tables")
        for _ in range(tables):
            count = reader.varint()
            must(1 <= count <= fewer, "a table of an impossible size")
            steps = reader.form(1, count, 1, n, (RAW, LZMA)).ravel().astype(np.int64)
            steps[1:] += 1
            table = steps.cumsum() % n
            must(int(table.max()) < levels and len({*table.tolist()}) == count, "an impossible table")
            values.append(table)
    sizes = (tile_size, lane_symbols, chains)
    return Group(layout, first, channels, model_id, fewer, shift, scale, *sizes, values, learning)


def check_record(
    group: Group,
    pieces: Sequence[tuple[int, tuple[int, int, int, int]]],
    method: int,
    differences: bool,
    stream: bytes,
    pictures: Sequence[tuple[int, int, int]],
) -> None:
    allowed = [RAW, LZMA] if group.chains else [*STORED]
    if group.model_id is not None:
        allowed += [CHAIN] if group.chains else [NO_LATENTS, LATENTS]
    must(method in allowed, "a method that does not fit")
    if method == WEBP:
        must(group.levels <= 256 and group.channels <= 4, "WebP has no such samples")
    if differences:
        ((i, _),) = pieces
        must(
            method in STORED and not group.chains and i > 0 and pictures[i] == pictures[i - 1], "differences from what"
        )
    tiles = sum(len(tiles_of(place[2:], group.tile_size)) for _, place in pieces)
    must(tiles <= 64 * len(stream), "too many tiles for so few bytes")


def tiles_of(shape: tuple[int, int], size: int) -> list[tuple[int, int, int, int]]:
    """(row, column, height, width) of each tile."""
    height, width = shape
    return [
        (y, x, min(size, height - y), min(size, width - x))
        for y in range(0, height, size)
        for x in range(0, width, size)
    ]


# ------------------------------------------------------------------------------------------------ stored tiles (3)


def stored(
    method: int, stream: bytes, shapes: Sequence[tuple[int, int]], channels: int, levels: int
) -> list[np.ndarray]:
    """The symbols of each picture, (h, w, channels)."""
    if method == WEBP:
        found = [webp(stream, *shapes[0], channels)]
    else:
        bits = next(bits for bits in (1, 2, 4, 8, 16) if levels <= 1 << bits)
        sizes = [-(-w * channels * bits // 8) for _, w in shapes]
        raw = stream
        if method == LZMA:
            must(stream[:1] in (b"\0", b"\1"), "an unknown filter")
            raw = unpack_lzma(stream[1:], sum(h * size for (h, _), size in zip(shapes, sizes)))
            if stream[0] == 1:
                distance = 1 if bits < 8 else min(channels * bits // 8, 256)
                sums = bytearray(raw)
                for i in range(distance, len(sums)):
                    sums[i] = (sums[i] + sums[i - distance]) % 256
                raw = bytes(sums)
        must(len(raw) == sum(h * size for (h, _), size in zip(shapes, sizes)), "a stored stream of a wrong length")
        found, at = [], 0
        for (h, w), size in zip(shapes, sizes):
            part = np.frombuffer(raw, np.uint8, h * size, at).reshape(h, size)
            at += h * size
            if bits == 16:
                symbols = part[:, ::2] + 256 * part[:, 1::2].astype(np.int64)
            elif bits == 8:
                symbols = part.astype(np.int64)
            else:
                digits = np.unpackbits(part, axis=1)
                must(not digits[:, w * channels * bits :].any(), "bits behind a row")
                digits = digits[:, : w * channels * bits].reshape(h, w * channels, bits)
                symbols = (digits << np.arange(bits - 1, -1, -1)).sum(2)
            found.append(symbols.reshape(h, w, channels).astype(np.int64))
    must(all(int(symbols.max()) < levels for symbols in found), "a symbol that there is not")
    return found


def unpack_lzma(stream: bytes, length: int) -> bytes:
    filters: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        raw = decoder.decompress(stream, max_length=length + 1)
    except lzma.LZMAError as error:
        raise Damage("a stored stream that does not decode") from error
    if not decoder.eof:
        must(decoder.decompress(b"", max_length=1) == b"", "a stored stream that is too long")
    must(decoder.eof and not decoder.unused_data, "a stored stream without its end")
    return raw


def webp(stream: bytes, height: int, width: int, channels: int) -> np.ndarray:
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream + bytes(len(stream) % 2)
    try:
        image = Image.open(io.BytesIO(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk))
        must(image.size == (width, height), "a WebP tile of another size")
        pixels = np.asarray(image.convert("RGBA"), np.int64)
    except Damage:
        raise
    except Exception as error:
        raise Damage("a WebP tile that does not decode") from error
    return pixels[..., {1: [1], 2: [1, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]]


# ------------------------------------------------------------------------------------------------ the message (5)


class Stack:
    def __init__(self, data: bytes, lanes: int) -> None:
        must(len(data) >= 8 * lanes and len(data) % 4 == 0, "a message of a wrong length")
        self.heads = list(struct.unpack_from(f"<{lanes}Q", data))
        self.words = list(struct.unpack_from(f"<{(len(data) - 8 * lanes) // 4}I", data, 8 * lanes))
        must(min(self.heads) >= EMPTY, "a head that is too small")

    def cf(self, lane: int) -> int:
        return self.heads[lane] % WHOLE

    def pop(self, lane: int, start: int, freq: int) -> None:
        head = freq * (self.heads[lane] >> 24) + self.cf(lane) - start
        if head < EMPTY:
            must(bool(self.words), "the message ran out")
            head = head * EMPTY + self.words.pop()
        self.heads[lane] = head

    def push(self, lane: int, start: int, freq: int) -> None:
        head = self.heads[lane]
        if head >> 40 >= freq:
            self.words.append(head % EMPTY)
            head >>= 32
        self.heads[lane] = (head // freq << 24) + start + head % freq

    def check_empty(self, seed: int) -> None:
        wanted = [EMPTY + seed, *[EMPTY] * (len(self.heads) - 1)]
        must(self.heads == wanted and not self.words, "the message is not empty at its end")


def waves(height: int, width: int, slope: int) -> Iterator[list[tuple[int, int]]]:
    """Positions (row, column) of each wave."""
    for wave in range(width + slope * (height - 1)):
        rows = [r for r in range(height) if 0 <= wave - slope * r < width]
        yield [(r, wave - slope * r) for r in rows]


def window_of(window: Sequence[int]) -> list[tuple[int, int]]:
    wide, up = window
    reach = wide // 2
    above = [(-i, j) for i in range(up, 0, -1) for j in range(-reach, reach + 1)]
    return above + [(0, j) for j in range(-reach, 0)]


def order(count: int, channels: int, lanes: int, before: int) -> Iterator[tuple[int, int, int]]:
    """(position, channel, lane) of a wave's symbols, as they are popped; before: positions of earlier waves."""
    for first in range(0, count, lanes):
        for channel in range(channels):
            for i in range(first, min(first + lanes, count)):
                yield i, channel, (before + i) % lanes


# ------------------------------------------------------------------------------------------------ the model (6, 7)


class Layer(NamedTuple):
    weight: np.ndarray  # (inputs, outputs) int64, digits joined
    columns: np.ndarray  # as it is in the file
    multiplier: np.ndarray
    addend: np.ndarray
    shift: int

    def run(self, rows: np.ndarray) -> np.ndarray:
        return (rows @ self.weight * self.multiplier + self.addend) >> self.shift


def make_layer(columns: np.ndarray, multiplier: np.ndarray, addend: np.ndarray, shift: int) -> Layer:
    wide, columns = columns.astype(np.int64), columns.astype(np.int64)
    must(int((128 * np.abs(columns)).sum(0).max()) < WHOLE, "an accumulator may be too large")
    if columns.shape[1] == 2 * len(multiplier):
        wide = 128 * columns[:, : len(multiplier)] + columns[:, len(multiplier) :]
    return Layer(wide, columns, multiplier, addend, shift)


class Model:
    def __init__(self, path: str | Path) -> None:
        data = Path(path).read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        config = json.loads(header.pop("__metadata__")["config"])
        types = {"I8": "<i1", "I32": "<i4", "I64": "<i8"}
        self.tensors = {}
        for name, entry in header.items():
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            self.tensors[name] = np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tensor.dtype.name} {tensor.shape}".encode() + tensor.tobytes())
        self.id = digest.digest()[:8]
        self.config = {"levels": 256, **config}
        self.tables = {name[7:]: t.tolist() for name, t in self.tensors.items() if name.startswith("tables.")}
        names = [name.removesuffix(".weight") for name in self.tensors if name.endswith(".weight")]
        self.layers = {name: self.layer(name) for name in names}
        self.scale(self.config["levels"], 0)

    def scale(self, levels: int, shift: int) -> None:
        """Samples of so many levels, in coarse levels of 2^shift of them at least (12)."""
        must(2 <= levels <= 1 << 16 and 0 <= shift <= 10, "an impossible number of levels or shift")
        self.levels, self.shift, self.bits = levels, shift, (levels - 1).bit_length()
        own = (levels, shift) == (self.config["levels"], 0)
        self.stretch = 6 if own and levels == 2 else 0
        self.deep = (levels, shift) != (256, 0) and not self.stretch

    def stretched(self, x: Any) -> Any:
        """Samples as networks see them where it is not in differences (11)."""
        return (x << 8) >> self.bits if self.deep else x << self.stretch

    def layer(self, name: str) -> Layer:
        weight, multiplier, addend, shift = (
            self.tensors[f"{name}.{part}"] for part in ("weight", "multiplier", "addend", "shift")
        )
        return make_layer(weight, multiplier, addend, int(shift[0]))

    def hidden(self, name: str, rows: np.ndarray) -> np.ndarray:
        return np.clip(self.layers[name].run(rows.astype(np.int64)), -128, 127)

    def out(self, name: str, rows: np.ndarray, limits: Sequence[tuple[int, int, int]]) -> np.ndarray:
        return clipped(self.layers[name].run(rows.astype(np.int64)), limits)

    def chain(self, name: str, count: int, rows: np.ndarray, limits: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """A network with a skip."""
        return self.out(f"{name}.out", self.seen(name, count, rows)[-1], limits)

    def seen(self, name: str, count: int, rows: np.ndarray) -> list[np.ndarray]:
        """What each of its layers sees."""
        seen = [rows.astype(np.int64)]
        for i in range(count):
            seen.append(self.hidden(f"{name}.hidden.{i}", seen[i]))
        return [*seen[:-1], np.concatenate([seen[-1], seen[0]], axis=1)]


def clipped(rows: np.ndarray, limits: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """limits: (how many, low, high) of the columns, in order."""
    low, high = (np.repeat([limit[i] for limit in limits], [limit[0] for limit in limits]) for i in (1, 2))
    return np.clip(rows, low, high)


def row_limits(mixtures: int, channels: int, coupled: bool) -> list[tuple[int, int, int]]:
    each = mixtures * channels
    pairs = mixtures * channels * (channels - 1) // 2 if coupled else 0
    return [(mixtures, -(1 << 12), 1 << 12), (each, -(1 << 15), 1 << 15), (each, 0, 159), (pairs, -(1 << 10), 1 << 10)]


def patches(x: np.ndarray, size: int) -> np.ndarray:
    h, w, c = x.shape
    squares = [x[r : r + size, s : s + size].ravel() for r in range(0, h, size) for s in range(0, w, size)]
    return np.array(squares).reshape(h // size * (w // size), size * size * c)


def unpatch(rows: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    out = np.zeros((height * size, width * size, rows.shape[1] // size**2), np.int64)
    for i, row in enumerate(rows):
        r, s = i // width * size, i % width * size
        out[r : r + size, s : s + size] = row.reshape(size, size, -1)
    return out


def neighbours(x: np.ndarray, outside: int) -> np.ndarray:
    h, w, c = x.shape
    around = np.full((h + 2, w + 2, c), outside)
    around[1:-1, 1:-1] = x
    return np.array([around[r : r + 3, s : s + 3].ravel() for r in range(h) for s in range(w)]).reshape(h * w, 9 * c)


# ------------------------------------------------------------------------------------------------ distributions (8)


class Row:
    """The distributions of a position: channel by channel, each given those before it."""

    def __init__(
        self,
        tables: dict[str, list[int]],
        params: Sequence[int],
        offsets: Sequence[int],
        outers: Sequence[int],
        mixtures: int,
        channels: int,
        levels: int,
        shift: int | None = None,
    ) -> None:
        self.shift, self.deep = shift or 0, shift is not None
        self.more = 4 if self.deep else 0  # bits of a sigmoid
        self.t, self.levels, self.offsets, self.outers = tables, levels, offsets, outers
        k, kc = mixtures, mixtures * channels
        logits, rest = params[:k], params[k:]
        self.locations = [rest[i * channels : (i + 1) * channels] for i in range(k)]
        self.scales = [rest[kc + i * channels : kc + (i + 1) * channels] for i in range(k)]
        pairs = (len(params) - k - 2 * kc) // k
        self.coefficients = [rest[2 * kc + i * pairs : 2 * kc + (i + 1) * pairs] for i in range(k)]
        self.e = self.begun = [tables["exp"][min(max(logits) - logit, 511)] for logit in logits]
        self.seen: list[list[tuple[int, ...]]] = []  # of each channel means, inverses, sigmoids
        self.u: list[int] = []
        self.next_channel()

    def next_channel(self) -> None:
        c = len(self.u)
        outer = self.outers[c]
        self.mean, self.inverse = [], []
        for locations, scales, coefficients in zip(self.locations, self.scales, self.coefficients):
            first = c * (c - 1) // 2
            moved = sum(a * b for a, b in zip(coefficients[first:], self.u)) >> 8
            far = ((locations[c] + moved) * self.t["outer_scale"][outer] >> 16) << self.shift
            self.mean.append(min(max(self.offsets[c] + far, -(1 << 29)), 1 << 29))
            self.inverse.append(self.t["inverse"][min(max(scales[c] + outer - 64, 0), 159)])
        self.factor = ((WHOLE - self.levels) << 18 - self.more) // sum(self.e)

    def sigmoids(self, x: int) -> list[int]:
        """Of each component, at the lower edge of x."""
        if x == 0:
            return [0] * len(self.e)
        if x == self.levels:
            return [1 << 20 + self.more] * len(self.e)
        edge, table = 64 * x - 32, self.t["sigmoid"]
        if self.deep:
            fine = [(edge - mean) * inverse >> 8 + self.shift for mean, inverse in zip(self.mean, self.inverse)]
            parts = [divmod(min(max(a, -(1 << 20)), (1 << 20) - 1) + (1 << 20), 256) for a in fine]
            return [16 * table[i] + ((table[i + 1] - table[i]) * part >> 4) for i, part in parts]
        at = [(edge - mean) * inverse >> 16 for mean, inverse in zip(self.mean, self.inverse)]
        return [table[min(max(a, -4096), 4096) + 4096] for a in at]

    def cdf(self, x: int) -> int:
        if x == self.levels:
            return WHOLE
        if x == 0:
            return 0
        return x + (sum(e * s for e, s in zip(self.e, self.sigmoids(x))) * self.factor >> 38)

    def find(self, cf: int) -> tuple[int, int, int]:
        """(symbol, start, freq)."""
        low, high = 0, self.levels
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.cdf(middle) <= cf else (low, middle)
        return low, self.cdf(low), self.cdf(high) - self.cdf(low)

    def know(self, symbol: int) -> None:
        """Goes on to the next channel."""
        c, below, above = len(self.u), self.sigmoids(symbol), self.sigmoids(symbol + 1)
        self.seen.append([*zip(self.mean, self.inverse, below, above)])
        products = [e * (b - a) for e, a, b in zip(self.e, below, above)]
        shift = max(0, max(products).bit_length() - 12)
        if max(products) > 0:
            self.e = [max(1, product >> shift) for product in products]
        u = (64 * symbol - self.offsets[c]) * self.t["outer_inverse"][self.outers[c]] >> 16
        self.u.append(u >> self.shift)
        if len(self.u) < len(self.offsets):
            self.next_channel()


class Learner:
    """The local network while it follows the pixels of a band (12, "Learning")."""

    def __init__(self, model: Model, learning: int) -> None:
        self.model, self.begun, self.slow = copy.copy(model), model.layers, learning % 8 - 1
        self.model.layers = {**self.begun}
        self.hidden = model.config["hidden"]
        self.names = [*(f"hidden.{i}" for i in range(1, model.config["layers"]) if learning > 8), "out"]
        layers = {name: self.begun[f"local.{name}"] for name in self.names}
        self.moved = {
            name: np.zeros((len(layer.weight) + 1, len(layer.multiplier)), np.int64) for name, layer in layers.items()
        }
        self.begin()

    def begin(self) -> None:
        self.sums, self.count = {name: np.zeros_like(moved) for name, moved in self.moved.items()}, 0

    def tensor(self, name: str) -> np.ndarray:
        return self.model.tensors[f"learn.{name}"].astype(np.int64)

    def take(self, seen: Sequence[np.ndarray], rows: Sequence[Row], symbols: Sequence[Sequence[int]]) -> None:
        """A wave of pixels: what each layer saw of them, their rows and their coded symbols."""
        scores, derivatives = (np.array(part, np.int64) for part in zip(*map(self.scores, rows, symbols)))
        scores = scaled(scores, self.tensor("out.scale"))
        if len(self.names) > 1:
            derivatives = scaled(derivatives, self.tensor("slope"))
        for i in range(1, len(self.names) + 1):
            name, inputs = self.names[-i], seen[-i].copy()
            inputs[:, : self.hidden] += 128
            self.sums[name] += np.concatenate([inputs, np.full((len(inputs), 1), 64)], axis=1).T @ scores
            if i < len(self.names):
                weight, active = self.model.layers[f"local.{name}"].weight[: self.hidden], inputs[:, : self.hidden]
                back = np.clip(weight * self.tensor(f"{name}.back") + (1 << 15) >> 16, -127, 127)
                scores = scaled(derivatives @ back.T, self.tensor(f"{self.names[-i - 1]}.scale"))
                scores = derivatives = np.where((active > 0) & (active < 255), scores, 0)
        self.count += len(rows)
        if self.count >= 384:
            for name in self.names:
                self.step(name)
            self.begin()

    def step(self, name: str) -> None:
        n = 6 + self.slow + (name == "out" and len(self.names) > 1)
        reduce = self.tensor(f"{name}.reduce")[:, None]
        y = np.clip(self.sums[name] + (1 << reduce >> 1) >> reduce, -127, 127).T
        z = self.model.layers[f"learn.{name}.up"].run(self.model.hidden(f"learn.{name}.down", y))
        step = self.tensor(f"{name}.diagonal") * y + z.clip(-(1 << 24), 1 << 24) + 128 >> 8
        change = step.T.clip(-32767, 32767) * self.tensor(f"{name}.rate") + (1 << n >> 1) >> n
        self.moved[name] = np.clip(self.moved[name] - change, -(1 << 20), 1 << 20)
        change, begun, limit = self.moved[name] + 128 >> 8, self.begun[f"local.{name}"], 127
        if name == "out":
            limit *= 128
        weight = np.clip(begun.weight + change[:-1], -limit, limit)
        more = 64 * change[-1] + 128 * (weight - begun.weight)[: self.hidden].sum(0)
        addend = begun.addend + begun.multiplier * more
        self.model.layers[f"local.{name}"] = begun._replace(weight=weight, addend=addend)

    def scores(self, row: Row, symbols: Sequence[int]) -> tuple[list[int], list[int]]:
        """Of a row whose first symbols are these, after all were known; then those that derivatives are made of."""
        t, k, channels = row.t, len(row.e), len(row.offsets)
        logits = [(e << 12) // sum(row.begun) - (end << 12) // sum(row.e) for e, end in zip(row.begun, row.e)]
        locations, slopes, scales = np.zeros((3, k, channels), object)
        coefficients, steeper = np.zeros((2, k, channels * (channels - 1) // 2), object)
        for c, x in enumerate(symbols):
            for i, (mean, inverse, lower, upper) in enumerate(row.seen[c]):
                p, more = (row.e[i] << 12) // sum(row.e), row.more
                tail, part = (1 << 20 + more) - lower - upper >> 8 + more, upper - lower >> 8 + more
                d = min(max((64 * x - mean) * inverse >> 16 + row.shift, -4096), 4096)
                fine = t["inverse"][min(row.scales[i][c] + 16 * row.shift, 159)]
                h, g = min(fine >> 11, 4096), min(64 * fine >> 16, 4096)
                tangent = 2 * t["sigmoid"][4096 + g] - (1 << 20)
                s = (d * tail >> 8) - (h * part >> 8)
                s += 1 << 12 if g < 16 or tangent < 1 else (g << 23) // tangent
                if x in (0, row.levels - 1):
                    s = (d + (h if x == 0 else -h)) * tail >> 8
                locations[i, c], scales[i, c] = p * tail >> 12, p * s >> 12
                slopes[i, c] = locations[i, c] * (inverse >> 6) >> 10
                for e in range(c):
                    u, pair = min(max(row.u[e], -(1 << 18)), 1 << 18), c * (c - 1) // 2 + e
                    coefficients[i, pair] = locations[i, c] * u >> 6
                    steeper[i, pair] = slopes[i, c] * (u >> row.shift) >> 6
        plain = [*logits, *locations.ravel(), *scales.ravel(), *coefficients.ravel()]
        return plain, [*logits, *slopes.ravel(), *scales.ravel(), *steeper.ravel()]


def scaled(scores: np.ndarray, factors: np.ndarray) -> np.ndarray:
    return np.clip(np.clip(scores, -(1 << 18), 1 << 18) * factors + (1 << 15) >> 16, -127, 127)


class Restricted(Row):
    """Those of a pixel of the restricted form (8); given: (256, 256, 256) bool, the set."""

    def __init__(self, given: np.ndarray, escape: int, *row: Any) -> None:
        self.given, self.escape = given, escape
        self.known: list = []
        super().__init__(*row)

    def mass(self, x: int) -> int:
        return sum(e * s for e, s in zip(self.e, self.sigmoids(x)))

    def average(self, values: Sequence[int]) -> int:
        return sum(e * v for e, v in zip(self.e, values)) // sum(self.e)

    def borders(self) -> list[tuple[int, int, int]]:
        """(symbol, start, end) of each symbol of the channel."""
        if len(self.known) == 0:
            return [(x, self.cdf(x), self.cdf(x + 1)) for x in range(256)]
        return self.second() if len(self.known) == 1 else self.third()

    def second(self) -> list[tuple[int, int, int]]:
        (r,), table = self.known, self.t["exp"]
        first = min(max((self.average(self.mean) + 32 >> 6) - 8, 0), 240)
        base = self.average([a[2] + (c[1] * self.u[0] >> 8) for a, c in zip(self.locations, self.coefficients)])
        slope = self.average([c[2] for c in self.coefficients])
        inverse = self.t["inverse"][self.average([scales[2] for scales in self.scales])]
        own = []
        for g in range(first, first + 16):
            far = base + self.offsets[2] + (slope * (64 * g - self.offsets[1]) >> 8) + 32 >> 6
            b, there = min(max(far, 0), 255), [-1, *np.flatnonzero(self.given[r, g]).tolist(), 256]
            distance = min(abs(b - v) for v in there)
            own.append(1 if self.escape == 1 else table[min(distance * inverse >> 14, 177)])
        weights = [-(-sum(own) // 16)] * 256
        weights[first : first + 16] = own
        sums, masses = [0], [self.mass(x) for x in range(257)]
        for g in range(256):
            sums.append(sums[-1] + weights[g] * (masses[g + 1] - masses[g]))
        t = max(0, sums[256].bit_length() - 30)
        factor = (WHOLE - 256 << 30) // (sums[256] >> t)
        edges = [x + ((sums[x] >> t) * factor >> 30) for x in range(256)] + [WHOLE]
        return list(zip(range(256), edges, edges[1:]))

    def third(self) -> list[tuple[int, int, int]]:
        inside = self.given[self.known[0], self.known[1]]
        outside = WHOLE if not inside.any() else 0 if inside.all() else WHOLE >> self.escape
        found = []
        for kind, begin, size in ((False, 0, outside), (True, outside, WHOLE - outside)):
            values, factor = np.flatnonzero(inside == kind).tolist(), (size - 256 << 18) // sum(self.e)
            edges = [begin]
            for p, v in itertools.pairwise(values):
                at = [(32 * (p + v) - mean) * inverse >> 16 for mean, inverse in zip(self.mean, self.inverse)]
                mass = sum(e * self.t["sigmoid"][min(max(a, -4096), 4096) + 4096] for e, a in zip(self.e, at))
                edges.append(begin + (p + v + 1 >> 1) + (mass * factor >> 38))
            found += list(zip(values, edges, [*edges[1:], begin + size]))
        return found

    def find(self, cf: int) -> tuple[int, int, int]:
        return next((x, start, end - start) for x, start, end in self.borders() if start <= cf < end)

    def know(self, symbol: int) -> None:
        self.known.append(symbol)
        super().know(symbol)


def pop_wave(stack: Stack, rows: list[Row], coded: int, before: int) -> list[list[int]]:
    """The symbols of the positions of a wave."""
    symbols: list[list[int]] = [[] for _ in rows]
    for i, _, lane in order(len(rows), coded, len(stack.heads), before):
        symbol, start, freq = rows[i].find(stack.cf(lane))
        stack.pop(lane, start, freq)
        rows[i].know(symbol)
        symbols[i].append(symbol)
    return symbols


# ------------------------------------------------------------------------------------------------ tiles (9 to 12)


class TileDecoder:
    def __init__(self, model: Model, learning: int = 0) -> None:
        self.model, self.c, self.learning = model, model.config, learning
        self.z = self.c["latents"]
        self.first = 1 << (model.bits - 1) if model.deep else 128

    def row(
        self,
        params: Any,
        offsets: Any,
        outers: Any,
        mixtures: int,
        channels: int,
        levels: int,
        shift: int | None = None,
    ) -> Row:
        params, offsets, outers = (np.asarray(part).tolist() for part in (params, offsets, outers))
        return Row(self.model.tables, params, offsets, outers, mixtures, channels, levels, shift)

    def pop_tile(self, stack: Stack, height: int, width: int, split: int, coded: int) -> np.ndarray:
        """Section 9."""
        tile = np.zeros((height, width, self.c["channels"]), np.int64)
        if split:
            z = self.pop_latents(stack, split // self.c["stride"], -(-width // self.c["stride"]))
            features = self.context(z)
            self.pop_band(stack, tile, 0, split, coded, lambda r, c: features[r, c])
            self.push_latents(stack, tile[:split], z)
        null, stride = self.model.tensors["null"], self.c["stride"]
        self.pop_band(
            stack, tile, split, height, coded, lambda r, c: null if null.ndim == 1 else null[r % stride, c % stride]
        )
        return tile

    def pop_latents(self, stack: Stack, height: int, width: int) -> np.ndarray:
        """Section 10."""
        c, t, count = self.c, self.model.tables, self.z
        steps, window = c["flow_steps"], window_of(c["prior_window"])
        z = np.zeros((height, width, count), np.int64)
        planes = np.zeros((max(steps, 1), height, width, count), np.int64)
        before = 0
        for cells in waves(height, width, c["prior_window"][0] // 2 + 1):
            maps, rows = [], []
            for r, s in cells:

                def seen(plane: np.ndarray, r: int = r, s: int = s) -> np.ndarray:
                    inside = [(r + i, s + j) for i, j in window]
                    zero = np.zeros(count, np.int64)
                    fine = [0 <= a < height and 0 <= b < width for a, b in inside]
                    return np.concatenate([plane[at] if f else zero for at, f in zip(inside, fine)])[None]

                offsets, outers = [[2048] * count], [[64] * count]
                for step in range(steps - 1):
                    limits = [(count, -(1 << 15), 1 << 15), (count, -32, 63)]
                    out = self.model.chain(f"affine.{step}", 1, seen(planes[step]), limits)[0].tolist()
                    old = zip(offsets[-1], outers[-1], out)
                    moved = [a + (location * t["outer_scale"][outer] >> 16) for a, outer, location in old]
                    offsets.append([min(max(a, -(1 << 20)), 1 << 20) for a in moved])
                    outers.append([min(max(a + b, 0), 191) for a, b in zip(outers[-1], out[count:])])
                if steps:
                    limits = row_limits(c["prior_mixtures"], count, True)
                    params, mixtures = self.model.chain("mixture", 2, seen(planes[-1]), limits)[0], c["prior_mixtures"]
                else:
                    params, mixtures = self.model.tensors["base"][0], 1
                maps.append((offsets, outers))
                rows.append(self.row(params, offsets[-1], outers[-1], mixtures, count, 64))
            for (r, s), symbols, (offsets, outers) in zip(cells, pop_wave(stack, rows, count, before), maps):
                z[r, s] = symbols
                planes[0, r, s] = 4 * (z[r, s] - 32)
                for step in range(1, steps):
                    for i, symbol in enumerate(symbols):
                        u = (64 * symbol - offsets[step][i]) * t["outer_inverse"][outers[step][i]] >> 16
                        planes[step, r, s, i] = min(max((u + 2) >> 2, -128), 127)
            before += len(cells)
        return z

    def context(self, z: np.ndarray) -> np.ndarray:
        """Section 11."""
        gh, gw, _ = z.shape
        hidden, up = self.model.hidden, self.c["stride"] // 4
        a = hidden("topdown.grid.0", neighbours(4 * (z - 32), 0))
        a = hidden("topdown.grid.1", neighbours(a.reshape(gh, gw, -1), -128))
        a = unpatch(hidden("topdown.spread", a), gh, gw, up)
        a = hidden("topdown.out", hidden("topdown.fine", neighbours(a, -128)))
        return unpatch(a, gh * up, gw * up, 4)

    def posterior(self, band: np.ndarray) -> np.ndarray:
        """Section 11: the rows of all cells."""
        stride, hidden = self.c["stride"], self.model.hidden
        x = np.pad(self.model.stretched(band), ((0, 0), (0, -band.shape[1] % stride), (0, 0)), mode="edge")
        h, w, _ = x.shape
        a, size = hidden("encoder.stem", patches(x - 128, 4)), 4
        for i, side in enumerate({4: (), 8: (2,), 16: (2, 2), 28: (7,)}[stride]):
            a = hidden(f"encoder.down.{i}", patches(a.reshape(h // size, w // size, -1), side))
            size *= side
        for i in range(2):
            a = hidden(f"encoder.grid.{i}", neighbours(a.reshape(h // size, w // size, -1), -128))
        return self.model.out("encoder.out", a, row_limits(1, self.z, False))

    def push_latents(self, stack: Stack, band: np.ndarray, z: np.ndarray) -> None:
        symbols, intervals = z.reshape(-1, self.z).tolist(), []
        for params, values in zip(self.posterior(band), symbols):
            row, found = self.row(params, [2048] * self.z, [64] * self.z, 1, self.z, 64), []
            for symbol in values:
                found.append((row.cdf(symbol), row.cdf(symbol + 1) - row.cdf(symbol)))
                row.know(symbol)
            intervals.append(found)
        for i, channel, lane in reversed([*order(len(symbols), self.z, len(stack.heads), 0)]):
            stack.push(lane, *intervals[i][channel])

    def pop_band(
        self, stack: Stack, tile: np.ndarray, first: int, last: int, coded: int, features: Callable[[int, int], Any]
    ) -> None:
        """Section 12: rows first .. last of the tile."""
        c, width, stretch, levels = self.c, tile.shape[1], self.model.stretch, self.model.levels
        channels, window = c["channels"], window_of(c["window"])
        limits = row_limits(c["mixtures"], channels, True)
        learner = Learner(self.model, self.learning) if self.learning else None
        model = self.model if learner is None else learner.model
        before = 0
        for wave in waves(last - first, width, c["window"][0] // 2 + 1):
            positions = [(first + r, s) for r, s in wave]
            if not positions:
                continue
            inputs, references, shifts = [], [], []
            for r, s in positions:
                reference = self.reference(tile << stretch, r, s)
                found = {
                    (i, j): (tile[r + i, s + j] << stretch) - reference
                    for i, j in window
                    if r + i >= 0 and 0 <= s + j < width
                }
                shift = self.shift(found, channels)
                coarse = shift or 0
                half, nothing = (1 << coarse) >> 1, np.zeros(channels, np.int64)
                whole = [found.get(at, nothing) for at in window]
                differences = [np.clip(np.sign(d) * ((np.abs(d) + half) >> coarse), -128, 127) for d in whole]
                seen = self.model.stretched(reference) if self.model.deep else reference
                inputs.append(np.concatenate([*differences, seen - 128, features(r, s)]))
                references.append(reference)
                shifts.append(shift)
            layers = model.seen("local", c["layers"], np.array(inputs))
            out = model.out("local.out", layers[-1], limits)
            rows = [
                self.row(params, (64 * reference) >> stretch, [64] * channels, c["mixtures"], channels, levels, shift)
                for params, reference, shift in zip(out, references, shifts)
            ]
            for (r, s), symbols in zip(positions, pop_wave(stack, rows, coded, before)):
                tile[r, s] = symbols if coded == channels else symbols[0]
            if learner is not None:
                learner.take(layers, rows, [tile[at][:coded].tolist() for at in positions])
            before += len(positions)

    def shift(self, differences: dict[tuple[int, int], np.ndarray], channels: int) -> int | None:
        if not self.model.deep:
            return None
        near = [(0, -2), (0, -1), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (-2, 0), (-2, 1)]
        lengths = [abs(int(d)).bit_length() for at in near if at in differences for d in differences[at]]
        mean = (sum(lengths) + len(lengths) // 2) // len(lengths) if lengths else 0
        return min(max(self.model.shift, mean - 5), 10)

    def reference(self, x: np.ndarray, r: int, s: int) -> np.ndarray:
        if r and s:
            left, up, corner = x[r, s - 1], x[r - 1, s], x[r - 1, s - 1]
            return np.clip(left + up - corner, np.minimum(left, up), np.maximum(left, up))
        return x[r - 1, s] if r else x[r, s - 1] if s else np.full(x.shape[2], self.first)


# ------------------------------------------------------------------------------------------------ streams (4)


def splits_of(method: int, stream: bytes, heights: Sequence[int], stride: int) -> tuple[list[int], int]:
    """(rows of each tile's band B, where the message begins)."""
    if method == NO_LATENTS:
        return [0], 0
    if method == LATENTS:
        split = int.from_bytes(stream[:2], "little") * stride
        must(0 < split < heights[0], "impossible bands")
        return [split], 2
    rows: list[int] = []
    at, length = 0, 1
    while length:
        length, at = varint(stream, at)
        value, at = varint(stream, at)
        must(len(rows) + length < len(heights), "more bands than tiles")
        rows += [value] * (length or len(heights) - len(rows))
    return [min(n, h // stride) * stride for n, h in zip(rows, heights)], at


def pop_tiles(
    model: Model,
    method: int,
    stream: bytes,
    shapes: Sequence[tuple[int, int]],
    coded: int,
    lane_symbols: int,
    learning: int = 0,
) -> list[np.ndarray]:
    """The tiles of a stream."""
    splits, at = splits_of(method, stream, [h for h, _ in shapes], model.config["stride"])
    symbols = sum(h * w for h, w in shapes) * coded
    must(symbols <= 8192 + 1024 * len(stream), "too many symbols for so few bytes")
    stack = Stack(stream[at:], max(1, symbols // lane_symbols))
    decoder = TileDecoder(model, learning)
    found: list[np.ndarray] = []
    for (h, w), split in reversed([*zip(shapes, splits)]):
        found.insert(0, decoder.pop_tile(stack, h, w, split, coded).astype("<u2" if model.levels > 256 else "u1"))
    stack.check_empty(zlib.crc32(b"".join(tile.tobytes() for tile in found)))
    return found


# ------------------------------------------------------------------------------------------------ adapters (13)


def take_style(model: Model, names: Sequence[str], payload: bytes) -> None:
    must("styles" in model.tensors, "a style of a model without any")
    styles = model.tensors["styles"].astype(np.int64)
    must(len(payload) == len(styles) and max(payload) <= styles.shape[1], "a style that there is not")
    total = np.zeros(styles.shape[2], np.int64)
    for stage, number in zip(styles, payload):
        if number:
            total = total + stage[number - 1]
    total, at = np.clip(total, -127, 127), 0
    for name in names:
        layer = model.layers[name]
        bias, at = total[at : at + len(layer.addend)], at + len(layer.addend)
        moved = bias << layer.shift - 1 if layer.shift else bias >> 1
        model.layers[name] = layer._replace(addend=layer.addend + moved)


def adapt(model: Model, payload: bytes) -> None:
    names = [*(f"local.hidden.{i}" for i in range(model.config["layers"])), "local.out"]
    if 0 < len(payload) < 6:
        take_style(model, names, payload)
        return
    records = [tuple(payload[6 * i : 6 * i + 6]) for i in range(len(names))]
    stack = Stack(payload[6 * len(names) :], 1)

    def numbers(height: int, width: int, scale: int) -> np.ndarray:
        found = []
        for _ in range(height * width):
            row = Row(model.tables, [0, 0, scale], [128 * 64], [64], 1, 1, 256)
            symbol, start, freq = row.find(stack.cf(0))
            stack.pop(0, start, freq)
            found.append(symbol - 128)
        return np.array(found, np.int64).reshape(height, width)

    hidden = 0
    for name, (rank, product, unit, *scales) in zip(names, records):
        must(rank <= 64 and 40 <= product <= 72 and 40 <= unit <= 72 and max(scales) < 160, "an impossible adapter")
        layer = model.layers[name]
        inputs, outputs = layer.weight.shape
        left, right, bias = (
            numbers(*shape, scale) for shape, scale in zip([(inputs, rank), (rank, outputs), (1, outputs)], scales)
        )
        two = layer.columns.shape[1] == 2 * outputs
        limit, p = 127 * 128 if two else 127, product - 64
        change = left @ right
        change = change << p if p >= 0 else (change + (1 << (-p - 1))) >> -p
        weight = np.clip(layer.weight + change, -limit, limit)
        zero = np.where(np.arange(inputs) < hidden, -128, 0)
        n = unit - 64 + layer.shift
        moved = bias[0] << n if n >= 0 else bias[0] >> -n
        addend = layer.addend - layer.multiplier * (zero @ (weight - layer.weight)) + moved
        high = (weight + 64) >> 7
        columns = np.concatenate([high, weight - 128 * high], axis=1) if two else weight
        model.layers[name] = make_layer(columns, layer.multiplier, addend, layer.shift)
        hidden = outputs
    stack.check_empty(0)


# ------------------------------------------------------------------------------------------------ all of it


def make_model(group: Group, layout: Layout, weights: Sequence[str | Path]) -> Model:
    """The model of a group, changed by its adapter and for its samples."""
    for path in weights:
        model = Model(path)
        if model.id == group.model_id:
            break
    else:
        raise Damage("the file was made with another model")
    must(model.config["levels"] == (2 if layout.mode == "1" else 256), "a model of other samples")
    must(model.config["channels"] >= group.channels, "a model of fewer channels")
    if group.adapter is not None:
        adapt(model, group.adapter)
    model.scale(group.levels, group.shift)
    must(not group.learning or "learn.out.up" in model.layers, "a group that cannot learn")
    return model


def decode_group(group: Group, layout: Layout, weights: Sequence[str | Path]) -> dict[int, np.ndarray]:
    """The symbols of the samples of a group of planes, of each picture."""
    model = None
    if any(method not in STORED for method, _, _ in group.records):
        model = make_model(group, layout, weights)
    planes = {i: np.zeros((*shape, group.channels), np.int64) for i, shape in group.shapes.items()}
    for (method, differences, stream), pieces in zip(group.records, group.streams):
        if method in STORED:
            tiles = stored(method, stream, [place[2:] for _, place in pieces], group.channels, group.levels)
        else:
            if method == CHAIN:
                pieces = [(i, tile) for i, _ in pieces for tile in tiles_of(group.shapes[i], group.tile_size)]
            assert model is not None
            shapes = [place[2:] for _, place in pieces]
            tiles = pop_tiles(model, method, stream, shapes, group.channels, group.lane_symbols, group.learning)
        for (i, (y, x, h, w)), tile in zip(pieces, tiles):
            symbols = tile[..., : group.channels].astype(np.int64)
            if differences:  # the picture before is done: streams are in the order of the pictures
                symbols = (symbols + planes[i - 1][y : y + h, x : x + w]) % group.levels
            planes[i][y : y + h, x : x + w] = symbols
    return planes


def values_of(group: Group, symbols: np.ndarray, height: int, width: int) -> np.ndarray:
    """What stands in the picture for the symbols of a group."""
    if group.values:
        tables = group.values * (group.channels if len(group.values) == 1 else 1)
        must(all(int(symbols[..., c].max()) < len(table) for c, table in enumerate(tables)), "a number of no value")
        symbols = np.stack([table[symbols[..., c]] for c, table in enumerate(tables)], axis=2)
    sx, sy = group.scale
    return symbols.repeat(sy, axis=0).repeat(sx, axis=1)[:height, :width]


def samples_of(values: np.ndarray, layout: Layout) -> np.ndarray:
    """(H, W, channels) of the type that they were given in."""
    if layout.mode == "1":
        return values.astype(bool)
    if layout.type == "unsigned":
        return values.astype(np.uint8 if layout.levels <= 256 else np.uint16)
    if layout.type in ("int8", "int16"):
        return (values - (128 if layout.type == "int8" else 32768)).astype(layout.type)
    size, flat = BYTES[layout.type], values.reshape(-1, BYTES[layout.type]).tolist()
    top, found = 1 << 8 * size - 1, []
    for row in flat:
        bits = int.from_bytes(bytes(row), "big")
        if layout.type == "int32":
            bits ^= top
        elif layout.type != "uint32":
            bits = bits ^ top if bits & top else bits ^ (2 * top - 1)
        found.append(bits.to_bytes(size, sys.byteorder))
    return np.frombuffer(b"".join(found), layout.type).reshape(*values.shape[:2], -1)


class Picture(NamedTuple):
    pixels: np.ndarray  # (H, W, channels)
    mode: str
    levels: int
    palette: np.ndarray | None
    metadata: dict[str, bytes]


def decode(data: bytes, *weights: str | Path) -> list[Picture]:
    """The pictures of a file; weights: files among which all models are that it needs."""
    file = read_file(data)
    planes: list[list[np.ndarray]] = [[] for _ in file.pictures]
    for group in file.groups:
        for i, symbols in decode_group(group, file.layouts[group.layout], weights).items():
            planes[i].append(values_of(group, symbols, *file.pictures[i][1:]))
    return [
        Picture(samples_of(np.concatenate(parts, axis=2), layout), layout.mode, layout.levels, layout.palette, metadata)
        for parts, layout, metadata in zip(planes, (file.layouts[n] for n, _, _ in file.pictures), file.metadata)
    ]


if __name__ == "__main__":
    for picture in decode(Path(sys.argv[1]).read_bytes(), *sys.argv[2:]):
        print(picture.mode, picture.pixels.shape, hashlib.sha256(picture.pixels.tobytes()).hexdigest())
