"""FlashInfer's modules until 0.2.5, where no JitSpec describes them: each function compiles and loads at once.

They compile through torch.utils.cpp_extension, which first writes a ninja file. Here torch stops after that, so that
FlashInfer's own functions say what a module is made of, with torch's own flags: its headers, its libraries and its
C++ ABI. Loaded by flashinfer_generate.py, in an interpreter that can import torch and FlashInfer.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

# Variables of FlashInfer 0.6 that 0.2.5 does not read, by the line of torch's ninja file that they lengthen.
EXTRA = {"cuda_cflags": "FLASHINFER_EXTRA_CUDAFLAGS", "ldflags": "FLASHINFER_EXTRA_LDFLAGS"}


def needed() -> bool:
    """Whether the FlashInfer at hand is of that time."""
    return not hasattr(importlib.import_module("flashinfer.jit.core"), "JitSpec")


def spread(env: Any) -> None:
    """Give the folders of flashinfer.jit.env to all modules that took a copy of them when they were imported."""
    folders = {name: value for name, value in vars(env).items() if re.fullmatch(r"[A-Z_]+_DIRS?", name)}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "flashinfer":
            for folder in folders.keys() & vars(module).keys():
                setattr(module, folder, folders[folder])


class Made(Exception):
    """Raised where torch would start ninja; no error: it carries the ninja file out of FlashInfer's function."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


class Spec:
    """A module's name and ninja file, named as FlashInfer's JitSpec names them."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.ninja_path = folder / "build.ninja"

    def write_ninja(self) -> None:
        """Make the file that torch wrote independent of the folder ninja runs in, and add the extra flags."""
        folder = self.ninja_path.parent
        lines = [_line(line, folder) for line in self.ninja_path.read_text().splitlines()]
        self.ninja_path.write_text("\n".join(line for line in lines if not line.startswith("default ")) + "\n")


def _line(line: str, folder: Path) -> str:
    name, _, _ = line.partition(" = ")
    if name in EXTRA:
        return f"{line} {os.environ.get(EXTRA[name], '')}".rstrip()
    return _absolute(line, folder) if line.startswith("build ") else line


def _absolute(line: str, folder: Path) -> str:
    head, _, tail = line.removeprefix("build ").partition(": ")
    rule, *inputs = tail.split()
    paths = [one if one.startswith("/") else str(folder / one) for one in inputs]
    return " ".join([f"build {folder / head}:", rule, *paths])


class Maker:
    """Asks FlashInfer's functions for the ninja file of a module."""

    def __init__(self) -> None:
        extension: Any = importlib.import_module("torch.utils.cpp_extension")

        def stop(build_directory: str, *_: Any, **__: Any) -> NoReturn:
            raise Made(Path(build_directory))

        extension._run_ninja_build = stop  # noqa: SLF001 - torch has no other way to stop after the file

    def single(self, family: str) -> Spec:
        """The module of a family that has one."""
        return self._made(getattr(importlib.import_module(f"flashinfer.{family}"), f"get_{family}_module"))

    def activation(self, name: str) -> Spec:
        """The module of one activation."""
        module: Any = importlib.import_module("flashinfer.activation")
        return self._made(module.get_act_and_mul_module, name)

    def attention(self, function: str, **arguments: Any) -> Spec:
        """The module that one function of flashinfer.jit.attention makes of `arguments`."""
        return self._made(getattr(importlib.import_module("flashinfer.jit.attention"), function), **arguments)

    @staticmethod
    def _made(function: Callable[..., Any], *arguments: Any, **named: Any) -> Spec:
        try:
            function(*arguments, **named)
        except Made as made:
            return Spec(made.folder)
        raise RuntimeError(f"{function.__module__}.{function.__qualname__} compiled nothing")
