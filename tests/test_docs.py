"""The documentation does what it says: commands and code of every page run, figures are those of the measurements."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import NamedTuple

import click
import make_golden  # type: ignore[import-not-found]
import pytest
from click.testing import CliRunner
from PIL import Image

from vlae_codec.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]*) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)
OTHERS = {
    "xdg-mime",
    "cat",
    "file",
    "pip",
    "pytest",
    "ruff",
    "mypy",
    "mkdocs",
    "torchrun",
    ".",
    "python3",
}  # programs whose options are not ours


class Block(NamedTuple):
    kind: str  # "sh", "python", "text" or nothing
    text: str
    why: str | None  # it is not run

    def commands(self) -> list[list[str]]:
        lines = [line for line in self.text.splitlines() if line.strip()]
        return [shlex.split(step, comments=True) for line in lines for step in line.split("&&")]


def blocks(page: Path) -> list[Block]:
    return [Block(m["kind"], m["text"], m["why"]) for m in BLOCK.finditer(page.read_text("utf-8"))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the pages' commands find: a picture, another one, a folder of pictures, and the examples."""
    small = tmp_path / "here"
    (small / "album" / "more").mkdir(parents=True)
    pixels = make_golden.synthetic(48, 64, 1)
    for file in ("photo.png", "more.png", "album/one.png", "album/more/two.png"):
        Image.fromarray(pixels).save(small / file)
    Image.fromarray(pixels).save(small / "photo.jpg")
    (small / "examples").mkdir()
    with Image.open(make_golden.EXAMPLE) as picture:  # a corner of it is enough here; `test_readme` takes all
        picture.crop((0, 0, 96, 64)).save(small / "examples" / "mountains.png")
    monkeypatch.chdir(small)
    return small


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_runs(page, folder):
    """All blocks of a page that are not excepted, one after another."""
    for block in blocks(page):
        if block.why is not None or block.kind not in ("sh", "python"):
            continue
        if block.kind == "python":
            exec(compile(block.text, name(page), "exec"), {})
            continue
        for command in block.commands():
            assert command[0] == "vlae-codec", f"{command} is no command that is run here: say why, in a comment"
            result = CliRunner().invoke(main, command[1:])
            assert result.exit_code == 0, f"{command}: {result.output}"


def options(command: list[str]) -> set[str] | None:
    """The options of a command of ours; None for others' programs."""
    if command[0] == "vlae-codec":
        found = main.get_command(click.Context(main), command[1])
    elif command[:2] == ["python", "-m"] and command[2].startswith(("bench.", "vlae_codec.")):
        module = importlib.import_module(f"vlae_codec.{command[2].removeprefix('vlae_codec.')}")
        found = module.main
    elif command[0] == "python":
        scripts = [ROOT / word for word in command[1:] if word.endswith(".py")]  # sanitized.py runs another one
        return {option for script in scripts for option in re.findall(r"--[a-z-]+", script.read_text("utf-8"))}
    else:
        assert command[0] in OTHERS, command
        return None
    if isinstance(found, ArgumentParser):
        return {option for action in found._actions for option in action.option_strings}
    assert isinstance(found, click.Command), command
    if isinstance(found, click.Group):
        return {option for one in found.commands for option in _options_of(found.commands[one])}
    return _options_of(found)


def _options_of(found: click.Command) -> set[str]:
    return {option for param in found.params for option in (*param.opts, *param.secondary_opts)}


EXCEPTED = [(page, block) for page in PAGES for block in blocks(page) if block.why is not None]


@pytest.mark.parametrize(("page", "block"), EXCEPTED, ids=[f"{name(page)}-{i}" for i, (page, _) in enumerate(EXCEPTED)])
def test_exceptions_exist(page, block):
    """A command that is not run has a reason, and it and its options exist; Python is at least code."""
    assert block.why
    if block.kind == "python":
        compile(block.text, name(page), "exec")
        return
    for command in block.commands():
        known = options(command)
        if known is not None:
            given = {word.partition("=")[0] for word in command[2:] if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
            assert given - {"-m"} <= known, f"{name(page)}: {command} has no {given - known}"


def test_every_block_has_a_kind():
    """No command hides in a block that no test looks at: `test_readme` has the README's two lines."""
    for page in PAGES:
        for block in blocks(page):
            lines = page.name == "README.md" and block.text.startswith("python3 -m venv")
            assert block.kind in ("sh", "python", "text") or lines, f"{name(page)}: {block.text}"


def test_commands_in_the_text():
    """Modules, files and options that the prose names are there."""
    known = {
        option
        for command in main.list_commands(click.Context(main))
        for option in options(["vlae-codec", command]) or ()
    }
    known |= set(re.findall(r"--[a-z-]+", "".join(path.read_text() for path in (ROOT / "bench").glob("*.py"))))
    known |= {"--check", "--strict", "--arch", "--nproc-per-node"}
    for page in PAGES:
        text = BLOCK.sub("", page.read_text("utf-8"))
        for code in re.findall(r"`([^`\n]+)`", text):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)) <= known, f"{name(page)}: {code}"
            if re.fullmatch(r"(bench|docs|tests|models|vlae_codec|cli)/[\w/.-]+", code) and "NAME" not in code:
                assert (ROOT / code).exists(), f"{name(page)}: {code}"
            if match := re.match(r"(?:python -m )?(bench\.\w+)", code):
                importlib.import_module(f"vlae_codec.{match[1]}")
    for code in re.findall(r"`([^`\n|]+\.py)`", (ROOT / "docs" / "way.md").read_text("utf-8")):
        assert (ROOT / code).exists() or (ROOT / "vlae_codec" / code).exists(), code


def test_links():
    """Links of all pages lead to a file of the repository, or to a host."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text("utf-8"))):
            if not target.startswith("https://"):
                assert (page.parent / target.partition("#")[0]).exists(), f"{name(page)}: {target}"


def test_assembled():
    """docs/format.md has the docstrings of today, docs/tile.svg is what the script draws."""
    command = [sys.executable, str(ROOT / "docs" / "assemble.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


def test_prose():
    """No absolute paths of a machine."""
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(root|home|tmp|work|usr|Users)/", page.read_text("utf-8")), name(page)


def test_figures():
    """The table of the README is what was measured."""
    compared = json.loads((ROOT / "bench/results/compare-kodak.json").read_text())["summary"]
    cid = json.loads((ROOT / "bench/results/effort-valid.json").read_text())
    rates = {f"vlae e{level} without origins": f"{found['bpsp']:.4f}" for level, found in cid["summary"].items()}
    peer = 8 * sum(row["jxl e7"]["bytes"] for row in cid["rows"]) / sum(row["subpixels"] for row in cid["rows"])
    rates["jxl e7"] = f"{peer:.4f}"
    names = {
        "vlae-codec, effort 2 (default)": "vlae e2 without origins",
        "vlae-codec, effort 1": "vlae e1 without origins",
        "JPEG XL, effort 9": "jxl e9",
        "JPEG XL, effort 7": "jxl e7",
        "WebP lossless": "webp",
        "PNG": "png",
    }
    wanted = {"vlae-codec, effort 5": ["-", "-", rates["vlae e5 without origins"], "-", "-"]}
    for label, codec in names.items():
        found = compared[codec]
        wanted[label] = [f"{found['bpsp']:.4f}", f"{found['over_reference']:.3f}", rates.get(codec, "-")]
        wanted[label] += [f"{found['encode_MBps']:.2f}", f"{found['decode_MBps']:.2f}"]
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme[readme.index("## Figures") : readme.index("## Use it")]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    assert {row[0]: row[1:] for row in rows[1:]} == wanted


@pytest.mark.slow
def test_site(tmp_path):
    """The site builds without a warning, and its pages fetch nothing."""
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert not done.returncode, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= 8
    assert not any(re.search(r'<(script|link|img)[^>]*(src|href)="(https?:)?//', page.read_text()) for page in pages)
