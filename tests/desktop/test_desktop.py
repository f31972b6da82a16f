"""Desktops and file(1) know the files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vlae_codec.format.container import MAGIC

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "tests" / "data" / "grey.vlae"


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def asked(*command: str, **environment: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout


def test_file() -> None:
    program, magic = needs("file"), str(ROOT / "desktop" / "vlae.magic")
    assert asked(program, "-b", "-m", magic, str(FILE)).strip() == "VLAE lossless image, version 2"
    assert asked(program, "-b", "--mime-type", "-m", magic, str(FILE)).strip() == "image/vlae"
    assert "VLAE" not in asked(program, "-b", "-m", magic, str(ROOT / "README.md"))


def test_mime_database(tmp_path: Path) -> None:
    update, gio = needs("update-mime-database"), needs("gio")
    packages = tmp_path / "mime" / "packages"
    packages.mkdir(parents=True)
    shutil.copy(ROOT / "desktop" / "vlae.xml", packages)
    asked(update, str(tmp_path / "mime"), XDG_DATA_HOME=str(tmp_path), XDG_DATA_DIRS=str(tmp_path))
    rule = (tmp_path / "mime" / "magic").read_bytes()
    assert b"image/vlae" in rule
    assert MAGIC in rule
    shutil.copy(FILE, tmp_path / "without-an-ending")
    for path in (FILE, tmp_path / "without-an-ending"):
        said = asked(gio, "info", "-a", "standard::content-type", str(path), XDG_DATA_HOME=str(tmp_path))
        assert said.split()[-1] == "image/vlae"


def test_the_rule_is_the_magic_number() -> None:
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    match = next(ElementTree.parse(ROOT / "desktop" / "vlae.xml").iter(f"{space}match"))
    value = match.attrib["value"]
    assert value.encode().decode("unicode_escape").encode("latin-1") == MAGIC
