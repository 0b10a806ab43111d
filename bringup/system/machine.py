"""What this computer has: processors, memory, disk, architecture; limits of cgroups and allocations included."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Resources a run may use.

    Attributes:
        arch: CPU architecture, "x86_64".
        cores: processors this process may run on, cgroup quota included.
        memory_bytes: memory it may use: the smallest of the host's and the cgroups' limits.
        available_bytes: memory free for use now.
    """

    arch: str
    cores: int
    memory_bytes: int
    available_bytes: int


def this_machine() -> Machine:
    """Read the figures of this computer."""
    total, available = _meminfo()
    limit, used = _cgroup_memory()
    if limit:
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return Machine(arch=platform.machine(), cores=_cores(), memory_bytes=total, available_bytes=available)


def _cores() -> int:
    cores = len(os.sched_getaffinity(0))
    for path in _cgroup_files("cpu.max"):
        quota, _, period = path.read_text().strip().partition(" ")
        if quota != "max" and period.isdigit():
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _meminfo() -> tuple[int, int]:
    figures: dict[str, int] = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        figures[name] = int(rest.split()[0]) * 1024
    return figures["MemTotal"], figures.get("MemAvailable", figures["MemFree"])


def _cgroup_memory() -> tuple[int, int]:
    """Return the tightest memory limit of the cgroups this process is in and what they use; 0, 0 without one."""
    best, used = 0, 0
    for name, current in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for path in _cgroup_files(name):
            text = path.read_text().strip()
            if text.isdigit() and int(text) < 1 << 60 and (not best or int(text) < best):
                best = int(text)
                usage = path.with_name(current)
                used = int(usage.read_text()) if usage.exists() else 0
    return best, used


def _cgroup_files(name: str) -> list[Path]:
    """Return this file in the cgroup of the process and in every one above it (v2 and v1 memory)."""
    found = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        root = Path("/sys/fs/cgroup") / ("memory" if "memory" in controllers.split(",") else "")
        place = root / inner.lstrip("/")
        while True:
            file = place / name
            if file.is_file():
                found.append(file)
            if place == root or root not in place.parents:
                break
            place = place.parent
    return found
