"""Exceptions and samples of a JPEG, decoded as docs/format.md says, are those of the core."""

import io

import numpy as np
import plain_origins  # type: ignore[import-not-found]
import pytest
from PIL import Image

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Cut
from vlae_codec.jpeg.file import split
from vlae_codec.jpeg.parameters import Parameters, pack, standard_table
from vlae_codec.limits import DEFAULT
from vlae_codec.native import residual
from vlae_codec.pictures.blocks import blocks_at, no_coefficients

RNG = np.random.default_rng(16)


def picture(height, width):
    """(height, width, 3) uint8, smooth, some of it clipped."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(60 + 5 * x + 3 * y), (300 - 4 * x - 2 * y), (x * y // 8)], 2).clip(0, 255).astype(np.uint8)


def changed(base, kind):
    """Pixels near the base, something else laid over it, or both."""
    true = base.astype(int)
    if kind != "other":
        true += RNG.integers(-3, 4, base.shape) * (RNG.random(base.shape[:2]) < 0.1)[..., None]
        true[3, 4:9] = RNG.integers(0, 256, (5, 3))
    if kind != "near":
        true[5:20, 6:30] = RNG.integers(0, 2, (15, 24, 1)) * 200
        true[8:12, 8:12] = RNG.integers(0, 256, (4, 4, 3))
    return true.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["near", "other", "both"])
def test_exceptions(kind):
    base = picture(22, 37)
    true = changed(base, kind)
    assert np.array_equal(plain_origins.exceptions(residual.encode(base, true), base), true)
    assert np.array_equal(plain_origins.exceptions(b"", base), base)


def test_samples():
    """Also of values of no picture."""
    file = io.BytesIO()
    Image.fromarray(picture(16, 24)).save(file, "jpeg", quality=80, subsampling=0)
    found = split(file.getvalue(), DEFAULT)
    assert found is not None
    for blocks, table in zip(found[0].blocks, found[0].tables, strict=True):
        wild = RNG.integers(-2000, 2000, blocks.shape).astype(np.int16)
        for some in (blocks, wild):
            out = np.empty((8 * some.shape[0], 8 * some.shape[1]), np.uint8)
            decode.decode_plane(some, table, out)
            rows = [[plain_origins.samples(block, table) for block in row] for row in some]
            assert np.array_equal(np.block(rows), out)


@pytest.mark.parametrize("cut", [Cut(), Cut(3, 15, 0, 9), Cut(top=1)])
@pytest.mark.parametrize("padded", [False, True])
def test_parameters(cut, padded):
    """They say the same, also of a picture that is a part of a JPEG, and blocks stand in the same tiles."""
    own = np.arange(1, 65, dtype=np.int32)
    tables = (standard_table(90), own, 300 * own)
    parameters = Parameters(((2, 2), (1, 1), (1, 2)), tables, padded, True, cut)
    found = plain_origins.jpeg_parameters(pack(parameters))
    assert found["flags"] == [padded + 4 * any(found["around"])]
    assert Cut(*found["around"]) == cut
    assert [tuple(pair) for pair in found["sampling"]] == list(parameters.sampling)
    assert found["tables"] == [[90], own.tolist(), (300 * own).tolist()]
    size = width, height = 70, 90
    coefficients = no_coefficients(parameters, width, height, DEFAULT)
    tiles = [(y, x, min(32, height - y), min(32, width - x)) for y in range(0, height, 32) for x in range(0, width, 32)]
    seen = [np.zeros(blocks.shape[:2], int) for blocks in coefficients.blocks]
    for tile in tiles:
        shapes = [blocks.shape[:2] for blocks in blocks_at(coefficients, (0, tile))]
        places = plain_origins.blocks_of_tile(found, size, tile)
        assert shapes == [(bottom - top, right - left) for top, bottom, left, right in places]
        for counts, (top, bottom, left, right) in zip(seen, places, strict=True):
            counts[top:bottom, left:right] += 1
    assert all((counts == 1).all() for counts in seen)
