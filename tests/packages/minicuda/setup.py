"""A CMake and CUDA package in the shape of a large one: setup.py configures once, keeps build/ and runs ninja in it.

As there, a configured build/ is taken as it is: nothing here notices that the toolkit or the arch list has changed.
"""

import os
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
VERSION = os.environ.get("MINICUDA_BUILD_VERSION", "1.0.0")


def cmake_arch_list():
    """`9.0a;10.0` -> `90a-real;100-real`, as CMake spells it."""
    entries = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(" ", ";").split(";")
    if entries == [""]:
        raise SystemExit("TORCH_CUDA_ARCH_LIST is not set")
    return ";".join(
        entry.replace(".", "").removesuffix("+PTX") + ("" if entry.endswith("+PTX") else "-real") for entry in entries
    )


def native_build():
    if not (HERE / "third_party/minimath/include/minimath.h").exists():
        raise SystemExit("third_party/minimath is empty: git submodule update --init --recursive")
    build = HERE / "build"
    if not (build / "CMakeCache.txt").exists():
        command = ["cmake", "-S", str(HERE), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
        command += [f"-DCMAKE_CUDA_ARCHITECTURES={cmake_arch_list()}"]
        for name in ("CMAKE_CUDA_COMPILER", "CMAKE_CUDA_HOST_COMPILER", "CMAKE_CXX_COMPILER"):
            if name in os.environ:
                command.append(f"-D{name}={os.environ[name]}")
        if "CMAKE_CUDA_HOST_COMPILER" not in os.environ and "CUDAHOSTCXX" in os.environ:
            command.append(f"-DCMAKE_CUDA_HOST_COMPILER={os.environ['CUDAHOSTCXX']}")
        subprocess.run(command, check=True)
    jobs = ["-j", os.environ["MAX_JOBS"]] if "MAX_JOBS" in os.environ else []
    subprocess.run(["ninja", "-C", str(build), *jobs], check=True)
    return build / "libminicuda.so"


class BuildPy(build_py):
    """Adds the library, the headers and what it was built with to the package."""

    def run(self):
        library = native_build()
        super().run()
        package = Path(self.build_lib) / "minicuda"
        (package / "lib").mkdir(parents=True, exist_ok=True)
        (package / "include").mkdir(exist_ok=True)
        self.copy_file(str(library), str(package / "lib" / library.name))
        self.copy_file(str(HERE / "csrc/minicuda.h"), str(package / "include" / "minicuda.h"))
        (package / "_version.py").write_text(
            f"__version__ = {VERSION!r}\narch_list = {os.environ['TORCH_CUDA_ARCH_LIST']!r}\n"
        )


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(
    name="minicuda",
    version=VERSION,
    packages=["minicuda"],
    cmdclass={"build_py": BuildPy},
    distclass=BinaryDistribution,
    options={"build": {"build_base": "build/python"}},
)
