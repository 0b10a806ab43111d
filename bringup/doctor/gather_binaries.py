"""Facts that need big files or the network: machine code, ABI and libraries of extensions; reach of the sources."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bringup.doctor.facts import Question, Site
from bringup.doctor.places import Places
from bringup.doctor.rules import rules
from bringup.errors import BringupError
from bringup.formats.distribution_name import plain
from bringup.formats.elf import Elf, ElfError
from bringup.formats.fatbin import DeviceCode, describe, device_code
from bringup.model.source import GitSource
from bringup.model.verify import Check, Status
from bringup.system.environ import base_environment
from bringup.system.git import probe
from bringup.system.gitcommand import GitAccess
from bringup.system.pypi import look_up
from bringup.verify.installed import package_libraries, read_libraries, system_dirs
from bringup.verify.linkage import check_abi, check_libraries, torch_exports
from bringup.verify.native_code import matches, shorten

GPU_CODE = ("cubin", "ptx")


def gather_binaries(question: Question, site: Site | None, places: Places) -> tuple[Check, ...]:
    """Return checks of the environment's extensions: machine code, symbols of torch, needed libraries."""
    if site is None:
        return ()
    libraries = package_libraries(site.packages)
    groups = extensions(site.packages)
    system = tuple(places.under(folder) for folder in system_dirs(places.under("etc/ld.so.conf")))
    exports = torch_exports(site.packages) if groups else None
    checks: list[Check] = []
    for name, paths in groups.items():
        elves, damaged = read_libraries(paths)
        checks.append(native_code(name, elves, question.gpu.machine_code.any, question.gpu.capability))
        checks.append(check_abi(name, elves, exports, site_packages=site.packages))
        checks.append(
            check_libraries(
                name, elves, site_packages=site.packages, packages=libraries, system=system, damaged=damaged
            )
        )
    return tuple(checks)


def extensions(packages: Path) -> dict[str, list[Path]]:
    """Return the extensions to be examined by package."""
    found: dict[str, list[Path]] = {}
    tops = {glob.partition("/")[0] for glob in rules().native}
    for top in sorted(tops):
        for path in sorted((packages / top).rglob("*.so")) if (packages / top).is_dir() else []:
            name = path.relative_to(packages).as_posix()
            if any(matches(glob, name) for glob in rules().native):
                found.setdefault(plain(top), []).append(path)
    return found


def native_code(name: str, elves: Mapping[Path, Elf], native: Sequence[str], capability: str) -> Check:
    """Check that the GPU can run the code of a package: of its files that hold GPU code at least one fits.

    A package may hold one library an architecture (sgl_kernel/sm90, sm100). PTX for the same or an older
    architecture is compiled by the driver at start: it runs, slowly at first.
    """
    codes: dict[Path, tuple[DeviceCode, ...]] = {}
    for path in elves:
        with contextlib.suppress(ElfError):
            code = tuple(one for one in device_code(path) if one.kind in GPU_CODE)
            if code:
                codes[path] = code
    identity = f"static.native-code.{name}"
    if not codes:
        return Check(id=identity, status=Status.OK, why=f"{name} holds no GPU code")
    fitting = [
        path.name for path, code in codes.items() if any(one.kind == "cubin" and one.arch in native for one in code)
    ]
    held = shorten([f"{path.name} holds {describe(code)}" for path, code in codes.items()])
    if fitting:
        return Check(id=identity, status=Status.OK, why=f"{name}: {len(fitting)} of {len(codes)} libraries fit the GPU")
    if any(_runs_as_ptx(one, capability) for code in codes.values() for one in code):
        return Check(id=identity, status=Status.SKIPPED, why=f"{held}: only PTX, which the driver compiles at start")
    return Check(id=identity, status=Status.FAIL, why=held)


def _runs_as_ptx(code: DeviceCode, capability: str) -> bool:
    found = re.fullmatch(r"compute_(\d+)", code.arch)
    major, minor = capability.rstrip("af").split(".")
    return code.kind == "ptx" and found is not None and int(found[1]) <= int(major) * 10 + int(minor)


def gather_reach(
    question: Question, places: Places, mirrors: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[str, str], ...]:
    """Return for each host of a source, and the package index, why it is out of reach; "" if it answers."""
    env = base_environment(places.env)
    access = GitAccess(mirrors=places.cache / "git", env=env, rewrites=tuple(mirrors))
    urls = sorted({one.source.url for one in question.packages.values() if isinstance(one.source, GitSource)})
    found: dict[str, str] = {}
    for url in urls[:1] + [url for url in urls[1:] if url.split("/")[2:3] != urls[0].split("/")[2:3]]:
        try:
            probe(url, access=access)
        except BringupError as exc:
            found[url] = exc.message
        else:
            found[url] = ""
    try:
        problem = "" if list(look_up({"packaging": "24.2"}, env=env)) else "knows no packaging 24.2"
    except BringupError as exc:
        problem = exc.message
    found["package index"] = problem
    return tuple(found.items())
