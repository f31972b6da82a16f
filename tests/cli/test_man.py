"""The manual page and the completion of shells are made of the commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import vlae_codec
from vlae_codec.cli import main
from vlae_codec.cli.man import STATUS, _text
from vlae_codec.cli.summary import SALVAGED


def printed(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_man():
    """Every command and option stands in it, and it is ASCII."""
    page = printed("man")
    assert page.isascii()
    assert page.startswith('.TH VLAE\\-CODEC 1 "" "vlae\\-codec ')
    plain = page.replace("\\-", "-")
    for name in main.list_commands(None):
        assert f"\n.SS {name}\n" in plain
        for param in main.get_command(None, name).params:
            assert all(word in plain for word in param.opts if word.startswith("-")), (name, param.opts)
    assert str(SALVAGED) in dict(STATUS)


def test_text():
    assert _text(r".a \b -c é") == r"\&.a \eb \-c \[u00E9]"


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
def test_groff(tmp_path):
    """The page is set without a warning."""
    (tmp_path / "vlae-codec.1").write_text(printed("man"))
    command = ["groff", "-man", "-ww", "-Tascii", str(tmp_path / "vlae-codec.1")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    plain = subprocess.run(["groff", "-man", "-P-cbou", *command[2:]], capture_output=True, text=True).stdout
    assert "EXIT STATUS" in plain
    assert "bash  vlae-codec completion bash >> ~/.bashrc\n" in plain


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    script = printed("completion", shell)
    assert "_VLAE_CODEC_COMPLETE" in script
    assert f"{shell}_complete" in script
    assert CliRunner().invoke(main, ["completion", "csh"]).exit_code == 2


COMPLETE = """
source script
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_vlae_codec_completion vlae-codec
printf '%s\\n' "${COMPREPLY[@]}"
"""


def in_shell(folder, shell, command):
    """A command of a shell in a folder with its script of completion, and the program in its PATH."""
    program = folder / "vlae-codec"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vlae_codec.cli "$@"\n')
    program.chmod(0o755)
    (folder / "script").write_text(printed("completion", shell))
    paths = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(Path(vlae_codec.__file__).parent.parent)}
    env = {**os.environ, **paths, "HOME": str(folder), "ZDOTDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)


@pytest.mark.skipif(shutil.which("bash") is None or os.name != "posix", reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["comp"], ["completion", "compress"]),
        (["compress", "--ori"], ["--origin"]),
        (["decompress", "--format", "p"], ["png", "ppm", "pgm", "pbm", "pnm", "pam", "pfm"]),
    ],
)
def test_bash(tmp_path, words, expected):
    """bash itself asks the program and gets its words."""
    command = ["bash", "--norc", "-c", COMPLETE, "bash", "vlae-codec", *words]
    done = in_shell(tmp_path, "bash", command)
    assert done.stdout.split() == expected, done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish(tmp_path):
    done = in_shell(tmp_path, "fish", ["fish", "-N", "-c", 'source script; complete -C "vlae-codec archive ex"'])
    assert done.stdout.split()[0] == "extract", done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh(tmp_path):
    """A zsh whose completion nobody has set up takes the script as well."""
    done = in_shell(tmp_path, "zsh", ["zsh", "-f", "-c", "source script && print $_comps[vlae-codec]"])
    assert (done.stdout, done.stderr) == ("_vlae_codec_completion\n", "")
