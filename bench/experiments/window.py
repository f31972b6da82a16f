"""(b) Receptive field against KL, from no window to an unrestricted decoder; (f) attention in a window as one more row.

    python -m bench.experiments.window DATA [--steps TIMES] [--device cuda]

Static MNIST and CIFAR-10. About an hour on two cores.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from vlae_codec.contract import window_offsets

from . import information
from .fit import Budget
from .nets import Spec
from .record import Row, Run, command, judge, write

WINDOWS = [(1, 0), (3, 1), (5, 2), (7, 4), (11, 6)]
COLOUR = Budget(steps=800, batch=32)
PLAIN = "unrestricted, no KL warm-up"
ATTENTION = "attention in the 7x4 window"
AGAIN = ", another seed"
MARKS = {
    ATTENTION: ("s", "C3"),
    PLAIN: ("x", "C2"),
    f"5x2{AGAIN}": ("+", "C0"),
    f"7x4{AGAIN}": ("+", "C0"),
}  # beside the curve


def name(window: tuple[int, int]) -> str:
    return f"{window[0]}x{window[1]}" if window_offsets(window) else "none"


def colour(decoder: str = "window", window: tuple[int, int] = (7, 4)) -> Spec:
    return Spec(decoder, window, latents=4, grid=8, size=32, levels=256)


ROWS = [
    *(Row(name(w), "mnist", Spec(window=w), information.BUDGET) for w in WINDOWS),
    Row("unrestricted", "mnist", information.UNRESTRICTED, information.BUDGET),
    Row(PLAIN, "mnist", information.UNRESTRICTED, information.PLAIN),
    Row(ATTENTION, "mnist", Spec("attention"), information.BUDGET),
    *(Row(name(w) + AGAIN, "mnist", Spec(window=w), replace(information.BUDGET, seed=2)) for w in ((5, 2), (7, 4))),
    *(Row(name(w), "cifar10", colour(window=w), COLOUR) for w in WINDOWS[:4]),
    Row("unrestricted", "cifar10", colour("unrestricted"), COLOUR),
]


def main(run: Run) -> None:
    rows = judge(ROWS, run)
    for row, (_, name_of_set, spec, _) in zip(rows, ROWS):
        assert isinstance(spec, Spec)
        row["pixels"] = spec.size**2 // 2 if spec.decoder == "unrestricted" else len(window_offsets(spec.window))
        if name_of_set == "cifar10":
            row["bpd"] = row["elbo"] / (math.log(2) * 3 * spec.size**2)
    run.out.mkdir(parents=True, exist_ok=True)
    plot(rows, run.out / "b-window.png")
    curves: dict[str, list[str]] = {}
    for row in rows:
        curves.setdefault(row["set"], []).append(f"{row['kl']:.1f} ({row['label']})")
    write(
        run,
        "b-window",
        rows=rows,
        headline="KL, nats: " + "; ".join(f"{name_of_set} {', '.join(kl)}" for name_of_set, kl in curves.items()),
        title="Receptive field against KL",
        text=[
            "The same net with a larger and larger masked window (A wide, B rows up, and A // 2 pixels to the left). "
            "What the window tells the latents need not. The row of attention sees the 7x4 window, too, by queries, "
            "keys and relative positions instead of a masked convolution: what counts is the reach, not the kind of "
            "decoder."
        ],
        columns={
            "set": "set",
            "label": "window",
            "elbo": "-ELBO, nats",
            "bpd": "-ELBO, bits/dim",
            "local": "local",
            "kl": "KL",
        },
        figures=[{"file": "b-window.png", "caption": "KL and -ELBO against the pixels that a decoder sees"}],
        notes=[
            "The paper shows the effect by lossy codes of CIFAR-10 pictures, with windows from 4x2 to 7x4 (its figure "
            "3), not by such a curve. Its windows have an even width, too; here A is odd.",
            *rises(rows),
            *seeds(rows),
            "One run of one seed each, but for two; CIFAR-10 saw less than one epoch (0.65), so only large differences "
            "count there.",
        ],
    )


def rises(rows: list[dict[str, Any]]) -> list[str]:
    """A sentence for each step to a larger window at which the KL does not fall."""
    line = [row for row in rows if row["label"] not in MARKS]
    return [
        f"{a['set']}: from {a['label']} to {b['label']} the KL rises, by {b['kl'] - a['kl']:.2f} nats."
        for a, b in pairwise(line)
        if a["set"] == b["set"] and b["kl"] > a["kl"]
    ]


def seeds(rows: list[dict[str, Any]]) -> list[str]:
    """A sentence for each row that was trained twice."""
    kl = {(row["set"], row["label"]): row["kl"] for row in rows}
    return [
        f"{place}: another seed moves the KL of {label.removesuffix(AGAIN)} by "
        f"{abs(again - kl[place, label.removesuffix(AGAIN)]):.2f} nats."
        for (place, label), again in kl.items()
        if label.endswith(AGAIN)
    ]


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """KL and -ELBO (nats) against the pixels before that the decoder sees, one column a set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row["set"] for row in rows))
    figure, grid = plt.subplots(2, len(names), figsize=(4.5 * len(names), 6), squeeze=False, sharex="col")
    for axes, title in zip(grid.T, names):
        for ax, key in zip(axes, ("kl", "elbo")):
            line = [row for row in rows if row["set"] == title and row["label"] not in MARKS]
            ax.plot([1 + row["pixels"] for row in line], [row[key] for row in line], "o-", label="masked convolution")
            for row in rows:
                if row["set"] == title and row["label"] in MARKS:
                    mark, colour_of_mark = MARKS[row["label"]]
                    ax.plot(1 + row["pixels"], row[key], mark, color=colour_of_mark, label=row["label"])
            ax.set_xscale("log")
            ax.set_ylabel({"kl": "KL, nats", "elbo": "-ELBO, nats"}[key])
            ax.grid(alpha=0.3)
        axes[0].set_ylim(bottom=0)
        axes[0].set_title(title)
        axes[0].legend()
        axes[1].set_xlabel("1 + pixels seen (log)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    command(main)()
