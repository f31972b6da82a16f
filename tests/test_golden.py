"""Golden files: what was once written is read for ever, on every target, and written again byte for byte."""

import subprocess
import sys

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image

from vlae_codec import compress, decompress, decompress_many
from vlae_codec.format import container
from vlae_codec.format.container import Method
from vlae_codec.native import library
from vlae_codec.weights.model import find_model

NAMES = ["colour", "grey", "strip", "tiles", "pixel"]
SHIPPED = ["cifar10", "photo-gray", "mnist-binary"]
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
        grid = container.tile_grid(contents.header.width, contents.header.height, contents.header.tile_size)
        for tile, (_, _, h, w) in zip(contents.tiles, grid, strict=True):
            methods.add((contents.header.mode, tile.method))
            lanes.add(container.lanes_for(h * w * contents.header.channels, contents.header.lane_symbols))
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
        assert contents.header.model_id == find_model(name).id
        assert [tile.method for tile in contents.tiles] == [Method.LATENTS]
        assert len(data) < 5000


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
    assert contents.adapter == make_golden.adapted_payload()
    assert contents.tiles[0].method == Method.LATENTS
    assert np.array_equal(decompress(data, model=tiny, threads=threads), pixels)
    assert make_golden.write_adapted(pixels, contents.adapter) == data


@pytest.mark.parametrize("threads", [1, 2])
def test_many(target, threads, tiny):
    """A file of several pictures, both ways."""
    back = decompress_many(MANY.read_bytes(), model=tiny, threads=threads)
    for found, expected in zip(back, make_golden.many_pictures(), strict=True):
        assert np.array_equal(found, expected)
    assert make_golden.compress_many_golden(threads=threads, verify=False) == MANY.read_bytes()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name, target):
    pixels, data = golden(name)
    assert np.array_equal(decompress(data, threads=1), pixels)
    assert compress(pixels, model=name, effort=1, threads=1, verify=False) == data


def test_mountains(target):
    """The example of the README under the default model."""
    pixels, data = np.array(Image.open(make_golden.EXAMPLE)), (make_golden.DATA / "mountains.vlae").read_bytes()
    assert np.array_equal(decompress(data, threads=1), pixels)
    assert compress(pixels, effort=1, threads=2, verify=False) == data


# ---------------------------------------------------------------------------------------------------- devices


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("colour", "cifar10")]


@pytest.mark.parametrize("name", ["grey", "strip", "tiles", "pixel", "photo-gray", "mnist-binary", "adapted", *LONG])
def test_device(name, tiny):
    """A device of torch reads and writes the same bytes."""
    pixels, data = golden(name) if name != "adapted" else (golden("colour")[0], ADAPTED.read_bytes())
    model = None if name in SHIPPED else tiny
    assert np.array_equal(decompress(data, model=model, device="torch:cpu", threads=1), pixels)
    if name == "adapted":
        assert make_golden.write_adapted(pixels, make_golden.adapted_payload(), backend="torch:cpu") == data
    elif name in SHIPPED:
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
