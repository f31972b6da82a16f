"""The .vlae file, format version 2: the layout of the file. The whole specification, assembled in docs/format.md, is

    format/container.py     chunks, records and what they may hold; checksums
    format/header.py        the fields of chunk H: pictures, layouts, groups of planes, tables of values
    format/stored.py        streams without a model
    format/streams.py       streams of a model, of which ...
    native/mixture.py       ... the distributions, and docs/format.md the message, networks, latents and pixels
    weights/safetensors.py, weights/schema.py                           files of models
    adapter/chunk.py        changes of a model for the pictures of a file
    images/metadata.py      names of metadata
    origins/origin.py, origins/conversions.py       what pictures were before they were RGB
    native/residual.py, native/jpeg.py              streams of exceptions and of a JPEG's coefficients
    jpeg/parameters.py, jpeg/file.py                what a JPEG needs beside its coefficients
    format/thumbnails.py    a small lossy picture

All numbers are little-endian. ``u8 u16 u32`` are unsigned; ``varint`` is an unsigned LEB128 number (7 bits a byte,
lowest first, bit 7 set on all bytes but the last), MUST be in its shortest form and below 2**63. CRC32 is the one of
zlib and PNG (polynomial 0xEDB88320, initial value and final XOR 0xFFFFFFFF).

    file   = magic, version, chunk H, { other chunks }, chunk D                     nothing MUST follow chunk D

    offset bytes field
       0     8   magic          F6 56 4C 41 45 0D 0A 1A: a byte no text has, "VLAE", CR LF, Ctrl-Z
       8     1   version     u8 2; a reader MUST refuse any other before it looks at anything else
       9         first chunk

    chunk  = type u8, length varint, payload (length bytes), CRC32 u32

The CRC32 of a chunk covers its type, length and payload; that of the first chunk and that of chunk D cover all bytes of
the file before them, so that the last 4 bytes of a file check the whole. A type is an ASCII letter: upper case is
critical (a reader that does not know it MUST refuse the file), lower case is ancillary (a reader MUST skip it if it
does not know it; the pixels do not depend on it). Any other byte is damage.

    type  times  payload
    H     1      header, see header.py, and records; MUST be the first chunk. One record per stream:
                     method  u8      0 model, all of the tile without latents, see streams.py
                                     1 model, bands A and B with latents (bits-back), see streams.py
                                     2 raw samples, see stored.py
                                     3 LZMA, see stored.py
                                     4 model, a group of pictures through one stack, see streams.py
                                     5 lossless WebP, see stored.py
                                     6 exceptions, see native/residual.py
                                     7 coefficients of a JPEG, see native/jpeg.py
                                     plus 128, with 2, 3 and 5 only: the stream holds differences, see below
                     length  varint  bytes of the stream; not in the last record, whose stream ends with the data
                     crc     u32     CRC32 of the stream
                 The streams of the first layout's groups of planes come first, group by group, then those of the next.
                 Those of a group without chains are its tiles: of each picture of the layout, in the order of the file,
                 the tiles of the group's samples row by row from the top left. Those of a group with chains are as many
                 as it has chains: if N pictures are in G chains, chain g holds the pictures g, g + G, g + 2 G, ...
                 below N, in this order. Methods 4, 2 and 3 MAY stand in a group with chains, 0, 1, 2, 3 and 5 in one
                 without; 0, 1 and 4 only where the group has a model; 6 and 7 only in groups of exceptions and of
                 coefficients, and nothing else there. So that reading a file costs no more than in proportion to its
                 length, a stream of n bytes of other methods than 6 MUST NOT hold more than 64 n tiles nor, of methods
                 0, 1 and 4, more than 8192 + 1024 n coded symbols.
    A     any    adapter: number of the group of planes, varint, counted over all layouts and rising from chunk to
                 chunk; then integers that change the model's weights for all streams of this group, see
                 adapter/chunk.py. The group MUST have a model, and if one of its streams needs it, a reader MUST
                 refuse an adapter that does not fit it or breaks its bounds.
    m     any    metadata: first varint and count varint, 1 or more, of the pictures that it belongs to; u8 length of
                 its name, 1 or more; the name, UTF-8; raw bytes, 1 or more. Of one name, chunks MUST come in the order
                 of their pictures, and no picture MUST have two.
    t     any    a thumbnail, see thumbnails.py
    D     1      the streams one after another in the order of their records, with no gaps; MUST be the last chunk

A reader MUST limit the number of pictures, their pixels and bytes, the tiles of all groups, the entries of all tables
of values and the names of all pictures before it allocates (`Limits`). Tiles at the right and bottom edge are cut to
the picture. Each stream is coded on its own, so a reader may decode one from header and stream alone, and damage in one
leaves the others good. A reader of a part need not verify the checksums of the other streams and of chunk D.

A tile of differences holds each symbol less that of the same place in the picture before it in the file (of which it
may be a difference, too), modulo the group's levels. It MUST NOT stand in the file's first picture, nor where the
picture before has another layout or size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from operator import index as as_integer

from vlae_codec.errors import (
    CorruptFile,
    InputError,
    NotAVlaeFile,
    TruncatedFile,
    UnsupportedVersion,
)
from vlae_codec.format.chunks import (
    CRC,
    DAMAGED,
    Chunk,
    beginning,
    checksum,
    pack,
    pack_parts,
    pack_varint,
    read_varint,
    scan,
    scan_damaged,
)
from vlae_codec.format.fields import NEWER, Reader, pack_header, unpack_header
from vlae_codec.format.header import Header, Kind, Layout, Planes, check_header
from vlae_codec.limits import DEFAULT, Limits

MAGIC = b"\xf6VLAE\r\n\x1a"
VERSION = 2
START = len(MAGIC) + 1
HEAD_BYTES = 1 << 16  # of a file, in which the header of nearly every file ends (`read_header` says if not)
TILES_PER_BYTE = 64  # of a file's streams, at most
SPARE_SYMBOLS, SYMBOLS_PER_BYTE = 8192, 1024  # of a model-coded stream, at most
PICTURE_BYTES = 1 << 9  # of each picture or tile in memory beside its pixels (`python -m bench.limits`)
METADATA_BYTES = 64  # of each picture in memory for each name that it has
ENTRY_BYTES = 16  # of each entry of a table of values in memory
UNIT = 32  # pixels, the most that a JPEG begins before a picture that is a part of it
ENLARGED = 4  # pixels around one in which lie all samples of halved chroma that it is made of
WEBP_BYTES = 28  # of each pixel of a WebP tile in memory while it is decoded
DIFFERENCES = 128  # added to a method

Bytes = bytes | bytearray | memoryview
Place = tuple[int, int, int, int]  # y, x, h, w of a tile in its group of planes, samples
Piece = tuple[int, Place]  # number of a picture, and a part of it
Region = tuple[int, int, int, int]  # x, y, w, h of a part of a picture, pixels
Fetch = Callable[[int, int], bytes]  # (offset, size) -> so many bytes of a file


class Method(IntEnum):
    """How the stream of a tile or a chain is coded."""

    NO_LATENTS = 0
    LATENTS = 1
    RAW = 2
    LZMA = 3
    CHAIN = 4
    WEBP = 5
    EXCEPTIONS = 6
    COEFFICIENTS = 7


STORED = (Method.RAW, Method.LZMA, Method.WEBP)
CODED = (Method.NO_LATENTS, Method.LATENTS, Method.CHAIN)


@dataclass(frozen=True)
class TileRecord:
    """One tile, or one chain of pictures, as it stands in the file."""

    method: int
    data: bytes
    differences: bool = False
    wrong: str = ""  # why there are no data: the stream is damaged

    @property
    def stored(self) -> bool:
        return self.method in STORED and not self.wrong

    @property
    def coded(self) -> bool:
        """Whether it takes a model to decode it."""
        return self.method in CODED and not self.wrong


@dataclass(frozen=True)
class Metadata:
    """What `count` pictures from `first` on have under one name."""

    first: int
    count: int
    name: str
    value: bytes


@dataclass(frozen=True)
class Part:
    """A group of planes of all pictures of a layout."""

    layout: Layout
    planes: Planes
    channel: int  # the first
    pictures: tuple[tuple[int, int, int], ...]  # (number in the file, width, height) of samples, each
    region: Region | None = None  # of the samples of its only picture
    records: tuple[TileRecord, ...] = ()  # in the order of `pieces`
    adapter: bytes | None = None  # payload (`vlae_codec.adapter`)

    @cached_property
    def pieces(self) -> list[list[Piece]]:
        """What the stream of each record holds: a tile of a picture, or the whole pictures of a chain."""
        if chains := self.planes.chains:
            return [[(i, (0, 0, h, w)) for i, w, h in self.pictures[chain::chains]] for chain in range(chains)]
        size, region = self.planes.tile_size, self.region
        return [[(i, place)] for i, width, height in self.pictures for place in tile_grid(width, height, size, region)]

    @property
    def tile_count(self) -> int:
        """All tiles, also of chains."""
        return sum(tiles_in(width, height, self.planes.tile_size) for _, width, height in self.pictures)

    @property
    def record_count(self) -> int:
        return self.planes.chains or self.tile_count

    @property
    def model_needed(self) -> bool:
        return any(record.coded for record in self.records)

    @property
    def model_pixels(self) -> int:
        """The pixels that the model decodes: known before anything is decoded, and with them what it will cost."""
        each = zip(self.records, self.pieces)
        return sum(h * w for record, pieces in each if record.coded for _, (_, _, h, w) in pieces)

    def name(self, index: int) -> str:
        """Of a record, for messages."""
        if self.planes.chains:
            return f"group {index}" + (f" of channel {self.channel}" if self.channel else "")
        ((picture, (y, x, _, _)),) = self.pieces[index]
        width = next(width for i, width, _ in self.pictures if i == picture)
        of = (f" of picture {picture}" if picture else "") + (f" of channel {self.channel}" if self.channel else "")
        number = tile_number(y, x, width, self.planes.tile_size)
        return f"tile {number}{of} (top left pixel x={x * self.planes.scale[0]}, y={y * self.planes.scale[1]})"


@dataclass(frozen=True)
class Contents:
    """A whole file, or what a region of its picture needs; every checksum and count of it was found good."""

    header: Header
    parts: tuple[Part, ...]
    metadata: tuple[Metadata, ...] = ()
    region: Region | None = None  # None: the whole picture

    def sizes(self) -> list[tuple[int, int]]:
        """The (width, height) of each picture."""
        return [(width, height) for _, width, height in self.header.pictures()]

    def metadata_of(self, picture: int) -> dict[str, bytes]:
        return {one.name: one.value for one in self.metadata if one.first <= picture < one.first + one.count}

    def metadata_by_picture(self) -> list[dict[str, bytes]]:
        """`metadata_of` each picture."""
        found: list[dict[str, bytes]] = [{} for _ in range(self.header.count)]
        for one in self.metadata:
            for picture in range(one.first, one.first + one.count):
                found[picture][one.name] = one.value
        return found

    @property
    def records(self) -> list[TileRecord]:
        """Of all parts."""
        return [record for part in self.parts for record in part.records]

    @property
    def model_pixels(self) -> int:
        return sum(part.model_pixels for part in self.parts)


def parts_of(header: Header, region: Region | None = None) -> list[Part]:
    """The groups of planes of a file, without their records."""
    pictures: list[list[tuple[int, int, int]]] = [[] for _ in header.layouts]
    for number, (layout, width, height) in enumerate(header.pictures()):
        pictures[layout].append((number, width, height))
    return [
        Part(
            header.layouts[layout],
            planes,
            channel,
            tuple((number, *planes.size(width, height)) for number, width, height in pictures[layout]),
            None
            if region is None
            else _samples_of(region, header.layouts[layout], planes, header.width, header.height),
        )
        for layout, channel, planes in header.parts
    ]


def _samples_of(region: Region, layout: Layout, planes: Planes, width: int, height: int) -> Region:
    """The samples of a group of planes that a region of the only picture of a file needs."""
    if planes.kind not in (Kind.SOURCE, Kind.COEFFICIENTS):
        (x, y, w, h), (sx, sy) = region, planes.scale
        left, top = x // sx, y // sy
        return left, top, -(-(x + w) // sx) - left, -(-(y + h) // sy) - top
    around = UNIT + ENLARGED if planes.kind == Kind.COEFFICIENTS else ENLARGED
    wanted = _grown(rebuilt_region(region, layout, width, height), around, width, height)
    chroma = layout.planes[1]
    if planes.kind == Kind.COEFFICIENTS or chroma.kind != Kind.SOURCE:
        return wanted
    columns, rows = chroma.size(width, height)  # chroma is decoded by tiles, each of which needs the luma beside it
    (hx, hy), (dx, dy) = chroma.halved, chroma.shifted
    x, y, w, h = wanted
    column, row = min(max(0, (x - dx) // hx), columns - 1), min(max(0, (y - dy) // hy), rows - 1)
    inside = column, row, min((w - 1) // hx + 1, columns - column), min((h - 1) // hy + 1, rows - row)
    left, top, wide, high = _whole_tiles(_grown(inside, 1, columns, rows), chroma.tile_size, columns, rows)
    if planes is not layout.planes[0]:
        return left, top, wide, high
    first, upper = min(max(0, hx * left + dx), width - 1), min(max(0, hy * top + dy), height - 1)
    right, lower = min(width, hx * (left + wide) + dx), min(height, hy * (top + high) + dy)
    beside = first, upper, max(1, right - first), max(1, lower - upper)
    return _grown(beside, ENLARGED, width, height)


def rebuilt_region(region: Region, layout: Layout, width: int, height: int) -> Region:
    """What is rebuilt of a picture for a region of it: whole tiles, for exceptions are coded by these."""
    (exceptions,) = (planes for planes in layout.planes if planes.kind == Kind.EXCEPTIONS)
    return _whole_tiles(region, exceptions.tile_size, width, height)


def _whole_tiles(region: Region, size: int, width: int, height: int) -> Region:
    x, y, w, h = region
    left, top = x // size * size, y // size * size
    return left, top, min(width, -(-(x + w) // size) * size) - left, min(height, -(-(y + h) // size) * size) - top


def _grown(region: Region, by: int, width: int, height: int) -> Region:
    """A region and so many pixels around it, as far as they are in the picture."""
    x, y, w, h = region
    left, top = max(0, x - by), max(0, y - by)
    return left, top, min(width, x + w + by) - left, min(height, y + h + by) - top


def tiles_in(width: int, height: int, tile_size: int) -> int:
    """The number of tiles of a picture."""
    return -(-width // tile_size) * -(-height // tile_size)


def tile_number(y: int, x: int, width: int, tile_size: int) -> int:
    """The number of the tile of a picture that a place is in."""
    return y // tile_size * -(-width // tile_size) + x // tile_size


def tiles_of(parts: Sequence[Piece], tile_size: int) -> list[Piece]:
    """The tiles of a stream's pieces, in the order in which they are coded."""
    return [
        (i, (y + r, x + c, h, w)) for i, (y, x, high, wide) in parts for r, c, h, w in tile_grid(wide, high, tile_size)
    ]


def sparse(method: int, size: int, planes: Planes, pieces: Sequence[Piece]) -> bool:
    """Whether a stream of so many bytes has too few of them for these pieces to stand in a file."""
    if method == Method.EXCEPTIONS:
        return False
    if sum(tiles_in(w, h, planes.tile_size) for _, (_, _, h, w) in pieces) > TILES_PER_BYTE * size:
        return True
    symbols = sum(h * w for _, (_, _, h, w) in pieces) * planes.channels
    return method in CODED and symbols > SPARE_SYMBOLS + SYMBOLS_PER_BYTE * size


def lanes_for(symbols: int, lane_symbols: int) -> int:
    """The number of ANS lanes of a stream of ``symbols`` symbols."""
    return max(1, symbols // lane_symbols)


def tile_grid(width: int, height: int, tile_size: int, region: Region | None = None) -> list[Place]:
    """The tiles of a picture, or those that a region of it touches, row by row from the top left."""
    x, y, w, h = region or (0, 0, width, height)
    return [
        (top, left, min(tile_size, height - top), min(tile_size, width - left))
        for top in range(y // tile_size * tile_size, y + h, tile_size)
        for left in range(x // tile_size * tile_size, x + w, tile_size)
    ]


def comparable(header: Header) -> list[bool]:
    """Of each picture, whether it may hold differences: the one before it has its layout and size."""
    pictures = list(header.pictures())
    return [False, *(one == other for one, other in pairwise(pictures))]


# Writing


def write(header: Header, parts: Sequence[Part], metadata: Iterable[Metadata] = ()) -> bytes:
    """The file of these pictures; parts: `parts_of` the header, with records and adapters.

    The same arguments give the same bytes on every machine. Raises ValueError for arguments that no file can hold.
    """
    check_header(header, ValueError)
    records: list[TileRecord] = []
    for part in parts:
        if len(part.records) != part.record_count:
            raise ValueError(f"a group of planes has {part.record_count} records, not {len(part.records)}")
        if wrong := {record.method for record in part.records} - set(_methods(part.planes)):
            raise ValueError(f"methods {sorted(wrong)} do not fit a group of planes")
        records += part.records
    table = bytearray()
    for i, record in enumerate(records):
        table.append(Method(record.method) + DIFFERENCES * record.differences)
        table += pack_varint(len(record.data)) if i + 1 < len(records) else b""
        table += CRC.pack(zlib.crc32(record.data))
    chunks = [pack(b"H", pack_header(header) + table, before=MAGIC + bytes([VERSION]))]
    for number, part in enumerate(parts):
        if part.adapter is not None:
            if part.planes.model_id is None:
                raise ValueError("a group of planes without a model has no adapter")
            chunks.append(pack(b"A", pack_varint(number) + part.adapter))
    ends: dict[str, int] = {}
    for one in metadata:
        name = one.name.encode()
        if not 0 < len(name) < 256 or not one.value or one.count < 1 or one.first + one.count > header.count:
            raise ValueError(f"metadata {one.name!r} needs a name of 1 to 255 bytes, a value, and pictures of the file")
        if one.first < ends.get(one.name, 0):
            raise ValueError(f"a picture has {one.name!r} twice, or after one that follows it")
        ends[one.name] = one.first + one.count
        where = pack_varint(one.first) + pack_varint(one.count)
        chunks.append(pack(b"m", where + bytes([len(name)]) + name + one.value))
    *last, _ = pack_parts(b"D", [record.data for record in records])
    return b"".join([*chunks, *last, CRC.pack(checksum([*chunks, *last]))])


# Reading


def read(data: Bytes, limits: Limits = DEFAULT, region: Region | None = None) -> Contents:
    """Everything in the file, after all checksums, counts and ranges were found good.

    With a region (x, y, w, h) only the tiles that it touches: then the streams of the others may be damaged.

    Raises NotAVlaeFile, UnsupportedVersion, TruncatedFile, CorruptFile (names the tile, if it is one that is damaged)
    or ImageTooLarge, and InputError for what is not bytes, for a region that is not in the picture, and for one of a
    file of several pictures. It allocates nothing that is larger than ``data``.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InputError(f"a .vlae file is given as bytes, not as {type(data).__name__}: read the file first")
    data = bytes(data)
    check_start(data)
    chunks = _Chunks(data, limits, region)
    header, region = chunks.header, chunks.region
    parts = _read_streams(chunks)
    return Contents(header, tuple(parts), tuple(chunks.metadata), region)


def read_damaged(data: Bytes, limits: Limits = DEFAULT) -> tuple[Contents, list[str]]:
    """All that is good of a file whose header is: records that are not say so (`TileRecord.wrong`), and what else is
    lost stands in the list. Nothing is decoded yet, so a stream that was damaged before it was written may be among
    the good ones.

    Raises what `read` raises for a file without a good header or any good stream, and ImageTooLarge.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InputError(f"a .vlae file is given as bytes, not as {type(data).__name__}: read the file first")
    data = bytes(data)
    check_start(data)
    chunks = _Chunks(data, limits, None, damaged=True)
    parts = _read_streams(chunks)
    if all(record.wrong for part in parts for record in part.records):
        raise CorruptFile(f"none of the file's streams is good, so nothing can be brought back: {DAMAGED}")
    return Contents(chunks.header, tuple(parts), tuple(chunks.metadata)), chunks.lost


def read_chain(fetch: Fetch, length: int, picture: int, limits: Limits = DEFAULT) -> Contents | None:
    """The chains that a picture is in, of a file of `length` bytes of which only what they need is fetched.

    The parts of its layout come back, each of one chain, of the same pictures. None where the groups of planes of that
    layout are not all coded in equally many chains. Raises what `read` raises; damage in other streams is not noticed.
    """
    head = beginning(fetch, START, length)
    check_start(head)
    chunks = _Chunks(head, limits, None, length=length)
    chunks.streams, chunks.picture = _Fetched(fetch, len(head), length - CRC.size - len(head)), picture
    chunks.room = TILES_PER_BYTE * len(chunks.streams)
    header, left = chunks.header, picture
    if not 0 <= picture < header.count:
        raise CorruptFile(f"the file has {header.count} pictures, and no picture {picture}: {DAMAGED}")
    for count, number, _, _ in header.runs:
        chunks.layout = number
        left -= count
        if left < 0:
            break
    if len(chains := {planes.chains for planes in header.layouts[chunks.layout].planes}) > 1 or 0 in chains:
        return None
    return Contents(header, tuple(_read_streams(chunks)), tuple(chunks.metadata))


class _Fetched:
    """Bytes of a file that are fetched as they are asked for."""

    def __init__(self, fetch: Fetch, offset: int, length: int) -> None:
        self.fetch, self.offset, self.length = fetch, offset, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: slice) -> memoryview:
        begin, end, _ = part.indices(self.length)
        return memoryview(self.fetch(self.offset + begin, max(0, end - begin)))


def read_header(data: bytes) -> Header:
    """The header alone, from the first `HEAD_BYTES` bytes or more; its checksum is not verified (see `read`).

    Raises what `read` raises, and CorruptFile or TruncatedFile where it does not end in these bytes.
    """
    check_start(data)
    if data[START : START + 1] != b"H":
        raise CorruptFile(f"the first chunk is not the header: {DAMAGED}")
    length, begin = read_varint(data, START + 1)
    return unpack_header(memoryview(data)[begin : begin + length])[0]


def itemise(data: bytes) -> dict[str, int]:
    """How many bytes of a good file go where; the values add up to ``len(data)``."""
    sizes = {"header": START, "framing": 0, "table": 0, "adapter": 0, "data": 0, "metadata": 0, "checksums": 0}
    names = {b"H": "header", b"A": "adapter", b"D": "data"}
    for chunk in scan(data, START):
        sizes["framing"] += chunk.payload - chunk.start
        sizes[names.get(chunk.kind, "metadata")] += chunk.end - chunk.payload
        sizes["checksums"] += CRC.size
        if chunk.kind == b"H":
            reader = Reader(memoryview(data)[chunk.payload : chunk.end])
            _, reader.position = unpack_header(reader.data, Limits(pictures=len(data)))
            table, crcs = len(reader.data) - reader.position, 0
            while reader.position < len(reader.data):
                _ = reader.byte(), len(reader.data) - reader.position == CRC.size or reader.varint()
                crcs += len(reader.take(CRC.size))
            sizes["header"] -= table
            sizes["table"], sizes["checksums"] = table - crcs, sizes["checksums"] + crcs
    return sizes


def check_start(data: bytes) -> None:
    """Raises unless magic and version are ours."""
    if not data.startswith(MAGIC):
        if data and MAGIC.startswith(data):
            raise TruncatedFile(f"only {len(data)} bytes are left of this .vlae file: get a fresh copy of it")
        if data.startswith(b"\xf6VLAR\r\n\x1a"):
            raise NotAVlaeFile("an archive of pictures: 'vlae-codec archive list' and 'archive extract' read it")
        if data.startswith(MAGIC[:5]):
            raise NotAVlaeFile("the file was changed by a transfer in text mode: transfer it again in binary mode")
        raise NotAVlaeFile("not a .vlae file: give a file that 'vlae-codec compress' wrote")
    if len(data) <= len(MAGIC):
        raise TruncatedFile("the file ends inside its header: get a fresh copy of it")
    if data[len(MAGIC)] != VERSION:
        raise UnsupportedVersion(f"format version {data[len(MAGIC)]} is unknown here (known: {VERSION}): {NEWER}")


def _check_region(region: Region, header: Header) -> Region:
    """The region as four int. Raises InputError."""
    if header.count > 1:
        raise InputError("the file holds a list of pictures, so there are no regions: decompress all of it")
    try:
        x, y, w, h = map(as_integer, region)
    except (TypeError, ValueError) as error:
        raise InputError(f"a region is four integers x, y, w, h, not {region!r}: give its place in pixels") from error
    if not (0 <= x < x + w <= header.width and 0 <= y < y + h <= header.height):
        raise InputError(
            f"the region of {w}x{h} pixels at x={x}, y={y} does not lie in the picture of {header.width}x"
            f"{header.height}: give X Y W H inside it, W and H 1 or more"
        )
    return x, y, w, h


class _Chunks:
    """The chunks of a file that this version knows, in a legal order, their checksums verified.

    Raises at the first that is damaged, naming the tile if it can be told. With a region the streams may be damaged:
    then the table has to agree with their chunk's length, and each that is used with its own checksum. damaged: what
    is behind the header may be, and what is damaged there is `lost`.
    """

    def __init__(
        self, data: bytes, limits: Limits, region: Region | None, damaged: bool = False, length: int | None = None
    ) -> None:
        """length: of the file, if `data` is its beginning (`chunks.scan`)."""
        self.limits, self.region, self.damaged = limits, region, damaged
        self.lost: list[str] = []
        self.room = TILES_PER_BYTE * len(data)  # for tiles
        self.picture: int | None = None  # the only one whose chains are read, ...
        self.layout = 0  # ... and its layout
        self.table = memoryview(b"")
        self.streams: memoryview | _Fetched = memoryview(b"")
        self.metadata: list[Metadata] = []
        self.adapters: dict[int, bytes] = {}
        self.named = 0  # pictures of all metadata
        ends: dict[str, int] = {}  # name -> the picture after the last that has it
        started = False
        for chunk in scan_damaged(data, START) if damaged else scan(data, START, length):
            kind, payload = chunk.kind, memoryview(data)[chunk.payload : chunk.end]
            if damaged and started:
                self._salvage(chunk, payload, ends)
                continue
            if kind == b"D" and started:
                self.streams, self.room = payload, TILES_PER_BYTE * len(payload)
            if not chunk.good and (region is None or not started or kind != b"D"):
                if kind == b"D" and started:
                    _read_streams(self)
                    raise CorruptFile(f"wrong checksum of the whole file: {DAMAGED}")
                place = f"the chunk at byte {chunk.start}" if started else "the header"
                raise CorruptFile(f"wrong checksum of {place}: {DAMAGED}")
            if started != (kind != b"H"):
                raise CorruptFile(f"chunk '{kind.decode('latin-1')}' at byte {chunk.start} is out of place: {DAMAGED}")
            if kind == b"H":
                self._start(payload)
                started = True
            elif kind == b"A":
                self._adapter(payload)
            elif kind == b"m":
                self._metadata(payload, ends)
            elif kind != b"D" and kind.isupper():
                raise UnsupportedVersion(f"chunk type '{kind.decode()}' is unknown here: {NEWER}")
        if not started:
            raise TruncatedFile(f"the file ends inside its header, so nothing can be brought back: {DAMAGED}")

    def _start(self, payload: memoryview) -> None:
        self.header, end = unpack_header(payload, self.limits)
        self.table = payload[end:]
        if self.region is not None:
            self.region = _check_region(self.region, self.header)
        header = self.header
        if self.region is None:
            pixels, size = header.pixels, header.bytes
        else:
            pixels = self.region[2] * self.region[3]
            size = pixels * header.first.channels * header.first.bytes
        self.memory = size + PICTURE_BYTES * header.count + ENTRY_BYTES * header.table_entries
        self.limits.check(pixels, header.count, self.memory)

    def _salvage(self, chunk: Chunk, payload: memoryview, ends: dict[str, int]) -> None:
        """Takes a chunk behind the header if it is good; of the streams all that is there."""
        if chunk.kind == b"D":
            self.streams = payload
            return
        try:
            if not chunk.good:
                raise CorruptFile(DAMAGED)
            if chunk.kind == b"A":
                self._adapter(payload)
            elif chunk.kind == b"m":
                self._metadata(payload, ends)
            elif chunk.kind.isupper():
                raise UnsupportedVersion(f"chunk type '{chunk.kind.decode()}' is unknown here: {NEWER}")
        except CorruptFile:
            kinds = {b"A": "an adapter", b"m": "metadata"}
            self.lost.append(f"{kinds.get(chunk.kind, 'a chunk')} at byte {chunk.start}")

    def _adapter(self, payload: memoryview) -> None:
        number, begin = read_varint(payload, 0)
        parts, last = self.header.parts, next(reversed(self.adapters), -1)
        if not last < number < len(parts) or parts[number][2].model_id is None:
            raise CorruptFile(f"an adapter of no group of planes with a model: {DAMAGED}")
        self.adapters[number] = bytes(payload[begin:])

    def _metadata(self, payload: memoryview, ends: dict[str, int]) -> None:
        one = unpack_metadata(payload, self.header)
        if one.first < ends.get(one.name, 0):
            raise CorruptFile(f"metadata of a picture that has it already: {DAMAGED}")
        ends[one.name] = one.first + one.count
        self.named += one.count
        self.limits.check(0, memory=self.memory + METADATA_BYTES * self.named)
        self.metadata.append(one)


def unpack_metadata(payload: memoryview, header: Header) -> Metadata:
    """What a chunk m of a file with this header says. Raises CorruptFile or TruncatedFile."""
    reader = Reader(payload)
    first, count, length = reader.varint(), reader.varint(), reader.byte()
    try:
        name = reader.take(length).decode()
    except UnicodeDecodeError:
        name = ""
    value = bytes(payload[reader.position :])
    if not name or not value or not 0 < count <= header.count - first:
        raise CorruptFile(f"metadata without a name, a value or a picture of its own: {DAMAGED}")
    return Metadata(first, count, name, value)


def _methods(planes: Planes) -> tuple[Method, ...]:
    """What a record's method may be."""
    if planes.kind == Kind.EXCEPTIONS:
        return (Method.EXCEPTIONS,)
    if planes.kind == Kind.COEFFICIENTS:
        return (Method.COEFFICIENTS,)
    stored = STORED[:2] if planes.chains else STORED
    if planes.model_id is None:
        return stored
    return (Method.CHAIN, *stored) if planes.chains else (Method.NO_LATENTS, Method.LATENTS, *stored)


def _read_streams(chunks: _Chunks) -> list[Part]:
    """The parts with their streams, or with those that a region touches, each with its checksum verified."""
    header, table, streams, region = chunks.header, chunks.table, chunks.streams, chunks.region
    counts = _count(chunks)
    total = sum(count for count, _ in counts)
    if len(table) < 6 * total - 1:
        raise CorruptFile(f"the tile table is too short for {total} records: {DAMAGED}")
    reader, offset, left = Reader(table), 0, total
    allowed = comparable(header)
    found = []
    for number, (part, (count, _)) in enumerate(zip(parts_of(header, region), counts, strict=True)):
        needed = _needed(part, chunks.limits)
        if chunks.picture is not None:
            needed, part = _chain_of(part, chunks.picture if part.layout is header.layouts[chunks.layout] else None)
        records: list[TileRecord] = []
        for index in range(count):
            left -= 1
            method = reader.byte()
            length = reader.varint() if left else max(0, len(streams) - offset)
            crc = reader.take(CRC.size)
            begin, offset = offset, offset + length
            if offset > len(streams) and not chunks.damaged:
                raise CorruptFile(f"the tile table does not agree with the data at record {index}: {DAMAGED}")
            if needed is not None and index not in needed:
                continue
            stream = streams[begin:offset]
            try:
                record = _record(part, len(records), method, stream, CRC.unpack(crc)[0], allowed, chunks.limits)
            except CorruptFile as error:
                if not chunks.damaged:
                    raise
                record = TileRecord(method & ~DIFFERENCES, b"", wrong=str(error))
            records.append(record)
        if chunks.picture is not None and not records:
            continue
        adapter = chunks.adapters.get(number)
        found.append(Part(part.layout, part.planes, part.channel, part.pictures, part.region, tuple(records), adapter))
    if reader.position != len(table) or (offset != len(streams) and not chunks.damaged):
        raise CorruptFile(f"the tile table does not agree with the picture or the data: {DAMAGED}")
    return found


def _chain_of(part: Part, picture: int | None) -> tuple[set[int], Part]:
    """The number of the chain that a picture is in, and the part with this chain alone; none of None."""
    if picture is None:
        return set(), part
    place = next(place for place, (number, _, _) in enumerate(part.pictures) if number == picture)
    chains = part.planes.chains
    mine = part.pictures[place % chains :: chains]
    return {place % chains}, replace(part, planes=replace(part.planes, chains=1), pictures=mine)


def _count(chunks: _Chunks) -> list[tuple[int, int]]:
    """(records, tiles) of each group of planes, by runs: nothing is listed yet.

    Raises CorruptFile or ImageTooLarge for too many tiles, and before they are counted for too many pictures of all
    groups, each of which has one tile or more: to count takes the time of groups times runs.
    """
    header = chunks.header
    runs: list[list[tuple[int, int, int]]] = [[] for _ in header.layouts]
    for count, layout, width, height in header.runs:
        runs[layout].append((count, width, height))
    pictures = [sum(count for count, _, _ in some) for some in runs]
    _check_tiles(chunks, sum(pictures[layout] for layout, _, _ in header.parts))
    counts = []
    for layout, _, planes in header.parts:
        tiles = sum(count * tiles_in(*planes.size(w, h), planes.tile_size) for count, w, h in runs[layout])
        counts.append((planes.chains or tiles, tiles))
    _check_tiles(chunks, sum(tiles for _, tiles in counts))
    return counts


def _check_tiles(chunks: _Chunks, tiles: int) -> None:
    if tiles > chunks.room:
        raise CorruptFile(f"{len(chunks.streams)} bytes of data are too few for {tiles} tiles: {DAMAGED}")
    chunks.limits.check(0, memory=chunks.memory + PICTURE_BYTES * tiles)


def _needed(part: Part, limits: Limits) -> set[int] | None:
    """The numbers of the tiles that a part's region touches; None for all. A piece is decoded whole."""
    if part.region is None:
        return None
    ((_, width, _),) = part.pictures
    largest = max(h * w for ((_, (_, _, h, w)),) in part.pieces)
    limits.check(0, memory=largest * part.planes.channels * (1 if part.planes.levels <= 256 else 2))
    return {tile_number(y, x, width, part.planes.tile_size) for ((_, (y, x, _, _)),) in part.pieces}


def _record(
    part: Part, index: int, code: int, stream: memoryview, crc: int, allowed: Sequence[bool], limits: Limits
) -> TileRecord:
    """The record of a part's piece; raises what is wrong with it."""
    pieces, planes = part.pieces[index], part.planes
    method, differences = code & ~DIFFERENCES, bool(code & DIFFERENCES)
    if zlib.crc32(stream) != crc:
        raise CorruptFile(f"{part.name(index)} is damaged: get a fresh copy of the file")
    if method not in Method.__members__.values():
        raise UnsupportedVersion(f"{part.name(index)} has the unknown coding method {method}: {NEWER}")
    if method not in _methods(planes):
        raise CorruptFile(f"{part.name(index)} has a method for other planes, {method}: {DAMAGED}")
    own = part.layout.origin is not None and part.channel < 3
    if differences and (method not in STORED or planes.chains or own or not allowed[pieces[0][0]]):
        raise CorruptFile(f"{part.name(index)} has differences from no picture: {DAMAGED}")
    if method == Method.WEBP and (planes.levels > 256 or planes.channels > 4):
        raise CorruptFile(f"{part.name(index)} is of samples that WebP does not have: {DAMAGED}")
    if method == Method.WEBP:  # a decoder takes all of a tile at once
        ((_, (_, _, h, w)),) = pieces
        limits.check(0, memory=WEBP_BYTES * h * w)
    if sparse(method, len(stream), planes, pieces):
        raise CorruptFile(f"{part.name(index)} has {len(stream)} bytes, too few for its pixels: {DAMAGED}")
    return TileRecord(method, bytes(stream), differences)
