"""An extension that is compiled and linked against the minicuda it finds when it is built."""

import os
from pathlib import Path

import minicuda  # fails with build isolation, where the minicuda that was built is not seen
from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
if not (HERE / "third_party/miniabi/miniabi.h").exists():
    raise SystemExit("third_party/miniabi is empty: git submodule update --init --recursive")

setup(
    name="miniext",
    version=os.environ.get("MINIEXT_BUILD_VERSION", "0.5.0"),
    packages=["miniext"],
    install_requires=["minicuda"],
    ext_modules=[
        Extension(
            "miniext._native",
            ["csrc/native.cpp"],
            include_dirs=[str(minicuda.include_dir), "third_party/miniabi"],
            library_dirs=[str(minicuda.library_dir)],
            libraries=["minicuda"],
            runtime_library_dirs=["$ORIGIN/../minicuda/lib"],
            define_macros=[("BUILT_AGAINST", f'"{minicuda.__version__}"')],
            language="c++",
        )
    ],
)
