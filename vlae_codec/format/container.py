"""The .vlae file, format version 1: the layout of the file. What its streams hold is in `streams` and `stored`.

All numbers are little-endian. ``u8 u16 u32`` are unsigned; ``varint`` is an unsigned LEB128 number (7 bits a byte,
lowest first, bit 7 set on all bytes but the last), MUST be in its shortest form and below 2**63. CRC32 is the one of
zlib and PNG (polynomial 0xEDB88320, initial value and final XOR 0xFFFFFFFF).

    file   = magic, header, chunk T, { other chunks }, chunk E                      nothing MUST follow chunk E

    offset bytes field
       0     8   magic          F6 56 4C 41 45 0D 0A 1A: a byte no text has, "VLAE", CR LF, Ctrl-Z
       8     1   version     u8 1; a reader MUST refuse any other before it looks at anything else
       9     8   model id       of the model that methods 0, 1 and 4 need; any value if nothing uses them
      17     4   width      u32 1 .. 2**32-1, pixels; with a chunk P: of the first picture
      21     4   height     u32 1 .. 2**32-1, likewise; a reader MUST limit the pixels before it allocates (`Limits`)
      25     1   mode        u8 0 grey (1 channel), 1 RGB (3 channels, interleaved), 2 bilevel (1 channel, 1 white)
      26     1   bit depth   u8 8; 1 for bilevel
      27     2   tile size  u16 8 .. 2048, a multiple of 8: edge of a square tile in pixels
      29     4   lane symbols u32 1 .. 2**32-1: a stream of n symbols has max(1, n // lane symbols) ANS lanes
      33         first chunk

    chunk  = type u8, length varint, payload (length bytes), CRC32 u32

The CRC32 of a chunk covers its type, length and payload; that of the first chunk and that of chunk E cover all bytes
of the file before them, so that the last 4 bytes of a file check the whole. A type is an ASCII letter: upper case is
critical (a reader that does not know it MUST refuse the file), lower case is ancillary (a reader MUST skip it if it
does not know it; the pixels do not depend on it). Any other byte is damage.

    type  times  payload
    T     1      tile table; MUST be the first chunk. One record per tile, row by row from the top left:
                     method  u8      0 model, all of the tile without latents, see streams.py
                                     1 model, bands A and B with latents (bits-back), see streams.py
                                     2 raw samples, row by row, channels interleaved; of bilevel pictures eight a
                                       byte, see stored.py
                                     3 LZMA, see stored.py
                                     4 model, a group of pictures through one stack, see streams.py
                     length  varint  bytes of the tile's stream
                     crc     u32     CRC32 of the tile's stream
                 There MUST be ceil(height / tile size) * ceil(width / tile size) records and nothing else; with a
                 chunk P, one record a group and nothing else. Method 4 MUST NOT stand without a chunk P, methods 0 and
                 1 MUST NOT stand with one. So that reading a file costs no more than in proportion to its length, a
                 stream of n bytes MUST NOT hold more than 64 n tiles nor, of methods 0, 1 and 4, more than
                 8192 + 1024 n coded symbols.
    P     0, 1   pictures; MUST come after T and before D. The file then holds a list of pictures of one mode:
                     groups  varint  1 .. number of pictures
                     runs            of pictures of one size, in the order of the list, to the end of the payload:
                         count  varint  1 or more
                         width  varint  1 .. 2**32-1
                         height varint  1 .. 2**32-1
                 The sizes of the first run MUST be those of the header. A reader MUST limit the number of pictures and
                 of their pixels before it allocates (`Limits`). If N pictures are in G groups, group g holds the
                 pictures g, g + G, g + 2 G, ... below N, in this order.
    A     0, 1   adapter: integers that change the model's weights for all tiles or groups, see adapter/chunk.py; MUST
                 come after T and before D. A reader MUST refuse one that does not fit the model or breaks its bounds,
                 if anything uses the model.
    D     1      the tiles' streams one after another in the table's order, with no gaps; MUST come after T
    i     0, 1   ICC profile, raw bytes, not empty
    x     0, 1   EXIF block (TIFF header onwards), raw bytes, not empty
    m     any    other metadata: u8 length of its name, 1 or more; the name, UTF-8, that of no other chunk; raw bytes
    E     1      end; MUST be empty and the last chunk

Tiles at the right and bottom edge are cut to the picture. Each tile (with a chunk P: each group) is coded on its own,
so a reader may decode one from header, tables and stream alone, and damage in one leaves the others good. A reader of a
part need not verify the checksums of the other streams, of chunk D and of chunk E.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import groupby
from operator import index as as_integer

from vlae_codec.errors import (
    CorruptFile,
    InputError,
    NotAVlaeFile,
    TruncatedFile,
    UnsupportedVersion,
)
from vlae_codec.format.chunks import CRC, DAMAGED, checksum, pack, pack_parts, pack_varint, read_varint, scan
from vlae_codec.limits import DEFAULT, Limits

MAGIC = b"\xf6VLAE\r\n\x1a"
VERSION = 1
MAX_TILE = 2048  # bounds what a decoder allocates for one tile
TILES_PER_BYTE = 64  # of a file's streams, at most
SPARE_SYMBOLS, SYMBOLS_PER_BYTE = 8192, 1024  # of a model-coded stream, at most
PICTURE_BYTES = 1 << 9  # of each picture or tile in memory beside its pixels (`python -m bench.limits`: 471)
MODES = ("L", "RGB", "1")
METADATA = {"icc": b"i", "exif": b"x"}  # key of the metadata dict -> chunk type; "m" for all others

_FIELDS = struct.Struct("<8sB8sIIBBHI")
Bytes = bytes | bytearray | memoryview
Place = tuple[int, int, int, int]  # y, x, h, w of a tile in its picture, pixels
Piece = tuple[int, Place]  # number of a picture, and a part of it
Region = tuple[int, int, int, int]  # x, y, w, h of a part of a picture, pixels

HEADER_BYTES = _FIELDS.size
_NEWER = "it was written by a newer vlae-codec: update to read it"


class Method(IntEnum):
    """How the stream of a tile or a group is coded."""

    NO_LATENTS = 0
    LATENTS = 1
    RAW = 2
    LZMA = 3
    CHAIN = 4


STORED = (Method.RAW, Method.LZMA)


@dataclass(frozen=True)
class Header:
    """What is known of the picture, or of the first of several, before any tile."""

    width: int
    height: int
    mode: str  # "L", "RGB" or "1"
    model_id: bytes  # 8 bytes
    tile_size: int = 512  # pixels, a multiple of 8
    lane_symbols: int = 32768

    @property
    def bit_depth(self) -> int:
        return 1 if self.mode == "1" else 8

    @property
    def channels(self) -> int:
        return 3 if self.mode == "RGB" else 1

    @property
    def subpixels(self) -> int:
        return self.width * self.height * self.channels

    @property
    def tile_count(self) -> int:
        return tiles_in(self.width, self.height, self.tile_size)

    def tile_index(self, y: int, x: int) -> int:
        """The number of the tile that a pixel is in."""
        return y // self.tile_size * self._columns + x // self.tile_size

    @property
    def _columns(self) -> int:
        return -(-self.width // self.tile_size)


@dataclass(frozen=True)
class TileRecord:
    """One tile, or one group of pictures, as it stands in the file."""

    method: int
    data: bytes


@dataclass(frozen=True)
class Pictures:
    """How many pictures of which sizes a file holds, and in how many groups."""

    groups: int
    runs: tuple[tuple[int, int, int], ...]  # (count, width, height)

    @staticmethod
    def of(sizes: Sequence[tuple[int, int]], groups: int) -> Pictures:
        """From the (width, height) of each picture."""
        return Pictures(groups, tuple((len(list(run)), *size) for size, run in groupby(sizes)))

    @cached_property
    def count(self) -> int:
        return sum(count for count, _, _ in self.runs)

    @cached_property
    def pixels(self) -> int:
        return sum(count * width * height for count, width, height in self.runs)

    def sizes(self) -> list[tuple[int, int]]:
        """The (width, height) of each picture."""
        return [(width, height) for count, width, height in self.runs for _ in range(count)]

    def members(self) -> list[range]:
        """The pictures of each group."""
        return [range(group, self.count, self.groups) for group in range(self.groups)]

    def tile_count(self, tile_size: int) -> int:
        return sum(count * tiles_in(width, height, tile_size) for count, width, height in self.runs)


@dataclass(frozen=True)
class Contents:
    """A whole file, or what a region of its picture needs; every checksum and count of it was found good."""

    header: Header
    tiles: tuple[TileRecord, ...]  # in the order of `pieces`
    metadata: dict[str, bytes]  # "icc", "exif"
    pictures: Pictures | None = None  # None: one picture, the header's
    adapter: bytes | None = None  # payload of chunk A (`vlae_codec.adapter`)
    region: Region | None = None  # None: the whole picture

    def sizes(self) -> list[tuple[int, int]]:
        """The (width, height) of each picture."""
        return [(self.header.width, self.header.height)] if self.pictures is None else self.pictures.sizes()

    @cached_property
    def pieces(self) -> list[list[Piece]]:
        """What the stream of each record holds: a tile of the picture, or the whole pictures of a group."""
        return pieces(self.header, self.pictures, self.region)

    @property
    def model_needed(self) -> bool:
        return any(tile.method not in STORED for tile in self.tiles)

    @property
    def model_pixels(self) -> int:
        """The pixels that the model decodes: known before anything is decoded, and with them what it will cost."""
        each = zip(self.tiles, self.pieces)
        return sum(h * w for tile, part in each if tile.method not in STORED for _, (_, _, h, w) in part)

    @property
    def subpixels(self) -> int:
        pixels = self.header.width * self.header.height if self.pictures is None else self.pictures.pixels
        return pixels * self.header.channels


def tiles_in(width: int, height: int, tile_size: int) -> int:
    """The number of tiles of a picture."""
    return -(-width // tile_size) * -(-height // tile_size)


def pieces(header: Header, pictures: Pictures | None, region: Region | None = None) -> list[list[Piece]]:
    """What each stream of a file holds, in the order of its table (`Contents.pieces`)."""
    if pictures is None:
        return [[(0, place)] for place in tile_grid(header.width, header.height, header.tile_size, region)]
    sizes = pictures.sizes()
    return [[(i, (0, 0, sizes[i][1], sizes[i][0])) for i in group] for group in pictures.members()]


def tiles_of(parts: Sequence[Piece], tile_size: int) -> list[Piece]:
    """The tiles of a stream's pieces, in the order in which they are coded."""
    return [
        (i, (y + r, x + c, h, w)) for i, (y, x, high, wide) in parts for r, c, h, w in tile_grid(wide, high, tile_size)
    ]


def sparse(method: int, size: int, header: Header, parts: Sequence[Piece]) -> bool:
    """Whether a stream of so many bytes has too few of them for these pieces to stand in a file."""
    if sum(tiles_in(w, h, header.tile_size) for _, (_, _, h, w) in parts) > TILES_PER_BYTE * size:
        return True
    symbols = sum(h * w for _, (_, _, h, w) in parts) * header.channels
    return method not in STORED and symbols > SPARE_SYMBOLS + SYMBOLS_PER_BYTE * size


def lanes_for(symbols: int, lane_symbols: int) -> int:
    """The number of ANS lanes of a stream of ``symbols`` symbols."""
    return max(1, symbols // lane_symbols)


def tile_grid(width: int, height: int, tile_size: int, region: Region | None = None) -> list[Place]:
    """The tiles of a picture, or those that a region of it touches, row by row from the top left."""
    left, top, w, h = region or (0, 0, width, height)
    return [
        (y, x, min(tile_size, height - y), min(tile_size, width - x))
        for y in range(top // tile_size * tile_size, top + h, tile_size)
        for x in range(left // tile_size * tile_size, left + w, tile_size)
    ]


# Writing


def write(
    header: Header,
    tiles: Sequence[TileRecord],
    metadata: dict[str, bytes] | None = None,
    pictures: Pictures | None = None,
    adapter: bytes | None = None,
) -> bytes:
    """The file's bytes. ``tiles`` stand in the order of `pieces`; ``adapter`` is what `adapter.chunk.pack` gave.

    Empty metadata values are left out. Raises ValueError for arguments that no file can hold.
    """
    metadata = metadata or {}
    _check_header(header, ValueError)
    if pictures is not None:
        _check_pictures(pictures, header, ValueError)
    count = header.tile_count if pictures is None else pictures.groups
    if len(tiles) != count:
        raise ValueError(f"the file has {count} {'tiles' if pictures is None else 'groups'}, not {len(tiles)}")
    if wrong := {tile.method for tile in tiles} - set(_methods(pictures)):
        raise ValueError(f"methods {sorted(wrong)} do not fit {'one picture' if pictures is None else 'groups'}")
    if long := [key for key in metadata if not 0 < len(key.encode()) < 256]:
        raise ValueError(f"names of metadata have 1 to 255 bytes, not {long}")

    table = b"".join(
        bytes([Method(tile.method)]) + pack_varint(len(tile.data)) + CRC.pack(zlib.crc32(tile.data)) for tile in tiles
    )
    parts = [pack(b"T", table, before=_pack_header(header))]
    if pictures is not None:
        numbers = [pictures.groups, *(number for run in pictures.runs for number in run)]
        parts.append(pack(b"P", b"".join(map(pack_varint, numbers))))
    if adapter is not None:
        parts.append(pack(b"A", adapter))
    parts += [pack(*_named(key, value)) for key, value in sorted(metadata.items()) if value]
    parts += pack_parts(b"D", [tile.data for tile in tiles])
    end = b"E" + pack_varint(0)
    return b"".join([*parts, end, CRC.pack(checksum([*parts, end]))])


def _named(key: str, value: bytes) -> tuple[bytes, bytes]:
    """Type and payload of the chunk of some metadata."""
    name = key.encode()
    return (METADATA[key], value) if key in METADATA else (b"m", bytes([len(name)]) + name + value)


def _pack_header(header: Header) -> bytes:
    return _FIELDS.pack(
        MAGIC,
        VERSION,
        header.model_id,
        header.width,
        header.height,
        MODES.index(header.mode),
        header.bit_depth,
        header.tile_size,
        header.lane_symbols,
    )


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
    header = read_header(data)
    payloads = _payloads(data, whole=region is None)
    pictures = _read_pictures(payloads.get(b"P"), header, limits)
    if region is not None:
        region = _check_region(region, header, pictures)
    _check_limits(header, pictures, region, limits)
    tiles = _read_streams(header, pictures, payloads[b"T"], payloads[b"D"], region)
    metadata = {key: bytes(payloads[kind]) for key, kind in METADATA.items() if kind in payloads}
    metadata |= {kind[1:].decode(): bytes(value) for kind, value in payloads.items() if len(kind) > 1}
    adapter = bytes(payloads[b"A"]) if b"A" in payloads else None
    return Contents(header, tuple(tiles), metadata, pictures, adapter, region)


def read_header(data: bytes) -> Header:
    """The header alone, from the first 33 bytes or more; its ranges are checked, its checksum is not (see `read`)."""
    _check_start(data)
    _, _, model_id, width, height, mode, depth, tile_size, lane_symbols = _FIELDS.unpack_from(data)
    if (mode, depth) not in ((0, 8), (1, 8), (2, 1)):
        raise UnsupportedVersion(f"pictures of mode {mode} with {depth} bits are unknown here: {_NEWER}")
    header = Header(width, height, MODES[mode], model_id, tile_size, lane_symbols)
    _check_header(header, CorruptFile)
    return header


def itemise(data: bytes) -> dict[str, int]:
    """How many bytes of a good file go where; the values add up to ``len(data)``."""
    sizes = {"header": HEADER_BYTES, "framing": 0, "table": 0, "adapter": 0, "data": 0, "metadata": 0, "checksums": 0}
    names = {b"T": "table", b"P": "table", b"A": "adapter", b"D": "data", b"E": "framing"}
    pictures = _read_pictures(_payloads(data).get(b"P"), read_header(data), Limits(pictures=len(data)))
    for chunk in scan(data, HEADER_BYTES):
        sizes["framing"] += chunk.payload - chunk.start
        sizes[names.get(chunk.kind, "metadata")] += chunk.end - chunk.payload
        sizes["checksums"] += CRC.size
    of_streams = CRC.size * (read_header(data).tile_count if pictures is None else pictures.groups)
    return sizes | {"table": sizes["table"] - of_streams, "checksums": sizes["checksums"] + of_streams}


def _check_start(data: bytes) -> None:
    """Raises unless magic and version are ours and the whole header is there."""
    if not data.startswith(MAGIC):
        if data and MAGIC.startswith(data):
            raise TruncatedFile(f"only {len(data)} bytes are left of this .vlae file: get a fresh copy of it")
        if data.startswith(MAGIC[:5]):
            raise NotAVlaeFile("the file was changed by a transfer in text mode: transfer it again in binary mode")
        raise NotAVlaeFile("not a .vlae file: give a file that 'vlae-codec compress' wrote")
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise UnsupportedVersion(f"format version {data[len(MAGIC)]} is unknown here (known: {VERSION}): {_NEWER}")
    if len(data) < HEADER_BYTES:
        raise TruncatedFile("the file ends inside its header: get a fresh copy of it")


def _check_header(header: Header, error: type[Exception]) -> None:
    """Raises ``error`` for values that no header may hold."""
    problems = {
        "mode": header.mode not in MODES,
        "model id": len(header.model_id) != 8,
        "width": not 1 <= header.width < 2**32,
        "height": not 1 <= header.height < 2**32,
        "tile size": not 8 <= header.tile_size <= MAX_TILE or header.tile_size % 8 != 0,
        "lane symbols": not 1 <= header.lane_symbols < 2**32,
    }
    if bad := [name for name, wrong in problems.items() if wrong]:
        raise error(f"impossible {' and '.join(bad)} in the header: {DAMAGED}")


def _check_pictures(pictures: Pictures, header: Header, error: type[Exception]) -> None:
    """Raises ``error`` for pictures that no file may hold."""
    if not all(count > 0 and 0 < width < 2**32 and 0 < height < 2**32 for count, width, height in pictures.runs):
        raise error(f"impossible sizes of pictures: {DAMAGED}")
    if not pictures.runs or pictures.runs[0][1:] != (header.width, header.height):
        raise error(f"the header does not agree with the first picture: {DAMAGED}")
    if not 1 <= pictures.groups <= pictures.count:
        raise error(f"{pictures.count} pictures cannot be in {pictures.groups} groups: {DAMAGED}")


def _check_region(region: Region, header: Header, pictures: Pictures | None) -> Region:
    """The region as four int. Raises InputError."""
    if pictures is not None:
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


def _check_limits(header: Header, pictures: Pictures | None, region: Region | None, limits: Limits) -> None:
    """Raises ImageTooLarge for a file, or a region of it, that asks for more than the limits."""
    if pictures is not None:
        pixels, count, tiles = pictures.pixels, pictures.count, pictures.tile_count(header.tile_size)
    else:
        x, y, width, height = region or (0, 0, header.width, header.height)
        pixels, count, edge = width * height, 1, header.tile_size
        tiles = tiles_in(x % edge + width, y % edge + height, edge)
    limits.check(pixels, count, pixels * header.channels + PICTURE_BYTES * (count + tiles))


def _payloads(data: bytes, whole: bool = True) -> dict[bytes, memoryview]:
    """Type -> payload of the chunks that this version knows, in a legal order, their checksums verified; for other
    metadata, "m" and its name.

    Raises at the first that is damaged, naming the tile if it can be told. Unless the file is wanted ``whole``, the
    streams may be damaged: then the table has to agree with their chunk's length, and each that is used with its own
    checksum, which `_read_streams` sees to.
    """
    known = {b"T", b"P", b"A", b"D", b"E", b"m", *METADATA.values()}
    payloads: dict[bytes, memoryview] = {}
    for chunk in scan(data, HEADER_BYTES):
        kind, payload = chunk.kind, memoryview(data)[chunk.payload : chunk.end]
        if not chunk.good and (whole or not payloads or kind not in (b"D", b"E")):
            if kind == b"D" and b"T" in payloads:
                header = read_header(data)
                pictures = _read_pictures(payloads.get(b"P"), header, Limits(pictures=len(data)))
                _read_streams(header, pictures, payloads[b"T"], payload)
            place = f"the chunk at byte {chunk.start}" if payloads else "the header or the tile table"
            raise CorruptFile(f"wrong checksum of {'the whole file' if kind == b'E' else place}: {DAMAGED}")
        if kind not in known:
            if kind.isupper():
                raise UnsupportedVersion(f"chunk type '{kind.decode()}' is unknown here: {_NEWER}")
            if kind.isalpha() and payloads:
                continue
        if kind == b"m":
            length = payload[0] if len(payload) else 0
            kind, payload = b"m" + payload[1 : 1 + length], payload[1 + length :]
            if not length or len(kind) != 1 + length or not _is_text(kind) or kind[1:].decode() in METADATA:
                raise CorruptFile(f"metadata without a name at byte {chunk.start}: {DAMAGED}")
        if kind in payloads:
            raise CorruptFile(f"a second chunk '{kind.decode()}' at byte {chunk.start}: {DAMAGED}")
        if kind in (b"P", b"A") and b"D" in payloads:
            raise CorruptFile(f"a chunk '{kind.decode()}' after the data, at byte {chunk.start}: {DAMAGED}")
        if chunk.kind.islower() and not payload:
            raise CorruptFile(f"an empty chunk '{kind.decode()}' at byte {chunk.start}: {DAMAGED}")
        if (kind == b"T") == bool(payloads):
            raise CorruptFile(f"the first chunk is not the tile table: {DAMAGED}")
        payloads[kind] = payload
    if b"D" not in payloads or payloads[b"E"]:
        raise CorruptFile(f"a chunk is missing, or filled where it must be empty: {DAMAGED}")
    return payloads


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_pictures(payload: memoryview | None, header: Header, limits: Limits) -> Pictures | None:
    """What chunk P says, if there is one. Raises CorruptFile, and ImageTooLarge for more runs than pictures allowed."""
    if payload is None:
        return None
    groups, position = read_varint(payload, 0)
    runs: list[tuple[int, int, int]] = []
    while position < len(payload):
        count, position = read_varint(payload, position)
        width, position = read_varint(payload, position)
        height, position = read_varint(payload, position)
        runs.append((count, width, height))
        limits.check(0, len(runs))
    pictures = Pictures(groups, tuple(runs))
    _check_pictures(pictures, header, CorruptFile)
    return pictures


def _methods(pictures: Pictures | None) -> tuple[Method, ...]:
    """What a record's method may be."""
    return (Method.CHAIN, *STORED) if pictures is not None else (Method.NO_LATENTS, Method.LATENTS, *STORED)


def _read_streams(
    header: Header, pictures: Pictures | None, table: memoryview, streams: memoryview, region: Region | None = None
) -> list[TileRecord]:
    """The streams of tiles or groups, or of the tiles that a region touches, each with its checksum verified."""
    count = header.tile_count if pictures is None else pictures.groups
    tiles = count if pictures is None else pictures.tile_count(header.tile_size)
    if len(table) < 6 * count:
        raise CorruptFile(f"the tile table is too short for {count} records: {DAMAGED}")
    if tiles > TILES_PER_BYTE * len(streams):
        raise CorruptFile(f"{len(streams)} bytes of data are too few for {tiles} tiles: {DAMAGED}")
    needed = (
        dict(enumerate(pieces(header, pictures)))
        if region is None
        else {header.tile_index(*part[1][:2]): [part] for (part,) in pieces(header, None, region)}
    )
    found: list[TileRecord] = []
    position = offset = 0
    for index in range(count):
        length, after = read_varint(table, position + 1)
        if after + 4 > len(table) or offset + length > len(streams):
            raise CorruptFile(f"the tile table does not agree with the data at record {index}: {DAMAGED}")
        method, stream = table[position], streams[offset : offset + length]
        checked, position, offset = CRC.unpack_from(table, after)[0], after + 4, offset + length
        if index not in needed:
            continue
        name = f"group {index}" if pictures is not None else _name_tile(header, index)
        if zlib.crc32(stream) != checked:
            raise CorruptFile(f"{name} is damaged: get a fresh copy of the file")
        if method not in list(Method):
            raise UnsupportedVersion(f"{name} has the unknown coding method {method}: {_NEWER}")
        if method not in _methods(pictures):
            raise CorruptFile(f"{name} has a method for other files, {method}: {DAMAGED}")
        if sparse(method, length, header, needed[index]):
            raise CorruptFile(f"{name} has {length} bytes, too few for its pixels: {DAMAGED}")
        found.append(TileRecord(method, bytes(stream)))
    if position != len(table) or offset != len(streams):
        raise CorruptFile(f"the tile table does not agree with the picture or the data: {DAMAGED}")
    return found


def _name_tile(header: Header, index: int) -> str:
    row, column = divmod(index, -(-header.width // header.tile_size))
    return f"tile {index} (top left pixel x={column * header.tile_size}, y={row * header.tile_size})"
