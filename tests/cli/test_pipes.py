"""Standard input and output, names that are not given, results for programs, and sources that go."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vlae_codec
from vlae_codec import files
from vlae_codec.cli import main
from vlae_codec.images import image
from vlae_codec.images.picture import Picture

PROGRAM = [sys.executable, "-m", "vlae_codec.cli"]


@pytest.fixture
def run(tiny, synthetic, tmp_path, monkeypatch):
    """Runs a command with the tiny model, in a folder with a.png, b.png (with metadata) and a.tif."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLAE_CODEC_MODELS", str(tiny))
    for seed, name in enumerate(("a.png", "b.png", "a.tif")):
        image.save(name, Picture(synthetic(20, 30, seed), {"icc": b"a profile"} if name == "b.png" else {}))

    def call(command, *arguments, data=None, status=0):
        options = ["--effort", 1, "--model", tiny] if command == "compress" else []
        result = CliRunner().invoke(main, [str(word) for word in (command, *options, *arguments)], input=data)
        assert result.exit_code == status, result.output
        return result

    return call


def pixels(source):
    return image.load(source).pixels


def there():
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def test_streams(run):
    """Both directions through standard input and output: the data and nothing else, byte for byte."""
    picture = Path("a.png").read_bytes()
    run("compress", "a.png", "-o", "a.vlae")
    coded = Path("a.vlae").read_bytes()
    for arguments, data in ((["-"], picture), (["-", "-o", "-"], picture), (["a.png", "--stdout"], None)):
        result = run("compress", *arguments, data=data)
        assert result.stdout_bytes == coded
        assert result.stderr.startswith("standard output: 30x20 RGB, ")
    run("compress", "-", "-o", "c.vlae", data=picture)
    assert Path("c.vlae").read_bytes() == coded
    for arguments, data in ((["-"], coded), (["a.vlae", "-c"], None), (["-", "--format", "ppm"], coded)):
        back = run("decompress", *arguments, data=data).stdout_bytes
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(back))), pixels("a.png"))
        assert back[:2] == (b"P6" if "ppm" in arguments else b"\x89P")
    run("decompress", "-", "-o", "d.tif", data=coded)
    assert np.array_equal(pixels("d.tif"), pixels("a.png"))
    assert run("test", "-", data=coded).stderr.startswith("standard input: good, 30x20 RGB, ")
    assert json.loads(run("info", "-", "--json", data=coded).stdout)["bytes"] == len(coded)
    part = run("decompress", "-", "--region", 1, 2, 3, 4, data=coded)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(part.stdout_bytes))), pixels("a.png")[2:6, 1:4])


def test_stream_of_a_file(run):
    """A very file comes back in its own format."""
    Image.fromarray(pixels("a.png")).save("a.jpg")
    data = Path("a.jpg").read_bytes()
    run("compress", "-", data=data)
    Path("a.vlae").write_bytes(vlae_codec.compress("a.jpg", effort=1, threads=1))
    assert run("decompress", "a.vlae", "--stdout").stdout_bytes == data


def test_bad_streams(run):
    for command, data, words in (
        ("compress", b"no picture", "standard input: not an image"),
        ("decompress", b"no file", "standard input: not a .vlae file"),
        ("test", b"\xf6VLAE\r\n\x1a\x02", "standard input: "),
        ("info", b"", "not a .vlae file"),
    ):
        result = run(command, "-", data=data, status=1)
        assert result.stdout_bytes == b""
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    result = run("compress", "-", "--max-memory", 1000, data=bytes(5000), status=1)
    assert "--max-memory" in result.stderr
    assert "folder" in run("compress", "-", "-o", "new/", data=b"", status=1).stderr
    assert "one picture" in run("compress", "-", "a.png", "-o", "new/", status=1).stderr
    assert "one picture" in run("compress", "a.png", "b.png", "--stdout", status=1).stderr
    assert "one picture" in run("compress", ".", "--stdout", status=1).stderr
    for option in ("--json", "--newer", "--skip-existing", "--remove-source", "--dry-run", "-o x"):
        run("compress", "a.png", "--stdout", *option.split(), status=2)
    run("compress", "a.png", "--accept-loss", status=2)


def test_a_file_named_so(run):
    """./- is a file."""
    Path("-").write_bytes(Path("a.png").read_bytes())
    run("compress", "./-", "-o", "x.vlae")
    run("decompress", "x.vlae", "-o", "./-", "--force", status=1)  # whose name says no format
    run("compress", "./-", "-q")
    assert Path("-.vlae").read_bytes() == Path("x.vlae").read_bytes()


def test_beside(run):
    """A name is made of that of the input, and nothing is overwritten."""
    run("compress", "b.png", "-q")
    assert "b.vlae" in there()
    assert "exists already" in run("compress", "b.png", status=1).stderr
    os.unlink("b.png")
    run("decompress", "b.vlae")
    assert image.load("b.png").metadata == {"icc": b"a profile"}
    assert "exists already" in run("decompress", "b.vlae", status=1).stderr
    run("compress", ".", "--skip-existing")
    assert {"a.png.vlae", "a.tif.vlae", "b.vlae"} <= set(there())
    for name in ("a.png", "a.tif", "b.png"):
        os.rename(name, f"old-{name}")
    run("decompress", "a.png.vlae", "a.tif.vlae", "--format", "tif")
    assert np.array_equal(pixels("a.tif"), pixels("old-a.tif"))
    assert np.array_equal(pixels("a.png.tif"), pixels("old-a.png"))


def test_dry_run(run):
    before = there()
    result = run("compress", ".", "-o", "new/deep", "--dry-run")
    assert result.stdout.splitlines() == [
        *("a.png -> new/deep/a.png.vlae", "a.tif -> new/deep/a.tif.vlae", "b.png -> new/deep/b.vlae"),
    ]
    assert there() == before
    assert not Path("new").exists()
    run("compress", "b.png")
    assert "exists already" in run("compress", ".", "--dry-run", status=1).stderr
    lines = run("compress", ".", "--dry-run", "--newer", "--json", "-q").stdout.splitlines()
    found = {row["source"]: row["status"] for row in map(json.loads, lines)}
    assert found == {"a.png": "planned", "a.tif": "planned", "b.png": "left", "b.vlae": "skipped"}


def test_json(run):
    """An object for each file, in the order of the inputs."""
    Path("bad.png").write_text("no picture")
    result = run("compress", "b.png", "bad.png", "a.png", "-q", "--json", "--threads", 3, status=1)
    good, bad, last = map(json.loads, result.stdout.splitlines())
    assert (good["source"], good["output"], good["status"]) == ("b.png", "b.vlae", "done")
    assert (good["source_bytes"], good["output_bytes"]) == (os.path.getsize("b.png"), os.path.getsize("b.vlae"))
    assert good["seconds"] > 0
    assert (good["error"], good["not_kept"], good["removed"], good["lost"]) == (None, [], False, [])
    assert (bad["status"], bad["output_bytes"]) == ("failed", None)
    assert bad["error"].startswith("bad.png: not an image")
    assert last["source"] == "a.png"
    (row,) = map(json.loads, run("test", "b.vlae", "--json", "-q").stdout.splitlines())
    assert (row["output"], row["status"], row["output_bytes"]) == (None, "done", None)
    run("compress", "b.png", "-o", "c.vlae", "--json")
    (row,) = map(json.loads, run("decompress", "c.vlae", "-o", "c.pgm", "--json", status=1).stdout.splitlines())
    assert ".pgm" in row["error"]


def test_order(run, synthetic):
    """Lines stand in the order of the inputs, with any number of jobs, and the files are the same."""
    for number, size in enumerate((200, 20, 90, 20)):
        image.save(f"n{number}.png", synthetic(size, size, number))
    names = [f"n{number}.png" for number in range(4)]
    for folder, options in (("one", ["--jobs", 1]), ("two", ["--jobs", 2, "--threads", 3]), ("all", ["--threads", 4])):
        lines = run("compress", *names, "-o", folder + "/", *options).stderr.splitlines()
        assert [line.split(":")[0] for line in lines[:4]] == [f"{folder}/n{number}.vlae" for number in range(4)]
    for number in range(4):
        assert len({Path(folder, f"n{number}.vlae").read_bytes() for folder in ("one", "two", "all")}) == 1


def test_fail_fast(run):
    for name in ("0.png", "1.png"):
        Path(name).write_text("no picture")
    result = run("compress", "a.png", "0.png", "1.png", "b.png", "--jobs", 1, "--fail-fast", status=1)
    assert result.stderr.splitlines()[-1] == "error: 1 of 4 failed, 2 not begun"
    assert there() == ["0.png", "1.png", "a.png", "a.tif", "a.vlae", "b.png"]
    result = run("compress", "0.png", "1.png", "b.png", "--jobs", 1, "--keep-going", status=1)
    assert result.stderr.splitlines()[-1] == "error: 2 of 3 failed"
    assert "b.vlae" in there()


def test_times_and_permissions(run):
    """Those of the source; but a file that is replaced keeps its own permissions."""
    os.utime("b.png", ns=(10**18, 10**18 + 123456789))
    os.chmod("b.png", 0o640)
    run("compress", "b.png")
    status = os.stat("b.vlae")
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (10**18 + 123456789, 0o640)
    run("decompress", "b.vlae", "-o", "c.png")
    status = os.stat("c.png")
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (10**18 + 123456789, 0o640)
    os.chmod("b.vlae", 0o600)
    run("compress", "b.png", "--force")
    assert os.stat("b.vlae").st_mode & 0o777 == 0o600
    assert "left as it is" in run("compress", "b.png", "--newer").stderr
    os.utime("b.png", ns=(10**18, 10**18 + 123456790))
    assert "left" not in run("compress", "b.png", "--newer").stderr


def test_remove_source(run):
    """A source goes when its output gives all of it again, and comes back the other way."""
    before = {name: (pixels(name), image.load(name).metadata) for name in ("a.png", "b.png", "a.tif")}
    row = json.loads(run("compress", "b.png", "--remove-source", "--json").stdout)
    assert row["removed"]
    run("compress", "a.png", "a.tif", "--remove-source")
    assert there() == ["a.png.vlae", "a.tif.vlae", "b.vlae"]
    run("decompress", "a.png.vlae", "b.vlae", "--remove-source")
    run("decompress", "a.tif.vlae", "-o", "a.tif", "--remove-source")
    assert there() == ["a.png", "a.tif", "b.png"]
    for name, (samples, metadata) in before.items():
        assert np.array_equal(pixels(name), samples)
        assert image.load(name).metadata == metadata


def test_what_is_not_kept_stays(run):
    """Metadata that were dropped, a JPEG of which only pixels are kept, what a format has no place for."""
    result = run("compress", "b.png", "--strip", "--remove-source", "--json")
    assert not json.loads(result.stdout)["removed"]
    assert "b.png stays: b.vlae lacks the ICC profile" in result.stderr
    assert "b.png" in there()
    run("compress", "b.png", "--force")
    result = run("decompress", "b.vlae", "-o", "c.ppm", "--remove-source")
    assert "b.vlae stays: c.ppm lacks " in result.stderr
    Image.fromarray(pixels("a.png")).save("j.jpg")
    run("compress", "j.jpg", "--strip", "--remove-source")  # for its pixels it does
    assert "j.jpg" in there()
    run("compress", "b.png", "-o", "d.vlae", "--strip", "--remove-source", "--accept-loss")
    assert "b.png" not in there()


def test_exact_stays(run):
    """A .vlae file that has the recipe of a very file stays if that is not what was written."""
    Image.fromarray(pixels("a.png")).save("e.png")
    run("compress", "e.png", "--exact", "--remove-source")
    assert "e.png" not in there()
    assert "lacks the recipe" in run("decompress", "e.vlae", "-o", "e.tif", "--remove-source").stderr
    run("decompress", "e.vlae", "--remove-source")
    assert "e.vlae" not in there()


@pytest.mark.parametrize("direction", ["compress", "decompress"])
@pytest.mark.parametrize("harm", ["lost", "other", "source"])
def test_read_back(run, monkeypatch, synthetic, direction, harm):
    """What does not come back from the disk as it should keeps the source, and is an error."""
    run("compress", "b.png")
    run("compress", "a.png", "-o", "x.vlae")
    source, output, wrong = ("b.png", "y.vlae", "x.vlae") if direction == "compress" else ("b.vlae", "y.png", "a.png")

    def harmed(path, *arguments, real=files.write_file):
        real(path, *arguments)
        if harm == "lost":
            os.unlink(path)
        elif harm == "other":
            Path(path).write_bytes(Path(wrong).read_bytes())
        else:
            Path(source).write_bytes(Path(wrong if direction == "decompress" else "a.png").read_bytes())

    monkeypatch.setattr(files, "write_file", harmed)
    run(direction, source, "-o", output, "--remove-source", status=1)
    assert Path(source).exists()


def test_test(run):
    """Folders and files, and the status."""
    run("compress", "a.png", "b.png", "-o", "coded/")
    before = there()
    result = run("test", "coded", "coded/a.vlae")
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("all: 3 files are good, ")
    assert run("test", "coded", "-q").output == ""
    assert there() == before
    data = bytearray(Path("coded/b.vlae").read_bytes())
    data[-20] ^= 1
    Path("coded/b.vlae").write_bytes(data)
    result = run("test", "coded", status=1)
    assert "error: coded/b.vlae: tile 0 " in result.stderr
    assert result.stderr.splitlines()[-1] == "error: 1 of 2 failed"
    run("test", "missing.vlae", status=1)


def test_test_of_a_recipe(run):
    """A recipe that does not fit its picture is damage, too."""
    data = vlae_codec.compress(Picture(pixels("a.png"), {"file": b"\x01" + bytes(40)}), effort=1, threads=1)
    Path("x.vlae").write_bytes(data)
    assert "recipe" in run("test", "x.vlae", status=1).stderr


def test_salvage(run, monkeypatch):
    """Status 3, the picture with a hole, and its place."""
    monkeypatch.setattr("vlae_codec.pictures.planes.TILE_SIZE", 16)
    run("compress", "b.png", "-o", "good.vlae", "--no-verify")
    data = bytearray(Path("good.vlae").read_bytes())
    data[-20] ^= 1
    Path("bad.vlae").write_bytes(data)
    run("decompress", "bad.vlae", status=1)
    result = run("decompress", "bad.vlae", "--salvage", "--json", status=3)
    row = json.loads(result.stdout)
    assert row["status"] == "salvaged"
    (hole,) = row["lost"]
    assert (hole["x"], hole["y"], hole["width"], hole["height"]) == (16, 16, 14, 4)
    assert "bad.png: lost: 14x4 at x=16, y=16: tile 3 " in result.stderr
    back, before = pixels("bad.png"), pixels("b.png")
    assert (back[16:, 16:] == 128).all()
    assert np.array_equal(back[:16], before[:16])
    run("decompress", "good.vlae", "--salvage")
    run("decompress", "good.vlae", "bad.vlae", "-o", "new/", "--salvage", status=3)
    Path("worse.vlae").write_bytes(data[:20])
    run("decompress", "worse.vlae", "bad.vlae", "-o", "newer/", "--salvage", status=1)
    assert "newer/bad.png" in there()
    for options in (["--region", 0, 0, 1, 1], ["--remove-source"]):
        run("decompress", "bad.vlae", "--salvage", "-o", "z.png", *options, status=2)


@pytest.mark.skipif(os.name != "posix", reason="the test needs a POSIX shell")
@pytest.mark.parametrize("reader", ["true", "dd bs=1 count=1 >/dev/null 2>&1"])
def test_closed_pipe(run, reader, tiny):
    """Quiet, with the status of a program that SIGPIPE ends."""
    image.save("noise.png", np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8))
    run("compress", "noise.png")
    program = " ".join(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(vlae_codec.__file__).parent.parent)}
    small = ["info noise.vlae", "--help"] if reader == "true" else []  # they may be done before their reader has gone
    for command in ("compress noise.png --effort 1 -q -c", "decompress noise.vlae -q -c", *small):
        line = f"{{ {program} {command}; echo $? >&2; }} | {{ {reader}; }}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment)
        assert done.stderr == "141\n", command


def test_terminal(run, monkeypatch):
    """Data do not go to a terminal by mistake."""

    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr("vlae_codec.cli.running.sys.stdout", Terminal(io.BytesIO()), raising=False)
    from vlae_codec.cli.app import Failure
    from vlae_codec.cli.running import Places, _check

    options = dict.fromkeys(("skip_existing", "newer", "remove_source", "accept_loss", "dry_run", "force"), False)
    with pytest.raises(Failure, match="terminal"):
        _check(Places(["a.png"], "-", False), False, options)
    _check(Places(["a.png"], "-", False), False, options | {"force": True})


def test_patterns(run, monkeypatch):
    """On Windows the program expands them; elsewhere the shell has."""
    from vlae_codec.cli import running

    assert list(running.expanded(["*.png"])) == ["*.png"]
    monkeypatch.setattr(running.os, "name", "nt")
    try:
        found = running.expanded(["*.png", "-"])
    finally:
        monkeypatch.undo()
    assert found == ["a.png", "b.png", "-"]
