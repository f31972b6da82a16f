"""The bench's figures as one HTML page that needs nothing else: no scripts, no requests, plots and pictures inside."""

from __future__ import annotations

from html import escape
from typing import Any

from vlae_codec.errors import InputError
from vlae_codec.views import bitsmap

from . import plots
from .compare import COLUMNS, Sample, failures

Row = dict[str, Any]
STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --dim: #5b6470; --paper: #fff; --line: #d8dde3; --ours: #eaf2fc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --dim: #a0a8b4; --paper: #14171b; --line: #343a43; --ours: #1b2a3d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p, figcaption, summary { max-width: 46rem; } p.dim, figcaption, footer { color: var(--dim); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .3rem; }
thead th { border-bottom-width: 2px; } tr.ours { background: var(--ours); font-weight: 600; }
.lost { color: #c43d3d; font-weight: 600; } @media (prefers-color-scheme: dark) { .lost { color: #ff8a80; } }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
figure { margin: 0; min-width: 0; } svg { width: 100%; height: auto; max-width: 36rem; display: block; }
img { width: 100%; max-height: 36rem; object-fit: contain; object-position: left top; display: block; }
img.small { image-rendering: pixelated; } details { margin: 1rem 0; } code { overflow-wrap: anywhere; }
"""


def check_drawing() -> None:
    """Raises InputError without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("--html draws with matplotlib: pip install 'vlae-codec[bench]'") from error


def page(contents: Row, sample: Sample | None) -> str:
    """The page of what `Comparison.contents` says, and of where the bits of a picture went."""
    totals, rows = contents["summary"], contents["rows"]
    names, mine = list(totals), [name for name in totals if name.split()[0] == "vlae"]
    parts = [
        f"<h1>Lossless image codecs</h1><p>{escape(contents['settings']['conditions'])}.</p>",
        _summary(totals, mine),
        _lost(rows, names),
        "<h2>Rate of each picture</h2>",
        _figure(plots.rates(rows, names), "Bits per subpixel of each picture, the one with the fewest at the top."),
        "<h2>Rate against speed</h2><div class=pair>",
        _figure(plots.speeds(totals, "encode"), "Encoding. A codec that lost a picture is left out."),
        _figure(plots.speeds(totals, "decode"), "Decoding."),
        "</div>",
        "" if sample is None else _bits(sample, contents["settings"]["threads"]),
        _pictures(rows, names),
        _made(contents),
    ]
    head = f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{STYLE}</style>"
    body = "\n".join(part for part in parts if part)
    title = "<title>Lossless image codecs</title>"
    return (
        f"<!doctype html>\n<html lang=en><head><meta charset=utf-8>{title}{head}</head><body>\n{body}\n</body></html>\n"
    )


def _figure(inside: str, caption: str) -> str:
    return f"<figure>{inside}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(lines: list[list[str]], marked: list[str]) -> str:
    """lines: of cells in HTML, the headings first; marked: first cells of lines to stand out."""
    first, *others = ("".join(f"<td>{cell}</td>" for cell in line) for line in lines)
    body = (f"<tr{' class=ours' if line[0] in marked else ''}>{row}</tr>" for line, row in zip(lines[1:], others))
    head = first.replace("td>", "th>")
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def _summary(totals: dict[str, Row], mine: list[str]) -> str:
    lines = [["codec", *(heading for heading, _ in COLUMNS.values())]]
    for name, total in totals.items():
        cells = [format(total[key], form) if key in total else "–" for key, (_, form) in COLUMNS.items()]
        if total["failures"]:
            cells[-1] = f"<span class=lost>{total['failures']} failed</span>"
        lines.append([escape(name), *cells])
    return _table(lines, [escape(name) for name in mine])


def _lost(rows: list[Row], names: list[str]) -> str:
    items = [
        f"<li><span class=lost>{escape(name)}</span> lost {escape(picture)}: {escape(why)}</li>"
        for name in names
        for picture, why in failures(rows, name)
    ]
    if not items:
        return "<p class=dim>Every picture was decoded and compared: all came back exactly from all codecs.</p>"
    note = "<p class=dim>Every picture was decoded and compared. A codec that lost one has no rate:</p>"
    return f"{note}<details open><summary>What was lost</summary><ul>{''.join(items)}</ul></details>"


def _bits(sample: Sample, threads: int) -> str:
    """The picture beside the map of its bits, of its latents' too if it has any."""
    bits = bitsmap.bits_map(sample.data, model=sample.model, threads=threads)
    drawn = bitsmap.render(bits)
    middle = drawn.shape[1] // 2  # two maps of one size, side by side
    shown = [(sample.pixels, f"{sample.picture}: a file of {len(sample.data):,} bytes")]
    for values, part, what in ((bits.local, drawn[:, :middle], "pixels"), (bits.latent, drawn[:, middle:], "latents")):
        if values.any():
            shown.append((part, f"Bits of its {what}: {values.sum(dtype=float) / 8:,.0f} bytes"))
    look = " class=small" if max(sample.pixels.shape) < 256 else ""
    figures = [
        _figure(f"<img{look} alt='{escape(caption)}' src='{plots.image_uri(part)}'>", caption)
        for part, caption in shown
    ]
    return f"<h2>Where the bits went ({escape(sample.codec)})</h2><div class=pair>{''.join(figures)}</div>"


def _pictures(rows: list[Row], names: list[str]) -> str:
    lines = [["picture", "size", "mode", *map(escape, names)]]
    for row in rows:
        rates = (plots.rate_of(row, name) for name in names)
        cells = [
            "<span class=lost>failed</span>"
            if "failed" in row["codecs"].get(name, {})
            else "–"
            if rate is None
            else f"{rate:.4f}"
            for name, rate in zip(names, rates)
        ]
        lines.append([escape(row["picture"]), f"{row['width']}×{row['height']}", row["mode"], *cells])
    return f"<details><summary>Bits per subpixel of each picture</summary>{_table(lines, [])}</details>"


def _made(contents: Row) -> str:
    made, others = contents["made"], contents["settings"]["others"]
    machine = f"{made['date']}; {made['processor']}, {made['cores']} cores, load {made['load']} at the end."
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    settings = "; ".join(f"{name}: {how}" for name, how in others.items() if how)
    lines = [
        machine,
        f"{versions}.",
        *([f"{settings}."] if settings else []),
        *(f"Skipped {x}" for x in contents["skipped"]),
    ]
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f"<h2>How it was made</h2><footer><code>{escape(made['command'])}</code>{text}</footer>"
