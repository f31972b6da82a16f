"""The sections of the report: the JSON files of the measurements as Markdown, a missing file as nothing.

compare-SET.json    sizes and speeds beside other codecs (`vlae-codec bench`)
theory.json         files against -ELBO (`bench.theory`)
experiments/*.json  by "name": {"name", "title", "command", "text": [paragraphs], "columns": {key: heading},
                    "rows": [{key: value}], "notes": [lines], "figures": [{"file", "caption"}], "seconds", "processor"};
                    "headline", a sentence, is what the digest says of it, without it the first row
effort.json, speed.json, architecture.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ABSENT = "–"
Row = dict[str, Any]
Lines = list[str]


def shown(value: Any, heading: str = "") -> str:
    """A cell: of a float 4 decimals in columns of bits/dim or bpsp, otherwise 2."""
    if value is None:
        return ABSENT
    if isinstance(value, float):
        return format(value, ".4f" if "bits/dim" in heading or "bpsp" in heading else ".2f")
    return str(value)


def percent(value: float, decimals: int = 3) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f} %"  # no negative zero


def table(columns: dict[str, str], rows: Iterable[Row]) -> Lines:
    """columns: key -> heading. What a row lacks is a dash."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"

    lines = ([shown(row.get(key), heading) for key, heading in columns.items()] for row in rows)
    return [line(columns.values()), line("---" for _ in columns), *map(line, lines), ""]


def made_by(*commands: str) -> Lines:
    """The commands that bring a table forth again."""
    return ["```", *commands, "```", ""]


def read(path: Path) -> Row:
    """Empty if there is none."""
    found: Row = json.loads(path.read_text()) if path.exists() else {}
    return found


# ---------------------------------------------------------------------------------------------------- other codecs

PEERS = {
    "codec": "codec",
    "bytes": "bytes",
    "bpsp": "bpsp",
    "ratio": "of JPEG XL e7",
    "encode_MBps": "encode, MB/s",
    "decode_MBps": "decode, MB/s",
    "pictures": "pictures",
    "failures": "failures",
}


def comparisons(results: Path) -> dict[str, Row]:
    """Name of the set -> what the bench wrote."""
    return {path.stem.removeprefix("compare-"): read(path) for path in sorted(results.glob("compare-*.json"))}


def comparison(name: str, found: Row, columns: Iterable[str]) -> Lines:
    """The smallest codec first, last those that lost pictures and so have no figures."""
    rows = []
    for codec, total in found["summary"].items():
        ratio = total.get("over_reference")
        rows.append({**total, "codec": codec, "ratio": None if ratio is None else f"{ratio:.3f}"})
    rows.sort(key=lambda row: row.get("bpsp", float("inf")))
    conditions = [found.get("settings", {}).get("conditions"), found["made"].get("processor")]
    said = "; ".join(part for part in conditions if part)
    return [f"{name}: {said}.", "", *table({key: PEERS[key] for key in columns}, rows)]


def peers(results: Path) -> Lines:
    lines = []
    for name, found in comparisons(results).items():
        lines += comparison(name, found, PEERS) + made_by(found["made"]["command"])
    return lines


def peers_digest(results: Path) -> Lines:
    found = comparisons(results)
    columns = [key for key in PEERS if key not in ("bytes", "pictures")]
    return comparison("kodak", found["kodak"], columns) if "kodak" in found else []


# ---------------------------------------------------------------------------------------------------- theory

FILES = {
    "set": "set",
    "pictures": "pictures",
    "unit": "unit",
    "file": "file",
    "coded": "streams and adapter",
    "elbo": "-ELBO",
    "local": "local",
    "kl": "KL",
    "gap": "over -ELBO",
    "worst_gap": "worst",
    "worst": "which",
    "failures": "failures",
}
TERMS = ("x given z", "band A", "tiles without latents", "stored", "adapter", "prior", "posterior")
START = {
    "set": "set",
    "streams": "streams",
    "ours": "ours",
    "ours_worst": "worst",
    "classic": "classic",
    "classic_worst": "worst",
    "once": "classic, once",
}
MODES = {
    "set": "set",
    "neither": "without latents and styles",
    "no latents": "without latents",
    "latents": "with latents",
    "KL": "of which KL",
    "gain": "gain of the latents",
    "all": "of both",
    "took": "streams that have them",
}


def sets(results: Path) -> list[Row]:
    """What the columns above want; rates with the decimals of their unit."""
    rows = []
    for name, found in read(results / "theory.json").get("sets", {}).items():
        rates = {key: found[key] for key in ("file", "coded", "elbo", "local", "kl")} | found["terms"] | found["modes"]
        row = {key: format(rate, ".2f" if "nats" in found["unit"] else ".4f") for key, rate in rates.items()}
        row |= {key: found[key] for key in ("pictures", "unit", "worst", "failures", "streams")}
        row |= {"set": name, "gap": percent(found["gap_percent"]), "worst_gap": percent(found["worst_gap_percent"])}
        for way in ("ours", "classic"):
            row[way], row[f"{way}_worst"] = (percent(found["start"][way][k]) for k in ("percent", "worst_percent"))
        row["once"] = percent(found["start"]["classic_once_percent"])
        for key, without in (("gain", "no latents"), ("all", "neither")):
            row[key] = percent(100 * (1 - found["modes"]["latents"] / found["modes"][without]), 2)
        row["took"] = f"{found['latent_streams']} of {found['streams']}"
        rows.append({**row, "command": found["made"]["command"]})
    return rows


def theory(results: Path) -> Lines:
    rows = sets(results)
    if not rows:
        return []
    terms = {"set": "set", **{term: term for term in TERMS if any(term in row for row in rows)}}
    return [
        "Real files, all overhead included; every picture was decoded and compared. Over -ELBO is what the file has",
        "beyond the bits that the model promised for the coded sample. The worst is a picture, or in an archive, whose",
        "pictures have no files of their own, a group.",
        "",
        *table(FILES, rows),
        "The terms of -ELBO; the last two make the KL:",
        "",
        *table(terms, rows),
        "What the start of bits-back costs, in percent of -ELBO (`bench/theory.py` says how it is measured). Ours is a",
        "part of -ELBO: how much dearer what has no latents (the bands A, the first pictures of a group) is than with",
        "them. Classic bits-back would add random bits for the first latents of every stream (a tile of a picture, a",
        "group of an archive), or once, if all pictures of the set were one chain.",
        "",
        *table(START, rows),
        "The same weights without and with latents, in the styles that the files name; a stream is the smaller one:",
        "",
        *table(MODES, rows),
        *made_by(*(row["command"] for row in rows)),
    ]


def theory_digest(results: Path) -> Lines:
    rows = sets(results)
    columns = {key: FILES[key] for key in ("set", "unit", "file", "elbo", "kl", "gap", "worst_gap")}
    columns |= {"ours": "start, ours", "classic": "start, classic", "failures": "failures"}
    said = [
        "Files against what the model promises, all overhead included, every picture decoded and compared; and what",
        "the start of bits-back costs, of -ELBO: ours within it, and what classic bits-back would add in random bits:",
        "",
    ]
    return [*said, *table(columns, rows)] if rows else []


# ---------------------------------------------------------------------------------------------------- experiments


def all_experiments(results: Path) -> list[Row]:
    return sorted(map(read, (results / "experiments").glob("*.json")), key=lambda found: found["name"])


def experiments(results: Path) -> Lines:
    lines = []
    for found in all_experiments(results):
        lines += [f"### {found['title']}", ""]
        for paragraph in found.get("text", []):
            lines += [paragraph, ""]
        if found.get("rows"):
            lines += table(found["columns"], found["rows"])
        for figure in found.get("figures", []):
            lines += [f"![{figure['caption']}](results/experiments/{figure['file']})", ""]
        if found.get("notes"):
            lines += [*(f"- {note}" for note in found["notes"]), ""]
        spent = [f"{found['seconds'] / 60:.0f} minutes (without nets trained before)"] if "seconds" in found else []
        where = [*spent, *([found["processor"]] if "processor" in found else [])]
        lines += [f"{', '.join(where)}:", ""] if where else []
        lines += made_by(found["command"])
    return lines


def headline(found: Row) -> str:
    if "headline" in found:
        return str(found["headline"])
    first: Row = next(iter(found.get("rows", [])), {})
    return ", ".join(f"{heading} {shown(first.get(key), heading)}" for key, heading in found.get("columns", {}).items())


def experiments_digest(results: Path) -> Lines:
    rows = [{"title": found["title"], "headline": headline(found)} for found in all_experiments(results)]
    return table({"title": "experiment", "headline": "found"}, rows) if rows else []


# ---------------------------------------------------------------------------------------------------- what is older

EFFORT = {
    "set": "set",
    "level": "effort",
    "bpsp": "bpsp",
    "ratio": "of JPEG XL e7",
    "gain": "gain",
    "worst_gain": "worst",
    "best_gain": "best",
    "adapter": "adapter, of the file",
    "compress_s": "compress, s",
    "decompress_s": "decompress, s",
    "failures": "failures",
}


def effort(results: Path) -> Lines:
    rows, commands, processors = [], [], []
    for path in sorted(results.glob("effort-*.json")):
        found = read(path)
        commands.append(found["made"]["command"])
        processors.append(found["made"]["processor"])
        for level, total in found["summary"].items():
            row = {key: percent(total[f"{key}_percent"], 2) for key in ("gain", "worst_gain", "best_gain", "adapter")}
            ratio = f"{total['over_peer']:.3f}" if "over_peer" in total else None
            rows.append({**total, **row, "set": path.stem.removeprefix("effort-"), "level": level, "ratio": ratio})
    said = ["Bits per subpixel and seconds a picture. Gains are over level 1, of the set and of single pictures."]
    said += [f"{', '.join(dict.fromkeys(processors))}."]
    return [*said, "", *table(EFFORT, rows), *made_by(*commands)] if rows else []


SPEED = {
    "name": "codec",
    "bpsp": "bpsp",
    "encode_MBps": "encode, MB/s",
    "decode_MBps": "decode, MB/s",
    "encode_ratio": "encode / e7 encode",
    "decode_ratio": "decode / e7 encode",
}
PROCESSES = {"name": "process", "s": "seconds", "MiB": "peak, MiB"}
MEMORY = {
    "name": "process on",
    "compress_s": "compress, s",
    "compress_MiB": "peak, MiB",
    "decompress_s": "decompress, s",
    "decompress_MiB": "peak, MiB",
}


def speed(results: Path) -> Lines:
    lines: Lines = []
    for part, found in read(results / "speed.json").items():
        for key, columns in (("summary", SPEED), ("commands", PROCESSES), ("sizes", MEMORY)):
            if key in found:
                lines += [
                    f"### {part}",
                    "",
                    *table(columns, ({**row, "name": name} for name, row in found[key].items())),
                ]
                break
        else:
            lines += [f"### {part}", "", *sizes(found["rows"])]
        lines += made_by(found["made"]["command"])
    picture = ["![Seconds against megapixels](results/speed.png)", ""] if (results / "speed.png").exists() else []
    said = "MB/s of raw pixels, start-up and verifying excluded; e: effort, t: threads, of other codecs one."
    return [said, "", *lines, *picture] if lines else []


def sizes(rows: list[Row]) -> Lines:
    """MB/s of raw pixels of pictures of each size, by each codec."""
    ways, found = ("encode", "decode"), []
    for row in rows:
        cells = {f"{name} {way}": figures[f"{way}_MBps"] for name, figures in row["codecs"].items() for way in ways}
        found.append({"MB/s on": row["size"], **cells})
    return table({key: key for key in found[0]}, found)


ARCHITECTURE = "python -m bench.architecture photos/train --valid photos/valid --valid photos/kodak --steps 400"


def architecture(results: Path) -> Lines:
    names = {"total": "bpsp", "kl": "of which KL, bpsp", "no_latent": "without latents, bpsp"}
    columns, rows = {"name": "variant", "multiply_adds": "multiply-adds a pixel"}, []
    for name, found in read(results / "architecture.json").items():
        rates = {(key, term): found[key][term] for key in found if isinstance(found[key], dict) for term in names}
        columns |= {f"{key} {term}": f"{key}, {names[term]}" for key, term in rates}
        rows.append({**found, "name": name, **{f"{key} {term}": rate for (key, term), rate in rates.items()}})
    said = "Variants trained alike for a few steps, float models, centre crops of 192 pixels: only differences count."
    return [said, "", *table(columns, rows), *made_by(ARCHITECTURE)] if rows else []
