"""Hostile weight files: each is refused with a WeightsError, cheaply, and hinders no other model.

The long fuzzing, which takes some minutes:

    pytest -q -m fuzz tests/weights/test_hostile_weights.py
"""

import copy
import json
import logging
import os
import random
import subprocess
import sys
import tracemalloc

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner

from vlae_codec import decompress
from vlae_codec.cli import main
from vlae_codec.errors import InputError, UnknownModel, VlaeError, WeightsError
from vlae_codec.models.weights_file import save_weights, write
from vlae_codec.native.network import Layer, Packed
from vlae_codec.weights import cards, model, safetensors, schema
from vlae_codec.weights.model import build, find_model, find_weights, load_weights, read_weights

TINY = (make_golden.DATA / "tiny.safetensors").read_bytes()
LENGTH = int.from_bytes(TINY[:8], "little")
HEADER, DATA = json.loads(TINY[8 : 8 + LENGTH]), TINY[8 + LENGTH :]
CONFIG = json.loads(HEADER["__metadata__"]["config"])


@pytest.fixture(scope="module")
def tensors(tiny):
    return read_weights(tiny)[1]


def joined(header, data=DATA):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def with_config(text):
    """The tiny model with another configuration; an object is written as JSON."""
    text = text if isinstance(text, str) else json.dumps(text)
    return joined({**HEADER, "__metadata__": {**HEADER["__metadata__"], "config": text}})


def with_entry(name, **changes):
    return joined({**HEADER, name: {**HEADER[name], **changes}})


def with_tensor(name, dtype, shape, data):
    """The tiny model with one more tensor behind the others, or with another in the place of one."""
    begin = len(DATA)
    header = {**HEADER, name: {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + len(data)]}}
    return joined(header, DATA + data)


def with_value(name, value):
    """The tiny model with another first number in a tensor of int64."""
    begin = HEADER[name]["data_offsets"][0]
    return joined(HEADER, DATA[:begin] + value.to_bytes(8, "little", signed=True) + DATA[begin + 8 :])


ODD = [
    *(0, -1, 1 << 9, 10**9, 1 << 31, 1 << 63, 1 << 64, 10**30, -(10**30), 1.0, 2.5, 1e308, True, False, None, "", "3"),
    *([], [1], [3, 2, 1], [[3, 2], [3, 2]], [2, 2], [3, 0], [-3, 2], [3.0, 2], [True, 2], {}, {"a": 1}, "NaN"),
    *([10**9 + 1, 10**9], [float("nan"), 2], float("nan"), float("inf"), -float("inf")),
]
FIELDS = [*CONFIG, "levels"]
LONG = "9" * 100_000
DEEP = "[" * 200_000 + "]" * 200_000
CONFIGS: dict[str, object] = {
    **{f"{field}={value!r}": {**CONFIG, field: value} for field in FIELDS for value in ODD},
    **{f"no {field}": {k: v for k, v in CONFIG.items() if k != field} for field in CONFIG},
    **{f"{field} long": json.dumps(CONFIG)[:-1] + f', "{field}": {LONG}}}' for field in ("hidden", "new")},
    **{f"{field} twice": f'{{"{field}": {json.dumps(CONFIG[field])}, ' + json.dumps(CONFIG)[1:] for field in CONFIG},
    "new": {**CONFIG, "new": 1},
    "surrogate": {**CONFIG, "\ud800\n": 1},
    "null": {**CONFIG, "\0": 1},
    "deep": DEEP,
    "deep value": json.dumps(CONFIG)[:-1] + f', "hidden": {DEEP}}}',
    "unclosed": "[" * 200_000,
    "list": "[]",
    "number": "7",
    "text": '"config"',
    "empty": "",
    "none": "null",
    "nothing": "{}",
    "NaN": "NaN",
    "exponent": json.dumps(CONFIG).replace('"hidden": 32', '"hidden": 3.2e1'),
    "not JSON": "{'channels': 3}",
}
CONFIGS = {key: value for key, value in CONFIGS.items() if key not in ("levels=256", "channels=True")}
CONFIGS["channels true"] = {**CONFIG, "channels": True}
METADATA: list[object] = [None, [], "x", 3, {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": [1]}, {"vlae-codec": 1}]
DTYPES: list[object] = ["F8_E4M3", "F8_E5M2", "BF16", "F16", "U8", "U64", "BOOL", "i8", "", 1, None, [], {}]
HOSTILE: dict[str, bytes] = {
    **{f"config {name}": with_config(value) for name, value in CONFIGS.items()},
    **{f"metadata {value}": joined({**HEADER, "__metadata__": value}) for value in METADATA},
    **{
        f"{kind} {name}": with_entry(name, dtype=kind) for name in HEADER if name != "__metadata__" for kind in ("F64",)
    },
    **{f"dtype {kind}": with_entry("null", dtype=kind) for kind in DTYPES},
    **{f"lacks {name}": joined({k: v for k, v in HEADER.items() if k != name}) for name in HEADER},
    "extra": with_tensor("extra", "I8", [5], bytes(5)),
    "extra empty": with_tensor("extra", "I8", [0], b""),
    "extra surrogate": with_tensor("\ud800\n", "I8", [5], bytes(5)),
    "extra huge": with_tensor("extra", "I8", [1 << 24], bytes(1 << 24)),
    "base": with_tensor("base", "I32", [1, 5], bytes(20)),
    "base NaN": with_tensor("base", "F64", [1, 5], np.full(5, np.nan).tobytes()),
    "shape of another": with_entry("null", shape=[2, 2]),
    "shape true": with_entry("local.out.shift", shape=[True]),
    "shape float": with_entry("null", shape=[4.0]),
    "shape long": joined(json.dumps(HEADER).replace("[4]", f"[{LONG}]").encode()),
    "shift of two": with_tensor("local.out.shift", "I64", [2], bytes(16)),
    "shift of none": with_tensor("local.out.shift", "I64", [0], b""),
    "shift 0d": with_entry("local.out.shift", shape=[]),
    **{f"{name}={value}": with_value(name, value) for name in ("local.out.shift",) for value in (-1, 41, 1 << 40)},
    **{
        f"{name}={value}": with_value(name, value)
        for name in HEADER
        if name.endswith((".addend", ".multiplier"))
        for value in (-(1 << 63), 1 - (1 << 63), -(1 << 60), 1 << 60, (1 << 63) - 1)
    },
    **{f"{name}=-1": with_value(name, -1) for name in HEADER if name.startswith("tables.")},
    "twice": joined(b'{"null": {}, ' + json.dumps(HEADER).encode()[1:]),
    "NaN": joined(json.dumps({**HEADER, "null": float("nan")}).encode()),
    "deep": joined(DEEP.encode()),
    "UTF-16": joined(json.dumps(HEADER).encode("utf-16")),
    "header of 200 MB": (200 << 20).to_bytes(8, "little") + b"[" * 100,
    "longest header": joined(b'{"":[' + b"[]," * (safetensors.MAX_HEADER // 3 - 10) + b"0]}"),
    "longest strings": joined(("{" + ",".join(f'"{i}":""' for i in range(85_000)) + "}").encode()),
    "empty": b"",
    "short": b"?",
    "cut": TINY[:-1],
    "longer": TINY + b"?",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused(tmp_path, name):
    """By its own name: on one line, in less than a second of work and 300 MB."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(HOSTILE[name])
    refuse(path)


def refuse(path):
    tracemalloc.start()
    with pytest.raises(WeightsError, match=r"bad\.safetensors.* as a weight file: .*; check") as caught:
        find_model(path)
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize("size", [3 << 30, 200 << 20, safetensors.MAX_FILE + 1])
def test_sparse(tmp_path, size):
    """A large file is refused by its size, whatever the length of its header."""
    path = tmp_path / "bad.safetensors"
    for length in (LENGTH, size - 8):
        with open(path, "wb") as file:
            file.write(length.to_bytes(8, "little") + TINY[8:])
            file.truncate(size)
        refuse(path)


def special(folder):
    """Paths of things that are no regular files."""
    folder.mkdir(exist_ok=True)
    pipe, directory, dangling, loop, device = (folder / f"{name}.safetensors" for name in ("a", "b", "c", "d", "e"))
    os.mkfifo(pipe)
    directory.mkdir()
    dangling.symlink_to(folder / "nothing")
    loop.symlink_to(loop)
    device.symlink_to("/dev/zero")
    return [pipe, directory, dangling, loop, device]


def test_special(tmp_path):
    """A pipe is not waited for, nor a device read, whoever names it."""
    for path in special(tmp_path / "bad.safetensors"):
        refuse(path)
    for odd in ("no\0thing", "\ud800", "x" * 5000, "x/" * 5000, "/dev/zero/none", "", "."):
        with pytest.raises(VlaeError):
            load_weights(odd)
        if odd:
            with pytest.raises(VlaeError):
                find_model(odd)
    with pytest.raises(InputError):
        find_weights("no\0thing")


def test_search(tmp_path, tiny, monkeypatch, caplog):
    """Malformed files hinder no other model; each of them makes one line of warning."""
    folder = tmp_path / "folder"
    special(folder)
    names = list(HOSTILE)[::9]
    for i, name in enumerate(names):
        (folder / f"bad{i}.safetensors").write_bytes(HOSTILE[name])
    (folder / "line\nbreak\x1b.safetensors").write_bytes(b"?")
    if sys.platform == "linux":
        (folder / os.fsdecode(b"\xff.safetensors")).write_bytes(b"?")
    bad = len(os.listdir(folder))
    (tmp_path / "good.safetensors").write_bytes(TINY)
    entries = [folder, tmp_path / "none", "/dev/null", folder / "a.safetensors", "no\0thing", "x" * 5000, tmp_path]
    monkeypatch.setattr(os, "environ", {**os.environ, "VLAE_CODEC_MODELS": os.pathsep.join(map(str, entries))})
    strip = (make_golden.DATA / "strip.vlae").read_bytes()
    expected = decompress(strip, model=tiny)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert np.array_equal(decompress(strip), expected)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(set(lines)) == bad + 3
    assert all(line.startswith("skipped: ") and line.isprintable() for line in lines)
    assert find_model("good").id == load_weights(tiny).id
    with pytest.raises(UnknownModel, match=r"none \(no models\)") as caught:
        find_model(None, bytes(8))
    assert str(caught.value).isprintable()
    found, problems = cards.describe_models()
    assert "good" in {facts["name"] for facts in found}
    assert len(problems) == bad + 2  # the pipe is named twice, and two entries are no folders
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 0
    assert result.stdout.isascii()


def test_one_line(tmp_path):
    """The command line prints the warning as it is."""
    (tmp_path / "a.safetensors").write_bytes(b"?")
    (tmp_path / "b.safetensors").write_bytes(TINY)
    code = "import sys; from vlae_codec.weights.model import find_model; find_model(None, bytes.fromhex(sys.argv[1]))"
    env = {**os.environ, "VLAE_CODEC_MODELS": str(tmp_path)}
    identity = load_weights(tmp_path / "b.safetensors").id.hex()
    done = subprocess.run([sys.executable, "-c", code, identity], capture_output=True, text=True, check=True, env=env)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"skipped: cannot read {tmp_path}/a.safetensors as a weight file: ")


def test_vanishing(tmp_path, tiny, monkeypatch):
    """A file that goes after the listing, one that may not be read, a folder that cannot be listed."""
    monkeypatch.setenv("VLAE_CODEC_MODELS", str(tmp_path))
    monkeypatch.setattr(model, "weights_folder", lambda: tiny.parent)
    known = load_weights(tiny).id
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda path: ["gone.safetensors", "tiny.safetensors"])
        assert find_model(None, known).id == known
        assert cards.describe_models()[1]
    path = tmp_path / "closed.safetensors"
    path.write_bytes(TINY)

    def closed(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", closed)
        with pytest.raises(WeightsError, match=r"closed.*Permission denied"):
            load_weights(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", closed)
        with pytest.raises(UnknownModel, match="no models"):
            find_model(None, known)
    assert find_model(None, known).id == known


def test_shrinking(tmp_path):
    """A file that becomes shorter while it is read."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(TINY)
    with safetensors.refusing(path), safetensors.opened(path) as file:
        _, places = safetensors.read_header(file)
        os.truncate(path, 40_000)
        with pytest.raises(WeightsError, match="shorter"):
            safetensors.read_tensors(file, places)


def test_last_net(tmp_path, monkeypatch):
    """What no check foresees is a WeightsError, too."""
    for error in (MemoryError(), RecursionError("deep"), OverflowError(), OSError(5, "bad sector"), ValueError("x")):

        def fail(*args, error=error):
            raise error

        monkeypatch.setattr(safetensors, "read_header", fail)
        with pytest.raises(WeightsError, match=r"as a weight file: \w"):
            read_weights(make_golden.DATA / "tiny.safetensors")


def test_cards(tmp_path):
    """A card is as little believed as a weight file."""
    path = tmp_path / "a.safetensors"
    os.mkfifo(tmp_path / "a.md")
    assert cards.read_card(path) == {}
    (tmp_path / "b.md").mkdir()
    assert cards.read_card(tmp_path / "b.safetensors") == {}
    with open(tmp_path / "c.md", "wb") as file:
        file.truncate(3 << 30)
    assert cards.read_card(tmp_path / "c.safetensors") == {}


def test_addend():
    """The least int64 has no absolute value."""
    weight, multiplier = np.ones((2, 1), np.int8), np.ones(1, np.int64)
    Layer(weight, multiplier, np.array([1 - (1 << 60)]), 3).check("it")
    for addend in (-(1 << 63), -(1 << 60), 1 << 60):
        with pytest.raises(WeightsError, match="malformed"):
            Layer(weight, multiplier, np.array([addend]), 3).check("it")


def test_int8_minimum():
    """A weight of -128 counts as 128."""
    weight = np.full((1024, 1), -128, np.int8)
    with pytest.raises(WeightsError, match="accumulator"):
        Layer(weight, np.ones(1, np.int64), np.ones(1, np.int64), 3).check("it")


# ---------------------------------------------------------------------------------------------------- the schema


def test_forms(random_vlae):
    """The schema lists just what the export writes, for any configuration."""
    from vlae_codec.models.export import integer_tensors

    for changes in (
        {},
        {"flow_steps": 0, "stride": 4},
        {"flow_steps": 8, "stride": 16, "latents": 5, "layers": 3},
        {"channels": 1, "levels": 2, "window": (35, 1), "prior_window": (13, 3), "context": 9},
    ):
        vlae = random_vlae(**changes)
        config, made = vlae.config.to_dict(), integer_tensors(vlae)
        forms = schema.tensor_forms(schema.Config.of(config))
        assert forms.keys() == made.keys()
        for name, form in forms.items():
            assert made[name].dtype.name == form.dtype
            assert made[name].shape in form.shapes
        built = build(config, made)
        for network in (*built.encoder, *built.topdown, *built.affine, built.mixture, built.local):
            assert network is None or Packed(network).memory.size


def test_config():
    made = schema.Config.of({**CONFIG, "window": (5, 2)})
    assert made == schema.Config.of(CONFIG)
    assert made.levels == 256
    assert made.window == (5, 2)
    with pytest.raises(AttributeError):
        made.levels = 2  # type: ignore[misc]


def test_cost(tensors):
    """A model that would take hours a megapixel is refused, by its shapes alone."""
    config = {**CONFIG, "hidden": 4000, "layers": 8}
    forms = schema.tensor_forms(schema.Config.of(config))
    given = {name: (form.dtype, form.shapes[0]) for name, form in forms.items()}
    with pytest.raises(WeightsError, match=f"over the limit of {1 << 24}"):
        schema.check_shapes(schema.Config.of(config), given)
    for changes in (
        {"window": [63, 32]},
        {"encoder": 456},
        {"latents": 32, "prior_mixtures": 64},
        {"prior_window": [63, 32]},
    ):
        with pytest.raises(WeightsError, match="over the limit of 4096"):
            schema.tensor_forms(schema.Config.of({**CONFIG, **changes}))


def test_largest(tmp_path):
    """The largest files that are valid up to their last tensor cost no more than is allowed."""
    config = {**CONFIG, "hidden": 2000, "layers": 5, "prior_hidden": 3800}
    forms = schema.tensor_forms(schema.Config.of(config))
    made = {name: np.full(form.shapes[0], 1, form.dtype) for name, form in forms.items()}
    made["tables.sigmoid"][-1] = 0  # not monotone
    path = tmp_path / "bad.safetensors"
    write(path, made, {"vlae-codec": "1", "config": json.dumps(config)})
    assert safetensors.MAX_FILE > path.stat().st_size > safetensors.MAX_FILE / 2
    refuse(path)
    made["tables.sigmoid"][-1] = 1
    save_weights(path, config, made)
    tracemalloc.start()
    assert load_weights(path).multiply_adds > 1 << 23
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------- fuzzing

NUMBERS = [-(1 << 63), 1 - (1 << 63), -(1 << 60), -1, 0, 1, 40, 41, 1 << 20, (1 << 20) + 1, 1 << 60, (1 << 63) - 1]
SNIPPETS = [
    *(b"NaN", b"-Infinity", b"1e999", b"1.5", b"9" * 30, b"9" * 5000, b"[" * 3000, b"{", b"}", b"[", b"]", b'"', b","),
    *(b":", b"null", b"true", b"-0", b"\\ud800", b"\0", b"\xff", b'"a":1,', b'"__metadata__":{},', b" " * 100),
]


def changed(rng):
    """The tiny model's file, damaged in one to three ways; and which."""
    header, config, data = copy.deepcopy(HEADER), dict(CONFIG), bytearray(DATA)
    odd = copy.deepcopy(ODD)  # lists among them are changed in their turn
    text, ways = None, [rng.choice(WAYS) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    names = [name for name in header if name != "__metadata__"]
    for way in ways:
        name = rng.choice(names)
        entry = header.get(name, {})
        if way == "config":
            config[rng.choice(FIELDS)] = rng.choice(
                [*odd, rng.randint(-3, 40), [rng.randint(-1, 9), rng.randint(-1, 9)]]
            )
        elif way == "config key":
            config.pop(rng.choice(FIELDS), None)
        elif way == "metadata":
            header["__metadata__"][rng.choice(["config", "id", "vlae-codec", "x"])] = rng.choice([*odd, "{}", "1", "x"])
        elif way == "dtype" and isinstance(entry, dict):
            entry["dtype"] = rng.choice(["I8", "I16", "I32", "I64", "U8", "F64", "F8_E5M2", "BF16", *odd])
        elif way == "shape" and isinstance(entry, dict):
            shape = entry.get("shape")
            if isinstance(shape, list) and shape and rng.random() < 0.8:
                shape[rng.randrange(len(shape))] = rng.choice([*odd, rng.randint(0, 300)])
            else:
                entry["shape"] = rng.choice([*odd, [*shape, 1] if isinstance(shape, list) else 0])
        elif way == "offset" and isinstance(entry, dict):
            places = entry.get("data_offsets")
            if isinstance(places, list) and places:
                places[rng.randrange(len(places))] = rng.choice([*odd, rng.randint(0, len(data))])
            if rng.random() < 0.2:
                entry["data_offsets"] = rng.choice(odd)
        elif way == "reshape" and isinstance(entry, dict):  # as many bytes
            shape = entry.get("shape")
            if isinstance(shape, list):
                entry["shape"] = rng.choice([shape[::-1], [1, *shape], [*shape, 1], shape[1:]])
        elif way == "swap":
            other = rng.choice(names)
            header[name], header[other] = header.get(other), header.get(name)
        elif way == "entry":
            header[rng.choice([name, "extra", "base", "null"])] = rng.choice([*odd, copy.deepcopy(HEADER[name])])
        elif way == "drop":
            header.pop(name, None)
        elif way == "number":
            begin, end = HEADER[rng.choice([n for n in names if HEADER[n]["dtype"] == "I64"])]["data_offsets"]
            at = rng.randrange(begin, end, 8)
            data[at : at + 8] = rng.choice(NUMBERS).to_bytes(8, "little", signed=True)
        elif way == "data":
            for _ in range(rng.randint(1, 50) if data else 0):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif way == "fill":
            begin, end = HEADER[name]["data_offsets"]
            data[begin:end] = bytes([rng.choice((0, 127, 128, 255))]) * (end - begin)
        elif way == "size":
            data = data[: rng.randint(0, len(data))] if rng.random() < 0.5 else data + bytes(rng.randint(1, 99))
        elif way == "text":
            text = True
    if json.dumps(config) != json.dumps(CONFIG):  # 1 == True
        header["__metadata__"]["config"] = json.dumps(config)
    made = json.dumps(header).encode()
    if text:
        spot, snippet = rng.randrange(len(made)), rng.choice([*SNIPPETS, bytes([rng.randrange(256)])])
        made = made[:spot] + snippet + made[spot + rng.choice((0, 1, len(snippet), 50)) :]
    length = len(made) if rng.random() < 0.98 else rng.choice([0, 1, len(made) - 1, len(made) + 8, 1 << 20, 1 << 63])
    return length.to_bytes(8, "little") + made + data, ways


WAYS = [
    *("config", "config key", "metadata", "dtype", "shape", "offset", "reshape", "swap", "entry", "drop", "number"),
    *("data", "fill", "size", "text"),
]


def fuzz(path, seeds):
    """How many of the damaged files were refused. An accepted one is a model that the core takes."""
    refused = 0
    for seed in seeds:
        data, ways = changed(random.Random(seed))
        path.write_bytes(data)
        try:
            made = model._load.__wrapped__(str(path))
        except WeightsError as error:
            refused += 1
            if not str(error).isprintable() or not isinstance(error.__cause__, WeightsError):  # the last net
                raise AssertionError(f"seed {seed}, {ways}: {error!r}") from error
        except Exception as error:
            raise AssertionError(f"seed {seed}, {ways}: {error!r}") from error
        else:
            assert all(type(value) in (int, list) for value in made.config.values()), (seed, ways)
            for network in (*made.encoder, *made.topdown, *made.affine, made.mixture, made.local):
                assert network is None or Packed(network).memory.size
    return refused


def test_fuzz(tmp_path):
    assert 500 < fuzz(tmp_path / "fuzz.safetensors", range(1000)) < 1000


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(10))
def test_fuzz_long(tmp_path, part):
    fuzz(tmp_path / "fuzz.safetensors", range(1000 + 20_000 * part, 1000 + 20_000 * (part + 1)))
