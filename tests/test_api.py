"""Pictures to bytes and back, whatever their size and content, with every setting the same bytes."""

import weakref
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from simple import file_of  # type: ignore[import-not-found]

import vlae_codec.jobs.batch
from vlae_codec import api
from vlae_codec.adapter import fit
from vlae_codec.bench.account import account
from vlae_codec.errors import CorruptFile, InputError, UnknownModel, UnsupportedImage, VlaeError, WeightsError
from vlae_codec.format import container, stored
from vlae_codec.format.container import Method
from vlae_codec.format.header import Layout
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.weights_file import save_weights
from vlae_codec.pictures import codec as codec_of
from vlae_codec.pictures import encode, modes, pieces
from vlae_codec.pictures import part as part_of
from vlae_codec.weights import model

compress = partial(vlae_codec.compress, effort=1, threads=1)  # other efforts: test_fit
decompress = partial(vlae_codec.decompress, threads=1)

NOISE = np.random.default_rng(4).integers(0, 256, (64, 70, 3), np.uint8)


def round_trip(pixels, model):
    data = compress(pixels, model=model)
    back = decompress(data, model=model)
    assert back.dtype == np.uint8
    assert np.array_equal(back, pixels)
    assert len(data) <= pixels.size + 200
    return data


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (7, 5), (8, 8), (9, 17)])
@pytest.mark.parametrize("grey", [False, True])
def test_sizes(tiny, synthetic, width, height, grey):
    pixels = synthetic(height, width, 1)
    round_trip(pixels[..., 0] if grey else pixels, tiny)


@pytest.mark.parametrize("grey", [False, True])
def test_large(tiny, synthetic, grey):
    """More than one tile, none of them whole."""
    pixels = synthetic(511, 513, 2)
    data = compress(pixels[..., 0] if grey else pixels, model=tiny, verify=False)
    back = decompress(data, model=tiny)
    assert np.array_equal(back, pixels[..., 0] if grey else pixels)
    contents = container.read(data)
    assert [tile.method for tile in contents.records] == [Method.LATENTS, Method.LATENTS]
    bits = sum(account(data, tiny).bits.values())
    assert 0 < 8 * len(data) - bits < 0.005 * bits  # real file, all overhead, against the ELBO


def edges():
    x = np.zeros((40, 48, 3), np.uint8)
    x[:, 24:] = 255
    x[10:20, 5:40] = [255, 0, 255]
    x[30, ::2] = 255
    return x


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((40, 48, 3), 0, np.uint8),
        np.full((40, 48), 255, np.uint8),
        np.full((40, 48, 3), 77, np.uint8),
        edges(),
        edges()[..., 1],
        np.where(NOISE > 127, np.uint8(255), np.uint8(0)),
        NOISE,
        NOISE[..., 0],
    ],
)
def test_content(tiny, pixels):
    data = round_trip(pixels, tiny)
    if pixels.max() == pixels.min():
        assert len(data) < 120


def test_noise_falls_back(tiny):
    data = compress(NOISE, model=tiny)
    assert [tile.method for tile in container.read(data).records] == [Method.RAW]
    assert len(data) <= NOISE.size + 200
    assert np.array_equal(decompress(data), NOISE)  # no model needed


def test_same_bytes(tiny, synthetic, backend, monkeypatch):
    """Every device, 1 and 2 threads, tile by tile and in a batch: what one writes all read, and all write the same."""
    monkeypatch.setattr("vlae_codec.pictures.planes.TILE_SIZE", 24)
    monkeypatch.setattr(encode, "LANE_SYMBOLS", 500)
    pixels = synthetic(29, 60, 3)
    expected = compress(pixels, model=tiny, device="cpu", threads=1, verify=False)
    assert {tile.method for tile in container.read(expected).records} >= {Method.NO_LATENTS, Method.LATENTS}
    for threads in (1, 2) if backend == "cpu" else (2,):
        assert compress(pixels, model=tiny, device=backend, threads=threads, verify=False) == expected
        for batch in (1, 1 << 22):
            monkeypatch.setattr(pieces, "BATCH_PIXELS", batch)
            assert np.array_equal(decompress(expected, model=tiny, device=backend, threads=threads), pixels)


def test_views(tiny, synthetic):
    """Strides and write protection of the array do not matter, and it is left alone."""
    pixels = synthetic(20, 30, 5)
    expected = compress(pixels, model=tiny)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    for same in (frozen, np.asfortranarray(pixels), np.repeat(pixels, 2, axis=1)[:, ::2]):
        assert compress(same, model=tiny) == expected
    assert np.array_equal(frozen, pixels)


def test_path(tiny, synthetic, tmp_path):
    pixels = synthetic(12, 10, 6)
    path = tmp_path / "picture.png"
    vlae_codec.images.image.save(path, pixels)
    data = compress(path, model=str(tiny))
    assert data == compress(pixels, model=tiny) == compress(str(path), model=tiny)
    assert np.array_equal(vlae_codec.decompress_picture(data, model=str(tiny), threads=1).pixels, pixels)


def test_progress(tiny, synthetic):
    seen: list[tuple[int, int]] = []
    data = compress(synthetic(20, 30, 7), model=tiny, verify=False, progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (600, 600)
    seen.clear()
    decompress(data, model=tiny, progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (600, 600)
    assert seen == sorted(seen)


def test_verify(tiny, synthetic, monkeypatch):
    restored = modes.restored
    with monkeypatch.context() as patch:
        patch.setattr(encode, "restored", lambda *args: restored(*args) ^ 1)
        with pytest.raises(VlaeError, match="did not come back"):
            compress(synthetic(20, 30, 8), model=tiny)
    monkeypatch.setattr(stored, "restore", lambda *_: [NOISE ^ 1])
    with pytest.raises(VlaeError, match="did not come back"):
        compress(NOISE, model=tiny)


# ---------------------------------------------------------------------------------------------------- regions


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("vlae_codec.pictures.planes.TILE_SIZE", 24)
    monkeypatch.setattr(encode, "LANE_SYMBOLS", 500)


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_region(tiny, weights, synthetic, small_tiles, mode):
    """A region is a part of the picture, whatever it touches; stored tiles and coded ones."""
    pixels = synthetic(60, 70, 3)
    pixels[:30, 40:] = np.random.default_rng(1).integers(0, 256, (30, 30, 3), np.uint8)
    pixels = {"RGB": pixels, "L": pixels[..., 1], "1": pixels[..., 1] > 120}[mode]
    path = weights(1, 2) if mode == "1" else tiny
    data = compress(pixels, model=path)
    assert {tile.method for tile in container.read(data).records} & {Method.RAW, Method.LZMA}
    for x, y, w, h in [(0, 0, 70, 60), (0, 0, 1, 1), (69, 59, 1, 1), (23, 23, 2, 2), (30, 0, 40, 60), (5, 50, 60, 3)]:
        for threads in (1, 2):
            part = vlae_codec.decompress(data, region=(x, y, w, h), model=path, threads=threads)
            assert part.dtype == pixels.dtype
            assert np.array_equal(part, pixels[y : y + h, x : x + w])
    with pytest.raises(InputError, match="70x60"):
        decompress(data, region=(0, 0, 71, 1), model=path)


def test_region_decodes_only_what_it_touches(tiny, synthetic, small_tiles, monkeypatch):
    """The tiles of others may be damaged, and are not decoded; progress is of those that are."""
    from vlae_codec.coder import streams

    pixels = synthetic(60, 70, 3)
    contents = container.read(compress(pixels, model=tiny))
    tiles, data = contents.records, file_of(contents.header, contents.records, metadata={"icc": b"profile"})
    damaged = bytearray(data)
    for i in (0, 1, 2, 3, 5, 6, 7, 8):
        at = data.index(tiles[i].data)
        damaged[at + len(tiles[i].data) // 2] ^= 16
    decoded = []

    def decode(codec, records, *rest, real=streams.decode):
        decoded.extend(records)
        return real(codec, records, *rest)

    monkeypatch.setattr(streams, "decode", decode)
    seen: list[tuple[int, int]] = []
    found = vlae_codec.decompress_picture(
        bytes(damaged), region=(25, 26, 3, 4), model=tiny, threads=1, progress=lambda *pair: seen.append(pair)
    )
    assert np.array_equal(found.pixels, pixels[26:30, 25:28])
    assert found.metadata == {"icc": b"profile"}
    assert decoded == [tiles[4]]
    assert seen[-1] == (24 * 24, 24 * 24)
    with pytest.raises(CorruptFile, match=r"tile 5 .*x=48, y=24"):
        decompress(bytes(damaged), region=(40, 26, 20, 4), model=tiny)
    with pytest.raises(CorruptFile, match="tile 0"):
        decompress(bytes(damaged), model=tiny)


def test_region_of_a_list(tiny, synthetic):
    data = vlae_codec.compress_many([synthetic(9, 9, 1)] * 2, model=tiny, effort=1, threads=1)
    with pytest.raises(InputError, match="list of pictures"):
        decompress(data, region=(0, 0, 1, 1), model=tiny)


def test_tiles_are_not_held(tiny, synthetic, small_tiles, monkeypatch):
    """Neither direction, nor the comparison, has more of a picture than some tiles beside its pixels."""
    pixels = synthetic(240, 240, 3)
    alive: set[int] = set()
    most = 0

    class Part(np.ndarray):
        pass

    def tile_of(symbols, channels, make=modes.tile_of):
        nonlocal most
        tile = make(symbols, channels).view(Part)
        key = id(tile)
        alive.add(key)
        weakref.finalize(tile, alive.discard, key)
        most = max(most, len(alive))
        return tile

    monkeypatch.setattr(part_of, "tile_of", tile_of)
    monkeypatch.setattr(fit, "SAMPLE", 1000)
    data = vlae_codec.compress(pixels, model=tiny, effort=2, threads=2)
    assert len(container.read(data).records) == 100
    assert 1 <= most < 20


# ---------------------------------------------------------------------------------------------------- modes


@pytest.fixture(scope="session")
def weights(random_vlae, tmp_path_factory):
    """(channels, levels) -> a weight file of a random model."""

    def make(channels, levels):
        path = tmp_path_factory.mktemp("weights") / f"random-{channels}-{levels}.safetensors"
        vlae = random_vlae(channels=channels, levels=levels)
        save_weights(path, vlae.config.to_dict(), integer_tensors(vlae))
        return path

    return make


MODES = {"RGB": NOISE[:20, :13], "L": NOISE[:20, :13, 0], "1": NOISE[:20, :13, 0] > 99}
CODED = {(3, 256): ["RGB", "L"], (1, 256): ["L"], (1, 2): ["1"], (3, 2): ["1"]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", CODED)
def test_modes(weights, monkeypatch, kind, mode):
    """Each model codes the pictures that it can, and says so of others."""
    path, pixels = weights(*kind), MODES[mode]
    if mode not in CODED[kind]:
        with pytest.raises(InputError, match=r"codes .* pictures .*not pictures of mode"):
            compress(pixels, model=path)
        return
    monkeypatch.setattr(stored, "smaller", lambda record, *_: record)
    data = compress(pixels, model=path)
    assert container.read_header(data).first.mode == mode
    assert container.read(data).records[0].method in (Method.LATENTS, Method.NO_LATENTS)
    back = decompress(data, model=path)
    assert back.dtype == pixels.dtype
    assert np.array_equal(back, pixels)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (5, 7), (40, 35)])
def test_bilevel(weights, height, width):
    """Never larger than the packed pixels and what any file has."""
    path = weights(1, 2)
    for pixels in (np.zeros((height, width), bool), np.random.default_rng(1).random((height, width)) > 0.5):
        data = compress(pixels, model=path)
        assert len(data) <= height * -(-width // 8) + 60
        back = decompress(data, model=path)
        assert back.dtype == bool
        assert np.array_equal(back, pixels)


def test_default_models(tiny, monkeypatch):
    """Each mode has its own; what a file names is not asked for by mode."""
    asked = []

    def default(mode, learns=False, best=False):
        asked.append(mode)
        return str(tiny)

    monkeypatch.setattr(codec_of, "default_model_name", default)
    for mode in ("RGB", "L"):
        compress(MODES[mode])
    with pytest.raises(InputError, match=r"RGB and grey .*not pictures of mode 1"):
        compress(MODES["1"])
    assert list(dict.fromkeys(asked)) == ["RGB", "L", "1"]
    monkeypatch.setattr(codec_of, "default_model_name", lambda *_: "no-such-model")
    with pytest.raises(InputError, match=r"for pictures of mode 1 is not at hand.*give"):
        compress(MODES["1"])


def test_mode_of_another_model(tiny, synthetic):
    """A header that is changed to a mode that its model does not code."""
    contents = container.read(compress(synthetic(20, 30, 9), model=tiny))
    (planes,) = contents.header.first.planes
    layout = Layout("1", (replace(planes, channels=1, levels=2),), levels=2)
    with pytest.raises(CorruptFile, match="mode 1"):
        decompress(file_of(replace(contents.header, layouts=(layout,)), contents.records), model=tiny)
    assert codec_of.codes({"channels": 3}, "RGB")


# ---------------------------------------------------------------------------------------------------- refusals


def test_unknown_model(tiny, synthetic, tmp_path):
    from vlae_codec.weights.model import load_weights

    data = compress(synthetic(20, 30, 9), model=tiny)
    with pytest.raises(UnknownModel, match=load_weights(tiny).id.hex()):
        decompress(data)
    other = tmp_path / "other.safetensors"
    config, tensors, _ = model.read_weights(tiny)
    save_weights(other, config, {**tensors, "null": tensors["null"] ^ 1})
    with pytest.raises(UnknownModel, match="other"):
        decompress(data, model=other)
    calls: tuple[Any, ...] = (compress, decompress)
    for call in calls:
        given = data if call is decompress else NOISE
        with pytest.raises(InputError, match="no model"):
            call(given, model="no-such-model")
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(b"?")
        with pytest.raises(WeightsError):
            call(given, model=broken)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 5, 3), np.complex64),
        np.zeros((4, 5), np.int64),
        np.zeros((4, 5, 3), bool),
        np.zeros((4, 5, 256), np.uint8),
        np.zeros((4, 5, 1), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
    ],
)
def test_invalid(tiny, pixels):
    with pytest.raises(UnsupportedImage):
        compress(pixels, model=tiny)


def test_tile(tiny, synthetic):
    """Tiles of another size are in the file, and bring back the same pixels, also of a part."""
    pixels = synthetic(70, 100, 3)
    data = compress(pixels, model=tiny, tile=48)
    (part,) = container.read(data).parts
    assert (part.planes.tile_size, part.tile_count) == (48, 2 * 3)
    assert np.array_equal(decompress(data, model=tiny, threads=2), pixels)
    assert np.array_equal(decompress(data, model=tiny, region=(40, 3, 30, 60)), pixels[3:63, 40:70])


def test_invalid_options(tiny):
    for tile in (0, 16, 100, 8192):
        with pytest.raises(InputError, match="tile"):
            compress(NOISE, model=tiny, tile=tile)
    for threads in (0, -1):
        with pytest.raises(InputError, match="threads"):
            compress(NOISE, model=tiny, threads=threads)
    with pytest.raises(VlaeError, match="no device"):
        compress(NOISE, model=tiny, device="tpu")


def test_truncated_and_flipped(tiny, synthetic):
    pixels = synthetic(20, 30, 10)
    data = compress(pixels, model=tiny)
    for length in (0, 8, 33, len(data) // 2, len(data) - 1):
        with pytest.raises(VlaeError):
            decompress(data[:length], model=tiny)
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 200).tolist():
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VlaeError):
            decompress(bytes(damaged), model=tiny)


def test_damage_behind_good_checksums(tiny, synthetic):
    """A stream that is wrong although every checksum of the container is right: the stack's end tells."""
    data = compress(synthetic(20, 30, 11), model=tiny)
    contents = container.read(data)
    stream = bytearray(contents.records[0].data)
    stream[-3] ^= 4
    rewritten = file_of(contents.header, [container.TileRecord(contents.records[0].method, bytes(stream))])
    with pytest.raises(CorruptFile, match="tile"):
        decompress(rewritten, model=tiny)


def test_public_names():
    assert sorted(vlae_codec.__all__) == vlae_codec.__all__
    assert vlae_codec.__all__ == api.__all__
    assert all(getattr(vlae_codec, name) is getattr(api, name) for name in vlae_codec.__all__)
    here = {name for name, value in vars(api).items() if getattr(value, "__module__", "") == api.__name__}
    assert {name for name in here if not name.startswith("_")} <= set(api.__all__)
    with pytest.raises(AttributeError):
        vlae_codec.no_such_name  # noqa: B018
