"""Fuzzing of the whole decoder: files that are damaged but whose checksums are right.

    python tests/fuzz/files.py --runs 10000 --seed 1 [--minutes M] [--keep DIR]
    python tests/fuzz/sanitized.py tests/fuzz/files.py --runs 10000      # with the core under ASan and UBSan

A run takes a golden file of tests/data, or a small one that the tiny model makes, changes some bytes or numbers, mends
all checksums so that the change reaches the decoder, and decodes what came out on two targets of the core. A finding is

    an exception other than VlaeError, or a CoreError: the core was given what it does not take
    a crash, or a run of more than 5 s, twice
    other pixels, another picture file, or another error, on one target than on the other

Findings are kept in DIR (./findings by default). Some files are decoded in part, previewed, salvaged, or their bits
mapped; recipes of picture files are followed. The limits are 256 x 256 pixels and 64 pictures. A file of a seed and a
number is always the same one.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vlae_codec import Limits, bits_map, compress, compress_many, decompress, preview, salvage
from vlae_codec.api import decompress_pictures
from vlae_codec.coder.streams import encode_tile
from vlae_codec.errors import VlaeError
from vlae_codec.exact import filters, recipe, weave
from vlae_codec.exact import png as png_recipe
from vlae_codec.exact.packing import Writer
from vlae_codec.format import chunks, container, fields
from vlae_codec.format.chunks import pack_varint, read_varint
from vlae_codec.format.container import Metadata, Method, TileRecord, parts_of
from vlae_codec.format.fields import pack_header, unpack_header
from vlae_codec.format.header import MODES, TYPES, Form, Header, Layout, Planes
from vlae_codec.images.metadata import RECIPE
from vlae_codec.images.picture import Picture
from vlae_codec.jpeg.file import split
from vlae_codec.native import library
from vlae_codec.pictures.codec import find_codec, with_adapter
from vlae_codec.pictures.layout import make_source
from vlae_codec.pictures.part import Tiles

DATA = Path(__file__).parent.parent / "data"
MODEL = DATA / "tiny.safetensors"
LIMITS, SLOW = Limits(pixels=256 * 256, pictures=64, memory=1 << 24), 5.0
BATCH = 100  # files that are decoded on one target before the other has its turn
START = container.MAGIC + bytes([container.VERSION])
ODD = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31, 2**32 - 1)


# ---------------------------------------------------------------------------------------------------- first files


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint8: a slope under noise."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + np.array([60, 90, 120])
    return (slope + rng.normal(size=(height, width, 3)) * 2.0 ** rng.integers(0, 6)).clip(0, 255).astype(np.uint8)


def written(
    layout: Layout, width: int, height: int, records: Sequence[TileRecord], payload: bytes | None = None
) -> bytes:
    """The file of a picture of one group of planes."""
    header = Header((layout,), ((1, 0, width, height),))
    (part,) = parts_of(header)
    metadata = [Metadata(0, 1, "icc", b"profile")]
    return container.write(header, [replace(part, records=tuple(records), adapter=payload)], metadata)


def with_tiles(pixels: np.ndarray, tile_size: int, lane_symbols: int, payload: bytes | None = None) -> bytes:
    """The file of RGB pixels in such tiles, perhaps with an adapter."""
    codec = find_codec(MODEL, None, "cpu", "RGB")
    if payload is not None:
        codec = with_adapter(codec, payload)
    planes = Planes(3, 256, codec.model.id, tile_size=tile_size, lane_symbols=lane_symbols)
    layout = Layout("RGB", (planes,), channels=3)
    tiles = Tiles(make_source(layout, planes, 0, {0: pixels}), 3)
    records = [encode_tile(codec, tile, 3, lane_symbols) for tile in tiles]
    return written(layout, pixels.shape[1], pixels.shape[0], records, payload)


def forced(height: int, width: int, latent_rows: int, seed: int) -> bytes:
    """A file whose only tile has latents and an arbitrary stream: most do not end well."""
    codec = find_codec(MODEL, None, "cpu", "RGB")
    words = np.random.default_rng(seed).bytes(4 * height * width)
    stream = latent_rows.to_bytes(2, "little") + words[:4] + b"\1\0\0\0" + words
    layout = Layout("RGB", (Planes(3, 256, codec.model.id),), channels=3)
    return written(layout, width, height, [TileRecord(Method.LATENTS, stream)])


def deep(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint16 of 12 bits."""
    rng = np.random.default_rng(seed)
    return (noise(height, width, seed).astype(np.uint16) << 4) + rng.integers(0, 16, (height, width, 3), np.uint16)


def of_other_kinds() -> list[bytes]:
    """Small files of other kinds than 8 bits of grey or RGB."""
    one, two, rng = noise(12, 10, 11), deep(9, 11, 12), np.random.default_rng(13)
    palette, grey = rng.integers(0, 256, (16, 4), np.uint8), noise(9, 12, 14)[..., 0]
    alpha = np.concatenate([one, 255 - one[..., :1]], axis=2)
    kinds = [
        [Picture(two, levels=4096)],
        [Picture(two[..., 0], levels=4096)],
        [Picture(two[..., 1] * 16)],
        [Picture(grey // 8 * 8)],
        [Picture(grey // 16, mode="P", palette=palette)],
        [Picture(alpha), Picture(np.ascontiguousarray(alpha[::-1]), {"xmp": b"packet"})],
        [Picture(one), Picture(one ^ (np.arange(10) == 4)[:, None].astype(np.uint8)), Picture(one)],
        [Picture(two[..., 0].astype(np.int16) - 99)],
        [Picture(rng.normal(size=(6, 5)).astype(np.float32))],
        [Picture(one.repeat(2, axis=0).repeat(3, axis=1)[:21])],
        [Picture(np.tile(alpha[:4, :4], (6, 6, 1)))],
    ]
    mixed = [Picture(one), Picture(grey), Picture(grey[:5]), Picture(two[..., 0], levels=4096), Picture(grey > 99)]
    files = [compress(pictures, model=MODEL, effort=1) for pictures in kinds]
    return [*files, compress_many(mixed, effort=1, groups=1), compress_many(mixed[:4], model=MODEL, effort=1, groups=2)]


def png(
    pixels: np.ndarray, depth: int, colour: int, kinds: str, level: int, strategy: int = 0, flushed: int = 0
) -> bytes:
    """A PNG file of pixels whose rows have these filters in turn; flushed: how often its stream is."""
    rows = filters.scanlines(pixels.reshape(*pixels.shape[:2], -1), depth, False)
    step = max(1, depth * filters.CHANNELS[colour] // 8)
    plain = filters.apply(rows, np.resize([*map(int, kinds)], len(pixels)).astype(np.uint8), step).tobytes()
    packer, size = zlib.compressobj(level, strategy=strategy), -(-len(plain) // (flushed + 1))
    modes = [zlib.Z_FULL_FLUSH] * flushed + [zlib.Z_FINISH]
    data = b"".join(packer.compress(plain[i * size :][:size]) + packer.flush(mode) for i, mode in enumerate(modes))
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"tEXt", b"Author\0nobody"),
        (b"IDAT", data[:99]),
        (b"IDAT", data[99:]),
        (b"IEND", b""),
    ]
    sealed = [kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts]
    return png_recipe.SIGNATURE + b"".join(struct.pack(">I", len(part) - 8) + part for part in sealed)


@cache
def exact_files() -> tuple[tuple[bytes, Picture], ...]:
    """Small picture files and what they hold."""
    one, two = noise(20, 17, 21), deep(11, 9, 22)
    grey = np.tile(one[:, :5, 0], (2, 7))
    deep_rows = two[..., 0].astype(">u2").tobytes()
    return (
        (png(one, 8, 2, "01234", 6), Picture(one)),
        (png(one, 8, 2, "4", 9, zlib.Z_FILTERED, 3), Picture(one)),
        (png(grey, 8, 0, "0", 1, flushed=2), Picture(grey)),
        (png(grey, 8, 0, "2", 6, zlib.Z_HUFFMAN_ONLY), Picture(grey)),
        (png(grey, 8, 0, "0", 0), Picture(grey)),
        (png(grey >> 7, 1, 0, "0", 6), Picture(grey >> 7, levels=2)),
        (png(two, 16, 2, "0013", 6, zlib.Z_RLE), Picture(two)),
        (b"P5 9 11 65535\n" + deep_rows, Picture(two[..., 0])),
        (b"P6\n# text\n17 20\n255\n" + one.tobytes() + b"end", Picture(one)),
    )


class OddWriter(Writer):
    """Writes a recipe in which some numbers, entries and bytes are others."""

    def __init__(self, rng: random.Random, dictionary: bytes) -> None:
        super().__init__(dictionary)
        self.rng, self.rate = rng, rng.choice((0.01, 0.05, 0.2))

    def number(self, value: int) -> None:
        super().number(self.rng.choice((*ODD, value + 1)) if self.rng.random() < self.rate else value)

    def blob(self, data: bytes) -> None:
        super().blob(changed_bytes(self.rng, data, [data]) if self.rng.random() < self.rate else data)

    def column(self, values: np.ndarray | Sequence[int]) -> None:
        found = np.asarray(values, np.int64)
        if self.rng.random() < 3 * self.rate:
            at = self.rng.randrange(len(found) + 1)
            if self.rng.random() < 0.5:
                found = np.insert(found, at, self.rng.choice(ODD))
            else:
                found = np.append(found[:at], found[at + self.rng.randrange(2) :] + self.rng.randrange(2))
        super().column(found)


def odd_recipe(rng: random.Random) -> bytes:
    """A recipe with odd numbers of one of the small files, or of another than its own."""
    if rng.random() < 0.1:
        return odd_jpeg_recipe(rng)
    file, picture = rng.choice(exact_files())
    out, is_png = OddWriter(rng, png_recipe.dictionary([picture])), file.startswith(png_recipe.SIGNATURE)
    out.data += bytes([recipe.PNG if is_png else recipe.WEAVE]) + zlib.crc32(file).to_bytes(4, "little")
    (png_recipe if is_png else weave).make(out, file, [picture])
    return bytes(out.data)


def odd_jpeg_recipe(rng: random.Random) -> bytes:
    """A recipe of the JPEG file, not packed, in which some bytes are others."""
    file, _ = jpeg_file()
    head = file.index(b"\xff\xda")
    length = 2 + int.from_bytes(file[head + 2 : head + 4], "big")
    text = changed_bytes(rng, b"\xff" + file[: head + length] + b"\xff\xd9", [file])
    places = bytes([1, rng.randrange(99), rng.randrange(99), rng.choice((1, 9, 127))]) if rng.random() < 0.5 else b""
    return bytes([recipe.JPEG]) + zlib.crc32(file).to_bytes(4, "little") + bytes([4 * bool(places)]) + places + text


def with_recipes() -> list[bytes]:
    """The small files compressed so that they come back."""
    found = []
    for file, picture in exact_files():
        made = recipe.make(file, [picture])
        if made is None:
            raise ValueError(f"{file[:30]!r} has no recipe")
        found.append(compress([Picture(picture.pixels, {RECIPE: made}, levels=picture.levels)], model=MODEL, effort=1))
    return found


@cache
def jpeg_file() -> tuple[bytes, Picture]:
    """A small progressive JPEG file, and what it holds."""
    file, known = io.BytesIO(), {"icc": bytes(range(200))}
    smooth = Image.fromarray(noise(5, 4, 31)).resize((30, 37), Image.Resampling.BICUBIC)
    smooth.save(file, "JPEG", quality=85, progressive=True, icc_profile=known["icc"], restart_marker_blocks=2)
    found = split(file.getvalue(), LIMITS)
    if found is None:
        raise ValueError("the JPEG file was not taken apart")
    return file.getvalue(), Picture(np.asarray(Image.open(file)), known).replaced(coefficients=found[0])


def of_jpegs() -> list[bytes]:
    """A JPEG file that comes back, and parts of decoded JPEGs, as their coefficients."""
    file, picture = jpeg_file()
    made = recipe.make(file, [picture])
    if made is None:
        raise ValueError("the JPEG file has no recipe")
    whole = picture.replaced(metadata=picture.metadata | {RECIPE: made})
    colours = np.random.default_rng(32).integers(80, 170, (11, 12, 3), np.uint8)
    smooth = Image.fromarray(colours).resize((110, 96), Image.Resampling.BICUBIC)
    parts = []
    for mode in ("RGB", "L"):
        decoded = io.BytesIO()
        smooth.convert(mode).save(decoded, "JPEG", quality=80)
        parts.append(np.asarray(Image.open(decoded))[5:90, 3:104])
    found = [compress(one, effort=1, origin="jpeg") for one in (whole, *map(Picture, parts))]
    if any(container.read(data).header.layouts[0].origin is None for data in found):
        raise ValueError("a JPEG was not found")
    return found


@cache
def first_files() -> tuple[bytes, ...]:
    """The files that are changed."""
    (adapted,) = container.read((DATA / "adapted.vlae").read_bytes()).parts
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
    bits = Layout("1", (Planes(1, 2),), levels=2)
    files += [written(bits, 13, 3, [TileRecord(Method.RAW, bytes([1, 8, 2, 16, 3, 32]))])]
    grey = Layout("L", (Planes(1, 256, find_codec(MODEL, None, "cpu", "RGB").model.id),))
    files += [written(grey, 13, 3, [TileRecord(Method.LATENTS, b"\1\0" + bytes(40))])]
    return (*files, *of_other_kinds(), *of_jpegs(), *with_recipes())


# ---------------------------------------------------------------------------------------------------- changes


@dataclass
class Parts:
    """A file taken apart; what stands in `others` comes between header and data as it is."""

    fields: bytes
    table: list[tuple[int, bytes]]  # method, and 128 with differences; stream
    others: list[tuple[bytes, bytes]] = field(default_factory=list)  # type and payload
    lies: dict[int, int] = field(default_factory=dict)  # lengths that the table says instead

    @staticmethod
    def of(data: bytes) -> Parts:
        contents = container.read(data)
        found = [(c.kind, data[c.payload : c.end]) for c in chunks.scan(data, container.START)]
        others = [part for part in found if part[0] not in (b"H", b"D")]
        table = [(int(r.method) + container.DIFFERENCES * r.differences, r.data) for r in contents.records]
        return Parts(pack_header(contents.header), table, others)

    def joined(self) -> bytes:
        """The file, all of its checksums right."""
        table = b"".join(
            bytes([method])
            + (pack_varint(self.lies.get(i, len(data))) if i + 1 < len(self.table) else b"")
            + chunks.CRC.pack(zlib.crc32(data))
            for i, (method, data) in enumerate(self.table)
        )
        parts = [chunks.pack(b"H", self.fields + table, before=START)]
        parts += [chunks.pack(kind, payload) for kind, payload in self.others]
        *last, _ = chunks.pack_parts(b"D", [data for _, data in self.table])
        return b"".join([*parts, *last, chunks.CRC.pack(chunks.checksum([*parts, *last]))])


def sealed(data: bytes) -> bytes:
    """The file with all of its checksums right, as far as its chunks can be told."""
    mended, position, table, streams = bytearray(data), container.START, (0, 0), (0, 0)
    places = []
    try:
        while position < len(data):
            start, kind = position, data[position : position + 1]
            length, payload = read_varint(data, position + 1)
            position = payload + length + 4
            if position > len(data):
                break
            places.append((kind, start, payload + length))
            if kind == b"H":
                begin = unpack_header(memoryview(data)[payload : payload + length])[1]
                table = (payload + begin, payload + length)
            if kind == b"D":
                streams = (payload, payload + length)
        at, offset = table[0], streams[0]
        while at < table[1]:
            last = table[1] - at <= 5
            length, after = (streams[1] - offset, at + 1) if last else read_varint(data, at + 1)
            mended[after : after + 4] = chunks.CRC.pack(zlib.crc32(data[offset : offset + length]))
            at, offset = after + 4, offset + length
    except VlaeError:
        pass
    for i, (kind, start, end) in enumerate(places):
        begin = 0 if i == 0 or kind == b"D" else start
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


def change_planes(rng: random.Random, planes: Planes) -> Planes:
    """One field of a group of planes."""
    tables = tuple(
        (rng.choice((1, 2, 3, 5)), Form(2, rng.randbytes(rng.randrange(12)))) for _ in range(rng.choice((0, 1, 3)))
    )
    values: dict[str, Any] = {
        "channels": rng.randrange(1, 5),
        "levels": rng.choice((2, 3, 16, 200, 256, 257, 4096, 65536)),
        "model_id": rng.choice((None, rng.randbytes(8), planes.model_id)),
        "shift": rng.randrange(12),
        "scale": (rng.choice((1, 1, 2, 5)), rng.choice((1, 2, 3, 255))),
        "tile_size": rng.choice((8, 16, 24, 512, 4096, 4104)),
        "lane_symbols": rng.choice((1, 2, 7, 50, 300, 32768, 2**32 - 1)),
        "chains": rng.randrange(4),
        "values": tables,
    }
    name = rng.choice([*values])
    return replace(planes, **{name: values[name]})


def change_layout(rng: random.Random, layout: Layout) -> Layout:
    """One field of a layout, or of a group of its planes."""
    palette = Form(rng.choice((2, 3, 5)), rng.randbytes(rng.randrange(40)))
    values: dict[str, Any] = {
        "mode": rng.choice(MODES),
        "type": rng.choice(TYPES),
        "levels": rng.choice((2, 3, 16, 200, 256, 257, 4096, 65536)),
        "channels": rng.randrange(1, 6),
        "colours": rng.choice((1, 2, 16, 256)),
        "columns": rng.choice((3, 4)),
        "palette": rng.choice((None, palette)),
    }
    if rng.random() < 0.6:
        i = rng.randrange(len(layout.planes))
        groups = [*layout.planes]
        groups[i] = change_planes(rng, groups[i])
        if rng.random() < 0.2:  # levels go together
            return replace(layout, levels=groups[i].levels, planes=tuple(groups))
        return replace(layout, planes=tuple(groups))
    if layout.origin is not None:
        data = changed_bytes(rng, layout.origin.data, [layout.origin.data])
        values["origin"] = rng.choice((None, replace(layout.origin, data=data), replace(layout.origin, data=data)))
    name = rng.choice([*values])
    return replace(layout, **{name: values[name]})


def change_header(rng: random.Random, parts: Parts) -> None:
    """Fields of the header, or its bytes; sizes stay small ones."""
    try:
        header = unpack_header(memoryview(parts.fields))[0]
    except VlaeError:
        return
    if rng.random() < 0.2:
        parts.fields = changed_bytes(rng, parts.fields, [parts.fields])
        return
    layouts, runs = [*header.layouts], [*header.runs]
    i, j = rng.randrange(len(layouts)), rng.randrange(len(runs))
    kind = rng.randrange(5)
    if kind == 0:
        run = [*runs[j]]
        at = rng.randrange(4)
        run[at] = rng.choice((run[at] + 1, max(0, run[at] - 1), rng.randrange(80), rng.choice(ODD)))
        runs[j] = (run[0], run[1], run[2], run[3])
    elif kind == 1:
        runs.insert(j, rng.choice(runs))
    else:
        layouts[i] = change_layout(rng, layouts[i])
    try:
        parts.fields = fields._pack(Header(tuple(layouts), tuple(runs)))  # also one that no reader takes
    except (ValueError, IndexError, OverflowError):  # it cannot be written at all
        parts.fields = changed_bytes(rng, parts.fields, [parts.fields])


def change_table(rng: random.Random, parts: Parts) -> None:
    """A record's method or length, or the records' number or order."""
    i = rng.randrange(len(parts.table))
    method, stream = parts.table[i]
    kind = rng.randrange(6)
    if kind == 0:
        parts.table[i] = (rng.choice((rng.randrange(9), method ^ 128)), stream)
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
    """A chunk between header and data: an adapter, metadata."""
    if rng.random() < 0.1 or not parts.others:
        kind = rng.choice((b"A", b"m", b"i", b"Q", b"q", b"H", b"E"))
        begin = bytes([rng.randrange(2)]) if kind == b"A" else b"\0\1\1x" if kind == b"m" else b""
        parts.others.insert(0, (kind, begin + rng.choice(streams)[: rng.randrange(40)]))
        return
    i = rng.randrange(len(parts.others))
    kind, payload = parts.others[i]
    payload = changed_bytes(rng, payload, streams)
    parts.others[i] = (kind, payload)


def change_recipe(rng: random.Random, parts: Parts) -> None:
    """The recipe of the first picture."""
    name = b"\0\1" + bytes([len(RECIPE)]) + RECIPE.encode()
    parts.others = [(kind, payload) for kind, payload in parts.others if not payload.startswith(name)]
    parts.others.append((b"m", name + odd_recipe(rng)))


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
    if any(RECIPE.encode() in payload[:8] for _, payload in parts.others):
        changes += [lambda: change_recipe(rng, parts)] * 5
    for _ in range(1 + int(rng.expovariate(1.5))):
        rng.choice(changes)()
    return parts.joined()


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
    options: dict[str, Any] = {"model": MODEL, "threads": 1, "limits": LIMITS}
    try:
        if number % 8 == 7:  # a region
            x, y, w, h = number // 8 % 5, number // 40 % 5, 1 + number // 200 % 9, 1 + number // 1800 % 9
            found = [decompress(data, region=(x, y, w, h), **options)]
        elif number % 16 == 3:
            found = preview(data, **options).pictures
        elif number % 16 == 11:
            found = list(bits_map(data, **options)[:2])
        elif number % 16 == 5:
            pictures, holes, lost = salvage(data, **options)
            found = [picture.pixels for picture in pictures]
            digest = zlib.crc32(repr((holes, lost)).encode())
        else:
            pictures = decompress_pictures(data, **options)
            found = [picture.pixels for picture in pictures]
            if (made := pictures[0].metadata.get(RECIPE)) is not None:
                digest = zlib.crc32(recipe.restore(pictures, made, LIMITS))
        for pixels in found:
            digest = zlib.crc32(repr((pixels.shape, pixels.dtype.str)).encode() + pixels.tobytes(), digest)
    except Exception as error:
        name, text = type(error).__name__, str(error)
        if not isinstance(error, VlaeError) or isinstance(error, library.CoreError):
            name = f"finding {name}"
    return Result(name, digest, time.perf_counter() - begin, text)


class Tally:
    """What came of all files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.findings = folder, 0, 0
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
    results: dict[int, list[Result]] = {number: [] for number in files}
    for target in targets:
        library.use(target)
        for number, data in files.items():
            if current is not None:
                current.write_bytes(data)
            results[number].append(decode(data, number))
    for number, found in results.items():
        tally.files += 1
        tally.results[found[0].name] += 1
        tally.slowest = max(tally.slowest, *(result.seconds for result in found))
        name = f"{seed}-{number}"
        if len({result.kind for result in found}) > 1:
            tally.keep(files[number], f"{dict(zip(targets, (result[:2] for result in found)))}", name)
        for result in found:
            if result.name.startswith("finding"):
                tally.keep(files[number], f"{result.name}: {result.text}", name)
                break
            if result.seconds > SLOW and decode(files[number], number).seconds > SLOW:
                tally.keep(files[number], f"it takes {result.seconds:.1f} s", name)
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
        print(f"{tally.files} files in {seconds:.0f} s, the slowest {tally.slowest:.2f} s")
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
