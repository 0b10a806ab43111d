"""Build trees that were configured for another toolchain: found by their CMakeCache.txt and removed before a build.

CMake never changes compilers in place, and PyTorch's build skips CMake altogether when a cache is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bringup.context import Context
from bringup.model.plan import Package
from bringup.system.fs import read_json, remove_tree, write_json

# Cache entries and the variable that holds what they should be.
_ENTRIES = {
    "CMAKE_CUDA_COMPILER": "CMAKE_CUDA_COMPILER",
    "CUDA_NVCC_EXECUTABLE": "CMAKE_CUDA_COMPILER",
    "CUDA_TOOLKIT_ROOT_DIR": "CUDA_HOME",
    "CMAKE_CUDA_HOST_COMPILER": "CMAKE_CUDA_HOST_COMPILER",
    "CUDA_HOST_COMPILER": "CUDAHOSTCXX",
    "CMAKE_CXX_COMPILER": "CXX",
    "CMAKE_C_COMPILER": "CC",
    "TORCH_CUDA_ARCH_LIST": "TORCH_CUDA_ARCH_LIST",
}
_LINE = re.compile(r"^([A-Za-z0-9_]+):[A-Z]+=(.*)$")
STAMP = ".bringup-configured.json"


def refresh_stale(package: Package, source: Path, env: Mapping[str, str], ctx: Context) -> Iterator[str]:
    """Remove stale build trees of a package and say of each why.

    A tree is stale if its cache names another compiler, toolkit or arch list, or if the toolchain at the same path is
    not the one it was configured with.
    """
    identity = {
        "toolkit": ctx.tools.cuda.identity if ctx.tools.cuda and package.build.cuda else "",
        "host compiler": ctx.tools.gcc.identity if ctx.tools.gcc else "",
        "environment": dict(package.build.env),
    }
    for pattern in package.build.fresh:
        for cache in sorted(source.glob(pattern)):
            why = stale_entry(cache.read_text(errors="replace"), env) or _other(cache.parent / STAMP, identity)
            if why:
                remove_tree(cache.parent)
                yield f"{cache.relative_to(source).parent}/ is configured afresh: {why}"
        folder = source / Path(pattern).parent
        if "*" not in str(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / STAMP, identity)


def stale_entry(text: str, env: Mapping[str, str]) -> str:
    """Return the first entry of a CMakeCache.txt that names something else than `env` does; "" if none."""
    for line in text.splitlines():
        match = _LINE.match(line)
        variable = _ENTRIES.get(match[1]) if match else None
        if match and variable and env.get(variable) and match[2] and match[2] != env[variable]:
            return f"{match[1]} was {match[2]} and is now {env[variable]}"
    return ""


def switched_off(text: str, env: Mapping[str, str]) -> list[str]:
    """Return the features (USE_...=1) that were asked for and that a CMakeCache.txt has off.

    CMake goes on without a library that it does not find, and says so in one line among a thousand.
    """
    entries = {match[1]: match[2] for match in map(_LINE.match, text.splitlines()) if match}
    return [
        name
        for name, value in env.items()
        if name.startswith("USE_") and value in ("1", "ON") and entries.get(name) in ("OFF", "0", "FALSE", "NO")
    ]


def _other(stamp: Path, identity: Mapping[str, object]) -> str:
    known = read_json(stamp)
    if not isinstance(known, dict):
        return ""
    changed = [name for name, value in identity.items() if known.get(name) != value]
    return f"{', '.join(changed)} changed since" if changed else ""
