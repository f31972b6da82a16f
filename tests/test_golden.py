"""Golden files: what was once written is read for ever, on every target, and written again byte for byte."""

import subprocess
import sys

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image

from vlae_codec import compress, decompress, decompress_many
from vlae_codec.api import decompress_pictures
from vlae_codec.contract import Pace
from vlae_codec.format import container
from vlae_codec.format.container import Method
from vlae_codec.format.header import JPEG, SOURCE_PLANES, VALUES
from vlae_codec.native import library
from vlae_codec.weights.model import find_model

NAMES = ["colour", "grey", "strip", "tiles", "pixel"]
SHIPPED = ["cifar10", "luma", "mnist-binary"]
ADAPTED = make_golden.DATA / "adapted.vlae"
MANY = make_golden.DATA / "many.vlae"


def golden(name):
    return np.array(Image.open(make_golden.DATA / f"{name}.png")), (make_golden.DATA / f"{name}.vlae").read_bytes()


def test_sanity():
    """The files cover every way to code with a model, one lane and several."""
    pictures = make_golden.golden_pictures()
    assert list(pictures) == NAMES
    methods, lanes = set(), set()
    for name in NAMES:
        pixels, data = golden(name)
        assert np.array_equal(pixels, pictures[name])
        contents = container.read(data)
        (part,) = contents.parts
        for record, ((_, (_, _, h, w)),) in zip(part.records, part.pieces, strict=True):
            methods.add((part.layout.mode, record.method))
            lanes.add(container.lanes_for(h * w * part.planes.channels, part.planes.lane_symbols))
    assert methods > {("RGB", Method.LATENTS), ("RGB", Method.NO_LATENTS), ("L", Method.LATENTS)}
    assert min(lanes) == 1
    assert max(lanes) > 8


def test_sanity_of_shipped():
    """The files of the shipped models are theirs, are small, and use latents."""
    pictures = make_golden.shipped_pictures()
    assert list(pictures) == SHIPPED
    for name in SHIPPED:
        pixels, data = golden(name)
        assert np.array_equal(pixels, pictures[name])
        contents = container.read(data)
        (part,) = contents.parts
        assert part.planes.model_id == find_model(name).id
        assert [record.method for record in part.records] == [Method.LATENTS]
        assert len(data) < 5000


def kind(name):
    """What the file of a kind is there for."""
    parts = container.read((make_golden.DATA / f"{name}.vlae").read_bytes()).parts
    first = parts[0].planes
    return {
        "deep": first.levels == 4096 and first.shift > 0,
        "deep-rgb": first.levels == 65536 and first.channels == 3 and first.shift > 0,
        "alpha": len({part.planes.model_id for part in parts}) == 2 and parts[1].planes.tile_size == 16,
        "palette": parts[0].layout.palette is not None and parts[0].model_needed,
        "mapped": bool(first.values) and parts[0].model_needed,
        "frames": [record.differences for record in parts[0].records] == [False, True, True],
        "signed": parts[0].layout.type == "int16" and first.shift > 0,
        "floats": parts[0].layout.type == "float32" and parts[0].records[0].method == Method.WEBP,
        "blocks": first.scale == (2, 3),
        "mixed": [part.planes.chains for part in parts] == [2, 1, 1, 1] and parts[0].model_needed,
    }[name]


@pytest.mark.parametrize("name", make_golden.kinds())
def test_sanity_of_kinds(name):
    """Each file has what it is there for, and is small."""
    assert kind(name)
    assert (make_golden.DATA / f"{name}.vlae").stat().st_size < 1200


# ---------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in NAMES), ("tiles", 2)])
def test_read(name, target, threads, tiny):
    pixels, data = golden(name)
    assert np.array_equal(decompress(data, model=tiny, threads=threads), pixels)


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in NAMES), ("colour", 2)])
def test_write(name, target, threads):
    pixels, data = golden(name)
    assert make_golden.compress_golden(name, pixels, threads=threads, verify=False) == data


@pytest.mark.parametrize("threads", [1, 2])
def test_adapted(target, threads, tiny):
    """A file with an adapter, both ways."""
    pixels, _ = golden("colour")
    data = ADAPTED.read_bytes()
    contents = container.read(data)
    (part,) = contents.parts
    assert part.adapter == make_golden.adapted_payload()
    assert part.records[0].method == Method.LATENTS
    assert np.array_equal(decompress(data, model=tiny, threads=threads), pixels)
    assert make_golden.write_adapted(pixels, part.adapter) == data


@pytest.mark.parametrize("threads", [1, 2])
def test_many(target, threads, tiny):
    """A file of several pictures, both ways."""
    back = decompress_many(MANY.read_bytes(), model=tiny, threads=threads)
    for found, expected in zip(back, make_golden.many_pictures(), strict=True):
        assert np.array_equal(found, expected)
    assert make_golden.compress_many_golden(threads=threads, verify=False) == MANY.read_bytes()


@pytest.mark.parametrize("name", make_golden.kinds())
def test_kinds(name, target, tiny):
    """The other kinds; those that do not depend on the version of a library are written again, too."""
    data = (make_golden.DATA / f"{name}.vlae").read_bytes()
    found = decompress_pictures(data, model=None if name == "mixed" else tiny, threads=1)
    for one, other in zip(found, make_golden.kinds()[name], strict=True):
        assert (one.mode, one.levels, one.metadata) == (other.mode, other.levels, other.metadata)
        assert one.pixels.dtype == other.pixels.dtype
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.palette is None) == (other.palette is None)
        if one.palette is not None and other.palette is not None:
            assert np.array_equal(one.palette, other.palette)
    if not any(record.stored for record in container.read(data).records):
        assert make_golden.compress_kind(name) == data


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name, target):
    pixels, data = golden(name)
    assert np.array_equal(decompress(data, threads=1), pixels)
    assert compress(pixels, model=name, effort=1, threads=1, verify=False) == data


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("deep", [False, True])
def test_learning(target, deep, device):
    """A file whose model learns, with an adapter, both ways; a device leaves it to the CPU."""
    data = (make_golden.DATA / f"learning{'-deep' * deep}.vlae").read_bytes()
    (part,) = container.read(data).parts
    assert (part.planes.pace, part.planes.shift) == (Pace(0 if deep else 1), int(deep))
    assert part.adapter is not None
    assert np.array_equal(decompress(data, device=device, threads=1), make_golden.learning_picture(deep).pixels)
    if device == "cpu":
        assert make_golden.write_learning(deep) == data


@pytest.mark.parametrize("name", ["photocd", "webp", "values", "jpeg"])
def test_pasts(name, target):
    """Pictures with an origin."""
    pixels, data = make_golden.pasts()[name].pixels, (make_golden.DATA / f"past-{name}.vlae").read_bytes()
    contents = container.read(data)
    origin = contents.header.first.origin
    assert origin is not None
    assert origin.form == {"values": VALUES, "jpeg": JPEG}.get(name, SOURCE_PLANES)
    assert name == "values" or contents.parts[-1].records[0].data
    assert np.array_equal(decompress(data, threads=1), pixels)
    assert make_golden.compress_past(name, threads=1, verify=False) == data


def test_mountains():
    """The example of the README under the default model."""
    pixels, data = np.array(Image.open(make_golden.EXAMPLE)), (make_golden.DATA / "mountains.vlae").read_bytes()
    assert np.array_equal(decompress(data, threads=1), pixels)
    assert compress(pixels, effort=1, threads=2, verify=False) == data


@pytest.mark.slow
def test_mountains_everywhere(target):
    test_mountains()


# ---------------------------------------------------------------------------------------------------- devices


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("colour", "cifar10", "luma")]


@pytest.mark.parametrize("name", ["grey", "strip", "tiles", "pixel", "mnist-binary", "adapted", *LONG])
def test_device(name, tiny):
    """A device of torch reads and writes the same bytes."""
    pixels, data = golden(name) if name != "adapted" else (golden("colour")[0], ADAPTED.read_bytes())
    model = None if name in SHIPPED else tiny
    assert np.array_equal(decompress(data, model=model, device="torch:cpu", threads=1), pixels)
    if name == "adapted":
        return  # tests/adapter writes one
    if name in SHIPPED:
        assert compress(pixels, model=name, effort=1, device="torch:cpu", threads=1, verify=False) == data
    else:
        assert make_golden.compress_golden(name, pixels, device="torch:cpu", threads=1, verify=False) == data


FRESH = """
import sys
from pathlib import Path
from vlae_codec import compress, decompress
from vlae_codec.native import library
model, *files = sys.argv[1:]
for file in files:
    pixels = decompress(Path(file).read_bytes(), model=model, threads=1)
    sys.stdout.buffer.write(pixels.tobytes())
sys.stdout.buffer.write(compress(pixels, model=model, effort=1, threads=2))
print(library.target(), file=sys.stderr)
"""


def test_fresh_process(tiny, target, monkeypatch):
    """A process whose target the environment names has the same bytes from its first use on."""
    monkeypatch.setenv(library.TARGET_VARIABLE, target)
    files = [*(str(make_golden.DATA / f"{name}.vlae") for name in ("tiles", "adapted", "colour"))]
    done = subprocess.run([sys.executable, "-c", FRESH, str(tiny), *files], capture_output=True)
    assert not done.returncode, done.stderr
    assert done.stderr.split() == [target.encode()]
    expected = [golden(name)[0].tobytes() for name in ("tiles", "colour", "colour")]
    assert done.stdout == b"".join([*expected, golden("colour")[1]])


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_gpu(name, tiny):
    pixels, data = golden(name)
    assert np.array_equal(decompress(data, model=tiny, device="torch:cuda"), pixels)
    assert make_golden.compress_golden(name, pixels, device="torch:cuda", verify=False) == data
