"""What this machine has of a target's toolchain, and what would have to be made: looked up, never made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bringup.config.catalogue import Catalogue
from bringup.errors import TargetError
from bringup.model.frozen import Frozen
from bringup.model.plan import Package, Target
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease
from bringup.planning.known import Tool, Toolchain
from bringup.planning.tools import toolkit_groups
from bringup.system.downloads import DownloadCache
from bringup.toolchain.assemble import whole
from bringup.toolchain.cuda_system import find_system
from bringup.toolchain.facts import FactCache
from bringup.toolchain.host_compiler import find_gcc
from bringup.toolchain.interpreter import PythonPlaces, python_identity
from bringup.toolchain.programs import find_program
from bringup.toolchain.python import provide_python
from bringup.toolchain.toolkit import Provider, gcc_identity, plan_identity

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Where tools are looked for and kept.

    Attributes:
        toolchains: folder of assembled trees.
        cache: downloads.
        facts: what is known about installed tools.
        env: environment of commands.
        user_env: the user's environment: PATH, CUDA_HOME, environment modules.
    """

    toolchains: Path
    cache: DownloadCache
    facts: FactCache
    env: Mapping[str, str]
    user_env: Mapping[str, str]


def survey_toolchain(
    target: Target,
    packages: Mapping[str, Package],
    around: Surroundings,
    *,
    host_compiler: str,
    gccs: Mapping[str, GccRelease],
) -> Toolchain:
    """Return the toolchain of a target as it is or would be.

    Raises:
        TargetError: a part is not here and no way to it is allowed.
    """
    return Toolchain(
        python=_python(target.python, around),
        cuda=_cuda(target, packages, around),
        gcc=_gcc(target.cuda, around, host_compiler, gccs),
    )


def _python(release: PythonRelease, around: Surroundings) -> Tool:
    places = PythonPlaces(
        dest_root=around.toolchains, cache=around.cache, facts=around.facts, user_env=around.user_env, offline=True
    )
    # An interpreter enters fingerprints by its minor version: that is what wheels depend on.
    identity = f"cp{release.version.replace('.', '')}"
    try:
        found = provide_python(release, places, providers=("system", "uv"))
    except TargetError:
        unpacked = python_identity(release)
        ready = whole(around.toolchains / f"python-{release.version}-debs-{unpacked[:16]}", unpacked)
        size = sum(package.size for package in release.debs.packages) // MIB
        why = "unpacked from Debian's packages" if ready else "none here: uv's, or Debian's packages unpacked"
        left = 0 if ready else size
        return Tool(identity=identity, ready=ready, why=why, download_mib=left, disk_mib=left * 4)
    return Tool(identity=identity, ready=True, why=f"{found.version} at {found.executable} ({found.provider})")


def _gcc(release: CudaRelease, around: Surroundings, choice: str, gccs: Mapping[str, GccRelease]) -> Tool:
    if choice == "debs":
        unpacked = pick_gcc(release, gccs)
        identity = gcc_identity(unpacked)
        ready = whole(around.toolchains / f"gcc-{unpacked.version}-debs-{identity[:16]}", identity)
        size = 0 if ready else sum(package.size for package in unpacked.debs.packages) // MIB
        why = f"gcc {unpacked.version} unpacked from Debian's packages"
        return Tool(identity=identity, ready=ready, why=why, download_mib=size, disk_mib=size * 4)
    found = find_gcc(release.host, facts=around.facts, cuda=release.version)
    limits = f"{release.host.gcc_min} to {release.host.gcc_max}"
    why = f"gcc {found.version} at {found.gcc}; nvcc {release.nvcc} accepts {limits}"
    return Tool(identity=found.identity, ready=True, why=why)


def pick_gcc(release: CudaRelease, gccs: Mapping[str, GccRelease]) -> GccRelease:
    """Return the newest compiler that can be unpacked and that nvcc accepts.

    Raises:
        TargetError: there is none.
    """
    able = [one for one in gccs.values() if release.host.gcc_min <= one.version <= release.host.gcc_max]
    if not able:
        have = ", ".join(gccs) or "none"
        limits = f"{release.host.gcc_min} to {release.host.gcc_max}"
        msg = f"CUDA {release.version} takes gcc {limits}; to unpack there is {have}"
        raise TargetError(msg, hint="leave --host-compiler out and install one")
    return max(able, key=lambda one: one.version)


def _cuda(target: Target, packages: Mapping[str, Package], around: Surroundings) -> Tool:
    groups = toolkit_groups(packages)
    refused: list[TargetError] = []
    for provider in target.providers:
        if provider == "system":
            try:
                found = find_system(target.cuda, groups=groups, facts=around.facts, user_env=around.user_env)
            except TargetError as exc:
                refused.append(exc)
                continue
            return Tool(identity=found.identity, ready=True, why=f"nvcc {found.version} at {found.root}")
        return _made_cuda(target.cuda, provider, groups, around)
    raise refused[-1]


def _made_cuda(release: CudaRelease, provider: str, groups: frozenset[str], around: Surroundings) -> Tool:
    identity = plan_identity(release, cast("Provider", provider), groups)
    ready = whole(around.toolchains / f"cuda-{release.version}-{provider}-{identity[:16]}", identity)
    source = "PyPI's wheels" if provider == "wheels" else "Debian's packages"
    why = f"nvcc {release.nvcc}, assembled from {source}" + (f" with {', '.join(sorted(groups))}" if groups else "")
    data = release.providers.wheels if provider == "wheels" else release.providers.debs
    assert data is not None
    size = sum(one.size for one in data.packages if not one.group or one.group in groups) // MIB
    return Tool(
        identity=identity,
        ready=ready,
        why=why,
        download_mib=0 if ready else size,
        disk_mib=0 if ready else data.unpacked_mib,
    )


def frozen_toolchain(frozen: Frozen, target: Target, around: Surroundings, gccs: Mapping[str, GccRelease]) -> Toolchain:
    """Return the toolchain of an installed bundle: identities are those of the build, tools are what travelled."""
    unpacked = python_identity(target.python)
    place = around.toolchains / f"python-{target.python.version}-debs-{unpacked[:16]}"
    gcc = pick_gcc(target.cuda, gccs)
    gcc_there = whole(around.toolchains / f"gcc-{gcc.version}-debs-{gcc_identity(gcc)[:16]}", gcc_identity(gcc))
    where = "in this bundle" if frozen.with_toolkit else "not in this bundle, and not needed to run"
    # A toolkit is taken with the host compiler, which is unpacked first.
    cuda_there = gcc_there or not frozen.with_toolkit
    return Toolchain(
        python=Tool(identity=frozen.python, ready=whole(place, unpacked), why="Python of this bundle"),
        gcc=Tool(identity=frozen.gcc, ready=gcc_there, why="gcc of this bundle, unpacked"),
        cuda=Tool(identity=frozen.nvcc, ready=cuda_there, why=f"nvcc {target.cuda.nvcc}: {where}"),
    )


def node_environment(bundle: Path) -> dict[str, str]:
    """Return the variables that make uv take wheels from an installed bundle and from nowhere else.

    The bundle's wheels are removed once the environment is made, and uv refuses a folder that is not there.
    """
    wheels = bundle / "wheels"
    links = {"UV_FIND_LINKS": str(wheels)} if wheels.is_dir() else {}
    return {**links, "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(bundle / "cache/uv")}


def missing_tools(stack: Stack, catalogue: Catalogue, *, facts: FactCache, around: Mapping[str, str]) -> dict[str, str]:
    """Return those programs that recipes of the stack name and that cannot be used here, with the reason."""
    wanted = {
        tool
        for name, choice in stack.packages.items()
        if choice.source != "wheel"
        for tools in (catalogue.recipes[name].build.tools, *(one.tools for one in catalogue.recipes[name].when))
        for tool in tools
    }
    found = {tool: find_program(tool, facts=facts, env=around) for tool in sorted(wanted)}
    return {tool: one.why for tool, one in found.items() if one.path is None}
