"""The libraries of an environment and of the system under it, found without loading any of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bringup.formats.elf import Elf, ElfError, is_elf, read_elf

# Come with the driver, not with any package; a build machine without a GPU has none of them.
DRIVER_LIBRARIES = frozenset({"libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1", "libnvcuvid.so.1"})
SYSTEM_DIRS = tuple(Path(folder) for folder in ("/lib64", "/usr/lib64", "/lib", "/usr/lib"))
LINKER_CONFIG = Path("/etc/ld.so.conf")
# The loader itself is named by some libraries.
_LOADERS = ("ld-linux", "linux-vdso")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """Where a needed library comes from.

    Attributes:
        how: "runpath", "package" (another package in the environment has it loaded or preloads it), "system",
            "driver", or "" if it is nowhere.
        path: the file, None for the driver's and for what is nowhere.
    """

    how: str
    path: Path | None = None


def is_library(name: str) -> bool:
    """Whether a file's name is that of a shared library: `x.so`, `libx.so.1.2`."""
    last = name.rpartition("/")[2]
    return last.endswith(".so") or ".so." in last


def package_libraries(site_packages: Path) -> dict[str, Path]:
    """Return all shared libraries below site-packages by file name; of two with one name, the shorter path."""
    found: dict[str, Path] = {}
    for folder, _, files in os.walk(site_packages):
        for name in files:
            if is_library(name):
                path = Path(folder, name)
                if name not in found or len(path.parts) < len(found[name].parts):
                    found[name] = path
    return found


def system_dirs(config: Path = LINKER_CONFIG) -> tuple[Path, ...]:
    """Return the folders that the system's loader searches: those of its configuration, then the built-in ones."""
    found: list[Path] = []
    _read_linker_config(config, found, seen=set())
    return tuple(dict.fromkeys([*found, *SYSTEM_DIRS]))


def _read_linker_config(config: Path, found: list[Path], seen: set[Path]) -> None:
    if config in seen:
        return
    seen.add(config)
    try:
        lines = config.read_text("utf-8", "replace").splitlines()
    except OSError:
        return  # a system without it has the built-in folders alone
    for line in lines:
        text = line.partition("#")[0].strip()
        if text.startswith("include "):
            pattern = text.removeprefix("include ").strip()
            base = Path("/") if pattern.startswith("/") else config.parent
            for path in sorted(base.glob(pattern.lstrip("/"))):
                _read_linker_config(path, found, seen)
        elif text.startswith("/"):
            found.append(Path(text))


def resolve(name: str, elf: Elf, *, packages: dict[str, Path], system: Sequence[Path]) -> Resolution:
    """Find a library that `elf` needs, in the order of the loader; preloaded ones count as found."""
    for folder in elf.runpath or elf.rpath:
        path = Path(folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(elf.path.parent))) / name
        if path.is_file():
            return Resolution(how="runpath", path=path)
    if name in packages:
        return Resolution(how="package", path=packages[name])
    for directory in system:
        if (directory / name).is_file():
            return Resolution(how="system", path=directory / name)
    if name.startswith(_LOADERS):
        return Resolution(how="system")
    return Resolution(how="driver" if name in DRIVER_LIBRARIES else "")


def read_libraries(paths: Iterable[Path], *, symbols: bool = True) -> tuple[dict[Path, Elf], list[str]]:
    """Return what could be read of `paths`, and a sentence for each file that starts like ELF and is damaged."""
    read: dict[Path, Elf] = {}
    damaged: list[str] = []
    for path in paths:
        if not is_elf(path):
            continue
        try:
            read[path] = read_elf(path, symbols=symbols)
        except ElfError as exc:
            damaged.append(exc.message)
    return read, damaged
