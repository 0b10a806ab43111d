"""A kernel package: generates .cu files and compiles them with ninja.

Its one dependency is cloned when it is configured, as CMake's FetchContent does, unless the variable
MINIKERNELS_SOURCE_DIR_MINIFMT hands it over.
"""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
MINIFMT = "https://git.example.invalid/minifmt.git"


def minifmt():
    given = os.environ.get("MINIKERNELS_SOURCE_DIR_MINIFMT")
    if given:
        return Path(given)
    place = HERE / "build/_deps/minifmt-src"
    if not place.exists():
        subprocess.run(["git", "clone", "--quiet", "--depth=1", "--branch=v1.0", MINIFMT, str(place)], check=True)
    return place


class BuildPy(build_py):
    def run(self):
        from generate import generate

        out = HERE / "build/generated"
        names = generate(out, minifmt())
        jobs = ["-j", os.environ["MAX_JOBS"]] if "MAX_JOBS" in os.environ else []
        subprocess.run(["ninja", "-C", str(out), *jobs], check=True)
        super().run()
        package = Path(self.build_lib) / "minikernels"
        self.copy_file(str(out / "libminikernels.so"), str(package / "libminikernels.so"))
        (package / "_names.py").write_text(f"names = {names!r}\n")


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(
    name="minikernels",
    version=os.environ.get("MINIKERNELS_BUILD_VERSION", "0.3.0"),
    packages=["minikernels"],
    cmdclass={"build_py": BuildPy},
    distclass=BinaryDistribution,
    options={"build": {"build_base": "build/python"}},
)
