"""Training pictures of source planes: shapes, ranges, that they are the same each time, and what stands beside what."""

import numpy as np
import pytest

from vlae_codec.models import sources
from vlae_codec.models.sources import VARIANTS, WAYS, source_planes


def photos() -> list[np.ndarray]:
    """Pictures of odd and even sizes, of all colours, some of which are at the ends of the range."""
    rng = np.random.default_rng(2)
    found = []
    for height, width in ((64, 80), (51, 67), (40, 33)):
        y, x = np.mgrid[:height, :width]
        waves = [128 + 150 * np.sin(x / (9 + 3 * i) + y / (13 - 2 * i)) + rng.normal(0, 3, y.shape) for i in range(3)]
        found.append(np.stack(waves, -1).clip(0, 255).astype(np.uint8))
    return found


def planes(image: np.ndarray, way: str, seed: int) -> list[np.ndarray]:
    return list(sources._planes(image, way, np.random.default_rng(seed)))


@pytest.mark.parametrize("which", ["luma", "chroma"])
def test_shapes(which):
    found = source_planes(photos(), which, 8)
    assert len(found) == 3 * VARIANTS[which] * (1 if which == "luma" else 2)
    for one in found:
        assert one.dtype == np.uint8
        assert one.ndim == 3
        assert one.shape[2] == (1 if which == "luma" else 3)
        assert min(one.shape[:2]) >= 8


@pytest.mark.parametrize("which", ["luma", "chroma"])
def test_deterministic(which):
    one, again, other = (source_planes(photos(), which, 8, seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, again))
    assert len(one) != len(other) or not all(map(np.array_equal, one, other))


def test_smallest():
    assert {min(one.shape[:2]) for one in source_planes(photos(), "luma", 50)} <= {50, 51, 64}
    assert len(source_planes(photos(), "luma", 52)) == VARIANTS["luma"]
    assert source_planes(photos(), "chroma", 65) == []


def test_beside_each_other():
    """The first plane of chroma has 128 beside it, the second one the first; both have the same luma."""
    found = source_planes(photos(), "chroma", 8)
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert (first[..., 2] == 128).all()
        assert np.array_equal(second[..., 2], first[..., 0])
        assert np.array_equal(second[..., 1], first[..., 1])


@pytest.mark.parametrize("way", WAYS)
def test_planes(way):
    """Chroma is whole or half as large, in both directions; some ways have a range of their own."""
    halves = set()
    for seed in range(6):
        for image in photos():
            luma, *chroma = planes(image, way, seed)
            assert luma.shape == image.shape[:2]
            assert len(chroma) == 2
            assert chroma[0].shape == chroma[1].shape
            half = chroma[0].shape != luma.shape
            assert not half or chroma[0].shape == (luma.shape[0] // 2, luma.shape[1] // 2)
            halves.add(half)
            if way == "webp":
                assert luma.min() >= 16
                assert luma.max() <= 235
                assert min(plane.min() for plane in chroma) >= 16
                assert max(plane.max() for plane in chroma) <= 240
            if way == "photocd":
                assert luma.max() <= 188  # 255 / 1.3584
    assert halves == ({True} if way in ("photocd", "webp") else {True, False})


@pytest.mark.parametrize("way", WAYS)
def test_grey_has_no_chroma(way):
    """Chroma of a grey picture is its centre, but for what is lost."""
    grey = np.repeat(photos()[0][..., :1], 3, axis=2)
    _, blue, red = planes(grey, way, 1)
    for plane, centre in zip((blue, red), (156, 137) if way == "photocd" else (128, 128)):
        assert np.abs(plane.astype(int) - centre).max() <= 2


def test_jpeg_traces():
    """Planes of a JPEG are what its decoder brings back: to code them again changes next to nothing."""
    luma = planes(photos()[0], "jpeg", 1)[0]
    plain = planes(photos()[0], "plain", 1)[0]
    quality = next(q for q in range(60, 99) if np.abs(again(luma, q) - luma).mean() < 0.1)
    assert np.abs(again(plain, quality) - plain).mean() > 0.3


def again(plane: np.ndarray, quality: int) -> np.ndarray:
    return sources._through_jpeg(plane, quality, luma=True).astype(int)
