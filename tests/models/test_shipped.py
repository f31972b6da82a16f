"""The shipped weights: their golden file, and that model, card and file speak of the same."""

import re

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

from vlae_codec import compress, compress_many, decompress, decompress_many
from vlae_codec.format import container
from vlae_codec.images.image import load
from vlae_codec.models.export import LATENT_PATH
from vlae_codec.weights.model import default_model_name, find_model, read_weights, weights_folder
from vlae_codec.weights.schema import learns

SHIPPED = sorted(weights_folder().glob("*.safetensors"))
BEST = {"photo-best", "chroma-best"}
LEARNERS = {"photo": "photo-learner", "luma": "luma-learner"}  # beside those whose latent path they have
OTHERS = {"chroma", "cifar10", "luma", "mnist-binary", "mnist-vector", "photo"}
GOLDEN = make_golden.DATA / "mountains.vlae"


@pytest.mark.slow
def test_golden():
    """On a device of torch; test_golden.py has all targets of the CPU."""
    pixels = load(make_golden.EXAMPLE).pixels
    data = GOLDEN.read_bytes()
    assert np.array_equal(decompress(data, device="torch:cpu"), pixels)
    assert compress(pixels, effort=1, device="torch:cpu", verify=False) == data


def test_latents():
    """The example uses them."""
    assert container.read(GOLDEN.read_bytes()).records[0].method == container.Method.LATENTS


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_card(path):
    assert path.stat().st_size <= 4_000_000
    card = path.with_suffix(".md").read_text()
    assert re.search(f"id `{find_model(path).id.hex()}`", card)


def test_id():
    assert container.read_header(GOLDEN.read_bytes()).first.planes[0].model_id == find_model().id


def test_names():
    """Every mode has its model, and each is what its name says."""
    assert {path.stem for path in SHIPPED} == BEST | {*LEARNERS.values()} | OTHERS
    assert [default_model_name(mode) for mode in ("RGB", "L", "1")] == ["photo", "luma", "mnist-binary"]
    assert [default_model_name(mode) for mode in ("luma", "chroma")] == ["luma", "chroma"]
    assert {default_model_name(mode, best=True) for mode in ("RGB", "chroma")} == BEST
    learners = ["photo-learner", "luma-learner", "luma-learner", "chroma"]
    assert [default_model_name(mode, learns=True) for mode in ("RGB", "luma", "L", "chroma")] == learners
    assert default_model_name("RGB", learns=True, best=True) == "photo-best"
    assert [find_model(name).config["channels"] for name in ("photo", "luma", "cifar10")] == [3, 1, 3]
    assert find_model("mnist-binary").config["levels"] == 2


@pytest.mark.parametrize("names", LEARNERS.items(), ids=LEARNERS.values())
def test_learners(names):
    """They learn, and have the latent path of models that do not."""
    still, learner = (read_weights(weights_folder() / f"{name}.safetensors")[1] for name in names)
    assert (learns(still), learns(learner)) == (False, True)
    shared = [name for name in still if not name.startswith("local.")]
    assert all(np.array_equal(still[name], learner[name]) for name in shared if name.endswith(("weight", "null")))


def test_planes_beside_others_have_no_latents():
    """The weights of chroma's latent path are not used, and are zero."""
    for name in ("chroma", "chroma-best"):
        tensors = read_weights(weights_folder() / f"{name}.safetensors")[1]
        path = [key for key in tensors if key.startswith(LATENT_PATH) and key.endswith("weight")]
        assert len(path) > 10
        assert not any(tensors[key].any() for key in path)


PICTURES = [path for path in SHIPPED if not path.stem.startswith("chroma")]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_codes(path):
    """Each model of pictures codes those of its kind, alone and in a chain, well below raw size."""
    config = find_model(path).config
    pixels = load(make_golden.EXAMPLE).pixels[96:160, 40:120]
    if config["channels"] == 1:
        pixels = pixels[..., 1]
    if config.get("levels", 256) == 2:
        pixels = pixels > 128
    raw = np.packbits(pixels, axis=-1).size if pixels.dtype == bool else pixels.size
    data = compress(pixels, model=path, effort=1, verify=False)
    assert np.array_equal(decompress(data, model=path), pixels)
    assert len(data) < 0.8 * raw
    parts = [pixels[:28, :28], pixels[28:56, 28:56], pixels[:32, 40:72]]
    data = compress_many(parts, model=path, effort=1, verify=False)
    assert all(map(np.array_equal, decompress_many(data, model=path), parts))
