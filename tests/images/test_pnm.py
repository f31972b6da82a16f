"""Netpbm's files, against what Pillow and imagecodecs read."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlae_codec.errors import ImageTooLarge, OutputError, UnsupportedImage
from vlae_codec.images import image, pnm
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.limits import DEFAULT, Limits

CASES = Path(os.environ.get("VLAE_CODEC_CASES", "nowhere"))
RNG = np.random.default_rng(5)
cases = pytest.mark.skipif(not CASES.is_dir(), reason="VLAE_CODEC_CASES is not set")


def read(data, limits=DEFAULT):
    return [check_picture(picture) for picture in pnm.read(data, limits)]


@pytest.mark.parametrize(
    ("data", "mode", "levels", "pixels"),
    [
        (b"P1\n# hi\n3 2\n1 0 1\n0 1#x\n 0\n", "1", 2, [[0, 1, 0], [1, 0, 1]]),
        (b"P1 3 2 101010", "1", 2, [[0, 1, 0], [1, 0, 1]]),
        (b"P4 3 2\n\xa0\x5f", "1", 2, [[0, 1, 0], [1, 0, 1]]),
        (b"P2 2 2 100\n1 2\n3 100\n", "L", 101, [[1, 2], [3, 100]]),
        (b"P2 2 1 65535 65535 256", "L", 65536, [[65535, 256]]),
        (b"P5 2 1 1\n\0\1", "L", 2, [[0, 1]]),
        (b"P5\n#c\r2 1\n300 \1\x2c\0\7", "L", 301, [[300, 7]]),
        (b"P5 1 2 255#comment\n#\1", "L", 256, [[35], [1]]),
        (b"P3 1 1 1023\n1 2 1023\n", "RGB", 1024, [[[1, 2, 1023]]]),
        (b"P6 1 1 15\n\1\2\x0f", "RGB", 16, [[[1, 2, 15]]]),
        (b"P7\nWIDTH 2\nHEIGHT 1\n# c\nDEPTH 2\nMAXVAL 255\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n\1\2\3\4", "LA", 256,
         [[[1, 2], [3, 4]]]),
        (b"P7\nDEPTH 1\nWIDTH 2\nHEIGHT 1\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE\nENDHDR\n\1\0", "1", 2, [[1, 0]]),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 2\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE_ALPHA\nENDHDR\n\1\0", "LA", 2, [[[1, 0]]]),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 300\nTUPLTYPE RGB_ALPHA\nENDHDR\n\0\1\0\2\0\3\1\4", "RGBA", 301,
         [[[1, 2, 3, 260]]]),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n\1\2\3\4", "CMYK", 256, [[[1, 2, 3, 4]]]),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 5\nMAXVAL 255\nENDHDR\n\1\2\3\4\5", "bands", 256, [[[1, 2, 3, 4, 5]]]),
        (b"Pf 2 2 -1.0\n" + np.arange(4, dtype="<f4").tobytes(), "L", 0, [[2, 3], [0, 1]]),
        (b"PF 1 1 1.0\n" + np.arange(3, dtype=">f4").tobytes(), "RGB", 0, [[[0, 1, 2]]]),
    ],
)  # fmt: skip
def test_sanity(data, mode, levels, pixels):
    (picture,) = read(data)
    assert (picture.mode, picture.levels, picture.pixels.tolist()) == (mode, levels, pixels)
    assert picture.notes == ()
    assert pnm.size(data) == picture.pixels.shape[1::-1]
    kind = "pfm" if levels == 0 else "pam"
    (again,) = read(pnm.write([picture], kind)[0])
    assert (again.mode, again.levels, again.pixels.tolist()) == (mode, levels, pixels)
    assert again.metadata == picture.metadata


def test_comments():
    data = b"P5\n# one\n2 1\n#two\n255\n\1\2"
    (picture,) = read(data)
    assert picture.metadata == {"comment": b"one\0two"}
    written, notes = pnm.write([picture.replaced(metadata=picture.metadata | {"icc": b"x", "exif": b"y"})])
    assert notes == ["the ICC profile", "the EXIF"]
    assert read(written)[0].metadata == picture.metadata


@pytest.mark.parametrize("plain", [False, True])
def test_several(plain):
    data = (
        b"P2 1 1 9 4\nP2\n2 1 100 1\n99\nP3 1 1 255 1 2 3 "
        if plain
        else b"P5 1 1 9\n\4P5\n2 1 100\n\1\x63P6 1 1 255\n\1\2\3"
    )
    pictures = read(data)
    assert [picture.pixels.tolist() for picture in pictures] == [[[4]], [[1, 99]], [[[1, 2, 3]]]]
    assert [picture.levels for picture in pictures] == [10, 101, 256]
    written, notes = pnm.write(pictures)
    assert notes == []
    assert [picture.pixels.tolist() for picture in read(written)] == [[[4]], [[1, 99]], [[[1, 2, 3]]]]
    with pytest.raises(ImageTooLarge):
        read(data, Limits(pixels=3))


def test_notes():
    assert read(b"P5 1 1 9\n\4more")[0].notes == ("4 bytes after the end of the picture",)
    assert read(b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 9\nTUPLTYPE depth map\nENDHDR\n\1")[0].notes == (
        "the tuple type depth map",
    )
    assert read(b"Pf 1 1 -2.5\n" + bytes(4))[0].notes == ("the scale 2.5",)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["L", "RGB", "LA", "RGBA", "1"]), st.integers(1, 65535), st.integers(1, 20), st.integers(0, 99))
def test_written(mode, maxval, edge, seed):
    rng = np.random.default_rng(seed)
    channels = {"RGB": 3, "LA": 2, "RGBA": 4}.get(mode, 1)
    pixels = rng.integers(0, maxval + 1, (edge, 7, channels)).astype(np.uint8 if maxval < 256 else np.uint16)
    pixels = pixels if channels > 1 else pixels[..., 0]
    picture = Picture(pixels > maxval // 2, mode=mode) if mode == "1" else Picture(pixels, {}, mode, maxval + 1)
    data, notes = pnm.write([picture], "pam" if mode in ("LA", "RGBA") else "pnm")
    assert notes == []
    (again,) = read(data)
    assert (again.mode, again.levels) == (mode, picture.levels)
    assert np.array_equal(again.pixels, picture.pixels)
    if mode == "1" or (maxval == 255 and mode in ("L", "RGB")):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture.pixels)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_of_pillow(mode):
    base = Image.fromarray(RNG.integers(0, 256, (5, 13, 3), np.uint8)).convert(mode)
    file = io.BytesIO()
    base.save(file, "PPM")
    (picture,) = read(file.getvalue())
    assert picture.mode == mode
    assert np.array_equal(picture.pixels, np.asarray(base))


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Picture(np.zeros((2, 3, 3), np.uint8)), "pgm"),
        (Picture(np.zeros((2, 3), np.uint8)), "ppm"),
        (Picture(np.zeros((2, 3), np.uint8)), "pbm"),
        (Picture(np.zeros((2, 3), np.uint8)), "pfm"),
        (Picture(np.zeros((2, 3, 4), np.uint8)), "pnm"),
        (Picture(np.zeros((2, 3), np.float32)), "pam"),
        (Picture(np.zeros((2, 3), np.uint8), mode="P", palette=np.zeros((1, 3), np.uint8)), "pam"),
    ],
)
def test_not_written(picture, kind):
    with pytest.raises(OutputError, match=f"\\.{kind} cannot hold"):
        pnm.write([picture], kind)


@pytest.mark.parametrize(
    "data",
    [
        b"P5 ",
        b"P5 2 2",
        b"P5 2 2 255",
        b"P5 2 2 255\n\1\2\3",
        b"P5 2 2 0\n\1\2\3\4",
        b"P5 2 2 65536\n" + bytes(8),
        b"P5 0 2 255\n",
        b"P5 -1 2 255\n",
        b"P5 99999999999 2 255\n",
        b"P5 2 1 100\n\1\x65",
        b"P6 1 1 300\n\1\2\3\4\5\6",
        b"P2 2 2 255 1 2 3",
        b"P2 2 2 255 1 2 3 x",
        b"P2 2 2 255 1 2 3 256",
        b"P2 2 2 255 1 2 3 99999999999999999999999999",
        b"P2 2 2 255 1 2 3 -4",
        b"P1 2 2 1 0 1",
        b"P1 2 2 1 0 1 2",
        b"P4 9 2\n\1\2\3",
        b"P7\nWIDTH 1\n",
        b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nENDHDR\n\1",
        b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 0\nMAXVAL 255\nENDHDR\n\1",
        b"P7\nWIDTH x\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\1",
        b"Pf 1 1 0\n" + bytes(4),
        b"Pf 1 1 nan\n" + bytes(4),
        b"Pf 1 1 -1.0\n" + bytes(3),
        b"P5 1 1 255\n#" + b"P5 2 2",
    ],
)
def test_invalid(data):
    with pytest.raises(UnsupportedImage, match="damaged") as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_large():
    for data in (b"P5 4000000000 4000000000 255\n", b"P2 100000 100000 255 1", b"P1 100000 100000 1"):
        with pytest.raises((ImageTooLarge, UnsupportedImage)):
            read(data)


@cases
@pytest.mark.parametrize(
    ("name", "levels", "first"),
    [("pgm_max100.pgm", 101, [1, 1, 2, 4, 5]), ("ppm_max15.ppm", 16, None), ("pnm_3images.pgm", 256, None)],
)
def test_cases(name, levels, first):
    pictures = image.load_all(CASES / name)
    assert len(pictures) == (3 if "3images" in name else 1)
    for picture in pictures:
        assert picture.levels == levels
        raw = (CASES / name).read_bytes()
        assert picture.pixels.tobytes() in raw
        assert first is None or picture.pixels[0, :5].tolist() == first
