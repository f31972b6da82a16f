"""The report is what the measurements' JSON says, and the repository's is up to date."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from vlae_codec.bench import report, sections

ROOT = Path(__file__).parent.parent.parent
MADE = {"command": "python -m bench.what photos/kodak", "processor": "a processor"}
COMPARE = {
    "made": MADE,
    "settings": {"conditions": "2 pictures"},
    "summary": {
        "jxl e7": {"bytes": 300, "bpsp": 2.9, "over_reference": 1.0, "encode_MBps": 1.9, "pictures": 2, "failures": 0},
        "qoi": {"pictures": 2, "failures": 1},
        "vlae e1": {"bytes": 200, "bpsp": 2.85904, "over_reference": 0.985, "pictures": 2, "failures": 0},
    },
}
SET = {
    "made": MADE,
    "pictures": 10,
    "unit": "nats a picture",
    "file": 87.2351,
    "coded": 87.2,
    "elbo": 87.15,
    "local": 77.3,
    "kl": 9.85,
    "terms": {"x given z": 77.0, "band A": 0.3, "prior": 80.0, "posterior": -70.15},
    "modes": {"neither": 120.0, "no latents": 100.0, "latents": 90.0, "KL": 9.85},
    "gap_percent": 0.0961,
    "worst": "group 3",
    "worst_gap_percent": 0.21,
    "failures": 0,
    "streams": 4,
    "latent_streams": 3,
    "start": {
        "ours": {"percent": -0.0001, "worst_percent": 0.02},
        "classic": {"percent": 0.2, "worst_percent": 0.3},
        "classic_once_percent": 0.05,
    },
}
EXPERIMENT = {
    "name": "b-mnist",
    "title": "Static MNIST",
    "command": "python -m experiment",
    "text": ["Before."],
    "columns": {"model": "model", "nats": "NLL, nats", "bits": "bits/dim"},
    "rows": [{"model": "ours | new", "nats": 80.126, "bits": 0.147461}, {"model": "paper", "nats": 79}],
    "notes": ["Fewer steps."],
    "figures": [{"file": "b.png", "caption": "Curves"}],
    "seconds": 390,
    "processor": "a processor",
    "unknown": 1,
}


@pytest.fixture
def root(tmp_path):
    """A repository with a page for the digest and no results."""
    (tmp_path / "bench" / "results" / "experiments").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmarks.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    return tmp_path


@pytest.fixture
def full(root):
    """With results of each kind."""
    results = root / "bench" / "results"
    for name, contents in {
        "compare-kodak": COMPARE,
        "compare-other": COMPARE,
        "theory": {"sets": {"MNIST": SET, "photos": {**SET, "unit": "bits per subpixel"}}},
        "experiments/x": EXPERIMENT,
        "experiments/y": {**EXPERIMENT, "name": "a-first", "title": "First", "headline": "it works"},
    }.items():
        (results / f"{name}.json").write_text(json.dumps(contents))
    for name in ("effort-valid", "speed", "architecture"):
        (results / f"{name}.json").write_bytes((ROOT / "bench" / "results" / f"{name}.json").read_bytes())
    return root


def run(root, *options):
    return CliRunner().invoke(report.main, ["--root", str(root), *options])


def test_cells():
    assert sections.shown(None) == "–"
    assert sections.shown(3) == "3"
    assert sections.shown(3.14159) == "3.14"
    assert sections.shown(3.14159, "CIFAR, bits/dim") == sections.shown(3.14159, "bpsp") == "3.1416"
    assert sections.percent(-0.0001) == "0.000 %"
    assert sections.table({"a": "A", "b": "B"}, [{"a": "1|2\n3"}]) == [
        "| A | B |",
        "| --- | --- |",
        "| 1&#124;2 3 | – |",
        "",
    ]


def test_results(full):
    text = report.results(full / "bench" / "results")
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == list(report.SECTIONS)
    assert text.count("```\n") % 2 == 0
    for line in (
        "| vlae e1 | 200 | 2.8590 | 0.985 | – | – | 2 | 0 |",
        "| qoi | – | – | – | – | – | 2 | 1 |",
        "kodak: 2 pictures; a processor.",
        MADE["command"],
        "| MNIST | 10 | nats a picture | 87.24 | 87.20 | 87.15 | 77.30 | 9.85 | 0.096 % | 0.210 % | group 3 | 0 |",
        "| photos | 77.0000 | 0.3000 | 80.0000 | -70.1500 |",
        "| MNIST | 4 | 0.000 % | 0.020 % | 0.200 % | 0.300 % | 0.050 % |",
        "| MNIST | 120.00 | 100.00 | 90.00 | 9.85 | 10.00 % | 25.00 % | 3 of 4 |",
        "| ours &#124; new | 80.13 | 0.1475 |",
        "| paper | 79 | – |",
        "![Curves](results/experiments/b.png)",
        "- Fewer steps.",
        "6 minutes (without nets trained before), a processor:",
    ):
        assert line in text.splitlines()
    assert text.index("vlae e1") < text.index("jxl e7") < text.index("qoi")
    assert text.index("### First") < text.index("### Static MNIST")


def test_digest(full):
    text = report.digest(full / "bench" / "results").splitlines()
    assert "| vlae e1 | 2.8590 | 0.985 | – | – | 0 |" in text
    assert not any(line.startswith("other:") for line in text)
    assert "| First | it works |" in text
    assert "| Static MNIST | model ours &#124; new, NLL, nats 80.13, bits/dim 0.1475 |" in text


def test_written_once(full):
    assert run(full, "--check").exit_code == 1
    assert "old" in (full / "docs" / "benchmarks.md").read_text()
    assert not (full / "bench" / "RESULTS.md").exists()
    assert run(full).output == "RESULTS.md written\nbenchmarks.md written\n"
    page = (full / "docs" / "benchmarks.md").read_text()
    assert page.startswith(f"before\n{report.BEGIN}\n")
    assert page.endswith(f"{report.END}\nafter\n")
    assert "old" not in page
    assert run(full, "--check").exit_code == 0
    assert run(full).output == ""
    (full / "bench" / "RESULTS.md").write_text("changed by hand")
    found = run(full, "--check")
    assert found.exit_code == 1
    assert found.output == "RESULTS.md is not up to date: run python -m bench.report\n"


def test_without_results(root):
    assert run(root).exit_code == run(root, "--check").exit_code == 0
    assert "##" not in (root / "bench" / "RESULTS.md").read_text()
    assert "|" not in (root / "docs" / "benchmarks.md").read_text()


@pytest.mark.parametrize("text", ["none", report.BEGIN, report.END + report.BEGIN, 2 * (report.BEGIN + report.END)])
def test_markers(text):
    with pytest.raises(click.UsageError):
        report.with_digest(text, "")


def test_the_repository_is_up_to_date():
    assert run(ROOT, "--check").output == ""
