"""Whether the libraries of a package can be loaded where they are: needed libraries, glibc, PyTorch's symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bringup.formats.elf import Elf
from bringup.model.verify import Check, Status
from bringup.verify.installed import DRIVER_LIBRARIES, read_libraries, resolve
from bringup.verify.native_code import shorten

# Itanium C++ ABI: names, type information, vtables and guards in the namespaces c10, at, torch and caffe2; and the
# C functions of PyTorch's stable and Python interfaces.
TORCH_SYMBOL = re.compile(r"_Z(?:T[A-Z]|GV)?N[KVO]*(?:3c10|2at|5torch|6caffe2)|aoti_torch_|THP[A-Z]")
# std::string in mangled names, as a reference or a last argument: before gcc 5, and since.
OLD_STRING = "RKSs"
NEW_STRING = "St7__cxx1112basic_string"
_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)*)")


def check_libraries(
    distribution: str,
    elves: Mapping[Path, Elf],
    *,
    site_packages: Path,
    packages: dict[str, Path],
    system: Sequence[Path],
    glibc_max: str = "",
    damaged: Sequence[str] = (),
) -> Check:
    """Check that every needed library is somewhere, and which glibc is needed.

    Args:
        distribution: named in the check's id.
        elves: the package's libraries as they are installed.
        site_packages: what paths are shown relative to.
        packages: all libraries of the environment by name.
        system: folders of the system's loader.
        glibc_max: fail if a newer glibc is needed, "2.36"; "" to only say which.
        damaged: sentences about files that could not be read.
    """
    problems = list(damaged)
    found: dict[str, str] = {}
    driver: set[str] = set()
    for path, elf in elves.items():
        for name in elf.needed:
            where = resolve(name, elf, packages=packages, system=system)
            if not where.how:
                problems.append(f"{_short(path, site_packages)} needs {name}, which is nowhere")
            if where.how == "driver" or name in DRIVER_LIBRARIES:
                driver.add(name)
            found[name] = found.get(name) or where.how
    glibc, file = highest_glibc(elves)
    if glibc_max and _version(glibc) > _version(glibc_max):
        problems.append(f"{_short(file, site_packages)} needs glibc {glibc}, and {glibc_max} is the newest allowed")
    why = f"{len(elves)} libraries, all {len(found)} that they need are there"
    why += f"; {', '.join(sorted(driver))} comes with the driver" if driver else ""
    why += f"; glibc {glibc} or newer" if glibc else ""
    evidence: dict[str, Any] = {"files": len(elves), "needed": dict(sorted(found.items())), "driver": sorted(driver)}
    evidence |= {"glibc": glibc, "glibc_file": _short(file, site_packages) if glibc else ""}
    return Check(
        id=f"static.libraries.{distribution}",
        status=Status.FAIL if problems else Status.OK,
        why=shorten(problems) if problems else why,
        evidence=evidence | ({"problems": problems} if problems else {}),
    )


def highest_glibc(elves: Mapping[Path, Elf]) -> tuple[str, Path]:
    """Return the highest GLIBC_ version that any of the files wants, "2.34", and the file; "" if none wants one."""
    best, file = "", Path()
    for path, elf in elves.items():
        for versions in elf.version_needs.values():
            for version in versions:
                match = _GLIBC.fullmatch(version)
                if match and _version(match[1]) > _version(best):
                    best, file = match[1], path
    return best, file


def torch_exports(site_packages: Path) -> frozenset[str] | None:
    """Return the symbols in PyTorch's namespaces that the environment's torch/lib offers; None without torch."""
    folder = site_packages / "torch" / "lib"
    libraries, _ = read_libraries(sorted(folder.glob("*.so*")))
    if not libraries:
        return None
    return frozenset(
        symbol.name
        for elf in libraries.values()
        for symbol in elf.symbols
        if symbol.defined and TORCH_SYMBOL.match(symbol.name)
    )


def check_abi(
    distribution: str, elves: Mapping[Path, Elf], exports: frozenset[str] | None, *, site_packages: Path
) -> Check:
    """Check that the torch of the environment offers every symbol of PyTorch that the package's libraries want.

    Args:
        distribution: named in the check's id.
        elves: the package's libraries.
        exports: from `torch_exports`.
        site_packages: what paths are shown relative to.
    """
    own = {symbol.name for elf in elves.values() for symbol in elf.symbols if symbol.defined}
    offered = (exports or frozenset()) | own
    wanted: set[str] = set()
    missing: dict[str, list[str]] = {}
    for path, elf in elves.items():
        names = {name for name in elf.undefined() if TORCH_SYMBOL.match(name)}
        wanted |= names
        if lacking := sorted(names - offered):
            missing[_short(path, site_packages)] = lacking
    count = len({name for names in missing.values() for name in names})
    if not wanted:
        status, why = Status.OK, "uses no symbol of PyTorch"
    elif exports is None:
        status, why = (
            Status.FAIL,
            f"wants {len(wanted)} symbols of PyTorch, and there is no torch/lib in {site_packages}",
        )
    elif missing:
        file, names_ = next(iter(missing.items()))
        status = Status.FAIL
        why = f"{count} of {len(wanted)} symbols are not in this environment's PyTorch; {file} wants {names_[0]}"
        why += f": {_other_abi(missing, exports) or 'it was built for another PyTorch'}"
    else:
        status, why = (
            Status.OK,
            f"all {len(wanted)} symbols of PyTorch that it wants are in this environment's torch/lib",
        )
    return Check(
        id=f"static.abi.{distribution}",
        status=status,
        why=why,
        evidence={
            "wanted": len(wanted),
            "missing": count,
            "first_missing": {file: names[:5] for file, names in list(missing.items())[:5]},
        },
    )


def _other_abi(missing: Mapping[str, Sequence[str]], exports: frozenset[str]) -> str:
    """Return a sentence if the missing symbols differ from PyTorch's own by the C++ ABI of std::string; else ""."""
    wants_old, wants_new = (
        any(sign in name for names in missing.values() for name in names) for sign in (OLD_STRING, NEW_STRING)
    )
    has_new = any(NEW_STRING in name for name in exports)
    if wants_old and not wants_new and has_new:
        wanted, there, value = "old", "new", 0
    elif wants_new and not has_new:
        wanted, there, value = "new", "old", 1
    else:
        return ""
    return (
        f"it was linked against a PyTorch with the {wanted} C++ ABI (_GLIBCXX_USE_CXX11_ABI={value}) and this one has "
        f"the {there} one; build PyTorch in a variant of the {wanted} ABI"
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part)


def _short(path: Path, site_packages: Path) -> str:
    return str(path.relative_to(site_packages)) if path.is_relative_to(site_packages) else str(path)
