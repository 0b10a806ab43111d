"""A package with one Rust extension, which MINIRUST_NO_EXTENSION=1 leaves out."""

import os

from setuptools import setup

extensions = []
if os.environ.get("MINIRUST_NO_EXTENSION", "") != "1":
    from setuptools_rust import Binding, RustExtension

    extensions = [RustExtension("minirust._native", binding=Binding.NoBinding, args=["--offline", "--locked"])]

setup(
    name="minirust",
    version=os.environ.get("MINIRUST_BUILD_VERSION", "0.2.0"),
    packages=["minirust"],
    package_dir={"": "python"},
    rust_extensions=extensions,
    zip_safe=False,
)
