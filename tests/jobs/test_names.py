"""Names of outputs: made of those of the inputs, kept apart, and back to what they were."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlae_codec
from vlae_codec.images import image
from vlae_codec.images.picture import Picture
from vlae_codec.jobs.names import CODED, PICTURES, apart, ending, ending_of, expand, output_name
from vlae_codec.jobs.plan import make_plan

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("name", "coded"),
    [("photo.png", "photo.vlae"), ("a.b.JPG", "a.b.vlae"), ("scan.001", "scan.001.vlae"), ("x", "x.vlae")],
)
def test_coded(name, coded):
    assert output_name(name, PICTURES, ".vlae") == coded


@pytest.mark.parametrize(
    ("name", "suffix", "back"),
    [
        ("photo.vlae", ".png", "photo.png"),
        ("a.png.vlae", ".png", "a.png"),
        ("a.PNG.vlae", ".png", "a.PNG"),
        ("a.jpg.vlae", ".png", "a.jpg.png"),
        ("a.jpeg.VLAE", ".jpg", "a.jpeg"),
        ("a.tiff.vlae", ".tif", "a.tiff"),
        ("scan.001.vlae", ".png", "scan.001.png"),
        ("odd", ".png", "odd.png"),
    ],
)
def test_back(name, suffix, back):
    assert output_name(name, CODED, suffix) == back


def separated(*sources):
    tasks = [(Path(source), Path("out", output_name(Path(source).name, PICTURES, ".vlae"))) for source in sources]
    return [path.as_posix().removeprefix("out/") for path in apart(tasks)]


def test_apart():
    """The same whatever the order; only those that clash have other names; and back they are what they were."""
    names = separated("a.png", "b.png", "a.jpg", "c.tif")
    assert names == ["a.png.vlae", "b.vlae", "a.jpg.vlae", "c.vlae"]
    assert separated("c.tif", "a.jpg", "b.png", "a.png") == ["c.vlae", "a.jpg.vlae", "b.vlae", "a.png.vlae"]
    assert [output_name(name, CODED, end) for name, end in zip(names[::2], (".png", ".jpg"))] == ["a.png", "a.jpg"]


def test_apart_in_depth():
    """Inputs of one whole name are numbered, and no number is that of another input."""
    assert separated("x/a.png", "y/a.png", "z/a.png") == ["a.png.vlae", "a-2.png.vlae", "a-3.png.vlae"]
    many = ["x/a.png", "y/a.png", "a-2.png.tif", "a-2.png.gif", "a.png.tif", "a.png.gif", "x/a.png.gif"]
    found = separated(*many)
    assert len(set(found)) == len(many)
    assert len(set(separated(*(f"{i}/a.png" for i in range(2000))))) == 2000


def test_same_file(tmp_path, monkeypatch):
    """A file that is named twice, by whatever way, is taken once."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("in")
    Path("in/a.png").write_text("a")
    Path("b").symlink_to("in")
    plan = make_plan(["in/a.png", "in", "./in/a.png", "b/a.png"], "out", PICTURES, ".vlae", False)
    assert [(str(task.source), str(task.output)) for task in plan.tasks] == [("in/a.png", "out/a.vlae")]
    assert [reason for _, reason in plan.skipped] == ["it was named before"] * 3


def test_beside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("in/deep")
    for name in ("in/a.png", "in/deep/b.png", "in/deep/b.tif", "c.gif"):
        Path(name).write_text(name)
    plan = make_plan(["in", "c.gif"], None, PICTURES, ".vlae", False)
    expected = ["c.vlae", "in/a.vlae", "in/deep/b.png.vlae", "in/deep/b.tif.vlae"]
    assert sorted(task.output.as_posix() for task in plan.tasks) == expected


def test_dry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_text("a")
    plan = make_plan(["a.png"], "new/deep", PICTURES, ".vlae", False, dry=True)
    assert plan.tasks
    assert os.listdir() == ["a.png"]


def test_expand(tmp_path, monkeypatch):
    """What exists, and what matches nothing, stays."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.tif", "d[1].png", "d1.png", "-.png"):
        Path(name).touch()
    assert expand(["*.tif", "?.png", "d[1].png", "d[1]*.png", "no*", "-"]) == [
        *("c.tif", "-.png", "a.png", "b.png", "d[1].png", "d1.png", "no*", "-"),
    ]


def coded(source, **options):
    return vlae_codec.compress(source, effort=1, threads=1, verify=False, **options)


@pytest.mark.parametrize(
    ("name", "exact", "back"),
    [
        ("a.png", True, ".png"),
        ("a.png", False, ".png"),
        ("a.jpg", False, ".jpg"),
        ("a.tif", True, ".tif"),
        ("a.bmp", True, ".bmp"),
        ("a.ppm", True, ".ppm"),
        ("a.ppm", False, ".png"),
        ("a.pgm", True, ".pgm"),
    ],
)
def test_ending(tmp_path, monkeypatch, name, exact, back):
    """The file says which it was, as long as it has what makes the very file."""
    monkeypatch.chdir(tmp_path)
    pixels = RNG.integers(0, 9, (20, 30, 3), np.uint8)
    Image.fromarray(pixels[..., 0] if name == "a.pgm" else pixels).save(name)
    data = coded(name, keep=vlae_codec.Keep(exact=exact))
    assert ending(data) == back
    Path("x").write_bytes(data)
    assert ending_of(Path("x")) == back
    assert ending_of(Path("x"), exact=False) in (".png", ".tif")
    monkeypatch.setattr("vlae_codec.format.container.HEAD_BYTES", 200)  # the rest is read where it is needed
    assert ending_of(Path("x")) == back


@pytest.mark.parametrize(
    ("picture", "back"),
    [
        (Picture(RNG.integers(0, 9, (5, 5), np.uint8)), ".png"),
        (Picture(RNG.integers(0, 9, (5, 5), np.uint8), levels=100), ".tif"),
        (Picture(RNG.normal(size=(5, 5))), ".tif"),
        (Picture(RNG.integers(0, 9, (5, 5, 4), np.uint8), mode="CMYK"), ".tif"),
    ],
)
def test_ending_of_arrays(picture, back):
    """What a PNG cannot hold is a TIFF."""
    assert ending(coded(picture)) == back
    assert ending(coded([picture, picture])) == ".tif"


def test_ending_of_nothing(tmp_path):
    for content in (b"", b"no file", (b"\xf6VLAE\r\n\x1a\x02H" + bytes(99))):
        (tmp_path / "x").write_bytes(content)
        assert ending_of(tmp_path / "x") == ".png"
    assert ending_of(tmp_path / "missing") == ".png"
    image.save(tmp_path / "a.png", RNG.integers(0, 9, (20, 30), np.uint8))
