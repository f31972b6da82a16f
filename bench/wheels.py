"""The wheels of all platforms, from this machine, each with its library looked into.

    python -m bench.wheels OUTDIR [--platform NAME ...]

pip builds each wheel from a copy of the checkout; zig, which pip fetches for that, is the only compiler. Every function
that core/vlae.h declares must be exported, and a library for Linux may need no symbol but those that every C library
has. The exit status is 1 if one does not hold.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import click

from vlae_codec import build_core as build

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "vlae_codec", "models", "cli", "bench")
PLATFORMS = [name for name in build.PLATFORMS if name != "linux-s390x"]
ANYWHERE = {"memcpy", "memset", "memmove", "strcmp", "strlen", "getauxval"}  # in glibc 2.17 and in musl


class Symbols(NamedTuple):
    exported: set[str]
    needed: set[str]  # of ELF only: elsewhere the linker has looked


def text(data: bytes, at: int) -> str:
    """The result is the string that begins there and ends with a zero byte."""
    return data[at : data.index(0, at)].decode()


def elf_symbols(data: bytes) -> Symbols:
    """The dynamic symbols of a 64-bit ELF file."""
    order = "<" if data[5] == 1 else ">"
    (table,) = struct.unpack_from(order + "Q", data, 40)
    size, count = struct.unpack_from(order + "2H", data, 58)
    sections = [struct.unpack_from(order + "2I4Q2I2Q", data, table + size * i) for i in range(count)]
    found = Symbols(set(), set())
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind != 11:  # SHT_DYNSYM
            continue
        for at in range(offset + 24, offset + length, 24):
            name, _, _, section = struct.unpack_from(order + "I2BH", data, at)
            (found.exported if section else found.needed).add(text(data, sections[link][4] + name))
    return found


def macho_symbols(data: bytes) -> Symbols:
    """The exports of a 64-bit Mach-O file: a tree whose edges have parts of names."""

    def number(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if data[at - 1] < 128:
                return value, at

    def names(root: int, node: int, prefix: str) -> Iterator[str]:
        length, at = number(root + node)
        if length:
            yield prefix
        children, at = data[at + length], at + length + 1
        for _ in range(children):
            part = text(data, at)
            child, at = number(at + len(part) + 1)
            yield from names(root, child, prefix + part)

    exported, at = set(), 32
    for _ in range(*struct.unpack_from("<I", data, 16)):
        command, size = struct.unpack_from("<2I", data, at)
        where = {0x22: 40, 0x80000022: 40, 0x80000033: 8}.get(command)  # LC_DYLD_INFO(_ONLY), LC_DYLD_EXPORTS_TRIE
        if where and any(tree := struct.unpack_from("<2I", data, at + where)):
            exported |= {name.removeprefix("_") for name in names(tree[0], 0, "")}
        at += size
    return Symbols(exported, set())


def pe_symbols(data: bytes) -> Symbols:
    """The export table of a 64-bit PE file."""
    (header,) = struct.unpack_from("<I", data, 60)
    count, optional = struct.unpack_from("<H12xH", data, header + 6)
    sections = [struct.unpack_from("<8x4I", data, header + 24 + optional + 40 * i) for i in range(count)]

    def offset(address: int) -> int:
        found: int = next(raw - start for length, start, _, raw in sections if start <= address < start + length)
        return found + address

    table = offset(*struct.unpack_from("<I", data, header + 24 + 112))
    number, _, names = struct.unpack_from("<3I", data, table + 24)
    addresses = struct.unpack_from(f"<{number}I", data, offset(names))
    return Symbols({text(data, offset(address)) for address in addresses}, set())


def symbols(data: bytes) -> Symbols:
    formats = {b"\x7fELF": elf_symbols, b"\xcf\xfa\xed\xfe": macho_symbols, b"MZ\x78\x00": pe_symbols}
    return formats[data[:4]](data)


def declared() -> set[str]:
    """The result is the functions that core/vlae.h declares."""
    return set(re.findall(r"(?m)^VLAE_API [^(;]*?(\w+)\(", (build.CORE / "vlae.h").read_text("utf-8")))


def make_wheel(source: Path, platform: str, folder: Path) -> Path:
    """The function has pip build the wheel of a platform into the folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, env={**os.environ, "VLAE_CODEC_PLATFORM": platform})
    (wheel,) = folder.glob("*.whl")
    return wheel


@click.command(help=__doc__)
@click.argument("outdir", type=click.Path(path_type=Path, file_okay=False))
@click.option("--platform", "platforms", multiple=True, type=click.Choice(list(build.PLATFORMS)), help="Only these.")
def main(outdir: Path, platforms: tuple[str, ...]) -> None:
    outdir.mkdir(parents=True, exist_ok=True)
    functions, failed = declared(), False
    click.echo("| wheel | bytes | library | exported | needed |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "source")
        for part in map(ROOT.joinpath, PARTS):
            if part.is_dir():
                shutil.copytree(part, source / part.name, ignore=shutil.ignore_patterns("__pycache__", "_core.*"))
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(part, source)
        for platform in platforms or PLATFORMS:
            built = make_wheel(source, platform, Path(temporary, platform))
            library = ZipFile(built).read(f"vlae_codec/native/{build.PLATFORMS[platform].library}")
            found = symbols(library)
            missing, unknown = sorted(functions - found.exported), sorted(found.needed - ANYWHERE)
            failed |= bool(missing or unknown)
            wheel = outdir / built.name
            shutil.move(built, wheel)
            exported = f"{len(functions & found.exported)} of {len(functions)}"
            needed = " ".join(sorted(found.needed)) or "-"
            click.echo(f"| {wheel.name} | {wheel.stat().st_size:,} | {len(library):,} | {exported} | {needed} |")
            if missing or unknown:
                click.echo(f"{wheel.name}: not exported: {missing}; not everywhere: {unknown}", err=True)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
