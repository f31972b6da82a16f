"""How a model learns, in a header: round trips, the bytes themselves, and what no file may say of it."""

from dataclasses import replace

import pytest

from vlae_codec import errors
from vlae_codec.format.fields import pack_header, unpack_header
from vlae_codec.format.header import VALUES, Form, Header, Kind, Layout, Origin, Planes

MODEL = bytes(range(8))
LEARNS = Planes(3, 256, MODEL, slow=1)
PLACE = [(0, 37, 21)]


def header(*planes, mode="RGB", levels=256, origin=None):
    return Header.of([Layout(mode, planes, levels=levels, channels=planes[0].channels, origin=origin)], PLACE)


@pytest.mark.parametrize("slow", [*range(9), None])
def test_round_trip(slow):
    for head in (
        header(replace(LEARNS, slow=slow)),
        header(Planes(1, 256, MODEL, slow=slow), mode="L"),
        header(Planes(1, 2, MODEL, slow=slow), mode="1", levels=2),
        header(Planes(1, 4096, MODEL, shift=10, slow=slow), mode="L", levels=4096),
        header(Planes(1, 16, MODEL, slow=slow, values=((9, Form(2, bytes(9))),)), mode="L", levels=16),
        header(replace(LEARNS, slow=slow), origin=Origin(VALUES, b"\x00\x0c")),
    ):
        data = pack_header(head)
        assert unpack_header(memoryview(data)) == (head, len(data))


def test_bytes():
    """It is the high digit of the byte of which the shift is the low one."""
    assert pack_header(header(LEARNS)) == b"\x01\x01\x03\x05" + MODEL + b"\x20" + b"\x01\x01\x00\x25\x15"
    for slow, value in ((None, b"\x02"), (0, b"\x12"), (8, b"\x92")):
        deep = header(Planes(1, 4096, MODEL, shift=2, slow=slow), mode="L", levels=4096)
        assert b"\x01\x05" + MODEL + value in pack_header(deep)


WRONG = {
    "slower than there is": header(replace(LEARNS, slow=9)),
    "faster": header(replace(LEARNS, slow=-1)),
    "no model": header(replace(LEARNS, model_id=None)),
    "chains": header(replace(LEARNS, chains=1)),
    "exceptions": header(Planes(1, 256, MODEL, kind=Kind.EXCEPTIONS, slow=0), mode="L"),
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible(name):
    with pytest.raises(ValueError, match=r"learning|origin|chains|groups"):
        pack_header(WRONG[name])


@pytest.mark.parametrize("value", [0, 1, 10, 160, 255])
def test_impossible_bytes(value):
    data = bytearray(pack_header(header(LEARNS)))
    data[4 + len(MODEL)] = value
    with pytest.raises(errors.CorruptFile):
        unpack_header(memoryview(data))
