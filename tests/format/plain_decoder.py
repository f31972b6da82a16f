"""A decoder of .vlae files written from docs/format.md alone: it uses nothing of the package, and takes its time.

    python tests/format/plain_decoder.py FILE.vlae WEIGHTS.safetensors

Section numbers in comments are those of that page. It shows that the page is complete and right; for anything else the
package is 100 times as fast.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NO_LATENTS, LATENTS, RAW, LZMA, CHAIN = range(5)
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


class File(NamedTuple):
    model_id: bytes
    mode: int  # 0 grey, 1 RGB, 2 bilevel
    tile_size: int
    lane_symbols: int
    sizes: list[tuple[int, int]]  # (height, width) of each picture
    groups: int | None
    records: list[tuple[int, bytes]]  # (method, stream)
    adapter: bytes | None


def read_file(data: bytes) -> File:
    must(len(data) > 33 and data[:8] == b"\xf6VLAE\r\n\x1a" and data[8] == 1, "not a .vlae file of version 1")
    model_id, width, height, mode, depth, tile_size, lane_symbols = struct.unpack_from("<8sIIBBHI", data, 9)
    must((mode, depth) in ((0, 8), (1, 8), (2, 1)) and width > 0 and height > 0, "an impossible header")
    must(8 <= tile_size <= 2048 and tile_size % 8 == 0 and lane_symbols > 0, "an impossible header")
    chunks: dict[str, bytes] = {}
    at, kind = 33, ""
    while kind != "E":
        start, kind = at, chr(data[at])
        length, at = varint(data, at + 1)
        payload, at = data[at : at + length], at + length
        must(at + 4 <= len(data), "the file ends early")
        covered = data[0 if not chunks or kind == "E" else start : at]
        must(struct.unpack_from("<I", data, at)[0] == zlib.crc32(covered), f"the checksum of chunk {kind}")
        at += 4
        must(kind in "TPADE" or kind.islower(), f"an unknown critical chunk {kind}")
        must(bool(chunks) == (kind != "T"), "the first chunk is the tile table")
        if kind.islower():  # the pixels do not depend on it
            continue
        must(kind not in chunks, f"two chunks {kind}")
        must(kind not in "PA" or "D" not in chunks, f"chunk {kind} comes before the data")
        chunks[kind] = payload
    must(at == len(data) and "D" in chunks and not chunks["E"], "chunks are missing or too many")

    sizes, groups = [(height, width)], None
    if "P" in chunks:
        groups, at = varint(chunks["P"], 0)
        sizes = []
        while at < len(chunks["P"]):
            count, at = varint(chunks["P"], at)
            wide, at = varint(chunks["P"], at)
            high, at = varint(chunks["P"], at)
            sizes += [(high, wide)] * count
        must(sizes[0] == (height, width) and 1 <= groups <= len(sizes), "an impossible table of pictures")

    records, at, offset = [], 0, 0
    for _ in range(-(-height // tile_size) * -(-width // tile_size) if groups is None else groups):
        method = chunks["T"][at]
        length, at = varint(chunks["T"], at + 1)
        stream, offset = chunks["D"][offset : offset + length], offset + length
        must(len(stream) == length, "a stream that does not fit the data")
        must(struct.unpack_from("<I", chunks["T"], at)[0] == zlib.crc32(stream), "the checksum of a stream")
        must(method in ((0, 1, 2, 3) if groups is None else (2, 3, 4)), "a method that does not fit")
        records.append((method, stream))
        at += 4
    must(at == len(chunks["T"]) and offset == len(chunks["D"]), "a tile table that does not fit the data")
    return File(model_id, mode, tile_size, lane_symbols, sizes, groups, records, chunks.get("A"))


def tiles_of(shape: tuple[int, int], size: int) -> list[tuple[int, int, int, int]]:
    """(row, column, height, width) of each tile."""
    height, width = shape
    return [
        (y, x, min(size, height - y), min(size, width - x))
        for y in range(0, height, size)
        for x in range(0, width, size)
    ]


# ------------------------------------------------------------------------------------------------ stored tiles (3)


def stored(method: int, stream: bytes, shapes: Sequence[tuple[int, int]], mode: int) -> list[np.ndarray]:
    """The pixels of each picture, (h, w, channels)."""
    channels = 3 if mode == 1 else 1
    widths = [-(-w // 8) if mode == 2 else w * channels for _, w in shapes]
    raw = stream
    if method == LZMA:
        must(stream[:1] in (b"\0", b"\1"), "an unknown filter")
        filters: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
        raw = lzma.decompress(stream[1:], lzma.FORMAT_RAW, filters=filters)
        if stream[0] == 1:
            flat = np.frombuffer(raw, np.uint8).reshape(-1, channels)
            raw = flat.cumsum(0, dtype=np.uint8).tobytes()
    must(len(raw) == sum(h * wide for (h, _), wide in zip(shapes, widths)), "a stored stream of a wrong length")
    found, at = [], 0
    for (h, w), wide in zip(shapes, widths):
        part = np.frombuffer(raw, np.uint8, h * wide, at).reshape(h, wide)
        at += h * wide
        if mode == 2:
            bits = np.unpackbits(part, axis=1)
            must(not bits[:, w:].any(), "bits behind a row")
            part = bits[:, :w]
        found.append(part.reshape(h, w, channels))
    return found


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
        self.stretch = {256: 0, 2: 6}[self.config["levels"]]

    def layer(self, name: str) -> Layer:
        weight, multiplier, addend, shift = (
            self.tensors[f"{name}.{part}"] for part in ("weight", "multiplier", "addend", "shift")
        )
        return make_layer(weight, multiplier, addend, int(shift[0]))

    def hidden(self, name: str, rows: np.ndarray) -> np.ndarray:
        return np.clip(self.layers[name].run(rows.astype(np.int64)), -128, 127)

    def out(self, name: str, rows: np.ndarray, limits: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """limits: (how many, low, high) of the outputs, in order."""
        low, high = (np.repeat([limit[i] for limit in limits], [limit[0] for limit in limits]) for i in (1, 2))
        return np.clip(self.layers[name].run(rows.astype(np.int64)), low, high)

    def chain(self, name: str, count: int, rows: np.ndarray, limits: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """A network with a skip."""
        hidden = rows
        for i in range(count):
            hidden = self.hidden(f"{name}.hidden.{i}", hidden)
        return self.out(f"{name}.out", np.concatenate([hidden, rows], axis=1), limits)


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
    ) -> None:
        self.t, self.levels, self.offsets, self.outers = tables, levels, offsets, outers
        k, kc = mixtures, mixtures * channels
        logits, rest = params[:k], params[k:]
        self.locations = [rest[i * channels : (i + 1) * channels] for i in range(k)]
        self.scales = [rest[kc + i * channels : kc + (i + 1) * channels] for i in range(k)]
        pairs = (len(params) - k - 2 * kc) // k
        self.coefficients = [rest[2 * kc + i * pairs : 2 * kc + (i + 1) * pairs] for i in range(k)]
        self.e = [tables["exp"][min(max(logits) - logit, 511)] for logit in logits]
        self.u: list[int] = []
        self.next_channel()

    def next_channel(self) -> None:
        c = len(self.u)
        outer = self.outers[c]
        self.mean, self.inverse = [], []
        for locations, scales, coefficients in zip(self.locations, self.scales, self.coefficients):
            first = c * (c - 1) // 2
            moved = sum(a * b for a, b in zip(coefficients[first:], self.u)) >> 8
            self.mean.append(self.offsets[c] + ((locations[c] + moved) * self.t["outer_scale"][outer] >> 16))
            self.inverse.append(self.t["inverse"][min(max(scales[c] + outer - 64, 0), 159)])
        self.factor = ((WHOLE - self.levels) << 18) // sum(self.e)

    def sigmoids(self, x: int) -> list[int]:
        """Of each component, at the lower edge of x."""
        if x == 0:
            return [0] * len(self.e)
        if x == self.levels:
            return [1 << 20] * len(self.e)
        edge, table = 64 * x - 32, self.t["sigmoid"]
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
        c, above = len(self.u), self.sigmoids(symbol + 1)
        products = [e * (b - a) for e, a, b in zip(self.e, self.sigmoids(symbol), above)]
        shift = max(0, max(products).bit_length() - 12)
        if max(products) > 0:
            self.e = [max(1, product >> shift) for product in products]
        self.u.append((64 * symbol - self.offsets[c]) * self.t["outer_inverse"][self.outers[c]] >> 16)
        if len(self.u) < len(self.offsets):
            self.next_channel()


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
    def __init__(self, model: Model) -> None:
        self.model, self.c = model, model.config
        self.z = self.c["latents"]

    def row(self, params: Any, offsets: Any, outers: Any, mixtures: int, channels: int, levels: int) -> Row:
        params, offsets, outers = (np.asarray(part).tolist() for part in (params, offsets, outers))
        return Row(self.model.tables, params, offsets, outers, mixtures, channels, levels)

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
        x = np.pad(band << self.model.stretch, ((0, 0), (0, -band.shape[1] % stride), (0, 0)), mode="edge")
        h, w, _ = x.shape
        a, size = hidden("encoder.stem", patches(x - 128, 4)), 4
        while size < stride:
            name = f"encoder.down.{(size // 4).bit_length() - 1}"
            a = hidden(name, patches(a.reshape(h // size, w // size, -1), 2))
            size *= 2
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
        c, width, stretch = self.c, tile.shape[1], self.model.stretch
        channels, window = c["channels"], window_of(c["window"])
        limits = row_limits(c["mixtures"], channels, True)
        before = 0
        for wave in waves(last - first, width, c["window"][0] // 2 + 1):
            positions = [(first + r, s) for r, s in wave]
            if not positions:
                continue
            inputs, references = [], []
            for r, s in positions:
                reference = self.reference(tile << stretch, r, s)
                differences = [
                    np.clip((tile[r + i, s + j] << stretch) - reference, -128, 127)
                    if r + i >= 0 and 0 <= s + j < width
                    else np.zeros(channels, np.int64)
                    for i, j in window
                ]
                inputs.append(np.concatenate([*differences, reference - 128, features(r, s)]))
                references.append(reference)
            out = self.model.chain("local", c["layers"], np.array(inputs), limits)
            rows = [
                self.row(params, (64 * reference) >> stretch, [64] * channels, c["mixtures"], channels, c["levels"])
                for params, reference in zip(out, references)
            ]
            for (r, s), symbols in zip(positions, pop_wave(stack, rows, coded, before)):
                tile[r, s] = symbols if coded == channels else symbols[0]
            before += len(positions)

    @staticmethod
    def reference(x: np.ndarray, r: int, s: int) -> np.ndarray:
        if r and s:
            left, up, corner = x[r, s - 1], x[r - 1, s], x[r - 1, s - 1]
            return np.clip(left + up - corner, np.minimum(left, up), np.maximum(left, up))
        return x[r - 1, s] if r else x[r, s - 1] if s else np.full(x.shape[2], 128)


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
    model: Model, method: int, stream: bytes, shapes: Sequence[tuple[int, int]], coded: int, lane_symbols: int
) -> list[np.ndarray]:
    """The tiles of a stream."""
    splits, at = splits_of(method, stream, [h for h, _ in shapes], model.config["stride"])
    symbols = sum(h * w for h, w in shapes) * coded
    must(symbols <= 8192 + 1024 * len(stream), "too many symbols for so few bytes")
    stack = Stack(stream[at:], max(1, symbols // lane_symbols))
    decoder = TileDecoder(model)
    found: list[np.ndarray] = []
    for (h, w), split in reversed([*zip(shapes, splits)]):
        found.insert(0, decoder.pop_tile(stack, h, w, split, coded).astype(np.uint8))
    stack.check_empty(zlib.crc32(b"".join(tile.tobytes() for tile in found)))
    return found


# ------------------------------------------------------------------------------------------------ adapters (13)


def adapt(model: Model, payload: bytes) -> None:
    names = [*(f"local.hidden.{i}" for i in range(model.config["layers"])), "local.out"]
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


def decode(data: bytes, weights: str | Path) -> list[np.ndarray]:
    """The pictures of a file, (H, W, channels) uint8."""
    file = read_file(data)
    coded = 3 if file.mode == 1 else 1
    model = None
    if any(method not in (RAW, LZMA) for method, _ in file.records):
        model = Model(weights)
        must(model.id == file.model_id, "the file was made with another model")
        if file.adapter is not None:
            adapt(model, file.adapter)
    pictures = [np.zeros((*size, coded), np.uint8) for size in file.sizes]
    if file.groups is None:
        parts: Iterable[Any] = [[(0, tile)] for tile in tiles_of(file.sizes[0], file.tile_size)]
    else:
        members = [range(g, len(pictures), file.groups) for g in range(file.groups)]
        parts = [[(i, (0, 0, *file.sizes[i])) for i in group] for group in members]
    for (method, stream), part in zip(file.records, parts):
        if method in (RAW, LZMA):
            tiles = stored(method, stream, [place[2:] for _, place in part], file.mode)
        else:
            if method == CHAIN:
                part = [(i, tile) for i, _ in part for tile in tiles_of(file.sizes[i], file.tile_size)]
            assert model is not None
            tiles = pop_tiles(model, method, stream, [place[2:] for _, place in part], coded, file.lane_symbols)
        for (i, (y, x, h, w)), tile in zip(part, tiles):
            pictures[i][y : y + h, x : x + w] = tile[..., :coded]
    return pictures


if __name__ == "__main__":
    for picture in decode(Path(sys.argv[1]).read_bytes(), sys.argv[2]):
        print(picture.shape, hashlib.sha256(picture.tobytes()).hexdigest())
