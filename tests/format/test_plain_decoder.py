"""docs/format.md is enough to write a decoder from: the plain one decodes golden files, and refuses damaged ones."""

import ast
import lzma
import sys
from pathlib import Path

import make_golden  # type: ignore[import-not-found]
import numpy as np
import plain_decoder  # type: ignore[import-not-found]
import pytest
from PIL import Image

from vlae_codec import compress, compress_many
from vlae_codec.adapter import chunk
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.streams import with_latents, without_latents
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import Pace
from vlae_codec.format import container, stored
from vlae_codec.format.header import Planes
from vlae_codec.images.picture import Picture
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.learning import with_learning
from vlae_codec.models.trainer import Settings
from vlae_codec.models.weights_file import save_weights
from vlae_codec.weights.model import load_weights, weights_folder

DATA = make_golden.DATA
LONG = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("mnist-binary", "cifar10", "luma", "mountains", "learning", "learning-deep")
]


def weights(name):
    shipped = {"mountains": "photo", "learning": "photo-learner", "learning-deep": "luma-learner"}.get(name, name)
    path = weights_folder() / f"{shipped}.safetensors"
    return path if path.exists() else DATA / "tiny.safetensors"


def expected(name):
    if name.startswith("learning"):
        return make_golden.learning_picture(name == "learning-deep").pixels
    path = make_golden.EXAMPLE if name == "mountains" else DATA / f"{name.replace('adapted', 'colour')}.png"
    return np.array(Image.open(path))


def same(found, pixels):
    return np.array_equal(found, pixels.reshape(found.shape))


def test_independent():
    """It imports nothing of the package."""
    tree = ast.parse(Path(plain_decoder.__file__).read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy", "PIL"}


@pytest.mark.parametrize("name", ["colour", "grey", "strip", "pixel", "tiles", "adapted", *LONG])
def test_golden(name):
    (found,) = plain_decoder.decode((DATA / f"{name}.vlae").read_bytes(), weights(name))
    assert same(found.pixels, expected(name))


def test_style(styled, synthetic):
    data = compress(synthetic(40, 48, 4), model=styled, effort=1)
    assert len(container.read(data).parts[0].adapter or b"") == 2
    assert same(plain_decoder.decode(data, styled)[0].pixels, synthetic(40, 48, 4))


def test_many(tiny):
    found = plain_decoder.decode((DATA / "many.vlae").read_bytes(), tiny)
    assert len(found) == len(make_golden.many_pictures())
    assert all(same(one.pixels, other) for one, other in zip(found, make_golden.many_pictures(), strict=True))


@pytest.mark.parametrize("name", make_golden.kinds())
def test_kinds(name, tiny):
    """The other kinds, with all that comes along."""
    paths = [tiny, *(weights_folder() / f"{name}.safetensors" for name in ("photo", "luma", "mnist-binary"))]
    found = plain_decoder.decode((DATA / f"{name}.vlae").read_bytes(), *paths)
    for one, other in zip(found, make_golden.kinds()[name], strict=True):
        assert one.pixels.dtype == other.pixels.dtype
        assert same(one.pixels, other.pixels)
        assert (one.mode, one.metadata) == (other.mode, other.metadata)
        assert other.levels in (0, one.levels)
        assert other.palette is None or np.array_equal(one.palette, other.palette)


SHAPES = {
    "three flow steps, stride 16": {"flow_steps": 3, "stride": 16, "layers": 3, "latents": 3},
    "no flow, stride 4, grey": {"flow_steps": 0, "stride": 4, "channels": 1, "window": (3, 1)},
    "one flow step, bilevel": {"flow_steps": 1, "channels": 1, "levels": 2, "mixtures": 1, "window": (7, 4)},
    "one cell, grey": {"flow_steps": 1, "stride": 28, "channels": 1, "latents": 9, "prior_window": (3, 1)},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_other_models(changes, random_vlae, synthetic, tmp_path):
    """Of architectures that no golden file has: a tile with latents on several lanes."""
    vlae, path = random_vlae(**changes), tmp_path / "random.safetensors"
    config = vlae.config.to_dict()
    save_weights(path, config, integer_tensors(vlae))
    pixels = synthetic(45, 38, 5)
    mode = {(3, 256): "RGB", (1, 256): "L", (1, 2): "1"}[config["channels"], config["levels"]]
    pixels = {"RGB": pixels, "L": pixels[..., 0], "1": pixels[..., 0] > 127}[mode]
    codec = TileCodec(load_weights(path))
    planes = Planes(3 if mode == "RGB" else 1, codec.levels, codec.model.id, tile_size=64, lane_symbols=500)

    def encode(codec, tile, coded, lane_symbols):
        made = with_latents(Draft(codec, tile, coded), lane_symbols)
        assert made is not None
        return made[0]

    data = make_golden.write_planes(Picture(pixels), [(codec, planes)], encode=encode)
    (found,) = plain_decoder.decode(data, path)
    assert same(found.pixels, pixels)


@pytest.fixture(scope="session")
def learn_all(random_vlae, synthetic, tmp_path_factory):
    """A model of three hidden layers, two of which may learn, and with factors by which some products are clamped."""
    vlae, path = random_vlae(layers=3), tmp_path_factory.mktemp("learns") / "layers.safetensors"
    save_weights(path, vlae.config.to_dict(), integer_tensors(vlae))
    settings = Settings(crop=32, batch=4, data_init=False)
    config, tensors = with_learning(path, [synthetic(96, 96, 1)], settings)
    for name in ("learn.out.back", "learn.hidden.2.back"):
        tensors[name] = (8 * tensors[name]).clip(max=1 << 16)
    save_weights(path, config, tensors)
    return path


PACES = [
    ("learns", Pace(0, False)),
    ("learns", Pace(0, True)),  # it has no layer more that learns
    ("learn_all", Pace(0, False)),
    ("learn_all", Pace(0, True)),
    ("learn_all", Pace(1, True)),
]


@pytest.mark.parametrize(("name", "pace"), PACES)
def test_learning(name, pace, request):
    """A model that learns, changed by an adapter: with latents, so in two bands of several steps each."""
    path = request.getfixturevalue(name)
    pixels, model = make_golden.synthetic(42, 46, 6), load_weights(path)
    adapter = chunk.pack(make_golden.some_adapter(model.local, [1] * model.config["layers"] + [2]), model.tables)
    planes = Planes(3, 256, model.id, tile_size=64, lane_symbols=500, pace=pace)

    for code in (with_latents, without_latents):

        def encode(codec, tile, coded, lane_symbols, code=code):
            made = code(Draft(codec, tile, coded), lane_symbols)
            assert made is not None
            return made[0]

        data = make_golden.write_planes(Picture(pixels), [(TileCodec(model), planes)], [adapter], encode)
        (found,) = plain_decoder.decode(data, path)
        assert same(found.pixels, pixels)


@pytest.mark.parametrize(("name", "pace"), PACES)
@pytest.mark.parametrize("levels", [101, 4096, 65536])
def test_learning_deep(name, pace, levels, request):
    """A model that learns samples of other levels: with a shift and without, of one channel and of three."""
    path = request.getfixturevalue(name)
    rng, model = np.random.default_rng(levels), load_weights(path)
    smooth = make_golden.synthetic(23, 30, 6) / 256 + rng.normal(0, 0.01, (23, 30, 3))
    pixels = (smooth * levels).clip(0, levels - 1).astype(np.uint8 if levels <= 256 else np.uint16)
    for channels in (1, 3):
        picture = Picture(pixels if channels == 3 else np.ascontiguousarray(pixels[..., 0]), levels=levels)
        for shift in (0, 5) if levels > 256 else (0,):
            planes = Planes(channels, levels, model.id, shift, tile_size=64, lane_symbols=500, pace=pace)
            data = make_golden.write_planes(picture, [(TileCodec(model), planes)])
            assert container.read(data).parts[0].records[0].method not in container.STORED
            (found,) = plain_decoder.decode(data, path)
            assert same(found.pixels, picture.pixels)


def test_metadata(tiny):
    """Any number of ancillary chunks."""
    contents = container.read((DATA / "grey.vlae").read_bytes())
    metadata = [container.Metadata(0, 1, name, value) for name, value in (("icc", b"profile"), ("one", b"1"))]
    data = container.write(contents.header, contents.parts, metadata)
    (found,) = plain_decoder.decode(data, tiny)
    assert same(found.pixels, expected("grey"))
    assert found.metadata == {"icc": b"profile", "one": b"1"}


def noise(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


RNG = np.random.default_rng(2)
STORED = {
    "noise": Picture(noise(20, 30, 3)),
    "grey noise": Picture(noise(20, 30)),
    "bilevel noise": Picture(noise(20, 30) > 127),
    "repeats": Picture(np.tile(noise(8, 8, 3), (10, 10, 1))),
    "two bits": Picture(noise(9, 7) // 64, levels=4),
    "four bits of bands": Picture(noise(9, 7, 5) // 16, levels=16),
    "five levels": Picture(noise(9, 7) // 52, levels=5),
    "deep noise": Picture(RNG.integers(0, 65536, (9, 7, 3), np.uint16)),
    "deep bands": Picture(RNG.integers(0, 300, (9, 7, 2), np.uint16), levels=300, mode="bands"),
    "values": Picture(np.array([3, 900, 7, 65535], np.uint16)[noise(30, 20) // 64]),
    "int8": Picture(noise(9, 7).view(np.int8)),
    "int16": Picture(RNG.integers(-32768, 32768, (9, 7, 2), np.int16), mode="LA"),
    "uint32": Picture(RNG.integers(0, 2**32, (9, 7), np.uint32)),
    "int32": Picture(RNG.integers(-(2**31), 2**31, (9, 7), np.int32)),
    "float16": Picture(RNG.normal(size=(9, 7)).astype(np.float16)),
    "float32": Picture(RNG.normal(size=(9, 7, 3)).astype(np.float32)),
    "float64": Picture(RNG.normal(size=(9, 7))),
    "palette and alpha": Picture(noise(9, 7, 2) // 9, mode="PA", palette=noise(20, 4)),
    "blocks": Picture(noise(4, 5, 4).repeat(4, axis=0).repeat(3, axis=1)[:15, :14]),
}


@pytest.mark.parametrize("name", STORED)
def test_stored(name, tiny):
    """Mostly noise, which models do not code well."""
    pictures = [STORED[name], STORED[name].replaced(pixels=np.ascontiguousarray(STORED[name].pixels[::-1]))]
    paths = [weights_folder() / f"{name}.safetensors" for name in ("photo", "luma", "mnist-binary")]
    for data in (compress(pictures, effort=1), compress_many(pictures, effort=1, groups=1)):
        for found, picture in zip(plain_decoder.decode(data, *paths), pictures, strict=True):
            assert found.pixels.dtype == picture.pixels.dtype
            assert same(found.pixels, picture.pixels)
            assert found.mode == picture.mode


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [2, 3, 16, 256])
def test_webp(channels, levels):
    symbols = RNG.integers(0, levels, (9, 14, channels)).astype(np.uint8)
    stream = stored.pack_webp(symbols, 50)
    assert same(plain_decoder.stored(plain_decoder.WEBP, stream, [(9, 14)], channels, levels)[0], symbols)


@pytest.mark.parametrize("levels", [4, 256, 65536])
def test_filtered(levels):
    """The second filter of LZMA."""
    kind = np.uint8 if levels <= 256 else np.uint16
    symbols = RNG.integers(0, levels, (6, 5, 3)).astype(kind)
    packed = stored.pack(symbols, levels)
    distance = packed.shape[2]
    flat = packed.reshape(-1, distance)
    raw = np.diff(flat, axis=0, prepend=np.zeros((1, distance), np.uint8)).tobytes()
    stream = b"\1" + lzma.compress(raw, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    assert same(plain_decoder.stored(plain_decoder.LZMA, stream, [(6, 5)], 3, levels)[0], symbols)
    (found,) = stored.restore(container.Method.LZMA, stream, [(6, 5)], 3, levels)
    assert same(found, symbols)


@pytest.mark.parametrize("at", [5, 20, 40, -300, -5])
def test_damage(at, tiny):
    data = bytearray((DATA / "strip.vlae").read_bytes())
    data[at] ^= 1
    with pytest.raises(plain_decoder.Damage):
        plain_decoder.decode(bytes(data), tiny)


def test_another_model():
    with pytest.raises(plain_decoder.Damage, match="another model"):
        plain_decoder.decode((DATA / "strip.vlae").read_bytes(), weights("cifar10"))
