"""Parameters of a picture that was a JPEG: back as they were, standard tables in a byte, and nothing impossible."""

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from vlae_codec.errors import CorruptFile
from vlae_codec.jpeg.coefficients import Coefficients, Cut
from vlae_codec.jpeg.parameters import Parameters, pack, parameters_of, standard_table, unpack

OWN = np.arange(1, 65, dtype=np.int32)
DEEP = OWN * 700
LUMA, CHROMA = standard_table(90), standard_table(190)


def same(one: Parameters, other: Parameters) -> bool:
    tables = zip(one.tables, other.tables, strict=True)
    rest = [(found.sampling, found.padded, found.converted, found.cut) for found in (one, other)]
    return rest[0] == rest[1] and all(np.array_equal(*pair) for pair in tables)


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        (Parameters(((1, 1),), (LUMA,)), 5),
        (Parameters(((2, 2), (1, 1), (1, 1)), (LUMA, CHROMA, CHROMA)), 10),
        (Parameters(((2, 1), (1, 1), (1, 1)), (LUMA, CHROMA, CHROMA), padded=True), 10),
        (Parameters(((1, 1),) * 3, (LUMA, OWN, OWN), converted=False), 74),
        (Parameters(((2, 2), (1, 1), (1, 1)), (LUMA, CHROMA, CHROMA), cut=Cut(15, 0, 3, 15)), 14),
        (Parameters(((1, 1),), (LUMA,), padded=True, cut=Cut(top=7)), 9),
        (Parameters(((1, 2), (1, 1), (1, 1)), (OWN, DEEP, OWN + 1), padded=True, converted=False), 267),
        (Parameters(((4, 4), (1, 1), (2, 4), (4, 1)), (OWN, OWN, LUMA, LUMA)), 76),
    ],
)
def test_round_trip(parameters, size):
    data = pack(parameters)
    assert len(data) == size
    assert same(unpack(data), parameters)


def test_standard():
    """Pillow writes such tables; each is a byte, whatever its quality, and the first of equal ones is written."""
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        opened = Image.open(file)
        assert isinstance(opened, JpegImagePlugin.JpegImageFile)
        pillow = opened.quantization
        for number in (quality, 100 + quality):
            table = standard_table(number)
            assert table.tolist() == list(pillow[number > 100]), number
            data = pack(Parameters(((1, 1),), (table,)))
            assert len(data) == 5
            assert data[4] <= number
            assert np.array_equal(unpack(data).tables[0], table)


def test_shapes():
    """Grids end with the picture, or if they are padded with the last whole unit; one component has no units."""
    for padded, expected in ((False, [(3, 5), (2, 3), (2, 3)]), (True, [(4, 6), (2, 3), (2, 3)])):
        found = Parameters(((2, 2), (1, 1), (1, 1)), (OWN,) * 3, padded)
        assert [found.shape(i, 33, 17) for i in range(3)] == expected
        grids = tuple(np.zeros((*shape, 64), np.int16) for shape in expected)
        back = parameters_of(Coefficients(33, 17, found.sampling, found.tables, grids))
        assert back is not None
        assert back.padded == padded
    assert Parameters(((2, 2),), (OWN,), padded=True).shape(0, 33, 17) == (3, 5)
    strange = tuple(np.zeros((4, 5, 64), np.int16) for _ in range(3))
    assert parameters_of(Coefficients(33, 17, ((1, 1),) * 3, (OWN,) * 3, strange)) is None


STEPS = bytes(range(1, 65))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x08\x01\x11\x00\x5a",  # flags
        b"\x04\x01\x11\x00\x5a",  # what the picture lacks
        b"\x04",
        b"\x04\x01\x00\x00",
        b"\x04\x00\x00\x00\x00\x01\x11\x00\x5a",
        b"\x04\x08\x00\x00\x00\x01\x11\x00\x5a",
        b"\x04\x00\x00\x00\x08\x01\x11\x00\x5a",
        b"\x04\x00\x10\x01\x00\x03\x21\x00\x11\x01\x11\x01\x5a\x5b",
        b"\x80\x01\x11\x00\x5a",
        b"\x00\x00",  # components
        b"\x00\x02\x11\x00\x11\x00\x5a",
        b"\x00\x05" + b"\x11\x00" * 5 + b"\x5a",
        b"\x00\xff",
        b"\x00\x03\x11\x00\x11\x00",
        b"\x00\x01\x01\x00\x5a",  # sampling factors
        b"\x00\x01\x10\x00\x5a",
        b"\x00\x01\x51\x00\x5a",
        b"\x00\x01\x15\x00\x5a",
        b"\x00\x01\x11\x01\x5a\x5b",  # numbers of tables
        b"\x00\x03\x11\x00\x11\x02\x11\x02\x5a\x5b\x5c",
        b"\x00\x03\x11\x01\x11\x00\x11\x00\x5a\x5b",
        b"\x00\x03\x11\x00\x11\xff\x11\x00\x5a",
        b"\x00\x01\x11\x00",  # tables
        b"\x00\x01\x11\x00\xc9",
        b"\x00\x01\x11\x00\xfe",
        b"\x00\x01\x11\x00\x00" + STEPS[:-1],
        b"\x00\x01\x11\x00\x00" + bytes(64),
        b"\x00\x01\x11\x00\xff" + STEPS,
        b"\x00\x01\x11\x00\xff" + bytes(128),
        b"\x00\x01\x11\x00\x5a\x00",  # more than that
        b"\x00\x03\x11\x00\x11\x01\x11\x01\x5a\x5a",  # what has a shorter form
        b"\x00\x01\x11\x00\x00" + bytes(LUMA.tolist()),
        b"\x00\x01\x11\x00\xff" + OWN.astype("<u2").tobytes(),
        b"\x00\x01\x11\x00" + bytes([next(n for n in range(2, 201) if (standard_table(n) == standard_table(1)).all())]),
    ],
)
def test_impossible(data):
    with pytest.raises(CorruptFile):
        unpack(data)


def test_any_bytes():
    """Damage is refused, or says something that has this very form."""
    rng = np.random.default_rng(1)
    some = ((LUMA, CHROMA, CHROMA), Cut()), ((OWN, DEEP, OWN), Cut(9, 0, 1, 2))
    good = [pack(Parameters(((2, 2), (1, 1), (1, 1)), tables, cut=cut)) for tables, cut in some]
    read = 0
    for _ in range(600):
        data = bytearray(good[rng.integers(2)])
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        try:
            found = unpack(bytes(data))
        except CorruptFile:
            continue
        read += 1
        assert pack(found) == data
        assert all(table.min() >= 1 for table in found.tables)
    assert read > 20
