"""Golden files: what was once written is read for ever, by every backend, and written again byte for byte."""

import subprocess
import sys

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image
from test_simd import PROCESSORS, has, variant  # type: ignore[import-not-found]

from vlae_codec import container, decompress
from vlae_codec.container import Method

NAMES = ["colour", "grey", "strip", "tiles", "pixel"]
ADAPTED = make_golden.DATA / "adapted.vlae"


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


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in NAMES), ("tiles", 2)])
def test_read(name, backend, threads, tiny):
    pixels, data = golden(name)
    assert np.array_equal(decompress(data, model=tiny, device=backend, threads=threads), pixels)


@pytest.mark.parametrize("threads", [1, 2])
def test_adapted(backend, threads, tiny):
    """A file with an adapter, both ways."""
    pixels, _ = golden("colour")
    data = ADAPTED.read_bytes()
    contents = container.read(data)
    assert contents.adapter == make_golden.adapted_payload()
    assert contents.tiles[0].method == Method.LATENTS
    assert np.array_equal(decompress(data, model=tiny, device=backend, threads=threads), pixels)
    assert make_golden.write_adapted(pixels, contents.adapter, backend=backend) == data


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in NAMES), ("colour", 2)])
def test_write(name, backend, threads):
    pixels, data = golden(name)
    assert make_golden.compress_golden(name, pixels, device=backend, threads=threads, verify=False) == data


FRESH = """
import sys
from pathlib import Path
from vlae_codec import compress, decompress
model, *files = sys.argv[1:]
for file in files:
    pixels = decompress(Path(file).read_bytes(), model=model, threads=1)
    sys.stdout.buffer.write(pixels.tobytes())
compress(pixels, model=model, effort=1, threads=2)
assert "torch" not in sys.modules
"""


def test_fresh_process(tiny):
    """Nothing between pixels and bits is torch's."""
    files = [*(str(make_golden.DATA / f"{name}.vlae") for name in NAMES), str(ADAPTED)]
    done = subprocess.run([sys.executable, "-c", FRESH, str(tiny), *files], capture_output=True)
    assert not done.returncode, done.stderr
    assert done.stdout == b"".join(golden(name)[0].tobytes() for name in [*NAMES, "colour"])


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSORS)
def test_processors(tiny, tmp_path, name):
    """All of it compiled for processors with other vectors."""
    features, _, _ = PROCESSORS[name]
    if name != "none" and not has(features):
        pytest.skip("this processor lacks them")
    files = [str(make_golden.DATA / f"{name}.vlae") for name in NAMES]
    env = variant(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=features)
    done = subprocess.run([sys.executable, "-c", FRESH, str(tiny), *files], capture_output=True, env=env)
    assert done.stdout == b"".join(golden(name)[0].tobytes() for name in NAMES), done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_gpu(name, tiny):
    pixels, data = golden(name)
    assert np.array_equal(decompress(data, model=tiny, device="torch:cuda"), pixels)
    assert make_golden.compress_golden(name, pixels, device="torch:cuda", verify=False) == data
