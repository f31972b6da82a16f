"""``vlae-codec bench``: what is counted, what is marked, and what the page holds."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vlae_codec import errors
from vlae_codec.bench import compare, page, peers, plots
from vlae_codec.cli import main
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.views import bitsmap

RNG = np.random.default_rng(3)
PICTURES = {
    "colour.png": RNG.integers(0, 256, (5, 3, 3), np.uint8),
    "grey.png": RNG.integers(0, 256, (1, 1), np.uint8),
    "bits.png": RNG.random((17, 9)) < 0.5,
}


class Bytes(bytes):
    """Coded pixels that know what they were."""

    shape: tuple[int, ...]


def store(x):
    data = Bytes(x.tobytes())
    data.shape = x.shape
    return data


def restore(data):
    return np.frombuffer(data, np.uint8).reshape(data.shape)


def fail(x):
    raise RuntimeError("no\nmemory")


HONEST = peers.Peer(store, restore)
LIAR = peers.Peer(lambda x: store(x * 0) and b"", lambda data: np.zeros((5, 3, 3), np.uint8))
BROKEN = peers.Peer(fail, fail)
VANDAL = peers.Peer(lambda x: x.fill(7) or store(x), restore)  # says that what it made of the picture was the picture
WIDE = peers.Peer(store, lambda data: restore(data).astype(np.int16))


def codec(name, coder, ours=False):
    return compare.Codec(name, coder, coder, ours)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "album"
    place.mkdir()
    for name, pixels in PICTURES.items():
        Image.fromarray(pixels).save(place / name)
    return place


def test_other_codecs_lose_nothing():
    """Each is lossless for colour, grey and 1 bit, whatever the size; AVIF by full range, 4:4:4 and no matrix."""
    pytest.importorskip("imagecodecs")
    found = compare.others()
    assert [each.name for each in found] == list(peers.NAMES)
    shapes = [(1, 1), (5, 3), (1, 40), (33, 17), (64, 64)]
    for each in found:
        for shape in shapes:
            for pixels in (RNG.integers(0, 256, (*shape, 3), np.uint8), RNG.integers(0, 256, shape, np.uint8)):
                row, data = compare.measure(each.coder, pixels)
                assert row.get("bytes") == len(data or b""), (each.name, shape, row)
        row, _ = compare.measure(each.coder, compare.view(RNG.random((33, 17)) < 0.5, each))
        assert "failed" not in row
    data = peers.peers(["avif"])["avif"].encode(RNG.integers(0, 256, (20, 30, 3), np.uint8))
    place = data.index(b"nclx") + 8
    assert data[place : place + 3] == bytes([0, 0, 0x80])  # identity matrix, full range
    profile, sampling = data[data.index(b"av1C") + 5 : data.index(b"av1C") + 7]
    assert (profile >> 5, sampling >> 2 & 3) == (1, 0)  # 4:4:4


@pytest.mark.parametrize(
    ("coder", "why"),
    [
        (LIAR, "another picture came back"),
        (VANDAL, "another picture came back"),
        (WIDE, "another picture came back"),
        (BROKEN, "RuntimeError: no memory"),
        (peers.Peer(store, lambda data: None), "AttributeError: .*"),
        (peers.Peer(store, lambda data: restore(data)[:1]), "another picture came back"),
    ],
)
def test_a_lost_picture(coder, why):
    row, data = compare.measure(coder, PICTURES["colour.png"].copy())
    assert data is None
    assert list(row) == ["failed"]
    assert re.fullmatch(why, row["failed"])


def test_sums():
    def row(**sizes):
        found = {name: {"failed": "why"} if size is None else part(size) for name, size in sizes.items()}
        return {"picture": "p", "subpixels": 1000, "codecs": found}

    def part(size):
        return {"bytes": size, "encode_s": 0.001, "decode_s": 0.002}

    rows = [row(a=100, b=90, c=None, **{"jxl e7": 200}), row(a=300, c=10, **{"jxl e7": 300})]
    a = compare.summary(rows, "a")
    assert (a["bytes"], a["bpsp"], a["over_reference"], a["pictures"], a["failures"]) == (400, 1.6, 0.8, 2, 0)
    assert a["encode_MBps"] == pytest.approx(1.0)
    assert a["decode_MBps"] == pytest.approx(0.5)
    b = compare.summary(rows, "b")  # against JPEG XL on the same pictures
    assert (b["bytes"], b["bpsp"], b["over_reference"], b["pictures"]) == (90, 0.72, 0.45, 1)
    assert compare.summary(rows, "c") == {"pictures": 2, "failures": 1}
    assert compare.summary(rows, "d") == {"pictures": 0, "failures": 0}
    rows[1]["codecs"]["jxl e7"] = {"failed": "why"}
    assert "over_reference" not in compare.summary(rows, "a")
    lines = compare.table({"a": a, "c": compare.summary(rows, "c")}).splitlines()
    assert lines[2].split() == ["c", "2", "1"]


def test_names(folder, tmp_path):
    (tmp_path / "other").mkdir()
    Image.fromarray(PICTURES["grey.png"]).save(tmp_path / "other" / "grey.png")
    (folder / "notes.txt").write_text("no picture")
    assert [name for _, name in compare.named([folder])] == ["bits.png", "colour.png", "grey.png"]
    several = compare.named([folder, tmp_path / "other", folder / "bits.png"], 4)
    assert [name for _, name in several] == ["album/bits.png", "album/colour.png", "album/grey.png", "other/grey.png"]
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(errors.InputError, match="no pictures"):
        compare.named([empty])


def test_what_cannot_be_coded_is_skipped(folder):
    (folder / "cut.png").write_bytes((folder / "grey.png").read_bytes()[:60])
    told = []
    codecs = [codec("honest", HONEST), codec("broken", BROKEN)]
    files = [*compare.named([folder]), (folder / "gone.png", "gone.png")]
    found = compare.compare(files, codecs, 1, lambda done, label: told.append((done, label)))
    assert [row["picture"] for row in found.rows] == sorted(PICTURES)
    assert [re.findall(r"\w+\.png", reason)[0] for reason in found.skipped] == ["cut.png", "gone.png"]
    assert told[:3] == [(0.0, "bits.png, honest"), (0.5, "bits.png, broken"), (1.0, "colour.png, honest")]
    assert compare.failures(found.rows, "broken") == [(name, "RuntimeError: no memory") for name in sorted(PICTURES)]
    assert compare.failures(found.rows, "honest") == []
    twice = compare.compare(2 * compare.named([folder / "bits.png"]), codecs, 1)  # two of one name, from two folders
    assert twice.summary()["broken"] == {"pictures": 2, "failures": 2}
    assert not found.failed()  # none of them is ours
    cut = (folder / "cut.png", "c")
    with pytest.raises(errors.InputError, match=r"cut\.png: .*[^)]$"):
        compare.compare([cut], codecs, 1)
    with pytest.raises(errors.InputError, match=r"cut\.png: .* \(and 2 more like it\)$"):
        compare.compare([cut] * 3, codecs, 1)


def test_ours(folder, tiny, monkeypatch):
    """A model gets the pictures that it codes, in RGB and grey, and every one comes back."""
    practice = compare.practice
    monkeypatch.setattr(compare, "practice", lambda mode: practice(mode)[:48, :48])
    codecs = compare.ours([2, 1, 1], [str(tiny), str(tiny), "mnist-binary"], 1)
    names = ["vlae tiny e1", "vlae tiny e2", "vlae mnist-binary e1", "vlae mnist-binary e2"]
    assert [each.name for each in codecs] == names
    saved = []
    found = compare.compare(compare.named([folder]), codecs, 1, save=lambda found: saved.append(len(found.rows)))
    assert saved == [1, 2, 3]
    assert [list(row["codecs"]) for row in found.rows] == [names[2:], names[:2], names[:2]]
    assert all("failed" not in part for row in found.rows for part in row["codecs"].values())
    assert len({part["model"] for row in found.rows for part in row["codecs"].values()}) <= 2
    assert (found.sample.picture, found.sample.codec, found.sample.model) == ("bits.png", names[3], "mnist-binary")
    assert np.array_equal(found.sample.pixels, PICTURES["bits.png"])
    both = compare.ours([1], [], 1, ["none", "auto", "none"])
    assert [each.name for each in both] == ["vlae e1 without origins", "vlae e1"]
    with pytest.raises(errors.InputError, match="missing"):
        compare.ours([1], ["missing"], 1)
    with pytest.raises(errors.InputError, match="one name"):
        compare.ours([1], [str(tiny), _copy(tiny, folder)], 1)


def _copy(path, folder):
    return str(shutil.copy(path, folder))


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_practice(mode):
    assert check_picture(Picture(compare.practice(mode))).mode == mode
    assert 0.1 < compare.practice(mode).mean() < 200


# ---------------------------------------------------------------------------------------------------- page


def contents(folder, codecs):
    found = compare.compare(compare.named([folder]), codecs, 2)
    return found.contents("vlae-codec")


def test_page_needs_nothing_else(folder):
    pytest.importorskip("matplotlib")
    codecs = [codec("vlae e1", HONEST), codec("jxl e7", HONEST), codec("<liar>", LIAR)]
    figures = contents(folder, codecs)
    text = page.page(figures, None)
    assert text.count("<svg") == 3
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert not re.search(r"url\(\s*[\"']?(?!#)|@import|<script|<link", text)
    assert plots.INK not in text
    assert "&lt;liar&gt;" in text
    assert "<liar>" not in text
    assert "3 failed" in text
    assert text.count("another picture came back") == 3
    assert "vlae on 2 threads, the others on 1" in text
    assert all(name in text for name in PICTURES)
    honest = page.page(contents(folder, codecs[:2]), None)
    assert "all came back exactly" in honest


def test_page_of_bits(folder, monkeypatch):
    """The picture beside the map, both inside the page."""
    pytest.importorskip("matplotlib")
    pixels, calls = PICTURES["colour.png"], []

    local, latent = np.ones((2, *pixels.shape[:2]), np.float32)

    def bits_map(data, **options):
        calls.append((data, options))
        return bitsmap.BitsMap(local, latent, ())

    monkeypatch.setattr(bitsmap, "bits_map", bits_map)
    sample = compare.Sample("a<b.png", "vlae e1", pixels, b"data", "m")
    text = page.page(contents(folder, [codec("vlae e1", HONEST)]), sample)
    assert calls == [(b"data", {"model": "m", "threads": 2})]
    assert text.count("data:image/png;base64,") == 3
    assert "a&lt;b.png: a file of 4 bytes" in text
    assert "Bits of its pixels: 2 bytes" in text
    assert "Bits of its latents: 2 bytes" in text
    latent[:] = 0
    assert page._bits(sample, 1).count("data:image/png;base64,") == 2


def test_page_of_real_bits(folder, tiny):
    pytest.importorskip("matplotlib")
    found = compare.compare(compare.named([folder / "colour.png"]), compare.ours([1], [str(tiny)], 1), 1)
    assert "data:image/png;base64," in page.page(found.contents("vlae-codec"), found.sample)


def test_many_pictures_are_drawn():
    """More than get a line of their own; some codecs lost all; names of any length."""
    pytest.importorskip("matplotlib")
    names = [f"codec {i}" for i in range(14)]
    rows = [
        {"picture": "x" * i, "subpixels": 100, "codecs": {name: {"bytes": 10 + i} for name in names[:13]}}
        for i in range(plots.NAMED + 1)
    ]
    assert plots.rates(rows, names).startswith("<svg")
    same = {"bpsp": 3.0, "encode_MBps": 1.0, "decode_MBps": 1.0}
    assert plots.speeds({**dict.fromkeys(names, same), "lost": {"failures": 1}}, "encode").startswith("<svg")
    assert plots.speeds({"lost": {"failures": 1}}, "decode").startswith("<svg")
    assert len({look["marker"] for look in plots.looks(names[:12]).values()}) == 12


def test_wide_pictures_are_made_smaller():
    small = plots.image_uri(np.zeros((3, 50), bool), widest=10)
    assert small.startswith("data:image/png;base64,")
    assert len(small) < 400


# ---------------------------------------------------------------------------------------------------- command


@pytest.fixture
def run(folder, tiny, monkeypatch, tmp_path):
    """Runs the command with the tiny model on colour.png; without imagecodecs unless a test says otherwise."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        words = ["bench", "album/colour.png", "--model", str(tiny), "--effort", "1", "--threads", "1", *arguments]
        monkeypatch.setattr(sys, "argv", ["vlae-codec", *words])
        return CliRunner().invoke(main, words)

    return call


def test_command(run):
    result = run("--json", "out.json")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [compare.NO_PEERS]
    assert "pip install 'vlae-codec[bench]'" in result.stderr
    assert "1 picture, 45 subpixels; vlae on 1 thread, the others on 1" in result.stdout
    assert re.search(r"^vlae tiny e1 +\d+ +\d+\.\d{4} +", result.stdout, re.MULTILINE)
    found = json.loads(Path("out.json").read_text())
    begun = "vlae-codec bench album/colour.png --model data/tiny.safetensors --effort 1"
    assert found["made"]["command"].startswith(begun)
    assert found["made"]["processor"]
    assert found["made"]["versions"]["vlae-codec"]
    assert found["settings"]["threads"] == 1
    (row,) = found["rows"]
    assert (row["picture"], row["mode"], row["width"], row["height"], row["subpixels"]) == (
        "colour.png",
        "RGB",
        3,
        5,
        45,
    )
    part = row["codecs"]["vlae tiny e1"]
    assert set(part) == {"bytes", "encode_s", "decode_s", "model"}
    assert found["summary"]["vlae tiny e1"]["bytes"] == part["bytes"]
    assert run("--json", "out.json").exit_code == 1
    assert run("--json", "out.json", "-f").exit_code == 0


def test_command_with_the_others(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "imagecodecs")
    pytest.importorskip("imagecodecs")
    pytest.importorskip("matplotlib")
    result = run("--peer", "jxl-e7", "--peer", "PNG", "--html", "out.html")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert [line.split()[0] for line in result.stdout.splitlines()[3:]] == ["vlae", "jxl", "png"]
    assert Path("out.html").read_text().startswith("<!doctype html>")


def test_exit_status(run, monkeypatch):
    """1 if one of ours lost a picture; that others do is only said."""
    monkeypatch.setattr(compare, "others", lambda names: [codec("png", BROKEN)])
    result = run()
    assert result.exit_code == 0
    assert result.stderr == "png failed on colour.png: RuntimeError: no memory\n"
    monkeypatch.setattr(compare, "ours", lambda *_: [codec("vlae e1", LIAR, True), codec("vlae e3", BROKEN, True)])
    result = run()
    assert result.exit_code == 1
    assert "vlae e3 failed on colour.png: RuntimeError: no memory" in result.stderr


def test_refused_before_any_work(run, monkeypatch):
    monkeypatch.setattr(compare, "compare", fail)
    assert run("--peer", "gif").exit_code == 2
    assert run("--effort", "10").exit_code == 2
    result = run("--json", "out", "--html", "./out")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "Error: --json and --html would be one file.")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("--html", "out.html")
    assert result.exit_code == 1
    assert result.stderr == "error: --html draws with matplotlib: pip install 'vlae-codec[bench]'\n"
    assert CliRunner().invoke(main, ["bench", "missing"]).exit_code == 2


def test_help_imports_little():
    code = (
        "import sys; from vlae_codec.cli import main; main(['bench', '--help'], standalone_mode=False); "
        "print(sorted({'torch', 'numpy', 'imagecodecs', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "pip install 'vlae-codec[bench]'" in " ".join(result.stdout.split())
