"""Models that learn while they code, in Node: the very samples, and typed errors for what no file may say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from test_web_node import decoded, repaired, shown  # type: ignore[import-not-found]

from vlae_codec import compress
from vlae_codec.adapter import chunk
from vlae_codec.api import decompress_pictures
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import MAX_SLOW, Pace
from vlae_codec.errors import CorruptFile
from vlae_codec.format import container
from vlae_codec.format import fields as header_fields
from vlae_codec.format.container import Method, read
from vlae_codec.format.header import Planes
from vlae_codec.images.picture import Picture
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.learning import Moments, learning_tensors
from vlae_codec.models.weights_file import save_weights, write
from vlae_codec.weights.model import load_weights, read_weights, weights_folder

MODELS: dict[str, dict[str, Any]] = {
    "grey": {"channels": 1},
    "bilevel": {"channels": 1, "levels": 2, "layers": 2},
    "photo": {"mixtures": 5, "layers": 3, "hidden": 40},
    "shallow": {"layers": 1},
}
LAYERS = ["learn.out", "learn.hidden.2", "learn.hidden.1"]  # of the photo model
WHOLE, LAST = Pace(0), Pace(0, whole=False)
PACES = [None, WHOLE, LAST, Pace(1), Pace(1, whole=False), Pace(MAX_SLOW), Pace(MAX_SLOW, whole=False)]


@pytest.fixture(scope="module")
def models(random_vlae, tmp_path_factory):
    """A weight file of each of these random models that can learn, with preconditioners for moments of no sense."""
    folder, rng = tmp_path_factory.mktemp("learning"), np.random.default_rng(3)
    for name, changes in MODELS.items():
        vlae, tensors = random_vlae(**changes), integer_tensors(random_vlae(**changes))
        moments = []
        for layer in (vlae.local.out, *reversed(list(vlae.local.hidden)[1:])):
            inputs, outputs = layer.in_features + 1, layer.out_features
            f = rng.normal(size=(4 * inputs, inputs)) * rng.uniform(0.1, 1.5, inputs) + 0.2
            moments.append(Moments(f.T @ f / len(f), *rng.uniform(0.02, 0.3, (2, outputs)) ** 2))
        more = learning_tensors(vlae, tensors, moments)
        save_weights(folder / f"{name}.safetensors", vlae.config.to_dict(), tensors | more)
    return folder


def coded(path, pixels, payload=None, **fields):
    """The file of a picture whose planes are coded by a model in one group."""
    codec = TileCodec(load_weights(path))
    picture = pixels if isinstance(pixels, Picture) else Picture(pixels)
    channels = 1 if picture.pixels.ndim == 2 else picture.pixels.shape[2]
    planes = Planes(channels, picture.levels, codec.model.id, **{"lane_symbols": 3000, **fields})
    data: bytes = make_golden.write_planes(picture, [(codec, planes)], [payload])
    return data


@pytest.fixture
def files(models, learns, synthetic):
    """(weight file, its file) of pictures whose models learn."""
    pixels = synthetic(40, 61, 2)
    other = 255 - synthetic(70, 90, 9)[..., ::-1]
    deep = pixels.astype(np.uint16) * 251 + pixels[::-1] // 5
    alpha = np.dstack([other, other[..., 0]])
    bits = Picture((synthetic(50, 43, 3)[..., 0] > 120).astype(np.uint8), mode="1", levels=2)
    path = {name: models / f"{name}.safetensors" for name in MODELS}
    tiny = load_weights(learns)
    shipped = weights_folder() / "photo-learner.safetensors"
    payload = chunk.pack(make_golden.some_adapter(tiny.local, [2, 3]), tiny.tables)
    photo = load_weights(path["photo"])
    deeper = chunk.pack(make_golden.some_adapter(photo.local, [1, 2, 1, 2]), photo.tables)
    fine, grey = Picture(deep, levels=1 << 16), Picture(deep[..., 0] >> 4, levels=1 << 12)
    return [
        *((path["photo"], coded(path["photo"], pixels, pace=pace)) for pace in PACES),
        *((path["bilevel"], coded(path["bilevel"], bits, pace=pace)) for pace in (WHOLE, LAST)),
        *((path["photo"], coded(path["photo"], pixels, deeper, pace=pace)) for pace in (WHOLE, LAST)),
        *((path["photo"], coded(path["photo"], fine, shift=5, pace=pace)) for pace in (WHOLE, LAST)),
        (path["photo"], coded(path["photo"], pixels, pace=WHOLE, tile_size=32)),
        (path["shallow"], coded(path["shallow"], pixels, pace=WHOLE)),
        (learns, coded(learns, pixels, pace=LAST, tile_size=32)),
        (learns, coded(learns, pixels, payload, pace=Pace(1))),
        (learns, coded(learns, pixels[..., 1], pace=Pace(2))),
        (learns, compress(alpha, model=learns, effort=2, origin="none", threads=1)),
        (shipped, compress(make_golden.pasts()["values"].pixels, model=shipped, effort=2, origin="values", threads=1)),
        (path["grey"], coded(path["grey"], pixels[..., 0], pace=LAST)),
        (path["grey"], coded(path["grey"], grey, shift=1, pace=Pace(1, whole=False))),
        (path["grey"], coded(path["grey"], Picture(pixels[..., 0] // 3, levels=86), pace=WHOLE)),
    ]


def test_learning(node, files, tmp_path):
    """With and without an adapter and latents, of one and of three channels, of two levels; the last layer, and all but
    the first, at several rates.
    """
    paths, methods = [tmp_path / f"{i}.vlae" for i in range(len(files))], set()
    for path, (_, data) in zip(paths, files, strict=True):
        path.write_bytes(data)
        contents = read(data)
        assert any(part.planes.pace for part in contents.parts) or path is paths[0]
        methods |= {record.method for record in contents.records if record.method < Method.RAW}
    assert methods == {Method.NO_LATENTS, Method.LATENTS}
    models = sorted({str(model) for model, _ in files})
    for i, found in enumerate(decoded(node, *paths, models=models)):
        wanted = decompress_pictures(files[i][1], model=files[i][0], threads=1)
        assert found == [shown(one) for one in wanted], i


def test_paces_matter(files):
    """Each pace gives other streams, so that a decoder that learnt at another one, or not, would find out."""
    streams = [[record.data for record in read(data).records] for _, data in files[: len(PACES)]]
    assert all(one != other for i, one in enumerate(streams) for other in streams[:i])


def spoilt(monkeypatch, data, method, **fields):
    """A file whose first group of planes, and all of its streams, say something else, which no writer would write."""
    contents = read(data)
    (layout,) = contents.header.layouts
    first, *others = layout.planes
    layout = replace(layout, planes=(replace(first, **fields), *others))
    parts = [replace(part, layout=layout, planes=planes) for part, planes in zip(contents.parts, layout.planes)]
    parts[0] = replace(parts[0], records=tuple(replace(record, method=method) for record in parts[0].records))
    with monkeypatch.context() as patched:
        for module in (container, header_fields):
            patched.setattr(module, "check_header", lambda *_: None)
        return container.write(replace(contents.header, layouts=(layout,)), parts)


def test_refused(node, monkeypatch, learns, synthetic, tmp_path):
    """What the header may not say is damage to both readers."""
    pixels = synthetic(20, 26, 4)
    whole = coded(learns, pixels)
    cases = {
        "eight": spoilt(monkeypatch, whole, Method.NO_LATENTS, pace=Pace(7, whole=False)),
        "chains": spoilt(monkeypatch, whole, Method.CHAIN, pace=WHOLE, chains=1),
        "no model": spoilt(monkeypatch, whole, Method.RAW, pace=LAST, model_id=None),
        "shift": spoilt(monkeypatch, whole, Method.NO_LATENTS, pace=WHOLE, shift=3),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorruptFile, match="in the header"):
            read(data)
    answers = decoded(node, *(tmp_path / name for name in cases), models=[str(learns)])
    for name, found in zip(cases, answers, strict=True):
        assert found["code"] == "CorruptFile", name
        assert ("shift" if name == "shift" else "learning") + " in the header" in found["message"], name


def test_model_that_cannot(node, learns, tiny, synthetic, tmp_path):
    """A file whose model has no tensors of learning is damaged."""
    data = coded(learns, synthetic(20, 26, 4), pace=WHOLE)
    data = repaired(data.replace(load_weights(learns).id, load_weights(tiny).id))
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(CorruptFile, match="learn"):
        decompress_pictures(data, model=tiny, threads=1)
    (found,) = decoded(node, tmp_path / "file", models=[str(tiny)])
    assert (found["code"], "cannot learn" in found["message"]) == ("CorruptFile", True)


def test_tensors(node, models, synthetic, tmp_path):
    """Weight files with a part of the tensors, with numbers out of range, or of digits that do not learn."""
    weights = models / "photo.safetensors"
    config, tensors, _ = read_weights(weights)
    (tmp_path / "file").write_bytes(coded(weights, synthetic(20, 26, 4), pace=WHOLE))
    left_out = [*(f"{name}.reduce" for name in LAYERS), "learn.out.back", "learn.hidden.1.up.addend", "learn.slope"]
    cases = {f"no {name}": {key: tensor for key, tensor in tensors.items() if key != name} for name in left_out}
    cases["back"] = tensors | {"learn.hidden.1.back": tensors["learn.out.back"]}
    most = {"diagonal": 1 << 16, "reduce": 24, "scale": 1 << 12, "rate": 1 << 15, "back": 1 << 16, "slope": 1 << 12}
    for name in tensors:
        if name.startswith("learn.") and (part := name.split(".")[-1]) in most:
            for value in (-1, most[part] + 1):
                cases[f"{name} {value}"] = tensors | {name: np.full_like(tensors[name], value)}
    out, hidden = tensors["local.out.weight"], tensors["local.hidden.1.weight"]
    cases["one digit"] = tensors | {"local.out.weight": np.ascontiguousarray(out[:, : out.shape[1] // 2])}
    cases["two digits"] = tensors | {"local.hidden.1.weight": np.tile(hidden, 2)}
    assert len(cases) == 7 + 2 * 15 + 2
    for name, some in cases.items():
        broken: Path = tmp_path / "broken.safetensors"
        identity = load_weights(weights).id.hex()
        write(broken, some, {"vlae-codec": "1", "config": json.dumps(dict(config), sort_keys=True), "id": identity})
        (found,) = decoded(node, tmp_path / "file", models=[str(broken)], threads=0)
        assert found["code"] == "WeightsError", name
        assert "the weight file is malformed" in found["message"], name
        assert "says another" not in found["message"], name


def test_described(node, models, synthetic, tmp_path):
    """What learning takes, for the limits, and what is said of the streams of models that learn."""
    for i, pace in enumerate([None, WHOLE, LAST]):
        (tmp_path / str(i)).write_bytes(coded(models / "photo.safetensors", synthetic(20, 26, 4), pace=pace))
    for name in MODELS:
        learning = load_weights(models / f"{name}.safetensors").learning
        assert learning is not None
        answers = node("learning.mjs", models / f"{name}.safetensors", *(tmp_path / str(i) for i in range(3)))
        work, *named = map(json.loads, answers.splitlines())
        for found, pace in ((work["whole"], WHOLE), (work["last"], LAST)):
            products = learning.at(pace).multiply_adds
            assert products - len(learning.layers) < found <= products, name
    words = [[part.partition(", ")[2] for part in parts if ", " in part] for parts in named]
    assert words == [["modelled"], ["modelled, learning"], ["modelled, learning in the last layer"]]
