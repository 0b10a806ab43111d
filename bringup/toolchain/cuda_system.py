"""An installed CUDA toolkit (`system`): found through CUDA_HOME, the usual folders and environment modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import BringupError, TargetError
from bringup.model.toolchain import CudaRelease, SystemToolkit
from bringup.system.environ import base_environment
from bringup.toolchain.assemble import identity_of
from bringup.toolchain.facts import FactCache
from bringup.toolchain.toolkit import Toolkit, absent

ROOT_VARIABLES = ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDATOOLKIT_HOME")
# nvcc and the programs that make its output: another one of these makes other machine code.
COMPILERS = ("bin/nvcc", "bin/ptxas", "bin/cudafe++", "bin/fatbinary", "nvvm/bin/cicc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A folder that may be the toolkit, and what named it."""

    root: Path
    origin: str


def find_system(
    release: CudaRelease, *, groups: Iterable[str] = (), facts: FactCache, user_env: Mapping[str, str]
) -> Toolkit:
    """Return the installed toolkit of a release; a complete one whose parts are all of that release.

    Args:
        release: which one.
        groups: parts that must be installed, as far as the release's data says how to tell.
        facts: hashes and versions of files seen before.
        user_env: the user's environment.

    Raises:
        TargetError: none found, or those found are of another release or incomplete; each is named with its reason.
    """
    data = release.providers.system
    if data is None:
        raise absent(release, "system")
    refused: list[str] = []
    for candidate in _candidates(data, user_env):
        problem = examine(candidate.root, release, data, groups, facts)
        if not problem:
            return _toolkit(candidate.root, facts)
        refused.append(f"{candidate.root} ({candidate.origin}): {problem}")
    seen = "".join(f"\n  {line}" for line in refused) or f" (looked at CUDA_HOME, {', '.join(data.paths)})"
    msg = f"no usable CUDA {release.version} toolkit is installed{':' if refused else ''}{seen}"
    raise TargetError(msg, hint=_hint(release))


def examine(root: Path, release: CudaRelease, data: SystemToolkit, groups: Iterable[str], facts: FactCache) -> str:
    """Return what keeps a folder from being the toolkit of a release, "" if nothing does."""
    missing = [name for name in (*COMPILERS, "include/cuda.h") if not (root / name).is_file()]
    if missing:
        return f"has no {missing[0]}"
    version = nvcc_version(root, facts)
    if not version.startswith(f"{release.version}."):
        return f"nvcc is {version or 'of unknown version'}, not {release.version}"
    headers = header_version(root)
    if headers != release.version:
        return f"nvcc is {version}, but include/cuda.h is of CUDA {headers or 'unknown'}: a mixed installation"
    if not any((root / lib / "libcudart.so").exists() for lib in ("lib64", "lib", "targets/x86_64-linux/lib")):
        return "has no libcudart.so in lib64 (only the compiler is installed?)"
    lacking = sorted(g for g in groups if g in data.markers and not (root / data.markers[g]).is_file())
    if lacking:
        return f"lacks {', '.join(f'{group} ({data.markers[group]})' for group in lacking)}"
    return ""


def nvcc_version(root: Path, facts: FactCache) -> str:
    """Return what nvcc says it is, "13.0.88"; "" if it cannot be run."""
    nvcc = (root / "bin/nvcc").resolve()

    def probe() -> tuple[dict[str, str], list[Path]]:
        from bringup.system.process import run  # noqa: PLC0415 - what is known is not asked again

        try:
            done = run([root / "bin/nvcc", "--version"], env=base_environment(), error=TargetError, timeout=60)
        except BringupError:
            return {"version": ""}, [nvcc]
        match = re.search(r"\bV(\d+\.\d+\.\d+)", done.output)
        return {"version": match[1] if match else ""}, [nvcc]

    return facts.know(f"nvcc {root}", probe)["version"]


def header_version(root: Path) -> str:
    """Return the release that include/cuda.h is of, "13.0"; "" if it does not say."""
    try:
        text = (root / "include/cuda.h").read_text("utf-8", "replace")
    except OSError:
        return ""
    match = re.search(r"^#define\s+CUDA_VERSION\s+(\d+)", text, re.MULTILINE)
    return f"{int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}" if match else ""


def _toolkit(root: Path, facts: FactCache) -> Toolkit:
    version = nvcc_version(root, facts)
    parts = [f"{name}={facts.sha256(root / name)}" for name in (*COMPILERS, "include/cuda.h")]
    identity = identity_of("system", version, *parts)
    return Toolkit(provider="system", version=version, root=root, nvcc=root / "bin/nvcc", identity=identity)


def _candidates(data: SystemToolkit, user_env: Mapping[str, str]) -> Iterator[Candidate]:
    seen: set[Path] = set()
    named = [(Path(user_env[name]), name) for name in ROOT_VARIABLES if user_env.get(name)]
    listed = [(Path(path), "usual place") for path in data.paths]
    for path, origin in [*named, *listed]:
        if path.is_dir() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield Candidate(root=path, origin=origin)
        elif origin != "usual place" and not path.is_dir():
            yield Candidate(root=path, origin=f"{origin}, does not exist")
    if not user_env.get("MODULEPATH"):
        return
    from bringup.system.modules import module_environment  # noqa: PLC0415 - clusters alone have them

    for module in data.modules:
        loaded = module_environment(module, user_env)
        for name in ROOT_VARIABLES:
            path = Path(loaded.get(name, ""))
            if loaded.get(name) and path.is_dir() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield Candidate(root=path, origin=f"module {module}")


def _hint(release: CudaRelease) -> str:
    others = [name for name in ("wheels", "debs") if getattr(release.providers, name) is not None]
    install = f"install CUDA {release.release} and set CUDA_HOME to its folder"
    return f"--toolkit {others[0]} needs no installation; or {install}" if others else install
