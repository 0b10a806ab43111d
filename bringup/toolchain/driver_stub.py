"""A libcuda to link against where there is no driver.

The functions are those that cuda.h declares, each returning CUDA_ERROR_UNKNOWN. Nothing that is linked to it runs with
it: at run time the driver's own libcuda.so.1 is found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bringup.errors import PrepareError
from bringup.system.fs import storage_errors
from bringup.system.process import run

# Makes cuda.h declare the old forms of functions too, which older objects refer to.
SOURCE = "#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n"
DECLARATION = re.compile(r"\bCUresult\s+(?:CUDAAPI\s+)?(cu[A-Z]\w*)\s*\(")
UNKNOWN_ERROR = 999  # CUDA_ERROR_UNKNOWN in cuda.h


def make_driver_stub(include: Path, dest: Path, *, cc: Path, env: Mapping[str, str]) -> int:
    """Write a stub of the driver library; the same headers and compiler give the same bytes.

    Args:
        include: folder of cuda.h.
        dest: library to write, "lib/stubs/libcuda.so".
        cc: C compiler.
        env: its environment.

    Returns:
        The number of functions in it.

    Raises:
        PrepareError: the compiler failed or cuda.h declares nothing.
    """
    source = dest.with_name(dest.name + ".c")
    with storage_errors(dest, every=True):
        dest.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(SOURCE)
    preprocessed = dest.with_name(dest.name + ".i")
    try:
        command: list[str | Path] = [cc, "-E", "-P", "-I", include, "-x", "c", source, "-o", preprocessed]
        run(command, env=env, error=PrepareError, what="read the functions of cuda.h")
        names = sorted(set(DECLARATION.findall(preprocessed.read_text("utf-8", "replace"))))
        if not names:
            msg = f"{include / 'cuda.h'} declares no driver function"
            raise PrepareError(msg)
        with storage_errors(dest, every=True):
            source.write_text("".join(f"int {name}(void) {{ return {UNKNOWN_ERROR}; }}\n" for name in names))
        flags = ["-shared", "-fPIC", "-O1", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-Wl,--build-id=none", "-Wl,-s"]
        # The source is given by its bare name, so that no path gets into the library.
        command = [cc, *flags, "-o", dest.name, source.name]
        run(command, env=env, cwd=dest.parent, error=PrepareError, what="link the stub of libcuda")
    finally:
        source.unlink(missing_ok=True)
        preprocessed.unlink(missing_ok=True)
    return len(names)
