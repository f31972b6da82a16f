"""What a run over a cluster does without one: listing, names, reading, writing, one file from URL to URL."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

import vlae_codec
from vlae_codec.errors import ImageTooLarge, InputError, OutputError, OutputExists
from vlae_codec.jobs.plan import CODED, JPEG, PICTURES

fsspec = pytest.importorskip("fsspec")
from vlae_codec.cluster import Compressing, Decompressing, Job, convert, make_plan, places  # noqa: E402

PIXELS = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8)


def png(value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS + np.uint8(value)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of an empty folder in memory, which stands for an object store."""
    system = fsspec.filesystem("memory")
    yield "memory:///corpus"
    if system.exists("/corpus"):
        system.rm("/corpus", recursive=True)


def put(url: str, data: bytes) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(data)


@pytest.fixture(params=["local", "memory", "other"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "other":  # a system that cannot write an object in one step
        monkeypatch.setattr(places, "_OBJECTS", frozenset())
    return str(tmp_path) if request.param == "local" else memory


def fill(folder: str) -> None:
    for name in ("in/a.png", "in/sub/b.png", "in/.hidden.png", "in/notes.txt", "in/c.jpg"):
        path = f"{folder}/{name}"
        if "://" not in path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        put(path, png(len(name)))


def test_plan(folder: str) -> None:
    fill(folder)
    plan = make_plan([f"{folder}/in"], f"{folder}/out", PICTURES, ".vlae")
    assert {job.output.removeprefix(folder) for job in plan.jobs} == {f"/out/{n}.vlae" for n in ("a", "sub/b", "c")}
    assert [job.size for job in plan.jobs] == sorted((job.size for job in plan.jobs), reverse=True)
    assert {url.rpartition("/")[2] for url in plan.skipped} == {".hidden.png", "notes.txt"}
    alone = make_plan([f"{folder}/in/notes.txt", f"{folder}/in/a.png"], f"{folder}/out", PICTURES, ".vlae")
    assert {job.output.rpartition("/")[2] for job in alone.jobs} == {"notes.txt.vlae", "a.vlae"}
    fewer = make_plan([f"{folder}/in"], f"{folder}/out", PICTURES, ".vlae", left_out=JPEG)
    assert len(fewer.jobs) == 2


def test_convert_and_back_and_again(folder: str) -> None:
    fill(folder)
    settings = Compressing(effort=1)
    plan = make_plan([f"{folder}/in"], f"{folder}/out", PICTURES, ".vlae")
    for job in plan.jobs:
        done = convert(job, settings)
        assert done.problem is None
        assert (done.before, done.after) == (job.size, places.size_of(job.output))
    plan = make_plan([f"{folder}/in"], f"{folder}/out", PICTURES, ".vlae")
    assert (len(plan.jobs), len(plan.left)) == (0, 3)
    assert len(make_plan([f"{folder}/in"], f"{folder}/out", PICTURES, ".vlae", force=True).jobs) == 3
    back = make_plan([f"{folder}/out"], f"{folder}/back", CODED, ".png")
    assert len(back.jobs) == 3
    for job in back.jobs:
        assert convert(job, Decompressing()).problem is None
    again = Image.open(io.BytesIO(places.read(f"{folder}/back/sub/b.png", vlae_codec.Limits())))
    assert np.array_equal(np.asarray(again), PIXELS + len("in/sub/b.png"))
    listed = fsspec.core.url_to_fs(folder)[0].find(f"{folder}/out")
    assert not [name for name in listed if "tmp" in name.rpartition("/")[2]]


def test_newer(tmp_path: Path) -> None:
    fill(str(tmp_path))
    first, *_ = make_plan([str(tmp_path / "in")], str(tmp_path / "out"), PICTURES, ".vlae").jobs
    assert convert(first, Compressing(effort=1)).problem is None
    assert len(make_plan([str(tmp_path / "in")], str(tmp_path / "out"), PICTURES, ".vlae", newer=True).left) == 1
    os.utime(first.output, (1, 1))
    assert not make_plan([str(tmp_path / "in")], str(tmp_path / "out"), PICTURES, ".vlae", newer=True).left


def test_an_output_that_came_meanwhile_is_done(memory: str) -> None:
    """As after the death of a worker that had written it."""
    put(f"{memory}/a.png", b"no picture, and not read")
    put(f"{memory}/out/a.vlae", b"whole")
    job = Job(f"{memory}/a.png", f"{memory}/out/a.vlae", 9)
    done = convert(job, Compressing())
    assert (done.problem, done.after) == (None, 5)
    assert "not an image" in str(convert(job, Compressing(force=True)).problem)


def test_names() -> None:
    names = [PurePosixPath(name) for name in ("a.png", "a.jpg", "sub/a.png", "scan.001")]
    assert places._names(names, PICTURES, ".vlae") == ["a.png.vlae", "a.jpg.vlae", "sub/a.vlae", "scan.001.vlae"]
    with pytest.raises(OutputError, match="two inputs"):
        places._names([PurePosixPath("a.png")] * 2, PICTURES, ".vlae")


def test_problems_name_the_file(memory: str) -> None:
    put(f"{memory}/bad.png", b"no picture")
    put(f"{memory}/bad.vlae", b"no file of ours")
    for name, settings in (("bad.png", Compressing()), ("bad.vlae", Decompressing()), ("gone.png", Compressing())):
        job = Job(f"{memory}/{name}", f"{memory}/out/{name}", 3)
        problem = convert(job, settings).problem
        assert problem is not None
        assert problem.count(name) >= 1
        assert places.size_of(job.output) is None


def test_impossible_plans(memory: str, tmp_path: Path) -> None:
    put(f"{memory}/a.txt", b"")
    put(f"{memory}/p/a.vlae", b"")
    for sources, output, kind, message in (
        ([f"{memory}/nowhere"], memory, InputError, "no such file"),
        ([memory], f"{memory}/out", InputError, "no pictures"),
        (["nosuch://a"], memory, InputError, "cannot open"),
        ([f"{memory}/a.txt"], f"{memory}/a.txt", OutputError, "is a file"),
        ([f"{memory}/p/a.vlae"], f"{memory}/p", OutputError, "is an input file"),
    ):
        with pytest.raises(kind, match=message):
            make_plan(sources, output, PICTURES | CODED if "p/a" in sources[0] else PICTURES, ".vlae")


def test_limits_and_overwriting(folder: str) -> None:
    fill(folder)
    with pytest.raises(ImageTooLarge):
        places.read(f"{folder}/in/a.png", vlae_codec.Limits(memory=10))
    with pytest.raises(OutputExists):
        places.write(f"{folder}/in/a.png", b"new", False)
    places.write(f"{folder}/in/a.png", b"new", True)
    assert places.read(f"{folder}/in/a.png", vlae_codec.Limits()) == b"new"


def test_a_failed_write_leaves_nothing(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_OBJECTS", frozenset())

    def fail(*_: object, **__: object) -> None:
        raise OSError("no room")

    system = fsspec.filesystem("memory")
    monkeypatch.setattr(type(system), "mv", fail)
    with pytest.raises(OutputError, match="no room"):
        places.write(f"{memory}/out/a.vlae", b"data", False)
    assert not system.find("/corpus/out")
