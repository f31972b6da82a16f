"""JPEG files through the command line: the very file back, or its pixels and metadata as another format."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms

import vlae_codec
from vlae_codec.cli import main
from vlae_codec.format import container
from vlae_codec.pictures.sources import words

y, x = np.mgrid[:51, :70]
WAVES = [128 + 70 * np.sin(x / (9 + 3 * i) + y / (13 - 2 * i)) for i in range(3)]
PIXELS = (np.stack(WAVES, -1) + np.random.default_rng(7).normal(0, 4, (51, 70, 3))).clip(0, 255).astype(np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(tag: int = 0x010E, value: object = "a ship") -> Image.Exif:
    found = Image.Exif()
    found[tag] = value
    return found


OPTIONS: dict[str, dict] = {
    "baseline": {"quality": 90},
    "progressive": {"progressive": True, "quality": 85},
    "grey": {"quality": 80},
    "optimised": {"optimize": True, "subsampling": 1},
    "4:4:4": {"subsampling": 0, "quality": 96},
    "metadata": {"exif": exif(), "icc_profile": PROFILE, "comment": b"at sea"},
    "turned": {"exif": exif(0x0112, 6)},
    "restarts": {"restart_marker_rows": 1},
    "RGB": {"keep_rgb": True, "quality": 90},
    "flat": {"quality": 50},
}


def jpeg(name: str) -> bytes:
    pixels = PIXELS[..., 0] if name == "grey" else np.full_like(PIXELS, 77) if name == "flat" else PIXELS
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **OPTIONS[name])
    return file.getvalue()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(command, *arguments):
        more = ["--threads", 1, *(["--effort", 1] if command == "compress" else [])]
        return CliRunner().invoke(main, [str(one) for one in (command, *arguments, *more)])

    return call


def good(result):
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize("name", OPTIONS)
def test_very_file(run, name):
    """Smaller than the JPEG, byte for byte back, and as a PNG its pixels as Pillow has them, with the metadata."""
    data = jpeg(name)
    Path("in.jpg").write_bytes(data)
    told = good(run("compress", "in.jpg", "-o", "x.vlae"))
    assert "not kept" not in told
    assert "larger" not in told
    assert os.path.getsize("x.vlae") < (0.9 if name != "metadata" else 1) * len(data)
    for back in ("out.jpg", "out.JPEG", "out.jfif"):
        good(run("decompress", "x.vlae", "-o", back))
        assert Path(back).read_bytes() == data
    good(run("decompress", "x.vlae", "-o", "out.png"))
    with Image.open("in.jpg") as before, Image.open("out.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
        assert after.info.get("icc_profile") == before.info.get("icc_profile")
        assert dict(after.getexif()) == dict(before.getexif())
        assert after.info.get("Comment") == ("at sea" if name == "metadata" else None)


def test_origin_is_named(run):
    Path("in.jpg").write_bytes(jpeg("baseline"))
    good(run("compress", "in.jpg", "-o", "x.vlae"))
    result = CliRunner().invoke(main, ["info", "x.vlae"])
    assert "a JPEG, 4:2:0, its coefficients" in result.output


@pytest.mark.parametrize(
    "options", [("--origin", "none"), ("--origin", "jfif"), ("--strip",), ("--strip=all-but-icc",)]
)
def test_not_the_file(run, options):
    """Without coefficients, or with metadata dropped, there is no JPEG to give back; a PNG has the pixels."""
    Path("in.jpg").write_bytes(jpeg("metadata"))
    good(run("compress", "in.jpg", "-o", "x.vlae", *options))
    assert "file" not in container.read(Path("x.vlae").read_bytes()).metadata_of(0)
    result = run("decompress", "x.vlae", "-o", "out.jpg")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: out.jpg: only a file that was made of a JPEG")
    assert result.stderr.count("\n") == 1
    assert not Path("out.jpg").exists()
    good(run("decompress", "x.vlae", "-o", "out.png"))
    with Image.open("in.jpg") as before, Image.open("out.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
        assert ("icc_profile" in after.info) == (options[0] != "--strip")


def test_strict(run):
    """What is kept whole needs no word; what is not is refused."""
    Path("in.jpg").write_bytes(jpeg("baseline"))
    good(run("compress", "in.jpg", "-o", "x.vlae", "--strict", "--exact"))
    result = run("compress", "in.jpg", "-o", "y.vlae", "--strict", "--exact", "--origin", "none")
    assert result.exit_code == 1
    assert "the very file" in result.stderr


def test_no_jpeg(run):
    """The name of a JPEG for what never was one: one line, and no file."""
    Image.fromarray(PIXELS).save("in.png")
    good(run("compress", "in.png", "-o", "x.vlae"))
    result = run("decompress", "x.vlae", "-o", "out.jpg")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "not: name a .png" in result.stderr
    assert not Path("out.jpg").exists()


def test_region(run):
    """A part of a JPEG is pixels."""
    Path("in.jpg").write_bytes(jpeg("baseline"))
    good(run("compress", "in.jpg", "-o", "x.vlae"))
    good(run("decompress", "x.vlae", "-o", "part.png", "--region", 33, 17, 20, 11))
    whole = np.asarray(Image.open("in.jpg"))
    assert np.array_equal(np.asarray(Image.open("part.png")), whole[17:28, 33:53])
    assert run("decompress", "x.vlae", "-o", "part.jpg", "--region", 33, 17, 20, 11).exit_code == 1


def test_folder(run):
    Path("album").mkdir()
    for name in ("grey", "progressive"):
        Path("album", f"{name}.jpg").write_bytes(jpeg(name))
    assert "larger" not in good(run("compress", "album", "-o", "coded"))
    files = sorted(Path("coded").rglob("*.vlae"))
    assert len(files) == 2
    for file, name in zip(files, ("grey", "progressive")):
        good(run("decompress", file, "-o", "back.jpg", "--force"))
        assert Path("back.jpg").read_bytes() == jpeg(name)


def test_api(tmp_path):
    """Of a path the recipe is kept; also after the pictures went through the memory, but not in a list of several."""
    path = tmp_path / "in.jpg"
    path.write_bytes(jpeg("metadata"))
    data = vlae_codec.compress(path, effort=1, threads=1)
    picture = vlae_codec.decompress_picture(data, threads=1)
    assert picture.coefficients is not None
    assert {"file", "exif", "icc", "comment"} <= set(picture.metadata)
    again = vlae_codec.compress(picture, effort=1, threads=1)
    assert again == data
    (layout,) = container.read(data).header.layouts
    assert layout.origin is not None
    assert words(layout.origin) == "a JPEG, 4:2:0, its coefficients"
    for other in (
        vlae_codec.compress(picture, effort=1, threads=1, origin="none"),
        vlae_codec.compress_many([picture, picture], effort=1, threads=1),
    ):
        found = vlae_codec.decompress_pictures(other, threads=1)[0]
        assert "file" not in found.metadata
        assert found.metadata["comment"] == b"at sea"
        assert np.array_equal(found.pixels, picture.pixels)
