"""``vlae-codec train``."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from vlae_codec import files
from vlae_codec.errors import InputError

from .app import Interrupted


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="Weight file to write (.safetensors).")
@click.option("--recipe", default="photo", show_default=True, help="Architecture and settings to start from.")
@click.option(
    "--init",
    metavar="PATH_OR_NAME",
    help="Begin with the weights, and so the architecture, of a checkpoint, a weight file or a model by name.",
)
@click.option("--grow", is_flag=True, help="With --init: the recipe's architecture, not that of the weights.")
@click.option("--valid", multiple=True, type=click.Path(), help="Held-out pictures or folders, reported as it goes.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long [default: recipe's].")
@click.option("--steps", type=click.IntRange(min=1), help="Stop after so many steps, if that is sooner.")
@click.option("--checkpoint", type=click.Path(), help="State of the run [default: OUTPUT with .ckpt].")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint if there is one.")
@click.option("--log", type=click.Path(), help="Log of the run, JSON lines [default: OUTPUT with .jsonl].")
@click.option(
    "--log-every",
    type=click.FloatRange(min=0),
    default=180,
    show_default=True,
    metavar="SECONDS",
    help="How often to log, with a look at the held-out pictures.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--compile/--no-compile", "compiled", default=None, help="torch.compile [default: on CUDA].")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads [default: all].")
@click.option("--seed", type=int, help="Seed of weights and crops [default: recipe's].")
@click.option("-f", "--force", is_flag=True, help="Overwrite output, checkpoint, log and curve if they exist.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def train(
    images: tuple[str, ...],
    output: str,
    recipe: str,
    init: str | None,
    grow: bool,
    valid: tuple[str, ...],
    minutes: float | None,
    steps: int | None,
    checkpoint: str | None,
    resume: bool,
    log: str | None,
    log_every: float,
    device: str,
    compiled: bool | None,
    threads: int | None,
    seed: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Train a model on IMAGES (pictures or folders) and export its integer weights.

    IMAGES may also be FILE.npz or FILE.npz:KEY, many pictures in one array. Prints bits per subpixel, KL and speed as
    it goes, saves a checkpoint every two minutes and on Ctrl-C, and ends by writing OUTPUT, to be used with --model in
    both directions, and a curve beside the log (OUTPUT with .png, needs matplotlib).

    On several GPUs or processes: torchrun --nproc-per-node N -m vlae_codec.cli train ...
    """
    state = Path(checkpoint or Path(output).with_suffix(".ckpt"))
    journal = Path(log or Path(output).with_suffix(".jsonl"))
    curve = journal.with_suffix(".png")
    files.check_output(output, force)
    for path in (state, journal, curve):
        if path.exists() and not (force or resume):
            raise InputError(f"{path} exists: give --resume to go on with its run, --force to begin anew or another -o")
    if grow and not init:
        raise InputError("--grow widens the weights that --init names; give both")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise InputError("training needs torch: pip install 'vlae-codec[train]'") from error

    from vlae_codec.models import export, learner, learning, parallel, recipes, restore
    from vlae_codec.models import grow as growth
    from vlae_codec.models import report as rates
    from vlae_codec.models import train as training
    from vlae_codec.models.data import load_images

    names = sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(recipes.__path__))
    if recipe not in names:
        raise InputError(f"there is no recipe {recipe!r}; choose one of: {', '.join(names)}")
    chosen = importlib.import_module(f"vlae_codec.models.recipes.{recipe.replace('-', '_')}")
    given = {"minutes": minutes, "steps": steps, "seed": seed}
    settings = replace(chosen.SETTINGS, **{key: value for key, value in given.items() if value is not None})
    begun = restore.starting_point(init) if init else None
    start = growth.grow(begun, chosen.CONFIG) if begun and grow else begun
    config = start.config if start else chosen.CONFIG
    if begun:
        settings = replace(settings, rate=settings.rate / 2)  # a high rate would undo what it has learnt
        if (begun.config.stride, begun.config.latents) == (config.stride, config.latents):
            settings = replace(settings, blank=0.0, kl_start=1.0)  # its latents need no head start
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch finds no CUDA device here; use --device cpu")
    if threads:
        torch.set_num_threads(threads)
    with parallel.processes(device):
        try:
            model = training.train(
                list(images),
                state,
                config,
                settings,
                init=start,
                valid=list(valid),
                device=device,
                resume=resume,
                quiet=quiet,
                log=journal,
                log_every=log_every,
                command=sys.argv,
                compiled=device == "cuda" if compiled is None else compiled,
            )
        except KeyboardInterrupt as stop:
            if not str(stop):
                raise
            raise Interrupted(str(stop)) from stop
        if parallel.rank():
            return
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        export.export(model, weights)
        identity = learning.learned(weights, images, settings, weights, learner.moments_in(state))
        files.write_file(output, weights.read_bytes(), force)
    if not quiet:
        click.echo(f"{output}: model {identity.hex()}, {Path(output).stat().st_size} bytes", err=True)
        if valid and not settings.planes:
            kind = (settings.crop, config.channels, settings.mosaic, config.levels)
            held_out = load_images(valid, *kind)[:24]
            click.echo(rates.lines(rates.report(model, output, held_out, crop=256)), err=True)
    _draw(journal, curve, quiet)


def _draw(log: Path, curve: Path, quiet: bool) -> None:
    from vlae_codec.models.journal import plot

    try:
        plot(log, curve)
    except ImportError:
        if not quiet:
            click.echo(f"no curve {curve}: matplotlib is not installed (pip install 'vlae-codec[train]')", err=True)
