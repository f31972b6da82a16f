"""Pictures of every kind through the command line: they come back, or a line names what does not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vlae_codec.cli import main
from vlae_codec.images import image
from vlae_codec.images.picture import Picture

RNG = np.random.default_rng(5)
CASES, SUITE = (os.environ.get(f"VLAE_CODEC_{name}", "") for name in ("CASES", "PNGSUITE"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        options = ["--effort", "1"] if arguments[0] == "compress" else []
        return CliRunner().invoke(main, [*map(str, arguments), "--threads", "1", *options])

    return call


def made(mode: str) -> Image.Image:
    """An image of one of Pillow's modes, of which no two pixels need be equal."""
    base = Image.fromarray(RNG.integers(0, 256, (13, 17, 3), np.uint8))
    if mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        return Image.fromarray(RNG.integers(0, 65536, (13, 17), np.uint16)).convert(mode)
    if mode == "I":
        return Image.fromarray(RNG.integers(-(2**31), 2**31, (13, 17), np.int64).astype(np.int32))
    if mode == "F":
        return Image.fromarray(RNG.normal(size=(13, 17)).astype(np.float32))
    if mode in ("La", "RGBa"):
        whole = made("LA" if mode == "La" else "RGBA")
        return whole.convert(mode)
    if mode in ("LA", "PA", "RGBA"):
        image_ = made({"LA": "L", "PA": "P", "RGBA": "RGB"}[mode]).convert(mode)
        image_.putalpha(Image.fromarray(RNG.integers(0, 256, (13, 17), np.uint8)))
        return image_
    return base.quantize(50) if mode == "P" else base.convert(mode)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", Image.MODES)
def test_modes_of_pillow(run, mode, suffix):
    """What Pillow saves of each of its modes comes back as Pillow reads it."""
    try:
        made(mode).save(f"in{suffix}")
    except (OSError, ValueError, KeyError):
        pytest.skip(f"Pillow does not save {mode} as {suffix}")
    result = run("compress", f"in{suffix}", "-o", "out.vlae", "--strict")
    assert result.exit_code == 0, result.stderr
    assert run("decompress", "out.vlae", "-o", f"back{suffix}", "--strict").exit_code == 0
    with Image.open(f"in{suffix}") as before, Image.open(f"back{suffix}") as after:
        assert (after.mode.rstrip("BLN"), after.size) == (before.mode.rstrip("BLN"), before.size)  # byte order apart
        assert np.array_equal(np.asarray(after), np.asarray(before))
        if mode == "P":
            assert after.getpalette() == before.getpalette()


def test_not_kept(run):
    """A line on stderr names what is lost, also with -q; --strict makes it an error that leaves nothing behind."""
    image.save("in.png", Picture(RNG.integers(0, 256, (9, 8), np.uint8), {"icc": b"profile", "comment": b"hello"}))
    assert "not kept" not in run("compress", "in.png", "-o", "in.vlae").stderr
    result = run("decompress", "in.vlae", "-o", "out.pgm", "-q")
    assert result.exit_code == 0
    assert result.stderr.startswith("out.pgm: not kept: ")
    assert result.stderr.count("\n") == 1
    result = run("decompress", "in.vlae", "-o", "strict.pgm", "--strict")
    assert result.exit_code == 1
    assert "cannot hold" in result.stderr
    assert not Path("strict.pgm").exists()
    with open("in.png", "ab") as file:
        file.write(b"more")
    result = run("compress", "in.png", "-o", "more.vlae")
    assert result.exit_code == 0
    assert "in.png: not kept: " in result.stderr
    result = run("compress", "in.png", "-o", "strict.vlae", "--strict")
    assert result.exit_code == 1
    assert "--strict" in result.stderr
    assert not Path("strict.vlae").exists()


def test_folders(run):
    """The same lines for each file of a folder; JPEG files are passed by on demand."""
    Path("in").mkdir()
    pixels = RNG.integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).save("in/a.jpg")
    image.save("in/b.png", Picture(pixels, {"icc": b"profile"}))
    result = run("compress", "in", "-o", "out", "--origin", "none")
    assert result.exit_code == 0
    assert "in/a.jpg: a JPEG: its pixels are kept, not the file" in result.stderr
    result = run("compress", "in", "-o", "out2", "--skip-jpeg", "-v")
    assert sorted(path.name for path in Path("out2").iterdir()) == ["b.vlae"]
    assert "skipped in/a.jpg: it is a JPEG" in result.stderr
    result = run("decompress", "out2", "-o", "back", "--format", "ppm")
    assert "back/b.ppm: not kept: " in result.stderr
    assert run("decompress", "out2", "-o", "back2", "--format", "ppm", "--strict").exit_code == 1
    assert not list(Path("back2").iterdir())


def test_strip(run):
    metadata = {"icc": b"profile", "comment": b"hello", "xmp": b"<x/>"}
    image.save("in.png", Picture(RNG.integers(0, 256, (9, 8), np.uint8), metadata))
    for option, kept in (("--strip", set()), ("--strip=all-but-icc", {"icc"})):
        assert run("compress", "in.png", "-o", "out.vlae", option, "-f").exit_code == 0
        assert run("decompress", "out.vlae", "-o", "out.png", "-f").exit_code == 0
        assert set(image.load("out.png").metadata) - {"png"} == kept
    assert run("compress", "in.png", "-o", "no.vlae", "--strip", "--exact").exit_code == 2


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".tif"])
def test_exact(run, suffix):
    """The very file comes back, and as another format the picture."""
    pixels = RNG.integers(0, 9, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(f"in{suffix}")
    result = run("compress", f"in{suffix}", "-o", "out.vlae", "--exact", "--strict")
    assert result.exit_code == 0, result.stderr
    assert run("decompress", "out.vlae", "-o", f"back{suffix}").exit_code == 0
    assert Path(f"back{suffix}").read_bytes() == Path(f"in{suffix}").read_bytes()
    assert run("decompress", "out.vlae", "-o", "other.webp").exit_code == 0
    assert np.array_equal(image.load("other.webp").pixels, pixels)
    assert run("decompress", "out.vlae", "-o", "part.png", "--region", 1, 2, 3, 4).exit_code == 0
    assert np.array_equal(image.load("part.png").pixels, pixels[2:6, 1:4])


def test_exact_falls_back(run):
    """Where there is no recipe a line says what is kept, and with --strict nothing is written."""
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)).save("in.webp", lossless=True)
    result = run("compress", "in.webp", "-o", "out.vlae", "--exact")
    assert result.exit_code == 0
    assert "not kept: the very file (its pixels and metadata are)" in result.stderr
    assert run("compress", "in.webp", "-o", "strict.vlae", "--exact", "--strict").exit_code == 1
    assert run("decompress", "out.vlae", "-o", "out.bmp").exit_code == 1


def test_frames(run):
    """An animation comes back as an animated PNG with its times, pages as a TIFF."""
    frames = [Image.fromarray(RNG.integers(0, 256, (16, 20, 3), np.uint8)) for _ in range(3)]
    frames[0].save("in.png", save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=2)
    assert run("compress", "in.png", "-o", "a.vlae").exit_code == 0
    assert "3 of 20x16 RGB" in run("info", "a.vlae").stdout
    assert run("decompress", "a.vlae", "-o", "back.png").exit_code == 0
    with Image.open("in.png") as before, Image.open("back.png") as after:
        assert getattr(after, "n_frames", 1) == 3
        assert after.info["loop"] == before.info["loop"]
        for number in range(3):
            before.seek(number)
            after.seek(number)
            assert after.info["duration"] == before.info["duration"]
            assert np.array_equal(np.asarray(after.convert("RGB")), np.asarray(before.convert("RGB")))
    frames[0].save("in.tif", save_all=True, append_images=frames[1:])
    assert run("compress", "in.tif", "-o", "b.vlae").exit_code == 0
    result = run("decompress", "b.vlae", "-o", "back.webp")
    assert result.exit_code == 1
    assert "3 pictures" in result.stderr
    assert run("decompress", "b.vlae", "-o", "back.tif").exit_code == 0
    for one, other in zip(image.load_all("back.tif"), frames, strict=True):
        assert np.array_equal(one.pixels, np.asarray(other))


@pytest.mark.skipif(not CASES, reason="VLAE_CODEC_CASES names no folder")
@pytest.mark.parametrize("name", sorted(set(os.listdir(CASES)) - {"cases.md"}) if CASES else [])
def test_cases(run, name):
    """Small files that went wrong once: what comes back is what the file has, by all that a TIFF can hold of it."""
    path = Path(CASES, name)
    result = run("compress", path, "-o", "out.vlae")
    if result.exit_code:
        assert result.stderr.count("\n") == 1
        return
    assert run("decompress", "out.vlae", "-o", "back.tif").exit_code == 0
    for before, after in zip(image.load_all(path), image.load_all("back.tif"), strict=True):
        assert (before.pixels.dtype, before.pixels.shape) == (after.pixels.dtype, after.pixels.shape)
        assert np.array_equal(before.pixels, after.pixels)


@pytest.mark.slow
@pytest.mark.skipif(not SUITE, reason="VLAE_CODEC_PNGSUITE names no folder")
def test_png_suite(run):
    """Every valid file of PngSuite comes back byte for byte, the others are refused in one line."""
    for path in sorted(Path(SUITE).glob("*.png")):
        result = run("compress", path, "-o", "out.vlae", "-f", "--exact", "--strict")
        if path.name.startswith("x"):
            assert result.exit_code == 1
            assert result.stderr.count("\n") == 1
            continue
        assert result.exit_code == 0, result.stderr
        assert run("decompress", "out.vlae", "-o", "out.png", "-f").exit_code == 0
        assert Path("out.png").read_bytes() == path.read_bytes()
