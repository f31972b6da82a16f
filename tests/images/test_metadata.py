"""Metadata: what their keys mean, what is dropped, what is shown."""

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import CorruptFile
from vlae_codec.images import image
from vlae_codec.images import metadata as md
from vlae_codec.images.png_chunks import pack

CASES = Path(os.environ.get("VLAE_CODEC_CASES", "nowhere"))
MARK = (b"IDAT", b"")
ALL = {
    "icc": b"profile",
    "exif": b"MM",
    "xmp": b"<x/>",
    "iptc": b"records",
    "resolution": b"600/1 300/1 inch",
    "comment": b"one\0two\nlines",
    "description": b"a picture",
    "tiff": b"II*\0\x08\0\0\0\0\0\0\0\0\0",  # no tags
    "frame": b"delay=1/10 x=0",
    "file": b"recipe",
    "png": pack(
        [
            (b"gAMA", (45455).to_bytes(4, "big")),
            (b"=icc", b"name\x009f0"),
            (b"tRNS", b"\0\1"),
            (b"tEXt", b"parameters\0a \xe4\n cat"),
            (b"=res", b""),
            MARK,
            (b"tIME", bytes(7)),
            (b"zTXt", b"Long\0\0" + bytes(50)),
        ]
    ),
}


def test_strip():
    assert md.strip(ALL, "all") == ALL
    meaning = {"frame": ALL["frame"], "file": ALL["file"]}
    assert md.strip(ALL) == meaning | {"png": pack([(b"tRNS", b"\0\1"), MARK])}
    colours = pack([(b"gAMA", (45455).to_bytes(4, "big")), (b"=icc", b"name\x009f0"), (b"tRNS", b"\0\1"), MARK])
    assert md.strip(ALL, "icc") == meaning | {"icc": b"profile", "png": colours}
    assert md.strip({"png": pack([(b"=pal", b""), (b"tEXt", b"a\0b"), MARK])}) == {}


def test_describe():
    assert md.describe(ALL) == [
        "ICC profile: 7 bytes",
        "EXIF: 2 bytes",
        "XMP: 4 bytes",
        "IPTC: 7 bytes",
        "resolution: 600 x 300 dpi",
        "comment: one",
        "comment: two lines",
        "description: a picture",
        "TIFF tags: 14 bytes",
        "frame: delay=1/10 x=0",
        "file: 6 bytes",
        "gAMA: 0.45455",
        "tRNS: 00 01",
        r"tEXt parameters: a \xe4  cat",
        "tIME: 00 00 00 00 00 00 00",
        "zTXt Long: 51 bytes",
    ]
    assert md.describe({"comment": b"x" * 999})[0].endswith("xxx...")
    assert all(
        "\x1b" not in line for line in md.describe({"comment": b"\x1b[2J", "png": pack([(b"tEXt", b"\x1b\0\x1b")])})
    )
    with pytest.raises(CorruptFile):
        md.describe({"png": b"short"})


def test_not_kept():
    assert md.not_kept(ALL, ("icc", "exif", "xmp", "resolution")) == [
        "the IPTC",
        "the comment",
        "the description",
        "the TIFF tags",
        "the PNG chunk gAMA",
        "the PNG chunk tEXt",
        "the PNG chunk tIME",
        "the PNG chunk tRNS",
        "the PNG chunk zTXt",
    ]
    assert md.not_kept(ALL, ALL) == []


def test_resolution():
    value = md.make_resolution(Fraction(5906, 2), 600, "centimetre")
    assert value == b"2953/1 600/1 centimetre"
    assert md.read_resolution(value) == (Fraction(2953), Fraction(600), "centimetre")
    assert md.convert_resolution(value, "metre") == (Fraction(295300), Fraction(60000))
    assert md.convert_resolution(b"300/1 300/1 inch", "metre") == (Fraction(300 * 10000, 254),) * 2
    back = md.convert_resolution(b"11811/1 11811/1 metre", "inch")
    assert back is not None
    assert float(back[0]) == pytest.approx(300, abs=0.01)
    assert md.convert_resolution(b"1/1 2/1 none", "inch") is None
    for value in (b"", b"1 2", b"1/0 1/1 inch", b"a b inch", b"1/1 1/1 mile", b"-1/1 1/1 inch", b"\xff 1 inch"):
        assert md.read_resolution(value) is None
        assert md.convert_resolution(value, "inch") is None
        assert len(md.describe({"resolution": value})) == 1


def test_of_jpeg(tmp_path):
    """All that a JPEG can hold."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((4, 6, 3), np.uint8)
    records = b"\x1c\2\x78\0\5title"
    resource = b"8BIM\4\4\0\0" + len(records).to_bytes(4, "big") + records
    options: dict[str, Any] = {
        "icc_profile": b"profile",
        "exif": exif,
        "xmp": b"<x/>",
        "comment": b"hello",
        "dpi": (300, 200),
    }
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    segment = b"Photoshop 3.0\0" + resource
    app13 = b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment
    second = b"\xff\xfe\0\7again"
    path = tmp_path / "picture.jpg"
    path.write_bytes(file.getvalue()[:2] + app13 + second + file.getvalue()[2:])
    picture = image.load(path)
    assert picture.metadata.pop("exif") == exif.tobytes().removeprefix(b"Exif\0\0")
    assert picture.metadata == {
        "icc": b"profile",
        "xmp": b"<x/>",
        "comment": b"again\0hello",
        "resolution": b"300/1 200/1 inch",
        "iptc": records,
    }
    assert picture.pixels.shape == (4, 6, 3)  # the orientation is not applied


def test_of_webp(tmp_path):
    path = tmp_path / "picture.webp"
    options: dict[str, Any] = {"icc_profile": b"profile", "exif": b"Exif\0\0MM\0*", "xmp": b"<x/>", "lossless": True}
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path, **options)
    assert image.load(path).metadata == {"icc": b"profile", "exif": b"MM\0*", "xmp": b"<x/>"}


def test_of_bmp(tmp_path):
    path = tmp_path / "picture.bmp"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path, dpi=(96, 96))
    assert image.load(path).metadata == {"resolution": b"3780/1 3780/1 metre"}


@pytest.mark.skipif(not CASES.is_dir(), reason="VLAE_CODEC_CASES is not set")
@pytest.mark.parametrize("name", ["jpg_meta.jpg", "png_gama.png", "png_text.png"])
def test_cases(tmp_path, name):
    """What they hold comes back in a PNG, where Pillow sees it, and what a format cannot hold is named."""
    picture = image.load(CASES / name)
    assert image.save(tmp_path / "out.png", picture) == []
    with Image.open(CASES / name) as before, Image.open(tmp_path / "out.png") as after:
        for key in ("gamma", "chromaticity", "parameters", "exif", "dpi"):
            if key in before.info and key != "exif":
                assert after.info[key] == pytest.approx(before.info[key], rel=1e-5), key
        assert after.getexif() == before.getexif()
    notes = image.save(tmp_path / "out.ppm", picture)
    expected = {
        "jpg_meta.jpg": ["the EXIF", "the XMP", "the resolution"],
        "png_gama.png": ["the PNG chunk cHRM", "the PNG chunk gAMA"],
        "png_text.png": ["the resolution", "the XMP", "the PNG chunk tEXt"],
    }
    assert sorted(notes) == sorted(expected[name])
