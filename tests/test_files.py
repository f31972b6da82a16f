"""Writing files so that nothing half-done is left."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vlae_codec import errors, files
from vlae_codec.limits import Limits


def test_sanity(tmp_path):
    path = tmp_path / "file"
    files.write_file(path, b"one")
    with pytest.raises(errors.OutputExists):
        files.write_file(path, b"two")
    assert files.read_file(path) == b"one"
    files.write_file(path, b"two", force=True)
    assert files.read_file(path) == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_file(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_symbolic_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"one")
    link.symlink_to(real)
    files.write_file(link, b"two", force=True)
    assert link.is_symlink()
    assert real.read_bytes() == b"two"


def test_invalid(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    for bad in (path / "below", tmp_path / "missing" / "file", tmp_path, os.devnull, "nul\0l"):
        with pytest.raises(errors.OutputError):
            files.write_file(bad, b"two", force=True)
    with pytest.raises(errors.OutputError, match="is the input"):
        files.check_output(path, force=True, source=tmp_path / "." / "file")


@pytest.mark.parametrize("step", ["link", "fsync"])
@pytest.mark.parametrize("failure", [OSError(28, "disk full"), KeyboardInterrupt()])
def test_nothing_left(tmp_path, monkeypatch, failure, step):
    def fail(*_):
        raise failure

    path = tmp_path / "file"
    for name in {step, "replace"}:  # where links fail a file is renamed instead
        monkeypatch.setattr(os, name, fail)
    with pytest.raises(errors.OutputError if isinstance(failure, OSError) else KeyboardInterrupt):
        files.write_file(path, b"two")
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"one")
    with pytest.raises(errors.OutputError if isinstance(failure, OSError) else KeyboardInterrupt):
        files.write_file(path, b"two", force=True)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"one"


def test_kept_permissions(tmp_path):
    """Those of the file that is replaced, whatever the umask."""
    path = tmp_path / "file"
    for mode in (0o600, 0o444, 0o755, 0o666):
        path.write_bytes(b"one")
        path.chmod(mode)
        files.write_file(path, b"two", force=True)
        assert path.stat().st_mode & 0o777 == mode
        assert path.read_bytes() == b"two"
        path.unlink()


def test_dangling_link(tmp_path):
    """The file that a link names is written, and the link stays."""
    (tmp_path / "link").symlink_to("folder/real")
    with pytest.raises(errors.OutputError, match="no folder"):
        files.write_file(tmp_path / "link", b"one")
    (tmp_path / "folder").mkdir()
    files.write_file(tmp_path / "link", b"one")
    assert (tmp_path / "folder" / "real").read_bytes() == b"one"


@pytest.mark.parametrize("links", [True, False])
def test_races(tmp_path, monkeypatch, links):
    """Of threads that write one file without force one succeeds, and its bytes are there."""
    if not links:  # as on some file systems

        def no_links(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
    together = threading.Barrier(4)

    def write(path, number):
        together.wait()
        try:
            files.write_file(path, b"%d" % number * 1000)
        except errors.OutputExists:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        for turn in range(50):
            path = tmp_path / str(turn)
            done = [n for n in pool.map(write, [path] * 4, range(4)) if n is not None]
            assert len(done) == 1
            assert path.read_bytes() == b"%d" % done[0] * 1000
    assert len(list(tmp_path.iterdir())) == 50


def test_sweep(tmp_path):
    """What a killed run left is removed, but not what is young, locked by a live process, or something else."""
    fcntl = pytest.importorskip("fcntl")
    hour = time.time() - 2 * files.HOUR
    names = {name: tmp_path / f".{name}{files.TEMPORARY}" for name in ("dead", "live", "young", "folder", "link")}
    precious = tmp_path / "precious"
    for path in (names["dead"], names["live"], names["young"], precious, tmp_path / ".other.tmp"):
        path.write_bytes(b"half")
    names["folder"].mkdir()
    names["link"].symlink_to(precious)
    for path in {*tmp_path.iterdir()} - {names["young"]}:
        os.utime(path, (hour, hour))
    os.mkfifo(tmp_path / f".pipe{files.TEMPORARY}")
    before = {*tmp_path.iterdir()}
    with open(names["live"], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.write_file(tmp_path / "file", b"")
    assert {*tmp_path.iterdir()} == before - {names["dead"]} | {tmp_path / "file"}


def test_killed(tmp_path):
    """The name that a killed process leaves is one that is swept."""
    code = (
        "import os, signal, sys; from vlae_codec import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_file(sys.argv[1], b'data')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")])
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    files.write_file(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_full_disk(tmp_path):
    """The limit of a file's size stands in for it: the system refuses a part of the data."""
    code = (
        "import resource, sys; from vlae_codec import errors, files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: files.write_file(sys.argv[1], bytes(100000))\n"
        "except errors.OutputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, text=True)
    assert "File too large" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["fifo", "zero", "folder", "proc"])
def test_not_regular(tmp_path, kind):
    """Nothing is read that has no end or that blocks."""
    paths = {"fifo": tmp_path / "fifo", "zero": "/dev/zero", "folder": tmp_path, "proc": "/proc/self/maps"}
    os.mkfifo(paths["fifo"])
    if not os.path.exists(paths[kind]):
        pytest.skip("this system has no such file")
    with pytest.raises(errors.InputError, match=r"^cannot read .*(regular file|longer)"):
        files.read_file(paths[kind])


def test_size_limit(tmp_path):
    """A file that says it is huge is refused before anything is read."""
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(errors.ImageTooLarge, match=r"sparse.*--max-memory"):
        files.read_file(path)
    path.write_bytes(bytes(100))
    assert files.read_file(path, Limits(memory=100)) == bytes(100)
    with pytest.raises(errors.ImageTooLarge):
        files.read_file(path, Limits(memory=99))
