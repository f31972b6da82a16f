"""Pages, roots and footers: what was packed comes back, and nothing that a file says is believed."""

import io
import zlib

import numpy as np
import pytest
from archives import archive_of, entry  # type: ignore[import-not-found]

from vlae_codec.archive import index, pages, source
from vlae_codec.archive.names import name_of, place_of, problem_of, problem_on_windows
from vlae_codec.archive.reader import Archive
from vlae_codec.errors import CorruptFile, ImageTooLarge, InputError, NotAVlaeFile, OutputError, VlaeError
from vlae_codec.format.chunks import CRC
from vlae_codec.limits import Limits


def there_and_back(entries):
    data = pages.pack_page(entries)
    return list(pages.unpack_page(data, index.Page(len(entries), 0, len(data), zlib.crc32(data))))


def test_page():
    entries = [
        entry("a/1.png", time=1_700_000_000_123_456_789, permissions=0o644),
        entry("a/10.png", first=1, time=-1_000_000_000),
        entry("ä/é.tif", offset=5000, length=7, pictures=3, width=2**32 - 1, mode=14, bits=64),
        entry("a/1.png.jpg", first=2, size=2**50, permissions=0o777),
        entry("x", offset=9, first=7),
    ]
    assert there_and_back(entries) == entries


@pytest.mark.parametrize("step", [1, 10**3, 10**6, 10**9])
def test_times(step):
    entries = [entry(str(i), time=step * (1_700_000_000 * 10**9 // step + i * i)) for i in range(20)]
    assert there_and_back(entries) == entries


def test_size():
    """Members that are like the ones before take next to nothing."""
    entries = [entry(f"train/{i:05d}.png", first=i) for i in range(1000)]
    assert len(pages.pack_page(entries)) < 1000


def test_random_pages():
    rng = np.random.default_rng(1)
    for _ in range(50):
        names = {"".join(rng.choice(list("ab/0")) for _ in range(rng.integers(1, 9))) for _ in range(30)}
        good = sorted(name for name in names if problem_of(name) is None)
        entries = [
            entry(name, offset=9 + 10 * int(rng.integers(4)), length=int(rng.integers(1, 9)), first=int(i))
            for name, i in zip(good, rng.integers(0, 9, len(good)))
        ]
        if entries:
            assert there_and_back(entries) == entries


def opened(file, **limits):
    archive = Archive(file, limits=Limits(**limits))
    return list(archive.entries())


def test_good():
    page = pages.pack_page([entry("a"), entry("b", first=1)])
    assert [one.name for one in opened(archive_of([(2, page)]))] == ["a", "b"]


RAW = zlib.decompress(pages.pack_page([entry("abc")]))


@pytest.mark.parametrize(
    ("members", "raw"),
    [
        (1, RAW[:-1]),
        (1, RAW + b"x"),
        (2, RAW),
        (1, b"\xff" * 40),
        (1, b""),
        (1, bytes([1, 18, 100, 7]) + RAW[4:]),  # no unit
        (1, RAW[:-3] + b"../"),
        (1, RAW[:-3] + b"a\0b"),
        (1, RAW[:-3] + b"/ab"),
        (1, RAW[:-3] + b"\xff\xff\xff"),
        (1, bytes([0]) + RAW[3:]),  # no groups
        (1, bytes(1 << 23)),  # too long
    ],
)
def test_malformed_page(members, raw):
    with pytest.raises(CorruptFile):
        opened(archive_of([(members, zlib.compress(raw))]))


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 0},
        {"length": 0},
        {"pictures": 0},
        {"width": 0},
        {"height": 1 << 32},
        {"mode": 15},
        {"bits": 0},
        {"permissions": 512},
        {"time": 1 << 62},
        {"name": "a//b"},
        {"name": ".."},
    ],
)
def test_impossible_entry(changes):
    with pytest.raises(CorruptFile):
        there_and_back([entry(**changes)])


def test_every_byte():
    """Whatever byte of an index changes, it is found; nothing but our errors comes."""
    good = archive_of([(1, pages.pack_page([entry("abc")]))], bytes(10)).getvalue()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 0x41
        if 9 <= place < 19:  # the group
            continue
        with pytest.raises(VlaeError):
            opened(io.BytesIO(bytes(bad)))
    for length in range(len(good)):
        with pytest.raises(VlaeError):
            opened(io.BytesIO(good[:length]))


def test_outside():
    """A page or a group that lies elsewhere than in the archive."""
    page = pages.pack_page([entry("abc", offset=1 << 40)])
    archive = Archive(archive_of([(1, page)]))
    with pytest.raises(CorruptFile):
        _ = archive[0].pixels
    file = io.BytesIO(index.START + index.pack_end([index.Page(1, 1 << 40, 5, 0)], 0))
    with pytest.raises(CorruptFile):
        Archive(file)
    with pytest.raises(CorruptFile):
        Archive(io.BytesIO(index.START + index.pack_end([index.Page(1025, 9, 1, 0)], 0)))


def test_many_footers():
    """What is read to find the footer is in proportion to the file, however many there seem to be."""
    crowd = b""
    place = len(index.START)
    for _ in range(3000):  # each says that its root is all that is before it
        footer = index.FOOTER.pack(place - len(index.START) + len(crowd), 0, 1, 0, index.END)[:20]
        crowd += footer + CRC.pack(zlib.crc32(footer)) + index.END

    class Counting(io.BytesIO):
        count = 0

        def read(self, size=-1):
            data = super().read(size)
            Counting.count += len(data)
            return data

    file = Counting(index.START + crowd)
    with pytest.raises(CorruptFile):
        Archive(file)
    assert Counting.count < 4 * len(crowd) + 4 * source.TAIL


def test_limits():
    page = pages.pack_page([entry("abc")])
    with pytest.raises(ImageTooLarge):
        opened(archive_of([(1, page)]), memory=3)


def test_other_files():
    with pytest.raises(NotAVlaeFile, match="decompress"):
        Archive(io.BytesIO(b"\xf6VLAE\r\n\x1a\x02" + bytes(100)))
    with pytest.raises(NotAVlaeFile, match="create"):
        Archive(io.BytesIO(b"PK\3\4" + bytes(100)))
    with pytest.raises(InputError):
        Archive("nowhere.vlae")
    with pytest.raises(InputError):
        Archive(object())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b", "/a", "a/", "a//b", "a\0", "x" * 4097, "\udcff", "./a"])
def test_wrong_names(name, tmp_path):
    assert problem_of(name) is not None
    with pytest.raises(OutputError):
        place_of(tmp_path, name)


@pytest.mark.parametrize(
    "name", ["C:x.png", "a\\b.png", "CON", "sub/nul.png", "com1", "a.", "a ", "a?b", "x\x01", "aux .png"]
)
def test_windows_names(name, tmp_path):
    assert problem_on_windows(name) is not None
    assert problem_on_windows("console/con-1.png") is None
    with pytest.raises(OutputError):
        place_of(tmp_path, name, windows=True)


def test_links(tmp_path):
    """No link in the folder leads a member out of it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "b.png").symlink_to(tmp_path / "out" / "b.png")
    for name in ("a/x.png", "a/sub/x.png", "b.png"):
        with pytest.raises(OutputError, match="link"):
            place_of(tmp_path / "in", name)
    (tmp_path / "link").symlink_to(tmp_path / "in")  # the folder itself may be one
    assert place_of(tmp_path / "link", "c/d.png") == tmp_path / "in" / "c" / "d.png"
    assert not list((tmp_path / "out").iterdir())


def test_names_of_files(tmp_path):
    assert name_of(tmp_path.joinpath("..", "x.png").relative_to(tmp_path)) == "x.png"
    with pytest.raises(InputError):
        name_of(tmp_path / "a\udcff.png")
