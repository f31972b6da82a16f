"""The command line, with a stand-in for the codec: tiles are stored, not modelled."""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vlae_codec
from vlae_codec import errors
from vlae_codec.adapter import effort
from vlae_codec.cli import main
from vlae_codec.format import container, stored
from vlae_codec.pictures import image

RGB = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)
MODEL = b"nomodel!"


def fake_api(calls):
    def compress(source, **options):
        calls.append(options)
        if options["progress"]:
            options["progress"](300, 600)
            options["watch"](effort.Fitting(0.5, 4.0, 3.0))
            options["progress"](0, 600)
        picture = image.load(source)
        pixels = picture.pixels.reshape(*picture.pixels.shape[:2], -1)
        height, width, _ = pixels.shape
        grid = container.tile_grid(width, height, 16)
        tiles = [container.TileRecord(*stored.store(pixels[y : y + h, x : x + w])) for y, x, h, w in grid]
        return container.write(container.Header(width, height, picture.mode, MODEL, 16), tiles, picture.metadata)

    def decompress_picture(data, **options):
        calls.append(options)
        contents = container.read(data)
        header = contents.header
        pixels = np.zeros((header.height, header.width, header.channels), np.uint8)
        grid = container.tile_grid(header.width, header.height, header.tile_size)
        for tile, (y, x, h, w) in zip(contents.tiles, grid):
            (part,) = stored.restore(tile.method, tile.data, [(h, w)], header.mode)
            pixels[y : y + h, x : x + w] = part.reshape(h, w, -1)
        return image.Picture(pixels[..., 0] if header.mode == "L" else pixels, contents.metadata)

    module = types.ModuleType("vlae_codec.api")
    vars(module).update(compress=compress, decompress_picture=decompress_picture)
    return module


@pytest.fixture
def calls(monkeypatch):
    calls: list[dict] = []
    module = fake_api(calls)
    monkeypatch.setitem(sys.modules, "vlae_codec.api", module)
    monkeypatch.setattr(vlae_codec, "api", module, raising=False)
    return calls


@pytest.fixture
def run(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image.save("in.png", RGB)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, [str(argument) for argument in arguments])


def fails(result, *words):
    """One clear line on stderr, exit status 1."""
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words), result.stderr
    return True


def test_sanity(run, calls):
    result = run(
        "compress", "in.png", "-o", "out.vlae", "--threads", 2, "--device", "cpu", "--model", "m", "--no-verify"
    )
    assert result.exit_code == 0
    assert result.stderr.startswith("out.vlae: 30x20 RGB, 1800 samples <-> ")
    assert result.stderr.count("\n") == 1
    result = run("decompress", "out.vlae", "-o", "out.png")
    assert result.exit_code == 0
    assert np.array_equal(image.load("out.png").pixels, RGB)
    assert calls == [
        {"model": "m", "device": "cpu", "threads": 2, "verify": False, "progress": None, "watch": None}
        | {"effort": effort.DEFAULT, "seed": 1},
        {"model": None, "device": "auto", "threads": None, "progress": None, "region": None},
    ]


def test_quiet(run, calls):
    for arguments in (("compress", "in.png", "-o", "out.vlae"), ("decompress", "out.vlae", "-o", "out.png")):
        result = run(*arguments, "-q")
        assert (result.exit_code, result.output) == (0, "")
    assert calls[0]["verify"]


def test_effort(run, calls):
    for level, seed in ((1, 1), (9, 7)):
        result = run("compress", "in.png", "-o", "out.vlae", "-f", "--effort", level, "--seed", seed)
        assert result.exit_code == 0
        assert (calls[-1]["effort"], calls[-1]["seed"]) == (level, seed)
    shown = run("compress", "--help").stdout
    assert all(text in shown for text in ("--effort", "1<=x<=9", f"default: {effort.DEFAULT}", "--seed"))
    assert "--effort" not in run("decompress", "--help").stdout


def test_real_effort(tiny, tmp_path, monkeypatch):
    """The codec itself, from the command line to the file and back: effort 2 finds an adapter, and the seed matters."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:192, :256]  # like nothing that the model was trained on
    waves = 100 + 60 * np.sin(x / 3)[..., None] + 30 * np.cos(y / 2)[..., None] * [1, -1, 0.5]
    pixels = (waves + np.random.default_rng(1).normal(0, 1.5, waves.shape)).round().clip(0, 255).astype(np.uint8)
    image.save("in.png", pixels)
    runner, files = CliRunner(), []
    for level, seed in ((1, 3), (2, 3), (2, 3), (2, 4)):
        arguments = ["-q", "-f", "--model", str(tiny), "--threads", "1"]
        options = [*arguments, "--effort", str(level), "--seed", str(seed)]
        assert runner.invoke(main, ["compress", "in.png", "-o", "out.vlae", *options]).exit_code == 0
        files.append(Path("out.vlae").read_bytes())
        assert (container.read(files[-1]).adapter is not None) == (level > 1)
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
    expected = {"width": 30, "height": 20, "mode": "RGB", "bytes": size, "model": MODEL.hex(), "tiles": 4}
    assert facts | expected == facts
    assert facts["bpsp"] == pytest.approx(8 * size / RGB.size)
    assert sum(facts["items"].values()) == size
    assert facts["methods"] == {"raw": 4}
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
    assert fails(run(command, "missing.png", "-o", "out.png"), "cannot read missing.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png"]


def test_invalid(run, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert fails(run("compress", "text.png", "-o", "out.vlae"), "text.png", "not an image")
    assert fails(run("decompress", "in.png", "-o", "out.png"), "in.png", "not a .vlae file")
    assert fails(run("info", "in.png"), "in.png", "not a .vlae file")
    assert fails(run("info", "missing.vlae"), "missing.vlae")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "text.png"]


def test_truncated(run, tmp_path):
    run("compress", "in.png", "-o", "out.vlae")
    data = (tmp_path / "out.vlae").read_bytes()
    (tmp_path / "cut.vlae").write_bytes(data[:-10])
    (tmp_path / "bad.vlae").write_bytes(data[:1000] + bytes([data[1000] ^ 4]) + data[1001:])
    assert fails(run("decompress", "cut.vlae", "-o", "out.png"), "cut.vlae", "damaged")
    assert fails(run("decompress", "bad.vlae", "-o", "out.png"), "bad.vlae", "tile 1")
    assert fails(run("info", "bad.vlae"), "bad.vlae", "tile 1")
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


def test_unwritable(run, calls, tmp_path):
    for output in ("in.png/out.vlae", "missing/out.vlae", "/dev/null"):
        assert fails(run("compress", "in.png", "-o", output), "error")
    run("compress", "in.png", "-o", "out.vlae")
    assert fails(run("decompress", "out.vlae", "-o", "in.png/out.png"))
    assert fails(run("decompress", "out.vlae", "-o", "out.jpg"), "lossless")
    assert len(calls) == 1  # refused before the work, not after it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.vlae"]


def test_errors_of_the_codec(run, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise errors.UnknownModel(MODEL, ["here"])

    monkeypatch.setattr(sys.modules["vlae_codec.api"], "compress", fail)
    assert fails(run("compress", "in.png", "-o", "out.vlae"), MODEL.hex(), "here", "--model")
    assert not (tmp_path / "out.vlae").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["compress", "in.png"],
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


@pytest.fixture
def terminal(monkeypatch):
    from vlae_codec.cli import coding

    monkeypatch.setattr(coding, "sys", types.SimpleNamespace(stderr=types.SimpleNamespace(isatty=lambda: True)))


def test_progress(run, calls, terminal):
    """A bar is drawn for a terminal only."""
    result = run("compress", "in.png", "-o", "out.vlae")
    assert result.exit_code == 0
    assert calls[0]["progress"] is not None
    assert calls[0]["watch"] is not None
    assert all(text in result.stderr for text in ("adapt 50%", "3.000 bpsp, -25.0%", "compress"))
    assert run("compress", "in.png", "-o", "out.vlae", "-f", "-q").exit_code == 0
    assert calls[1]["progress"] is None


# ---------------------------------------------------------------------------------------------------- the codec itself


@pytest.fixture
def real(tiny, synthetic, tmp_path, monkeypatch):
    """Runs a command with the tiny model, in a folder with pictures in it."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a.png", 1), ("album/b.png", 2), ("album/deep/c.tif", 3)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(name, synthetic(20, 30, seed))
    runner = CliRunner()

    def call(command, *arguments):
        options = ["--model", tiny, "--threads", 2, *(["--effort", 1] if command == "compress" else [])]
        return runner.invoke(main, [str(argument) for argument in (command, *arguments, *options)])

    return call


def test_region(real):
    assert real("compress", "a.png", "-o", "a.vlae").exit_code == 0
    result = real("decompress", "a.vlae", "-o", "part.png", "--region", 5, 6, 7, 8)
    assert result.exit_code == 0
    assert result.stderr.startswith("part.png: 7x8 at x=5, y=6 of 30x20 RGB, ")
    assert np.array_equal(image.load("part.png").pixels, image.load("a.png").pixels[6:14, 5:12])
    assert fails(real("decompress", "a.vlae", "-o", "no.png", "--region", 5, 6, 26, 8), "30x20")
    assert fails(real("decompress", "a.vlae", "-o", "no.png", "--region", 5, 6, 0, 8), "30x20")
    assert not Path("no.png").exists()


def test_folders(real, tmp_path, terminal):
    """Folders and files into a folder, and back."""
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    result = real("compress", "a.png", "album", "-o", "coded")
    assert result.exit_code == 0, result.output
    names = ["a.vlae", "b.vlae", "deep/c.vlae"]
    assert sorted(str(p.relative_to("coded")) for p in Path("coded").rglob("*.*")) == names
    lines = result.stderr.splitlines()
    assert all(any(f"coded/{name}: 30x20 RGB, 1800 samples <-> " in line for line in lines) for name in names)
    assert "coded: 3 pictures, 5400 samples <-> " in lines[-2]
    assert lines[-1] == "skipped 1 other files (.txt)"
    result = real("decompress", "coded", "-o", "back", "--format", "ppm", "-q")
    assert (result.exit_code, result.output) == (0, "")
    for name, source in zip(names, ("a.png", "album/b.png", "album/deep/c.tif")):
        back = Path("back", name).with_suffix(".ppm")
        assert np.array_equal(image.load(back).pixels, image.load(source).pixels)


def test_one_file_into_a_folder(real, tmp_path):
    (tmp_path / "out").mkdir()
    result = real("compress", "a.png", "-o", "out")
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert real("decompress", "out/a.vlae", "-o", "out").exit_code == 0
    assert np.array_equal(image.load("out/a.png").pixels, image.load("a.png").pixels)


def test_failures_of_some(real, tmp_path):
    """The others are done, what failed is said at the end, and the status is 1."""
    (tmp_path / "album" / "bad.png").write_text("no picture")
    for arguments in (["album", "missing.png"], ["album", "missing.png", "-q"]):
        result = real("compress", *arguments, "-o", "coded", "--force")
        assert result.exit_code == 1
        assert Path("coded/b.vlae").exists()
        assert Path("coded/deep/c.vlae").exists()
        *_, first, second, last = result.stderr.splitlines()
        assert first.startswith("error: album/bad.png: not an image")
        assert second.startswith("error: cannot read missing.png")
        assert last == "error: 2 of 4 failed"
    assert fails(real("compress", "album", "-o", "coded"), "coded/b.vlae and 1 more", "--force")


def test_formats():
    from vlae_codec.cli import coding

    assert {f".{name}" for name in coding.FORMATS} < set(image._SUFFIXES)
