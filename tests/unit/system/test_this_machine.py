"""Processors and memory that a run may use: limits of cgroups of both kinds, in files as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bringup.system.machine import GIB, Kernel, this_machine

MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\nHugePages_Total: 0\n"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "own").write_text("0::/user/job\n")
    (tmp_path / "cg/user/job").mkdir(parents=True)
    return Kernel(meminfo=tmp_path / "meminfo", own=tmp_path / "own", cgroups=tmp_path / "cg")


def write(kernel: Kernel, **files: str) -> None:
    for name, text in files.items():
        folder, _, file = name.rpartition("__")
        path = kernel.cgroups / folder.replace("__", "/") / file.replace("_", ".", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_without_limits(kernel: Kernel):
    machine = this_machine(kernel)
    assert machine.memory_bytes == 16 * GIB
    assert machine.available_bytes == 8 * GIB
    assert machine.cores == len(os.sched_getaffinity(0))
    assert machine.arch == os.uname().machine


def test_limit_of_the_own_cgroup(kernel: Kernel):
    write(kernel, user__job__memory_max=str(4 * GIB), user__job__memory_current=str(GIB))
    machine = this_machine(kernel)
    assert (machine.memory_bytes, machine.available_bytes) == (4 * GIB, 3 * GIB)


def test_tightest_limit_of_all_above_wins(kernel: Kernel):
    write(kernel, user__job__memory_max=str(4 * GIB), user__memory_max=str(2 * GIB), user__memory_current=str(GIB))
    machine = this_machine(kernel)
    assert (machine.memory_bytes, machine.available_bytes) == (2 * GIB, GIB)


def test_max_is_no_limit_and_a_larger_one_changes_nothing(kernel: Kernel):
    write(kernel, user__job__memory_max="max", user__memory_max=str(64 * GIB))
    assert this_machine(kernel).memory_bytes == 16 * GIB


def test_more_used_than_allowed_leaves_nothing(kernel: Kernel):
    write(kernel, user__job__memory_max=str(GIB), user__job__memory_current=str(2 * GIB))
    assert this_machine(kernel).available_bytes == 0


def test_quota_of_processors(kernel: Kernel):
    write(kernel, user__job__cpu_max="100000 100000")
    assert this_machine(kernel).cores == 1
    write(kernel, user__job__cpu_max="50000 100000")
    assert this_machine(kernel).cores == 1, "half a processor is one job"
    write(kernel, user__job__cpu_max="max 100000")
    assert this_machine(kernel).cores == len(os.sched_getaffinity(0))


def test_first_version_of_cgroups(kernel: Kernel):
    kernel.own.write_text("11:memory:/slurm/job\n4:cpu,cpuacct:/\n")
    place = kernel.cgroups / "memory/slurm/job"
    place.mkdir(parents=True)
    (place / "memory.limit_in_bytes").write_text(f"{3 * GIB}\n")
    (place / "memory.usage_in_bytes").write_text(f"{GIB}\n")
    (kernel.cgroups / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    machine = this_machine(kernel)
    assert (machine.memory_bytes, machine.available_bytes) == (3 * GIB, 2 * GIB)


def test_without_cgroups_and_on_old_kernels(kernel: Kernel):
    kernel.own.unlink()
    kernel.meminfo.write_text("MemTotal: 1048576 kB\nMemFree: 524288 kB\n")
    machine = this_machine(kernel)
    assert (machine.memory_bytes, machine.available_bytes) == (GIB, GIB // 2)


def test_this_one_has_memory_and_processors():
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes >= machine.available_bytes > 0
