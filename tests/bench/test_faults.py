"""A few runs that are killed, and no room; and the harness finds what is half-written."""

import os
import sys
from pathlib import Path

import pytest

from vlae_codec.bench import faults

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")
KILLS = 5


@pytest.fixture(scope="module")
def cases(tiny):
    faults.load()
    return {case.name: case for case in faults.cases(["--model", str(tiny)], 3)}


@pytest.mark.parametrize("name", ["compress", "decompress", "compress --remove-source"])
def test_killed(cases, name):
    found = faults.run_case(cases[name], KILLS)
    assert found.problems == []
    assert found.kills == KILLS


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_killed_often(cases, number):
    found = faults.run_case(list(cases.values())[number], 200)
    assert found.problems == []
    assert found.kills == 200


def test_no_room(cases):
    assert faults.full_disk(cases["compress"], 1) == []
    assert faults.full_disk(cases["decompress --remove-source"], 0) == []
    assert faults.read_only(cases["compress"]) == []


def test_without_a_small_disk(cases, monkeypatch):
    """As one who may not mount anything."""
    monkeypatch.setattr(faults, "small_disk", faults.contextmanager(lambda _: iter([None])))
    assert faults.full_disk(cases["decompress"], 0) == []


HALF = """
import os, sys, time
with open("out", "wb") as file:
    for _ in range(20):
        file.write(bytes(1000))
        file.flush()
        time.sleep(0.02)
"""


def test_it_finds_half_a_file(tmp_path):
    """A program that writes its output where it is to stand does not survive."""
    case = faults.Case("half", [], {}, {"out": bytes(20000)}, {})

    def start():
        return faults.process([sys.executable, "-c", HALF], tmp_path)

    found = faults.survive(start, tmp_path, lambda: case.reset(tmp_path), lambda: case.check(tmp_path), 6)
    assert found.kills == 6
    assert any("half-written" in problem for problem in found.problems)


def test_it_finds_what_has_gone(tmp_path):
    """A source may go only when its output is whole."""
    case = faults.Case("gone", [], {"a.png": b"a"}, {"a.vlae": b"A"}, {"a.png": "a.vlae"})
    for files, count in (({"a.png": b"a"}, 0), ({"a.vlae": b"A"}, 0), ({}, 1), ({"a.vlae": b"x"}, 2)):
        case.reset(tmp_path)
        (tmp_path / "a.png").unlink()
        faults.write(tmp_path, files)
        assert len(case.check(tmp_path)) == count


def test_failures_are_told(tmp_path):
    def start():
        return faults.process([sys.executable, "-c", "raise SystemExit(3)"], Path(tmp_path))

    with pytest.raises(RuntimeError, match="status 3"):
        faults.survive(start, tmp_path, lambda: None, list, 1)
