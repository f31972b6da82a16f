"""The bits map: it adds up to what the encoder spent, term by term, and lies where the picture does."""

import json
from functools import partial

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner
from simple import file_of, header_of  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec.bench.account import account
from vlae_codec.cli import main
from vlae_codec.coder import streams
from vlae_codec.format import container, stored
from vlae_codec.format.container import Method
from vlae_codec.images import image
from vlae_codec.pictures import encode
from vlae_codec.pictures.codec import find_codec, with_adapter
from vlae_codec.views.bitsmap import BitsMap, bits_map, render

compress = partial(vlae_codec.compress, threads=1, verify=False)


def total(values):
    return float(values.sum(dtype=np.float64))


def stream_bits(data):
    return 8 * sum(len(record.data) for record in container.read(data).records)


def check(bits, data, spent):
    """The map adds up to the ledger, and the ledger to the streams but for the lanes' heads and what says the rows."""
    kl = spent.bits.get("prior", 0.0) + spent.bits.get("posterior", 0.0)
    local = sum(spent.bits.get(term, 0.0) for term in ("band A", "band B", "stored"))
    assert total(bits.local) == pytest.approx(local, rel=1e-6)
    assert total(bits.latent) == pytest.approx(kl, rel=1e-4, abs=1e-2)
    (part,) = container.read(data).parts
    lanes = [
        container.lanes_for(h * w * part.planes.channels, part.planes.lane_symbols)
        for (_, _, h, w), method in bits.tiles
        if method not in container.STORED
    ]
    assert abs(stream_bits(data) - total(bits.local) - total(bits.latent)) <= 64 * sum(lanes) + 16 * len(lanes) + 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_sums(tiny, synthetic, mode):
    """One tile with latents, of an odd width."""
    pixels = synthetic(93, 101, 1)
    pixels = pixels if mode == "RGB" else np.ascontiguousarray(pixels[..., 1])
    data = compress(pixels, model=tiny, effort=1)
    spent = account(data, tiny)
    bits = bits_map(data, str(tiny), threads=1)
    assert bits.local.shape == bits.latent.shape == pixels.shape[:2]
    assert bits.local.dtype == bits.latent.dtype == np.float32
    assert bits.tiles == (((0, 0, 93, 101), Method.LATENTS),)
    check(bits, data, spent)
    rows = int.from_bytes(container.read(data).records[0].data[:2], "little") * 8
    assert total(bits.local[:rows]) == pytest.approx(spent.bits["band B"], rel=1e-6)
    assert total(bits.local[rows:]) == pytest.approx(spent.bits["band A"], rel=1e-6)
    assert not bits.latent[rows:].any()
    for cell in (bits.latent[:8, :8], bits.latent[8:16, 96:]):  # the last one has five columns
        assert np.all(cell == cell[0, 0])
    assert bits.latent[0, 0] != bits.latent[0, 8]


def test_real_picture():
    """The example under a shipped model: the map is the file but for a thousandth part."""
    data = (make_golden.DATA / "mountains.vlae").read_bytes()
    bits = bits_map(data, threads=1)
    assert total(bits.local) + total(bits.latent) == pytest.approx(8 * len(data), rel=2e-3)
    assert total(bits.latent) > 0


def test_adapter(tiny, synthetic):
    """A file's adapter is honoured."""
    payload = make_golden.adapted_payload()
    codec = with_adapter(find_codec(tiny, None, "cpu", "RGB"), payload)
    record = streams.encode_tile(codec, synthetic(53, 70, 1), 3, 32768)
    data = file_of(header_of("RGB", 70, 53, codec.model.id), [record], payload)
    check(bits_map(data, str(tiny), threads=1), data, account(data, tiny))


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles(tiny, synthetic, monkeypatch, threads):
    """Many tiles of several lanes; one of noise is stored."""
    monkeypatch.setattr("vlae_codec.pictures.planes.TILE_SIZE", 32)
    monkeypatch.setattr(encode, "LANE_SYMBOLS", 300)
    pixels = synthetic(70, 90, 4)
    pixels[32:64, 32:64] = np.random.default_rng(1).integers(0, 256, (32, 32, 3))
    data = compress(pixels, model=tiny, effort=1)
    spent = account(data, tiny)
    told = []
    bits = bits_map(data, str(tiny), threads=threads, progress=lambda *pixels: told.append(pixels))
    assert (len(told), told[-1]) == (len(bits.tiles), (70 * 90, 70 * 90))
    check(bits, data, spent)
    methods = dict(bits.tiles)
    assert [place for place, _ in bits.tiles] == container.tile_grid(90, 70, 32)
    assert methods[32, 32, 32, 32] == Method.RAW
    assert np.all(bits.local[32:64, 32:64] == 24)
    assert {Method.NO_LATENTS, Method.LATENTS} <= set(methods.values())


def test_stored_only():
    """Needs no model."""
    pixels = np.random.default_rng(2).random((16, 24)) > 0.5
    record = container.TileRecord(2, np.packbits(pixels, axis=1).tobytes())
    data = file_of(header_of("1", 24, 16, b"nomodel!"), [record])
    bits = bits_map(data)
    assert np.all(bits.local == 1)
    assert not bits.latent.any()


def test_bilevel(synthetic, monkeypatch):
    monkeypatch.setattr(stored, "smaller", lambda record, *_: record)
    pixels = synthetic(61, 50, 3)[..., 0] > 128
    data = compress(pixels, effort=1)
    check(bits_map(data, threads=1), data, account(data))


def test_many(tiny, synthetic):
    """A file of many pictures is a mosaic; each picture's part is its own, whatever group it is in."""
    sizes = [(24, 30), (40, 33), (5, 7), (24, 30), (32, 32)]
    pictures = [synthetic(*size, seed) for seed, size in enumerate(sizes)]
    options = {"model": tiny, "effort": 1, "threads": 1}
    data = vlae_codec.compress_many(pictures, groups=2, **options)
    spent = account(data, tiny)
    bits = bits_map(data, str(tiny), threads=1)
    check(bits, data, spent)
    assert sorted(place[2:] for place, _ in bits.tiles) == sorted(sizes)
    covered = np.zeros(bits.local.shape, bool)
    for (y, x, h, w), method in bits.tiles:
        assert method == Method.CHAIN
        assert not covered[y : y + h, x : x + w].any()
        covered[y : y + h, x : x + w] = True
        assert bits.local[y : y + h, x : x + w].min() > 0
    assert not bits.local[~covered].any()
    assert covered.sum() == sum(h * w for h, w in sizes)


def test_where(tiny):
    """Bits are where there is something to say."""
    pixels = np.full((64, 64, 3), 90, np.uint8)
    pixels[40:56, 8:32] = np.random.default_rng(3).integers(0, 256, (16, 24, 3))
    codec = find_codec(tiny, None, "cpu", "RGB")
    record = streams.encode_tile(codec, pixels, 3, 32768)
    bits = bits_map(file_of(header_of("RGB", 64, 64, codec.model.id), [record]), str(tiny), threads=1)
    assert bits.local[40:56, 8:32].mean() > 4 * bits.local[:32].mean()


def test_devices(tiny):
    data = (make_golden.DATA / "grey.vlae").read_bytes()
    bits, others = (bits_map(data, str(tiny), backend, 1) for backend in ("cpu", "torch:cpu"))
    assert np.array_equal(bits.local, others.local)
    assert np.array_equal(bits.latent, others.latent)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (90, 33), (1300, 20)])
def test_render(height, width):
    rng = np.random.default_rng(5)
    local = rng.random((height, width), np.float32) * 9
    for latent in (np.zeros_like(local), rng.normal(size=local.shape).astype(np.float32)):
        drawn = render(BitsMap(local, latent, ()))
        assert drawn.dtype == np.uint8
        assert drawn.shape[0] == height
        assert drawn.shape[1] > 2 * width
        assert drawn.shape[2] == 3


def test_render_lightness():
    """More bits are lighter, zero is nearly black, negative ones are blue."""
    local, latent = np.linspace(0, 10, 100, dtype=np.float32)[None], np.full((1, 100), -1, np.float32)
    drawn = render(BitsMap(local, latent, ())).astype(int)
    lightness = drawn[0, :100] @ [0.3, 0.59, 0.11]
    assert np.all(np.diff(lightness) >= -0.6)
    assert lightness[0] < 5 < 200 < lightness[-1]
    red, _, blue = drawn[0, -1 - 12]
    assert blue > red


# ---------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.vlae").write_bytes((make_golden.DATA / "colour.vlae").read_bytes())
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, ["info", "in.vlae", *arguments, "--model", str(tiny)])


def test_command(run, tmp_path):
    result = run("--map", "map.png")
    assert (result.exit_code, result.stderr) == (0, "")
    bits = bits_map((tmp_path / "in.vlae").read_bytes(), str(make_golden.DATA / "tiny.safetensors"), threads=1)
    assert np.array_equal(image.load(tmp_path / "map.png").pixels, render(bits))
    assert "map.png" in result.stdout.splitlines()[-1]
    facts = json.loads(run("--map", "map.png", "--json", "--force").stdout)
    assert facts["bits"] == {"pixels": pytest.approx(total(bits.local)), "latents": pytest.approx(total(bits.latent))}


def test_command_refuses(run, tmp_path):
    (tmp_path / "map.png").write_text("mine")
    for arguments, words in [
        (["map.png"], "exists already"),
        (["in.vlae"], "no lossless picture format"),
        (["map.pgm"], "use .png"),
        (["nowhere/map.png"], "no folder"),
    ]:
        result = run("--map", *arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert (tmp_path / "map.png").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2
