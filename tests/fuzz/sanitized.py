"""Python with a core that AddressSanitizer and UndefinedBehaviorSanitizer watch.

    python tests/fuzz/sanitized.py tests/fuzz/files.py --runs 10000
    python tests/fuzz/sanitized.py -m pytest tests/test_golden.py tests/test_ans.py

The script copies the package into a temporary folder, builds the core there with gcc (or the compiler that
VLAE_CODEC_CC names; clang needs -shared-libasan), and runs Python on the arguments with that copy. The checkout's own
library stays as it is. An error of the core ends the process with a report. Leaks are not looked for: they are
Python's. The build takes minutes, so VLAE_CODEC_SANITIZED names a folder that keeps the library for as long as the
sources stay the same.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KEPT_VARIABLE = "VLAE_CODEC_SANITIZED"
FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from vlae_codec import build_core as build

    compiler = shlex.split(os.environ.get(build.COMPILER_VARIABLE, "gcc"))
    if not shutil.which(compiler[0]):
        raise SystemExit(f"error: there is no compiler {compiler[0]}: name one in {build.COMPILER_VARIABLE}")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for path in ROOT.iterdir():
            if path.name in ("models", "cli", "bench", "build_core.py"):
                (copy / path.name).symlink_to(path)
        # Without its sources the copy takes the library as it is.
        ignored = shutil.ignore_patterns("core", "_core.*", "__pycache__")
        shutil.copytree(ROOT / "vlae_codec", copy / "vlae_codec", ignore=ignored)
        kept = Path(os.environ.get(KEPT_VARIABLE, temporary), f"{build.source_hash()[:16]}.so")
        if not kept.exists():
            build.compile_core(kept, compiler=compiler, extra_flags=FLAGS)
        shutil.copy(kept, copy / "vlae_codec" / "native" / build.find_platform().library)
        name = "libclang_rt.asan-x86_64.so" if "clang" in compiler[0] else "libasan.so"
        found = subprocess.run([*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        environment = os.environ | {
            "LD_PRELOAD": found.stdout.strip(),
            "PYTHONPATH": os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONSAFEPATH": "1",  # "python -m" must not find the checkout in the working directory
            "PYTHONMALLOC": "malloc",  # so that an overrun of a small array is seen, too
            "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16:" + os.environ.get("ASAN_OPTIONS", ""),
            "UBSAN_OPTIONS": "print_stacktrace=1:" + os.environ.get("UBSAN_OPTIONS", ""),
        }
        return subprocess.run([sys.executable, *sys.argv[1:]], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
