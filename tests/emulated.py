"""This script runs the package under an emulated processor and holds it to the golden files of tests/data.

    python tests/emulated.py ROOTS/arm64 --arch arm64
    python tests/emulated.py ROOTS/s390x --arch s390x          (big-endian)

A root is a folder with another architecture's Python, numpy, pillow, click and tqdm. On Debian 12 these commands make
both roots; nothing in them is run, and neither binfmt_misc nor chroot is needed:

    apt-get install --no-install-recommends qemu-user mmdebstrap
    for arch in arm64 s390x; do
        mmdebstrap --variant=extract --architectures=$arch bookworm ROOTS/$arch \\
            --include=python3,python3-numpy,python3-pil,python3-click,python3-tqdm
    done

The script builds the core for the architecture (`build_core.py`, which needs ziglang), lays the package out
in a temporary folder as it is installed, and starts this file there, in qemu, once for each target of the core. Inside,
each golden file is decoded, compared with its pixels, encoded at effort 1 and compared with its bytes. The script
prints a line for each file and target, and exits with 1 if any of them differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
PARTS = {  # where the checkout's folders are installed: see pyproject.toml
    "vlae_codec": "vlae_codec",
    "models": "vlae_codec/models",
    "cli": "vlae_codec/cli",
    "tests/data": "data",
}
NOT_INSTALLED = ("__pycache__", "core", "_core.*")
MANY = "56f61615e9d1eb56693a7b71ca4771ea825ddc2c24aeef755276677ea124baea"  # SHA-256 of make_golden.many_pictures()


class Machine(NamedTuple):
    """An architecture has names, and for each target a processor on which that target is the best one."""

    qemu: str
    triplet: str
    platform: str  # of build_core.py
    processors: dict[str, str]


MACHINES = {
    "arm64": Machine(
        "qemu-aarch64",
        "aarch64-linux-gnu",
        "linux-aarch64",
        {"neon": "cortex-a53", "dotprod": "neoverse-n1", "i8mm": "max", "generic": "cortex-a53"},
    ),
    "s390x": Machine("qemu-s390x", "s390x-linux-gnu", "linux-s390x", {"generic": "qemu"}),
}


# ---------------------------------------------------------------------------------------------------- outside


def find_qemu(machine: Machine) -> str | None:
    """The result is the path of the emulator, or None where it is not installed."""
    return shutil.which(machine.qemu) or shutil.which(f"{machine.qemu}-static")


def install(machine: Machine, folder: Path) -> None:
    """The function lays out the package with its core in a folder, and beside it the data and this file."""
    for source, place in PARTS.items():
        ignore = shutil.ignore_patterns(*NOT_INSTALLED)
        shutil.copytree(CHECKOUT / source, folder / place, ignore=ignore, dirs_exist_ok=True)
    shutil.copy(CHECKOUT / "examples" / "mountains.png", folder / "data")
    shutil.copy(__file__, folder)
    core = folder / "vlae_codec" / "native" / "_core.so"
    command = [str(CHECKOUT / "build_core.py"), "--platform", machine.platform, "--output", str(core)]
    subprocess.run([sys.executable, *command], check=True, cwd=CHECKOUT)


def emulate(qemu: str, machine: Machine, root: Path, folder: Path, target: str) -> int:
    """The function runs the checks of a target in the emulator; the result is their exit status."""
    pythons = sorted((root / "usr" / "bin").glob("python3.[0-9]*[0-9]"))
    if not pythons:
        raise SystemExit(f"there is no Python in {root}: make the root as the docstring of this script says")
    libraries = root / "usr" / "lib" / machine.triplet
    packages = [folder, root / "usr" / "lib" / "python3" / "dist-packages"]
    environment = {
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_LIBRARY_PATH": f"{libraries}/blas:{libraries}/lapack",  # no alternatives are set up in an extracted root
        "LC_ALL": "C.UTF-8",
        "VLAE_CODEC_TARGET": target,
    }
    command = [qemu, "-cpu", machine.processors[target], "-L", str(root), str(pythons[-1]), "-S", "-s"]
    inside = [str(folder / Path(__file__).name), "--inside", str(folder)]
    return subprocess.run([*command, *inside], env=environment, cwd=folder).returncode


def main(arguments: list[str] | None = None) -> int:
    """The function is the command outside the emulator; the result is the exit status."""
    parser = argparse.ArgumentParser(description="Check the golden files under an emulated processor.")
    parser.add_argument("root", type=Path, help="folder with the Python of the architecture")
    parser.add_argument("--arch", choices=sorted(MACHINES), required=True)
    parser.add_argument("--targets", help="targets of the core, with commas between them; by default all there are")
    options = parser.parse_args(arguments)
    machine = MACHINES[options.arch]
    targets = options.targets.split(",") if options.targets else list(machine.processors)
    if unknown := sorted(set(targets) - set(machine.processors)):
        parser.error(f"{options.arch} has no target {', '.join(unknown)}: it has {', '.join(machine.processors)}")
    qemu = find_qemu(machine)
    if qemu is None:
        parser.error(f"{machine.qemu} is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        install(machine, Path(temporary))
        statuses = [emulate(qemu, machine, options.root.resolve(), Path(temporary), target) for target in targets]
    return int(any(statuses))


# ---------------------------------------------------------------------------------------------------- inside


class Difference(Exception):
    """A golden file does not decode to its pixels, or its pixels do not encode to its bytes."""


def same(found: Any, expected: Any, what: str) -> str:
    """The function compares arrays or bytes and returns what to print. It raises Difference."""
    import numpy as np

    if isinstance(expected, bytes):
        if found != expected:
            count = sum(a != b for a, b in zip(found, expected))
            raise Difference(f"{what}: {len(found)} bytes for {len(expected)}, of which {count} differ")
    elif found.shape != expected.shape or found.dtype != expected.dtype:
        raise Difference(f"{what}: {found.shape} {found.dtype} for {expected.shape} {expected.dtype}")
    elif not np.array_equal(found, expected):
        raise Difference(f"{what}: {np.count_nonzero(found != expected)} of {expected.size} samples differ")
    return f"same {what}"


@contextmanager
def small_tiles(wanted: bool) -> Iterator[None]:
    """Inside, pictures are cut as make_golden.compress_golden cuts that of tiles.vlae."""
    from vlae_codec.pictures import encode

    before = encode.TILE_SIZE, encode.LANE_SYMBOLS
    if wanted:
        encode.TILE_SIZE, encode.LANE_SYMBOLS = 32, 300
    try:
        yield
    finally:
        encode.TILE_SIZE, encode.LANE_SYMBOLS = before


def check_picture(data: Path, name: str) -> Iterator[str]:
    """The check decodes and encodes a picture with the tiny model."""
    import numpy as np
    from PIL import Image

    from vlae_codec import compress, decompress

    pixels, golden = np.array(Image.open(data / f"{name}.png")), (data / f"{name}.vlae").read_bytes()
    model = data / "tiny.safetensors"
    yield same(decompress(golden, model=model, threads=1), pixels, "pixels")
    with small_tiles(name == "tiles"):
        yield same(compress(pixels, model=model, effort=1, threads=1, verify=False), golden, "bytes")


def check_threads(data: Path) -> Iterator[str]:
    """The check decodes and encodes a picture of several tiles with two threads."""
    from vlae_codec import compress, decompress

    golden, model = (data / "tiles.vlae").read_bytes(), data / "tiny.safetensors"
    pixels = decompress(golden, model=model, threads=2)
    with small_tiles(True):
        yield same(compress(pixels, model=model, effort=1, threads=2), golden, "bytes by two threads")


def check_adapted(data: Path) -> Iterator[str]:
    """The check decodes a picture under an adapter, and encodes it as make_golden.write_adapted does."""
    import numpy as np
    from PIL import Image

    from vlae_codec import decompress
    from vlae_codec.coder.streams import encode_tile
    from vlae_codec.format import container
    from vlae_codec.pictures.codec import find_codec, with_adapter
    from vlae_codec.pictures.encode import Source, Tiles

    pixels, golden = np.array(Image.open(data / "colour.png")), (data / "adapted.vlae").read_bytes()
    model = data / "tiny.safetensors"
    yield same(decompress(golden, model=model, threads=1), pixels, "pixels")
    contents = container.read(golden)
    header = contents.header
    codec = with_adapter(find_codec(model, None, "cpu", header.mode), contents.adapter or b"")
    tiles = Tiles(Source([pixels], header, None, {}), header.channels)
    records = [encode_tile(codec, tile, header.channels, header.lane_symbols) for tile in tiles]
    yield same(container.write(header, records, adapter=contents.adapter), golden, "bytes")


def check_many(data: Path) -> Iterator[str]:
    """The check decodes and encodes a list of pictures in two groups."""
    from vlae_codec import compress_many, decompress_many

    golden, model = (data / "many.vlae").read_bytes(), data / "tiny.safetensors"
    pictures = decompress_many(golden, model=model, threads=1)
    digest = hashlib.sha256(b"".join(pixels.tobytes() for pixels in pictures)).hexdigest()
    yield same(digest.encode(), MANY.encode(), "pixels")
    yield same(compress_many(pictures, model=model, groups=2, effort=1, threads=1, verify=False), golden, "bytes")


def check_shipped(data: Path) -> Iterator[str]:
    """The check decodes and encodes the example of the README with the shipped weights, found by the file's id."""
    import numpy as np
    from PIL import Image

    from vlae_codec import compress, decompress

    golden = (data / "mountains.vlae").read_bytes()
    yield same(decompress(golden, threads=1), np.array(Image.open(data / "mountains.png")), "pixels")
    yield same(compress(data / "mountains.png", effort=1, threads=1, verify=False), golden, "bytes")


def check_fit(data: Path) -> Iterator[str]:
    """The check fits an adapter that must pay. The fit is in floats, so only the pixels are compared."""
    import numpy as np
    from PIL import Image

    from vlae_codec import compress, decompress
    from vlae_codec.format import container

    pixels, model = np.array(Image.open(data / "mountains.png")), data / "tiny.safetensors"
    coded = compress(pixels, model=model, effort=2, threads=1, verify=False)
    adapter = container.read(coded).adapter
    if adapter is None:
        raise Difference(f"the fit found no adapter that pays; the file has {len(coded)} bytes")
    found = same(decompress(coded, model=model, threads=1), pixels, "pixels")
    yield f"{found}, {len(coded)} bytes with an adapter of {len(adapter)}"


def check_command(data: Path) -> Iterator[str]:
    """The check encodes and decodes a picture with the command line."""
    import numpy as np
    from PIL import Image

    from vlae_codec.cli import main as command

    with tempfile.TemporaryDirectory() as folder:
        coded, back = f"{folder}/grey.vlae", f"{folder}/grey.png"
        options = ["--model", str(data / "tiny.safetensors"), "--quiet", "--threads", "1"]
        command(["compress", str(data / "grey.png"), "-o", coded, "--effort", "1", *options], standalone_mode=False)
        command(["decompress", coded, "-o", back, *options], standalone_mode=False)
        yield same(Path(coded).read_bytes(), (data / "grey.vlae").read_bytes(), "bytes")
        yield same(np.array(Image.open(back)), np.array(Image.open(data / "grey.png")), "pixels")


def check_target() -> str:
    """The check says what runs. The core must use the target, and must rank it first if it is not the generic one."""
    import platform

    import numpy
    import PIL

    from vlae_codec.native import library

    wanted = os.environ["VLAE_CODEC_TARGET"]
    if library.target() != wanted:
        raise Difference(f"the target is {library.target()}, not {wanted}")
    if wanted != "generic" and library.targets()[0] != wanted:
        raise Difference(f"the best target is {library.targets()[0]}, not {wanted}")
    versions = f"Python {platform.python_version()}, numpy {numpy.__version__}, pillow {PIL.__version__}"
    return f"{platform.machine()} {sys.byteorder}-endian, {versions}, targets {' '.join(library.targets())}"


def checks(data: Path) -> dict[str, Callable[[], Iterator[str]]]:
    """The result is what is checked, by name."""
    names = ["colour", "grey", "strip", "tiles", "pixel"]
    return {
        "target": lambda: iter([check_target()]),
        **{name: lambda name=name: check_picture(data, name) for name in names},  # type: ignore[misc]
        "threads": lambda: check_threads(data),
        "adapted": lambda: check_adapted(data),
        "many": lambda: check_many(data),
        "mountains": lambda: check_shipped(data),
        "fit": lambda: check_fit(data),
        "command": lambda: check_command(data),
    }


def drive(folder: Path) -> int:
    """The function makes all checks of the target that the environment names; the result is the exit status."""
    failed = 0
    for name, check in checks(folder / "data").items():
        begin = time.monotonic()
        try:
            said = ", ".join(check())
        except Difference as difference:
            failed, said = 1, f"DIFFERENT {difference}"
        except Exception:
            failed, said = 1, f"FAILED\n{traceback.format_exc()}"
        print(f"{os.environ['VLAE_CODEC_TARGET']:8} {name:10} {time.monotonic() - begin:6.1f} s  {said}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(drive(Path(sys.argv[2])) if sys.argv[1:2] == ["--inside"] else main())
