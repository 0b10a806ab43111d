"""The last steps that make a folder of CUDA files a CUDA_HOME that nvcc, CMake and PyTorch's build accept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from bringup.errors import PrepareError
from bringup.system.fs import storage_errors
from bringup.toolchain.driver_stub import make_driver_stub

VERSIONED = re.compile(r"(lib.+\.so)\.[0-9][0-9.]*")
DRIVER_STUB = "driver-stub"

# Everything relative to nvcc's own place (_HERE_), so that the tree may lie anywhere.
NVCC_PROFILE = """
TOP              = $(_HERE_)/..

NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice

LD_LIBRARY_PATH += $(TOP)/lib:
PATH            += $(TOP)/nvvm/bin:$(_HERE_):

INCLUDES        +=  "-I$(TOP)/include" $(_SPACE_)
LIBRARIES       =+  $(_SPACE_) "-L$(TOP)/lib64/stubs" "-L$(TOP)/lib64"

CUDAFE_FLAGS    +=
PTXAS_FLAGS     +=
"""


def finish_layout(home: Path, *, cc: Path | None, env: Mapping[str, str]) -> None:
    """Add what package managers leave out: lib64, names without version for the linker, a libcuda to link against.

    Raises:
        PrepareError: the stub could not be made, or there is no compiler yet to make it with.
        StorageError: disk full or no permission.
    """
    with storage_errors(home, every=True):
        link_lib64(home)
        link_unversioned(home / "lib64")
        stub = home / "lib64" / "stubs" / "libcuda.so"
        if not stub.is_file():
            if cc is None:
                msg = "the host compiler comes before the toolkit"
                raise PrepareError(msg)
            make_driver_stub(home / "include", stub, cc=cc, env=env)
        driver = home / DRIVER_STUB / "libcuda.so.1"
        driver.parent.mkdir(exist_ok=True)
        driver.symlink_to("../lib64/stubs/libcuda.so")


def link_lib64(home: Path) -> None:
    """Make `lib` and `lib64` the same folder: nvcc looks into one, CMake and setup.py files into either."""
    if (home / "lib").is_dir() and not os.path.lexists(home / "lib64"):
        (home / "lib64").symlink_to("lib")
    elif (home / "lib64").is_dir() and not os.path.lexists(home / "lib"):
        (home / "lib").symlink_to("lib64")


def link_unversioned(folder: Path) -> None:
    """Add `libx.so` for every `libx.so.N` that has none; the linker looks for that name."""
    for path in sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name)):
        match = VERSIONED.fullmatch(path.name)
        if match and not os.path.lexists(folder / match[1]):
            (folder / match[1]).symlink_to(path.name)
