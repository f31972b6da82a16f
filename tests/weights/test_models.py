"""The list of models, their cards, and that shipped ones are complete."""

import json
import math
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from vlae_codec.cli import main
from vlae_codec.weights import cards, model
from vlae_codec.weights.model import load_weights, read_weights, weights_folder

SHIPPED = sorted(weights_folder().glob("*.safetensors"))


@pytest.fixture
def folder(tiny, tmp_path, monkeypatch):
    """Two models, one broken file, and no built-in weights."""
    (tmp_path / "mine.safetensors").write_bytes(tiny.read_bytes())
    (tmp_path / "mine.md").write_text("---\ndomain: noise, synthetic: of cells\nrate: 5 bpsp\n---\nrate: no\n")
    (tmp_path / "plain.safetensors").write_bytes(tiny.read_bytes())
    (tmp_path / "broken.safetensors").write_bytes(b"?")
    monkeypatch.setenv("VLAE_CODEC_MODELS", str(tmp_path))
    monkeypatch.setattr(model, "weights_folder", lambda: tmp_path / "none")
    return tmp_path


def test_json(folder, tiny):
    result = CliRunner().invoke(main, ["models", "--json"])
    assert result.exit_code == 0
    mine, plain = json.loads(result.stdout)
    assert mine == {
        "name": "mine",
        "id": load_weights(tiny).id.hex(),
        "bytes": tiny.stat().st_size,
        "domain": "noise, synthetic: of cells",
        "rate": "5 bpsp",
        "modes": ["RGB", "L"],
        "multiply_adds": mine["multiply_adds"],
        "origin": str(folder / "mine.safetensors"),
    }
    assert (plain["name"], plain["domain"], plain["rate"]) == ("plain", None, None)
    assert "skipped" in result.stderr
    assert "broken.safetensors" in result.stderr


def test_table(folder, tiny):
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 0
    head, mine, plain = result.stdout.splitlines()
    assert head.split()[0] == "name"
    assert load_weights(tiny).id.hex() in mine
    assert "noise, synthetic: of cells" in mine
    assert "5 bpsp" in mine
    assert plain.split()[-3:] == ["-", "-", str(folder / "plain.safetensors")]


@pytest.mark.parametrize("text", ["", "# no block\n", "---\nrate: 1\n", "rate: 1\n---\n", "---\n---\n"])
def test_no_card(tmp_path, text):
    (tmp_path / "a.md").write_text(text)
    assert cards.read_card(tmp_path / "a.safetensors") == {}
    (tmp_path / "b.md").write_bytes(b"---\n\xff: 1\n---\n")
    assert cards.read_card(tmp_path / "b.safetensors") == {}


def test_multiply_adds(tiny):
    """Counted by hand: 1/64 of what works on cells, 1/16 of what works on 4x4 pixels."""
    _, tensors, _ = read_weights(tiny)
    sizes = {name.removesuffix(".weight"): t.size for name, t in tensors.items() if name.endswith(".weight")}
    inputs = (5 * 2 + 2 + 1) * 3 + 4  # neighbours and reference, context
    assert sizes["local.hidden.0"] in (inputs * 32, 2 * inputs * 32)
    quarter = sum(sizes.pop(name) for name in ("topdown.fine", "topdown.out", "encoder.stem"))
    local = sizes.pop("local.hidden.0") + sizes.pop("local.out")
    cell = sum(sizes.values())
    assert load_weights(tiny).multiply_adds == math.ceil(local + quarter / 16 + cell / 64)


def test_imports_no_torch():
    code = (
        "import sys; from vlae_codec.cli import main; main(['models'], standalone_mode=False); "
        "print('torch' in sys.modules)"
    )
    env = {**os.environ, "VLAE_CODEC_MODELS": ""}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert result.stdout.splitlines()[-1] == "False"
    assert "photo" in result.stdout


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped(path):
    """The card says what the model is for and what was measured."""
    card = cards.read_card(path)
    assert card["domain"]
    assert re.search(r"\d\.\d", card["rate"])
