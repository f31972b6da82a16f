"""The build of the C core: core.c is compiled once, kernel.c once for each target, and all is linked to one library.

    python build_core.py [--platform NAME] [--output FILE] [--flags FLAG ...]
    python build_core.py --web [--output FILE]

The second builds the part of it that codes and decodes, without fits and searches, for WebAssembly: one module that
imports nothing (`web/`).

zig, a C compiler that the package `ziglang` brings, compiles for every platform below from any of them. Where it is not
installed, the system's compiler builds for this machine. VLAE_CODEC_CC names another compiler, such as "gcc" or
"clang -fsanitize=address"; that one must compile for the platform, and --flags are given to it last.

setup.py loads this file by its path, so it imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import platform as machine
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

COMPILER_VARIABLE = "VLAE_CODEC_CC"
NATIVE = Path(__file__).parent / "vlae_codec" / "native"
CORE = NATIVE / "core"
WEB = Path(__file__).parent / "web" / "core.wasm"

FLAGS = (
    *("-std=c11", "-O3", "-g0", "-Wall", "-Wextra", "-Wno-psabi", "-fPIC", "-fvisibility=hidden"),
    *("-ffp-contract=fast", "-fno-math-errno"),  # the floats are those of the fit, which no decoder repeats
)
AVX2 = ("-mavx2", "-mfma", "-mbmi2", "-mlzcnt")
AVX512 = (
    *AVX2,
    *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd", "-mprefer-vector-width=512"),
)
AVX512VNNI = (*AVX512, "-mavx512vnni")
GENERIC: dict[str, tuple[str, ...]] = {"generic": ()}
WEB_TARGET = "simd128"
WEB_FLAGS = (
    *("-std=c11", "-g0", "-Wall", "-Wextra", "-Wno-psabi", "-fvisibility=hidden", "-DVLAE_DECODER"),
    *("-msimd128", "-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint"),
)
WEB_STACK = 1 << 20  # bytes
WEB_NAMES = (  # what web/src calls
    *("abi", "source", "pack_size", "pack", "scratch_size", "run", "merge", "intervals", "push_region", "pop_band"),
    *("learn_scratch", "prior_scratch", "pop_prior", "origin_rebuild", "origin_triples", "idct", "enlarge", "jfif"),
    *("residual_scratch", "residual_decode", "coefficients_scratch", "pop_coefficients"),
    *("band_intervals", "prior_intervals", "pop_rows", "costs"),  # what an encoder needs beside
)
WEB_FUNCTIONS = tuple(f"vlae_{name}" for name in WEB_NAMES)
TARGETS = {  # architecture -> target -> its flags; core/targets.h has the same names
    "x86_64": {
        **GENERIC,
        "sse2": (),
        "avx2": AVX2,
        "avx512": AVX512,
        "avxvnni": (*AVX2, "-mavxvnni"),
        "avx512vnni": AVX512VNNI,
        "amx": (*AVX512VNNI, "-mamx-tile", "-mamx-int8"),
    },
    "aarch64": {
        **GENERIC,
        "neon": (),
        "dotprod": ("-mcpu=generic+dotprod",),  # gcc's and clang's -march=armv8.2-a+dotprod is no flag of zig
        "i8mm": ("-mcpu=generic+dotprod+i8mm",),
    },
}


class BuildError(Exception):
    """The core could not be built. The message has what the compiler said."""


class Platform(NamedTuple):
    """A platform is an operating system on an architecture. One without a triple is left to the system's compiler."""

    architecture: str
    library: str
    triple: str = ""
    link: tuple[str, ...] = ()  # flags of zig's linker
    tags: str = ""  # of a wheel


def linux(architecture: str) -> Platform:
    """The result is Linux on an architecture, with any C library.

    The library is linked to none. What it calls (memcpy, memset, strcmp, strlen; getauxval on ARM) is already in the
    process, so one file serves glibc and musl.
    """
    tags = ".".join(f"{tag}_{architecture}" for tag in ("manylinux_2_17", "manylinux2014", "musllinux_1_1"))
    return Platform(architecture, "_core.so", f"{architecture}-linux-gnu.2.17", ("-nostdlib",), tags)


MACOS = ("-Wl,-install_name,@rpath/_core.dylib",)
PLATFORMS = {
    "linux-x86_64": linux("x86_64"),
    "linux-aarch64": linux("aarch64"),
    "linux-s390x": linux("s390x"),  # big-endian, for tests
    "macos-aarch64": Platform("aarch64", "_core.dylib", "aarch64-macos.11.0", MACOS, "macosx_11_0_arm64"),
    "macos-x86_64": Platform("x86_64", "_core.dylib", "x86_64-macos.10.13", MACOS, "macosx_10_13_x86_64"),
    "windows-x86_64": Platform("x86_64", "_core.dll", "x86_64-windows-gnu", (), "win_amd64"),
}


def host() -> str:
    """The result is the name of the platform that this Python is made for, in the table or not."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    name = sysconfig.get_platform().rpartition("-")[2] if system == "windows" else machine.machine()
    architecture = {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)
    return f"{system}-{architecture if sys.maxsize > 1 << 32 else '32-bit'}"


def find_platform(name: str | None = None) -> Platform:
    """The result is the platform of a name, by default the host's.

    A host need not be in the table. The function raises BuildError for another name that is not.
    """
    name = name or host()
    if name in PLATFORMS:
        return PLATFORMS[name]
    if name == host():
        suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
        return Platform(name.partition("-")[2], f"_core{suffix}")
    raise BuildError(f"there is no platform {name!r}; there are: {', '.join(PLATFORMS)}")


def source_hash() -> str:
    """The result is a digest of the sources and the flags, which the library carries as `vlae_source`."""
    digest = hashlib.sha256(repr((FLAGS, TARGETS, PLATFORMS)).encode())
    for path in sorted(CORE.glob("*.[ch]")):
        digest.update(f"\n{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def web_hash() -> str:
    """The result is a digest of the sources and the flags of the decoder for the web."""
    return hashlib.sha256(repr((source_hash(), WEB_FLAGS, WEB_STACK, WEB_NAMES)).encode()).hexdigest()


def find_targets(architecture: str) -> dict[str, tuple[str, ...]]:
    """The result is the targets of an architecture with their flags.

    The function raises BuildError if core/targets.h has no list of the same ones.
    """
    targets = TARGETS.get(architecture, GENERIC)
    lists = re.findall(r"FOR_TARGETS\(DO\) (.+)", (CORE / "targets.h").read_text("utf-8"))
    if set(targets) not in [set(re.findall(r"DO\((\w+)\)", names)) for names in lists]:
        raise BuildError(
            f"core/targets.h does not list what build_core.py compiles for {architecture}: {' '.join(targets)}"
        )
    return targets


def has_zig(platform: Platform) -> bool:
    """The result says whether zig builds for the platform, since it is installed and no other compiler is named."""
    named = os.environ.get(COMPILER_VARIABLE)
    return not named and platform.triple != "" and importlib.util.find_spec("ziglang") is not None


def find_compiler(platform: Platform, native: bool) -> tuple[list[str], list[str]]:
    """The result is the command that compiles for a platform, and the flags with which it links.

    The function raises BuildError where there is none.
    """
    if named := os.environ.get(COMPILER_VARIABLE):
        return shlex.split(named, posix=os.name == "posix"), []
    if has_zig(platform):  # its warnings are errors, since its version is pinned
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", platform.triple, "-Werror"]
        return zig, ["-s", *platform.link]
    for name in ("cc", "gcc", "clang") if native else ():
        if shutil.which(name):
            return [name], []
    raise BuildError(f"there is no C compiler: install the package ziglang, or name a compiler in {COMPILER_VARIABLE}")


def run_compiler(command: Sequence[str], cache: Path) -> None:
    """The function runs a compiler, which may keep files in the cache. It raises BuildError with what it printed."""
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        )
    except OSError as error:
        raise BuildError(f"the C compiler does not start: {shlex.join(command)}: {error}") from error
    if done.returncode:
        raise BuildError(f"the C compiler failed: {shlex.join(command)}\n{done.stdout}")


def compile_core(
    output: Path,
    platform: str | None = None,
    compiler: Sequence[str] | None = None,
    extra_flags: Iterable[str] = (),
) -> None:
    """The function builds the core for a platform, by default the host's, and puts it at the output in one step.

    The compiler is a command and its first arguments; by default it is that of `find_compiler`. The extra flags come
    after all others, in compiling and linking. The function raises BuildError.
    """
    if not CORE.is_dir():
        raise BuildError(f"there are no C sources in {CORE}")
    found = find_platform(platform)
    command, link = (list(compiler), []) if compiler else find_compiler(found, platform in (None, host()))
    extra = list(extra_flags)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        units = {
            name: [*flags, f"-DTARGET={name}", f"-DTARGET_{name}", "-c", str(CORE / "kernel.c")]
            for name, flags in find_targets(found.architecture).items()
        }
        units["core"] = [f'-DVLAE_SOURCE="{source_hash()}"', "-c", str(CORE / "core.c")]
        objects = {name: str(folder / f"{name}.o") for name in units}
        steps = [[*command, *FLAGS, *units[name], "-o", objects[name], *extra] for name in units]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(run_compiler, steps, [folder / "cache"] * len(steps)))
        built = folder / found.library
        run_compiler([*command, "-shared", *link, "-o", str(built), *objects.values(), *extra], folder / "cache")
        put(built, output)


def put(built: Path, output: Path) -> None:
    """The function puts a copy of a file at the output in one step: another process may have it open, or build it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    try:
        shutil.copy(built, beside)
        os.replace(beside, output)
    finally:
        beside.unlink(missing_ok=True)


def has_web() -> bool:
    """The result says whether the decoder for the web can be built here."""
    return importlib.util.find_spec("ziglang") is not None


def compile_web(output: Path = WEB) -> None:
    """The function builds the decoder for WebAssembly with SIMD, and puts it at the output in one step.

    Only zig builds it. The function raises BuildError.
    """
    if not has_web():
        raise BuildError("the decoder for the web is built by the package ziglang: install it")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target"]
    units = {
        "kernel": ["-O3", f"-DTARGET={WEB_TARGET}", f"-DTARGET_{WEB_TARGET}"],
        "core": ["-O2", f'-DVLAE_SOURCE="{web_hash()}"'],
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        objects = {name: str(folder / f"{name}.o") for name in units}
        steps = [  # of WASI only the headers are used
            [*zig, "wasm32-wasi", *WEB_FLAGS, "-Werror", *flags, "-c", str(CORE / f"{name}.c"), "-o", objects[name]]
            for name, flags in units.items()
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(run_compiler, steps, [folder / "cache"] * len(steps)))
        exports = [f"-Wl,--export={name}" for name in ("__wasm_call_ctors", "__heap_base", *WEB_FUNCTIONS)]
        link = ["-nostdlib", "-s", "-Wl,--no-entry", f"-Wl,-z,stack-size={WEB_STACK}", *exports]
        command = [*zig, "wasm32-freestanding", *link, "-o", str(folder / "core.wasm"), *objects.values()]
        run_compiler(command, folder / "cache")
        put(folder / "core.wasm", output)


def web_is_built(path: Path = WEB) -> bool:
    """The result says whether the decoder for the web is there and was built from these sources."""
    return path.exists() and web_hash().encode() in path.read_bytes()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Build the C core.")
    parser.add_argument("--platform", choices=PLATFORMS, help="by default that of this machine")
    parser.add_argument("--output", metavar="FILE", type=Path, help="by default where the package looks for it")
    parser.add_argument("--web", action="store_true", help="the decoder, for WebAssembly")
    parser.add_argument(
        "--flags", metavar="FLAG", nargs=argparse.REMAINDER, default=[], help="all that follows goes to the compiler"
    )
    options = parser.parse_args(arguments)
    if options.output is None and options.platform not in (None, host()):
        parser.error("a library for another platform needs --output")
    output: Path = options.output or (WEB if options.web else NATIVE / find_platform().library)
    try:
        if options.web:
            compile_web(output)
        else:
            compile_core(output, options.platform, extra_flags=options.flags)
    except BuildError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
