"""Small pictures for people, of whatever picture."""

import io

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import InputError
from vlae_codec.images.picture import Picture
from vlae_codec.images.thumbnails import make_thumbnail, scaled, shown

RNG = np.random.default_rng(1)


def noise(*shape, dtype=np.uint8):
    return RNG.integers(0, 256, shape).astype(dtype)


PICTURES = {
    "bits": Picture(RNG.random((20, 30)) < 0.5),
    "grey": Picture(noise(20, 30)),
    "alpha": Picture(noise(20, 30, 2)),
    "RGBA": Picture(noise(20, 30, 4)),
    "12 bits": Picture(noise(20, 30, dtype=np.uint16), levels=4096),
    "16 bits": Picture(noise(20, 30, 3, dtype=np.uint16)),
    "signed": Picture(noise(20, 30, dtype=np.int8)),
    "floats": Picture(np.where(RNG.random((20, 30)) < 0.1, np.nan, RNG.random((20, 30)) * 1e30).astype(np.float32)),
    "infinite": Picture(np.full((20, 30), np.inf)),
    "palette": Picture(noise(20, 30), mode="P", palette=noise(7, 3)),
    "palette and alpha": Picture(noise(20, 30, 2), mode="PA", palette=noise(7, 3)),
    "CMYK": Picture(noise(20, 30, 4), mode="CMYK"),
    "YCbCr": Picture(noise(20, 30, 3), mode="YCbCr"),
    "LAB": Picture(noise(20, 30, 3), mode="LAB"),
    "HSV": Picture(noise(20, 30, 3), mode="HSV"),
    "La": Picture(noise(20, 30, 2), mode="La"),
    "RGBa": Picture(noise(20, 30, 4), mode="RGBa"),
    "RGBX": Picture(noise(20, 30, 4), mode="RGBX"),
    "bands": Picture(noise(20, 30, 5), mode="bands"),
    "one band": Picture(noise(20, 30, 1), mode="bands"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_modes(name):
    with Image.open(io.BytesIO(make_thumbnail(PICTURES[name], 15))) as image:
        assert image.format == "WEBP"
        assert image.size == (15, 10)


def test_values():
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    assert np.array_equal(np.asarray(shown(Picture(ramp)))[..., 0], np.arange(256).reshape(16, 16))
    assert np.asarray(shown(Picture(np.eye(3) > 0)))[..., 0].tolist() == (255 * np.eye(3)).tolist()


def test_upright():
    """The orientation that EXIF gives is applied."""
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    picture = Picture(noise(20, 30, 3), metadata={"exif": block})
    assert scaled(picture, 30).size == (20, 30)
    assert np.array_equal(np.asarray(scaled(picture, 30)), np.rot90(picture.pixels, -1))
    for bad in (b"", b"MM\0*\0\0\0", b"x" * 99):
        assert scaled(picture.replaced(metadata={"exif": bad}), 30).size == (30, 20)


@pytest.mark.parametrize("edge", [0, -1, 1025])
def test_sizes(edge):
    with pytest.raises(InputError):
        make_thumbnail(PICTURES["grey"], edge)
