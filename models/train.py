"""Training: one loop from pictures to averaged weights; stops by steps or minutes, resumes from a checkpoint."""

from __future__ import annotations

import contextlib
import ctypes
import json
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vlae_codec import __version__
from vlae_codec.errors import InputError

from . import parallel
from .data import load_images
from .journal import Journal
from .learner import LearnerTrainer
from .sources import source_planes
from .trainer import Settings, Trainer
from .vlae import Config, Vlae

SAVED = 120  # seconds between two checkpoints


def keep_memory() -> None:
    """Tells glibc to keep freed memory. Otherwise the large temporaries of a step are mapped and unmapped each time,
    which took most of the time of a step on a virtual machine: 175 steps of the photo recipe in the first three minutes
    without this, 662 in the first two with it, beside other work."""
    mmap_max, trim_threshold = -4, -1  # malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Ctrl-C (and SIGTERM) put their number into the list, so that a step is never left half done.

    The second kills, except under torchrun, which passes on what the terminal has sent to each process already.
    """
    caught: list[int] = []

    def note(number: int, _: Any) -> None:
        if caught and parallel.count() == 1:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    inputs: list[str],
    checkpoint: Path,
    config: Config,
    settings: Settings,
    *,
    init: Vlae | None = None,
    valid: list[str] | None = None,
    device: str = "cpu",
    resume: bool = False,
    quiet: bool = False,
    log: Path | None = None,
    log_every: float = 180.0,
    command: Sequence[str] = (),
    compiled: bool = False,
) -> Vlae:
    """Trains until the limits of `settings`; returns the averaged (EMA) model. Checkpoints every two minutes.

    init: weights to begin with, of the same configuration. log: file of `journal.Journal`, a record every `log_every`
    seconds; `command` is for its first line. compiled: by torch.compile.
    Ctrl-C saves a checkpoint and raises KeyboardInterrupt with a message.
    Under `parallel.processes` only process 0 writes.

    Raises UnsupportedImage when there is nothing to train on, InputError as `Trainer.load` does and for a checkpoint
    that some processes have and others do not.
    """
    keep_memory()
    kind = (settings.crop, 3 if settings.planes else config.channels, settings.mosaic, config.levels)
    images = load_images(inputs, *kind)
    held_out = load_images(valid, *kind) if valid else []
    if settings.planes:
        images, held_out = (source_planes(some, settings.planes, settings.crop) for some in (images, held_out))
    trainer = (LearnerTrainer if settings.learner else Trainer)(config, settings, images, device, compiled)
    resume = resume and checkpoint.exists()
    if parallel.from_first(float(resume), device=device) != [float(resume)]:
        where = "is not here, and on the first machine it is" if not resume else "is here, and not on the first machine"
        raise InputError(f"{checkpoint} {where}: give all machines the same one")
    if resume:
        trainer.load(checkpoint)
    elif init is not None:
        trainer.start_from(init)
    first, seconds = trainer.step_count, trainer.seconds
    leads = parallel.rank() == 0
    interactive, quiet = sys.stderr.isatty() and leads and not quiet, quiet or not leads
    journal = Journal(log, first if resume else None) if log and leads else None
    if journal:
        journal.write(
            {
                "step": first,
                "command": list(command),
                "config": config.to_dict(),
                "settings": asdict(settings),
                "device": device,
                "processes": parallel.count(),
                "versions": {
                    "vlae-codec": __version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                },
            }
        )
    bar = tqdm(total=100, unit="%", disable=not interactive, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}")
    local_mean, kl_mean, speed, reported = 0.0, 0.0, 0.0, first

    def report() -> None:
        nonlocal reported
        reported = trainer.step_count
        record = {
            "step": trainer.step_count,
            "minutes": round(trainer.seconds / 60, 2),
            "bpsp": round(local_mean, 4),
            "kl_per_cell": round(kl_mean, 3),
            "images_per_s": round(speed, 1),
            "lr": float(f"{trainer.optimiser.param_groups[0]['lr']:.4g}"),
        }
        if held_out:
            record |= trainer.validate(held_out)
        if journal:
            journal.write(record)
        if not interactive and not quiet:
            print(json.dumps(record), file=sys.stderr, flush=True)

    stopped = False
    last = saved = logged = time.monotonic()
    with interrupts() as caught:
        while trainer.progress() < 1 and not stopped:
            local, kl = trainer.step()
            now = time.monotonic()
            trainer.seconds, signals = parallel.from_first(
                trainer.seconds + now - last, float(len(caught)), device=device
            )
            last, stopped = now, signals > 0
            weight = max(0.01, 1 / (trainer.step_count - first))
            local_mean += weight * (local - local_mean)
            kl_mean += weight * (kl - kl_mean)
            images_seen = (trainer.step_count - first) * settings.batch * parallel.count()
            speed = images_seen / max(trainer.seconds - seconds, 1e-9)
            bar.n = round(100 * min(trainer.progress(), 1), 1)
            bar.set_postfix_str(f"{local_mean:.3f} bpsp, KL {kl_mean:.2f} bits/cell, {speed:.0f} images/s")
            if leads and now - saved > SAVED:
                trainer.save(checkpoint)
                saved = now
            if leads and now - logged > log_every:
                logged = now
                report()
                last = time.monotonic()  # evaluation is not training time
        bar.close()
        if leads:
            trainer.save(checkpoint)
            if trainer.step_count > reported and not stopped:
                report()
    if stopped and trainer.progress() < 1:
        raise KeyboardInterrupt(
            f"stopped after step {trainer.step_count}: the state of the run is in {checkpoint}, go on with the same "
            "command and --resume"
        )
    return trainer.ema
