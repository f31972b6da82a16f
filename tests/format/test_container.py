"""The file format: layout, round trips, and that no damage passes unseen."""

import random
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlae_codec import errors
from vlae_codec.format import container, header
from vlae_codec.format.chunks import pack, pack_varint, read_varint
from vlae_codec.format.container import Metadata, Method, TileRecord, parts_of
from vlae_codec.format.fields import pack_header
from vlae_codec.format.header import Form, Header, Layout, Planes
from vlae_codec.limits import Limits

MODEL = bytes(range(8))
RGB = Layout("RGB", (Planes(3, 256, MODEL, tile_size=16),), channels=3)
HEADER = Header((RGB,), ((1, 0, 20, 9),))
TILES = [TileRecord(Method.LATENTS, b"first" * 30), TileRecord(Method.RAW, b"second")]
METADATA = [Metadata(0, 1, "exif", b"II*\0"), Metadata(0, 1, "icc", b"profile")]


def written(head, *records, metadata=(), adapters=None):
    """The file of a header; records: those of each group of planes; adapters: by the number of the group."""
    parts = [
        replace(part, records=tuple(some), adapter=(adapters or {}).get(i))
        for i, (part, some) in enumerate(zip(parts_of(head), records, strict=True))
    ]
    return container.write(head, parts, metadata)


def sample() -> bytes:
    return written(HEADER, TILES, metadata=METADATA, adapters={0: b"weights"})


def rebuild(chunks: list[tuple[bytes, bytes]], version: int = 2) -> bytes:
    """A file with good checksums from any chunks, of which the last one ends it."""
    data = pack(*chunks[0], before=container.MAGIC + bytes([version]))
    data += b"".join(pack(kind, payload) for kind, payload in chunks[1:-1])
    kind, payload = chunks[-1]
    return pack(kind, payload, before=data)


def records_of(*streams: tuple[int, bytes]) -> bytes:
    lengths = [pack_varint(len(data)) for _, data in streams[:-1]] + [b""]
    sums = [zlib.crc32(data).to_bytes(4, "little") for _, data in streams]
    return b"".join(bytes([method]) + n + crc for (method, _), n, crc in zip(streams, lengths, sums))


def from_fields(fields: bytes, *streams: tuple[int, bytes]) -> bytes:
    """A file of any fields of chunk H, with good records and checksums."""
    return rebuild([(b"H", fields + records_of(*streams)), (b"D", b"".join(data for _, data in streams))])


STREAM = b"\x05\x06"
GREY = b"\x01\x00\x01\x00"  # one layout, grey, of a group of one channel, which is all usual
FIELDS = GREY + b"\x01\x01\x00\x02\x01"  # a run of one picture of 2x1 pixels
TABLE = b"\x02" + zlib.crc32(STREAM).to_bytes(4, "little")
GOOD = [(b"H", FIELDS + TABLE), (b"D", STREAM)]
PLAIN = Header((Layout("L", (Planes(1, 256),)),), ((1, 0, 2, 1),))
KNOWN = b"\x01\x00\x01\x01" + MODEL + b"\x01\x01\x00\x02\x01"  # the same with a model


def test_sanity():
    contents = container.read(sample())
    (part,) = contents.parts
    assert contents.header == HEADER
    assert part.records == tuple(TILES)
    assert part.adapter == b"weights"
    assert contents.metadata == tuple(METADATA)
    assert contents.metadata_by_picture() == [contents.metadata_of(0)] == [{"exif": b"II*\0", "icc": b"profile"}]
    assert contents.sizes() == [(20, 9)]


def test_layout():
    """The bytes that the docstring promises, built by hand."""
    data = b"\xf6VLAE\r\n\x1a\x02" + b"H\x0e" + FIELDS + TABLE
    data += zlib.crc32(data).to_bytes(4, "little")
    body = b"D\x02" + STREAM
    data += body + zlib.crc32(data + body).to_bytes(4, "little")
    assert written(PLAIN, [TileRecord(2, STREAM)]) == data
    metadata = pack(b"m", b"\x00\x01\x03iccprofile")
    at = data.index(b"D\x02")
    longer = pack(b"D", STREAM, before=data[:at] + metadata)
    assert written(PLAIN, [TileRecord(2, STREAM)], metadata=[Metadata(0, 1, "icc", b"profile")]) == longer


FORM = Form(2, b"\x03\x01\x00")
EVERYTHING = [
    (Layout("1", (Planes(1, 2),), levels=2), "02 01 00"),
    (Layout("L", (Planes(1, 4096, MODEL, 3),), levels=4096), "40 8020 01 05 0001020304050607 03"),
    (Layout("L", (Planes(1, 65536),), "int16", 65536), "20 02 01 00"),
    (Layout("RGBA", (Planes(3, 256), Planes(1, 256)), channels=4), "04 03 00 01 00"),
    (Layout("bands", (Planes(4, 256),), channels=4), "0e 04 04 00"),
    (Layout("L", (Planes(2, 256), Planes(2, 256)), "float32"), "20 06 02 00 02 00"),
    (Layout("P", (Planes(1, 16),), levels=16, colours=1, palette=FORM), "45 10 01 03 02 03 030100 01 00"),
    (
        Layout("RGB", (Planes(3, 3, None, 0, (2, 255), 24, 7, 1, ((3, FORM),)),), channels=3),
        "01 03 fa 03 02ff 03 07 01 01 03 02 03 030100",
    ),
]


@pytest.mark.parametrize(("layout", "expected"), EVERYTHING)
def test_layouts(layout, expected):
    """Every field, by hand."""
    layout = replace(layout, channels=header.CHANNELS[layout.mode] or layout.channels)
    head, stream = Header((layout,), ((1, 0, 300, 1),)), bytes(2400)
    fields = b"\x01" + bytes.fromhex(expected) + bytes.fromhex("01 01 00 ac02 01")
    assert pack_header(head) == fields
    tiles = [[TileRecord(2, stream)] * part.record_count for part in parts_of(head)]
    assert written(head, *tiles) == from_fields(fields, *[(2, stream)] * sum(map(len, tiles)))
    assert container.read(written(head, *tiles)).header == head


def test_names():
    """The numbers of the docstring are those of the code."""
    text = " ".join(str(header.__doc__).split())
    for number, mode in enumerate(header.MODES):
        name = {"1": "bilevel"}.get(mode, mode)
        assert f"{number} {name}" in text
    for number, name in enumerate(header.TYPES):
        assert f"{number} {name}" in text


def test_overhead():
    assert len(written(Header((Layout("L", (Planes(1, 256),)),), ((1, 0, 1, 1),)), [TileRecord(2, b"a")])) == 35 + 1
    named = Layout("RGB", (Planes(3, 256, MODEL),), channels=3)
    assert len(written(Header((named,), ((1, 0, 1, 1),)), [TileRecord(0, b"abcdefgh")])) == 43 + 8


def encodable(text):
    return not any("\ud800" <= c <= "\udfff" for c in text) and len(text.encode()) < 256


@st.composite
def layouts(draw):
    mode = draw(st.sampled_from(header.MODES))
    kind = draw(st.sampled_from(header.TYPES)) if mode not in ("1", "P", "PA") else "unsigned"
    levels = {"int16": 65536, "unsigned": draw(st.integers(2, 256 if mode in ("P", "PA") else 65536))}.get(kind, 256)
    levels = 2 if mode == "1" else levels
    channels = header.CHANNELS[mode] or draw(st.integers(1, 9))
    left, planes = channels * header.BYTES.get(kind, 1), []
    while left:
        count = draw(st.integers(1, left))
        tables, coded = draw(st.sampled_from([0, 1, count if count <= 4 else 1])), levels
        values: tuple[tuple[int, Form], ...] = ()
        if tables:
            coded = draw(st.integers(2, levels))
            form = st.builds(Form, st.sampled_from([2, 3]), st.binary(max_size=9))
            values = tuple((draw(st.integers(1, coded)), draw(form)) for _ in range(tables))
        model = draw(st.none() | st.binary(min_size=8, max_size=8)) if count in (1, 3) else None
        scale = (draw(st.integers(1, 255)), draw(st.integers(1, 255)))
        shift = draw(st.integers(0, 10)) if coded > 256 else 0
        size, lanes = 8 * draw(st.integers(1, header.MAX_TILE // 8)), draw(st.integers(1, 2**32 - 1))
        planes.append(Planes(count, coded, model, shift, scale, size, lanes, draw(st.integers(0, 3)), values))
        left -= count
    if mode not in ("P", "PA"):
        return Layout(mode, tuple(planes), kind, levels, channels)
    palette = Form(draw(st.sampled_from([2, 3, 5])), draw(st.binary(max_size=9)))
    colours, columns = draw(st.integers(1, 256)), draw(st.sampled_from([3, 4]))
    return Layout(mode, tuple(planes), kind, levels, channels, colours, columns, palette)


@settings(deadline=None)
@given(st.data())
def test_round_trip(data):
    found = data.draw(st.lists(layouts(), min_size=1, max_size=3))
    size = st.integers(1, 40)
    numbers = [*range(len(found))] * 3 + data.draw(st.lists(st.integers(0, len(found) - 1), max_size=9))
    head = Header.of(
        found, [(number, data.draw(size), data.draw(size)) for number in data.draw(st.permutations(numbers))]
    )
    records, before = [], container.comparable(head)
    for part in parts_of(head):
        some = []
        for (picture, _), *_ in part.pieces:
            methods = set(container._methods(part.planes))
            if part.planes.levels > 256 or part.planes.channels > 4:
                methods -= {Method.WEBP}
            method = data.draw(st.sampled_from(sorted(methods)))
            may = method in container.STORED and not part.planes.chains and before[picture]
            stream = data.draw(st.binary(min_size=100, max_size=120))
            some.append(TileRecord(method, stream, data.draw(st.booleans()) if may else False))
        records.append(some)
    adapted = {i: b"adapter" for i, part in enumerate(parts_of(head)) if part.planes.model_id and i % 2}
    names = st.sampled_from(["icc", "exif"]) | st.text(min_size=1, max_size=60).filter(encodable)
    metadata = []
    for name, value in data.draw(st.dictionaries(names, st.binary(min_size=1), max_size=3)).items():
        ends = sorted(data.draw(st.sets(st.integers(0, head.count), min_size=2, max_size=4)))
        metadata += [Metadata(a, b - a, name, value) for a, b in zip(ends[::2], ends[1::2])]
    coded = written(head, *records, metadata=metadata, adapters=adapted)
    contents = container.read(coded)
    assert contents.header == head
    assert [part.records for part in contents.parts] == [tuple(some) for some in records]
    assert {i: part.adapter for i, part in enumerate(contents.parts) if part.adapter is not None} == adapted
    assert contents.metadata == tuple(metadata)
    by_picture = contents.metadata_by_picture()
    assert by_picture == [contents.metadata_of(i) for i in range(head.count)]
    assert container.read_header(coded) == head
    items, streams = container.itemise(coded), [record for some in records for record in some]
    assert sum(items.values()) == len(coded)
    assert items["data"] == sum(len(record.data) for record in streams)
    assert items["checksums"] == 4 * (2 + len(metadata) + len(adapted) + len(streams))
    assert items["header"] == 9 + len(pack_header(head))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0x",
        b"\0\1\4abc",
        b"\0\1\2\xff\xffx",
        b"\0\1\1a",
        b"\0\0\1ax",
        b"\0\2\1ax",
        b"\1\1\1ax",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f\1\1ax",
    ],
)
def test_invalid_metadata(payload):
    container.read(rebuild([GOOD[0], (b"m", b"\0\1\1ax"), GOOD[1]]))
    for some in ([(b"m", payload)], [(b"m", b"\0\1\1ax"), (b"m", b"\0\1\1ay")]):
        with pytest.raises(errors.CorruptFile):
            container.read(rebuild([GOOD[0], *some, GOOD[1]]))


def test_metadata_of_pictures():
    """Each picture has its own; of one name they come in the order of the pictures."""
    head = Header(PLAIN.layouts, ((4, 0, 2, 1),))
    records = [TileRecord(2, STREAM)] * 4
    some = [Metadata(0, 1, "a", b"1"), Metadata(1, 3, "a", b"2"), Metadata(2, 1, "b", b"3")]
    contents = container.read(written(head, records, metadata=some))
    assert contents.metadata_by_picture() == [{"a": b"1"}, {"a": b"2"}, {"a": b"2", "b": b"3"}, {"a": b"2"}]
    for bad in ([some[1], some[0]], [some[0], some[0]], [Metadata(3, 2, "a", b"1")], [Metadata(0, 0, "a", b"1")]):
        with pytest.raises(ValueError, match="picture"):
            written(head, records, metadata=bad)
        chunks = [(b"m", bytes([one.first, one.count, 1]) + b"a" + one.value) for one in bad]
        first = (b"H", GREY + b"\1\4\0\2\1" + records_of(*[(2, STREAM)] * 4))
        with pytest.raises(errors.CorruptFile):
            container.read(rebuild([first, *chunks, (b"D", 4 * STREAM)]))


def test_every_bit_flip():
    for data in (sample(), many_sample(), nine()):
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(errors.VlaeError, match=r"^[^\n]+: [^\n]+$"):
                container.read(bytes(damaged))


def test_random_damage():
    data = sample()
    rng = random.Random(1)
    for _ in range(200):
        damaged = bytearray(data)
        for position in rng.sample(range(len(data)), rng.randint(1, 20)):
            damaged[position] ^= rng.randint(1, 255)
        with pytest.raises(errors.VlaeError):
            container.read(bytes(damaged))


def test_truncated():
    for data in (sample(), many_sample()):
        for length in range(1, len(data)):
            with pytest.raises(errors.TruncatedFile):
                container.read(data[:length])
    with pytest.raises(errors.NotAVlaeFile):
        container.read(b"")


def test_corrupt_tile_is_named():
    data = sample()
    at = data.index(b"second")
    with pytest.raises(errors.CorruptFile, match=r"^tile 1 \(top left pixel x=16, y=0"):
        container.read(data[:at] + b"S" + data[at + 1 :])
    alpha = Layout("RGBA", (Planes(3, 256), Planes(1, 256, tile_size=8, scale=(2, 1))), channels=4)
    head = Header((alpha,), ((2, 0, 20, 9),))
    tiles = [TileRecord(2, b"%d..." % i) for i in range(10)]
    data = written(head, tiles[:2], tiles[2:])
    at = data.index(b"9...")
    name = r"^tile 3 of picture 1 of channel 3 \(top left pixel x=16, y=8"
    with pytest.raises(errors.CorruptFile, match=name):
        container.read(data[:at] + b"S" + data[at + 1 :])


def test_invalid_start():
    with pytest.raises(errors.NotAVlaeFile):
        container.read(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(errors.NotAVlaeFile, match="text mode"):
        container.read(sample().replace(b"\r\n", b"\n"))
    with pytest.raises(errors.CorruptFile, match="5 stray bytes"):
        container.read(sample() + b"stray")


@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_other_version(version):
    with pytest.raises(errors.UnsupportedVersion, match=rf"version {version} .*update"):
        container.read(rebuild(GOOD, version))


def test_unknown_chunks():
    known = container.read(rebuild(GOOD))
    ancillary = [GOOD[0], (b"q", b"anything"), (b"q", b""), GOOD[1]]
    assert container.read(rebuild(ancillary)) == known
    for kind in (b"B", b"Q", b"T", b"E"):
        with pytest.raises(errors.UnsupportedVersion, match="update"):
            container.read(rebuild([GOOD[0], (kind, b"?"), GOOD[1]]))


def test_adapter():
    """Its bytes are in the chunk and nowhere else; readers of the header see none."""
    head = Header((replace(PLAIN.layouts[0], planes=(Planes(1, 256, MODEL),)),), PLAIN.runs)
    first = (b"H", KNOWN + TABLE)
    for adapter in (b"", b"weights"):
        data = rebuild([first, (b"A", b"\0" + adapter), GOOD[1]])
        assert written(head, [TileRecord(2, STREAM)], adapters={0: adapter}) == data
        assert container.read(data).parts[0].adapter == adapter
        assert container.read_header(data) == head
        plain = written(head, [TileRecord(2, STREAM)])
        assert container.read(plain).parts[0].adapter is None
        added = {key: n - container.itemise(plain)[key] for key, n in container.itemise(data).items()}
        wanted = {"framing": 2, "checksums": 4, "adapter": 1 + len(adapter)}
        assert {key: n for key, n in added.items() if n} == wanted
    for bad in ([b"", b"\1w"], [b"\0w", b"\0w"], [b"\1w"], [b""], [b"\xff"]):
        with pytest.raises(errors.CorruptFile):
            container.read(rebuild([first, *((b"A", payload) for payload in bad), GOOD[1]]))
    with pytest.raises(errors.CorruptFile, match="no group"):
        container.read(rebuild([GOOD[0], (b"A", b"\0w"), GOOD[1]]))
    with pytest.raises(ValueError, match="without a model"):
        written(PLAIN, [TileRecord(2, STREAM)], adapters={0: b"w"})
    two = replace(RGB, mode="RGBA", channels=4, planes=(Planes(3, 256, MODEL), Planes(1, 256, MODEL[::-1])))
    data = written(Header((two,), HEADER.runs), TILES[:1], TILES[:1], adapters={0: b"one", 1: b"two"})
    assert [part.adapter for part in container.read(data).parts] == [b"one", b"two"]


# ---------------------------------------------------------------------------------------------------- bad headers


def with_grey(**numbers: int) -> bytes:
    """Fields of a grey picture."""
    count, layout, width, height = ({"count": 1, "layout": 0, "width": 2, "height": 1} | numbers).values()
    return GREY + b"".join(map(pack_varint, (1, count, layout, width, height)))


@pytest.mark.parametrize(
    "fields",
    [
        with_grey(width=2**32 - 1, height=2**32 - 1),
        with_grey(width=2**30 + 1),
        with_grey(width=2**15, height=2**16),
        with_grey(count=2**22),
        with_grey(count=2**62),
        with_grey(count=2**20, width=2**15, height=2**15),
        b"\x01\x20\x07\x08\x00\x01\x01\x00" + pack_varint(2**14) * 2,  # 2^28 pixels of float64
    ],
)
def test_absurd_sizes(fields):
    with pytest.raises(errors.ImageTooLarge, match="limit"):
        container.read(from_fields(fields, (2, STREAM)))


RUN = b"\x01\x01\x00\x02\x01"


@pytest.mark.parametrize(
    "fields",
    [
        with_grey(width=0),
        with_grey(height=0),
        with_grey(width=2**32),
        with_grey(count=0),
        with_grey(layout=1),
        with_grey(width=2**20, height=8),
        b"\x00\x00",
        b"\x00" + RUN,
        GREY + b"\x00",
        b"\x02\x00\x01\x00\x00\x01\x00" + RUN,  # a layout without pictures
        b"\xff\x7f\x00\x01\x00" + RUN,
        b"\x01\x00\x00\x00" + RUN,  # planes without channels
        b"\x01\x00\x02\x00" + RUN,  # more channels than there are
        b"\x01\x20\x00\x01\x00" + RUN,  # the usual type
        b"\x01\x40\x80\x02\x01\x00" + RUN,  # the usual levels
        b"\x01\x40\x01\x01\x00" + RUN,
        b"\x01\x40\x81\x80\x04\x01\x00" + RUN,
        b"\x01\x42\x03\x01\x00" + RUN,
        b"\x01\x22\x01\x01\x00" + RUN,
        b"\x01\x60\x01\x07\x01\x00" + RUN,  # levels of int8
        b"\x01\x0e\x00" + RUN,  # no bands
        b"\x01\x05\x01\x02\x02\x03abc\x01\x00" + RUN,  # a palette of two columns
        b"\x01\x05\x00\x03\x02\x00\x01\x00" + RUN,
        b"\x01\x05\x81\x02\x03\x02\x03abc\x01\x00" + RUN,
        b"\x01\x05\x01\x03\x04\x03abc\x01\x00" + RUN,  # of no stored form
        b"\x01\x45\x81\x02\x01\x03\x02\x03abc\x01\x00" + RUN,  # of more levels
        b"\x01\x25\x01\x01\x03\x02\x03abc\x01\x00" + RUN,
        b"\x01\x00\x01\x02\x10" + RUN,  # coded levels without values
        b"\x01\x00\x01\x04\x03" + RUN,  # a shift of 256 levels
        b"\x01\x40\x80\x20\x01\x04\x00" + RUN,
        b"\x01\x40\x80\x20\x01\x04\x0b" + RUN,
        b"\x01\x00\x01\x08\x01\x01" + RUN,
        b"\x01\x00\x01\x08\x00\x02" + RUN,
        b"\x01\x00\x01\x10\x00" + RUN,
        b"\x01\x00\x01\x10\x40" + RUN,  # the usual tile size
        b"\x01\x00\x01\x10\x81\x04" + RUN,
        b"\x01\x00\x01\x20\x00" + RUN,
        b"\x01\x00\x01\x20\x80\x80\x02" + RUN,
        b"\x01\x00\x01\x20\x80\x80\x80\x80\x10" + RUN,
        b"\x01\x00\x01\x40\x00" + RUN,
        b"\x01\x00\x01\x40\x02" + RUN,
        b"\x01\x00\x01\x80\x00" + RUN,  # no table
        b"\x01\x00\x01\x80\x02\x01\x02\x01a\x01\x02\x01a" + RUN,
        b"\x01\x00\x01\x80\x01\x00\x02\x00" + RUN,
        b"\x01\x00\x01\x80\x01\x81\x02\x02\x01a" + RUN,
        b"\x01\x00\x01\x80\x01\x01\x05\x01a" + RUN,
        b"\x01\x0e\x02\x02\x01" + MODEL + RUN,  # a model of two channels
        b"\x01\x0e\x05\x05\x80\x05" + b"\x01\x02\x01a" * 5 + RUN,
    ],
)
def test_invalid_header(fields):
    with pytest.raises(errors.CorruptFile):
        container.read(from_fields(fields, (2, STREAM)))


@pytest.mark.parametrize(
    "fields", [b"\x01\x0f\x01\x00", b"\x01\x1f\x01\x00", b"\x01\x81\x04\x00\x03\x00", b"\x01\x20\x08\x01\x00"]
)
def test_unknown_kind_of_picture(fields):
    with pytest.raises(errors.UnsupportedVersion, match="update"):
        container.read(from_fields(fields + RUN, (2, STREAM)))


@pytest.mark.parametrize(
    "chunks",
    [
        [GOOD[1]],
        [GOOD[0], GOOD[0], GOOD[1]],
        [(b"i", b"x"), *GOOD],
        [(b"A", b"\0before the header"), *GOOD],
        [GOOD[0], (b"A", b"\0once"), GOOD[1]],
        [GOOD[0], (b"?", b""), GOOD[1]],
        [(b"H", FIELDS + TABLE + TABLE), GOOD[1]],
        [(b"H", FIELDS + TABLE[:-1]), GOOD[1]],
        [(b"H", FIELDS[:-1]), GOOD[1]],
        [(b"H", FIELDS + TABLE + b"\0"), GOOD[1]],
        [(b"H", FIELDS + b"\x02\x02" + TABLE[1:]), GOOD[1]],
        [GOOD[0], (b"D", STREAM + b"\0")],
        [GOOD[0], (b"D", STREAM[:1])],
        [GOOD[0], (b"D", b"")],
    ],
)
def test_invalid_chunks(chunks):
    """Good checksums around what no writer may write."""
    with pytest.raises(errors.CorruptFile):
        container.read(rebuild(chunks))


def test_no_end():
    """Chunk D ends the file."""
    with pytest.raises(errors.TruncatedFile):
        container.read(pack(*GOOD[0], before=container.MAGIC + b"\x02") + pack(b"q", b""))
    with pytest.raises(errors.CorruptFile, match="stray"):
        container.read(rebuild(GOOD) + pack(b"q", b""))


@pytest.mark.parametrize("method", [8, 9, 127])
def test_unknown_method(method):
    with pytest.raises(errors.UnsupportedVersion, match="tile 0"):
        container.read(from_fields(FIELDS, (method, STREAM)))


@pytest.mark.parametrize("method", [0, 1, 4, 6, 7, 128, 129, 130, 131, 132, 133])
def test_method_of_others(method):
    """No model, no chains, and no picture before."""
    with pytest.raises(errors.CorruptFile, match="tile 0"):
        container.read(from_fields(FIELDS, (method, STREAM)))


def test_webp_of_others():
    """Of deep samples or more than four channels there is none."""
    for fields in (b"\x01\x40\x81\x02\x01\x00" + RUN, b"\x01\x0e\x05\x05\x00" + RUN):
        container.read(from_fields(fields, (2, STREAM)))
        with pytest.raises(errors.CorruptFile, match="WebP"):
            container.read(from_fields(fields, (5, STREAM)))


def test_differences():
    """From the picture before, if that has the same layout and size."""
    head = GREY + b"\x03\x02\x00\x02\x01\x01\x00\x01\x02\x01\x00\x02\x01"  # 2x1, 2x1, 1x2, 2x1
    for methods, good in [((2, 130, 2, 2), True), ((130, 2, 2, 2), False), ((2, 2, 2, 130), False)]:
        data = from_fields(head, *((method, STREAM) for method in methods))
        if good:
            found = container.read(data).records
            assert [record.differences for record in found] == [False, True, False, False]
        else:
            with pytest.raises(errors.CorruptFile, match="differences"):
                container.read(data)
    chain = b"\x01\x00\x01\x40\x01\x01\x02\x00\x02\x01"
    container.read(from_fields(chain, (2, STREAM)))
    with pytest.raises(errors.CorruptFile, match="group 0 has differences"):
        container.read(from_fields(chain, (130, STREAM)))


def test_write_invalid():
    one, grey = [TileRecord(2, b"")], PLAIN.layouts[0]

    def planes(**changes):
        return Header((replace(grey, planes=(replace(grey.planes[0], **changes),)),), PLAIN.runs)

    for head, tiles in [
        (Header((replace(grey, mode="RGBA"),), PLAIN.runs), one),
        (Header((replace(grey, channels=2),), PLAIN.runs), one),
        (Header((grey,), ((1, 0, 0, 1),)), one),
        (Header((grey,), ()), []),
        (planes(model_id=MODEL[:7]), one),
        (planes(tile_size=12), one),
        (planes(chains=2), one * 2),
        (planes(channels=0), one),
        (planes(lane_symbols=0), one),
        (PLAIN, []),
        (PLAIN, one * 2),
        (PLAIN, [TileRecord(0, b"")]),
        (PLAIN, [TileRecord(4, b"")]),
        (planes(model_id=MODEL), [TileRecord(4, b"")]),
        (planes(model_id=MODEL, chains=1), [TileRecord(0, b"")]),
        (planes(chains=1), [TileRecord(5, b"")]),
        (PLAIN, [TileRecord(6, b"")]),
    ]:
        with pytest.raises(ValueError, match=" "):
            written(head, tiles)
    with pytest.raises(ValueError, match="layout"):
        container.write(Header((), ()), [])
    for metadata in (Metadata(0, 1, "", b"?"), Metadata(0, 1, "é" * 128, b"?"), Metadata(0, 1, "a", b"")):
        with pytest.raises(ValueError, match=" "):
            written(PLAIN, one, metadata=[metadata])


# ---------------------------------------------------------------------------------------------------- pictures

CHAINED = replace(RGB, planes=(Planes(3, 256, MODEL, chains=2),))
SIZES = [(20, 9), (20, 9), (1, 1), (20, 9)]
GROUPS = [TileRecord(Method.CHAIN, b"first"), TileRecord(Method.LZMA, b"second")]


def many_sample() -> bytes:
    """Four RGB pictures in two chains, and among them two grey ones with an adapter, in tiles."""
    grey = Layout("L", (Planes(1, 256, MODEL),))
    shown = [(0, *SIZES[0]), (0, *SIZES[1]), (1, 7, 5), (0, *SIZES[2]), (0, *SIZES[3]), (1, 3, 3)]
    return written(Header.of((CHAINED, grey), shown), GROUPS, [TileRecord(2, b"third")] * 2, adapters={1: b"weights"})


def test_pictures():
    contents = container.read(many_sample())
    first, second = contents.parts
    assert contents.header.runs == ((2, 0, 20, 9), (1, 1, 7, 5), (1, 0, 1, 1), (1, 0, 20, 9), (1, 1, 3, 3))
    assert (contents.header.count, contents.header.pixels) == (6, 541 + 35 + 9)
    assert contents.header.subpixels == contents.header.bytes == 3 * 541 + 35 + 9
    assert [number for number, _, _ in first.pictures] == [0, 1, 3, 4]
    assert [[number for number, _ in piece] for piece in first.pieces] == [[0, 3], [1, 4]]
    assert second.pieces == [[(2, (0, 0, 5, 7))], [(5, (0, 0, 3, 3))]]
    assert (first.records, len(second.records)) == (tuple(GROUPS), 2)
    equal = Header.of((CHAINED,), [(0, 20, 9)] * 10000)  # ten thousand equal sizes are one run
    assert len(written(equal, GROUPS)) < len(written(Header.of((CHAINED,), [(0, 20, 9)] * 2), GROUPS)) + 3


def test_pictures_layout():
    """300 pictures of 2x1 pixels in one chain."""
    fields = b"\x01\x00\x01\x41" + MODEL + b"\x01" + b"\x01\xac\x02\x00\x02\x01"
    layout = Layout("L", (Planes(1, 256, MODEL, chains=1),))
    expected = from_fields(fields, (4, bytes(8)))
    assert written(Header((layout,), ((300, 0, 2, 1),)), [TileRecord(Method.CHAIN, bytes(8))]) == expected


def test_damaged_chain_is_named():
    data = many_sample()
    at = data.index(b"second")
    with pytest.raises(errors.CorruptFile, match=r"^group 1 is damaged"):
        container.read(data[:at] + b"S" + data[at + 1 :])


def test_tile_grid():
    assert container.tile_grid(20, 9, 16) == [(0, 0, 9, 16), (0, 16, 9, 4)]
    assert container.tile_grid(16, 17, 16) == [(0, 0, 16, 16), (16, 0, 1, 16)]
    for width, height in [(1, 1), (513, 511), (1, 1500), (1024, 512)]:
        grid = container.tile_grid(width, height, 512)
        assert len(grid) == container.tiles_in(width, height, 512)
        assert sum(h * w for _, _, h, w in grid) == width * height
        assert [container.tile_number(y, x, width, 512) for y, x, _, _ in grid] == [*range(len(grid))]


# ---------------------------------------------------------------------------------------------------- regions

GRID = Header((RGB,), ((1, 0, 40, 33),))  # 3 x 3 tiles
NINE = [TileRecord(Method.LATENTS, b"stream %d;" % i * (i + 1)) for i in range(9)]


def nine() -> bytes:
    return written(GRID, NINE, metadata=METADATA, adapters={0: b"weights"})


@pytest.mark.parametrize(
    ("region", "touched"),
    [
        ((0, 0, 40, 33), list(range(9))),
        ((0, 0, 1, 1), [0]),
        ((39, 32, 1, 1), [8]),
        ((15, 15, 1, 1), [0]),
        ((15, 15, 2, 2), [0, 1, 3, 4]),
        ((16, 16, 16, 16), [4]),
        ((0, 20, 40, 1), [3, 4, 5]),
        ((33, 0, 7, 33), [2, 5, 8]),
    ],
)
def test_region(region, touched):
    data = nine()
    contents = container.read(data, region=region)
    (part,), (whole,) = contents.parts, container.read(data).parts
    assert part.records == tuple(NINE[i] for i in touched)
    assert (contents.header, contents.metadata, part.adapter) == (GRID, tuple(METADATA), b"weights")
    assert (contents.region, part.region) == (region, region)
    places = container.tile_grid(40, 33, 16)
    assert part.pieces == [[(0, places[i])] for i in touched]
    assert [int(part.name(i).split()[1]) for i in range(len(touched))] == touched
    assert whole.pieces == [[(0, place)] for place in places]


def test_region_of_planes():
    """A group of planes with a scale and other tiles has others, and a chain is read whole."""
    planes = (Planes(3, 256), Planes(1, 256, scale=(3, 2), tile_size=8), Planes(1, 256, chains=1))
    layout = Layout("bands", planes, channels=5)
    streams = [TileRecord(2, b"%2d" % i) for i in range(1 + 6 + 1)]
    data = written(Header((layout,), ((1, 0, 40, 33),)), streams[:1], streams[1:7], streams[7:])
    first, second, third = container.read(data, region=(23, 15, 2, 2)).parts
    assert (second.region, second.pictures) == ((7, 7, 2, 2), ((0, 14, 17),))
    assert [place for ((_, place),) in second.pieces] == [(0, 0, 8, 8), (0, 8, 8, 6), (8, 0, 8, 8), (8, 8, 8, 6)]
    assert [part.records for part in (first, second, third)] == [
        tuple(streams[:1]),
        tuple(streams[i] for i in (1, 2, 3, 4)),
        tuple(streams[7:]),
    ]
    assert third.pieces == [[(0, (0, 0, 33, 40))]]


def test_region_of_a_damaged_file():
    """Damage in the stream of one tile does no harm to the others; anywhere else it is found as ever."""
    data = nine()
    begin = data.index(b"stream 0;")
    ends = [begin]
    for tile in NINE:
        ends.append(ends[-1] + len(tile.data))
    for bit in range(8 * len(data)):
        at = bit // 8
        damaged = bytearray(data)
        damaged[at] ^= 1 << bit % 8
        in_streams, in_sums = begin <= at < ends[-1], at >= ends[-1]
        with pytest.raises(errors.VlaeError):
            container.read(bytes(damaged))
        if in_sums or (in_streams and not ends[4] <= at < ends[5]):
            contents = container.read(bytes(damaged), region=(20, 20, 5, 5))
            assert contents.parts[0].records == (NINE[4],)
        else:
            with pytest.raises(errors.VlaeError, match="tile 4 .*x=16, y=16" if in_streams else ": "):
                container.read(bytes(damaged), region=(20, 20, 5, 5))
    for length in range(1, len(data)):
        with pytest.raises(errors.TruncatedFile):
            container.read(data[:length], region=(20, 20, 5, 5))


@pytest.mark.parametrize(
    "region",
    [
        (0, 0, 41, 33),
        (0, 0, 40, 34),
        (40, 0, 1, 1),
        (0, 33, 1, 1),
        (-1, 0, 2, 2),
        (0, -1, 2, 2),
        (0, 0, 0, 1),
        (0, 0, 1, 0),
        (5, 5, -2, 1),
        (0, 0, 2**70, 1),
    ],
)
def test_region_outside(region):
    with pytest.raises(errors.InputError, match="40x33"):
        container.read(nine(), region=region)


def test_region_invalid():
    regions: list[Any] = [(), (1, 1, 1), (0, 0, 1.5, 1), "abcd"]
    for region in regions:
        with pytest.raises(errors.InputError, match="four integers"):
            container.read(nine(), region=region)
    with pytest.raises(errors.InputError, match="list of pictures"):
        container.read(many_sample(), region=(0, 0, 1, 1))


def test_region_of_much():
    """Tiles that a region does not touch may be many; one that it touches, and a chain, is decoded whole."""
    wide = b"\x01\x0e\xff\xff\x10\x80\x04" + b"\x01\x01\x00" + pack_varint(4096) * 2  # a tile of 255 channels
    limits = Limits(memory=1 << 27)
    with pytest.raises(errors.ImageTooLarge, match="memory"):
        container.read(from_fields(wide, (3, STREAM)), limits, region=(0, 0, 1, 1))
    chain = b"\x01\x00\x01\x40\x01" + b"\x01\x01\x00" + pack_varint(2**14) * 2
    with pytest.raises(errors.ImageTooLarge, match="memory"):
        container.read(from_fields(chain, (3, bytes(20))), limits, region=(0, 0, 1, 1))


def test_lanes_for():
    assert [container.lanes_for(n, 8) for n in (0, 7, 8, 15, 16, 800)] == [1, 1, 1, 1, 2, 100]


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_varint(value):
    assert read_varint(b"??" + pack_varint(value) + b"?", 2) == (value, 2 + len(pack_varint(value)))
