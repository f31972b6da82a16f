"""The C harness, decode_fuzzer.c: built with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.

    python tests/fuzz/harness.py                           # builds it, and runs the corpus once
    python tests/fuzz/harness.py --minutes 15              # fuzzes on from the corpus
    python tests/fuzz/harness.py --minutes 15 --keep DIR   # keeps what it finds, and the corpus that it grows, in DIR

It takes the newest clang that is there (Debian: apt-get install clang-19 libclang-rt-19-dev), or the one that CLANG
names, and compiles kernel.c once for each target with the flags of build.py. VLAE_CODEC_TARGET names one target, and
then no other is fuzzed. Other arguments go to libFuzzer. An input that crashes is run again by
`python tests/fuzz/harness.py FILE`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORPUS = HERE / "corpus" / "decode"
FLAGS = [
    *("-std=c11", "-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Wno-psabi", "-fvisibility=hidden"),
    *("-ffp-contract=fast", "-fno-math-errno"),
    *("-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined"),
]
UNWATCHED = "-fno-sanitize-coverage=trace-cmp"
# Leaks would be the harness's: the core allocates nothing.
ASAN = "quarantine_size_mb=4:detect_leaks=0:malloc_context_size=3:"
LIMITS = ["-max_len=400", "-timeout=20", "-entropic=0", "-reload=0", "-print_final_stats=1"]


def find_clang() -> str | None:
    """The name of the newest clang, or None."""
    names = [os.environ.get("CLANG", ""), *(f"clang-{version}" for version in range(25, 13, -1)), "clang"]
    return next((name for name in names if name and shutil.which(name)), None)


def compile_harness(folder: Path, clang: str) -> Path:
    """Builds the fuzzer in a folder. Raises subprocess.CalledProcessError."""
    sys.path.insert(0, str(ROOT))
    from vlae_codec import build_core as build

    targets = build.find_targets(build.find_platform().architecture)
    units = {  # to watch the numbers that inner loops compare takes half of the time and leads nowhere
        name: [*flags, f"-DTARGET={name}", f"-DTARGET_{name}", str(build.CORE / "kernel.c"), UNWATCHED]
        for name, flags in targets.items()
    }
    units["core"] = [str(build.CORE / "core.c")]
    units["harness"] = [f"-I{build.CORE}", str(HERE / "decode_fuzzer.c")]
    objects = [str(folder / f"{name}.o") for name in units]
    for unit, output in zip(units.values(), objects, strict=True):
        subprocess.run([clang, *FLAGS, "-c", *unit, "-o", output], check=True)
    fuzzer = folder / "fuzzer"
    subprocess.run([clang, "-fsanitize=fuzzer,address,undefined", "-o", str(fuzzer), *objects, "-lm"], check=True)
    return fuzzer


def run_fuzzer(fuzzer: Path, arguments: list[str], folder: Path) -> int:
    """The exit status of libFuzzer; what crashes is kept in the folder."""
    environment = os.environ | {"ASAN_OPTIONS": ASAN + os.environ.get("ASAN_OPTIONS", "")}
    command = [str(fuzzer), *LIMITS, f"-artifact_prefix={folder}{os.sep}", *arguments]
    return subprocess.run(command, env=environment).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Build and run the C harness.")
    parser.add_argument("--minutes", type=float, default=0, help="how long it looks for more; by default not at all")
    parser.add_argument("--keep", type=Path, help="a folder for what it finds; by default all but crashes is dropped")
    options, others = parser.parse_known_args()
    clang = find_clang()
    if clang is None:
        raise SystemExit("error: there is no clang")
    with tempfile.TemporaryDirectory() as temporary:
        fuzzer = compile_harness(Path(temporary), clang)
        if any(not other.startswith("-") for other in others):
            return run_fuzzer(fuzzer, others, Path.cwd())
        kept = options.keep or Path(temporary, "corpus")
        kept.mkdir(parents=True, exist_ok=True)
        end = [f"-max_total_time={round(60 * options.minutes)}"] if options.minutes else ["-runs=0"]
        return run_fuzzer(fuzzer, [*end, *others, str(kept), str(CORPUS)], options.keep or Path.cwd())


if __name__ == "__main__":
    sys.exit(main())
