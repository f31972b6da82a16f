"""`vlae-codec archive` and `vlae-codec thumbnail`, as somebody types them."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vlae_codec
from vlae_codec.cli import main
from vlae_codec.format import container
from vlae_codec.format.thumbnails import thumbnail_in, with_thumbnail
from vlae_codec.images.thumbnails import MOST, make_thumbnail


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def tree(tmp_path_factory, synthetic):
    """A folder of small pictures, and an archive of it."""
    top = tmp_path_factory.mktemp("tree")
    (top / "album" / "sub").mkdir(parents=True)
    for i in range(4):
        Image.fromarray(synthetic(16, 24, i)).save(top / "album" / ("sub" if i % 2 else ".") / f"{i} & co.png")
    (top / "album" / "text.txt").write_text("no picture")
    run("archive", "create", top / "set.vlae", top / "album", "--effort", 1, "--threads", 1)
    return top


@pytest.fixture
def here(tree, tmp_path, monkeypatch):
    shutil.copytree(tree, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


NAMES = [f"album/{name}" for name in ("0 & co.png", "2 & co.png", "sub/1 & co.png", "sub/3 & co.png")]


def test_create_and_extract(here):
    said = run("archive", "create", "new.vlae", "album", "--effort", 1, "--threads", 1)
    assert re.search(r"new.vlae: 4 members added, [\d,]+ bytes, \d+ % of the input files", said)
    assert "skipped 1" in said
    assert "exists already" in run("archive", "create", "new.vlae", "album", status=1)
    run("archive", "extract", "new.vlae", "-o", "out")
    for name in NAMES:
        with Image.open(name) as one, Image.open(Path("out", name)) as back:
            assert np.array_equal(np.asarray(one), np.asarray(back))
        assert Path(name).stat().st_mtime_ns == Path("out", name).stat().st_mtime_ns
    assert "4 members are good" in run("archive", "test", "new.vlae")
    said = run("archive", "extract", "new.vlae", "-o", "out", status=1)
    assert said.count("exists already") == 4
    assert "4 files left" in run("archive", "extract", "new.vlae", "-o", "out", "--skip-existing")
    run("archive", "extract", "new.vlae", "album/sub", "-o", "part", "-q")
    assert sorted(path.name for path in Path("part").rglob("*.png")) == ["1 & co.png", "3 & co.png"]


def test_list(here):
    lines = run("archive", "list", "set.vlae").splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["-rw-r--r--"] * 4 or len(lines) == 4
    assert all("24x16 RGB/8" in line and line.endswith(name) for line, name in zip(lines, NAMES))
    facts = [json.loads(line) for line in run("archive", "list", "set.vlae", "--json").splitlines()]
    assert [one["name"] for one in facts] == NAMES
    assert facts[0]["width"] == 24
    assert facts[0]["time"].endswith("+00:00")
    assert len(run("archive", "list", "set.vlae", "*3*").splitlines()) == 1
    assert "no member" in run("archive", "list", "set.vlae", "none", status=1)


def test_page(here):
    run("archive", "list", "set.vlae", "--html", "page.html")
    page = Path("page.html").read_text("utf-8")
    assert page.count("<figure>") == page.count("data:image/png;base64,") == 4
    assert "album/0 &amp; co.png" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "exists" in run("archive", "list", "set.vlae", "--html", "page.html", status=1)


def test_append(here):
    Image.new("L", (9, 9)).save("gray.png")
    assert "1 members added" in run("archive", "append", "set.vlae", "gray.png", "--effort", 1)
    assert "already" in run("archive", "append", "set.vlae", "gray.png", status=1)
    assert "1 members left" in run("archive", "append", "set.vlae", "gray.png", "--skip-existing")
    run("archive", "append", "set.vlae", "gray.png", "--force", "--effort", 1)
    assert len(run("archive", "list", "set.vlae").splitlines()) == 5


def test_damage(here):
    data = bytearray(Path("set.vlae").read_bytes())
    data[200] ^= 1
    Path("set.vlae").write_bytes(data)
    said = run("archive", "test", "set.vlae", status=1)
    assert "damaged" in said
    for command in (["extract", "-o", "out"], ["test"]):
        assert NAMES[0] in run("archive", *command, "set.vlae", "--salvage", status=3)
    Path("set.vlae").write_bytes(data[:300])
    assert "salvage" in run("archive", "list", "set.vlae", status=1)


def test_wrong_files(here):
    """Commands for single files say what reads an archive, and the other way round."""
    for command in (["info"], ["preview", "-o", "p.png"], ["decompress", "-o", "p.png"], ["thumbnail", "-o", "p.png"]):
        assert "archive extract" in run(*command, "set.vlae", status=1)
    run("compress", NAMES[0], "-o", "one.vlae", "--effort", 1)
    assert "vlae-codec decompress" in run("archive", "list", "one.vlae", status=1)
    assert "exclude" in run("archive", "extract", "set.vlae", "-o", "o", "-f", "--skip-existing", status=2)
    assert "exclude" in run("archive", "create", "x.vlae", "album", "--exact", "--strip", status=2)


def test_thumbnail_of_a_file(here):
    Image.linear_gradient("L").resize((120, 90)).convert("RGB").save("large.png")
    run("compress", "large.png", "-o", "large.vlae", "--effort", 1, "--thumbnail", 64)
    found = thumbnail_in(Path("large.vlae").read_bytes())
    assert found is not None
    with Image.open(io.BytesIO(found)) as image:
        assert (image.format, image.size) == ("WEBP", (64, 48))
    run("info", "large.vlae")
    run("decompress", "large.vlae", "-o", "back.png")
    with Image.open("large.png") as one, Image.open("back.png") as back:
        assert np.array_equal(np.asarray(one), np.asarray(back))
    for size, name in ((32, "a.png"), (64, "a.jpg"), (100, "a.webp")):  # the last is not in the file
        run("thumbnail", "large.vlae", "-o", name, "--size", size)
        with Image.open(name) as image:
            assert max(image.size) == size
    assert "no format" in run("thumbnail", "large.vlae", "-o", "a.gif", status=1)


def test_thumbnail_in_an_archive(here):
    """Large members have one, unless it takes more than 1 %."""
    noise = np.random.default_rng(1).integers(0, 256, (129, 129, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    Image.new("RGB", (129, 129)).save("flat.png")
    run("archive", "create", "some.vlae", "noise.png", "flat.png", NAMES[0], "--effort", 1, "--thumbnail", 16)
    with vlae_codec.open_archive("some.vlae") as archive:
        assert [member.thumbnail is not None for member in archive] == [True, False, False]
    run("archive", "list", "some.vlae", "--html", "page.html")
    kinds = re.findall("data:image/(.*?);", Path("page.html").read_text("utf-8"))
    assert kinds == ["webp", "webp", "png"]


def test_chunk(here):
    """A thumbnail changes nothing of the picture, and one that is damaged is no reason to refuse it."""
    data = Path("one.vlae")
    run("compress", NAMES[0], "-o", data, "--effort", 1)
    plain = data.read_bytes()
    small = make_thumbnail(vlae_codec.decompress_picture(plain), MOST)
    whole = with_thumbnail(plain, small)
    assert thumbnail_in(plain) is None
    assert thumbnail_in(whole) == small
    assert np.array_equal(vlae_codec.decompress(whole), vlae_codec.decompress(plain))
    assert sum(container.itemise(whole).values()) == len(whole)
    for other in (b"no picture", b"RIFF\0\0\0\0WEBPVP8 nonsense"):
        Path("odd.vlae").write_bytes(with_thumbnail(plain, other))
        run("thumbnail", "odd.vlae", "-o", "odd.png", "--force")
