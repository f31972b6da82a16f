"""Files of every kind decoded: regions, differences, several layouts, damage, and limits of work."""

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

from vlae_codec import Limits, compress, decompress
from vlae_codec.api import decompress_pictures
from vlae_codec.errors import CorruptFile, ImageTooLarge, InputError
from vlae_codec.format import container
from vlae_codec.images.picture import Picture

KINDS = make_golden.kinds()
ONE = [name for name, pictures in KINDS.items() if len(pictures) == 1]


def golden(name):
    return (make_golden.DATA / f"{name}.vlae").read_bytes()


@pytest.mark.parametrize("name", ONE)
def test_regions(name, tiny):
    """Every part of a picture of any kind is that part of it."""
    pixels, data = KINDS[name][0].pixels, golden(name)
    height, width = pixels.shape[:2]
    rng = np.random.default_rng(5)
    for _ in range(6):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
        found = decompress(data, region=(x, y, w, h), model=tiny)
        assert found.dtype == pixels.dtype
        assert np.array_equal(found, pixels[y : y + h, x : x + w])


def test_one_of_several(tiny):
    for name in ("frames", "mixed"):
        with pytest.raises(InputError, match="pictures"):
            decompress(golden(name), model=tiny)
        with pytest.raises(InputError, match="region"):
            decompress(golden(name), model=tiny, region=(0, 0, 1, 1))


def test_differences():
    """Each from the one before, which may be made of differences itself, in every group of planes and any levels."""
    rng = np.random.default_rng(6)
    first = rng.integers(0, 1000, (20, 24, 2), np.uint16)
    shown = [first]
    for i in range(4):
        following = shown[-1].copy()
        following[i, 3:5] = (following[i, 3:5] + 500) % 1000
        shown.append(following)
    pictures = [Picture(one, mode="LA", levels=1000) for one in [*shown, shown[-1]]]
    data = compress(pictures, effort=1)
    assert [record.differences for record in container.read(data).records].count(True) >= 5
    assert len(data) < 1.5 * len(compress(pictures[0], effort=1))
    for one, other in zip(decompress_pictures(data), pictures, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    with pytest.raises(ImageTooLarge, match="memory"):
        decompress_pictures(data, limits=Limits(memory=12_500))


@pytest.mark.parametrize("name", ["alpha", "mixed", "frames", "deep"])
def test_damage_is_named(name, tiny):
    """A stream that is changed, and sealed again, is named with its place."""
    data = golden(name)
    contents = container.read(data)
    for part in contents.parts:
        record = part.records[-1]
        at = data.index(record.data)
        damaged = data[:at] + bytes([record.data[0] ^ 1]) + data[at + 1 :]
        with pytest.raises(CorruptFile, match=r"^(tile \d+ (of|\()|group \d+)"):
            decompress_pictures(damaged, model=None if name == "mixed" else tiny)
