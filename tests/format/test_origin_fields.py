"""Origins in a header: round trips of each form, the bytes themselves, and what no file may say of them."""

import zlib
from dataclasses import replace

import pytest

from vlae_codec import errors
from vlae_codec.format import container
from vlae_codec.format.chunks import pack, pack_varint
from vlae_codec.format.container import Method, TileRecord, parts_of
from vlae_codec.format.fields import pack_header, unpack_header
from vlae_codec.format.header import JPEG, SOURCE_PLANES, VALUES, Form, Header, Kind, Layout, Origin, Planes

MODEL = bytes(range(8))
LUMA = Planes(1, 256, MODEL, kind=Kind.SOURCE)
EXCEPTIONS = Planes(3, 256, kind=Kind.EXCEPTIONS)
COEFFICIENTS = Planes(3, 256, tile_size=2048, kind=Kind.COEFFICIENTS)
ALPHA = Planes(1, 256)


def chroma(geometry: int) -> Planes:
    return Planes(1, 256, MODEL, tile_size=256, kind=Kind.SOURCE, geometry=geometry)


def source_planes(geometry: int, *more: Planes, mode: str = "RGB", numbers: bytes = b"\x01\x02") -> Layout:
    planes = (LUMA,) if geometry & 16 else (LUMA, chroma(geometry), chroma(geometry))
    origin = Origin(SOURCE_PLANES, numbers + bytes([geometry]))
    return Layout(mode, (*planes, EXCEPTIONS, *more), channels=3 + len(more), origin=origin)


def jpeg(mode: str, *more: Planes) -> Layout:
    colours = 3 if mode.startswith("RGB") else 1
    pair = replace(COEFFICIENTS, channels=colours), replace(EXCEPTIONS, channels=colours)
    return Layout(mode, (*pair, *more), channels=colours + len(more), origin=Origin(JPEG, b"parameters"))


RESTRICTED = Layout("RGB", (Planes(3, 256, MODEL),), channels=3, origin=Origin(VALUES, b"\x00\x0c"))
LAYOUTS = {
    "whole": source_planes(0),
    "half": source_planes(3),
    "half columns, phase": source_planes(1 + 4),
    "half rows, phase": source_planes(2 + 8),
    "cosited": source_planes(15 + 32),
    "grey": source_planes(16),
    "alpha": source_planes(3, ALPHA, mode="RGBA"),
    "RGBX": source_planes(16, ALPHA, mode="RGBX"),
    "jpeg": jpeg("RGB"),
    "grey jpeg": jpeg("L"),
    "grey jpeg, alpha": jpeg("LA", ALPHA),
    "jpeg, alpha": jpeg("RGBa", ALPHA),
    "values": RESTRICTED,
    "values, alpha": Layout("RGBA", (*RESTRICTED.planes, ALPHA), channels=4, origin=RESTRICTED.origin),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_round_trip(name):
    head = Header.of([LAYOUTS[name], Layout("L", (ALPHA,))], [(0, 37, 21), (1, 5, 5)])
    data = pack_header(head)
    assert unpack_header(memoryview(data + b"rest")) == (head, len(data))
    methods = {Kind.EXCEPTIONS: Method.EXCEPTIONS, Kind.COEFFICIENTS: Method.COEFFICIENTS}
    records = [TileRecord(methods.get(planes.kind, Method.RAW), b"stream") for _, _, planes in head.parts]
    parts = [replace(part, records=(record,)) for part, record in zip(parts_of(head), records)]
    assert list(container.read(container.write(head, parts)).parts) == parts


def test_bytes():
    """As the description has them."""
    planes = [b"\x01\x01" + MODEL, *[b"\x01\x11" + MODEL + b"\x20"] * 2, b"\x03\x00"]
    fields = b"\x01\x81\x01\x03\x01\x02\x03" + b"".join(planes) + b"\x01\x01\x00\x25\x15"
    assert pack_header(Header.of([LAYOUTS["half"]], [(0, 37, 21)])) == fields
    fields = b"\x01\x80\x03\x0aparameters\x01\x10\x80\x02\x01\x00\x01\x01\x00\x25\x15"
    assert pack_header(Header.of([LAYOUTS["grey jpeg"]], [(0, 37, 21)])) == fields


@pytest.mark.parametrize(
    ("geometry", "columns"),  # of a plane of chroma of 1, 2, 3, 4 and 5 columns of the picture
    [(0, (1, 2, 3, 4, 5)), (1, (1, 1, 2, 2, 3)), (5, (1, 2, 2, 3, 3)), (33, (1, 1, 2, 2, 3)), (37, (1, 1, 1, 2, 2))],
)
def test_sizes(geometry, columns):
    planes = chroma(geometry)
    assert tuple(planes.size(width, 7)[0] for width in range(1, 6)) == columns
    upright = chroma((geometry & 5) << 1 | geometry & 32)
    assert tuple(upright.size(7, height)[1] for height in range(1, 6)) == columns
    for width, count in enumerate(columns, 1):  # each pixel has a sample, and each sample a pixel if not cosited
        places = {(x - planes.shifted[0]) // planes.halved[0] for x in range(width)}
        assert {min(max(place, 0), count - 1) for place in places} == set(range(count))


def test_parts():
    """Source planes have numbers of their own; what stands for the colours begins at 0, and alpha behind them."""
    channels = [channel for _, channel, _ in Header.of([LAYOUTS["alpha"]], [(0, 9, 9)]).parts]
    assert channels == [0, 1, 2, 0, 3]
    channels = [channel for _, channel, _ in Header.of([LAYOUTS["jpeg, alpha"]], [(0, 9, 9)]).parts]
    assert channels == [0, 0, 3]


# ---------------------------------------------------------------------------------------------------- hostile headers

RUN = b"\x01\x01\x00\x02\x01"  # one picture of 2x1 pixels
STREAM = b"\x05\x06\x07\x08\x09\x0a"
PLANE, THREE = b"\x01\x00", b"\x03\x00"  # a group of one channel and of three, all usual


def fields(*parts: bytes, mode: int = 1) -> bytes:
    return bytes([1, 128 + mode]) + b"".join(parts) + RUN


def file_of(head: bytes, *streams: tuple[int, bytes]) -> bytes:
    """A file of any fields with good records and checksums."""
    lengths = [pack_varint(len(data)) for _, data in streams[:-1]] + [b""]
    sums = [zlib.crc32(data).to_bytes(4, "little") for _, data in streams]
    table = b"".join(bytes([method]) + n + crc for (method, _), n, crc in zip(streams, lengths, sums))
    start = pack(b"H", head + table, before=container.MAGIC + b"\x02")
    return pack(b"D", b"".join(data for _, data in streams), before=start)


def origin(form: int, *numbers: int) -> bytes:
    return bytes([form, len(numbers), *numbers])


GOOD = {
    "source planes": (fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, THREE), [2, 2, 2, 6]),
    "grey": (fields(origin(1, 0, 0, 16), PLANE, THREE), [2, 6]),
    "values": (fields(origin(2, 0, 9), THREE), [2]),
    "jpeg": (fields(origin(3, 0), THREE, THREE), [7, 6]),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    head, methods = GOOD[name]
    assert len(container.read(file_of(head, *((method, STREAM) for method in methods))).records) == len(methods)


@pytest.mark.parametrize(
    "head",
    [
        fields(origin(1, 1, 0), PLANE, PLANE, PLANE, THREE),  # lengths
        fields(origin(1, 1, 0, 0, 0), PLANE, PLANE, PLANE, THREE),
        fields(origin(1), PLANE, PLANE, PLANE, THREE),
        fields(origin(2, 0), THREE),
        fields(origin(2, 0, 9, 9), THREE),
        fields(origin(3), THREE, THREE),
        fields(b"\x03\x80\x80\x04" + bytes(65536), THREE, THREE),
        fields(b"\x03\xff\xff\xff\xff\x0f", THREE, THREE),
        fields(origin(1, 1, 0, 64), PLANE, PLANE, PLANE, THREE),  # geometry
        fields(origin(1, 1, 0, 128), PLANE, PLANE, PLANE, THREE),
        fields(origin(1, 1, 0, 4), PLANE, PLANE, PLANE, THREE),  # the phase of whole columns
        fields(origin(1, 1, 0, 8 + 1), PLANE, PLANE, PLANE, THREE),
        fields(origin(1, 1, 0, 0), PLANE, mode=0),  # modes
        fields(origin(1, 0, 0, 16), PLANE, PLANE, mode=0),
        fields(origin(2, 0, 9), PLANE, mode=0),
        fields(origin(1, 0, 0, 16), PLANE, b"\x01\x00", mode=2),
        fields(origin(3, 0), b"\x03\x00", b"\x03\x00", mode=8),
        fields(origin(3, 0), THREE, THREE, PLANE, mode=7),
        fields(b"\x03", origin(3, 0), THREE, THREE, mode=14),
        fields(b"\x01", origin(3, 0), THREE, THREE, mode=1 + 32),  # int8
        fields(b"\xff\x01", origin(3, 0), THREE, THREE, mode=1 + 64),  # 255 levels
        fields(b"\xac\x02", origin(2, 0, 9), THREE, mode=1 + 64),  # 300
        fields(origin(1, 1, 0, 0), THREE, THREE, THREE, THREE),  # channels
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, PLANE),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x04\x00"),
        fields(origin(2, 0, 9), PLANE, PLANE, PLANE),
        fields(origin(3, 0), PLANE, THREE),
        fields(origin(3, 0), PLANE, PLANE, PLANE, PLANE),
        fields(origin(3, 0), PLANE, THREE, mode=0),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE),  # no exceptions
        fields(origin(1, 0, 0, 16), PLANE),
        fields(origin(3, 0), THREE),
        fields(origin(1, 1, 0, 0)),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x03\x01" + MODEL),  # fields of exceptions
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x03\x02\x10"),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x03\x08\x02\x02"),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x03\x20\x05"),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x03\x40\x01"),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, PLANE, b"\x03\x80\x01\x02\x02\x01a"),
        fields(origin(3, 0), b"\x03\x01" + MODEL, THREE),  # of coefficients
        fields(origin(3, 0), b"\x03\x08\x02\x01", THREE),
        fields(origin(3, 0), b"\x03\x20\x05", THREE),
        fields(origin(3, 0), b"\x03\x40\x01", THREE),
        fields(origin(3, 0), b"\x03\x80\x01\x02\x02\x01a", THREE),
        fields(origin(1, 1, 0, 0), b"\x01\x02\x10", PLANE, PLANE, THREE),  # of source planes
        fields(origin(1, 1, 0, 0), b"\x01\x04\x01", PLANE, PLANE, THREE),
        fields(origin(1, 1, 0, 0), PLANE, b"\x01\x08\x02\x02", PLANE, THREE),
        fields(origin(1, 1, 0, 0), PLANE, PLANE, b"\x01\x40\x01", THREE),
        fields(origin(1, 1, 0, 0), b"\x01\x80\x01\x02\x02\x01a", PLANE, PLANE, THREE),
        fields(origin(2, 0, 9), b"\x03\x40\x01"),  # chains of values
    ],
)
def test_impossible(head):
    with pytest.raises(errors.CorruptFile):
        unpack_header(memoryview(head))
    with pytest.raises(errors.CorruptFile):
        container.read(file_of(head, (2, STREAM), (6, STREAM)))


@pytest.mark.parametrize("form", [0, 4, 255])
def test_unknown_form(form):
    with pytest.raises(errors.UnsupportedVersion, match=f"form {form} .*update"):
        container.read(file_of(fields(origin(form, 0, 0, 0), THREE), (2, STREAM)))


def test_truncated():
    for head, _ in GOOD.values():
        for end in range(len(head)):
            with pytest.raises(errors.CorruptFile):
                unpack_header(memoryview(head[:end]))


def test_not_written():
    """What cannot be read cannot be written either."""
    for layout in (
        replace(RESTRICTED, origin=Origin(VALUES, b"\x00")),
        replace(RESTRICTED, origin=Origin(9, b"\x00")),
        replace(LAYOUTS["half"], planes=LAYOUTS["half"].planes[:-1]),
        replace(LAYOUTS["half"], planes=LAYOUTS["whole"].planes),
        replace(LAYOUTS["half"], origin=None),
        replace(LAYOUTS["grey"], planes=(replace(LUMA, values=((2, Form(2, b"ab")),)), EXCEPTIONS)),
        replace(LAYOUTS["jpeg"], planes=(replace(COEFFICIENTS, channels=1), EXCEPTIONS)),
        replace(LAYOUTS["jpeg"], mode="YCbCr"),
    ):
        with pytest.raises(ValueError, match="impossible"):
            pack_header(Header.of([layout], [(0, 37, 21)]))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("source planes", 0),
        ("source planes", 2),
        ("source planes", 3),
        ("grey", 1),
        ("values", 0),
        ("jpeg", 0),
        ("jpeg", 1),
    ],
)
def test_methods(name, place):
    """Exceptions and coefficients stand in their groups, and nothing else does; nothing is a difference."""
    head, methods = GOOD[name]
    allowed = {6: [6], 7: [7], 2: [2, 3, 5]}[methods[place]]
    for method in {*range(8), *range(128, 136)} - set(allowed):
        some = [method if i == place else one for i, one in enumerate(methods)]
        with pytest.raises(errors.CorruptFile, match=r"tile 0 .*(other planes|no picture)"):
            container.read(file_of(head, *((one, STREAM) for one in some)))


def test_damage_is_named():
    """Of a picture of two tiles of 512 pixels."""
    head = fields(origin(1, 0, 0, 16), PLANE, THREE)[: -len(RUN)] + b"\x01\x01\x00\x84\x04\x01"  # 516x1
    streams = [(2, bytes(512)), (2, bytes(4)), (6, b"ab"), (6, b"cd")]
    data = file_of(head, *streams)
    assert len(container.read(data).records) == 4
    at = data.index(b"abcd")
    for place, name in ((at, "tile 0"), (at + 2, "tile 1")):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(errors.CorruptFile, match=f"^{name} .*is damaged"):
            container.read(bytes(damaged))
