"""The fields of chunk H <-> a `Header`; `header` says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlae_codec.contract import Pace
from vlae_codec.errors import CorruptFile, UnsupportedVersion
from vlae_codec.format.chunks import DAMAGED, pack_varint, read_varint
from vlae_codec.format.header import (
    CHANNELS,
    COLOURED,
    GREYS,
    JPEG,
    LANE_SYMBOLS,
    MODES,
    SOURCE_PLANES,
    TILE_SIZE,
    TYPES,
    VALUES,
    Form,
    Header,
    Kind,
    Layout,
    Origin,
    Planes,
    check_header,
    expected,
)
from vlae_codec.limits import DEFAULT, Limits

NEWER = "it was written by a newer vlae-codec: update to read it"


# Writing


def pack_header(header: Header) -> bytes:
    """The fields. Raises ValueError for what no header can hold."""
    check_header(header, ValueError)
    return _pack(header)


def _pack(header: Header) -> bytes:
    parts = [pack_varint(len(header.layouts)), *map(_pack_layout, header.layouts), pack_varint(len(header.runs))]
    return b"".join([*parts, *(pack_varint(number) for run in header.runs for number in run)])


def _pack_layout(layout: Layout) -> bytes:
    typed, several = layout.type != "unsigned", layout.type == "unsigned" and layout.levels != _usual(layout.mode)
    out = bytearray([MODES.index(layout.mode) + 32 * typed + 64 * several + 128 * (layout.origin is not None)])
    if typed:
        out.append(TYPES.index(layout.type))
    if several:
        out += pack_varint(layout.levels)
    if layout.mode == "bands":
        out.append(layout.channels)
    if layout.palette is not None:
        out += pack_varint(layout.colours) + bytes([layout.columns]) + _pack_form(layout.palette)
    if layout.origin is not None:
        out += bytes([layout.origin.form]) + pack_varint(len(layout.origin.data)) + layout.origin.data
    for planes in layout.planes:
        out += _pack_planes(planes, layout)
    return bytes(out)


def _pack_planes(planes: Planes, layout: Layout) -> bytes:
    fields = [
        (planes.model_id or b"", planes.model_id is not None),
        (pack_varint(planes.levels), planes.levels != layout.levels),
        (bytes([planes.shift + 16 * _learning(planes)]), planes.shift != 0 or planes.pace is not None),
        (bytes(planes.scale), planes.scale != (1, 1)),
        (pack_varint(planes.tile_size // 8), planes.tile_size != TILE_SIZE),
        (pack_varint(planes.lane_symbols), planes.lane_symbols != LANE_SYMBOLS),
        (pack_varint(planes.chains), planes.chains != 0),
        (_pack_values(planes.values), bool(planes.values)),
    ]
    flags = sum(there << i for i, (_, there) in enumerate(fields))
    return bytes([planes.channels, flags]) + b"".join(data for data, there in fields if there)


def _learning(planes: Planes) -> int:
    """The high digit of the byte of which the low one is the shift."""
    return 0 if planes.pace is None else 1 + planes.pace.slow + 8 * planes.pace.whole


def _pace(learning: int) -> Pace | None:
    """What such a digit says."""
    return Pace(learning % 8 - 1, learning >= 8) if learning else None


def _pack_values(values: Sequence[tuple[int, Form]]) -> bytes:
    return bytes([len(values)]) + b"".join(pack_varint(count) + _pack_form(form) for count, form in values)


def _pack_form(form: Form) -> bytes:
    return bytes([form.method]) + pack_varint(len(form.data)) + form.data


def _usual(mode: str) -> int:
    return 2 if mode == "1" else 256


# Reading


def unpack_header(data: memoryview, limits: Limits = DEFAULT) -> tuple[Header, int]:
    """(the header, the position after its fields).

    Raises CorruptFile, TruncatedFile, UnsupportedVersion, and ImageTooLarge for more runs than pictures allowed.
    """
    reader = Reader(data)
    layouts = [_read_layout(reader) for _ in range(reader.count(3))]
    runs = []
    for _ in range(reader.count(4)):
        runs.append((reader.varint(), reader.varint(), reader.varint(), reader.varint()))
        limits.check(0, len(runs))
    header = Header(tuple(layouts), tuple(runs))
    check_header(header, CorruptFile)
    if _pack(header) != data[: reader.position]:  # a field says what its absence would
        raise CorruptFile(f"a field of the header that must not be there: {DAMAGED}")
    return header, reader.position


class Reader:
    """Takes numbers from a payload. All raise CorruptFile or TruncatedFile."""

    def __init__(self, data: memoryview, position: int = 0) -> None:
        self.data, self.position = data, position

    def varint(self) -> int:
        value, self.position = read_varint(self.data, self.position)
        return value

    def count(self, size: int) -> int:
        """A number of things that take `size` bytes each at least."""
        count = self.varint()
        if count * size > len(self.data) - self.position:
            raise CorruptFile(f"{count} entries do not fit the chunk: {DAMAGED}")
        return count

    def take(self, count: int) -> bytes:
        part = bytes(self.data[self.position : self.position + count])
        if len(part) != count:
            raise CorruptFile(f"a chunk ends inside a field: {DAMAGED}")
        self.position += count
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def form(self) -> Form:
        method, length = self.byte(), self.varint()
        return Form(method, self.take(length))


def _read_layout(reader: Reader) -> Layout:
    code = reader.byte()
    typed, several, number = code & 32, code & 64, code & 31
    if number >= len(MODES):
        raise UnsupportedVersion(f"pictures of mode {code} are unknown here: {NEWER}")
    mode = MODES[number]
    type_number = reader.byte() if typed else 0
    if type_number >= len(TYPES):
        raise UnsupportedVersion(f"samples of type {type_number} are unknown here: {NEWER}")
    kind = TYPES[type_number]
    levels = reader.varint() if several else 65536 if kind == "int16" else _usual(mode)
    channels = CHANNELS[mode] or reader.byte()
    colours, columns, palette = 0, 3, None
    if mode in ("P", "PA"):
        colours, columns, palette = reader.varint(), reader.byte(), reader.form()
    origin = _read_origin(reader, mode) if code & 128 else None
    layout = Layout(mode, (), kind, levels, channels, colours, columns, palette, origin)
    planes: list[Planes] = []
    left = layout.coded_channels
    for what, geometry in expected(origin, left):
        if left <= 0:
            break
        planes.append(replace(_read_planes(reader, layout), kind=what, geometry=geometry))
        if what in (Kind.SAMPLES, Kind.EXCEPTIONS):  # source planes and coefficients stand for those of exceptions
            left -= planes[-1].channels
    return replace(layout, planes=tuple(planes))


def _read_origin(reader: Reader, mode: str) -> Origin:
    form, length = reader.byte(), reader.varint()
    origin = Origin(form, reader.take(length))
    if form not in (SOURCE_PLANES, VALUES, JPEG):
        raise UnsupportedVersion(f"pictures of an origin of form {form} are unknown here: {NEWER}")
    if mode not in COLOURED + GREYS or (form == SOURCE_PLANES and length != 3):
        raise CorruptFile(f"an impossible origin in the header: {DAMAGED}")
    return origin


def _read_planes(reader: Reader, layout: Layout) -> Planes:
    channels, flags = reader.byte(), reader.byte()
    if not channels:
        raise CorruptFile(f"planes without channels: {DAMAGED}")
    model_id = reader.take(8) if flags & 1 else None
    levels = reader.varint() if flags & 2 else layout.levels
    learning, shift = divmod(reader.byte() if flags & 4 else 0, 16)
    return Planes(
        channels,
        levels,
        model_id,
        shift=shift,
        pace=_pace(learning),
        scale=(reader.byte(), reader.byte()) if flags & 8 else (1, 1),
        tile_size=8 * reader.varint() if flags & 16 else TILE_SIZE,
        lane_symbols=reader.varint() if flags & 32 else LANE_SYMBOLS,
        chains=reader.varint() if flags & 64 else 0,
        values=tuple((reader.varint(), reader.form()) for _ in range(reader.byte())) if flags & 128 else (),
    )
