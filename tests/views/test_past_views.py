"""Bits maps, and what is said of files, of pictures with an origin."""

import io
import json
from functools import cache

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vlae_codec
from vlae_codec.cli import main
from vlae_codec.format import container
from vlae_codec.format.header import Kind, Planes
from vlae_codec.origins import origin as origins
from vlae_codec.views.bitsmap import _pixels_of, bits_map
from vlae_codec.views.describe import describe

HEIGHT, WIDTH = 61, 83


@cache
def packed(way: str) -> bytes:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [128 + 50 * np.sin(x / (9 + 3 * i) + y / (13 - 2 * i)) + rng.normal(0, 2, y.shape) for i in range(3)]
    if way == "photocd":
        planes = [np.rint(waves[0] * 0.6).astype(np.uint8)]
        planes += [
            np.rint(0.2 * wave[::2, ::2] + centre).astype(np.uint8) for wave, centre in zip(waves[1:], (130, 111))
        ]
        pixels = origins.rebuild(origins.Origin("photocd", "photocd", (2, 2)), planes, WIDTH, HEIGHT)
        pixels[5:8, 60:64] = 3  # exceptions
    else:
        file = io.BytesIO()
        Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        pixels = np.asarray(Image.open(file)).copy()
        pixels[50:52, 60:64] = 3
        if way == "values":
            pixels[::2, ::3] = 128
    origin = {"jpeg": "jpeg", "photocd": "photocd", "values": "values"}[way]
    return vlae_codec.compress(pixels, effort=1, threads=1, origin=origin)


def total(values: np.ndarray) -> float:
    return float(values.sum(dtype=np.float64))


@pytest.mark.parametrize("way", ["photocd", "jpeg", "values"])
def test_sums(way):
    """The map has all bits of all streams, but for the heads of the lanes and what says the rows."""
    data = packed(way)
    contents = container.read(data)
    assert contents.header.first.origin is not None
    bits = bits_map(data, threads=1)
    assert bits.local.shape == (HEIGHT, WIDTH)
    streams = 8 * sum(len(record.data) for record in contents.records)
    coded = sum(record.coded for record in contents.records)
    assert 0 <= streams - total(bits.local) - total(bits.latent) + 0.5 <= 81 * coded + 1
    assert len(bits.tiles) == len(contents.records)
    assert {place for place, _ in bits.tiles} == {(0, 0, HEIGHT, WIDTH)}
    assert bits.local.min() >= 0


def test_exceptions_are_even():
    """Without a model bytes are spread evenly: of a JPEG all of them."""
    data = packed("jpeg")
    bits = bits_map(data, threads=1)
    size = sum(len(record.data) for record in container.read(data).records)
    assert not bits.latent.any()
    assert np.allclose(bits.local, 8 * size / (HEIGHT * WIDTH))


def test_tiles():
    """Tiles of chroma lie where their pixels are, beside each other, and cover all."""
    whole = packed("photocd")
    data = vlae_codec.compress(vlae_codec.decompress(whole, threads=1), effort=1, threads=1, origin="photocd", tile=32)
    contents = container.read(data)
    assert [part.tile_count for part in contents.parts] == [6, 6, 6, 1]
    bits, told = bits_map(data, threads=2), []
    streams = 8 * sum(len(record.data) for record in contents.records)
    assert abs(streams - total(bits.local) - total(bits.latent)) <= 81 * len(contents.records) + 1
    covered = np.zeros((HEIGHT, WIDTH), int)
    for (y, x, h, w), _ in bits.tiles:
        covered[y : y + h, x : x + w] += 1
    assert (covered == 4).all()
    bits_map(data, threads=1, progress=lambda *pixels: told.append(pixels))
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("geometry", [0, 1, 2, 3, 5, 10, 15, 35, 37, 47])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 8), (33, 34)])
def test_pixels_of(geometry, size):
    """Each pixel has one sample, each sample one pixel or more, in any tiles."""
    planes = Planes(1, 256, tile_size=8, kind=Kind.SOURCE, geometry=geometry)
    width, height = planes.size(size[1], size[0])
    covered = np.zeros(size, int)
    for y, x, h, w in container.tile_grid(width, height, 8):
        (top, rows), (left, columns) = _pixels_of(planes, (y, x, h, w), size)
        assert set(rows.tolist()) == set(range(h))
        assert set(columns.tolist()) == set(range(w))
        covered[top : top + len(rows), left : left + len(columns)] += 1
        for first, places, begin, half, shift in (
            (top, rows, y, planes.halved[1], planes.shifted[1]),
            (left, columns, x, planes.halved[0], planes.shifted[0]),
        ):
            for i, place in enumerate(places.tolist()):
                edge = max(0, shift) if first + i < shift else 0
                assert (place + begin) * half + shift <= first + i + edge
    assert (covered == 1).all()


WORDS = {
    "photocd": ("from a PhotoCD, 4:2:0", ["source", "source", "source", "exceptions"]),
    "jpeg": ("a JPEG, 4:2:0, its coefficients", ["coefficients", "exceptions"]),
    "values": ("values of decoded from a JPEG", ["samples"]),
}


@pytest.mark.parametrize("way", WORDS)
def test_describe(way):
    words, kinds = WORDS[way]
    facts = describe(packed(way))
    assert facts["origins"] == [words]
    assert [planes["kind"] for planes in facts["planes"]] == kinds
    assert sum(planes["bytes"] for planes in facts["planes"]) == facts["items"]["data"]
    assert facts["bytes"] == len(packed(way)) == sum(facts["items"].values())
    json.dumps(facts)


def test_describe_none():
    assert describe(vlae_codec.compress(np.zeros((4, 5, 3), np.uint8), effort=1))["origins"] == [None]


@pytest.mark.parametrize("way", WORDS)
def test_info(way, tmp_path, monkeypatch):
    """The text names the origin and what each group of planes is; the map is a picture."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.vlae").write_bytes(packed(way))
    result = CliRunner().invoke(main, ["info", "in.vlae", "--map", "map.png", "--threads", "1"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if not line.startswith("planes "))
    assert lines["origin"] == WORDS[way][0]
    groups = [line for line in result.stdout.splitlines() if line.startswith("planes")]
    assert len(groups) == len(WORDS[way][1])
    if way == "photocd":
        assert "luma, 83x61, " in groups[0]
        assert "chroma 1, 42x31, " in groups[1]
        assert "chroma 2, 42x31, " in groups[2]
    if way != "values":
        assert "exceptions, " in groups[-1]
        assert "no model" in groups[-1]
    with Image.open("map.png") as drawn:
        assert drawn.height == HEIGHT
        assert drawn.width > 2 * WIDTH


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("way", WORDS)
def test_preview(way, beside):
    """Chroma is drawn beside luma; what has no latents is mid grey; on its left is the picture itself."""
    shown = vlae_codec.preview(packed(way), threads=1, beside=beside)
    (drawn,) = shown.pictures
    assert drawn.shape == (HEIGHT, WIDTH * (1 + beside), 3)
    if beside:
        assert np.array_equal(drawn[:, :WIDTH], vlae_codec.decompress(packed(way), threads=1))
    part = drawn[:, -WIDTH:]
    if way == "jpeg":
        assert (part == part[0, 0]).all()
    if way == "photocd":
        assert shown.blank == 0
        assert not np.array_equal(part[..., 0], part[..., 2])


def test_preview_stored_chroma():
    """Chroma that is stored without a model is what the file has; where there is no luma, all is mid grey."""
    noise = np.random.default_rng(5).normal(0, 3, (32, 1040))
    luma = (120 + 40 * np.sin(np.arange(1040) / 30) + noise).astype(np.uint8)
    luma[:, 512:1024] = 90  # a tile of its own
    chroma = [np.full((16, 520), value, np.uint8) for value in (150, 120)]
    origin = origins.Origin("webp", "triangle", (2, 2))
    data = vlae_codec.compress(origins.rebuild(origin, [luma, *chroma], 1040, 32), effort=1, threads=1, origin="webp")
    first, second = (vlae_codec.preview(data, threads=2, seed=seed) for seed in (1, 2))
    assert (first.pictures[0][:, 512:1024] == 128).all()
    assert not np.array_equal(first.pictures[0], second.pictures[0])
    blue_less_red = first.pictures[0][:, :512, 2].astype(int) - first.pictures[0][:, :512, 0]
    assert abs(np.median(blue_less_red) - 59) <= 2  # (150 - 128) * 2.017 - (120 - 128) * 1.596
