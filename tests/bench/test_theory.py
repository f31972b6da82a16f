"""What the start of bits-back costs is what it is said to be, and a set's figures add up."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vlae_codec.bench import theory
from vlae_codec.coder.choice import spare_bits
from vlae_codec.coder.tile import Ledger
from vlae_codec.native import ans


@pytest.fixture
def few(tmp_path, synthetic):
    """A folder of three pictures of one tile each, and one of two tiles."""
    folder = tmp_path / "few"
    folder.mkdir()
    for i, shape in enumerate([(40, 48), (24, 32), (7, 30), (16, 520)]):
        Image.fromarray(synthetic(*shape, i)).save(folder / f"{i}.png")
    return folder


def run(*arguments):
    result = CliRunner().invoke(theory.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


def test_price_of_a_whole_tile_is_what_its_latents_save(tiny_codec, synthetic):
    tile = synthetic(32, 40, 0)
    given = spare_bits(4 * 5 * tiny_codec.channels)
    bits = []
    for split, message in ((0, ans.empty()), (32, given)):
        spent = Ledger()
        codec = tiny_codec.tiles([(32, 40)], [split], 3, spent)
        codec.push([message], ([tile[:split]], [tile[split:]]))
        bits.append((sum(spent.bits.values()), spent.bits.get("posterior", 0.0)))
    (without, _), (full, posterior) = bits
    dearer, drawn = theory.price(tiny_codec, tile, 0, 3)
    assert dearer == pytest.approx(without - full)
    assert drawn == -posterior
    parts = [theory.price(tiny_codec, tile, split, 3)[0] for split in (8, 16, 24, 32)]
    assert dearer > parts[0] > parts[1] > parts[2] > parts[3] == 0  # this model's latents pay in all rows


def test_alone(tmp_path, tiny, few):
    out = tmp_path / "theory.json"
    run("few", few, "--model", tiny, "--json", out)
    found = json.loads(out.read_text())["sets"]["few"]
    assert found["model"] == "tiny.safetensors"  # no folder of this machine
    assert (found["pictures"], found["streams"], found["failures"], found["unit"]) == (4, 5, 0, "bits per subpixel")
    assert found["local"] + found["kl"] == pytest.approx(found["elbo"])
    assert sum(found["terms"].values()) == pytest.approx(found["elbo"])
    assert found["elbo"] < found["coded"] < found["file"]
    assert found["file"] == pytest.approx(8 * found["bytes"] / found["subpixels"])
    assert [row["picture"] for row in found["rows"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert found["worst"] == "2.png"
    start = found["start"]
    assert 0 < start["classic_once_percent"] < start["classic"]["percent"] < start["classic"]["worst_percent"]
    assert start["ours"]["worst_percent"] >= start["ours"]["percent"]
    low = found["rows"][2]
    assert low["ours_bits"] == low["classic_bits"] == 0  # no latent row fits


@pytest.mark.parametrize("grey", [False, True])
def test_archive(tmp_path, tiny, synthetic, grey):
    out, path = tmp_path / "theory.json", tmp_path / "many.npz"
    np.savez(path, x=np.stack([synthetic(24, 32, i) for i in range(12)]))
    options = [f"{path}:x", "--model", tiny, "--json", out, *(["--grey"] if grey else [])]
    run("all", *options, "--archive")
    run("alone", *options, "--sample", 3)
    sets = json.loads(out.read_text())["sets"]
    assert list(sets) == ["all", "alone"]
    together, alone = sets.values()
    assert (together["pictures"], together["streams"], together["failures"]) == (12, 1, 0)
    assert [row["picture"] for row in together["rows"]] == ["group 0"]
    assert together["elbo"] < together["coded"] < together["file"]
    assert together["start"]["classic"]["percent"] == together["start"]["classic_once_percent"]
    assert together["gap_percent"] > together["worst_gap_percent"] > 0  # the header is nobody's
    assert [row["picture"] for row in alone["rows"]] == ["many.npz:x 0", "many.npz:x 4", "many.npz:x 8"]
    assert alone["start"]["classic"]["percent"] > together["start"]["classic"]["percent"]
    run("all", *options, "--archive", "--sample", 1)
    assert json.loads(out.read_text())["sets"]["all"]["pictures"] == 1
    assert list(json.loads(out.read_text())["sets"]) == ["all", "alone"]


def test_what_can_be_loaded(tmp_path, few):
    np.savez(tmp_path / "bits.npz", test=np.zeros((3, 98), np.uint8))
    found = theory.load([f"{tmp_path / 'bits.npz'}:test"], grey=False, binary=True)
    assert [name for name, _ in found] == ["bits.npz:test 0", "bits.npz:test 1", "bits.npz:test 2"]
    assert {(x.dtype, x.shape) for _, x in found} == {(np.dtype(bool), (28, 28))}
    shutil.copytree(few, tmp_path / "others")
    grey = theory.load([few, tmp_path / "others"], grey=True, binary=False)
    assert len(grey) == 8  # pictures of one name in two folders are two
    assert grey[0][1].shape == (40, 48)


def test_rates_of_binary_pictures_are_nats():
    row = {
        "bytes": 30, "subpixels": 784, "elbo_bits": 200.0, "terms": {"prior": 9.0, "posterior": -7.0, "band A": 198.0},
        "modes": {"latents": 200.0, "no latents": 210.0, "KL": 10.0}, "items": {"data": 26, "adapter": 0},
        "latent_tiles": 0, "stored_tiles": 0, "tiles": 1, "failures": 0, "picture": "a",
        "ours_bits": 10.0, "classic_bits": 80.0, "first_classic_bits": 80.0,
    }  # fmt: skip
    found = theory.figures([row], [row], 2, nats=True)
    assert found["file"] == pytest.approx(240 * np.log(2) / 2)
    assert found["kl"] == pytest.approx(2 * np.log(2) / 2)
    assert found["start"]["ours"] == {"percent": 5.0, "worst_percent": 5.0}
