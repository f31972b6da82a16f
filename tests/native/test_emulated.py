"""The golden files are decoded and written again on other processors, which qemu emulates (see emulated.py).

    VLAE_CODEC_ROOTS=ROOTS pytest -m emulated

ROOTS is a folder with the roots arm64/ and s390x/; the docstring of emulated.py says how to make them.
"""

import os
import subprocess
import sys
from pathlib import Path

import emulated  # type: ignore[import-not-found]
import pytest


@pytest.mark.emulated
@pytest.mark.parametrize("arch", sorted(emulated.MACHINES))
def test_golden(arch):
    roots = os.environ.get("VLAE_CODEC_ROOTS")
    if not roots or not (Path(roots) / arch).is_dir():
        pytest.skip(f"VLAE_CODEC_ROOTS names no folder with {arch}/")
    if emulated.find_qemu(emulated.MACHINES[arch]) is None:
        pytest.skip(f"{emulated.MACHINES[arch].qemu} is not installed")
    command = [sys.executable, emulated.__file__, str(Path(roots) / arch), "--arch", arch]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert not done.returncode, done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    for target in emulated.MACHINES[arch].processors:
        assert [line[1] for line in lines if line[:1] == [target]] == list(emulated.checks(Path()))
