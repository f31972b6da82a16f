"""Fuzzing: a few hundred damaged files here, what fuzzers found before, and longer runs with `pytest -m fuzz`."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlae_codec.errors import VlaeError
from vlae_codec.format import container
from vlae_codec.native import library

FOLDER = Path(__file__).parent.parent / "fuzz"
sys.path.insert(0, str(FOLDER))

import files  # type: ignore[import-not-found]  # noqa: E402
import harness  # type: ignore[import-not-found]  # noqa: E402

RUNS = 300


def test_seals():
    """A damaged file has right checksums: what is wrong with it is found behind them."""
    for data in files.first_files():
        assert files.sealed(data) == data
        assert files.Parts.of(data).joined() == data
    data = bytearray(files.first_files()[0])
    data[-100] ^= 1  # of the only stream
    with pytest.raises(VlaeError, match="damaged"):
        container.read(bytes(data))
    container.read(files.sealed(bytes(data)))


def test_repeats():
    """A seed and a number name one file."""
    assert files.make_file(1, 5) == files.make_file(1, 5) != files.make_file(2, 5)


def test_damaged_files(tmp_path):
    """Files with right checksums and other contents: pixels or a VlaeError, the same on two targets."""
    tally = files.run(RUNS, 1, tmp_path)
    assert tally.findings == 0, (tmp_path / "findings.txt").read_text()
    assert tally.files == RUNS
    assert {"pixels", "CorruptFile", "EmptyStack"} <= set(tally.results)
    assert library.target() == library.targets()[0]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("corpus/files/*.vlae")), ids=lambda path: path.stem)
def test_kept_files(path):
    """Files that were worth keeping."""
    found = set()
    for target in library.targets():
        library.use(target)
        found.add(files.decode(path.read_bytes(), 0).kind)
    library.use(library.targets()[0])
    assert len(found) == 1
    assert not found.pop()[0].startswith("finding")


@pytest.mark.fuzz
def test_many_damaged_files(tmp_path):
    command = [sys.executable, str(FOLDER / "files.py"), "--runs", "20000", "--seed", "2", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


@pytest.mark.fuzz
@pytest.mark.skipif(harness.find_clang() is None, reason="there is no clang")
def test_harness(tmp_path):
    """The C harness: the kept inputs, then two minutes of others."""
    command = [sys.executable, str(FOLDER / "harness.py"), "--minutes", "2", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-10000:]
