"""What a service or a container needs of the command line: broken streams, signals, and no place of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vlae_codec
from vlae_codec.cli import main
from vlae_codec.images import image

ROOT = Path(vlae_codec.__file__).parent.parent
COMMAND = f"{sys.executable} -m vlae_codec.cli"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the tests need a POSIX shell")


@pytest.fixture
def here(tmp_path, tiny, synthetic, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    image.save("in.png", synthetic(40, 50, 1))
    Path("in.vlae").write_bytes(vlae_codec.compress("in.png", model=tiny, effort=1, threads=1))
    Path("model").symlink_to(tiny)
    return tmp_path


def shell(line, **options):
    """The exit status and stderr of a line of shell, where `vlae` is the program."""
    line = re.sub(r"(?<!\.)\bvlae ", f"{COMMAND} ", line)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, **options)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


CODE = "vlae compress in.png -o out.vlae --model model --effort 1"


def test_closed_stderr(here):
    """Nothing can be said, and nothing need be: the work is done."""
    assert shell(f"{CODE} 2>&-") == (0, "")
    assert Path("out.vlae").read_bytes() == Path("in.vlae").read_bytes()
    assert shell(f"{CODE} 2>&-") == (1, "")  # it exists
    assert shell("vlae compress in.png missing.png -o out/ --model model --effort 1 2>&-") == (1, "")
    assert shell("vlae decompress in.vlae out.vlae -o back/ --model model 2>&- <&-") == (0, "")


@pytest.mark.parametrize("command", ["info in.vlae", "models", "--help", "info --help", "--version"])
@pytest.mark.parametrize("stream", [">&-", ">/dev/full"])
def test_lost_stdout(here, command, stream):
    """What was asked for could not be said."""
    status, said = shell(f"vlae {command} {stream}")
    assert status == 1
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert shell(f"vlae {command} {stream} 2>&-") == (1, "")


def test_full_stderr(here):
    """The work goes on to its end, all of it, and the status says that something was lost."""
    assert shell(f"{CODE} 2>/dev/full")[0] == 1
    assert Path("out.vlae").exists()
    Path("album").mkdir()
    for name in "abc":
        image.save(f"album/{name}.png", image.load("in.png").pixels)
    assert shell("vlae compress album -o coded --model model --effort 1 --threads 2 2>/dev/full")[0] == 1
    assert sorted(os.listdir("coded")) == ["a.vlae", "b.vlae", "c.vlae"]
    assert shell("vlae info missing.vlae 2>/dev/full")[0] == 1


def test_broken_pipe(here):
    for command in ("info in.vlae", "models", "--help"):
        assert shell(f"vlae {command} | true")[1] == ""


def test_stdin_is_no_picture(here):
    for command in ("info /dev/stdin", "compress /dev/stdin -o out.vlae"):
        arguments, (end, pipe) = [*COMMAND.split(), *command.split()], os.pipe()  # nobody writes into it
        done = subprocess.run(arguments, stdin=end, stderr=subprocess.PIPE, text=True, timeout=60)
        os.close(end)
        os.close(pipe)
        assert done.returncode == 1
        assert "regular file" in done.stderr


def heeding(name):
    """Makes a process heed a signal that whoever runs the tests may ignore, as nohup and background jobs do."""
    return partial(signal.signal, getattr(signal, name), signal.SIG_DFL)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_signals(here, name, threads):
    """In the middle of a long run, soon, with one line or none, and nothing is left but what was complete."""
    Path("album").mkdir()
    for number in range(8):
        image.save(f"album/{number}.png", np.random.default_rng(number).integers(0, 40, (800, 900, 3), np.uint8))
    command = [*COMMAND.split(), "compress", "album", "-o", "coded", "--threads", threads, "--effort", "9", "-q"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeding(name)) as process:
        try:
            while not Path("coded").exists():  # the work begins when it does
                time.sleep(0.01)
            time.sleep(0.5)
            process.send_signal(getattr(signal, name))
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 128 + getattr(signal, name)
    assert said == ("error: interrupted\n" if name == "SIGINT" else "")
    assert [path for path in Path("coded").iterdir() if path.suffix != ".vlae"] == []


def test_interrupted_while_writing(here):
    """The temporary file is removed."""
    code = (
        "import os, signal, sys; from vlae_codec.cli import main\n"
        "os.fsync = lambda _: os.kill(os.getpid(), getattr(signal, sys.argv[1]))\n"
        "main(sys.argv[2:])"
    )
    for name, status in (("SIGINT", 130), ("SIGTERM", 143)):
        arguments = ["compress", "in.png", "-o", "new/", "--model", "model", "--effort", "1", "--threads", "1"]
        command = [sys.executable, "-c", code, name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=heeding(name))
        assert done.returncode == status, done.stderr
        assert list(Path("new").iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc", "/sys", "/"])
def test_no_home(here, tmp_path, folder):
    """Nothing is written or compiled when it runs: no home, no cache, and a folder that is read-only to all."""
    if not os.path.isdir(folder):
        pytest.skip("this system has no such folder")
    gone = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/dev/null/x", "XDG_CONFIG_HOME": "/dev/null/x"}
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TMPDIR": "/nonexistent", **gone}
    for line in (
        f"vlae compress {tmp_path}/in.png -o {tmp_path}/new.vlae",
        f"vlae decompress {tmp_path}/new.vlae -o {tmp_path}/new.png",
        f"vlae info {tmp_path}/new.vlae",
        "vlae models",
    ):
        status, said = shell(line, env=environment, cwd=folder)
        assert status == 0, said
    assert np.array_equal(image.load("new.png").pixels, image.load("in.png").pixels)


def test_first_runs_at_once(here):
    """Two at once, in a home that is new, want the same file: one makes it."""
    line = f"{COMMAND} compress in.png -o new.vlae -q --model model --effort 1"
    environment = {**os.environ, "HOME": str(here / "home")}
    runs = [subprocess.Popen(line.split(), stderr=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
    said = [run.communicate()[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 1, 1, 1]
    assert all("exists already" in text for text, run in zip(said, runs) if run.returncode)
    assert vlae_codec.decompress(Path("new.vlae").read_bytes(), model="model").shape == (40, 50, 3)
    assert sorted(os.listdir()) == ["in.png", "in.vlae", "model", "new.vlae"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("3 GiB"), ["not enough memory (3 GiB)"]),
        (ZeroDivisionError("by 0"), ["unexpected error (ZeroDivisionError: by 0)", "report"]),
        (OSError(5, "Input/output error"), ["Input/output error"]),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_unexpected(here, monkeypatch, error, words, debug):
    """One line, whatever it is; with VLAE_CODEC_DEBUG where it comes from."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("vlae_codec.files.read_file", fail)
    if debug:
        monkeypatch.setenv("VLAE_CODEC_DEBUG", "1")
    result = CliRunner().invoke(main, ["info", "in.vlae"])
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert all(word in last for word in ["error: ", *words])
    assert ("Traceback" in result.stderr) == debug
    assert debug or result.stderr.count("\n") == 1
