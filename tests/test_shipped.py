"""The shipped weights: their golden file, and that model, card and file speak of the same."""

import re

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

from vlae_codec import compress, container, decompress
from vlae_codec.image import load
from vlae_codec.model import find_model, weights_folder

GOLDEN = make_golden.DATA / "mountains.vlae"


def test_golden(backend):
    pixels = load(make_golden.EXAMPLE).pixels
    data = GOLDEN.read_bytes()
    assert np.array_equal(decompress(data, device=backend), pixels)
    assert compress(pixels, device=backend, verify=False) == data


def test_latents():
    """The example uses them."""
    assert container.read(GOLDEN.read_bytes()).tiles[0].method == container.Method.LATENTS


@pytest.mark.parametrize("path", sorted(weights_folder().glob("*.safetensors")), ids=lambda path: path.stem)
def test_card(path):
    assert path.stat().st_size <= 4_000_000
    card = path.with_suffix(".md").read_text()
    assert re.search(f"id `{find_model(path).id.hex()}`", card)


def test_id():
    assert container.read_header(GOLDEN.read_bytes()).model_id == find_model().id
