"""Runs over a local Ray cluster of two workers, from and to folders and an S3 server, with workers that are killed."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vlae_codec
from vlae_codec.errors import InputError
from vlae_codec.jobs.plan import CODED, PICTURES

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytest.importorskip("psutil")
from vlae_codec.bench.cluster import workers_of_ours  # noqa: E402
from vlae_codec.cluster import Compressing, Decompressing, Job, Outcome, convert, engine, make_plan, run  # noqa: E402
from vlae_codec.cluster.engine import RETRIES  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]
BUCKET = "pictures"


def picture(seed: int, size: int = 160) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(np.cumsum(rng.normal(0, 3, (size, size, 3)), axis=0) + 128, 0, 255).astype(np.uint8)


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(seed)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """fsspec's file system of an S3 server on the loopback, which the workers know by the environment."""
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = server_module.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = s3fs.S3FileSystem()
    system.mkdir(BUCKET)
    yield system
    server.stop()
    patch.undo()


@pytest.fixture(scope="module")
def two_workers(store: Any) -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


class Killer:
    """Kills the workers that are at work after each of the first outcomes."""

    def __init__(self, times: int) -> None:
        self.left, self.killed = times, 0

    def __call__(self, outcome: Outcome) -> None:
        if self.left:
            self.left -= 1
            for process in workers_of_ours():
                os.kill(process, signal.SIGKILL)
                self.killed += 1


def test_s3_with_killed_workers(store: Any, two_workers: None) -> None:
    for number in range(8):
        store.pipe_file(f"{BUCKET}/in/{'deep/' * (number % 2)}{number}.png", png(number))
    store.pipe_file(f"{BUCKET}/in/bad.png", b"no picture")
    plan = make_plan([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out", PICTURES, ".vlae")
    killer = Killer(2)
    outcomes = run(plan.jobs, Compressing(effort=1), report=killer)
    assert killer.killed
    assert [outcome.source for outcome in outcomes] == [job.source for job in plan.jobs]
    assert ["bad.png" in str(one.problem) for one in outcomes if one.problem] == [True]
    store.invalidate_cache()
    made = store.find(f"{BUCKET}/out")
    assert len(made) == 8
    for path in made:
        number = int(path.rpartition("/")[2].split(".")[0])
        assert np.array_equal(vlae_codec.decompress(store.cat_file(path)), picture(number))

    again = make_plan([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out", PICTURES, ".vlae")
    assert ([job.source for job in again.jobs], len(again.left)) == ([f"s3://{BUCKET}/in/bad.png"], 8)
    back = make_plan([f"s3://{BUCKET}/out"], f"s3://{BUCKET}/back", CODED, ".png")
    assert not [one.problem for one in run(back.jobs, Decompressing()) if one.problem]
    restored = Image.open(io.BytesIO(store.cat_file(f"{BUCKET}/back/deep/3.png")))
    assert np.array_equal(np.asarray(restored), picture(3))


def test_a_file_that_kills_its_workers(tmp_path: Path, two_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that takes more memory than there is: it fails in the end, and the others do not."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.png").write_bytes(png(number))

    whole = engine._task

    def lethal(job: Job, settings: Compressing) -> Outcome:  # in here, so that workers need not import the tests
        if job.source.endswith("2.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return convert(job, settings)

    def task(settings: Compressing, attempts: Any, row: dict[str, Any]) -> dict[str, Any]:
        whole.__globals__["convert"] = lethal  # those of the worker, which got the function by value
        return whole(settings, attempts, row)

    monkeypatch.setattr(engine, "_task", task)
    plan = make_plan([str(tmp_path / "in")], str(tmp_path / "out"), PICTURES, ".vlae")
    problems = [one.problem for one in run(plan.jobs, Compressing(effort=1)) if one.problem]
    assert len(problems) == 1, problems
    assert f"died {1 + RETRIES} times" in problems[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.vlae", "1.vlae", "3.vlae"]


def test_command_line(tmp_path: Path, two_workers: None) -> None:
    from vlae_codec.cli import main

    (tmp_path / "in").mkdir()
    for number in range(2):
        (tmp_path / "in" / f"{number}.png").write_bytes(png(number))
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    command = ["compress", "--ray", "auto", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--effort", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "2 files" in result.stderr
    assert "1 of 3 failed" in str(result.exception) + result.output
    (tmp_path / "in" / "bad.png").unlink()
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.stderr) == (0, "2 left as before\n")
    back = ["decompress", "--ray", "auto", str(tmp_path / "out"), "-o", str(tmp_path / "back"), "--format", "tif"]
    assert CliRunner().invoke(main, back).exit_code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back" / "1.tif")), picture(1))


def test_no_cluster(tmp_path: Path) -> None:
    if ray.is_initialized():
        ray.shutdown()
    (tmp_path / "a.png").write_bytes(png(0))
    plan = make_plan([str(tmp_path / "a.png")], str(tmp_path / "out"), PICTURES, ".vlae")
    with pytest.raises(InputError, match="cannot reach a Ray cluster"):
        run(plan.jobs, Compressing(), "127.0.0.1:1")
    assert run([], Compressing()) == []
