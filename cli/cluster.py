"""``--ray`` of ``compress`` and ``decompress``: many files over a cluster, with a bar of files and a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from vlae_codec import cluster
from vlae_codec.jobs.plan import CODED, JPEG, PICTURES

from .app import Failure
from .common import on_terminal, say
from .summary import not_kept

_Settings = cluster.Compressing | cluster.Decompressing
HERE = ("to_stdout", "as_json", "dry_run", "remove_source", "accept_loss", "jobs", "fail_fast")  # not over a cluster
NOR = ("thumbnail", "region", "salvage")


def compress_over(
    address: str, sources: Sequence[str], output: str | None, *, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Compresses pictures and folders of them, by URLs, into the folder `output`. Raises Failure if any failed."""
    output = _check(output, options)
    given = _common(options) | {name: options[name] for name in ("effort", "seed", "origin", "tile", "verify", "keep")}
    left_out = JPEG if options["skip_jpeg"] else frozenset[str]()
    plan = cluster.make_plan(sources, output, PICTURES, ".vlae", options["force"], options["newer"], left_out)
    _convert(address, plan, cluster.Compressing(**given), output, quiet, verbose)


def decompress_over(
    address: str, sources: Sequence[str], output: str | None, *, quiet: bool, verbose: bool, **options: Any
) -> None:
    """The other way round."""
    from vlae_codec.images import image

    output = _check(output, options)
    image.output_format("picture" + options["suffix"])
    given = _common(options) | {"strict": options["strict"]}
    plan = cluster.make_plan(sources, output, CODED, options["suffix"], options["force"], options["newer"])
    _convert(address, plan, cluster.Decompressing(**given), output, quiet, verbose)


def _check(output: str | None, options: dict[str, Any]) -> str:
    """The output. Raises UsageError for what is not done over a cluster."""
    given = [name for name in HERE + NOR if options.get(name)]
    if given:
        names = {"to_stdout": "--stdout", "as_json": "--json"}
        raise click.UsageError(f"{names.get(given[0], '--' + given[0].replace('_', '-'))} is not for --ray.")
    if options["skip_existing"] and options["newer"]:
        raise click.UsageError("--skip-existing and --newer exclude each other.")
    if output in (None, "-"):
        raise click.UsageError("--ray needs --output, a folder or a URL.")
    return str(output)


def _common(options: dict[str, Any]) -> dict[str, Any]:
    if options["device"] == "cuda":
        raise click.UsageError("--ray computes on processors; leave out --device.")
    given = {name: options[name] for name in ("model", "limits")}
    return given | {"threads": options["threads"] or 1, "force": options["force"] or options["newer"]}


def _convert(address: str, plan: cluster.Plan, settings: _Settings, output: str, quiet: bool, verbose: bool) -> None:
    start = time.perf_counter()
    bar = None
    if plan.jobs and not quiet and on_terminal():
        from tqdm import tqdm

        bar = tqdm(total=len(plan.jobs), unit="file", leave=False)

    def report(outcome: cluster.Outcome) -> None:
        if bar is not None:
            bar.clear()
        for line in [] if quiet else _lines(outcome):
            say(line)
        if bar is not None:
            bar.update(1)

    try:
        outcomes = cluster.run(plan.jobs, settings, address, report)
    finally:
        if bar is not None:
            bar.close()
    problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    if not quiet:
        done = [outcome for outcome in outcomes if outcome.problem is None]
        before, after = sum(one.before for one in done), sum(one.after for one in done)
        if done:
            took = time.perf_counter() - start
            say(f"{output}: {len(done)} files, {before:,} -> {after:,} bytes{_share(before, after)}, {took:.1f} s")
        _rest("left as it is", "left as before", [job.output for job in plan.left], verbose)
        _rest("skipped", "skipped", plan.skipped, verbose)
    for problem in problems:
        Failure(problem).show()
    if problems:
        raise Failure(f"{len(problems)} of {len(outcomes)} failed")


def _lines(outcome: cluster.Outcome) -> list[str]:
    """On one file; its problem stands at the end of all."""
    if outcome.problem is not None:
        return []
    sizes = f"{outcome.before:,} -> {outcome.after:,} bytes{_share(outcome.before, outcome.after)}"
    return [f"{outcome.output}: {sizes}, {outcome.seconds:.1f} s", *not_kept(outcome.source, outcome.notes)]


def _share(before: int, after: int) -> str:
    return f" ({100 * after / before:.0f} %)" if before else ""


def _rest(one: str, all_of_them: str, urls: Sequence[str], verbose: bool) -> None:
    if verbose:
        for url in urls:
            say(f"{one}: {url}")
    if urls:
        say(f"{len(urls)} {all_of_them}")
