"""Limits of a running build: shown, and changed while it runs."""

from __future__ import annotations

import math
from pathlib import Path

from bringup.errors import UsageError
from bringup.system.jobbudget import MARK, read_mark
from bringup.system.jobcontrol import Control, change, renice
from bringup.system.jobtable import read_table

GIB = 1 << 30


def running_builds(build: Path) -> dict[str, Path]:
    """Return the folders with the limits of the builds that run in a build directory, by target."""
    found = {}
    for mark in sorted(build.glob(f"*/{MARK}")):
        known = read_mark(mark.parent)
        if known is not None and known[1]:
            found[mark.parent.name] = known[0]
    return found


def set_limits(build: Path, target: str, *, jobs: int, memory_gib: float, nice: int | None) -> list[str]:
    """Change what is not 0 or None, and return lines that tell what a running build may use and what runs now.

    Raises:
        UsageError: no build runs, several run and none is named, or a value makes no sense.
    """
    for name, value in (("jobs", jobs), ("memory", memory_gib)):
        if value < 0 or not math.isfinite(value):
            raise UsageError(f"--{name} {value:g}: wants a number above 0")
    if nice is not None and not -20 <= nice <= 19:
        raise UsageError(f"--nice {nice}: wants a number from -20 to 19")
    builds = running_builds(build)
    if not builds or (target and target not in builds):
        msg = f"no build of {target} runs in {build}" if target else f"no build runs in {build}"
        raise UsageError(msg, hint="--build-dir names another folder")
    if len(builds) > 1 and not target:
        msg = f"several builds run: {', '.join(builds)}"
        raise UsageError(msg, hint="name one with --target")
    name = target or next(iter(builds))
    folder = builds[name]
    control = change(folder, jobs=jobs or None, memory_bytes=int(memory_gib * GIB) if memory_gib else None, nice=nice)
    entries, _ = read_table(folder / "table")
    if nice is not None:
        for entry in entries:
            if entry.running and entry.child:
                renice(entry.child, nice)
    return [_limits(name, control), *_table(folder)]


def _limits(name: str, control: Control) -> str:
    nice = f", nice {control.nice}" if control.nice else ""
    return f"{name}: {control.jobs} jobs, {control.memory_bytes / GIB:.1f} GiB of memory{nice}"


def _table(folder: Path) -> list[str]:
    entries, _ = read_table(folder / "table")
    running = [entry for entry in entries if entry.running]
    lines = []
    for entry in running:
        reserved = max(entry.need_mib, entry.seen_mib) / 1024
        lines.append(f"  {reserved:5.1f} GiB reserved, {entry.seen_mib / 1024:.1f} seen  {entry.name}")
    waiting = len(entries) - len(running)
    return [*lines, f"  {len(running)} compilers run, {waiting} wait"]
