"""Weight files: what is written comes back, and nothing that a file says is believed before it is checked."""

import json
import os
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlae_codec.errors import WeightsError
from vlae_codec.models.weights_file import write
from vlae_codec.weights import safetensors
from vlae_codec.weights.model import weights_folder

TENSORS: dict[str, np.ndarray] = {
    "b": np.arange(-6, 6, dtype=np.int8).reshape(3, 4),
    "a": np.array([-(1 << 31), 0, (1 << 31) - 1], np.int32),
    "wide": np.array([[-(1 << 63)], [(1 << 63) - 1]], np.int64),
    "none": np.zeros((0, 5), np.int8),
    "number": np.array(7, np.int64),
}


def read(path):
    """(metadata, tensors) of a file."""
    with safetensors.refusing(path), safetensors.opened(path) as file:
        metadata, places = safetensors.read_header(file)
        return metadata, safetensors.read_tensors(file, places)


def parts(data):
    """(header, the tensors' bytes) of a file, by the format's definition."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.safetensors"


def read_bytes(path, data):
    path.write_bytes(data)
    return read(path)


def refused(path, data, words=""):
    with pytest.raises(WeightsError, match=f"cannot read .*{words}"):
        read_bytes(path, data)


def test_round_trip(path):
    metadata = {"name": "a cat, ein Kätzchen", "more": '{"json": 1}', "": ""}
    write(path, TENSORS, metadata)
    found, tensors = read(path)
    assert found == metadata
    assert set(tensors) == set(TENSORS)
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert tensor.flags.aligned
        assert tensor.flags.writeable
        assert tensor.flags.c_contiguous
        assert tensor.shape == TENSORS[name].shape
        assert np.array_equal(tensor, TENSORS[name])


def test_format(path):
    """The bytes are safetensors': every tensor begins at a multiple of its size, little-endian, with no gap."""
    write(path, {**TENSORS, "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T}, {"x": "y"})
    header, data = parts(path.read_bytes())
    assert header.pop("__metadata__") == {"x": "y"}
    begins = int.from_bytes(path.read_bytes()[:8], "little") + 8
    assert begins % 8 == 0
    ends = [0]
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert begin == ends[-1]
        ends.append(end)
        kind = {"I8": "<i1", "I32": "<i4", "I64": "<i8"}[entry["dtype"]]
        assert begin % np.dtype(kind).itemsize == 0
        tensor = np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
        expected = TENSORS[name] if name in TENSORS else np.arange(6, dtype=np.int32).reshape(2, 3).T
        assert np.array_equal(tensor, expected)
    assert ends[-1] == len(data)


def test_floats_are_not_written(path):
    for kind in (np.float32, np.float64, np.int16, np.uint8, bool):
        with pytest.raises(KeyError):
            write(path, {"x": np.zeros(3, kind)}, {})
        assert not path.exists()


@pytest.mark.parametrize("file", sorted(weights_folder().glob("*.safetensors")), ids=lambda file: file.stem)
def test_shipped(file, path):
    """The shipped files load, and are written again with the same numbers."""
    metadata, tensors = read(file)
    assert {tensor.dtype.kind for tensor in tensors.values()} == {"i"}
    assert metadata["vlae-codec"] == "1"
    write(path, tensors, metadata)
    again, others = read(path)
    assert again == metadata
    assert others.keys() == tensors.keys()
    assert all(np.array_equal(others[name], tensor) for name, tensor in tensors.items())


# ---------------------------------------------------------------------------------------------------- damage

ENTRY = {"dtype": "I8", "shape": [2, 3], "data_offsets": [0, 6]}


def test_sanity(path):
    assert read_bytes(path, joined({"x": ENTRY}, bytes(6)))[1]["x"].shape == (2, 3)
    assert read_bytes(path, joined({})) == ({}, {})
    two = {"x": ENTRY, "y": {"dtype": "I32", "shape": [1], "data_offsets": [6, 10]}}
    assert read_bytes(path, joined(two, bytes(10)))[1]["y"].shape == (1,)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 20])
def test_truncated(path, length):
    refused(path, joined({"x": ENTRY}, bytes(6))[:length])


@pytest.mark.parametrize("length", [0, 1, 3, 60, 99, 1 << 20, (1 << 20) + 1, 1 << 40, (1 << 64) - 1])
def test_header_length(path, length):
    """A header that reaches behind the end of the file, or is none; nothing is allocated for it."""
    refused(path, length.to_bytes(8, "little") + joined({"x": ENTRY}, bytes(6))[8:])


def test_long_header(path):
    refused(path, joined(b" " * (1 << 20) + b"{}"), "too long")
    read_bytes(path, joined(b" " * ((1 << 20) - 2) + b"{}"))


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"\xff\xfe{}",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b'{"x": 1}',
        b'{"x": []}',
        b'{"x": null}',
        b'{"x": {}}',
        b'{"__metadata__": []}',
        b'{"__metadata__": 3}',
        b'{"__metadata__": {"a": 1}}',
        b'{"__metadata__": {"a": null}}',
        b'{"__metadata__": {"a": {"b": "c"}}}',
        b"{}{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"__metadata__": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x": ' + b"9" * 10_000 + b"}",
        b'{"x": ' + b"9" * 1_000_000 + b"}",
        b'{"__metadata__": {"a": "b", "a": "b"}}',
        b'{"__metadata__": {}, "__metadata__": {}}',
        b'{"x": NaN}',
        b'{"x": 1e999}',
        b'{"x": -Infinity}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
    ],
)
def test_no_header(path, header):
    refused(path, joined(header))


def with_entry(**changes):
    return joined({"x": {name: value for name, value in {**ENTRY, **changes}.items() if value != "out"}}, bytes(6))


TYPES: list[Any] = ["F32", "F64", "F16", "BF16", "F8_E4M3", "U8", "I16", "BOOL", "i8", "", 8, None, ["I8"], "out"]
SHAPES: list[Any] = [[2], [2, 4], [6, 0], [-2, -3], [2.0, 3], [True, 6], ["2", 3], 6, None, {}, "out"]
BAD_ENTRIES: list[dict[str, Any]] = [
    {"more": 1},
    *({"dtype": kind} for kind in TYPES),
    *({"shape": shape} for shape in SHAPES),
    *({"shape": [1, 1, 1, 2, 3]}, {"shape": [1 << 62, 6]}, {"shape": [1 << 32, 1 << 32]}, {"shape": [10**30]}),
    *({"data_offsets": [0, 6, 6]}, {"data_offsets": [0]}, {"data_offsets": [1, 7]}, {"data_offsets": [6, 0]}),
    *({"data_offsets": [-6, 0]}, {"data_offsets": [0.0, 6]}, {"data_offsets": None}, {"data_offsets": "out"}),
    *({"data_offsets": [1 << 40, (1 << 40) + 6]}, {"data_offsets": [False, 6]}, {"data_offsets": [0, 5]}),
    {"dtype": "I64", "shape": [1 << 28], "data_offsets": [0, 1 << 31]},
    {"dtype": "I8", "shape": [1 << 28], "data_offsets": [0, 1 << 28]},
    {"dtype": "I8", "shape": [0, 1 << 28, 1 << 28, 1 << 28], "data_offsets": [9, 9]},
]


def entries(*places):
    return {str(i): {"dtype": "I8", "shape": [end - begin], "data_offsets": [begin, end]} for i, (begin, end) in places}


@pytest.mark.parametrize(
    "places",
    [
        [],
        [(0, 8)],
        [(0, 10)],
        [(1, 9)],
        [(0, 4), (5, 9)],
        [(0, 9), (0, 9)],
        [(0, 5), (4, 9)],
        [(0, 9), (3, 3)],
        [(0, 4), (4, 9), (9, 10)],
        [(0, 9)] * 1000,
    ],
    ids=str,
)
def test_places(path, places):
    """Tensors that lap over each other, or leave bytes to nobody: a small file would be much memory."""
    for order in (places, places[::-1]):
        refused(path, joined(entries(*enumerate(order)), bytes(9)))
    _, tensors = read_bytes(path, joined(entries(*enumerate([(4, 9), (0, 4), (9, 9), (0, 0)])), bytes(range(9))))
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "0": [4, 5, 6, 7, 8],
        "1": [0, 1, 2, 3],
        "2": [],
        "3": [],
    }


@pytest.mark.parametrize("changes", BAD_ENTRIES, ids=str)
def test_bad_entry(path, changes):
    """A type that is not ours, a shape of other bytes, a place outside the file."""
    refused(path, with_entry(**changes))


def test_no_regular_file(tmp_path):
    """A pipe is not waited for, nor a device read; a folder is none; what is not there is said."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for wrong, words in (
        (pipe, "regular"),
        ("/dev/zero", "regular"),
        (tmp_path, "directory"),
        (tmp_path / "no", "No such"),
    ):
        problems: list[str] = []

        def attempt(wrong=wrong, problems=problems):
            try:
                read(wrong)
            except WeightsError as error:
                problems.append(str(error))

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        assert words in problems[0]


def test_large_file(path):
    """One over the limit is not read; a sparse one takes no space here."""
    with open(path, "wb") as file:
        file.truncate(safetensors.MAX_FILE + 1)
    with pytest.raises(WeightsError, match="limit"):
        read(path)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_damage(tmp_path_factory, data):
    """Flipped bytes, cuts and insertions: an error, or integers of the shape that the header says."""
    folder = tmp_path_factory.getbasetemp() / "damage"
    folder.mkdir(exist_ok=True)
    path = folder / "some.safetensors"
    write(path, TENSORS, {"a": "b"})
    made = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(made) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip":
            made[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del made[at : at + data.draw(st.integers(1, 40))]
            made = made or bytearray(b"?")
        else:
            made[at:at] = data.draw(st.binary(max_size=9))
    path.write_bytes(made)
    try:
        _, tensors = read(path)
    except WeightsError:
        return
    assert all(tensor.dtype.kind == "i" and tensor.nbytes <= len(made) for tensor in tensors.values())
