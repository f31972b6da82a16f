"""Archives of whole collections beside tar of PNG, WebP and JPEG XL files, and whole processes of the command line.

    python -m bench.archives COLLECTION ... [--part PART] [--limit N] [--effort N] [--repeat N] [--runs N] [--json OUT]

A COLLECTION is a folder of pictures, an .npz file whose array `x` is (N, H, W) or (N, H, W, C), FILE.npz:KEY for
another array (of packed bits of square pictures, if it is (N, bytes)), an .idx3-ubyte.gz file of MNIST, or icons:N for
so many icons with alpha that are drawn here, of 16 to 64 pixels. --limit: of its first N pictures. Of an archive that
is there, SET.vlae, only what one of its members takes is measured. --part, which may be given several times, is one of

    archive   the bytes of one archive, which is decoded and compared, and what one of its members takes
    many      of `compress_many` with the default model, and with the archive's own
    singles   of a .vlae file each
    peers     of the others' files, alone and in a tar (512 bytes before each member, padding, and 10,240 bytes in all
              or a multiple)

and all of them if it is missing. "one" is what it takes to bring back one member of an archive that was opened just
before, of 60 at random, in a process that has read the models: milliseconds, in median, and of CPU time, also that
which 90 % need at most; and the bytes that are read from the file with its end, at most. --repeat: "one" also of an
archive in which the groups stand N times, under other names. --runs: also a table of so many runs of whole processes
each on the first collection, with their least and median seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import statistics
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from vlae_codec import api
from vlae_codec.adapter.effort import DEFAULT, LEVELS
from vlae_codec.archive.index import START
from vlae_codec.archive.reader import Archive
from vlae_codec.archive.writer import Writer
from vlae_codec.files import new_file
from vlae_codec.images.image import load_all, save
from vlae_codec.images.picture import Picture
from vlae_codec.pictures.codec import find_codec
from vlae_codec.weights.model import find_model, known_models

from .effort import write
from .kinds import others, shapes
from .processes import machine, process
from .rate import listed

PEERS = ("png", "webp", "jxl e7")
ICONS = (16, 24, 32, 48, 64)  # pixels
PARTS = ("archive", "many", "singles", "peers")
TRIES = 60


def collection(path: str, limit: int | None) -> dict[str, Picture]:
    """The pictures of a collection by their names."""
    name, _, key = path.partition(".npz:")
    if path.endswith(".npz") or key:
        found = np.load(f"{name}.npz" if key else path)[key or "x"][:limit]
        if found.ndim == 2:
            side = math.isqrt(8 * found.shape[1])
            found = np.unpackbits(found, axis=1).astype(bool)[:, : side**2].reshape(-1, side, side)
        arrays = list(found)
    elif path.startswith("icons:"):
        rng = np.random.default_rng(1)
        arrays = [shapes(ICONS[i % len(ICONS)], rng) for i in range(int(path.removeprefix("icons:")))]
    elif path.endswith(".gz"):
        data = gzip.decompress(Path(path).read_bytes())
        count, height, width = np.frombuffer(data, ">u4", 3, 4)
        arrays = list(np.frombuffer(data, np.uint8, offset=16).reshape(count, height, width)[:limit])
    else:
        return {str(file.relative_to(path)): load_all(file)[0] for file in listed([Path(path)])[:limit]}
    return {f"{number:05d}.png": Picture(array) for number, array in enumerate(arrays)}


class Counted(io.FileIO):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def one(path: Path, seed: int = 1) -> dict[str, float]:
    """What a member takes."""
    rng = np.random.default_rng(seed)
    with api.open_archive(path, threads=1) as archive:
        numbers = rng.integers(0, len(archive), TRIES).tolist()
    spent, busy, most = [], [], 0
    for number in numbers:
        with api.open_archive(path, threads=1) as archive:
            begin, work = time.perf_counter(), time.process_time()
            _ = archive[number].pixels
            spent.append(1000 * (time.perf_counter() - begin))
            busy.append(1000 * (time.process_time() - work))
        with Counted(path) as file:
            counted = api.open_archive(file, threads=1)
            _ = counted[number].pixels
            most = max(most, file.count)
    figures = {"ms": statistics.median(spent), "CPU ms": statistics.median(busy)}
    figures |= {"CPU ms, 90 %": float(np.percentile(busy, 90)), "CPU ms at most": max(busy)}
    return figures | {"bytes": most, "share": most / path.stat().st_size}


def repeated(path: Path, times: int, target: Path) -> Path:
    """An archive with the groups of another one so many times."""
    with api.open_archive(path) as archive, new_file(target, force=True) as file:
        entries = list(archive.entries())
        file.write(START)
        writer = Writer(file, len(START))
        for turn in range(times):
            for place in dict.fromkeys((entry.offset, entry.length) for entry in entries):
                mine = [(i, entry) for i, entry in enumerate(entries) if (entry.offset, entry.length) == place]
                named = [(turn * len(entries) + i, entry._replace(name=f"{turn:03d}{entry.name}")) for i, entry in mine]
                writer.group(archive.source.read(*place), named)
        writer.finish([], 0)
    return target


def model_of(archive: Archive) -> str | None:
    """The name of the model of the first group."""
    from vlae_codec.format import container

    entry = archive.entry(0)
    header = container.read_header(archive.source.read(entry.offset, min(entry.length, container.HEAD_BYTES)))
    model_id = header.first.planes[0].model_id
    return next((found.name for found in known_models() if find_model(found.name).id == model_id), None)


def tar_size(sizes: Sequence[int], names: Sequence[str]) -> int:
    """The bytes of a tar of such files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for size, name in zip(sizes, names):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
    return len(out.getvalue())


def measure(
    path: str, limit: int | None, effort: int, parts: Sequence[str], repeat: int, folder: Path
) -> dict[str, Any]:
    """The figures of some parts of a collection."""
    if path.endswith(".vlae"):
        return {"set": Path(path).name, "archive": Path(path).stat().st_size} | of_members(Path(path), repeat, folder)
    pictures = collection(path, limit)
    row: dict[str, Any] = {"set": Path(path).name, "pictures": len(pictures)}
    options: dict[str, Any] = {"effort": effort, "threads": 1, "verify": False}
    if "archive" in parts:
        row |= of_archive(pictures, effort, repeat, folder / "set.vlae")
    if "many" in parts and max(x.pixels.shape[0] * x.pixels.shape[1] for x in pictures.values()) <= 1 << 14:
        row["compress_many"] = len(api.compress_many(pictures.values(), **options))
        own = row.get("model")
        if own not in (None, "photo", "luma", "mnist-binary"):
            row["compress_many, same model"] = len(api.compress_many(pictures.values(), model=own, **options))
    if "singles" in parts:
        row["singles"] = sum(len(api.compress(picture, **options)) for picture in pictures.values())
    for name in PEERS if "peers" in parts else ():
        sizes = [others(picture).get(name) for picture in pictures.values()]
        row[name] = None if None in sizes else sum(filter(None, sizes))
        row[f"tar of {name}"] = None if None in sizes else tar_size([size or 0 for size in sizes], list(pictures))
    return row


def of_archive(pictures: dict[str, Picture], effort: int, repeat: int, target: Path) -> dict[str, Any]:
    """The figures of an archive of pictures, which all have to come back."""
    begin = time.process_time()
    added = api.create_archive(target, pictures, effort=effort, threads=1, force=True, thumbnail=0)
    row: dict[str, Any] = {"archive": added.size, "create, CPU s": time.process_time() - begin}
    if added.problems:
        raise click.ClickException(added.problems[0])
    begin = time.process_time()
    with api.open_archive(target, threads=1) as archive:
        for member in archive:
            if not np.array_equal(member.pixels, pictures[member.name].pixels):
                raise click.ClickException(f"{member.name} did not come back")
        row["decode, CPU s"], row["model"] = time.process_time() - begin, model_of(archive)
        row["index"] = added.size - sum(length for _, length in {(e.offset, e.length) for e in archive.entries()})
    return row | of_members(target, repeat, target.parent)


def of_members(path: Path, repeat: int, folder: Path) -> dict[str, Any]:
    """What a member of an archive takes, and one of an archive of its groups so many times."""
    with api.open_archive(path) as archive:
        row: dict[str, Any] = {"pictures": len(archive), "one": one(path)}
    if repeat > 1:
        many = repeated(path, repeat, folder / "repeated.vlae")
        row["one of many"] = one(many) | {"members": repeat * row["pictures"]}
    return row


def processes(path: str, limit: int | None, runs: int, folder: Path) -> dict[str, tuple[float, float]]:
    """(least, median) seconds of whole processes."""
    source, archive, out = folder / "files", folder / "runs.vlae", folder / "out"
    pictures = collection(path, limit)
    for name, picture in pictures.items():
        file = (source / name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        save(file, picture, force=True)
    commands = {
        "archive create --effort 1": ["create", str(archive), str(source), "--effort", "1", "--force", "-q"],
        "archive list": ["list", str(archive)],
        "archive test": ["test", str(archive), "-q"],
        "archive extract": ["extract", str(archive), "-o", str(out), "--force", "-q"],
        "archive extract, one member": ["extract", str(archive), "*" + next(iter(pictures)).rsplit(".", 1)[0] + ".*"],
    }
    commands["archive extract, one member"] += ["-o", str(out), "--force", "-q"]
    found = {}
    for name, arguments in commands.items():
        spent = [process(["archive", *arguments])["s"] for _ in range(runs)]
        found[name] = min(spent), statistics.median(spent)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    columns = ["set", "pictures", "archive", "index", "compress_many", "compress_many, same model", "singles"]
    columns += [name for peer in PEERS for name in (peer, f"tar of {peer}")]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [f"{row[name]:,}" if isinstance(row.get(name), int) else str(row.get(name) or "-") for name in columns]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| set | one of | ms | CPU ms | 90 % | at most | bytes read | of the file |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for key in ("one", "one of many"):
            if key in row:
                x = row[key]
                cells = [f"{x.get('members', row['pictures']):,}"]
                cells += [f"{x[name]:.0f}" for name in ("ms", "CPU ms", "CPU ms, 90 %", "CPU ms at most")]
                lines.append("| " + " | ".join([row["set"], *cells, f"{x['bytes']:,}", f"{x['share']:.2%}"]) + " |")
    return "\n".join(lines)


@click.command()
@click.argument("collections", metavar="COLLECTION...", nargs=-1, required=True)
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS, help="[default: all]")
@click.option("--limit", type=click.IntRange(min=1), help="Pictures of each collection [default: all].")
@click.option("--effort", type=click.IntRange(min(LEVELS), max(LEVELS)), default=DEFAULT, show_default=True)
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Groups so many times.")
@click.option("--runs", type=click.IntRange(min=1), help="Runs of each whole process of the first collection.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="File for all figures.")
def main(
    collections: tuple[str, ...],
    parts: tuple[str, ...],
    limit: int | None,
    effort: int,
    repeat: int,
    runs: int | None,
    out: Path | None,
) -> None:
    """Compare archives with tar of other files."""
    for found in known_models():  # so that no figure has the time to read it
        mode = "1" if find_model(found.name).config.get("levels", 256) == 2 else "L"
        if not find_model(found.name).config.get("side", 0):
            find_codec(found.name, None, "cpu", mode)
    rows, spent = [], {}
    with tempfile.TemporaryDirectory() as place:
        for path in collections:
            rows.append(measure(path, limit, effort, parts, repeat, Path(place)))
            click.echo(json.dumps(rows[-1]), err=True)
        if runs:
            spent = processes(collections[0], limit, runs, Path(place))
    click.echo(table(rows))
    if spent:
        click.echo("\n| process | least s | median |\n|---|---|---|")
        for name, figures in spent.items():
            click.echo(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    if out is not None:
        write(out, {"machine": machine("python -m bench.archives"), "effort": effort, "sets": rows, "processes": spent})


if __name__ == "__main__":
    main()
