"""Many files into a folder and back: the same files as one by one, whatever the threads and whatever fails."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import vlae_codec
from vlae_codec import errors, files
from vlae_codec.images import image
from vlae_codec.images.picture import Picture
from vlae_codec.jobs import batch

SHAPES = {
    "a.png": (20, 30, 3),
    "b.png": (30, 28),
    "huge.png": (40, 530, 3),
    "sub/c.tif": (1, 1, 3),
    "sub/d.png": (16, 40, 3),
}


@pytest.fixture
def folder(tmp_path, synthetic, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for seed, (name, (h, w, *c)) in enumerate(SHAPES.items()):
        pixels = synthetic(h, w, seed)[..., slice(None) if c else 0]
        image.save(f"in/{name}", Picture(pixels, {"icc": name.encode()}))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def compress_files(tiny):
    return partial(vlae_codec.compress_files, model=tiny, effort=1, threads=1)


@pytest.fixture
def decompress_files(tiny):
    return partial(vlae_codec.decompress_files, model=tiny, threads=1)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_sanity(folder, tiny, compress_files, decompress_files, threads):
    done = compress_files(["in"], "coded", threads=threads)
    assert [str(outcome.source) for outcome in done.outcomes] == [f"in/{name}" for name in SHAPES]
    assert [path.name for path, _ in done.plan.skipped] == ["notes.txt"]
    assert not done.problems
    alone = {name: vlae_codec.compress(f"in/{name}", model=tiny, effort=1, threads=1) for name in SHAPES}
    assert contents(folder / "coded") == {f"{name[:-4]}.vlae": data for name, data in alone.items()}
    sizes = [(os.path.getsize(f"in/{name}"), len(data)) for name, data in alone.items()]
    assert [(outcome.picture_size, outcome.size) for outcome in done.outcomes] == sizes
    assert done.done == done.outcomes
    back = decompress_files(["coded"], "back", threads=threads)
    sizes = [(os.path.getsize(f"back/{name[:-4]}.png"), len(data)) for name, data in sorted(alone.items())]
    assert [(outcome.picture_size, outcome.size) for outcome in back.done] == sizes
    assert back.plan.skipped == []
    for name in SHAPES:
        found, original = image.load(f"back/{name[:-4]}.png"), image.load(f"in/{name}")
        assert np.array_equal(found.pixels, original.pixels)
        assert found.metadata == original.metadata


def test_effort(folder, compress_files, decompress_files):
    """Fits side by side find what they find alone."""
    compress_files(["in"], "one", effort=2)
    compress_files(["in"], "two", effort=2, threads=3)
    assert contents(folder / "one") == contents(folder / "two")
    assert not decompress_files(["two"], "back", threads=2).problems
    assert np.array_equal(image.load("back/huge.png").pixels, image.load("in/huge.png").pixels)


WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
import vlae_codec
model, threads = sys.argv[1:]
vlae_codec.compress_files(["in"], "coded", model=model, effort=1, threads=int(threads), skip_existing=True)
now = most = 0
for path in dict.fromkeys(opened):
    now += path.startswith("in/") - path.endswith(".tmp")
    most = max(most, now)
print(opened.count(model), now, most)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_in_flight(folder, tiny, threads):
    """The model is read once for each mode at most, and no more pictures are held than there are threads."""
    done = subprocess.run([sys.executable, "-c", WATCHED, tiny, str(threads)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    read, left, most = map(int, done.stdout.split())
    assert read <= 3  # and once before the work, to refuse a bad one
    assert (left, most) == (0, threads)


def test_device(folder, tiny, compress_files):
    """Pictures side by side on a device give the same files."""
    compress_files(["in/sub"], "coded")
    vlae_codec.compress_files(["in/sub"], "device", model=tiny, effort=1, device="torch:cpu")
    assert contents(folder / "coded") == contents(folder / "device")


@pytest.mark.parametrize("threads", [1, 2])
def test_failures(folder, compress_files, decompress_files, monkeypatch, threads):
    (folder / "in" / "bad.png").write_text("no picture")
    (folder / "in" / "cut.png").write_bytes((folder / "in" / "huge.png").read_bytes()[:3000])
    told: list[batch.Outcome] = []
    done = compress_files(["in", "missing.png"], "coded", threads=threads, report=told.append)
    assert sorted(told) == sorted(done.outcomes)
    first, second, third = done.problems
    assert first.startswith("in/bad.png: not an image")
    assert second.startswith("in/cut.png: damaged image (PNG")
    assert third.startswith("cannot read missing.png")
    assert (len(done.done), len(done.outcomes), len(contents(folder / "coded"))) == (5, 8, 5)

    data = bytearray((folder / "coded" / "a.vlae").read_bytes())
    data[-20] ^= 1
    (folder / "coded" / "a.vlae").write_bytes(data)
    pixels = image.load("in/a.png").pixels
    (folder / "coded" / "list.vlae").write_bytes(vlae_codec.compress_many([pixels] * 2, threads=1, effort=1))
    back = decompress_files(["coded"], "back", suffix=".ppm", threads=threads)
    first, second = back.problems
    assert first.startswith("coded/a.vlae: tile 0 ")
    assert second.startswith("back/b.ppm: .ppm cannot hold") or "b.vlae" in second
    assert sorted(contents(folder / "back")) == ["huge.ppm", "list.ppm", "sub/c.ppm", "sub/d.ppm"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("none left"), "in/a.png: not enough memory (none left): "),
        (ZeroDivisionError("by 0"), "in/a.png: failed (ZeroDivisionError: by 0): please report this picture"),
    ],
)
def test_unexpected(folder, compress_files, monkeypatch, threads, error, line):
    """What fails with one picture stops no other."""

    def fail(path, *_, real=files.write_file):
        if path.name == "a.vlae":
            raise error
        real(path, *_)

    monkeypatch.setattr(files, "write_file", fail)
    done = compress_files(["in/a.png", "in/b.png"], "coded", threads=threads)
    assert len(done.problems) == 1
    assert done.problems[0].startswith(line)
    assert [outcome.source.name for outcome in done.done] == ["b.png"]


def test_vanished(folder, compress_files):
    """Files that vanish, or outputs that come, while others are converted."""

    def interfere(_):
        Path("in/b.png").unlink(missing_ok=True)
        if not Path("coded/huge.vlae").exists():
            Path("coded/huge.vlae").write_text("another run's")

    done = compress_files(["in"], "coded", report=interfere)
    first, second = done.problems
    assert first.startswith("cannot read in/b.png")
    assert second.startswith("in/huge.png: coded/huge.vlae exists already")
    assert Path("coded/huge.vlae").read_text() == "another run's"
    assert len(done.done) == 3


@pytest.mark.parametrize("threads", [1, 2])
def test_two_runs(folder, compress_files, threads):
    """Of two runs at once each file is made by one, the other says so."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(compress_files, ["in"], "coded", threads=threads) for _ in range(2)]
    done, refused = [], 0
    for run in runs:
        if run.exception():  # it began when some were there
            assert isinstance(run.exception(), errors.OutputExists)
            refused += 1
        else:
            done += [outcome.output.name for outcome in run.result().done]
            assert all("exists already" in problem for problem in run.result().problems)
    assert sorted(done) == ["a.vlae", "b.vlae", "c.vlae", "d.vlae", "huge.vlae"]
    assert refused < 2


def test_refusals(folder, compress_files, decompress_files, tiny):
    """Before anything is done."""
    with pytest.raises(errors.InputError, match="no model"):
        compress_files(["in"], "coded", model="no-such-model")
    with pytest.raises(errors.InputError, match="effort"):
        compress_files(["in"], "coded", effort=10)
    with pytest.raises(errors.InputError, match="threads"):
        compress_files(["in"], "coded", threads=0)
    with pytest.raises(errors.OutputError, match="made of a JPEG"):
        decompress_files(["in"], "coded", suffix=".jpg")
    compress_files(["in/a.png"], "coded")
    before = contents(folder / "coded")
    with pytest.raises(errors.OutputExists, match=r"coded/a\.vlae exists"):
        compress_files(["in"], "coded")
    assert contents(folder / "coded") == before
    compress_files(["in"], "coded", force=True)
    assert len(contents(folder / "coded")) == 5


@pytest.mark.parametrize("effort", [1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_progress(folder, compress_files, decompress_files, threads, effort):
    (folder / "in" / "bad.png").write_text("no picture")
    total = sum(h * w for h, w, *_ in SHAPES.values())
    seen: list[tuple[int, int]] = []
    compress_files(["in"], "coded", threads=threads, effort=effort, progress=lambda *pair: seen.append(pair))
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
    assert len(seen) > 5
    seen.clear()
    (folder / "coded" / "bad.vlae").write_text("nothing")
    decompress_files(["coded"], "back", threads=threads, progress=lambda *pair: seen.append(pair))
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
