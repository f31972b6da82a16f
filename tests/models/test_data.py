"""Training pictures: files, folders, mosaics and arrays, grey, coloured and binary."""

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import UnsupportedImage
from vlae_codec.models.data import load_images, luma

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (5, 12, 8, 3), np.uint8)
BITS = RNG.integers(0, 2, (3, 784), np.uint8)


def same(images, expected):
    assert [i.shape for i in images] == [e.shape for e in expected]
    assert all(i.dtype == np.uint8 and np.array_equal(i, e) for i, e in zip(images, expected))
    return True


@pytest.fixture
def arrays(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, x=RGB, grey=RGB[..., 1], train=np.packbits(BITS, axis=1), high=BITS.reshape(3, 28, 28) * 255)
    return path


def test_pictures(tmp_path):
    Image.fromarray(RGB[0]).save(tmp_path / "a.png")
    Image.fromarray(RGB[1, ..., 0]).save(tmp_path / "b.webp", lossless=True)
    Image.fromarray(RGB[2, :3]).save(tmp_path / "small.png")
    (tmp_path / "notes.txt").write_text("no picture")
    grey = RGB[1, ..., :1]
    assert same(load_images([tmp_path], 8), [RGB[0], np.repeat(grey, 3, axis=-1)])
    assert same(load_images([tmp_path], 3, channels=1)[0::2], [luma(RGB[0])[..., None], luma(RGB[2, :3])[..., None]])
    assert load_images([tmp_path / "a.png"], 8)[0].flags.writeable


def test_arrays(arrays):
    assert same(load_images([arrays], 8), list(RGB))
    assert same(load_images([f"{arrays}:x"], 8, channels=1), [luma(image)[..., None] for image in RGB])
    assert same(load_images([f"{arrays}:grey", arrays], 8, channels=1)[:5], list(RGB[..., 1:2]))
    assert same(load_images([f"{arrays}:grey"], 8), [np.repeat(image[..., 1:2], 3, axis=-1) for image in RGB])


def test_binary(arrays, tmp_path):
    expected = list(BITS.reshape(3, 28, 28, 1))
    assert same(load_images([f"{arrays}:train"], 28, channels=1), expected)
    assert same(load_images([f"{arrays}:high"], 28, channels=1, levels=2), expected)
    np.savez(tmp_path / "only.npz", train=np.packbits(BITS, axis=1))
    assert same(load_images([tmp_path / "only.npz"], 28, channels=1, levels=2), expected)
    Image.fromarray(expected[0][..., 0] * 255).convert("1").save(tmp_path / "bits.png")
    assert same(load_images([tmp_path / "bits.png"], 28, channels=1, levels=2), expected[:1])
    assert same(load_images([tmp_path / "bits.png"], 28, channels=1), [expected[0] * 255])
    with pytest.raises(UnsupportedImage, match="binary"):
        load_images([f"{arrays}:grey"], 8, channels=1, levels=2)


def test_mosaic(arrays, tmp_path):
    Image.fromarray(RGB[0]).save(tmp_path / "mosaic.png")
    parts = [RGB[0][r : r + 4, c : c + 4] for r in (0, 4, 8) for c in (0, 4)]
    assert same(load_images([tmp_path / "mosaic.png"], 4, mosaic=4), parts)
    assert len(load_images([arrays], 5, mosaic=5)) == 5 * 2  # 12 x 8 holds two; the rest is cut off
    with pytest.raises(UnsupportedImage, match="at least 6x6"):
        load_images([arrays], 6, mosaic=5)


def test_invalid(arrays, tmp_path):
    with pytest.raises(UnsupportedImage, match=r"no array 'y'.*grey"):
        load_images([f"{arrays}:y"], 1)
    np.savez(tmp_path / "float.npz", x=RGB.astype(float), flat=RGB[0, 0], other=RGB[..., :2])
    for key in ("x", "flat", "other"):
        with pytest.raises(UnsupportedImage, match="give uint8"):
            load_images([f"{tmp_path}/float.npz:{key}"], 1)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04?")
    for path in (tmp_path / "broken.npz", tmp_path / "missing.npz"):
        with pytest.raises(UnsupportedImage, match="cannot read"):
            load_images([path], 1)
