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
each golden file is decoded, compared with its pixels, encoded at effort 1 and compared with its bytes; and picture
files, most of 16 bits, are made again by the recipes of this machine and by those of the emulated one. The script
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
from dataclasses import replace
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
LEARNING = {  # the beginning of those of the samples, little-endian, of make_golden.learning_picture()
    "learning": "7fb172406dde7d2f",
    "learning-deep": "2c162987cdaf9ab4",
}
KINDS = {  # the beginning of the SHA-256 of the samples, little-endian, of make_golden.kinds()
    "deep": "2ca5747edecaaee9",
    "deep-rgb": "cdd3de725f8e8d1c",
    "alpha": "da419004c3e15fbd",
    "palette": "c2812269dfb9c75b",
    "mapped": "41b2d3754d02650b",
    "frames": "1bcd7050d541d041",
    "signed": "3a87f6aa870decd2",
    "floats": "d8a891695f561122",
    "blocks": "bea1e18469312080",
    "mixed": "ab5fa7d6acb291a8",  # by shipped models
}


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
    write_exact(folder / "data")
    core = folder / "vlae_codec" / "native" / "_core.so"
    command = [str(CHECKOUT / "build_core.py"), "--platform", machine.platform, "--output", str(core)]
    subprocess.run([sys.executable, *command], check=True, cwd=CHECKOUT)


def write_exact(folder: Path) -> None:
    """The function writes picture files, most of 16 bits, and the .vlae files that have their recipes."""
    import numpy as np
    from PIL import Image

    from vlae_codec import Keep, Picture, compress
    from vlae_codec.images import image

    deep = (700 * np.add.outer(np.arange(20), np.arange(26)) + np.arange(26) ** 3 % 97).astype(np.uint16)
    colours = np.stack([deep, deep[::-1], deep[:, ::-1]], 2)
    for name, pixels in {"deep.png": deep, "colours.png": colours, "deep.pgm": deep, "colours.ppm": colours}.items():
        (folder / f"exact-{name}").write_bytes(image.encode([Picture(pixels)], name[-3:])[0])
    Image.fromarray((colours >> 8).astype(np.uint8)).save(folder / "exact-pillow.png", compress_level=9)
    Image.fromarray(deep).save(folder / "exact-little.tif")
    Image.fromarray(deep.astype(">u2")).save(folder / "exact-big.tif")
    for path in sorted(folder.glob("exact-*")):
        coded = compress(path, model=folder / "tiny.safetensors", effort=1, keep=Keep(exact=True))
        path.with_name(f"{path.name}.vlae").write_bytes(coded)


def emulate(qemu: str, machine: Machine, root: Path, folder: Path, target: str, wanted: str = "") -> int:
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
        "VLAE_CODEC_CHECKS": wanted,
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
    parser.add_argument("--checks", default="", help="names of checks, with blanks between them; by default all")
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
        root, folder = options.root.resolve(), Path(temporary)
        statuses = [emulate(qemu, machine, root, folder, target, options.checks) for target in targets]
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
    from vlae_codec.pictures import encode, planes

    before = planes.TILE_SIZE, encode.LANE_SYMBOLS
    if wanted:
        planes.TILE_SIZE, encode.LANE_SYMBOLS = 32, 300
    try:
        yield
    finally:
        planes.TILE_SIZE, encode.LANE_SYMBOLS = before


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
    from vlae_codec.pictures.codec import codec_for
    from vlae_codec.pictures.layout import make_source
    from vlae_codec.pictures.part import Tiles

    pixels, golden = np.array(Image.open(data / "colour.png")), (data / "adapted.vlae").read_bytes()
    model = data / "tiny.safetensors"
    yield same(decompress(golden, model=model, threads=1), pixels, "pixels")
    contents = container.read(golden)
    (part,) = contents.parts
    planes, codec = part.planes, codec_for(part, model, "cpu")
    tiles = Tiles(make_source(part.layout, planes, 0, {0: pixels}), planes.channels)
    records = tuple(encode_tile(codec, tile, planes.channels, planes.lane_symbols) for tile in tiles)
    yield same(container.write(contents.header, [replace(part, records=records)]), golden, "bytes")


def check_learning(data: Path) -> Iterator[str]:
    """The check decodes pictures, one of 12 bits, under adapters whose models learn."""
    from vlae_codec import decompress

    for name, wanted in LEARNING.items():
        pixels = decompress((data / f"{name}.vlae").read_bytes(), threads=1)
        samples = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        yield same(hashlib.sha256(samples).hexdigest()[:16].encode(), wanted.encode(), name)


def check_kinds(data: Path) -> Iterator[str]:
    """The check decodes pictures of other kinds than 8 bits of grey or RGB."""
    from vlae_codec.api import decompress_pictures

    for name, wanted in KINDS.items():
        model = None if name == "mixed" else data / "tiny.safetensors"
        found = decompress_pictures((data / f"{name}.vlae").read_bytes(), model=model, threads=1)
        digest = hashlib.sha256()
        for picture in found:
            pixels = picture.pixels
            digest.update(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
        yield same(digest.hexdigest()[:16].encode(), wanted.encode(), name)


def check_deep(data: Path) -> Iterator[str]:
    """The check encodes what the golden files of 16 bits hold as make_golden.compress_kind does."""
    from vlae_codec import compress
    from vlae_codec.api import decompress_pictures

    model = data / "tiny.safetensors"
    for name in ("deep", "deep-rgb", "signed"):
        golden = (data / f"{name}.vlae").read_bytes()
        pictures = decompress_pictures(golden, model=model, threads=1)
        yield same(compress(pictures, model=model, effort=1, threads=1, verify=False), golden, f"bytes of {name}")


def check_exact(data: Path) -> Iterator[str]:
    """The check makes picture files again by another machine's recipes and by its own, and reads and writes PNG."""
    from vlae_codec import Keep, compress
    from vlae_codec.api import decompress_pictures
    from vlae_codec.exact.recipe import restore
    from vlae_codec.images import image
    from vlae_codec.images.metadata import RECIPE
    from vlae_codec.limits import DEFAULT

    model = data / "tiny.safetensors"
    for path in sorted(data.glob("exact-*.???")):
        file, name = path.read_bytes(), path.name
        given = path.with_name(f"{name}.vlae").read_bytes()
        for coded in (given, compress(path, model=model, effort=1, threads=1, keep=Keep(exact=True))):
            pictures = decompress_pictures(coded, model=model, threads=1)
            if RECIPE not in pictures[0].metadata:
                raise Difference(f"no recipe of {name}")
            same(restore(pictures, pictures[0].metadata[RECIPE], DEFAULT), file, name)
        for kind in ("png", "tiff"):
            (again,) = image.read(f"{name} as {kind}", image.encode(pictures, kind)[0])
            same(again.pixels, pictures[0].pixels, f"pixels of {name} as {kind}")
        same(image.load(path).pixels, pictures[0].pixels, f"pixels of {name}")
        yield f"same {name}"


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


def check_models(data: Path) -> Iterator[str]:
    """The check decodes a picture of each of the other shipped models."""
    import numpy as np
    from PIL import Image

    from vlae_codec import decompress

    for name in ("cifar10", "luma", "mnist-binary"):
        pixels = np.array(Image.open(data / f"{name}.png"))
        yield same(decompress((data / f"{name}.vlae").read_bytes(), threads=1), pixels, f"pixels by {name}")


def check_fit(data: Path) -> Iterator[str]:
    """The check fits an adapter that must pay. The fit is in floats, so only the pixels are compared."""
    import numpy as np
    from PIL import Image

    from vlae_codec import compress, decompress
    from vlae_codec.format import container

    pixels, model = np.array(Image.open(data / "mountains.png")), data / "tiny.safetensors"
    coded = compress(pixels, model=model, effort=2, threads=1, verify=False)
    adapter = container.read(coded).parts[0].adapter
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
        "learning": lambda: check_learning(data),
        "many": lambda: check_many(data),
        "kinds": lambda: check_kinds(data),
        "deep": lambda: check_deep(data),
        "exact": lambda: check_exact(data),
        "models": lambda: check_models(data),
        "mountains": lambda: check_shipped(data),
        "fit": lambda: check_fit(data),
        "command": lambda: check_command(data),
    }


def drive(folder: Path) -> int:
    """The function makes the checks of the target that the environment names; the result is the exit status."""
    failed, wanted = 0, os.environ["VLAE_CODEC_CHECKS"].split()
    for name, check in checks(folder / "data").items():
        if wanted and name not in wanted:
            continue
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
