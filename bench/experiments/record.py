"""What the commands share: options, training of rows side by side, and the JSON that reports are made of."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch

from ..processes import processor
from . import sets
from .fit import Budget, Buildable, importance, spread_out, terms_of, trained

RESULTS = Path("bench/results/experiments")


class Row(NamedTuple):
    """A net to be trained and judged."""

    label: str
    set: str
    spec: Buildable
    budget: Budget


class Run(NamedTuple):
    """How and where: what the options of a command say."""

    data: Path
    work: Path
    out: Path
    device: str
    jobs: int
    steps: float  # times those of the budget

    def scaled(self, budget: Budget) -> Budget:
        return replace(budget, steps=max(20, round(self.steps * budget.steps)))


def command(function: Callable[[Run], None]) -> click.Command:
    """A command of (run: Run), with its module's docstring as help."""

    def main(data: Path, work: Path, out: Path, device: str, jobs: int | None, steps: float) -> None:
        function(Run(data, work, out, device, jobs or os.cpu_count() or 1, steps))

    for decorate in (
        click.option("--steps", type=float, default=1.0, show_default=True, help="Times the usual number of steps."),
        click.option("--jobs", type=click.IntRange(min=1), help="Nets trained side by side [default: one a core]."),
        click.option("--device", default="cpu", show_default=True, help="cpu or cuda."),
        click.option(
            "--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="For the results."
        ),
        click.option(
            "--work",
            type=click.Path(path_type=Path),
            default=Path("runs/experiments"),
            show_default=True,
            help="For trained nets; those found there are not trained again.",
        ),
        click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False)),
    ):
        main = decorate(main)
    return click.command(help=sys.modules[function.__module__].__doc__)(main)


def train(rows: Sequence[Row], run: Run) -> list[tuple[Any, dict[str, Any]]]:
    """The rows' nets and facts, in order, trained side by side with one thread each."""
    _side_by_side(_train, [(row, run) for row in rows], run.jobs)
    return [_train(row, run) for row in rows]


def judge(rows: Sequence[Row], run: Run, samples: int = 0, pictures: int = 0) -> list[dict[str, Any]]:
    """A dict for each row: what it is, the terms of -ELBO on the test pictures in nats a picture, how it was trained.

    samples: also the importance-sampled bound of so many samples, on so many test pictures (`nll`), and -ELBO on the
    same pictures (`elbo_part`).
    """
    return _side_by_side(_judge, [(row, run, samples, pictures) for row in rows], run.jobs)


def _side_by_side(function: Callable[..., Any], calls: list[tuple], jobs: int) -> list[Any]:
    if jobs == 1 or len(calls) == 1:
        return [function(*call) for call in calls]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        return [done.result() for done in [pool.submit(function, *call) for call in calls]]


def _one_thread() -> None:
    torch.set_num_threads(1)


def _train(row: Row, run: Run) -> tuple[Any, dict[str, Any]]:
    return trained(row.spec, sets.load(run.data, row.set), run.scaled(row.budget), run.work, run.device)


def _judge(row: Row, run: Run, samples: int, pictures: int) -> dict[str, Any]:
    net, facts = _train(row, run)
    data, budget = sets.load(run.data, row.set), run.scaled(row.budget)
    terms = {name: value.mean().item() for name, value in terms_of(net, data.test).items()}
    result = {
        "label": row.label,
        "set": sets.LABELS[row.set],
        "elbo": terms["total"],
        "local": terms["local"],
        "kl": terms["kl"],
        "steps": budget.steps,
        "epochs": budget.steps * budget.batch / len(data.train),
        "weights": facts["weights"],
        "minutes": facts["seconds"] / 60,
    }
    if samples:
        part = spread_out(data.test, pictures)
        result["elbo_part"] = terms_of(net, part, samples=8)["total"].mean().item()
        result["nll"] = importance(net, part, samples).mean().item()
    print(json.dumps(result), flush=True)
    return result


def write(run: Run, name: str, **parts: Any) -> None:
    """NAME.json under `run.out`. parts: title, text, columns, rows, notes, figures (`bench.sections` says how)."""
    run.out.mkdir(parents=True, exist_ok=True)
    if spent := sum(row.get("minutes", 0) for row in parts["rows"]):
        parts["notes"] = [*parts["notes"], f"Training took {spent:.0f} minutes, all nets one after the other."]
    options = f" --steps {run.steps:g}" * (run.steps != 1) + f" --device {run.device}" * (run.device != "cpu")
    report = {
        "name": name,
        "command": f"python -m bench.experiments.{Path(sys.argv[0]).stem} DATA{options}",
        "steps_factor": run.steps,
        "processor": processor(),
        "torch": torch.__version__,
        **parts,
    }
    (run.out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(run.out / f"{name}.json")
