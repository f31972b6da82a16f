"""Many files into a folder and back: the same files as one by one, whatever the threads and whatever fails."""

import threading
from functools import partial

import numpy as np
import pytest

import vlae_codec
from vlae_codec import errors
from vlae_codec import threads as pools
from vlae_codec.coder.tile import TileCodec
from vlae_codec.format import container
from vlae_codec.jobs import batch
from vlae_codec.pictures import codec as codec_of
from vlae_codec.pictures import encode, image, modes

SHAPES = {
    "a.png": (20, 30, 3),
    "b.png": (30, 28),
    "huge.png": (130, 150, 3),
    "sub/c.tif": (1, 1, 3),
    "sub/d.png": (16, 40, 3),
}


@pytest.fixture
def folder(tmp_path, synthetic, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encode, "TILE_SIZE", 32)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for seed, (name, (h, w, *c)) in enumerate(SHAPES.items()):
        image.save(f"in/{name}", synthetic(h, w, seed)[..., slice(None) if c else 0], {"icc": name.encode()})
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
    assert [path.name for path in done.skipped] == ["notes.txt"]
    assert not done.problems
    alone = {name: vlae_codec.compress(f"in/{name}", model=tiny, effort=1, threads=1) for name in SHAPES}
    assert contents(folder / "coded") == {f"{name[:-4]}.vlae": data for name, data in alone.items()}
    assert done.pictures == 5
    assert done.size == sum(map(len, alone.values()))
    assert done.subpixels == sum(int(np.prod(shape)) for shape in SHAPES.values())
    back = decompress_files(["coded"], "back", threads=threads)
    assert (back.pictures, back.size, back.subpixels, back.skipped) == (5, done.size, done.subpixels, [])
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


def test_model_is_loaded_once(folder, compress_files, decompress_files, monkeypatch):
    made = []

    class Made(TileCodec):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(codec_of, "TileCodec", Made)
    codec_of._codec.cache_clear()
    compress_files(["in"], "coded", threads=3)
    decompress_files(["coded"], "back", threads=3)
    assert len(made) == 1


def test_in_flight(folder, compress_files, monkeypatch):
    """No more pictures are held than there are threads, and tiles of a large one are shared out."""
    now, most, lock, helpers = 0, 0, threading.Lock(), set()

    def counted(*arguments, real=encode.encode_picture):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        data = real(*arguments)
        with lock:
            now -= 1
        return data

    def tile_of(*arguments, real=modes.tile_of):
        helpers.add(threading.get_ident())
        return real(*arguments)

    monkeypatch.setattr(encode, "encode_picture", counted)
    compress_files(["in"], "coded", threads=2)
    assert most == 2
    monkeypatch.setattr(encode, "tile_of", tile_of)
    compress_files(["in/huge.png"], "huge", threads=2)
    assert len(helpers) == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_failures(folder, compress_files, decompress_files, monkeypatch, threads):
    (folder / "in" / "bad.png").write_text("no picture")
    (folder / "in" / "cut.png").write_bytes((folder / "in" / "huge.png").read_bytes()[:3000])
    told: list[batch.Outcome] = []
    done = compress_files(["in", "missing.png"], "coded", threads=threads, report=told.append)
    assert sorted(told) == sorted(done.outcomes)
    first, second, third = done.problems
    assert first.startswith("in/bad.png: not an image")
    assert second.startswith("in/cut.png: damaged image")
    assert third.startswith("cannot read missing.png")
    assert (done.pictures, len(done.outcomes), len(contents(folder / "coded"))) == (5, 8, 5)

    data = bytearray((folder / "coded" / "a.vlae").read_bytes())
    data[-20] ^= 1
    (folder / "coded" / "a.vlae").write_bytes(data)
    pixels = image.load("in/a.png").pixels
    (folder / "coded" / "list.vlae").write_bytes(vlae_codec.compress_many([pixels], threads=1, effort=1))
    back = decompress_files(["coded"], "back", suffix=".ppm", threads=threads)
    first, second, third = back.problems
    assert first.startswith("coded/a.vlae: tile 0 ")
    assert second.startswith("back/b.ppm: .ppm cannot hold") or "b.vlae" in second
    assert third.startswith("coded/list.vlae: the file holds a list")
    assert sorted(contents(folder / "back")) == ["huge.ppm", "sub/c.ppm", "sub/d.ppm"]

    def fail(*_):
        raise MemoryError("none left")

    monkeypatch.setattr(encode, "encode_picture", fail)
    problems = compress_files(["in/a.png", "in/b.png"], "coded", threads=threads, force=True).problems
    assert problems[0] == "in/a.png: failed (MemoryError: none left): please report this picture"
    assert len(problems) == 2


def test_refusals(folder, compress_files, decompress_files, tiny):
    """Before anything is done."""
    with pytest.raises(errors.InputError, match="no model"):
        compress_files(["in"], "coded", model="no-such-model")
    with pytest.raises(errors.InputError, match="effort"):
        compress_files(["in"], "coded", effort=10)
    with pytest.raises(errors.InputError, match="threads"):
        compress_files(["in"], "coded", threads=0)
    with pytest.raises(errors.OutputError, match="lossless"):
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
    assert len(seen) > 20
    seen.clear()
    (folder / "coded" / "bad.vlae").write_text("nothing")
    decompress_files(["coded"], "back", threads=threads, progress=lambda *pair: seen.append(pair))
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_gpu(folder, monkeypatch):
    """Many pictures side by side, whatever the number of processors."""
    asked = []

    def some_workers(threads, real=pools.workers):
        asked.append(threads)
        return real(threads)

    monkeypatch.setattr(batch, "workers", some_workers)
    monkeypatch.setattr(
        batch, "find_codec", lambda model, name, device, mode, real=codec_of.find_codec: real(model, name, "cpu", mode)
    )
    vlae_codec.compress_files(["in/sub"], "coded", effort=1, device="cuda")
    assert asked == [batch.ON_DEVICE]
    assert container.read_header((folder / "coded" / "d.vlae").read_bytes()).width == 40
