"""Headers outside of a build that went into it: those of the C library, of the system's compiler or CUDA toolkit.

They stand in no fingerprint, since nobody knows before a build which of them it will read. They are recorded with the
wheel, and a wheel counts only while they are what they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bringup.context import Context
from bringup.formats.dependencies import listed_paths, ninja_paths
from bringup.model.plan import Package
from bringup.system.fs import sha256_of

# gcc appends what each compilation reads to the file that this variable names, unless it is told by -MD to write a
# dependency file of its own; ninja keeps what stands in those.
VARIABLE = "SUNPRO_DEPENDENCIES"
# Python's headers: wheels depend on its minor version, which is in the fingerprint.
PYTHON = re.compile(r"/include/python\d")


def list_file(package: Package, ctx: Context) -> Path:
    """Return the file that compilers of this package's build append to."""
    return ctx.layout.work(package.name) / "outside.d"


def outside_headers(package: Package, ctx: Context) -> dict[str, str]:
    """Return SHA-256 by path of the files that a build read and that are neither its own nor of its toolchain."""
    work = ctx.layout.work(package.name)
    found: set[str] = set()
    listed = list_file(package, ctx)
    if listed.is_file():
        found |= listed_paths(listed.read_text("utf-8", "replace"))
    for path in work.rglob(".ninja_deps"):
        found |= ninja_paths(path.read_bytes())
    return {str(path): sha256_of(path) for path in sorted(set(_outside(found, ctx)))}


def _outside(found: set[str], ctx: Context) -> Iterator[Path]:
    own = (ctx.layout.build, ctx.layout.cache, Path("/proc"), Path("/dev"))
    for name in found:
        if name.startswith("/") and not PYTHON.search(name):
            path = Path(name).resolve()
            if path.is_file() and not any(path.is_relative_to(folder) for folder in own):
                yield path
