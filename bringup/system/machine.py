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


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """Where the kernel says what it has and what it allows."""

    meminfo: Path = Path("/proc/meminfo")
    own: Path = Path("/proc/self/cgroup")
    cgroups: Path = Path("/sys/fs/cgroup")


def this_machine(kernel: Kernel | None = None) -> Machine:
    """Read the figures of this computer, or of what `kernel` names."""
    kernel = kernel or Kernel()
    total, available = _meminfo(kernel)
    limit, used = _cgroup_memory(kernel)
    if limit:
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return Machine(arch=platform.machine(), cores=_cores(kernel), memory_bytes=total, available_bytes=available)


def _cores(kernel: Kernel) -> int:
    cores = len(os.sched_getaffinity(0))
    for path in _cgroup_files(kernel, "cpu.max"):
        quota, _, period = path.read_text().strip().partition(" ")
        if quota != "max" and period.isdigit():
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _meminfo(kernel: Kernel) -> tuple[int, int]:
    figures: dict[str, int] = {}
    for line in kernel.meminfo.read_text().splitlines():
        name, _, rest = line.partition(":")
        figures[name] = int(rest.split()[0]) * 1024
    return figures["MemTotal"], figures.get("MemAvailable", figures["MemFree"])


def _cgroup_memory(kernel: Kernel) -> tuple[int, int]:
    """Return the tightest memory limit of the cgroups this process is in and what they use; 0, 0 without one."""
    best, used = 0, 0
    for name, current in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for path in _cgroup_files(kernel, name):
            text = path.read_text().strip()
            if text.isdigit() and int(text) < 1 << 60 and (not best or int(text) < best):
                best = int(text)
                usage = path.with_name(current)
                used = int(usage.read_text()) if usage.exists() else 0
    return best, used


def _cgroup_files(kernel: Kernel, name: str) -> list[Path]:
    """Return this file in the cgroup of the process and in every one above it (v2 and v1 memory)."""
    found = []
    try:
        lines = kernel.own.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        root = kernel.cgroups / ("memory" if "memory" in controllers.split(",") else "")
        place = root / inner.lstrip("/")
        while True:
            file = place / name
            if file.is_file():
                found.append(file)
            if place == root or root not in place.parents:
                break
            place = place.parent
    return found
