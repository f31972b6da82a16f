"""The file format: layout, round trips, and that no damage passes unseen."""

import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlae_codec import errors
from vlae_codec.format import container
from vlae_codec.format.chunks import pack, pack_varint, read_varint
from vlae_codec.format.container import Header, Method, Pictures, TileRecord

MODEL = bytes(range(8))
HEADER = Header(20, 9, "RGB", MODEL, tile_size=16)
TILES = [TileRecord(Method.LATENTS, b"first" * 30), TileRecord(Method.RAW, b"second")]


def sample() -> bytes:
    return container.write(HEADER, TILES, {"icc": b"profile", "exif": b"II*\0"}, adapter=b"weights")


def rebuild(header: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A file with good checksums from any header and chunks."""
    data = pack(*chunks[0], before=header)
    data += b"".join(pack(kind, payload) for kind, payload in chunks[1:])
    return pack(b"E", b"", before=data)


def header_bytes(**changes: int) -> bytes:
    fields = {"version": 1, "width": 2, "height": 1, "mode": 0, "depth": 8, "tile": 512, "lane": 32768} | changes
    version, *rest = fields.values()
    return struct.pack("<8sB8sIIBBHI", container.MAGIC, version, MODEL, *rest)


STREAM = b"\x05\x06"
TABLE = b"\x02\x02" + zlib.crc32(STREAM).to_bytes(4, "little")
GOOD = [(b"T", TABLE), (b"D", STREAM)]


def test_sanity():
    contents = container.read(sample())
    assert contents.header == HEADER
    assert contents.tiles == tuple(TILES)
    assert contents.metadata == {"icc": b"profile", "exif": b"II*\0"}
    assert contents.adapter == b"weights"


def test_layout():
    """The bytes that the docstring promises, built by hand."""
    first = header_bytes() + b"T\x06" + TABLE
    data = first + zlib.crc32(first).to_bytes(4, "little")
    body = b"D\x02" + STREAM
    data += body + zlib.crc32(body).to_bytes(4, "little") + b"E\0"
    data += zlib.crc32(data).to_bytes(4, "little")
    assert container.write(Header(2, 1, "L", MODEL), [TileRecord(2, STREAM)]) == data


def test_overhead():
    assert len(container.write(Header(1, 1, "RGB", MODEL), [TileRecord(Method.RAW, b"abc")])) == 57 + 3


def encodable(text):
    return not any("\ud800" <= c <= "\udfff" for c in text) and len(text.encode()) < 256


@settings(deadline=None)
@given(st.data())
def test_round_trip(data):
    header = Header(
        data.draw(st.integers(1, 100)),
        data.draw(st.integers(1, 100)),
        data.draw(st.sampled_from(container.MODES)),
        data.draw(st.binary(min_size=8, max_size=8)),
        8 * data.draw(st.integers(1, container.MAX_TILE // 8)),
        data.draw(st.integers(1, 2**32 - 1)),
    )
    others = data.draw(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=20))
    sizes = [(header.width, header.height), *others]
    pictures = data.draw(st.sampled_from([None, Pictures.of(sizes, data.draw(st.integers(1, len(sizes))))]))
    count = header.tile_count if pictures is None else pictures.groups
    tile = st.builds(TileRecord, st.sampled_from(container._methods(pictures)), st.binary(min_size=100, max_size=200))
    tiles = data.draw(st.lists(tile, min_size=count, max_size=count))
    names = st.sampled_from(["icc", "exif"]) | st.text(min_size=1, max_size=60).filter(encodable)
    metadata = data.draw(st.dictionaries(names, st.binary(min_size=1)))
    adapter = data.draw(st.none() | st.binary(max_size=200))
    coded = container.write(header, tiles, metadata, pictures, adapter)
    assert container.read(coded) == container.Contents(header, tuple(tiles), metadata, pictures, adapter)
    assert container.read_header(coded[:33]) == header
    items = container.itemise(coded)
    assert sum(items.values()) == len(coded)
    assert items["data"] == sum(len(tile.data) for tile in tiles)
    assert items["adapter"] == len(adapter or b"")
    assert items["checksums"] == 4 * (3 + len(metadata) + len(tiles) + (pictures is not None) + (adapter is not None))


@pytest.mark.parametrize("payload", [b"", b"\0x", b"\4abc", b"\2\xff\xffx", b"\1a"])
def test_unnamed_metadata(payload):
    container.read(rebuild(header_bytes(), [*GOOD[:1], (b"m", b"\1ax"), *GOOD[1:]]))
    for some in ([(b"m", payload)], [(b"m", b"\1ax"), (b"m", b"\1ay")]):
        with pytest.raises(errors.CorruptFile):
            container.read(rebuild(header_bytes(), [*GOOD[:1], *some, *GOOD[1:]]))


def test_every_bit_flip():
    data = sample()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.VlaeError, match=": "):
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
    data = sample()
    for length in range(1, len(data)):
        with pytest.raises(errors.TruncatedFile):
            container.read(data[:length])
    with pytest.raises(errors.NotAVlaeFile):
        container.read(b"")


def test_corrupt_tile_is_named():
    data = sample()
    at = data.index(b"second")
    with pytest.raises(errors.CorruptFile, match=r"tile 1 .*x=16, y=0"):
        container.read(data[:at] + b"S" + data[at + 1 :])


def test_invalid_start():
    with pytest.raises(errors.NotAVlaeFile):
        container.read(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(errors.NotAVlaeFile, match="text mode"):
        container.read(sample().replace(b"\r\n", b"\n"))
    with pytest.raises(errors.CorruptFile, match="5 stray bytes"):
        container.read(sample() + b"stray")


def test_newer_version():
    with pytest.raises(errors.UnsupportedVersion, match=r"version 2 .*update"):
        container.read(rebuild(header_bytes(version=2), GOOD))


def test_unknown_chunks():
    known = container.read(rebuild(header_bytes(), GOOD))
    ancillary = [GOOD[0], (b"q", b"anything"), (b"q", b""), GOOD[1]]
    assert container.read(rebuild(header_bytes(), ancillary)) == known
    for kind in (b"B", b"Q"):
        with pytest.raises(errors.UnsupportedVersion, match="update"):
            container.read(rebuild(header_bytes(), [GOOD[0], (kind, b"?"), GOOD[1]]))


def test_adapter():
    """Its bytes are in the chunk and nowhere else, on either side of the pictures; readers of the header see none."""
    for adapter in (b"", b"weights"):
        data = rebuild(header_bytes(), [GOOD[0], (b"A", adapter), GOOD[1]])
        header, tiles = Header(2, 1, "L", MODEL), [TileRecord(2, STREAM)]
        assert container.write(header, tiles, adapter=adapter) == data
        assert container.read(data).adapter == adapter
        assert container.read_header(data) == header
        plain = container.write(header, tiles)
        assert container.read(plain).adapter is None
        assert data[:45] == plain[:45]
        added = {key: n - container.itemise(plain)[key] for key, n in container.itemise(data).items() if n}
        assert {key: n for key, n in added.items() if n} == {"framing": 2, "checksums": 4} | (
            {"adapter": len(adapter)} if adapter else {}
        )
    for order in ([chunk_p(1, 1, 2, 1), (b"A", b"w")], [(b"A", b"w"), chunk_p(1, 1, 2, 1)]):
        contents = container.read(rebuild(header_bytes(), [CHAIN, *order, GOOD[1]]))
        assert contents.adapter == b"w"
        assert contents.pictures == Pictures(1, ((1, 2, 1),))


@pytest.mark.parametrize(
    "changes",
    [{"width": 2**32 - 1, "height": 2**32 - 1}, {"width": 2**30 + 1, "tile": 8}, {"width": 2**15, "height": 2**16}],
)
def test_absurd_dimensions(changes):
    with pytest.raises(errors.ImageTooLarge, match="limit"):
        container.read(rebuild(header_bytes(**changes), GOOD))


@pytest.mark.parametrize(
    "changes",
    [{"width": 0}, {"height": 0}, {"tile": 0}, {"tile": 12}, {"tile": 2056}, {"lane": 0}, {"width": 2**20, "tile": 8}],
)
def test_invalid_header(changes):
    with pytest.raises(errors.CorruptFile):
        container.read(rebuild(header_bytes(**changes), GOOD))


@pytest.mark.parametrize("changes", [{"mode": 2}, {"mode": 3, "depth": 1}, {"depth": 1}, {"depth": 16}])
def test_unknown_kind_of_picture(changes):
    with pytest.raises(errors.UnsupportedVersion):
        container.read(rebuild(header_bytes(**changes), GOOD))


@pytest.mark.parametrize(
    "chunks",
    [
        [GOOD[1], GOOD[0]],
        [GOOD[0]],
        [*GOOD, GOOD[1]],
        [(b"i", b"x"), *GOOD],
        [*GOOD, (b"i", b"")],
        [*GOOD, (b"A", b"after the data")],
        [(b"A", b"before the table"), *GOOD],
        [GOOD[0], (b"A", b"once"), (b"A", b"twice"), GOOD[1]],
        [*GOOD, (b"?", b"")],
        [(b"T", TABLE + TABLE), GOOD[1]],
        [(b"T", TABLE[:-1]), GOOD[1]],
        [(b"T", TABLE + b"\0"), GOOD[1]],
        [(b"T", b"\x02\x82\0" + TABLE[2:]), GOOD[1]],
        [GOOD[0], (b"D", STREAM + b"\0")],
        [GOOD[0], (b"D", STREAM[:1])],
    ],
)
def test_invalid_chunks(chunks):
    """Good checksums around what no writer may write."""
    with pytest.raises(errors.CorruptFile):
        container.read(rebuild(header_bytes(), chunks))


def test_unknown_method():
    with pytest.raises(errors.UnsupportedVersion, match="tile 0"):
        container.read(rebuild(header_bytes(), [(b"T", b"\x09" + TABLE[1:]), GOOD[1]]))


def test_write_invalid():
    one = [TileRecord(0, b"")]
    for header, tiles, metadata in [
        (Header(1, 1, "RGBA", MODEL), one, {}),
        (Header(0, 1, "L", MODEL), one, {}),
        (Header(1, 1, "L", MODEL[:7]), one, {}),
        (Header(1, 1, "L", MODEL), [], {}),
        (Header(1, 1, "L", MODEL), [TileRecord(4, b"")], {}),
        (Header(1, 1, "L", MODEL), [TileRecord(5, b"")], {}),
        (Header(1, 1, "L", MODEL), one, {"": b"?"}),
        (Header(1, 1, "L", MODEL), one, {"é" * 128: b"?"}),
    ]:
        with pytest.raises(ValueError, match=" "):
            container.write(header, tiles, metadata)


# ---------------------------------------------------------------------------------------------------- pictures

SIZES = [(20, 9), (20, 9), (1, 1), (20, 9)]
GROUPS = [TileRecord(Method.CHAIN, b"first"), TileRecord(Method.LZMA, b"second")]


def pictures_sample() -> bytes:
    return container.write(HEADER, GROUPS, pictures=Pictures.of(SIZES, 2))


def chunk_p(*numbers: int) -> tuple[bytes, bytes]:
    return b"P", b"".join(map(pack_varint, numbers))


def test_pictures():
    contents = container.read(pictures_sample())
    table = contents.pictures
    assert table == Pictures(2, ((2, 20, 9), (1, 1, 1), (1, 20, 9)))
    assert (table.sizes(), table.count, table.pixels) == (SIZES, 4, 541)
    assert table.members() == [range(0, 4, 2), range(1, 4, 2)]
    assert contents.tiles == tuple(GROUPS)
    assert contents.subpixels == 3 * 541
    equal = container.write(HEADER, GROUPS, pictures=Pictures.of([(20, 9)] * 10000, 2))
    assert len(equal) == len(pictures_sample()) - 5  # ten thousand equal sizes are one run


def test_pictures_layout():
    record = b"\x04\x02" + zlib.crc32(STREAM).to_bytes(4, "little")
    expected = rebuild(header_bytes(), [(b"T", record), (b"P", b"\x01\xac\x02\x02\x01"), (b"D", STREAM)])
    header, table = Header(2, 1, "L", MODEL), Pictures(1, ((300, 2, 1),))
    assert container.write(header, [TileRecord(Method.CHAIN, STREAM)], pictures=table) == expected


def test_pictures_damage():
    data = pictures_sample()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.VlaeError, match=": "):
            container.read(bytes(damaged))
    for length in range(1, len(data)):
        with pytest.raises(errors.TruncatedFile):
            container.read(data[:length])
    at = data.index(b"second")
    with pytest.raises(errors.CorruptFile, match="group 1 is damaged"):
        container.read(data[:at] + b"S" + data[at + 1 :])


CHAIN = (b"T", b"\x04" + TABLE[1:])


@pytest.mark.parametrize(
    "chunks",
    [
        [GOOD[0], GOOD[1], chunk_p(1, 1, 2, 1)],
        [GOOD[0], chunk_p(1, 1, 2, 1), chunk_p(1, 1, 2, 1), GOOD[1]],
        [CHAIN, GOOD[1]],
        [(b"T", b"\0" + TABLE[1:]), chunk_p(1, 1, 2, 1), GOOD[1]],
        *(
            [GOOD[0], chunk_p(*numbers), GOOD[1]]
            for numbers in [
                (),
                (1,),
                (1, 1),
                (1, 1, 2),
                (1, 1, 2, 1, 0),
                (0, 1, 2, 1),
                (2, 1, 2, 1),
                (2, 2, 2, 1),
                (1, 0, 2, 1),
                (1, 1, 1, 1),
                (1, 1, 2, 2),
                (1, 1, 2, 1, 1, 0, 5),
                (1, 1, 2, 1, 1, 2**32, 1),
            ]
        ),
        [GOOD[0], (b"P", b"\x01\x81\x80\0\x02\x01"), GOOD[1]],
    ],
)
def test_pictures_invalid(chunks):
    container.read(rebuild(header_bytes(), [CHAIN, chunk_p(1, 1, 2, 1), GOOD[1]]))
    with pytest.raises(errors.CorruptFile):
        container.read(rebuild(header_bytes(), chunks))


@pytest.mark.parametrize(
    "numbers",
    [(1, 2**22 + 1, 2, 1), (1, 2**62, 2, 1), (1, 1, 2, 1, 1, 2**31, 2**31), (1, 2**20, 2, 1, 1, 2**15, 2**15)],
)
def test_pictures_absurd(numbers):
    with pytest.raises(errors.ImageTooLarge, match="limit"):
        container.read(rebuild(header_bytes(), [CHAIN, chunk_p(*numbers), GOOD[1]]))


def test_pictures_write_invalid():
    header = Header(2, 1, "L", MODEL)
    for table, methods in [
        (Pictures(1, ((1, 2, 1),)), [Method.LATENTS]),
        (Pictures(1, ((1, 2, 1),)), [Method.CHAIN] * 2),
        (Pictures(2, ((1, 2, 1),)), [Method.CHAIN] * 2),
        (Pictures(0, ((1, 2, 1),)), []),
        (Pictures(1, ((1, 1, 2),)), [Method.CHAIN]),
        (Pictures(1, ((1, 2, 1), (0, 2, 1))), [Method.CHAIN]),
        (Pictures(1, ()), [Method.CHAIN]),
    ]:
        with pytest.raises(ValueError, match=" "):
            container.write(header, [TileRecord(method, b"") for method in methods], pictures=table)


def test_bilevel():
    header = Header(9, 2, "1", MODEL)
    assert (header.bit_depth, header.channels) == (1, 1)
    data = container.write(header, [TileRecord(Method.RAW, b"abcd")])
    assert data[25:27] == b"\x02\x01"
    assert container.read(data).header == header


def test_tile_grid():
    assert container.tile_grid(20, 9, 16) == [(0, 0, 9, 16), (0, 16, 9, 4)]
    assert container.tile_grid(16, 17, 16) == [(0, 0, 16, 16), (16, 0, 1, 16)]
    for width, height in [(1, 1), (513, 511), (1, 1500), (1024, 512)]:
        grid = container.tile_grid(width, height, 512)
        assert len(grid) == Header(width, height, "L", MODEL).tile_count
        assert sum(h * w for _, _, h, w in grid) == width * height


# ---------------------------------------------------------------------------------------------------- regions

GRID = Header(40, 33, "RGB", MODEL, tile_size=16)  # 3 x 3 tiles
NINE = [TileRecord(Method.LATENTS, b"stream %d;" % i * (i + 1)) for i in range(9)]


def nine() -> bytes:
    return container.write(GRID, NINE, {"icc": b"profile"}, adapter=b"weights")


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
    assert contents.tiles == tuple(NINE[i] for i in touched)
    assert (contents.header, contents.metadata, contents.adapter) == (GRID, {"icc": b"profile"}, b"weights")
    places = container.tile_grid(40, 33, 16)
    assert contents.pieces == [[(0, places[i])] for i in touched]
    assert [GRID.tile_index(*place[:2]) for ((_, place),) in contents.pieces] == touched
    assert container.read(data).pieces == [[(0, place)] for place in places]


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
        in_streams, in_sums = begin <= at < ends[-1], ends[-1] <= at < ends[-1] + 4 or at >= len(data) - 4
        with pytest.raises(errors.VlaeError):
            container.read(bytes(damaged))
        if in_sums or (in_streams and not ends[4] <= at < ends[5]):
            contents = container.read(bytes(damaged), region=(20, 20, 5, 5))
            assert contents.tiles == (NINE[4],)
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
        container.read(pictures_sample(), region=(0, 0, 1, 1))


def test_lanes_for():
    assert [container.lanes_for(n, 8) for n in (0, 7, 8, 15, 16, 800)] == [1, 1, 1, 1, 2, 100]


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_varint(value):
    assert read_varint(b"??" + pack_varint(value) + b"?", 2) == (value, 2 + len(pack_varint(value)))
