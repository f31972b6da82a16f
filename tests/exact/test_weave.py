"""Files that have their samples as they are come back byte for byte."""

import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import CorruptFile, ImageTooLarge
from vlae_codec.exact.recipe import make, restore
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits


def noise(*shape: int, dtype: str = "u1", most: int = 256) -> np.ndarray:
    return np.random.default_rng(1).integers(0, most, shape).astype(dtype)


def back(file: bytes, *pictures: Picture, most: int = 130) -> bytes:
    recipe = make(file, pictures)
    assert recipe is not None
    assert len(recipe) <= most
    assert restore(pictures, recipe, DEFAULT) == file
    return recipe


def test_pnm():
    pixels = noise(20, 33, 3)
    back(b"P6\n# a comment\n33 20\n255\n" + pixels.tobytes(), Picture(pixels))
    back(b"P5 33 20 255 " + pixels[..., 0].tobytes() + b"tail", Picture(pixels[..., 0]))
    deep = noise(20, 33, dtype="u2", most=4096)
    back(b"P5 33 20 4095\n" + deep.astype(">u2").tobytes(), Picture(deep, levels=4096))
    bits = noise(20, 33, most=2) == 1
    back(b"P4 33 20\n" + np.packbits(~bits, axis=1).tobytes(), Picture(bits))
    back(b"P5 33 20 100\n" + noise(20, 33, most=101).tobytes(), Picture(noise(20, 33, most=101), levels=101))


def test_several():
    """Several pictures in one file, of different sizes."""
    pictures = [Picture(noise(h, w)) for h, w in ((5, 40), (30, 7), (9, 9))]
    headers = [b"P5 %d %d 255\n" % p.pixels.shape[::-1] for p in pictures]
    back(b"".join(h + p.pixels.tobytes() for h, p in zip(headers, pictures)), *pictures, most=150)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("width", [31, 32, 33, 34])
def test_bmp(mode, width):
    """Rows from the bottom up, filled to four bytes, in BGR."""
    out = io.BytesIO()
    image = Image.fromarray(noise(50, width, 3)).convert(mode)
    image.save(out, "bmp")
    palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3) if mode == "P" else None
    back(out.getvalue(), Picture(np.asarray(image), {}, mode, 0, palette), most=1000 if mode == "P" else 500)


def test_bmp_32():
    pixels = noise(19, 21, 3)
    for fill in (0, 255):
        rows = np.concatenate((pixels[::-1, :, ::-1], np.full((19, 21, 1), fill, np.uint8)), 2)
        header = b"BM" + struct.pack("<IIIIiiHHIIiiII", 54 + rows.size, 0, 54, 40, 21, 19, 1, 32, 0, 0, 0, 0, 0, 0)
        back(header + rows.tobytes(), Picture(pixels))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff(dtype, order):
    tifffile = pytest.importorskip("tifffile")
    for planar, channels in (("contig", 1), ("contig", 3), ("separate", 3)):
        shape = (40, 31) if channels == 1 else (40, 31, 3)
        pixels, out = noise(*shape, dtype=dtype, most=256), io.BytesIO()
        written = np.moveaxis(pixels, 2, 0) if planar == "separate" else pixels
        kind = "rgb" if channels == 3 else "minisblack"
        more = {"planarconfig": planar} if channels == 3 else {}
        tifffile.imwrite(out, written, byteorder=order, photometric=kind, rowsperstrip=7, metadata=None, **more)
        back(out.getvalue(), Picture(pixels), most=400)


def test_tiff_bilevel():
    bits, out = noise(40, 31, most=2) == 1, io.BytesIO()
    Image.fromarray(bits).save(out, "tiff")
    back(out.getvalue(), Picture(bits), most=300)


def test_flat():
    """Rows that stand in more than one place."""
    for value in (0, 255, 80):
        pixels = np.full((50, 60), value, np.uint8)
        back(b"P5 60 50 255\n" + bytes(9) + pixels.tobytes() + bytes(99), Picture(pixels))


def test_not_ours():
    pixels = noise(20, 30)
    assert make(b"P5 30 20 255\n" + pixels.tobytes()[:-1], [Picture(pixels)]) is None
    assert make(b"P2 30 20 255\n" + b" ".join(b"%d" % v for v in pixels.flat), [Picture(pixels)]) is None


def test_damaged():
    pixels = noise(20, 33, 3)
    picture = Picture(pixels)
    file = b"P6\n# a comment\n33 20\n255\n" + pixels.tobytes()
    recipe = back(file, picture)
    for end in range(len(recipe)):
        with pytest.raises(CorruptFile):
            restore([picture], recipe[:end], DEFAULT)
    rng = np.random.default_rng(1)
    for _ in range(500):
        wrong = bytearray(recipe)
        wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
        with suppress(CorruptFile, ImageTooLarge):
            assert restore([picture], bytes(wrong), Limits(memory=1 << 24)) == file
    for picture in (Picture(pixels[::-1]), Picture(pixels[..., 0]), Picture(pixels > 99, mode="bands")):
        with pytest.raises(CorruptFile):
            restore([picture], recipe, DEFAULT)
