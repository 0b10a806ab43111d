"""Toolchains as toolchains/{cuda,python,gcc}/<version>.toml describe them: pins, ranges, providers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bringup.model.base import Capability, CudaVersion, Name, Sha256, Table


class PinnedWheel(Table, frozen=True, kw_only=True):
    """A wheel of a package index, by version and hash.

    Attributes:
        name: project name.
        version: exact version.
        sha256: hash of the x86_64 file.
        size: bytes of the file, for estimates.
        group: extra set this wheel belongs to ("" is always taken; "cublas" only when a recipe asks for it).
        root: folder inside site-packages that holds its files, where that is not the set's ("nvidia/cudnn").
    """

    name: str
    version: str
    sha256: Sha256
    size: int
    group: str = ""
    root: str = ""


class PinnedDeb(Table, frozen=True, kw_only=True):
    """A Debian binary package, by version and hash.

    Attributes:
        name: package name.
        version: full Debian version.
        sha256: hash of the amd64 file.
        size: bytes of the file.
        group: extra set this package belongs to ("" is always taken).
        component: archive area, "main" or "non-free".
        path: where a mirror has it, "pool/main/g/gcc-12/gcc-12_12.2.0-14+deb12u1_amd64.deb"; its index is read only
            if this is "" or the file has moved.
    """

    name: str
    version: str
    sha256: Sha256
    size: int
    group: str = ""
    component: str = "main"
    path: str = ""


class DebSet(Table, frozen=True, kw_only=True):
    """Debian packages that are unpacked together into one folder.

    Attributes:
        suite: Debian release they come from, "trixie".
        packages: the pinned packages.
        drop: globs of paths in the packages that are left out ("usr/lib/*_static.a"; `*` matches slashes too).
        unpacked_mib: size on disk after that, without the optional groups.
        included: groups that are in the packages that are always taken.
        glibc: lowest version of the machine's C library that its programs run with, "2.36".
    """

    suite: Name
    packages: tuple[PinnedDeb, ...]
    drop: tuple[str, ...] = ()
    unpacked_mib: int
    included: tuple[str, ...] = ()
    glibc: str = ""


class WheelSet(Table, frozen=True, kw_only=True):
    """Index wheels that are assembled into one CUDA_HOME.

    Attributes:
        root: folder inside site-packages that becomes CUDA_HOME, "nvidia/cu13".
        packages: the pinned wheels.
        unpacked_mib: size on disk without the optional groups.
    """

    root: str
    packages: tuple[PinnedWheel, ...]
    unpacked_mib: int


class SystemToolkit(Table, frozen=True, kw_only=True):
    """Where an installed toolkit may be.

    Attributes:
        paths: folders to look at, after CUDA_HOME.
        modules: names of environment modules.
        markers: for each group, a file that is there when the group is ("include/curand_kernel.h").
    """

    paths: tuple[str, ...]
    modules: tuple[str, ...] = ()
    markers: dict[str, str] = {}


class CudaProviders(Table, frozen=True, kw_only=True):
    """Ways to come by the toolkit; a missing one is not possible for this release, and `absent` says why.

    Attributes:
        system: an installed toolkit.
        wheels: assembled from wheels of the package index, without root.
        debs: unpacked from Debian's packages, without root.
        absent: by provider that is not possible, the reason.
    """

    system: SystemToolkit | None = None
    wheels: WheelSet | None = None
    debs: DebSet | None = None
    absent: dict[str, str] = {}


class HostCompiler(Table, frozen=True, kw_only=True):
    """gcc versions that nvcc of this release accepts as host compiler.

    Attributes:
        gcc_min: lowest major version that the packages of our stacks can be built with.
        gcc_max: highest major version (`host_config.h`: later ones are `unsupported GNU version`).
        prefer: majors in order of preference.
        source: where the limit is from.
    """

    gcc_min: int
    gcc_max: int
    prefer: tuple[int, ...]
    source: str


class CudaRelease(Table, frozen=True, kw_only=True):
    """One CUDA release line.

    Attributes:
        schema: version of this file's shape.
        version: release line, "13.0".
        release: exact release that the pins give, "13.0.2".
        nvcc: compiler version, "13.0.88".
        driver_min: driver that came with this release; PTX needs it.
        driver_compat: lowest driver that runs its machine code (minor-version compatibility).
        capabilities: what nvcc can make machine code for, "9.0" and "9.0a".
        host: accepted host compilers.
        providers: ways to come by it.
        sources: where the facts come from.
    """

    schema: Literal[1]
    version: CudaVersion
    release: str
    nvcc: str
    driver_min: str
    driver_compat: str
    capabilities: tuple[Capability, ...]
    host: HostCompiler
    providers: CudaProviders
    sources: tuple[str, ...]


class PythonRelease(Table, frozen=True, kw_only=True):
    """The interpreter that a target environment is made of.

    Attributes:
        schema: version of this file's shape.
        version: minor version, "3.11"; every package of a stack has wheels for it.
        uv: exact version that uv would install.
        debs: the interpreter as unpacked Debian packages.
        why: why it is this one and not a newer one.
        packaged: releases of distributions ("debian-12") and the Pythons that apt installs there, as "3.11".
        sources: where the facts come from.
    """

    schema: Literal[1]
    version: Annotated[str, msgspec.Meta(pattern=r"^3\.[0-9]+$")]
    uv: str
    debs: DebSet
    why: str
    packaged: dict[str, tuple[str, ...]] = {}
    sources: tuple[str, ...] = ()


class GccRelease(Table, frozen=True, kw_only=True):
    """A host compiler as unpacked Debian packages, for machines that have none in range.

    Attributes:
        schema: version of this file's shape.
        version: major version.
        debs: gcc, g++, binutils, C library headers and what they link to.
        sources: where the facts come from.
    """

    schema: Literal[1]
    version: int
    debs: DebSet
    sources: tuple[str, ...] = ()
