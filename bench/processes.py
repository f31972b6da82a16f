"""Whole processes of the command line: seconds, peak memory, imports; and the machine that they run on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlae_codec import __version__
from vlae_codec.adapter.effort import DEFAULT
from vlae_codec.images.image import load
from vlae_codec.native import library

from .peers import versions

# A process's peak counts what it was forked from, so a small one starts it.
_CHILD = """
import resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
spent = time.perf_counter() - begin
print(spent, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_IMPORTED = """
import sys
from vlae_codec.cli.app import main
main(sys.argv[1:], standalone_mode=False)
print(*sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""


def process(arguments: Sequence[str]) -> dict[str, float]:
    """Seconds and peak MiB of a process of the command line."""
    spent, peak = _output(["-c", _CHILD, sys.executable, "-m", "vlae_codec.cli", *arguments]).split()
    return {"s": float(spent), "MiB": int(peak) / (1 << 20 if sys.platform == "darwin" else 1 << 10)}


def imported(arguments: Sequence[str]) -> list[str]:
    """Packages that such a process imports, the standard library left out."""
    names = _output(["-c", _IMPORTED, *arguments]).splitlines()[-1].split()
    return [name for name in names if not name.startswith("_")]


def _output(arguments: Sequence[str]) -> str:
    """What a Python process prints."""
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def commands(folder: Path, effort: int, shared: Sequence[str]) -> dict[str, list[str]]:
    """To code a.png in a folder as a.vlae and to bring it back as b.png."""
    picture, file, back = (str(folder / name) for name in ("a.png", "a.vlae", "b.png"))
    return {
        "compress": ["compress", picture, "-o", file, "-q", "-f", "--effort", str(effort), *shared],
        "decompress": ["decompress", file, "-o", back, "-q", "-f", *shared],
    }


def start_up(pixels: np.ndarray, repeat: int, shared: Sequence[str] = ()) -> tuple[dict[str, Any], int]:
    """(command -> median seconds and peak MiB of its process from the second run on, and what it imports; failures)."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        Image.fromarray(pixels).save(folder / "a.png")
        usual, fast = commands(folder, DEFAULT, shared), commands(folder, 1, shared)
        calls = {f"compress, effort {DEFAULT}": usual["compress"], "compress, effort 1": fast["compress"]}
        calls |= {"decompress": fast["decompress"], "info": ["info", str(folder / "a.vlae")]}
        for name, call in calls.items():
            packages = imported(call)  # the first run
            runs = [process(call) for _ in range(repeat)]
            found[name] = {key: statistics.median(run[key] for run in runs) for key in ("s", "MiB")}
            found[name] |= {"imports": packages, "torch": "torch" in packages}
        return found, _lost(folder, pixels)


def memory(pixels: np.ndarray, effort: int, shared: Sequence[str] = ()) -> tuple[dict[str, Any], int]:
    """(direction -> seconds and peak MiB of the process that takes the picture from PNG to .vlae or back; failures)."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        Image.fromarray(pixels).save(folder / "a.png", compress_level=1)
        found = {name: process(call) for name, call in commands(folder, effort, shared).items()}
        return found, _lost(folder, pixels)


def _lost(folder: Path, pixels: np.ndarray) -> int:
    return int(not np.array_equal(load(folder / "b.png").pixels, pixels))


def machine(program: str | None = None) -> dict[str, Any]:
    """What figures depend on, and the command line that made them; program: its words before the arguments.

    Of absolute paths, whose folders are this machine's, it has the last two parts.
    """
    given = [str(Path(*Path(word).parts[-2:])) if os.path.isabs(word) else word for word in sys.argv[1:]]
    installed = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
    names = ("numpy", "torch", "pillow")
    return {
        "command": f"{program or f'python -m bench.{Path(sys.argv[0]).stem}'} {shlex.join(given)}".strip(),
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": cores(),
        "targets": " ".join(library.targets()),
        "load": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            "vlae-codec": __version__,
            **{name: installed[name] for name in names if name in installed},
            **versions(),
        },
    }


def processor() -> str:
    """Its name, with family and model where the system tells them."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"


def cores() -> int:
    """Processors given to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
