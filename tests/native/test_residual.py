"""Exceptions come back exactly, cost nothing where there are none; damaged ones are refused or decode to something."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlae_codec.errors import CorruptFile
from vlae_codec.native import residual


def smooth(height: int, width: int, seed: int = 1) -> np.ndarray:
    """(height, width, 3): waves whose crests are clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None] / 40
    waves = 128 + 150 * np.sin(y * rng.uniform(0.5, 1, 3) + x * rng.uniform(0.5, 1, 3))
    return (waves + rng.normal(0, 2, waves.shape)).clip(0, 255).astype(np.uint8)


def clipped(base: np.ndarray, share: float, seed: int = 2) -> np.ndarray:
    """The base, changed by 1 to 3 levels at a share of its pixels, most of them those at 0 or 255."""
    rng = np.random.default_rng(seed)
    extreme = ((base == 0) | (base == 255)).any(-1)
    where = rng.random(base.shape[:2]) < np.where(extreme, 4 * share, share / 4)
    changes = rng.integers(-3, 4, base.shape) * where[..., None]
    return (base + changes).clip(0, 255).astype(np.uint8)


def coded(base: np.ndarray, true: np.ndarray) -> int:
    data = residual.encode(base, true)
    assert np.array_equal(residual.decode(data, base), true)
    assert residual.encode(base, true) == data
    return len(data)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (50, 31)])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_exact(shape, share):
    base = smooth(*shape)
    coded(base, clipped(base, share))
    coded(base, 255 - base)
    coded(base[:, ::-1], base)  # not contiguous


def test_extremes():
    """The largest differences, at both ends of the range."""
    noise = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
    black, white = np.zeros_like(noise), np.full_like(noise, 255)
    assert coded(black, white) < 60
    assert coded(white, noise) < 1.1 * noise.size
    assert coded(noise, black) < 400
    ends = np.where(noise > 127, np.uint8(255), np.uint8(0))
    assert coded(ends, 255 - ends) < 60 + noise.size / 4
    assert coded(noise, np.random.default_rng(4).integers(0, 256, noise.shape, np.uint8)) < 1.15 * noise.size


def test_nothing_costs_nothing():
    base = smooth(300, 200)
    assert residual.encode(base, base.copy()) == b""
    assert np.array_equal(residual.decode(b"", base), base)
    true = base.copy()
    true[150, 100, 2] ^= 1
    assert coded(base, true) < 20


def test_clusters_are_cheap():
    """Differences of a few levels where colours are clipped take hardly more than their distribution's entropy.

    That is here the one before clipping to 0 .. 255, so a little too large.
    """
    base, share = smooth(256, 300), 0.02
    true = clipped(base, share)
    extreme = ((base == 0) | (base == 255)).any(-1)
    p = np.where(extreme, 4 * share, share / 4)
    where = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    entropy = (where + p * 3 * np.log2(7)).sum() / 8
    assert 0.01 < (true != base).any(-1).mean() < 0.1
    assert coded(base, true) < 1.02 * entropy


def test_overlay():
    """Words in a box, laid over the picture, cost little more than a PNG of the box."""
    base = smooth(200, 300)
    image = Image.fromarray(base)
    draw = ImageDraw.Draw(image)
    box = (30, 40, 250, 140)
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=(20, 40, 160))
    for row in range(5):
        draw.text((35, 44 + 18 * row), f"what was laid over it, {row}", fill=(250, 240, 80))
    file = io.BytesIO()
    image.crop(box).save(file, "PNG", optimize=True)
    assert coded(base, np.asarray(image)) < 1.2 * len(file.getvalue())


def test_damaged():
    """Cut or longer data are refused; changed ones are refused or decode to other pixels."""
    base = smooth(64, 80)
    true = clipped(base, 0.1)
    data = residual.encode(base, true)
    for cut in (1, 5, len(data) // 2):
        with pytest.raises(CorruptFile):
            residual.decode(data[:cut], base)
    with pytest.raises(CorruptFile):
        residual.decode(data + bytes(8), base)
    rng, refused = np.random.default_rng(5), 0
    for _ in range(60):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        try:
            assert residual.decode(bytes(changed), base).shape == base.shape
        except CorruptFile:
            refused += 1
    for size in (1, 3, 50, 5000):
        try:
            residual.decode(rng.bytes(size), base)
        except CorruptFile:
            refused += 1
    assert refused > 20
    empty = np.zeros((0, 3, 3), np.uint8)
    assert residual.decode(b"", empty).shape == empty.shape
    with pytest.raises(CorruptFile):
        residual.decode(b"a", empty)


def test_shapes():
    base = smooth(8, 8)
    for other in (base[:4], base[..., :2], base[..., 0]):
        with pytest.raises(ValueError, match="must be"):
            residual.encode(base, other)
    with pytest.raises(ValueError, match="must be"):
        residual.encode(base[..., 0], base[..., 0])
    with pytest.raises(TypeError):
        residual.encode(base.astype(np.int16), base + 1)
