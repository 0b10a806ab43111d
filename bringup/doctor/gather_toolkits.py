"""Facts about CUDA toolkits, compilers and other programs that something may pick up."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from packaging.version import Version

from bringup.doctor.facts import Program, Question, ToolkitFacts
from bringup.doctor.places import Places
from bringup.doctor.rules import rules
from bringup.errors import BringupError
from bringup.model.toolchain import CudaRelease
from bringup.planning.tools import toolkit_groups
from bringup.survey import pick_gcc
from bringup.system.downloads import DownloadCache
from bringup.toolchain.cuda_system import COMPILERS, find_system, header_version, nvcc_version
from bringup.toolchain.host_compiler import SYSTEM_PATH, find_gcc
from bringup.toolchain.interpreter import PythonPlaces
from bringup.toolchain.programs import FoundProgram, find_program
from bringup.toolchain.python import provide_python

NAMED = ("CUDA_HOME", "CUDA_PATH")
LIBRARY_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib")
COMPILER_VARIABLES = ("CC", "CXX", "CUDAHOSTCXX", "NVCC_CCBIN")
CUDA_LIBRARY = re.compile(r"lib(?:cudart|cudnn|nccl|cublas|cublasLt|nvrtc|cuda|nvshmem_host)\.so(?:\.\d+)*")


def gather_toolkits(question: Question, places: Places) -> tuple[ToolkitFacts, ...]:
    """Return every toolkit that the environment or the usual places name, in the order they would be taken."""
    groups = toolkit_groups(question.packages)
    found: dict[Path, tuple[Path, list[str], bool]] = {}
    for root, origin, distribution in _candidates(question.release, places):
        real = root.resolve()
        if real in found:
            found[real][1].extend([origin] if origin not in found[real][1] else [])
        else:
            found[real] = (root, [origin], distribution)
    return tuple(
        _examine(root, tuple(origins), groups, places, distribution=distribution)
        for root, origins, distribution in found.values()
    )


def _candidates(release: CudaRelease, places: Places) -> Iterator[tuple[Path, str, bool]]:
    for name in NAMED:
        if places.env.get(name):
            yield Path(places.env[name]), name, False
    nvcc = places.which("nvcc")
    if nvcc is not None:
        root, distribution = _root_of(nvcc, places)
        yield root, "PATH", distribution
    data = release.providers.system
    for text in (*(data.paths if data else ()), "/usr/local/cuda"):
        path = places.under(text)
        if path.is_dir() or path.is_symlink():
            yield path, "usual place", False


def _root_of(nvcc: Path, places: Places) -> tuple[Path, bool]:
    """Return the toolkit that an nvcc on PATH belongs to; it may be a script that starts the real one."""
    real = nvcc.resolve()
    with contextlib.suppress(OSError):
        head = real.read_bytes()[:2048]
        started = re.search(rb"^\s*exec\s+['\"]?(/[^\s'\"]+/bin/nvcc)\b", head, re.MULTILINE)
        if head.startswith(b"#!") and started and Path(started[1].decode()).exists():
            real = Path(started[1].decode()).resolve()
    apart = places.under("usr/lib/nvidia-cuda-toolkit")
    if real.is_relative_to(apart) or real.parent == places.under("usr/bin").resolve():
        return places.under("usr"), True
    return real.parent.parent, False


def _examine(
    root: Path, origins: tuple[str, ...], groups: Iterable[str], places: Places, *, distribution: bool
) -> ToolkitFacts:
    if not root.is_dir():
        links = (root,) if root.is_symlink() else ()
        return ToolkitFacts(root=root, origins=origins, exists=False, broken_links=links)
    nvcc = nvcc_version(root, places.facts) if (root / "bin/nvcc").is_file() else ""
    headers = header_version(root)
    parts = [] if distribution else [name for name in COMPILERS if not (root / name).is_file()]
    if not distribution and not any((root / folder / "libcudart.so").exists() for folder in LIBRARY_FOLDERS):
        parts.append("lib64/libcudart.so")
    return ToolkitFacts(
        root=root,
        origins=origins,
        exists=True,
        nvcc=nvcc,
        headers=headers,
        missing_parts=tuple(parts),
        missing_headers=tuple(_missing_headers(root, headers or ".".join(nvcc.split(".")[:2]), set(groups))),
        broken_links=tuple(_broken_links(root)) if not distribution else (),
        distribution=distribution,
    )


def _missing_headers(root: Path, release: str, groups: set[str]) -> Iterator[str]:
    for header in rules().headers:
        if header.group and header.group not in groups:
            continue
        if header.since and release and Version(release) < Version(header.since) and header.name != "cuda_fp8.h":
            continue  # cuda_fp8.h is missed in older toolkits as well: kernels want it whatever the release
        if not any((root / folder / header.name).exists() for folder in header.folders):
            yield header.name


def _broken_links(root: Path) -> Iterator[Path]:
    for folder in (root, root / "bin", root / "lib64", root / "nvvm"):
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - hundreds of entries
                    yield Path(entry.path)


def rooted(release: CudaRelease, root: Path) -> CudaRelease:
    """Return a release whose usual places lie below another root."""
    data = release.providers.system
    if data is None or root == Path("/"):
        return release
    moved = msgspec.structs.replace(data, paths=tuple(str(root / path.lstrip("/")) for path in data.paths))
    return msgspec.structs.replace(release, providers=msgspec.structs.replace(release.providers, system=moved))


def usable_toolkit(question: Question, places: Places) -> tuple[str, str]:
    """Return in words the installed toolkit that a build would take, and why those that are there do not do."""
    try:
        found = find_system(
            rooted(question.release, places.root),
            groups=toolkit_groups(question.packages),
            facts=places.facts,
            user_env=places.env,
        )
    except BringupError as exc:
        return "", exc.message
    return f"nvcc {found.version} at {found.root}", ""


def usable_compiler(question: Question, places: Places) -> tuple[str, str]:
    """Return in words the host compiler that a build would take, and why those that are there do not do."""
    search = tuple(places.under(folder) for folder in SYSTEM_PATH)
    if question.host_compiler != "debs":
        try:
            found = find_gcc(question.release.host, search=search, facts=places.facts, cuda=question.release.version)
        except BringupError as exc:
            refused = exc.message
        else:
            return f"gcc {found.version} at {found.gcc}", ""
    else:
        refused = ""
    if question.host_compiler in ("", "debs"):
        with contextlib.suppress(BringupError):
            unpacked = pick_gcc(question.release, question.gccs)
            return f"gcc {unpacked.version}, unpacked from Debian's packages", refused
    return "", refused


def usable_python(question: Question, places: Places) -> str:
    """Return in words the interpreter that target environments would be made of; "" if none is here."""
    made = PythonPlaces(
        dest_root=places.build / "toolchains",
        cache=DownloadCache(places.cache / "downloads"),
        facts=places.facts,
        user_env=places.env,
        offline=True,
    )
    with contextlib.suppress(BringupError):
        found = provide_python(question.python, made, providers=("system", "uv"))
        return f"Python {found.version} at {found.executable}"
    return ""


def gather_compilers(places: Places) -> tuple[Program, ...]:
    """Return the compilers that tools pick up by variable or plain name."""
    named = [(name, places.env[name].split()[0]) for name in COMPILER_VARIABLES if places.env.get(name, "").strip()]
    found = []
    for origin, text in [*named, ("PATH", "gcc"), ("PATH", "g++"), ("PATH", "cc")]:
        path = places.which(text)
        if path is None:
            if origin != "PATH":
                found.append(Program(path=Path(text), origin=origin, version=""))
            continue
        version = places.version(path, ("-dumpfullversion", "-dumpversion"), r"^\d+(?:\.\d+)*")
        # "?" is one that is there and does not say, such as clang.
        found.append(Program(path=path, origin=origin, version=version or "?"))
    return tuple(found)


def gather_ptxas(toolkits: Iterable[ToolkitFacts], packages: Iterable[Path], places: Places) -> tuple[Program, ...]:
    """Return every ptxas: the toolkits', the one on PATH, Triton's own, and those that its variables name."""
    wanted: list[tuple[Path, str]] = []
    for name in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"):
        if places.env.get(name):
            wanted.append((Path(places.env[name]), name))
    on_path = places.which("ptxas")
    wanted += [(on_path, "PATH")] if on_path else []
    wanted += [(one.root / "bin/ptxas", "/".join(one.origins)) for one in toolkits]
    wanted += [(path / "triton/backends/nvidia/bin/ptxas", "Triton") for path in packages]
    wanted += [(path / "triton/backends/nvidia/bin/ptxas-blackwell", "Triton, Blackwell") for path in packages]
    found: dict[Path, Program] = {}
    for path, origin in wanted:
        named = origin.startswith("TRITON_")
        if (path.is_file() or named) and path.resolve() not in found:
            version = places.version(path, pattern=r"release (\d+\.\d+)") if path.is_file() else ""
            found[path.resolve()] = Program(path=path, origin=origin, version=version)
    return tuple(found.values())


def gather_tools(places: Places) -> dict[str, Program]:
    """Return git, cmake, ninja and ldconfig as far as they are there."""
    found = {}
    for name in ("git", "cmake", "ninja", "ldconfig"):
        path = places.which(
            name, *((str(places.under("sbin")), str(places.under("usr/sbin"))) if name == "ldconfig" else ())
        )
        if path is not None:
            version = "" if name == "ldconfig" else places.version(path)
            found[name] = Program(path=path, origin="PATH", version=version)
    return found


def missing_tools(question: Question, places: Places) -> dict[str, FoundProgram]:
    """Return those programs that recipes want and that are not here, do not run or are too old."""
    missing = {}
    for package in question.packages.values():
        for tool in package.build.tools if package.built else ():
            found = find_program(tool, facts=places.facts, env=places.env)
            if found.path is None:
                missing[tool] = found
    return missing


def library_path(places: Places) -> tuple[Path, ...]:
    """Return the CUDA libraries in the folders of LD_LIBRARY_PATH."""
    found = []
    for text in places.env.get("LD_LIBRARY_PATH", "").split(":"):
        with contextlib.suppress(OSError):
            if text.startswith("/"):
                found += [Path(text, name) for name in sorted(os.listdir(text)) if CUDA_LIBRARY.fullmatch(name)]  # noqa: PTH208
    return tuple(found)
