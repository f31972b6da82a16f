"""setuptools compiles the C core with this; all else stands in pyproject.toml.

VLAE_CODEC_PLATFORM names the platform of `build_core.py` that a wheel is for, by default the host's.
"""

import importlib.util
import os
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.errors import CompileError

NATIVE = Path("vlae_codec", "native")
PLATFORM = os.environ.get("VLAE_CODEC_PLATFORM") or None

spec = importlib.util.spec_from_file_location("build_core", "build_core.py")
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)


class BuildCore(Command):
    """The command puts the library into the package that is built; of an editable install, beside its sources."""

    description = "compile the C core"
    user_options: ClassVar[list[tuple[str, str, str]]] = []
    editable_mode = False  # set by setuptools

    def initialize_options(self) -> None:
        self.build_lib = ""

    def finalize_options(self) -> None:
        self.build_lib = self.get_finalized_command("build").build_lib

    def run(self) -> None:
        folder = NATIVE if self.editable_mode else Path(self.build_lib, NATIVE)
        for old in folder.glob("_core.*"):  # perhaps another platform's
            old.unlink()
        try:
            core.compile_core(folder / self.library(), self.platform())
            if core.has_web():  # else there is no viewer page, and the command says so
                core.compile_web(self.web())
        except core.BuildError as error:
            raise CompileError(str(error)) from error

    def web(self) -> Path:
        return core.WEB if self.editable_mode else Path(self.build_lib, "vlae_codec", "web", core.WEB.name)

    def platform(self) -> str | None:
        return None if self.editable_mode else PLATFORM

    def library(self) -> str:
        return str(core.find_platform(self.platform()).library)

    def get_source_files(self) -> list[str]:
        return ["build_core.py", *(path.as_posix() for path in sorted((NATIVE / "core").glob("*.[ch]")))]

    def get_outputs(self) -> list[str]:
        built = [str(Path(self.build_lib, NATIVE, self.library()))]
        return [*built, str(self.web())] if core.has_web() else built

    def get_output_mapping(self) -> dict[str, str]:
        return dict.fromkeys(self.get_outputs(), str(NATIVE / self.library())) if self.editable_mode else {}


class Build(build):
    sub_commands: ClassVar = [*build.sub_commands, ("build_core", None)]


class Wheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3 loads the library. One that zig did not build may need this machine's C library."""
        platform = core.find_platform(PLATFORM)
        return "py3", "none", platform.tags if PLATFORM or core.has_zig(platform) else super().get_tag()[2]


class BinaryDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return True


setup(
    distclass=BinaryDistribution,
    cmdclass={"build": Build, "build_core": BuildCore, "bdist_wheel": Wheel},
)
