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
    ):
        data = pack_header(head)
        assert unpack_header(memoryview(data)) == (head, len(data))


def test_bytes():
    """It is where a shift is in a group of more levels."""
    assert pack_header(header(LEARNS)) == b"\x01\x01\x03\x05" + MODEL + b"\x02" + b"\x01\x01\x00\x25\x15"
    deep = header(Planes(1, 4096, MODEL, shift=2), mode="L", levels=4096)
    assert b"\x01\x05" + MODEL + b"\x02" in pack_header(deep)


STEPS = Form(2, bytes(99))
WRONG = {
    "slower than there is": header(replace(LEARNS, slow=9)),
    "faster": header(replace(LEARNS, slow=-1)),
    "no model": header(replace(LEARNS, model_id=None)),
    "chains": header(replace(LEARNS, chains=1)),
    "many levels": header(Planes(1, 4096, MODEL, slow=0), mode="L", levels=4096),
    "few levels": header(Planes(1, 16, MODEL, slow=0), mode="L", levels=16),
    "two values": header(Planes(1, 2, MODEL, slow=0, values=((2, STEPS),)), mode="L"),
    "values of an origin": header(LEARNS, origin=Origin(VALUES, b"\x00\x0c")),
    "exceptions": header(Planes(1, 256, MODEL, kind=Kind.EXCEPTIONS, slow=0), mode="L"),
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible(name):
    with pytest.raises(ValueError, match=r"learning|origin|chains|groups"):
        pack_header(WRONG[name])


@pytest.mark.parametrize("value", [0, 10, 255])
def test_impossible_bytes(value):
    data = bytearray(pack_header(header(LEARNS)))
    data[4 + len(MODEL)] = value
    with pytest.raises(errors.CorruptFile):
        unpack_header(memoryview(data))
