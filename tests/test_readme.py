"""The two command lines of the README: the main job, and the tests. All other blocks: `test_docs`."""

import shlex
from pathlib import Path

from click.testing import CliRunner

from vlae_codec.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands(marker):
    """The steps of the one command line of the README that contains `marker`."""
    (line,) = [line for line in README.splitlines() if line.startswith("python3 -m venv") and marker in line]
    return [step.strip() for step in line.split("&&")]


def test_main_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    steps = [step for step in commands("compress") if step.startswith("vlae-codec")]
    assert [shlex.split(step)[1] for step in steps] == ["compress", "decompress", "info"]
    for step in steps:
        result = CliRunner().invoke(main, shlex.split(step)[1:])
        assert result.exit_code == 0, result.output
    assert {p.name for p in tmp_path.iterdir()} == {"examples", "mountains.vlae", "mountains.png"}


def test_ci_runs_the_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    for step in commands("pytest")[2:]:
        assert step in script
