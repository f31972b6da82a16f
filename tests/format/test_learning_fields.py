"""How a model learns, in a header: round trips, the bytes themselves, and what no file may say of it."""

from dataclasses import replace

import pytest

from vlae_codec import errors
from vlae_codec.contract import Pace
from vlae_codec.format.fields import pack_header, unpack_header
from vlae_codec.format.header import VALUES, Form, Header, Kind, Layout, Origin, Planes

MODEL = bytes(range(8))
LEARNS = Planes(3, 256, MODEL, pace=Pace(1, False))
PLACE = [(0, 37, 21)]


def header(*planes, mode="RGB", levels=256, origin=None):
    return Header.of([Layout(mode, planes, levels=levels, channels=planes[0].channels, origin=origin)], PLACE)


@pytest.mark.parametrize("pace", [*(Pace(slow, whole) for whole in (False, True) for slow in range(7)), None])
def test_round_trip(pace):
    for head in (
        header(replace(LEARNS, pace=pace)),
        header(Planes(1, 256, MODEL, pace=pace), mode="L"),
        header(Planes(1, 2, MODEL, pace=pace), mode="1", levels=2),
        header(Planes(1, 4096, MODEL, shift=10, pace=pace), mode="L", levels=4096),
        header(Planes(1, 16, MODEL, pace=pace, values=((9, Form(2, bytes(9))),)), mode="L", levels=16),
        header(replace(LEARNS, pace=pace), origin=Origin(VALUES, b"\x00\x0c")),
    ):
        data = pack_header(head)
        assert unpack_header(memoryview(data)) == (head, len(data))


def test_bytes():
    """It is the high digit of the byte of which the shift is the low one."""
    assert pack_header(header(LEARNS)) == b"\x01\x01\x03\x05" + MODEL + b"\x20" + b"\x01\x01\x00\x25\x15"
    for pace, value in (
        (None, b"\x02"),
        (Pace(0, False), b"\x12"),
        (Pace(6, False), b"\x72"),
        (Pace(0, True), b"\x92"),
        (Pace(6, True), b"\xf2"),
    ):
        deep = header(Planes(1, 4096, MODEL, shift=2, pace=pace), mode="L", levels=4096)
        assert b"\x01\x05" + MODEL + value in pack_header(deep)


WRONG = {
    "slower than there is": header(replace(LEARNS, pace=Pace(7, False))),
    "slower than there is, all layers": header(replace(LEARNS, pace=Pace(7, True))),
    "faster": header(replace(LEARNS, pace=Pace(-1, False))),
    "faster, all layers": header(replace(LEARNS, pace=Pace(-1, True))),
    "no model": header(replace(LEARNS, model_id=None)),
    "chains": header(replace(LEARNS, chains=1)),
    "exceptions": header(Planes(1, 256, MODEL, kind=Kind.EXCEPTIONS, pace=Pace(0, True)), mode="L"),
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible(name):
    with pytest.raises(ValueError, match=r"learning|origin|chains|groups"):
        pack_header(WRONG[name])


@pytest.mark.parametrize("value", [0, 1, 10, *range(128, 144), 159, 255])
def test_impossible_bytes(value):
    data = bytearray(pack_header(header(LEARNS)))
    data[4 + len(MODEL)] = value
    with pytest.raises(errors.CorruptFile):
        unpack_header(memoryview(data))


@pytest.mark.parametrize("value", [0, 11, 31, *range(128, 144), 155, 255])
def test_impossible_bytes_of_deep_samples(value):
    """Those have a shift, up to 10, so it is the high digit alone that is wrong in most of these."""
    data = pack_header(header(Planes(1, 4096, MODEL, shift=2, pace=Pace(0, False)), mode="L", levels=4096))
    before, after = data.split(MODEL + b"\x12")
    with pytest.raises(errors.CorruptFile):
        unpack_header(memoryview(before + MODEL + bytes([value]) + after))
