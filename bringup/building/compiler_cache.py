"""Puts the compiler cache in front of a build's compilers, tries it, and tells what it did."""

from __future__ import annotations

import collections
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bringup.context import Context
from bringup.errors import BuildError
from bringup.model.plan import Package, Step
from bringup.system import compilercache, process
from bringup.system.fs import make_dir, remove_tree, write_atomic

MAIN = Path(compilercache.__file__).with_name("__main__.py")
NAMES = ("gcc", "cc", "g++", "c++", "nvcc")
SHIM = """#!/bin/sh
[ -z "$BRINGUP_COMPILER_CACHE_INSIDE" ] || exec {program} "$@"
case " $* " in
*" -c "* | *" --compile "* | *" -dc "* | *" --device-c "*) exec {python} -I -S {main} {config} {name} "$@" ;;
esac
exec {program} "$@"
"""
SAMPLES = {"g++": "sample.cpp", "nvcc": "sample.cu"}


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheReport:
    """What the compiler cache did for a step.

    Attributes:
        hits: results that were there.
        misses: results that were made and kept.
        uncached: command lines that it does not know how to keep, by reason.
        failed: compilations that failed.
        unkept: results that were made but not kept.
        unshared: why results were not shared; "" if they were, or need not be.
    """

    hits: int = 0
    misses: int = 0
    uncached: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    unkept: int = 0
    unshared: str = ""

    def __str__(self) -> str:
        total = self.hits + self.misses + self.failed + self.unkept
        left = f", {sum(self.uncached.values())} command lines were not for it" if self.uncached else ""
        return f"compiler cache: {self.hits} of {total} results were there{left}"

    def facts(self) -> dict[str, object]:
        """Return the figures for records."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "failed": self.failed,
            "unkept": self.unkept,
            "uncached": dict(self.uncached),
        }


def wanted(package: Package, ctx: Context) -> bool:
    """Tell whether this build goes through the compiler cache; "auto" is off, see docs/how-to/caches.md."""
    return ctx.request.compiler_cache == "on" and package.build.backend != "repack"


def with_compiler_cache(package: Package, step: Step, ctx: Context, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a build whose compilers are the cache, if it is wanted.

    Raises:
        BuildError: it was asked for and does not work.
    """
    if not wanted(package, ctx):
        return dict(env)
    place = ctx.layout.build_env(package.name, step.fingerprint)
    front = place / "cached"
    programs = {name: place / "bin" / name for name in NAMES if (place / "bin" / name).exists()}
    put_in_front(front, programs, _config(package, ctx, place, programs))
    moved = {str(program): str(front / name) for name, program in programs.items()}
    changed = {key: moved.get(value, value) for key, value in env.items()}
    changed["PATH"] = f"{front}:{env['PATH']}"
    if "nvcc" in programs and package.build.cuda:
        # These take the nvcc of CUDA_HOME otherwise.
        changed |= {"PYTORCH_NVCC": str(front / "nvcc"), "FLASHINFER_NVCC": str(front / "nvcc")}
    for name, file in SAMPLES.items():
        if name in programs:
            _try(front, name, file, changed, ctx.layout.log(step.id))
    (front / "log").unlink(missing_ok=True)
    return changed


def put_in_front(front: Path, programs: Mapping[str, Path], config: Sequence[str]) -> None:
    """Make a folder of scripts that stand for compilers and ask the cache first.

    Args:
        front: the folder.
        programs: what to run by name.
        config: lines of `cache_lines` and `compiler_lines`.
    """
    remove_tree(front)
    make_dir(front / "spare")
    write_atomic(front / "config", "\n".join([*config, f"log\t{front / 'log'}", f"spare\t{front / 'spare'}"]) + "\n")
    for name, program in programs.items():
        words = {"program": program, "python": sys.executable, "main": MAIN, "config": front / "config"}
        quoted = {key: shlex.quote(str(value)) for key, value in words.items()}
        write_atomic(front / name, SHIM.format(name=name, **quoted))
        (front / name).chmod(0o755)


def _config(package: Package, ctx: Context, place: Path, programs: Mapping[str, Path]) -> list[str]:
    gcc, cuda = ctx.tools.gcc, ctx.tools.cuda
    assert gcc is not None
    identity = dict.fromkeys(programs, gcc.identity)
    drivers = {"gcc": [gcc.gcc], "cc": [gcc.gcc], "g++": [gcc.gxx], "c++": [gcc.gxx], "nvcc": [gcc.gxx]}
    if cuda is not None:
        identity["nvcc"] = f"{cuda.identity} {gcc.identity}"
        drivers["nvcc"].append(cuda.nvcc)
    places = [
        (ctx.layout.source(package.name), "@bringup-source"),
        (ctx.layout.work(package.name), "@bringup-work"),
        (place, "@bringup-env"),
        *([(cuda.root, "@bringup-cuda")] if cuda else []),
        (ctx.layout.toolchains, "@bringup-toolchains"),
        (ctx.layout.root, "@bringup-target"),
    ]
    real = [(folder.resolve(), name) for folder, name in places if folder.resolve() != folder]
    lines = cache_lines(ctx.layout.cache / "compiler", [*places, *real], share=ctx.request.compiler_cache_share)
    for name, program in programs.items():
        lines += compiler_lines(name, program, identity[name], drivers[name])
    return lines


def cache_lines(root: Path, places: Sequence[tuple[Path, str]], *, share: str = "") -> list[str]:
    """Return what the cache has to know: its folder, folders that lie elsewhere in another checkout, where to share."""
    return [f"root\t{root}", f"share\t{share}", *(f"place\t{folder}\t{name}" for folder, name in places)]


def compiler_lines(name: str, program: Path, identity: str, drivers: Sequence[Path]) -> list[str]:
    """Return what the cache has to know of a compiler: what to run, what it is by content, and how to see a change."""
    lines = [f"program {name}\t{program}", f"identity {name}\t{identity}"]
    for path in drivers:
        stat = path.stat()
        lines.append(f"stamp {name}\t{path.resolve()}\t{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}")
    return lines


def _try(front: Path, name: str, file: str, env: Mapping[str, str], log: Path) -> None:
    """Compile a small unit twice: the second time it has to come from the cache."""
    write_atomic(front / file, "int bringup_compiler_cache_sample;\n")
    host: list[str | Path] = ["-ccbin", front / "g++"] if name == "nvcc" else []
    argv: list[str | Path] = [front / name, "-c", file, "-o", "sample.o", *host]
    for _ in range(2):
        (front / "log").unlink(missing_ok=True)
        process.run(argv, env=env, cwd=front, log=log, error=BuildError, what=f"try the compiler cache with {name}")
    found = read_report(front)
    if found.hits != 1:
        why = ", ".join(found.uncached) or ("its result was not kept" if found.unkept else "its result was not found")
        msg = f"--compiler-cache on: the cache does not work with {name}: {why}"
        raise BuildError(msg, hint=f"look at {front.parent}, or build with --compiler-cache off", log=str(log))


def report_of(package: Package, step: Step, ctx: Context) -> CacheReport | None:
    """Return what the cache did in this step; None if it was not in it."""
    front = ctx.layout.build_env(package.name, step.fingerprint) / "cached"
    return read_report(front) if wanted(package, ctx) and (front / "config").exists() else None


def read_report(front: Path) -> CacheReport:
    """Add up the list that the compilations of a step left."""
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    log, off = front / "log", front / "spare/share-off"
    for line in log.read_text("utf-8", "replace").splitlines() if log.exists() else ():
        outcome, _, rest = line.partition("\t")
        counts[outcome] += 1
        if outcome == "uncached":
            reasons[rest.partition("\t")[0]] += 1
    return CacheReport(
        hits=counts["hit"],
        misses=counts["miss"],
        failed=counts["failed"],
        unkept=counts["unkept"],
        uncached=dict(reasons),
        unshared=off.read_text("utf-8", "replace") if off.exists() else "",
    )
