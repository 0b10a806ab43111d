"""The host compiler: the gcc that nvcc hands C++ to, chosen by the range that a CUDA release accepts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import BringupError, TargetError
from bringup.model.toolchain import HostCompiler
from bringup.system.environ import base_environment
from bringup.system.fs import file_sha256
from bringup.toolchain.assemble import identity_of
from bringup.toolchain.facts import FactCache

SYSTEM_PATH = (Path("/usr/local/bin"), Path("/usr/bin"))
# Programs behind the driver: another one of these makes other code.
PARTS = ("cc1", "cc1plus", "as", "ld", "collect2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gcc:
    """A GNU compiler pair.

    Attributes:
        major: major version.
        version: full version, "12.2.0".
        gcc: C compiler.
        gxx: C++ compiler of the same version.
        identity: hash over version and the programs it runs, the same wherever it lies.
        tools: folder with its own ar, as, ld, nm and strip; None if those of the system belong to it.
    """

    major: int
    version: str
    gcc: Path
    gxx: Path
    identity: str
    tools: Path | None = None


def find_gcc(host: HostCompiler, *, search: Sequence[Path] = SYSTEM_PATH, facts: FactCache, cuda: str = "") -> Gcc:
    """Return the preferred compiler among those that nvcc accepts.

    Args:
        host: the accepted range and the order of preference.
        search: folders to look in.
        facts: what is known about compilers seen before; with it nothing is run.
        cuda: CUDA release, for messages.

    Raises:
        TargetError: none in range; the message names those that are there and the package to install.
    """
    found = list(installed(search, facts))
    order = [*host.prefer, *range(host.gcc_max, host.gcc_min - 1, -1)]
    for major in order:
        for gcc in found:
            if gcc.major == major and host.gcc_min <= major <= host.gcc_max:
                return gcc
    wanted = host.prefer[0] if host.prefer else host.gcc_max
    there = ", ".join(sorted({f"gcc {gcc.version} ({gcc.gcc})" for gcc in found})) or "no gcc with g++"
    release = f"CUDA {cuda}" if cuda else "this CUDA release"
    msg = f"{release} needs a host compiler gcc {host.gcc_min} to {host.gcc_max}; here is {there} ({host.source})"
    hint = f"apt-get install g++-{wanted}, or --host-compiler debs, which unpacks gcc-12 from Debian without root"
    raise TargetError(msg, hint=hint)


def installed(search: Iterable[Path], facts: FactCache) -> Iterable[Gcc]:
    """Yield every gcc in some folders that has its g++ beside it, `gcc-12` as well as plain `gcc`."""
    seen: set[Path] = set()
    for folder in search:
        try:
            names = sorted(path.name for path in folder.iterdir() if re.fullmatch(r"gcc(-[0-9]+)?", path.name))
        except OSError:
            continue
        for name in sorted(names, reverse=True):
            gcc, gxx = folder / name, folder / name.replace("gcc", "g++")
            if not gxx.exists() or gcc.resolve() in seen:
                continue
            seen.add(gcc.resolve())
            described = describe_gcc(gcc, gxx, facts)
            if described is not None:
                yield described


def describe_gcc(gcc: Path, gxx: Path, facts: FactCache, *, tools: Path | None = None) -> Gcc | None:
    """Return what is known of a compiler pair; None if it does not work or is not GNU's."""
    known = facts.know(f"gcc {gcc} {gxx}", lambda: _probe(gcc, gxx))
    version = known.get("version", "")
    if not version:
        return None
    return Gcc(
        major=int(version.partition(".")[0]), version=version, gcc=gcc, gxx=gxx, identity=known["identity"], tools=tools
    )


def _probe(gcc: Path, gxx: Path) -> tuple[dict[str, str], list[Path]]:
    """Ask a compiler for its version and for the programs it runs, and hash those."""
    version, other = _ask(gcc, "-dumpfullversion"), _ask(gxx, "-dumpfullversion")
    drivers = [gcc, gxx, gcc.resolve(), gxx.resolve()]
    # clang answers 4.2.1 and Debian's alternatives may point apart: neither is a pair that can be used.
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) or version != other or _macro(gcc, "__clang__"):
        return {"version": ""}, drivers
    parts = [part for name in PARTS if (part := _program(gcc, name)) is not None]
    if not any(part.name == "cc1plus" for part in parts):
        return {"version": ""}, drivers
    identity = identity_of("gcc", version, *(file_sha256(file) for file in [gcc, gxx, *parts]))
    return {"version": version, "identity": identity}, [*drivers, *parts]


def _program(gcc: Path, name: str) -> Path | None:
    answer = Path(_ask(gcc, f"-print-prog-name={name}"))
    places = [answer] if answer.is_absolute() else [gcc.parent / answer, *(folder / answer for folder in SYSTEM_PATH)]
    return next((place.resolve() for place in places if place.is_file()), None)


def _macro(gcc: Path, name: str) -> bool:
    from bringup.system.process import run  # noqa: PLC0415 - what is known is not asked again

    try:
        done = run([gcc, "-dM", "-E", "-x", "c", os.devnull], env=base_environment(), error=TargetError, timeout=60)
    except BringupError:
        return False
    return f"#define {name} " in done.output


def _ask(compiler: Path, question: str) -> str:
    from bringup.system.process import run  # noqa: PLC0415 - what is known is not asked again

    try:
        done = run([compiler, question], env=base_environment(), error=TargetError, timeout=60)
    except BringupError:
        return ""
    return done.output.strip()
