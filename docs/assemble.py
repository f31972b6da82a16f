"""Copies docstrings into docs/format.md and docs/archive.md, the specification of the formats, and draws a picture.

    python docs/assemble.py [--check]

Between the lines `<!-- docstring PATH -->` and `<!-- /docstring -->` of a page stands the docstring of a module
in a box. --check writes nothing and exits with 1 if something is not what would be written. Only the standard library
is needed.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pictures

DOCS = Path(__file__).resolve().parent
PLACE = re.compile(r"<!-- docstring (\S+) -->\n.*?<!-- /docstring -->", re.DOTALL)


def docstring(path: str) -> str:
    """The docstring of a module of the repository."""
    found = ast.get_docstring(ast.parse((DOCS.parent / path).read_text("utf-8")))
    if found is None:
        raise ValueError(f"{path} has no docstring")
    return found


def box(match: re.Match[str]) -> str:
    path = match[1]
    return f"<!-- docstring {path} -->\n```text\n{path}\n\n{docstring(path)}\n```\n<!-- /docstring -->"


def assembled(page: str) -> str:
    """The page with the docstrings of today."""
    return PLACE.sub(box, page)


def wanted() -> dict[Path, str]:
    """What the files of docs/ that this script writes must hold."""
    pages = [DOCS / "format.md", DOCS / "archive.md"]
    return {**{page: assembled(page.read_text("utf-8")) for page in pages}, DOCS / "tile.svg": pictures.tile()}


def main() -> None:
    stale = [path for path, text in wanted().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.name} is not up to date: run python docs/assemble.py")
        else:
            path.write_text(wanted()[path], "utf-8", newline="\n")
            print(f"{path.name} written")
    sys.exit(1 if "--check" in sys.argv and stale else 0)


if __name__ == "__main__":
    main()
