"""What the tests of the decoder for the web need: it is built, and node is there."""

import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

NODE = shutil.which("node")


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package, built. Skips where it cannot be."""
    build = import_module("vlae_codec.build_core")
    if not build.has_web():
        pytest.skip("ziglang is not installed")
    from vlae_codec.web import build as parts

    parts.build()
    return Path(parts.__file__).parent


@pytest.fixture(scope="session")
def node(web: Path):
    """A function that runs node, in the folder of these tests, and returns what it prints."""
    if NODE is None:
        pytest.skip("node is not installed")

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [NODE, *map(str, arguments)], capture_output=True, text=True, timeout=600, cwd=Path(__file__).parent
        )
        assert not done.returncode, done.stderr
        return done.stdout

    return run
