"""Facts about an existing Python environment, read from its files: nothing of it is run or imported."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from bringup.doctor.facts import Question, Site
from bringup.doctor.places import Places
from bringup.doctor.rules import rules
from bringup.errors import BringupError, UsageError
from bringup.formats.distribution_name import plain
from bringup.formats.record import parse_record
from bringup.verify.conflicts import find_conflicts

_FLOOR = re.compile(r"""assert_pkg_version\(\s*["']([\w.-]+)["'],\s*["']([^"']+)["']""")
_FIELD = re.compile(r"^__version__\s*=\s*['\"]([^'\"]+)['\"]|^cuda(?::[^=]*)?\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
# Distributions that a user's own site-packages may put before the environment's with bad results.
_SHADOWING = (
    "torch",
    "torchvision",
    "triton",
    "flashinfer-python",
    "sglang",
    "sglang-kernel",
    "sgl-kernel",
    "transformers",
)


def gather_site(question: Question, places: Places) -> Site | None:
    """Return what is in the environment that was asked for.

    Raises:
        UsageError: there is no Python environment.
    """
    if question.environment is None:
        return None
    prefix, packages = locate(question.environment)
    config = _config(prefix)
    inherits = config.get("include-system-site-packages", "").lower() == "true"
    roots = [packages, *(_system_sites(config, packages) if inherits else ())]
    versions: dict[str, str] = {}
    doubled: list[str] = []
    for root in roots:
        seen: set[str] = set()
        for name, version in distributions(root):
            if name in seen:
                doubled.append(name)
            seen.add(name)
            versions.setdefault(name, version)
    torch, torch_cuda = _torch(roots)
    minor = packages.parent.name.removeprefix("python")
    python = config.get("version_info") or config.get("version") or minor
    return Site(
        prefix=prefix,
        packages=packages,
        python=".".join(python.split(".")[:3]),
        has_headers=_has_headers(prefix, config, ".".join(python.split(".")[:2]), places),
        versions=versions,
        doubled=tuple(sorted(doubled)),
        leftovers=tuple(sorted(path.name for path in packages.glob("~*"))),
        missing_files=_missing_files(packages, versions),
        torch=torch,
        torch_cuda=torch_cuda,
        floors=_floors(roots),
        conflicts=tuple(_conflicts(packages, question, versions)),
        absent=tuple(_absent(roots, versions)),
        user_site=_user_site(python, places, shown=inherits or not config),
        ours=_constraints(prefix),
        programs=frozenset(path.name for path in (prefix / "bin").glob("*")),
    )


def locate(where: Path) -> tuple[Path, Path]:
    """Return prefix and site-packages of an environment named by its folder, its Python or its site-packages.

    Raises:
        UsageError: there is none.
    """
    path = where.expanduser().absolute()
    if path.is_file():
        path = path.parent.parent
    if path.name in ("site-packages", "dist-packages"):
        return path.parent.parent.parent, path
    for pattern in ("lib/python3.*/site-packages", "lib/python3*/dist-packages", "local/lib/python3.*/dist-packages"):
        found = sorted(path.glob(pattern))
        if found:
            return path, found[-1]
    msg = f"--env {where}: no Python environment (no lib/python3.*/site-packages)"
    raise UsageError(msg, hint="name the folder of a venv or conda environment, or its bin/python")


def distributions(packages: Path) -> Iterator[tuple[str, str]]:
    """Yield normalised name and version of every dist-info folder."""
    for info in sorted(packages.glob("*.dist-info")):
        name, dash, version = info.name.removesuffix(".dist-info").rpartition("-")
        if dash and not name.startswith("~"):
            yield plain(name), version


def _config(prefix: Path) -> dict[str, str]:
    try:
        lines = (prefix / "pyvenv.cfg").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def _system_sites(config: Mapping[str, str], packages: Path) -> list[Path]:
    base = Path(config.get("home", "/usr/bin")).parent
    minor = packages.parent.name
    names = (f"local/lib/{minor}/dist-packages", f"lib/{minor}/site-packages", "lib/python3/dist-packages")
    return [base / name for name in names if (base / name).is_dir()]


def _torch(roots: Sequence[Path]) -> tuple[str, str]:
    for root in roots:
        with contextlib.suppress(OSError):
            text = (root / "torch/version.py").read_text("utf-8", "replace")
            pairs = _FIELD.findall(text)
            return next((a for a, _ in pairs if a), ""), next((b for _, b in pairs if b), "")
    return "", ""


def _floors(roots: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    for root in roots:
        with contextlib.suppress(OSError):
            text = (root / "sglang/srt/entrypoints/engine.py").read_text("utf-8", "replace")
            return tuple((plain(name), version) for name, version in _FLOOR.findall(text))
    return ()


def _has_headers(prefix: Path, config: Mapping[str, str], minor: str, places: Places) -> bool | None:
    home = config.get("home")
    bases = [prefix, *([Path(home).parent] if home else [])]
    interpreter = prefix / "bin/python"
    if interpreter.exists():
        bases.append(interpreter.resolve().parent.parent)
    if len(bases) == 1:
        return None
    bases.append(places.under("usr"))
    return any((base / f"include/python{minor}/Python.h").exists() for base in bases)


def _missing_files(packages: Path, versions: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    missing = {}
    for name in rules().examined:
        if name not in versions:
            continue
        for record in packages.glob(f"{name.replace('-', '_')}-*.dist-info/RECORD"):
            with contextlib.suppress(OSError, BringupError):
                entries = parse_record(record.read_text("utf-8", "replace"))
                gone = [
                    one.path for one in entries if not one.path.endswith(".pyc") and not (packages / one.path).exists()
                ]
                if gone:
                    missing[name] = tuple(gone[:5])
    return missing


def _absent(roots: Sequence[Path], versions: Mapping[str, str]) -> Iterator[str]:
    """Yield `issue|text` for files that must be there."""
    for rule in rules().runtime_files:
        want = Requirement(rule.package)
        have = versions.get(plain(want.name))
        if have is None or not want.specifier.contains(have, prereleases=True):
            continue
        if not any((root / path).exists() for root in roots for path in rule.paths):
            yield f"{rule.issue}|{rule.paths[0]}: {rule.why}"


def _conflicts(packages: Path, question: Question, versions: Mapping[str, str]) -> Iterator[str]:
    """Yield requirements that are not met; what the environment inherits from the system counts as installed."""
    for line in find_conflicts(packages, question.stack)[1]:
        wanted = line.partition(" wants ")[2].partition(", ")[0]
        missing = line.endswith("which is not installed")
        if not missing or plain(re.split(r"[<>=!~ ]", wanted, maxsplit=1)[0]) not in versions:
            yield line


def _user_site(python: str, places: Places, *, shown: bool) -> tuple[str, ...]:
    """Return what the user's own site-packages put first; a venv sees them only if it sees the system's."""
    if not shown or places.env.get("PYTHONNOUSERSITE"):
        return ()
    minor = ".".join(python.split(".")[:2])
    base = Path(places.env.get("PYTHONUSERBASE") or places.home / ".local")
    return tuple(
        f"{name} {version}"
        for name, version in distributions(base / f"lib/python{minor}/site-packages")
        if name in _SHADOWING or name.startswith("nvidia-")
    )


def _constraints(prefix: Path) -> dict[str, str]:
    """Return what an environment of ours was made with: constraints.txt names our wheels."""
    ours = {}
    with contextlib.suppress(OSError):
        for line in (prefix / "constraints.txt").read_text("utf-8", "replace").splitlines():
            found = re.match(r"([\w.-]+)\s*==\s*(\S+)", line)
            if found:
                ours[plain(found[1])] = found[2]
    return ours
