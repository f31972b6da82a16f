"""The bench of origins: pictures pushed through codecs, parts that add up, totals, and exit codes."""

import json

import numpy as np
import pytest
from click import BadParameter, ClickException
from click.testing import CliRunner
from PIL import Image

from vlae_codec.bench import origins

PHOTO = (128 + 90 * np.sin(np.add.outer(np.arange(48) / 9, np.arange(65) / 7))[..., None] * [1, 0.7, -0.5]).astype(
    np.uint8
)


def row(size: int, plain: int, **more) -> dict:
    """A row of `measure` without its pictures."""
    times = {"compress_s": 2.0, "decompress_s": 1.0, "failures": 0}
    return {
        "subpixels": 800,
        "bytes": size,
        **times,
        "parts": dict.fromkeys(origins.PARTS, 0) | {"luma": size},
        "none": {"bytes": plain, **times},
        "peers": {"webp": 100, "jxl e7": 50},
        **more,
    }


@pytest.mark.parametrize("way", ["jpeg:90:420", "jpeg:95:444", "jpeg:75:422", "webp:80"])
def test_pushed(way):
    once = origins.pushed(way)(PHOTO)
    assert once.shape == PHOTO.shape
    assert 0 < np.abs(once.astype(int) - PHOTO).mean() < 8


def test_subsampling():
    """4:4:4 keeps the chroma of single pixels, which 4:2:0 does not."""
    dots = np.where((np.add.outer(np.arange(32), np.arange(32)) % 2)[..., None], [200, 50, 50], [50, 120, 200])
    far = {
        way: np.abs(origins.pushed(way)(dots.astype(np.uint8)) - dots).mean() for way in ("jpeg:95:444", "jpeg:95:420")
    }
    assert 4 * far["jpeg:95:444"] < far["jpeg:95:420"]


def test_h264():
    pytest.importorskip("av")
    once = origins.pushed("h264:23")(PHOTO)
    assert once.shape == (48, 64, 3)
    assert 0 < np.abs(once.astype(int) - PHOTO[:, :64]).mean() < 12


def test_h264_is_left_out_by_a_word(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ClickException, match="PyAV"):
        origins.pushed("h264:23")(PHOTO)


@pytest.mark.parametrize("way", ["jpeg:90", "jpeg:90:411", "webp", "png:3", "h264:x", "jpeg:90:420:1", ""])
def test_unknown_way(way):
    with pytest.raises(BadParameter, match="jpeg:QUALITY"):
        origins.pushed(way)


def test_made_and_crops(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    found = dict(origins.made(np.random.default_rng(1)))
    assert len(found) == 24
    assert all(pixels.shape[2] == 3 and pixels.dtype == np.uint8 for pixels in found.values())
    assert (np.ptp(found["grey gradient 0"], axis=2) == 0).all()
    cut = list(origins.crops([tmp_path], 9, np.random.default_rng(2)))
    assert len(cut) == 9
    for name, pixels in cut:
        x, y = map(int, name.split("+")[1:])
        h, w, _ = pixels.shape
        assert f" {w}x{h}+" in name
        assert min(h, w) >= 16
        assert np.array_equal(pixels, PHOTO[y : y + h, x : x + w])


def test_measure():
    """Of a picture that was a JPEG the parts are those of its file, and what was drawn over it is not exact."""
    wide = (128 + 90 * np.sin(np.add.outer(np.arange(112) / 9, np.arange(144) / 7))[..., None] * [1, 0.7, -0.5]).astype(
        np.uint8
    )
    pixels = origins.pushed("jpeg:90:420")(wide).copy()
    pixels[64:68, 80:90] = [250, 10, 20]
    found = origins.measure("drawn over", pixels, 1)
    assert sum(found["parts"].values()) == found["bytes"] < found["none"]["bytes"]
    assert found["parts"]["exceptions"] > 0
    assert 0.9 < found["exact"] < 1
    assert found["failures"] == found["none"]["failures"] == 0
    assert found["origin"] in origins.line(found)


def test_nothing_is_missing_without_an_origin():
    noise = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)
    found = origins.measure("noise", noise, 1)
    assert (found["origin"], found["exact"]) == (None, 1)
    assert found["parts"]["samples"] > 0
    assert "no origin, 100.000% exact" in origins.line(found)
    pair = origins.compared("noise", noise, 1, 2)
    assert (pair["bytes"], pair["none"], len(pair["times"])) == (found["bytes"], found["none"]["bytes"], 2)
    assert 0 < pair["search"] < 1
    assert "% to look, no origin" in origins.line(pair)


def test_summary():
    totals = origins.summary([row(30, 60), row(20, 60, failures=1)])
    assert totals["vlae"]["bytes"] == totals["vlae"]["luma"] == 50
    assert totals["vlae"]["bpsp"] == 8 * 50 / 1600
    assert totals["vlae"]["failures"] == 1
    assert totals["vlae, no origin"]["of JXL e7"] == 1.2
    assert totals["webp"]["of JXL e7"] == 2
    assert totals["vlae"]["compress_s"] == 4
    lost = origins.summary([row(30, 60, peers={"webp": 0, "jxl e7": 50})])
    assert lost["webp"]["failures"] == 1
    assert "of JXL e7" not in origins.summary([row(30, 60, peers={})])["vlae"]


def test_differences():
    same = {"origin": None, "bytes": 10000, "none": 10000, "times": [1.0, 1.04], "search": 0.01, "failures": 0}
    other = {**same, "bytes": 10003, "failures": 2, "origin": "grey"}
    found = origins.differences([same, other, {**same, "bytes": 10001}])
    assert (found["with an origin"], found["larger"], found["changed"], found["not exact"]) == (1, 2, 1, 1)
    assert found["bytes, of those without"] == 30004 / 30000


def test_command(tmp_path, monkeypatch):
    """Each form of it writes what it says; those that are no RGB pictures are named; failures are its status."""
    monkeypatch.setattr(origins, "made", lambda rng: iter([("made", PHOTO[:20, :30])]))
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    Image.fromarray(PHOTO[..., 0]).save(tmp_path / "grey.png")
    for form, rows in (
        ([], 1),
        (["--through", "jpeg:90:420"], 1),
        (["--untouched", "--repeat", "1"], 1),
        (["--false", "2"], 3),
    ):
        out = tmp_path / "out.txt"
        found = CliRunner().invoke(origins.main, [*map(str, tmp_path.glob("*.png")), *form, "--json", str(out)])
        assert found.exit_code == 0, found.output
        assert "left out, since it is not RGB of 8 bits: grey.png" in found.output
        assert len(json.loads(out.read_text())["rows"]) == rows
    lost = {"bytes": 1, "compress_s": 1, "compress_cpu_s": 1, "decompress_s": 1, "failures": 1}
    real = origins.coded
    monkeypatch.setattr(origins, "coded", lambda *args: (real(*args)[0], lost))
    for form in ([], ["--untouched"], ["--false", "1"]):
        assert CliRunner().invoke(origins.main, [str(tmp_path / "photo.png"), *form]).exit_code == 1
    assert CliRunner().invoke(origins.main, [str(tmp_path / "photo.png"), "--untouched", "--false", "1"]).exit_code == 2
    assert CliRunner().invoke(origins.main, [str(tmp_path / "grey.png")]).exit_code == 2
