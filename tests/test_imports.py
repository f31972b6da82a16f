"""What a process loads: neither torch nor a compiler, nor what trains models, to compress and decompress."""

import json
import re
import subprocess
import sys
from pathlib import Path

import make_golden  # type: ignore[import-not-found]
import pytest

import vlae_codec

FOREIGN = {"torch", "numba", "llvmlite", "safetensors", "scipy", "matplotlib", "imagecodecs"}
ROOT = Path(vlae_codec.__file__).parent.parent


def loaded(code, *arguments):
    """Modules that a fresh process has loaded at the end of the code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


CODE = """
import sys
import numpy as np
from vlae_codec import compress, compress_many, decompress, decompress_many
from vlae_codec.format import container, stored
stored.worth_a_try = lambda *_: False
model, effort = sys.argv[1:]
y, x = np.mgrid[:128, :160]  # like nothing that the model was trained on, so that an adapter pays
pixels = 100 + 60 * np.sin(x / 3)[..., None] + 30 * np.cos(y / 2)[..., None] * [1, -1, 0.5]
pixels = (pixels + np.random.default_rng(1).normal(0, 6, pixels.shape)).round().astype(np.uint8)
data = compress(pixels, model=model, effort=int(effort), threads=2)
assert container.read(data).parts[0].adapter is not None
assert np.array_equal(decompress(data, model=model), pixels)
some = [pixels[:48], pixels[48:], pixels[:48]]
data = compress_many(some, model=model, effort=int(effort))
assert all(map(np.array_equal, decompress_many(data, model=model), some))
"""


@pytest.mark.parametrize("effort", [3, 9])
def test_coding(tiny, effort):
    found = loaded(CODE, tiny, effort)
    assert "vlae_codec.adapter.fit" in found
    assert {name.partition(".")[0] for name in found} & FOREIGN == set()
    assert {name for name in found if name.startswith(("vlae_codec.models.", "vlae_codec.gpu"))} == set()


def test_built_in_models():
    """Weights are found without what trains them."""
    file = make_golden.DATA / "cifar10.vlae"
    found = loaded("import sys, vlae_codec\nvlae_codec.decompress(open(sys.argv[1], 'rb').read())", file)
    assert {name.partition(".")[0] for name in found} & FOREIGN == set()
    assert {name for name in found if name.startswith("vlae_codec.models")} == {"vlae_codec.models"}
    assert "vlae_codec.adapter.fit" not in found


def test_package():
    """The package itself loads next to nothing; a device's codec loads torch."""
    found = loaded("import vlae_codec")
    assert {name.partition(".")[0] for name in found} & (FOREIGN | {"numpy", "PIL"}) == set()
    assert {name for name in found if name.startswith("vlae_codec")} == {"vlae_codec"}


def test_device(tiny):
    code = "import sys, numpy, vlae_codec\nx = numpy.zeros((9, 9, 3), numpy.uint8)\n"
    found = loaded(code + "vlae_codec.compress(x, model=sys.argv[1], effort=1, device='torch:cpu')", tiny)
    assert {"torch", "vlae_codec.gpu.device"} <= found


def sources():
    for folder in ("vlae_codec", "models", "cli", "bench", "tests", "examples"):
        yield from (ROOT / folder).rglob("*.py")


def test_sources():
    """Nothing imports what the package no longer needs."""
    gone = re.compile(r"^\s*(import|from)\s+(numba|llvmlite|safetensors)\b", re.MULTILINE)
    assert len(list(sources())) > 50
    assert [path for path in sources() if gone.search(path.read_text("utf-8"))] == []
