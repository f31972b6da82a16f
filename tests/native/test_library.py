"""The loader: which target runs, and what it says where the library is missing, foreign or given nonsense."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TARGETS  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec import build_core as build
from vlae_codec import contract
from vlae_codec.errors import EmptyStack, WeightsError
from vlae_codec.native import library
from vlae_codec.native.library import CoreError, aligned, check, core, pointer


def run(code, *, path=None, **environment):
    """A fresh process, in which the package is that of a folder, or this one."""
    kept = {name: value for name, value in os.environ.items() if name != library.TARGET_VARIABLE}
    kept |= environment if path is None else {"PYTHONPATH": str(path), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept, cwd=path)


# ---------------------------------------------------------------------------------------------------- targets


def test_targets():
    """Those of this architecture, best first; the one that any processor has is last."""
    found = library.targets()
    assert set(found) <= set(TARGETS)
    assert len(set(found)) == len(found)
    assert found[-1] == "generic"


def test_use(target):
    assert library.target() == target
    for wrong in ("", "none", "Generic", "generic avx2"):
        with pytest.raises(CoreError, match=f"{wrong!r}.* there are: .*generic"):
            library.use(wrong)
    assert library.target() == target


PRINT = "from vlae_codec.native import library; print(library.target())"


def test_environment(target):
    assert run(PRINT, **{library.TARGET_VARIABLE: target}).stdout.split() == [target]


def test_best():
    """Without a word, or with an empty one, it is the best that there is."""
    for environment in ({}, {library.TARGET_VARIABLE: ""}):
        assert run(PRINT, **environment).stdout.split() == library.targets()[:1]


def test_wrong_environment():
    done = run(PRINT, **{library.TARGET_VARIABLE: "abacus"})
    assert done.returncode
    assert "CoreError: VLAE_CODEC_TARGET names 'abacus'" in done.stderr
    assert "there are: " in done.stderr


# ---------------------------------------------------------------------------------------------------- loading


def test_source():
    """The library says what it was built from."""
    assert core.vlae_source().decode() == build.source_hash()
    assert build.source_hash().encode() in Path(core._name).read_bytes()


@pytest.mark.parametrize("name", library.CHECKED)
def test_other_constants(monkeypatch, name):
    """A library whose constants are others is refused."""
    monkeypatch.setattr(contract, name, getattr(contract, name) + 1)
    with pytest.raises(CoreError, match="other constants"):
        library.load()


@pytest.mark.parametrize(("attribute", "value"), [("ABI", library.ABI + 1), ("CHECKED", library.CHECKED[:-1])])
def test_other_version(monkeypatch, attribute, value):
    monkeypatch.setattr(library, attribute, value)
    with pytest.raises(CoreError, match="another version"):
        library.load()


@pytest.fixture
def installed(tmp_path):
    """The package as it is installed: without the sources of the core."""
    folder = tmp_path / "vlae_codec"
    ignored = shutil.ignore_patterns("core", "__pycache__", "*.tmp")
    shutil.copytree(Path(vlae_codec.__file__).parent, folder, ignore=ignored)
    return folder / "native" / Path(core._name).name


def test_installed(installed):
    """It loads without its sources, and nothing is built."""
    done = run(
        f"import sys; {PRINT}; print(library.core._name, 'vlae_codec.build_core' in sys.modules)",
        path=installed.parents[2],
    )
    assert done.stdout.split() == [library.targets()[0], str(installed), "False"], done.stderr


@pytest.mark.parametrize("contents", [None, b"", b"no library at all"])
def test_broken(installed, contents):
    installed.unlink()
    if contents is not None:
        installed.write_bytes(contents)
    done = run(PRINT, path=installed.parents[2])
    assert done.returncode
    assert "CoreError: the native library cannot be loaded" in done.stderr
    assert "install vlae-codec again" in done.stderr


# ---------------------------------------------------------------------------------------------------- small parts


def test_check():
    for fine in (0, 1, 1 << 40):
        assert check(fine, "the cat") == fine
    for result, error in ((-1, EmptyStack), (-2, CoreError), (-3, WeightsError), (-4, CoreError)):
        with pytest.raises(error, match="the cat"):
            check(result, "the cat")


def test_pointer():
    array = np.zeros((3, 4), np.int32)
    assert pointer(array, np.int32) == array.ctypes.data
    for wrong, kind in ((array, np.uint32), (array, np.int64), (array[:, ::2], np.int32), (array.T, np.int32)):
        with pytest.raises(TypeError, match="contiguous"):
            pointer(wrong, kind)


def test_aligned():
    for size in (1, 63, 64, 65, 4096):
        memory = aligned(size)
        assert memory.size == size
        assert memory.ctypes.data % core.vlae_alignment() == 0
        memory[:] = 1
