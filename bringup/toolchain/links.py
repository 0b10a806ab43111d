"""The target environment's bin: compilers and tools under the names that build systems look for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from bringup.system.fs import storage_errors
from bringup.system.launcher import put_in_front
from bringup.system.process import run
from bringup.toolchain.host_compiler import Gcc
from bringup.toolchain.toolkit import Toolkit

BINUTILS = ("ar", "as", "ld", "nm", "objcopy", "objdump", "ranlib", "readelf", "strip")


COMPILERS = ("gcc", "cc", "g++", "c++", "nvcc")


def link_tools(
    bin_dir: Path, gcc: Gcc, toolkit: Toolkit | None, tools: Mapping[str, Path], *, launcher: Path | None = None
) -> dict[str, Path]:
    """Make gcc, g++, cc, c++, nvcc and other tools available in `bin_dir`, which goes first on PATH.

    Nothing a build starts by its plain name then falls back to the system's. All are symlinks but nvcc: it looks for
    its own parts beside the name it was called by, so it gets a script of one line. What is right already is not
    touched, so that build systems see no change.

    Args:
        bin_dir: folder of the environment.
        gcc: host compiler.
        toolkit: CUDA toolkit; None for builds without CUDA.
        tools: others by name, {"cmake": path, "ninja": path}.
        launcher: program that goes in front of the compilers; none without it.

    Returns:
        What each name points at.

    Raises:
        StorageError: disk full or no permission.
    """
    wanted: dict[str, Path] = {"gcc": gcc.gcc, "cc": gcc.gcc, "g++": gcc.gxx, "c++": gcc.gxx}
    wanted |= {f"gcc-{gcc.major}": gcc.gcc, f"g++-{gcc.major}": gcc.gxx}
    if gcc.tools is not None:
        wanted |= {name: gcc.tools / name for name in BINUTILS if (gcc.tools / name).exists()}
    wanted |= tools
    if toolkit is not None:
        wanted["nvcc"] = toolkit.nvcc
    with storage_errors(bin_dir, every=True):
        bin_dir.mkdir(parents=True, exist_ok=True)
        for name, target in wanted.items():
            if launcher is not None and name.partition("-")[0] in COMPILERS:
                put_in_front(launcher, bin_dir / name, target)
            elif name == "nvcc":
                write_script(bin_dir / name, f'exec {shlex.quote(str(target))} "$@"\n')
            else:
                _link(bin_dir / name, target)
    return wanted


def write_script(path: Path, body: str) -> None:
    """Write an executable sh script; one that says the same already is not touched."""
    text = f"#!/bin/sh\n{body}"
    if not path.is_symlink() and path.is_file() and path.read_text("utf-8", "replace") == text:
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(path)


def shadow_make(bin_dir: Path, env: Mapping[str, str]) -> None:
    """Put a script in front of a make that knows no FIFO job server: 4.3 and older stop at the mere mention of one.

    They know the older kind, two inherited descriptors; the script opens the same FIFO as these.

    Args:
        bin_dir: folder of the environment.
        env: environment of the build; its PATH is searched for make behind `bin_dir`.
    """
    path = os.pathsep.join(part for part in env["PATH"].split(os.pathsep) if Path(part) != bin_dir)
    for name in ("make", "gmake"):  # CMake looks for gmake first
        found = shutil.which(name, path=path)
        if found is None:
            continue
        said = run([found, "--version"], env=env, check=False, what="ask make for its version").output
        version = re.search(r"GNU Make (\d+)\.(\d+)", said)
        if version is not None and (int(version[1]), int(version[2])) < (4, 4):
            write_script(bin_dir / name, MAKE.format(make=shlex.quote(found)))


MAKE = """# This make knows no FIFO job server, only two inherited descriptors.
fifo=${{MAKEFLAGS##*--jobserver-auth=fifo:}}
fifo=${{fifo%% *}}
if [ -p "$fifo" ]; then
  exec 8<>"$fifo" 9<>"$fifo"
  MAKEFLAGS=" -j --jobserver-auth=8,9"
  export MAKEFLAGS
fi
exec {make} "$@"
"""


def share_ninja(bin_dir: Path, env: Mapping[str, str]) -> bool:
    """Tell whether the ninja of a build environment takes part in the job server of MAKEFLAGS, and help one of PyPI's.

    ninja knows the FIFO from 1.13 on. PyPI's before that, back to 1.11.1, know the older kind alone, two inherited
    descriptors: the program moves into a folder (its name stays, by which clients are counted), and a script in its
    place opens the FIFO as these. It takes the first kind that MAKEFLAGS names; what it starts takes the last.

    Args:
        bin_dir: folder of the build environment.
        env: environment of the build.
    """
    ninja, moved = bin_dir / "ninja", bin_dir / "ninja-of-pypi" / "ninja"
    if not moved.is_file():
        if not ninja.is_file():
            return False
        said = run([ninja, "--version"], env=env, check=False, what="ask ninja for its version").output.strip()
        version = re.match(r"(\d+)\.(\d+)", said)
        if version is None or (int(version[1]), int(version[2])) >= (1, 13):
            return version is not None
        if ".kitware.jobserver-1" not in said:
            return False
        with storage_errors(moved, every=True):
            moved.parent.mkdir(exist_ok=True)
            fresh = moved.with_name(f".ninja.{os.getpid()}")
            shutil.copy2(ninja, fresh)  # not renamed: a killed run would leave no ninja
            fresh.replace(moved)
    with storage_errors(ninja, every=True):
        write_script(ninja, NINJA.format(ninja=shlex.quote(str(moved))))
    return True


NINJA = """# This ninja knows no FIFO job server, only two inherited descriptors.
fifo=${{MAKEFLAGS##*--jobserver-auth=fifo:}}
fifo=${{fifo%% *}}
if [ -p "$fifo" ]; then
  exec 8<>"$fifo" 9<>"$fifo"
  MAKEFLAGS=" -j --jobserver-auth=8,9 --jobserver-auth=fifo:$fifo"
  export MAKEFLAGS
fi
exec {ninja} "$@"
"""


def _link(link: Path, target: Path) -> None:
    absolute = Path(os.path.abspath(target))  # noqa: PTH100 - links in the target stay links
    if link.is_symlink() and link.readlink() == absolute:
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(absolute)
    fresh.replace(link)
