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
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.streams import with_latents
from vlae_codec.coder.tile import TileCodec
from vlae_codec.format import container, stored
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.weights_file import save_weights
from vlae_codec.pictures.modes import tile_of
from vlae_codec.weights.model import load_weights, weights_folder

DATA = make_golden.DATA
LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("cifar10", "photo-gray", "mountains")]


def weights(name):
    shipped = {"mountains": "photo"}.get(name, name)
    path = weights_folder() / f"{shipped}.safetensors"
    return path if path.exists() else DATA / "tiny.safetensors"


def expected(name):
    path = make_golden.EXAMPLE if name == "mountains" else DATA / f"{name.replace('adapted', 'colour')}.png"
    return np.array(Image.open(path))


def same(found, pixels):
    return np.array_equal(found, pixels.reshape(found.shape))


def test_independent():
    """It imports nothing of the package."""
    tree = ast.parse(Path(plain_decoder.__file__).read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


@pytest.mark.parametrize("name", ["colour", "grey", "strip", "pixel", "tiles", "adapted", "mnist-binary", *LONG])
def test_golden(name):
    (found,) = plain_decoder.decode((DATA / f"{name}.vlae").read_bytes(), weights(name))
    assert same(found, expected(name))


def test_many(tiny):
    found = plain_decoder.decode((DATA / "many.vlae").read_bytes(), tiny)
    assert len(found) == len(make_golden.many_pictures())
    assert all(map(same, found, make_golden.many_pictures()))


SHAPES = {
    "three flow steps, stride 16": {"flow_steps": 3, "stride": 16, "layers": 3, "latents": 3},
    "no flow, stride 4, grey": {"flow_steps": 0, "stride": 4, "channels": 1, "window": (3, 1)},
    "one flow step, bilevel": {"flow_steps": 1, "channels": 1, "levels": 2, "mixtures": 1, "window": (7, 4)},
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
    header = container.Header(38, 45, mode, codec.model.id, 64, 500)
    draft = Draft(codec, tile_of(pixels, config["channels"]), header.channels)
    made = with_latents(draft, header.lane_symbols)
    assert made is not None
    (found,) = plain_decoder.decode(container.write(header, [made[0]]), path)
    assert same(found, pixels)


def test_metadata(tiny):
    """Any number of ancillary chunks."""
    contents = container.read((DATA / "grey.vlae").read_bytes())
    metadata = {"icc": b"profile", "one": b"1", "two": b"2"}
    data = container.write(contents.header, contents.tiles, metadata)
    assert same(plain_decoder.decode(data, tiny)[0], expected("grey"))


def noise(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


STORED = {
    "noise": noise(20, 30, 3),
    "grey noise": noise(20, 30),
    "bilevel noise": noise(20, 30) > 127,
    "repeats": np.tile(noise(8, 8, 3), (10, 10, 1)),
}


@pytest.mark.parametrize("name", STORED)
def test_stored(name, tiny):
    data = compress(STORED[name], effort=1)
    wanted = plain_decoder.LZMA if name == "repeats" else plain_decoder.RAW
    assert [method for method, _ in plain_decoder.read_file(data).records] == [wanted]
    assert same(plain_decoder.decode(data, tiny)[0], STORED[name])


def test_stored_differences():
    """The second filter of LZMA."""
    pixels = noise(6, 5, 3)
    flat = pixels.reshape(-1, 3)
    raw = np.diff(flat, axis=0, prepend=np.zeros((1, 3), np.uint8)).tobytes()
    stream = lzma.compress(raw, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    (found,) = plain_decoder.stored(plain_decoder.LZMA, b"\1" + stream, [(6, 5)], 1)
    assert same(found, pixels)
    (found,) = stored.restore(container.Method.LZMA, b"\1" + stream, [(6, 5)], "RGB")
    assert same(found, pixels)


def test_stored_pictures(tiny):
    pictures = [noise(5, 7) > 127, noise(9, 3) > 127, noise(1, 17) > 127]
    data = compress_many(pictures, effort=1, groups=1)
    assert {method for method, _ in plain_decoder.read_file(data).records} == {plain_decoder.RAW}
    assert all(map(same, plain_decoder.decode(data, tiny), pictures))


@pytest.mark.parametrize("at", [5, 20, 40, -300, -5])
def test_damage(at, tiny):
    data = bytearray((DATA / "strip.vlae").read_bytes())
    data[at] ^= 1
    with pytest.raises(plain_decoder.Damage):
        plain_decoder.decode(bytes(data), tiny)


def test_another_model():
    with pytest.raises(plain_decoder.Damage, match="another model"):
        plain_decoder.decode((DATA / "strip.vlae").read_bytes(), weights("cifar10"))
