"""What this computer has: processors, memory, architecture; limits of cgroups and Slurm allocations included."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bringup.system.environ import process_environment

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Resources a run may use.

    Attributes:
        arch: CPU architecture, "x86_64".
        cores: processors this process may run on, cgroup quota included.
        memory_bytes: memory it may use: the smallest of the host's and the cgroups' limits.
        available_bytes: memory free for use now.
        cores_from: what sets the number of processors: "host", "affinity", "cgroup" or "Slurm".
        memory_from: what sets the memory: "host", "cgroup" or "Slurm".
        gauges: files of the kernel that tell memory and pressure while compilers run, by what they say.
    """

    arch: str
    cores: int
    memory_bytes: int
    available_bytes: int
    cores_from: str = "host"
    memory_from: str = "host"
    gauges: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """Where the kernel says what it has and what it allows."""

    meminfo: Path = Path("/proc/meminfo")
    own: Path = Path("/proc/self/cgroup")
    cgroups: Path = Path("/sys/fs/cgroup")
    pressure: Path = Path("/proc/pressure/memory")


def this_machine(kernel: Kernel | None = None, env: Mapping[str, str] | None = None) -> Machine:
    """Read the figures of this computer, or of what `kernel` names.

    Args:
        kernel: where the kernel says them.
        env: variables that Slurm sets in an allocation; those of this process if None.
    """
    kernel = kernel or Kernel()
    env = process_environment() if env is None else env
    total, available = _meminfo(kernel)
    memory_from = "host"
    group = _cgroup_memory(kernel)
    if group is not None:
        total, memory_from = min((total, "host"), (group.limit, "cgroup"))
        available = min(available, group.available)
    allocated = _slurm_memory(env)
    if allocated and allocated < total:
        total, memory_from = allocated, "Slurm"
        available = min(available, allocated)
    cores, cores_from = _cores(kernel, env)
    return Machine(
        arch=platform.machine(),
        cores=cores,
        memory_bytes=total,
        available_bytes=available,
        cores_from=cores_from,
        memory_from=memory_from,
        gauges=_gauges(kernel, group),
    )


def _cores(kernel: Kernel, env: Mapping[str, str]) -> tuple[int, str]:
    cores = len(os.sched_getaffinity(0))
    source = "host" if cores == os.cpu_count() else "affinity"
    for path in _cgroup_files(kernel, "cpu.max"):
        quota, _, period = path.read_text().strip().partition(" ")
        if quota != "max" and period.isdigit():
            cores, source = min((cores, source), (max(1, int(quota) // int(period)), "cgroup"))
    for path in _cgroup_files(kernel, "cpu.cfs_quota_us"):
        quota, length = path.read_text().strip(), path.with_name("cpu.cfs_period_us")
        if quota.isdigit() and length.is_file():
            cores, source = min((cores, source), (max(1, int(quota) // int(length.read_text())), "cgroup"))
    # The variables of sbatch and srun: SLURM_CPUS_ON_NODE counts what the job has here, CPUS_PER_TASK what a task has.
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK"):
        if env.get(name, "").isdigit() and int(env[name]):
            cores, source = min((cores, source), (int(env[name]), "Slurm"))
    return cores, source


def _slurm_memory(env: Mapping[str, str]) -> int:
    """Return the bytes of memory that Slurm has allocated on this node; 0 outside a job or if it set no limit."""
    node, each = env.get("SLURM_MEM_PER_NODE", ""), env.get("SLURM_MEM_PER_CPU", "")
    if node.isdigit() and int(node):
        return int(node) << 20
    cpus = env.get("SLURM_CPUS_ON_NODE", "")
    return (int(each) * int(cpus)) << 20 if each.isdigit() and cpus.isdigit() else 0


def _gauges(kernel: Kernel, group: _Group | None) -> dict[str, str]:
    found = dict(group.gauges) if group else {}
    own = next(iter(_cgroup_files(kernel, "memory.pressure")), None)
    pressure = own or kernel.pressure
    if pressure.is_file():
        found["psi"] = str(pressure)
    return {name: text for name, text in found.items() if "\n" not in text}


def _meminfo(kernel: Kernel) -> tuple[int, int]:
    figures: dict[str, int] = {}
    for line in kernel.meminfo.read_text().splitlines():
        name, _, rest = line.partition(":")
        figures[name] = int(rest.split()[0]) * 1024
    return figures["MemTotal"], figures.get("MemAvailable", figures["MemFree"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """The cgroup with the tightest memory limit of those this process is in."""

    limit: int
    available: int
    gauges: Mapping[str, str]


# Names of the files, and of the line that tells what can be reclaimed at once, in cgroup v2 and v1.
_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file "),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
)


def _cgroup_memory(kernel: Kernel) -> _Group | None:
    best: _Group | None = None
    for name, current, key in _MEMORY_FILES:
        for path in _cgroup_files(kernel, name):
            text = path.read_text().strip()
            if not text.isdigit() or int(text) >= 1 << 60 or (best and int(text) >= best.limit):
                continue
            usage, stat = path.with_name(current), path.with_name("memory.stat")
            used = int(usage.read_text()) if usage.exists() else 0
            found = re.search(rf"^{key}(\d+)$", stat.read_text(), re.MULTILINE) if stat.exists() else None
            used -= int(found[1]) if found else 0
            gauges = {"usage": str(usage), "limit": str(path), "stat": f"{stat} {key.strip()}"}
            best = _Group(limit=int(text), available=max(0, int(text) - max(0, used)), gauges=gauges)
    return best


def _cgroup_files(kernel: Kernel, name: str) -> list[Path]:
    """Return this file in the cgroup of the process and in every one above it (v2 and v1 memory)."""
    found = []
    try:
        lines = kernel.own.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        part = next((one for one in ("memory", "cpu") if one in controllers.split(",")), "")
        root = kernel.cgroups / part
        place = root / inner.lstrip("/")
        while True:
            file = place / name
            if file.is_file():
                found.append(file)
            if place == root or root not in place.parents:
                break
            place = place.parent
    return found
