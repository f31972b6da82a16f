"""Weight files: integers only, named by what is in them, checked before use."""

import json
import os

import numpy as np
import pytest

from vlae_codec.errors import InputError, UnknownModel, WeightsError
from vlae_codec.models import weights_file
from vlae_codec.models.export import make_tables
from vlae_codec.models.weights_file import save_weights
from vlae_codec.native.mixture import Tables
from vlae_codec.weights import model
from vlae_codec.weights.model import (
    build,
    default_model_name,
    find_model,
    load_weights,
    model_id,
    read_weights,
    weights_folder,
)


@pytest.fixture(scope="module")
def parts(tiny):
    """Configuration and tensors of the tiny model."""
    return read_weights(tiny)[:2]


TABLES = make_tables()


def test_sanity(tiny, parts, tmp_path):
    config, tensors = parts
    made = load_weights(tiny)
    assert made.config == config
    assert made.id == model_id(config, tensors)
    path = tmp_path / "again.safetensors"
    assert save_weights(path, config, tensors) == made.id
    again = load_weights(path)
    assert again.id == made.id
    assert again.config == config
    assert np.array_equal(again.local.layers[0].weight, made.local.layers[0].weight)


@pytest.mark.parametrize("path", sorted(weights_folder().glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped(path):
    no_floats(path)
    assert find_model(path.stem).id == find_model(None, load_weights(path).id).id == load_weights(path).id


def test_no_floats(tiny):
    no_floats(tiny)


def no_floats(path):
    """No float between pixels and bits: not in a tensor of a weight file."""
    kinds = {name: tensor.dtype.kind for name, tensor in read_weights(path)[1].items()}
    assert set(kinds.values()) == {"i"}


def test_id(parts):
    """It changes with any tensor, name, shape or type and any field of the configuration, and with nothing else."""
    config, tensors = parts
    ids = [model_id(config, tensors)]
    assert model_id(dict(reversed(config.items())), dict(reversed(tensors.items()))) == ids[0]
    assert model_id({**config, "window": tuple(config["window"])}, tensors) == ids[0]
    for name, tensor in tensors.items():
        changed = tensor.copy()
        changed.flat[-1] ^= 1
        ids.append(model_id(config, {**tensors, name: changed}))
    for field, value in config.items():
        ids.append(model_id({**config, field: [*value, 1] if isinstance(value, list) else value + 1}, tensors))
    null = tensors["null"]
    for other in ({"null": null.reshape(1, -1)}, {"null": null.astype(np.int32)}, {"zero": null}):
        ids.append(model_id(config, {**{k: v for k, v in tensors.items() if k != "null"}, **other}))
    assert len(set(ids)) == len(ids)
    assert {len(i) for i in ids} == {8}


def test_find_model(tiny, tmp_path, monkeypatch):
    known = load_weights(tiny).id
    for wanted in (tiny, str(tiny)):
        assert find_model(wanted).id == find_model(wanted, known).id == known
    with pytest.raises(UnknownModel, match="tiny"):
        find_model(tiny, bytes(8))
    with pytest.raises(UnknownModel, match=r"0000000000000000.*photo"):
        find_model(None, bytes(8))
    for missing in ("no-such-model", tmp_path / "none.safetensors"):
        with pytest.raises(InputError, match="no model"):
            find_model(missing)
    monkeypatch.setattr(model, "weights_folder", lambda: tiny.parent)
    assert find_model("tiny").id == find_model(None, known).id == find_model(known.hex()).id == known


def test_search_path(tiny, parts, tmp_path, monkeypatch):
    """Folders and files of VLAE_CODEC_MODELS come before the built-in weights; broken files there do no harm."""
    config, tensors = parts
    folder, single = tmp_path / "folder", tmp_path / "single.safetensors"
    folder.mkdir()
    (folder / "broken.safetensors").write_bytes(b"?")
    single.write_bytes(tiny.read_bytes())
    changed = {**tensors, "null": with_first(tensors["null"], 3)}
    mine = save_weights(folder / "photo.safetensors", config, changed)
    monkeypatch.setenv("VLAE_CODEC_MODELS", os.pathsep.join(["", str(folder), str(tmp_path / "none"), str(single)]))
    known = load_weights(tiny).id
    assert find_model("single").id == find_model(None, known).id == known
    assert find_model().id == find_model("photo").id == find_model(None, mine).id == mine
    shipped = load_weights(weights_folder() / "photo.safetensors").id
    assert find_model(None, shipped).id == shipped  # by id also what a name of yours stands in for
    with pytest.raises(UnknownModel) as caught:
        find_model(None, bytes(8))
    for word in (
        f"{folder} (broken, photo)",
        "unreadable",
        "broken.safetensors",
        "none (no models)",
        "built-in (",
        "--model",
    ):
        assert word in str(caught.value)
    assert "VLAE_CODEC_MODELS" in str(caught.value)
    with pytest.raises(WeightsError, match=r"broken\.safetensors"):
        find_model("broken")
    with pytest.raises(InputError, match="single"):
        find_model("missing")


def test_noted_id(parts, tmp_path, monkeypatch):
    """The id in a file spares reading it, and is not believed."""
    config, tensors = parts
    path = tmp_path / "noted.safetensors"
    identity = save_weights(path, config, tensors)
    assert read_weights(path, with_tensors=False) == (config, {}, identity.hex())
    monkeypatch.setenv("VLAE_CODEC_MODELS", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(model, "weights_folder", lambda: tmp_path / "none")
        patch.setattr(model, "load_weights", None)  # not called
        with pytest.raises(UnknownModel):
            find_model(None, bytes(8))
    path.write_bytes(path.read_bytes().replace(identity.hex().encode(), b"0" * 16))
    with pytest.raises(WeightsError, match="0000000000000000"):
        load_weights(path)
    with pytest.raises(UnknownModel, match="says 0000000000000000"):
        find_model(None, bytes(8))


def test_default_model_name(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "weights_folder", lambda: tmp_path)
    assert [default_model_name(mode) for mode in ("RGB", "L", "1")] == ["photo", "photo", "mnist-binary"]
    (tmp_path / "luma.safetensors").write_bytes(tiny.read_bytes())
    assert [default_model_name(mode) for mode in ("L", "luma", "chroma")] == ["luma"] * 3
    better = {"luma": "luma-learner", "RGB": "photo-best"}
    assert [default_model_name(mode, True, True) for mode in better] == ["luma", "photo"]
    for name in better.values():
        (tmp_path / f"{name}.safetensors").write_bytes(tiny.read_bytes())
    assert [default_model_name(mode, True, True) for mode in better] == [*better.values()]
    assert [default_model_name(mode) for mode in better] == ["luma", "photo"]


def test_truncated_and_tampered(tiny, tmp_path):
    """A damaged file is refused, or is another model: never the same id with other numbers."""
    data, path = tiny.read_bytes(), tmp_path / "damaged.safetensors"
    for length in (0, 7, 100, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            load_weights(path)
    path.write_bytes(data + b"?")
    with pytest.raises(WeightsError):
        load_weights(path)
    good, refused = load_weights(tiny).id, 0
    bits = np.random.default_rng(1).integers(0, 8 * len(data), 60).tolist()
    for bit in [*bits, *range(0, 64, 5), *range(100, 12000, 397)]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert load_weights(path).id != good
        except WeightsError:
            refused += 1
    assert refused > 10


def test_other_files(parts, tmp_path):
    config, tensors = parts
    path = tmp_path / "file.safetensors"
    for metadata in (
        {},
        {"vlae-codec": "2", "config": json.dumps(config)},
        {"vlae-codec": "1"},
        {"vlae-codec": "1", "config": "{"},
        {"vlae-codec": "1", "config": "{}"},
    ):
        weights_file.write(path, tensors, metadata)
        with pytest.raises(WeightsError):
            load_weights(path)
    with pytest.raises(WeightsError):
        load_weights(tmp_path)


def test_missing_tensor(parts):
    config, tensors = parts
    for name in tensors:
        with pytest.raises(WeightsError, match=name):
            build(config, {k: v for k, v in tensors.items() if k != name})


def with_first(array, value):
    changed = array.copy()
    changed.flat[0] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("local.out.weight", lambda v: np.concatenate([v, np.full((1024, v.shape[1]), -128, np.int8)])),
        ("encoder.stem.weight", lambda v: np.full((1024, v.shape[1]), 127, np.int8).repeat(2, axis=0)),
        ("local.hidden.0.multiplier", lambda v: with_first(v, (1 << 20) + 1)),
        ("topdown.out.multiplier", lambda v: v[:-1]),
        ("mixture.out.addend", lambda v: with_first(v, 1 << 60)),
        ("affine.0.out.shift", lambda v: v + 41),
        ("local.hidden.0.weight", lambda v: v.astype(np.int16)),
        ("local.hidden.0.weight", lambda v: v.astype(np.float32) + 0.25),
        ("local.hidden.0.weight", lambda v: v[:, 0].copy()),
        ("local.out.addend", lambda v: v.astype(np.float64)),
        ("null", lambda v: v.astype(np.int32)),
        ("null", lambda v: v[:-1]),
        ("tables.sigmoid", lambda v: v.astype(np.float64)),
        ("tables.sigmoid", lambda v: v[::-1].copy()),
        ("tables.exp", lambda v: v * 0),
        ("tables.inverse", lambda v: v[:-1]),
    ],
)
def test_invalid(parts, tmp_path, monkeypatch, name, change):
    """What breaks a bound or a shape is neither written nor read."""
    config, tensors = parts
    bad, path = {**tensors, name: change(tensors[name])}, tmp_path / "bad.safetensors"
    with pytest.raises(WeightsError):
        save_weights(path, config, bad)
    assert not path.exists()
    metadata = {"vlae-codec": "1", "config": json.dumps(config)}
    for kind, code in (("float32", "F32"), ("float64", "F64"), ("int16", "I16")):
        monkeypatch.setitem(weights_file.NAMES, kind, code)
    weights_file.write(path, bad, metadata)
    with pytest.raises(WeightsError):
        load_weights(path)


def test_invalid_config(parts):
    config, tensors = parts
    for field, value in (("mixtures", 3), ("latents", 3), ("stride", 32), ("flow_steps", 3), ("layers", 2)):
        with pytest.raises(WeightsError):
            build({**config, field: value}, tensors)


def test_base(random_codec):
    """The prior without flow steps is a constant row, within its limits."""
    made = random_codec(flow_steps=0).model
    assert made.base is not None
    assert made.mixture is None
    assert made.base.shape == (1, 5)


def test_invalid_base(random_vlae):
    from vlae_codec.models.export import integer_tensors

    vlae = random_vlae(flow_steps=0)
    config, tensors = vlae.config.to_dict(), integer_tensors(vlae)
    build(config, tensors)
    for bad in (tensors["base"][:, 1:], tensors["base"][0], with_first(tensors["base"], 1 << 20)):
        with pytest.raises(WeightsError, match="base"):
            build(config, {**tensors, "base": bad})


# ---------------------------------------------------------------------------------------------------- tables


def changed(field, at, value):
    table = getattr(TABLES, field).copy()
    table[at] = value
    return TABLES._replace(**{field: table})


@pytest.mark.parametrize(
    "bad",
    [
        *(TABLES._replace(**{field: getattr(TABLES, field)[:-1]}) for field in Tables._fields),
        TABLES._replace(sigmoid=TABLES.sigmoid[::-1]),
        changed("sigmoid", 0, -1),
        changed("sigmoid", -1, (1 << 20) + 1),
        changed("sigmoid", 5000, 0),
        changed("exp", 3, 0),
        changed("exp", 0, 4097),
        changed("inverse", 159, 0),
        changed("outer_scale", 0, 0),
        changed("outer_inverse", 7, -1),
        changed("inverse", 0, (1 << 22) + 1),
        changed("outer_scale", 191, (1 << 24) + 1),
        changed("outer_inverse", 0, (1 << 20) + 1),
        TABLES._replace(inverse=TABLES.inverse.astype(np.float64)),
        TABLES._replace(exp=TABLES.exp.astype(np.int64)),
    ],
)
def test_tables(tiny, bad):
    """Tables of other sizes, types or ranges, and a sigmoid that falls, are refused."""
    config, tensors, _ = model.read_weights(tiny)
    for made, fine in ((TABLES, True), (bad, False)):
        given = {**tensors, **{f"tables.{field}": table for field, table in made._asdict().items()}}
        if fine:
            model.build(config, given)
        else:
            with pytest.raises(WeightsError, match=r"tables\."):
                model.build(config, given)
