"""bench/RESULTS.md and the digest in docs/benchmarks.md, from the JSON files, never by hand.

    python -m bench.report [--check] [--root FOLDER]

Reads bench/results of the repository, `--root`, and writes bench/RESULTS.md and what stands between the two markers of
docs/benchmarks.md. The section of a file that is missing is left out (`bench.sections` says which there are). --check
writes nothing and exits with 1 if one of the two is not what would be written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from . import sections
from .sections import Lines

BEGIN, END = "<!-- results -->", "<!-- /results -->"
SECTIONS: dict[str, Callable[[Path], Lines]] = {
    "Other codecs": sections.peers,
    "Files against theory": sections.theory,
    "The paper's experiments": sections.experiments,
    "Effort": sections.effort,
    "Speed": sections.speed,
    "Architectures": sections.architecture,
}


def results(folder: Path) -> str:
    """RESULTS.md."""
    lines = ["# Results", "", "Written by `python -m bench.report` from `bench/results`; not by hand.", ""]
    for title, section in SECTIONS.items():
        if found := section(folder):
            lines += [f"## {title}", "", *found]
    return "\n".join(lines).rstrip() + "\n"


def digest(folder: Path) -> str:
    """What stands between the markers of the page."""
    parts = (sections.peers_digest, sections.theory_digest, sections.experiments_digest)
    lines = [line for part in parts for line in part(folder)]
    return "\n".join([*lines, "All tables, each with its command: `bench/RESULTS.md`.", ""])


def with_digest(page: str, text: str) -> str:
    """The page with this between its markers. Raises click.UsageError if it does not have both, once, in order."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before + after:
        raise click.UsageError(f"docs/benchmarks.md must have {BEGIN} and after it {END}, each once")
    return f"{before}{BEGIN}\n{text}{END}{after}"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Only say whether both files are up to date.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".", show_default=True)
def main(check: bool, root: Path) -> None:
    folder, page = root / "bench" / "results", root / "docs" / "benchmarks.md"
    wanted = {
        root / "bench" / "RESULTS.md": results(folder),
        page: with_digest(page.read_text("utf-8"), digest(folder)),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(wanted[path], "utf-8")
        click.echo(f"{path.name} {'is not up to date: run python -m bench.report' if check else 'written'}")
    raise SystemExit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
