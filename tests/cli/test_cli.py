"""The command line, with the tiny model."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vlae_codec
from vlae_codec.adapter import effort
from vlae_codec.cli import main
from vlae_codec.format import container, stored
from vlae_codec.images import image

RGB = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def run(tiny, synthetic, tmp_path, monkeypatch):
    """Runs a command, with the tiny model and two threads unless it says otherwise, in a folder with pictures in it."""
    monkeypatch.chdir(tmp_path)
    image.save("in.png", RGB)
    for name, seed in (("album/b.png", 2), ("album/deep/c.tif", 3)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(name, synthetic(20, 30, seed))

    def call(command, *arguments):
        options = ["--model", tiny, "--threads", 2] if command in ("compress", "decompress") else []
        options += ["--effort", 1] if command == "compress" else []
        return CliRunner().invoke(main, [str(argument) for argument in (command, *options, *arguments)])

    return call


def fails(result, *words):
    """One clear line on stderr, exit status 1."""
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words), result.stderr
    return True


def test_sanity(run):
    result = run("compress", "in.png", "-o", "out.vlae", "--device", "cpu", "--no-verify")
    assert result.exit_code == 0, result.output
    size, before = os.path.getsize("out.vlae"), os.path.getsize("in.png")
    start = f"out.vlae: 30x20 RGB, {size:,} bytes, {8 * size / RGB.size:.3f} bpsp, {100 * size / RGB.size:.0f} % of the"
    assert result.stderr.startswith(f"{start} pixels' bytes; ")
    assert f"{before:,}" in result.stderr
    assert result.stderr.count("\n") == 1
    result = run("decompress", "out.vlae", "-o", "out.png")
    assert result.exit_code == 0
    after = os.path.getsize("out.png")
    assert result.stderr.startswith(f"out.png: 30x20 RGB, {after:,} bytes; out.vlae: {size:,} bytes, ")
    assert np.array_equal(image.load("out.png").pixels, RGB)


def test_larger(run, synthetic):
    """The summary says when the file is larger than the input file, of one file and of a folder."""
    from PIL import Image

    Path("mixed").mkdir()
    Image.fromarray(synthetic(64, 64, 1)).save("mixed/small.jpg", quality=5)
    Image.fromarray(synthetic(64, 64, 1)).save("mixed/large.bmp")
    result = run("compress", "mixed/small.jpg", "-o", "small.vlae")
    before, size = os.path.getsize("mixed/small.jpg"), os.path.getsize("small.vlae")
    assert f"larger than mixed/small.jpg: {before:,} -> {size:,} bytes" in result.stderr
    result = run("compress", "mixed/large.bmp", "-o", "large.vlae")
    assert "larger" not in result.stderr
    large = os.path.getsize("large.vlae")
    assert f"{100 * large / (64 * 64 * 3 + 54):.0f} % of mixed/large.bmp (12,342 bytes)" in result.stderr
    result = run("compress", "mixed", "-o", "coded")
    total = result.stderr.splitlines()[-1]
    assert total.startswith(f"coded: 2 pictures, 1 of them larger than the input file, {size + large:,} bytes")
    assert f"({before + 12342:,} bytes)" in total


def test_quiet(run):
    for arguments in (("compress", "in.png", "-o", "out.vlae"), ("decompress", "out.vlae", "-o", "out.png")):
        result = run(*arguments, "-q")
        assert (result.exit_code, result.output) == (0, "")


def test_effort(run):
    shown = run("compress", "--help").stdout
    assert all(text in shown for text in ("--effort", "1<=x<=9", f"default: {effort.DEFAULT}", "--seed"))
    assert "--effort" not in run("decompress", "--help").stdout


def test_real_effort(tiny, tmp_path, monkeypatch):
    """The codec itself, from the command line to the file and back: effort 2 finds an adapter, and the seed matters."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stored, "worth_a_try", lambda *_: False)
    y, x = np.mgrid[:192, :256]  # like nothing that the model was trained on
    waves = 100 + 60 * np.sin(x / 3)[..., None] + 30 * np.cos(y / 2)[..., None] * [1, -1, 0.5]
    pixels = (waves + np.random.default_rng(1).normal(0, 6, waves.shape)).round().clip(0, 255).astype(np.uint8)
    image.save("in.png", pixels)
    runner, files = CliRunner(), []
    for level, seed in ((1, 3), (2, 3), (2, 3), (2, 4)):
        arguments = ["-q", "-f", "--model", str(tiny), "--threads", "1"]
        options = [*arguments, "--effort", str(level), "--seed", str(seed)]
        assert runner.invoke(main, ["compress", "in.png", "-o", "out.vlae", *options]).exit_code == 0
        files.append(Path("out.vlae").read_bytes())
        assert (container.read(files[-1]).parts[0].adapter is not None) == (level > 1)
        assert runner.invoke(main, ["decompress", "out.vlae", "-o", "out.png", *arguments]).exit_code == 0
        assert np.array_equal(image.load("out.png").pixels, pixels)
    assert files[1] == files[2] != files[3]
    assert max(map(len, files[1:])) < 0.99 * len(files[0])


def test_grey(run):
    image.save("grey.png", RGB[..., 0])
    assert run("compress", "grey.png", "-o", "out.vlae").exit_code == 0
    assert fails(run("decompress", "out.vlae", "-o", "out.ppm"), "use .png")
    assert run("decompress", "out.vlae", "-o", "out.pgm").exit_code == 0
    assert np.array_equal(image.load("out.pgm").pixels, RGB[..., 0])


def test_info(run):
    run("compress", "in.png", "-o", "out.vlae")
    with open("out.vlae", "rb") as file:
        size = len(file.read())
    result = run("info", "out.vlae", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    expected = {"width": 30, "height": 20, "mode": "RGB", "bytes": size, "streams": 1}
    assert facts | expected == facts
    assert facts["bpsp"] == pytest.approx(8 * size / RGB.size)
    assert sum(facts["items"].values()) == size
    assert facts["methods"] == {"raw": 1}  # noise
    result = run("info", "out.vlae")
    assert result.exit_code == 0
    assert "30x20 RGB" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["info", "out.vlae"], {"torch", "numpy"}),
        (["models"], {"torch"}),
        (["--help"], {"torch", "numpy"}),
        (["compress", "--help"], {"torch", "numpy"}),
        (["decompress", "--help"], {"torch", "numpy"}),
        (["sample", "--help"], {"torch", "numpy"}),
    ],
)
def test_imports_little(run, arguments, forbidden):
    run("compress", "in.png", "-o", "out.vlae")
    code = (
        f"import sys; from vlae_codec.cli import main; main({arguments!r}, standalone_mode=False); "
        f"print(sorted({forbidden!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_missing_input(run, tmp_path, command):
    output = "out.vlae" if command == "compress" else "out.png"
    assert fails(run(command, "missing.png", "-o", output), "cannot read missing.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "in.png"]


def test_invalid(run, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert fails(run("compress", "text.png", "-o", "out.vlae"), "text.png", "not an image")
    assert fails(run("decompress", "in.png", "-o", "out.png"), "in.png", "not a .vlae file")
    assert fails(run("info", "in.png"), "in.png", "not a .vlae file")
    assert fails(run("info", "missing.vlae"), "missing.vlae")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "in.png", "text.png"]


def test_truncated(run, tmp_path):
    run("compress", "in.png", "-o", "out.vlae")
    data = (tmp_path / "out.vlae").read_bytes()
    (tmp_path / "cut.vlae").write_bytes(data[:-10])
    (tmp_path / "bad.vlae").write_bytes(data[:1000] + bytes([data[1000] ^ 4]) + data[1001:])
    assert fails(run("decompress", "cut.vlae", "-o", "out.png"), "cut.vlae", "damaged")
    assert fails(run("decompress", "bad.vlae", "-o", "out.png"), "bad.vlae", "tile 0")
    assert fails(run("info", "bad.vlae"), "bad.vlae", "tile 0")
    assert not (tmp_path / "out.png").exists()


def test_no_overwrite(run, tmp_path):
    for command, source, output in (("compress", "in.png", "out.vlae"), ("decompress", "out.vlae", "out.png")):
        path = tmp_path / output
        path.write_text("precious")
        assert fails(run(command, source, "-o", output), output, "--force")
        assert path.read_text() == "precious"
        assert run(command, source, "-o", output, "--force").exit_code == 0
        assert path.read_bytes() != b"precious"
    before = (tmp_path / "in.png").read_bytes()
    assert fails(run("compress", "in.png", "-o", tmp_path / "in.png", "--force"), "is the input file")
    assert (tmp_path / "in.png").read_bytes() == before


def test_unwritable(run, tmp_path):
    for output in ("in.png/out.vlae", "missing/out.vlae", "/dev/null"):
        assert fails(run("compress", "in.png", "-o", output), "error")
    run("compress", "in.png", "-o", "out.vlae")
    assert fails(run("decompress", "out.vlae", "-o", "in.png/out.png"))
    assert fails(run("decompress", "out.vlae", "-o", "out.jpg"), "made of a JPEG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "in.png", "out.vlae"]


def test_unknown_model(run, tiny, tmp_path):
    run("compress", "in.png", "-o", "out.vlae")
    run("compress", "album/b.png", "-o", "out.vlae", "-f")
    result = CliRunner().invoke(main, ["decompress", "out.vlae", "-o", "out.png"])
    assert fails(
        result, (container.read(Path("out.vlae").read_bytes()).parts[0].planes.model_id or b"").hex(), "--model"
    )
    assert not (tmp_path / "out.png").exists()


def test_names(run):
    """A .vlae file is not named like a picture by mistake."""
    assert fails(run("compress", "in.png", "-o", "out.PNG"), "out.PNG", "picture", ".vlae")
    assert run("compress", "in.png", "-o", "out.png", "--force").exit_code == 0
    assert run("compress", "in.png", "-o", "out").exit_code == 0
    assert Path("out").read_bytes() == Path("out.png").read_bytes()
    assert fails(run("decompress", "out", "-o", "b.vlae"), "b.vlae")


@pytest.mark.parametrize("option", ["--max-pixels", "--max-memory"])
@pytest.mark.parametrize("command", ["compress", "decompress", "folder"])
def test_limits(run, command, option):
    """What one file may ask for: 600 pixels here, and a file of 2 kB."""
    run("compress", "in.png", "-o", "out.vlae")
    options = {
        "compress": ("compress", "in.png", "-o", "new.vlae"),
        "decompress": ("decompress", "out.vlae", "-o", "new.png"),
        "folder": ("compress", "in.png", "album/b.png", "-o", "new/"),
    }[command]
    result = run(*options, option, "0.5k")
    assert result.exit_code == 1
    assert option in result.stderr
    assert not any(path.is_file() for path in Path().glob("new*"))
    for size in ("100k", "500M", "1G", "268435456"):
        assert run(*options, option, size, "-f").exit_code == 0
    for bad in ("0", "-1", "1x", "many", "1e5", ""):
        assert run(*options, option, bad, "-f").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["compress", "-o", "out.vlae"],
        ["compress", "in.png", "-o", "out.vlae", "--threads", "0"],
        ["compress", "in.png", "-o", "out.vlae", "--device", "abacus"],
        ["compress", "in.png", "-o", "out.vlae", "--effort", "0"],
        ["compress", "in.png", "-o", "out.vlae", "--effort", "10"],
        ["compress", "in.png", "-o", "out.vlae", "--effort", "most"],
        ["compress", "in.png", "-o", "out.vlae", "--seed", "x"],
        ["decompress", "in.vlae", "-o", "out.png", "--effort", "2"],
        ["decompress", "in.vlae", "-o", "out.png", "--verify"],
        ["decompress", "in.vlae", "-o", "out.png", "--region", "1", "2", "3"],
        ["decompress", "in.vlae", "-o", "out.png", "--region", "1", "2", "3", "x"],
        ["decompress", "in.vlae", "-o", ".", "--region", "0", "0", "1", "1"],
        ["decompress", "in.vlae", "-o", "out.png", "--format", "png"],
        ["decompress", "in.vlae", "-o", ".", "--format", "jpg"],
        ["compress", "in.png", "-o", "out.vlae", "--newer", "--skip-existing"],
        ["decompress", "in.vlae", "-o", "out.png", "--newer", "--skip-existing"],
    ],
)
def test_usage(run, tmp_path, arguments):
    assert run(*arguments).exit_code == 2
    assert not (tmp_path / "out.vlae").exists()


def test_help_and_version(run):
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("compress", "decompress", "info", "train"))
    assert "torch" not in run("compress", "--help").stdout
    assert run("--version").stdout.startswith("vlae-codec, version 0.")


def test_help_texts(run):
    """No text begins with "Of", and every option has one."""
    import click

    for name in main.list_commands(None):
        command = main.get_command(None, name)
        for option in command.params:
            if isinstance(option, click.Option) and name != "train":
                assert option.help, (name, option.name)
                assert not option.help.startswith("Of "), (name, option.name)


@pytest.mark.parametrize("quiet", [False, True])
def test_progress(run, tiny, quiet):
    """A bar is drawn on a terminal, without -q."""
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    image.save("large.png", np.resize(np.arange(256, dtype=np.uint8), (200, 300, 3)))
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [sys.executable, "-m", "vlae_codec.cli", "compress", "large.png", "-o", "out.vlae", "--model", str(tiny)]
    done = subprocess.run([*command, "--effort", "2", *(["-q"] if quiet else [])], stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while data := os.read(master, 1 << 16):
            shown += data
    except OSError:  # the end, on Linux
        pass
    os.close(master)
    assert done.returncode == 0
    assert (b"compress" in shown) == (not quiet)
    assert (b"out.vlae: 300x200 RGB" in shown) == (not quiet)


def test_region(run):
    assert run("compress", "in.png", "-o", "a.vlae").exit_code == 0
    result = run("decompress", "a.vlae", "-o", "part.png", "--region", 5, 6, 7, 8)
    assert result.exit_code == 0
    assert result.stderr.startswith("part.png: 7x8 at x=5, y=6 of 30x20 RGB, ")
    assert np.array_equal(image.load("part.png").pixels, image.load("in.png").pixels[6:14, 5:12])
    assert fails(run("decompress", "a.vlae", "-o", "no.png", "--region", 5, 6, 26, 8), "30x20")
    assert fails(run("decompress", "a.vlae", "-o", "no.png", "--region", 5, 6, 0, 8), "30x20")
    assert not Path("no.png").exists()


def test_folders(run, tmp_path):
    """Folders and files into a folder, and back."""
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    (tmp_path / "album" / ".hidden.png").write_text("no picture")
    result = run("compress", "in.png", "album", "-o", "coded")
    assert result.exit_code == 0, result.output
    names = ["b.vlae", "deep/c.vlae", "in.vlae"]
    assert sorted(str(p.relative_to("coded")) for p in Path("coded").rglob("*.*")) == names
    lines = result.stderr.splitlines()
    assert all(any(line.startswith(f"coded/{name}: 30x20 RGB, ") for line in lines) for name in names)
    assert lines[-2].startswith("coded: 3 pictures, ")
    assert lines[-1] == "skipped 2 other files (.png, .txt): -v names them"
    result = run("decompress", "coded", "-o", "back", "--format", "ppm", "-q")
    assert (result.exit_code, result.output) == (0, "")
    for name, source in zip(names, ("album/b.png", "album/deep/c.tif", "in.png")):
        back = Path("back", name).with_suffix(".ppm")
        assert np.array_equal(image.load(back).pixels, image.load(source).pixels)
    lines = run("compress", "album", "-o", "again", "-v").stderr.splitlines()
    assert "skipped album/.hidden.png: it is hidden" in lines
    assert any(line.startswith("skipped album/notes.txt: its name does not end") for line in lines)


@pytest.mark.parametrize("output", ["there", "new/", "new/deep/"])
def test_one_file_into_a_folder(run, output):
    Path("there").mkdir()
    result = run("compress", "in.png", "-o", output)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("\n") == 1
    assert run("decompress", f"{output}/in.vlae", "-o", output).exit_code == 0
    assert np.array_equal(image.load(f"{output}/in.png").pixels, RGB)
    assert fails(run("compress", "in.png", "-o", "in.png/"), "in.png")


def test_resumed(run):
    """A run that was interrupted goes on, without --force."""
    assert run("compress", "album/b.png", "-o", "coded/").exit_code == 0
    Path("coded/b.vlae").write_text("kept")
    for _ in range(2):
        result = run("compress", "album", "-o", "coded", "--skip-existing", "-v")
        assert result.exit_code == 0, result.output
        assert "left as it is: coded/b.vlae" in result.stderr.splitlines()
        assert Path("coded/b.vlae").read_text() == "kept"
    assert result.stderr.splitlines()[-1] == "2 outputs left as before"
    os.utime("album/deep/c.tif", (4e9, 4e9))
    written = Path("coded/deep/c.vlae").stat().st_mtime_ns
    result = run("compress", "album", "-o", "coded", "--newer")
    assert result.exit_code == 0, result.output
    assert Path("coded/b.vlae").read_text() == "kept"
    assert Path("coded/deep/c.vlae").stat().st_mtime_ns > written
    assert result.stderr.splitlines()[-1] == "1 output left as before"
    for option in ("--newer", "--skip-existing"):
        result = run("compress", "album/b.png", "-o", "coded/b.vlae", option)
        assert (result.exit_code, result.stderr) == (0, "left as it is: coded/b.vlae\n")
    assert run("compress", "album/deep/c.tif", "-o", "coded/deep/c.vlae", "--newer").exit_code == 0
    assert run("decompress", "coded/deep/c.vlae", "-o", "c.png", "--newer").exit_code == 0
    os.utime("coded/deep/c.vlae", (1, 1))
    assert "left as it is" in run("decompress", "coded/deep/c.vlae", "-o", "c.png", "--newer").stderr


def test_failures_of_some(run, tmp_path):
    """The others are done, what failed is said at the end, and the status is 1."""
    (tmp_path / "album" / "bad.png").write_text("no picture")
    for arguments in (["album", "missing.png"], ["album", "missing.png", "-q"]):
        result = run("compress", *arguments, "-o", "coded", "--force")
        assert result.exit_code == 1
        assert Path("coded/b.vlae").exists()
        assert Path("coded/deep/c.vlae").exists()
        *_, first, second, last = result.stderr.splitlines()
        assert first.startswith("error: album/bad.png: not an image")
        assert second.startswith("error: cannot read missing.png")
        assert last == "error: 2 of 4 failed"
    assert fails(run("compress", "album", "-o", "coded"), "coded/b.vlae and 1 more", "--force")


@pytest.mark.parametrize("kind", ["png", "tif", "webp", "ppm", "pnm", "pgm", "pbm"])
def test_formats(run, kind):
    """Each format of --format can be written, from the pictures that it has a place for."""
    pixels = {"pgm": RGB[..., 0], "pbm": RGB[..., 0] > 99}.get(kind, RGB)
    Path("in.vlae").write_bytes(vlae_codec.compress(pixels, effort=1, threads=1))
    result = CliRunner().invoke(main, ["decompress", "in.vlae", "-o", "back/", "--format", kind])
    assert result.exit_code == 0, result.output
    assert np.array_equal(image.load(f"back/in.{kind}").pixels, pixels)
