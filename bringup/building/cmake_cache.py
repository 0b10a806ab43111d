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

    A tree is stale if its cache names another compiler, toolkit or arch list, if the toolchain at the same path is
    not the one it was configured with, or if CMake was stopped before it was done.
    """
    gcc, cuda = ctx.tools.gcc, ctx.tools.cuda if package.build.cuda else None
    identity = {
        "toolkit": cuda.identity if cuda else "",
        "host compiler": gcc.identity if gcc else "",
        "environment": dict(package.build.env),
    }
    titles = {
        "toolkit": f"nvcc {cuda.version} in {cuda.root}" if cuda else "none",
        "host compiler": f"gcc {gcc.version} at {gcc.gcc}" if gcc else "none",
    }
    for pattern in package.build.fresh:
        for cache in sorted(source.glob(pattern)):
            changes = changed_since(read_json(cache.parent / STAMP), identity, titles)
            text = cache.read_text(errors="replace")
            why = "; ".join(changes) or stale_entry(text, env) or half_configured(cache.parent)
            if why:
                remove_tree(cache.parent)
                yield f"{cache.relative_to(source).parent}/ is configured afresh: {why}"
        folder = source / Path(pattern).parent
        if "*" not in str(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / STAMP, {**identity, "titles": titles})


def half_configured(folder: Path) -> str:
    """Return why a folder with a CMakeCache.txt is of no use: CMake writes the build files last; "" if they are there.

    Builds that skip CMake where there is a cache would fail again and again.
    """
    there = any((folder / name).is_file() for name in ("build.ninja", "Makefile"))
    return "" if there else "configuring it was interrupted"


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


def changed_since(known: object, identity: Mapping[str, object], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield what a tree was configured with and what it would be now, where these differ.

    Args:
        known: what was noted when it was configured; nothing is known of trees without a note.
        identity: what it would be configured with now.
        titles: what to call the parts of it whose identity is a hash.
    """
    if not isinstance(known, dict):
        return
    before = known.get("titles") or {}
    for name, value in identity.items():
        old = known.get(name)
        if old == value:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            names = sorted(key for key in {*old, *value} if old.get(key) != value.get(key))
            pairs = ((key, old.get(key, "not set"), value.get(key, "not set")) for key in names)
            yield ", ".join(f"{key} was {was or 'empty'} and is now {now or 'empty'}" for key, was, now in pairs)
        elif name in before and before[name] != titles.get(name):
            yield f"{name} was {before[name]} and is now {titles.get(name)}"
        else:
            yield f"{name} changed since"
