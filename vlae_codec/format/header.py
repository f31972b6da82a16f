"""The header: which pictures a file holds, what their samples mean, and how their planes are coded.

The fields of chunk H up to its records, in this order. A field in brackets stands where it says something else than its
absence does, and MUST NOT stand otherwise.

    layouts  varint   1 or more, then that many layouts:
        mode      u8       0 .. 14, see below; plus 32 if a type follows, plus 64 if levels follow, plus 128 if an
                           origin follows
        [type     u8]      1 .. 7, see below; without it 0
        [levels   varint]  unsigned samples are 0 .. levels - 1, levels being 2 .. 65536, of modes 5 and 6 at most 256;
                           without it 256, of mode 2 always 2. Samples of another type have 256, int16 65536
        [channels u8]      of mode 14 only, and always there: 1 .. 255
        [palette]          of modes 5 and 6 only, and always there: colours varint, 1 .. 256; columns u8, 3 (RGB) or 4
                           (RGBA); a stored form of the samples (1, colours, columns) of 256 levels. Indices beyond the
                           colours are allowed
        [origin]           of modes 1, 4, 12 and 13, of form 3 also 0 and 3, of unsigned samples of 256 levels only:
                           form u8, 1 .. 3, see below; length varint; so many bytes of parameters
        planes             groups of channels, in the order of the channels, until all are in one:
            channels   u8       1 or more
            flags      u8       1: a model follows   2: levels   4: a shift, or learning   8: a scale   16: a tile size
                                32: lane symbols   64: chains   128: values
            [model     8]       its id; without it, no stream of the group may need one. A model codes 1 or 3 channels
            [levels    varint]  of the symbols, 2 .. those of the layout, and fewer only where values follow; without it
                                those of the layout
            [shift     u8]      the low 4 bits are the shift, of more than 256 levels up to 10, see native/mixture.py,
                                else 0; the high ones are the learning, 0 .. 7 and 9 .. 15, and 0 without a model or
                                with chains: if not 0, the model learns while it codes (native/core/learn.h), from 9 on
                                all of its local network but the first layer, else the last layer alone; at rates
                                divided by 2 to the power of one less than the remainder by 8. Without it, both are 0
            [scale     u8 u8]   columns and rows of which one sample is coded, 1 .. 255; without it 1 and 1
            [tile size varint]  edge of a square tile in samples, a multiple of 8 in 8 .. 4096, divided by 8; without
                                it 64 (512 samples)
            [lanes     varint]  1 .. 2^32 - 1: a stream of n symbols has max(1, n // lanes) ANS lanes; without it 32768
            [chains    varint]  1 .. the number of the layout's pictures, which are coded in so many chains; without it
                                each tile is coded alone
            [values]            tables u8: 1 for all channels of the group, or of 2 to 4 channels one for each; of each
                                table count varint, 1 .. levels of the group; a stored form (`values` below)
    runs     varint   1 or more, then that many runs of pictures, in the order of the file:
        count, layout, width, height    varint each: 1 or more; 0 .. layouts - 1; 1 .. 2^32 - 1 pixels, twice. Each
                                        layout MUST have a picture

    mode  0 L, grey   1 RGB   2 bilevel, 1 being white   3 LA, grey and alpha   4 RGBA   5 P, indices of a palette
          6 PA, these and alpha   7 CMYK   8 YCbCr   9 LAB   10 HSV   11 La, grey times alpha and alpha
          12 RGBa, colours times alpha and alpha   13 RGBX, RGB and a channel of no meaning
          14 bands of no meaning that is known here
    type  0 unsigned   1 int8   2 int16   3 uint32   4 int32   5 float16   6 float32   7 float64

A number of a later mode, type or flag of the mode means a newer format. A stored form is a method u8, a length varint
and so many bytes of a stream (`stored`); its method is 2 or 3, of a palette also 5.

The symbols of a group are the values themselves, or, with values, numbers of entries of a table, each of which MUST be
below its count. A table's entries are below the layout's levels and all different. The first one stands in the form as
it is, each other one less the one before it and 1, modulo n: the form is of samples (1, count, 1) of n levels, n being
256, or 65536 if the layout has more than 256 levels.

Samples of other types are coded as unsigned values. Those of int8 and int16 are coded as they are plus 2^7 or 2^15.
Those of 32 and 64 bits and all floats are coded by bytes: the bits of a sample are taken as an integer, of floats the
sign bit is flipped if it is 0 and all bits if it is 1, of int32 the highest bit is flipped; its bytes from the highest
one to the lowest are so many channels of 256 levels, which stand one after another in place of the channel.

An origin says what the colours, the first three channels or the only grey one, were before, and what stands in place
of them. Its pictures are coded tile by tile: no group has chains, and no stream of a group of its own or of colours
holds differences. Forms:

    1 source planes   parameters: conversion u8; enlargement u8; geometry u8: 1 chroma has half the columns, 2 half the
                      rows, 4 and 8 its columns, rows have phase 1, else 0, 16 there is no chroma, 32 it is cosited.
                      A group of luma, of 1 channel; if there is chroma two groups of it, Cb and Cr, of 1 channel each;
                      a group of exceptions, of 3 channels. See origins/origin.py
    2 values          parameters: conversion u8; escape u8, 1 .. 16. A group of 3 channels, the last of which mostly has
                      values that the first two leave possible, see native/mixture.py
    3 JPEG            parameters: see jpeg/parameters.py. A group of coefficients and a group of exceptions, of as many
                      channels as there are colours, 1 or 3

The groups of the other channels follow. A plane of chroma with half the columns and phase p has (width + 1 + p) >> 1 of
them, of which i stands for the columns 2 i - p and 2 i - p + 1; or if it is cosited max(1, (width + 1 - p) >> 1), of
which i stands at column 2 i + p. So do rows. Groups of source planes have
neither levels nor scale nor values, of exceptions and coefficients nor lanes nor a model.

A group of planes with scale (sx, sy) has ceil(width / sx) x ceil(height / sy) samples of a picture, and each stands for
the sx x sy samples at its place, as many of them as are in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from vlae_codec.contract import MAX_SLOW, Pace
from vlae_codec.format.chunks import DAMAGED

# mode -> channels; None: any number, of no meaning that is known here. The order gives the modes their numbers.
CHANNELS: dict[str, int | None] = {
    "L": 1,  # grey
    "RGB": 3,
    "1": 1,  # bilevel, True being white
    "LA": 2,  # grey and alpha
    "RGBA": 4,
    "P": 1,  # indices of a palette
    "PA": 2,  # indices of a palette and alpha
    "CMYK": 4,
    "YCbCr": 3,
    "LAB": 3,
    "HSV": 3,
    "La": 2,  # grey times alpha, and alpha
    "RGBa": 4,
    "RGBX": 4,  # RGB and a channel of no meaning
    "bands": None,
}
MODES = tuple(CHANNELS)
TYPES = ("unsigned", "int8", "int16", "uint32", "int32", "float16", "float32", "float64")
BYTES = {"uint32": 4, "int32": 4, "float16": 2, "float32": 4, "float64": 8}  # of types that are coded by bytes
MAX_TILE = 4096  # bounds what a decoder takes for one tile
MAX_SHIFT = 10
TILE_SIZE, LANE_SYMBOLS = 512, 32768
RAW, LZMA, WEBP = 2, 3, 5  # methods of stored forms, see `container`
SOURCE_PLANES, VALUES, JPEG = 1, 2, 3  # forms of origins
COLOURED = ("RGB", "RGBA", "RGBa", "RGBX")  # modes of pictures that may have an origin, ...
GREYS = ("L", "LA")  # ... and if it is a JPEG


class Form(NamedTuple):
    """A stored form, as it stands in a header: a method and its bytes."""

    method: int
    data: bytes


class Kind(IntEnum):
    """What the symbols of a group of planes are."""

    SAMPLES = 0  # of the picture
    SOURCE = 1  # of a source plane of its origin
    COEFFICIENTS = 2  # of the cosine transforms of a JPEG
    EXCEPTIONS = 3  # differences of the picture from what its origin gives


@dataclass(frozen=True)
class Origin:
    """What the first three channels of pictures were before they were RGB."""

    form: int
    data: bytes  # parameters

    @property
    def source_planes(self) -> int:
        """Of a form of source planes."""
        return 1 if self.data[2] & 16 else 3

    @property
    def kinds(self) -> list[Kind]:
        """Of the groups of planes that stand in place of the three channels."""
        if self.form == SOURCE_PLANES:
            return [Kind.SOURCE] * self.source_planes + [Kind.EXCEPTIONS]
        return [Kind.SAMPLES] if self.form == VALUES else [Kind.COEFFICIENTS, Kind.EXCEPTIONS]


@dataclass(frozen=True)
class Planes:
    """How some channels of the pictures of a layout are coded."""

    channels: int
    levels: int  # of what is coded
    model_id: bytes | None = None  # 8 bytes
    shift: int = 0
    scale: tuple[int, int] = (1, 1)  # columns and rows of which one sample is coded
    tile_size: int = TILE_SIZE  # samples, a multiple of 8
    lane_symbols: int = LANE_SYMBOLS
    chains: int = 0  # groups of pictures; 0: each tile is coded alone
    values: tuple[tuple[int, Form], ...] = ()  # (count, differences) of the value of each symbol, one or one a channel
    kind: Kind = Kind.SAMPLES
    geometry: int = 0  # of a plane of chroma, as its origin has it
    pace: Pace | None = None  # at which the model learns while it codes; None: it does not

    @property
    def halved(self) -> tuple[int, int]:
        """Columns and rows of the picture for one of these planes, 1 or 2 each."""
        return 1 + (self.geometry & 1), 1 + (self.geometry >> 1 & 1)

    @property
    def cosited(self) -> bool:
        """Whether a sample of a halved plane stands at one column and row, not between two."""
        return bool(self.geometry & 32)

    @property
    def shifted(self) -> tuple[int, int]:
        """The first column and row of the picture that the first sample stands for."""
        phase = self.geometry >> 2 & 1, self.geometry >> 3 & 1
        return phase if self.cosited else (-phase[0], -phase[1])

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the group of a picture of this size."""
        if self.kind == Kind.SOURCE:
            (hx, hy), (dx, dy) = self.halved, self.shifted
            return max(1, -(-(width - dx) // hx)), max(1, -(-(height - dy) // hy))
        return -(-width // self.scale[0]), -(-height // self.scale[1])


@dataclass(frozen=True)
class Layout:
    """What the samples of pictures mean, and the groups of planes that they are coded in."""

    mode: str
    planes: tuple[Planes, ...]
    type: str = "unsigned"
    levels: int = 256  # of unsigned samples, as they are coded
    channels: int = 1
    colours: int = 0  # of the palette
    columns: int = 3
    palette: Form | None = None
    origin: Origin | None = None

    @property
    def coded_channels(self) -> int:
        return self.channels * BYTES.get(self.type, 1)

    @property
    def bytes(self) -> int:
        """Of a sample in memory."""
        return BYTES.get(self.type) or (1 if self.levels <= 256 else 2)

    @property
    def bits(self) -> int:
        """Of a sample in the picture."""
        return 8 * BYTES[self.type] if self.type in BYTES else (self.levels - 1).bit_length()


@dataclass(frozen=True)
class Header:
    """What is known of the pictures before any tile."""

    layouts: tuple[Layout, ...]
    runs: tuple[tuple[int, int, int, int], ...]  # (count, layout, width, height)

    @staticmethod
    def of(layouts: Sequence[Layout], pictures: Sequence[tuple[int, int, int]]) -> Header:
        """From the (layout, width, height) of each picture."""
        return Header(tuple(layouts), tuple((len(list(run)), *which) for which, run in groupby(pictures)))

    @property
    def width(self) -> int:
        """Of the first picture."""
        return self.runs[0][2]

    @property
    def height(self) -> int:
        """Of the first picture."""
        return self.runs[0][3]

    @property
    def first(self) -> Layout:
        """Of the first picture."""
        return self.layouts[self.runs[0][1]]

    @cached_property
    def count(self) -> int:
        """Pictures."""
        return sum(run[0] for run in self.runs)

    @cached_property
    def pixels(self) -> int:
        return sum(count * width * height for count, _, width, height in self.runs)

    @cached_property
    def subpixels(self) -> int:
        return sum(count * width * height * self.layouts[i].channels for count, i, width, height in self.runs)

    @cached_property
    def bits(self) -> int:
        """Of all samples, as they are in the pictures."""
        return sum(
            count * width * height * self.layouts[i].channels * self.layouts[i].bits
            for count, i, width, height in self.runs
        )

    @cached_property
    def bytes(self) -> int:
        """Of all samples in memory."""
        return sum(
            count * width * height * self.layouts[i].channels * self.layouts[i].bytes
            for count, i, width, height in self.runs
        )

    def pictures(self) -> Iterator[tuple[int, int, int]]:
        """The (layout, width, height) of each picture."""
        for count, *which in self.runs:
            for _ in range(count):
                yield which[0], which[1], which[2]

    @cached_property
    def table_entries(self) -> int:
        """Of all tables of values: what reading them takes is in proportion."""
        return sum(count for _, _, planes in self.parts for count, _ in planes.values)

    @cached_property
    def parts(self) -> list[tuple[int, int, Planes]]:
        """(number of the layout, first channel, planes) of each group of planes; of source planes, first plane."""
        found = []
        for number, layout in enumerate(self.layouts):
            first = 0
            for planes in layout.planes:
                if planes.kind in (Kind.COEFFICIENTS, Kind.EXCEPTIONS):
                    found.append((number, 0, planes))
                    first = planes.channels
                else:
                    found.append((number, first, planes))
                    first += planes.channels
        return found


def expected(origin: Origin | None, channels: int) -> Iterator[tuple[Kind, int]]:
    """(kind, geometry) of the groups of planes that an origin has, then of as many as there may be behind.

    channels: of the samples that are coded.
    """
    if origin is not None:
        for number, kind in enumerate(origin.kinds):
            yield kind, origin.data[2] if kind == Kind.SOURCE and number else 0
    for _ in range(channels):
        yield Kind.SAMPLES, 0


def check_header(header: Header, error: type[Exception]) -> None:
    """Raises ``error`` for what no header may hold."""
    for layout in header.layouts:
        _check_layout(layout, error)
    used = [0] * len(header.layouts)
    for count, layout_number, width, height in header.runs:
        if not (count > 0 and 0 < width < 2**32 and 0 < height < 2**32 and layout_number < len(header.layouts)):
            raise error(f"impossible sizes of pictures in the header: {DAMAGED}")
        used[layout_number] += count
    if not header.layouts or not all(used):
        raise error(f"a layout without pictures in the header: {DAMAGED}")
    for layout, count in zip(header.layouts, used):
        if any(planes.chains > count for planes in layout.planes):
            raise error(f"{count} pictures cannot be in more groups than they are: {DAMAGED}")


def _check_layout(layout: Layout, error: type[Exception]) -> None:
    indexed = layout.mode in ("P", "PA")
    levels = 65536 if layout.type == "int16" else 256
    problems = {
        "mode": layout.mode not in MODES or layout.type not in TYPES,
        "levels": not 2 <= layout.levels <= 65536 or (layout.type != "unsigned" and layout.levels != levels),
        "bilevel samples": layout.mode == "1" and (layout.levels != 2 or layout.type != "unsigned"),
        "channels": layout.channels != (CHANNELS.get(layout.mode) or layout.channels) or not 1 <= layout.channels < 256,
        "planes": sum(planes.channels for planes in layout.planes if planes.kind in (Kind.SAMPLES, Kind.EXCEPTIONS))
        != layout.coded_channels,
        "origin": any(planes.kind != Kind.SAMPLES for planes in layout.planes)
        if layout.origin is None
        else _wrong_origin(layout, layout.origin),
        "palette": indexed != (layout.palette is not None)
        or (indexed and not (1 <= layout.colours <= 256 and layout.columns in (3, 4) and layout.levels <= 256))
        or (indexed and layout.type != "unsigned")
        or (layout.palette is not None and layout.palette.method not in (RAW, LZMA, WEBP)),
    }
    for planes in layout.planes:
        problems |= _problems_of_planes(planes, layout)
        if any(problems.values()):
            break
    if bad := [name for name, wrong in problems.items() if wrong]:
        raise error(f"impossible {' and '.join(bad)} in the header: {DAMAGED}")


def _wrong_origin(layout: Layout, origin: Origin) -> bool:
    """Whether a layout cannot have this origin."""
    lengths = {SOURCE_PLANES: range(3, 4), VALUES: range(2, 3), JPEG: range(1, 1 << 16)}
    if origin.form not in lengths or len(origin.data) not in lengths[origin.form]:
        return True
    wanted = [one for one, _ in zip(expected(origin, layout.coded_channels), layout.planes)]
    return bool(
        layout.mode not in (COLOURED + GREYS if origin.form == JPEG else COLOURED)
        or (layout.type, layout.levels) != ("unsigned", 256)
        or (origin.form == SOURCE_PLANES and (origin.data[2] >= 64 or (origin.data[2] >> 2 & 3) & ~origin.data[2]))
        or len(layout.planes) < len(origin.kinds)
        or (origin.form == VALUES and layout.planes[0].channels != 3)
        or [(planes.kind, planes.geometry) for planes in layout.planes] != wanted
        or any(planes.chains for planes in layout.planes)
    )


def may_learn(planes: Planes) -> bool:
    """Whether the model of a group of planes may learn while it codes."""
    return planes.model_id is not None and not planes.chains


def _problems_of_planes(planes: Planes, layout: Layout) -> dict[str, bool]:
    source = planes.kind == Kind.SOURCE
    simple = planes.kind in (Kind.EXCEPTIONS, Kind.COEFFICIENTS)
    return {
        "channels of planes": not 1 <= planes.channels < 256
        or (source and planes.channels != 1)
        or (simple and planes.channels != (1 if layout.mode in GREYS else 3)),
        "planes of an origin": ((source or simple) and (planes.scale != (1, 1) or bool(planes.values)))
        or (simple and (planes.model_id is not None or planes.lane_symbols != LANE_SYMBOLS)),
        "model": planes.model_id is not None and (len(planes.model_id) != 8 or planes.channels not in (1, 3)),
        "coded levels": not 2 <= planes.levels <= layout.levels
        or (not planes.values and planes.levels != layout.levels),
        "shift": not 0 <= planes.shift <= (MAX_SHIFT if planes.levels > 256 else 0),
        "learning": planes.pace is not None and (not 0 <= planes.pace.slow <= MAX_SLOW or not may_learn(planes)),
        "scale": not all(1 <= factor <= 255 for factor in planes.scale),
        "tile size": not 8 <= planes.tile_size <= MAX_TILE or planes.tile_size % 8 != 0,
        "lane symbols": not 1 <= planes.lane_symbols < 2**32,
        "chains": planes.chains < 0,
        "values": len(planes.values) not in (0, 1, planes.channels)
        or len(planes.values) > 4
        or any(not 1 <= count <= planes.levels or form.method not in (RAW, LZMA) for count, form in planes.values),
    }
