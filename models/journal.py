"""The log of a training run: JSON lines, and the curve drawn from them.

The first line says what is run (configuration, settings, command, versions), each other one how it goes: `step`,
`minutes`, `bpsp`, `kl_per_cell`, `images_per_s`, `lr` and, with held-out pictures, `valid_*`. A run that is resumed
drops what was logged after its checkpoint and goes on in the same file, with another first line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(path: str | Path) -> list[dict[str, Any]]:
    """The records, without a last line that a crash cut short."""
    records = []
    for line in Path(path).read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


class Journal:
    """A log open for more records. resumed: the step at which a run goes on; None starts the file anew."""

    def __init__(self, path: str | Path, resumed: int | None = None) -> None:
        self.path = Path(path)
        kept = read(path) if resumed is not None and self.path.exists() else []
        self.path.write_text("".join(json.dumps(record) + "\n" for record in kept if record["step"] <= (resumed or 0)))

    def write(self, record: dict[str, Any]) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(record) + "\n")


def plot(log: str | Path, output: str | Path) -> None:
    """Draws the rate and the KL of a log over its steps. Raises ImportError where there is no matplotlib."""
    from matplotlib.figure import Figure

    records = [record for record in read(log) if "bpsp" in record]
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for key, label in (
        ("bpsp", "training"),
        ("valid_total", "held out, latents"),
        ("valid_no_latent", "held out, no latents"),
    ):
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            above.plot(*zip(*points), marker=".", label=label)
    above.set_ylabel("bits per subpixel")
    if records:
        above.legend()
    below.plot([record["step"] for record in records], [record["kl_per_cell"] for record in records], marker=".")
    below.set_ylabel("KL, bits per latent cell")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(output)
