"""Which codecs hold a picture, which bars it is under, and that the totals are those of its group."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vlae_codec.bench import kinds, unlike
from vlae_codec.images.picture import Picture

pytest.importorskip("imagecodecs")

RAMP = np.add.outer(np.arange(24), 5 * np.arange(32)) % 251
GREY = RAMP.astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY // 2], -1)
CUT = np.dstack([COLOUR, np.where(GREY > 100, GREY, 0)]).astype(np.uint8)
TABLE = np.random.default_rng(1).permutation(256)[: 3 * 9].reshape(9, 3).astype(np.uint8)
PICTURES = {  # -> title of the group, columns
    "grey": (Picture(GREY), "photographs and the like", {"png", "webp", "webp q80", "jxl e7", "jpegls"}),
    "colour": (Picture(COLOUR), "photographs and the like", {"png", "webp", "webp q80", "jxl e7"}),
    "Screenshot": (Picture(COLOUR), "screens and line art", {"png", "webp", "webp q80", "jxl e7"}),
    "cut": (Picture(CUT), "alpha", {"png", "webp", "webp q80", "jxl e7"}),
    "grey cut": (Picture(CUT[..., 2:]), "alpha", {"png", "webp", "webp q80", "jxl e7"}),
    "bits": (Picture(GREY > 90), "bilevel", {"png", "webp", "webp q80", "jxl e7", "jpegls"}),
    "deep": (Picture(RAMP.astype(np.uint16) * 16, levels=4096), "9 to 16 bits grey", {"png", "jxl e7", "jpegls"}),
    "deep colour": (Picture(COLOUR.astype(np.uint16) * 257), "16-bit RGB", {"png", "jxl e7"}),
    "signed": (Picture(RAMP.astype(np.int16) - 90), "photographs and the like", {"png", "jxl e7", "jpegls"}),
    "float": (Picture(RAMP.astype(np.float32)), "photographs and the like", set()),
    "indices": (Picture(GREY % 9, mode="P", palette=TABLE), "palette", {"png", "webp", "webp q80", "jxl e7"}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_others(name):
    picture, title, columns = PICTURES[name]
    assert kinds.group_of(name, picture).title == title
    found = kinds.others(picture)
    assert set(found) == columns
    assert all(0 < size < 3 * picture.pixels.nbytes + 2000 for size in found.values())


def test_what_comes_back_changed_has_no_size(monkeypatch):
    """Neither has what a library refuses."""

    def fail(x, quality):
        raise ValueError("no")

    monkeypatch.setattr(kinds, "_webp", fail)
    monkeypatch.setattr(kinds, "_jxl", lambda codecs, x, bits: codecs.jpegxl_encode(x, level=50))
    noise = np.random.default_rng(2).integers(0, 256, (40, 40, 3), np.uint8)
    assert set(kinds.others(Picture(noise))) == {"png"}


def test_indexed_png_is_smaller():
    picture = PICTURES["indices"][0]
    data = kinds._indexed(picture)
    assert kinds.others(picture)["png"] == len(data)
    assert np.array_equal(kinds._read_as("P", data), kinds._colours(picture))


def test_measure_and_summary():
    """Of the worst picture, or on average; a peer that has no file is left out."""
    row = kinds.measure("icon", Picture(kinds.shapes(24, unlike.random("icon"))), 1)
    assert row["group"] == "alpha"
    assert 0 < row["overhead"] < row["ours"]
    rows = [
        {
            "picture": "a",
            "group": "screens and line art",
            "ours": 100,
            "others": {"webp": 50, "png": 200, "jxl e7": 100},
        },
        {"picture": "b", "group": "screens and line art", "ours": 100, "others": {"webp": 100, "jxl e7": 200}},
        {"picture": "c", "group": "bilevel", "ours": 100, "others": {}},
    ]
    worst, mean = kinds.summary(rows)
    assert (worst["worst"], worst["of"], worst["mean"], worst["met"]) == (2.0, "a", 1.5, False)
    assert (mean["mean"], mean["pictures"], mean["met"]) == (0.75, 2, True)
    assert kinds.summary([]) == []
    assert kinds.table([]) == ""


def test_made():
    """Every one is made of what it is called, and the cut-outs differ in what is under alpha 0 only."""
    makers = dict(kinds.made())
    assert len(makers) == len(set(makers)) > 20
    kept, clear = (makers[f"cut-out-{name}"]().pixels for name in ("kept", "clear"))
    hidden = kept[..., 3] == 0
    assert 0.1 < hidden.mean() < 0.9
    assert np.array_equal(kept[~hidden], clear[~hidden])
    assert kept[hidden][:, :3].any()
    assert not clear[hidden].any()
    icon = makers["icon-32"]().pixels
    assert np.array_equal(icon, makers["icon-32"]().pixels)
    assert set(np.unique(icon[..., 3])) > {0, 255}
    deep = kinds.deep("tomography", 12)
    assert 256 < int(deep.pixels.max()) < deep.levels == 4096
    page = kinds.indexed("chart", 16)
    assert page.palette.shape == (16, 3)


def test_command(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    (tmp_path / "notes.txt").write_text("no picture")
    out = tmp_path / "out.json"
    found = CliRunner().invoke(
        kinds.main, [str(tmp_path / "grey.png"), str(tmp_path / "notes.txt"), "--json", str(out)]
    )
    assert found.exit_code == 0, found.output
    assert "left out" in found.output
    (row,) = json.loads(out.read_text())["rows"]
    assert row["picture"] == "grey.png"
    assert sum(row["planes"][0]["methods"].values()) == 1
