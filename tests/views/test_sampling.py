"""Samples are decoded random bits: the same everywhere, and pushed again those bits. Previews use the true latents."""

import re
import zlib

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner
from simple import file_of, header_of  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec.bench.account import account
from vlae_codec.cli import main
from vlae_codec.errors import InputError, UnknownModel
from vlae_codec.format import container, stored
from vlae_codec.format.container import TileRecord
from vlae_codec.images import image
from vlae_codec.native import ans, library
from vlae_codec.pictures.codec import find_codec
from vlae_codec.views import sampling
from vlae_codec.views.mosaic import mosaic, places


def sample(tiny, **options):
    return vlae_codec.sample(model=tiny, **{"threads": 1, "size": (32, 24), **options})


def preview(data, tiny, **options):
    return vlae_codec.preview(data, model=tiny, threads=1, **options)


def golden(name):
    return (make_golden.DATA / f"{name}.vlae").read_bytes()


# ---------------------------------------------------------------------------------------------------- samples


@pytest.mark.parametrize("device", ["cpu", pytest.param("torch:cpu", marks=pytest.mark.slow)])
def test_golden(each_target, tiny, device):
    """The same bits, the same picture, for ever. With latents, without them, and of several lanes."""
    for target in each_target() if device == "cpu" else [library.target()]:
        assert [f"{zlib.crc32(pixels.tobytes()):08x}" for pixels in golden_samples(tiny, device)] == GOLDEN, target


GOLDEN = ["786ae75a", "aec42c71", "af719c11", "6f75b67d"]


def golden_samples(tiny, device):
    return [
        *sample(tiny, size=(37, 21), count=2, device=device),
        *sample(tiny, size=(37, 21), latents=False, device=device),
        *sample(tiny, size=(160, 150), seed=2**32 - 1, device=device),
    ]


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_shipped(device):
    (pixels,) = vlae_codec.sample(model="mnist-binary", threads=1, device=device)
    assert pixels.shape == (28, 28)
    assert pixels.dtype == bool
    assert 20 < pixels.sum() < 400


@pytest.mark.parametrize("latents", [True, False])
def test_bits_back(tiny, latents):
    """To push a sample is to get the random bits: sampling is decoding."""
    codec, message = find_codec(tiny, None, "cpu", "RGB"), sampling._random_bits([5, 0], 24 * 32 * 3 + 100)
    pair = codec.tiles([(24, 32)], [24 if latents else 0], 3)
    left, bands = pair.pop([message])
    assert pair.push(left, bands) == [message]
    assert len(left[0].words) < len(message.words)


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (1, 9), (13, 30)])
def test_sizes(tiny, size):
    pictures = sample(tiny, size=size, count=3)
    assert [pixels.shape for pixels in pictures] == 3 * [(size[1], size[0], 3)]
    assert {pixels.dtype for pixels in pictures} == {np.dtype(np.uint8)}


def test_seeds(tiny):
    """Neither the count nor the threads matter."""
    pictures = sample(tiny, count=3, seed=4)
    for again in (sample(tiny, count=2, seed=4), sample(tiny, count=3, seed=4, threads=2)):
        assert all(map(np.array_equal, pictures, again))
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], sample(tiny, seed=5)[0])


def test_random_bits():
    """Enough for symbols of 24 bits each, and good heads."""
    message = sampling._random_bits([1, 2], 70000)
    assert len(message.heads) == 2
    assert message.heads.min() >= 1 << 32
    ans.pop_uniform(message, 24, 70000)


def test_default_size(tiny):
    assert vlae_codec.sample(model=tiny, threads=1)[0].shape == (256, 256, 3)
    assert vlae_codec.sample(model="cifar10", threads=1)[0].shape == (32, 32, 3)
    assert vlae_codec.sample(model="luma", size=(9, 8), threads=1)[0].shape == (8, 9)


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 5)},
        {"size": (5, 4000)},
        {"count": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"threads": 0},
    ],
)
def test_wrong_options(tiny, options):
    with pytest.raises(InputError):
        sample(tiny, **options)


# ---------------------------------------------------------------------------------------------------- previews


@pytest.mark.parametrize("name", ["colour", "grey"])
def test_preview(tiny, name):
    data, pixels = golden(name), image.load(make_golden.DATA / f"{name}.png").pixels
    spent = account(data, tiny)
    found = preview(data, tiny)
    (shown,) = found.pictures
    assert shown.shape == pixels.shape
    assert (found.tiles, found.blank) == (1, 0)
    assert found.bits == pytest.approx(spent.bits["prior"], rel=0.01)
    assert np.array_equal(shown, preview(data, tiny).pictures[0])
    assert not np.array_equal(shown, preview(data, tiny, seed=2).pictures[0])
    beside = preview(data, tiny, beside=True).pictures[0]
    assert np.array_equal(beside, np.concatenate([pixels, shown], axis=1))


def test_preview_reads_latents_only(tiny):
    """What lies below the latents does not matter, what is above does."""
    data = golden("colour")
    contents = container.read(data)
    stream = contents.records[0].data

    def changed(place):
        broken = bytearray(stream)
        broken[place] ^= 4
        return file_of(contents.header, [TileRecord(1, bytes(broken))])

    before = preview(data, tiny).pictures[0]
    assert np.array_equal(preview(changed(len(stream) // 2), tiny).pictures[0], before)
    assert not np.array_equal(preview(changed(len(stream) - 2), tiny).pictures[0], before)


def test_preview_follows_latents(tiny, synthetic):
    """The tiny model's latents say how strong the noise is in a cell: a preview is rough where its picture is."""
    pixels = synthetic(120, 160, 3)
    data = vlae_codec.compress(pixels, model=tiny, effort=1, threads=1)

    def roughness(pixels):
        steps = np.abs(np.diff(pixels[:96].astype(float), axis=1, append=0))
        return np.log(steps.reshape(12, 8, 20, 8, 3)[:, :, :, :7].mean((1, 3, 4)) + 1).ravel()

    here, there = roughness(pixels), roughness(preview(data, tiny).pictures[0])
    assert np.corrcoef(here, there)[0, 1] > 0.3


def test_preview_adapter(tiny):
    contents = container.read(golden("adapted"))
    plain = file_of(contents.header, contents.records)
    assert not np.array_equal(*(preview(data, tiny).pictures[0] for data in (golden("adapted"), plain)))


def test_preview_without_latents(tiny):
    found = preview(golden("strip"), tiny)
    assert (found.tiles, found.blank, found.bits) == (1, 1, 0.0)
    assert np.all(found.pictures[0] == 128)
    found = preview(golden("tiles"), tiny)
    methods = [record.method for record in container.read(golden("tiles")).records]
    assert (found.tiles, found.blank) == (6, 6 - methods.count(1))
    assert 0 < found.blank < 6
    places_ = container.tile_grid(70, 40, 32)
    for (y, x, h, w), method in zip(places_, methods):
        assert np.all(found.pictures[0][y : y + h, x : x + w] == 128) == (method != 1)


def test_preview_stored():
    """Needs no model."""
    noise = np.random.default_rng(1).random((9, 13)) > 0.5
    record = TileRecord(2, np.packbits(noise, axis=1).tobytes())
    found = vlae_codec.preview(file_of(header_of("1", 13, 9, b"nomodel!"), [record]), beside=True, threads=1)
    assert found.blank == 1
    assert np.array_equal(found.pictures[0][:, :13], noise * np.uint8(255))
    assert np.all(found.pictures[0][:, 13:] == 128)


def test_preview_many(tiny, synthetic, monkeypatch):
    """Every picture by its own latents, though they lie deep in the stack."""
    monkeypatch.setattr(stored, "smaller", lambda record, *_: record)
    sizes = [(24, 30), (40, 33), (5, 7), (32, 32), (48, 20)]
    pictures = [synthetic(*size, seed) for seed, size in enumerate(sizes)]
    options = {"model": tiny, "effort": 1, "threads": 1}
    data = vlae_codec.compress_many(pictures, groups=2, **options)
    spent = account(data, tiny)
    found = preview(data, tiny)
    assert found.bits == pytest.approx(spent.bits["prior"], rel=0.01)
    assert [shown.shape[:2] for shown in found.pictures] == sizes
    assert found.tiles == 5
    assert found.blank == sum(bool(np.all(shown == 128)) for shown in found.pictures) > 0
    threads = vlae_codec.preview(data, model=tiny, threads=2)
    assert all(map(np.array_equal, threads.pictures, found.pictures))


def test_preview_errors(tiny):
    with pytest.raises(UnknownModel):
        vlae_codec.preview(golden("colour"), threads=1)
    with pytest.raises(InputError, match="seed"):
        preview(golden("colour"), tiny, seed=-1)


# ---------------------------------------------------------------------------------------------------- mosaics


def test_mosaic():
    pictures = [np.full((h, w), 10 * (i + 1), np.uint8) for i, (h, w) in enumerate([(4, 5), (6, 3), (1, 1)])]
    whole = mosaic(pictures)
    height, width, where = places([p.shape for p in pictures])
    assert whole.shape == (height, width) == (14, 12)
    for pixels, (y, x, h, w) in zip(pictures, where):
        assert np.array_equal(whole[y : y + h, x : x + w], pixels)
    assert (whole == 255).sum() == whole.size - 20 - 18 - 1
    assert np.array_equal(mosaic(pictures[:1]), pictures[0])
    assert mosaic([np.zeros((2, 2), bool)] * 2).dtype == bool


# ---------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, [*map(str, arguments), "--model", str(tiny), "--threads", "1"])


def fails(result, *words, code=1):
    assert result.exit_code == code
    assert result.stdout == ""
    assert code == 2 or result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words), result.stderr


def test_sample_command(run, tiny, tmp_path):
    result = run("sample", "-o", "out.png", "--size", "20x13", "--count", 3, "--seed", 9)
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(r"out.png: 3 of 20x13, seed 9, \d+\.\d s\n", result.stderr)
    expected = mosaic(sample(tiny, size=(20, 13), count=3, seed=9))
    assert np.array_equal(image.load("out.png").pixels, expected)
    fails(run("sample", "-o", "out.png", "--size", "9x9"), "exists already")
    result = run("sample", "-o", "out.png", "--size", "9x9", "-f", "-q", "--no-latents")
    assert (result.exit_code, result.output) == (0, "")
    assert np.array_equal(image.load("out.png").pixels, sample(tiny, size=(9, 9), latents=False)[0])
    fails(run("sample", "-o", "new.png", "--size", "0x9"), "0x9 pixels")
    fails(run("sample", "-o", "new.jpg"), "made of a JPEG")
    fails(run("sample", "-o", "new.png", "--size", "9"), "320x200", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_preview_command(run, tiny, tmp_path, monkeypatch):
    for name in ("colour", "strip", "tiles"):
        (tmp_path / f"{name}.vlae").write_bytes(golden(name))
    result = run("preview", "colour.vlae", "-o", "out.png")
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(r"out.png: latents of \d+ bytes, the file has \d+, \d+\.\d s\n", result.stderr)
    assert np.array_equal(image.load("out.png").pixels, preview(golden("colour"), tiny).pictures[0])
    result = run("preview", "tiles.vlae", "-o", "out.tif", "--beside")
    assert re.search(r"\n\d of 6 tiles have no latents: mid grey\n", result.stderr)
    assert image.load("out.tif").pixels.shape == (40, 140, 3)
    assert "1 of 1 tiles has no latents" in run("preview", "strip.vlae", "-o", "out.webp").stderr
    assert run("preview", "strip.vlae", "-o", "out.webp", "-f", "-q").output == ""
    fails(run("preview", "strip.vlae", "-o", "out.png"), "exists already")
    fails(run("preview", "out.png", "-o", "new.png"), "out.png: not a .vlae file")
    fails(run("preview", "strip.vlae", "-o", "strip.vlae", "-f"), "no lossless picture format")
    monkeypatch.setattr(sampling, "preview", None)  # nothing is decoded in vain
    fails(run("preview", "colour.vlae", "-o", "new.pgm"), "mode RGB", "use .png")
    assert not (tmp_path / "new.png").exists()
