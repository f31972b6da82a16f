"""``vlae-codec train``."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path

import click

from vlae_codec import files
from vlae_codec.errors import InputError


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="Weight file to write (.safetensors).")
@click.option("--recipe", default="photo", show_default=True, help="Architecture and settings to start from.")
@click.option("--valid", multiple=True, type=click.Path(), help="Held-out pictures or folders, reported as it goes.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long [default: recipe's].")
@click.option("--steps", type=click.IntRange(min=1), help="Stop after so many steps, if that is sooner.")
@click.option("--checkpoint", type=click.Path(), help="State of the run [default: OUTPUT with .ckpt].")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint if there is one.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads [default: all].")
@click.option("--seed", type=int, help="Seed of weights and crops [default: recipe's].")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def train(
    images: tuple[str, ...],
    output: str,
    recipe: str,
    valid: tuple[str, ...],
    minutes: float | None,
    steps: int | None,
    checkpoint: str | None,
    resume: bool,
    device: str,
    threads: int | None,
    seed: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Train a model on IMAGES (pictures or folders) and export its integer weights.

    Prints bits per subpixel, KL and speed as it goes, saves a checkpoint every two minutes, and ends by writing OUTPUT,
    to be used with --model in both directions.
    """
    files.check_output(output, force)
    import torch

    from vlae_codec.models import export, recipes
    from vlae_codec.models import train as training

    names = sorted(m.name for m in pkgutil.iter_modules(recipes.__path__))
    if recipe not in names:
        raise InputError(f"there is no recipe {recipe!r}; choose one of: {', '.join(names)}")
    chosen = importlib.import_module(f"vlae_codec.models.recipes.{recipe}")
    given = {"minutes": minutes, "steps": steps, "seed": seed}
    settings = replace(chosen.SETTINGS, **{key: value for key, value in given.items() if value is not None})
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch finds no CUDA device here; use --device cpu")
    if threads:
        torch.set_num_threads(threads)
    state = Path(checkpoint) if checkpoint else Path(output).with_suffix(".ckpt")
    model = training.train(
        list(images), state, chosen.CONFIG, settings, valid=list(valid), device=device, resume=resume, quiet=quiet
    )
    temporary = Path(f"{output}.tmp")
    identity = export.export(model, temporary)
    files.write_file(output, temporary.read_bytes(), force)
    temporary.unlink()
    if not quiet:
        click.echo(f"{output}: model {identity.hex()}, {Path(output).stat().st_size} bytes", err=True)
