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
    return Kernel(
        meminfo=tmp_path / "meminfo", own=tmp_path / "own", cgroups=tmp_path / "cg", pressure=tmp_path / "none"
    )


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


def test_what_sets_the_limits_is_told(kernel: Kernel):
    machine = this_machine(kernel, {})
    assert (machine.memory_from, machine.cores_from) == ("host", machine.cores_from)
    assert machine.cores_from in ("host", "affinity")
    write(kernel, user__job__memory_max=str(4 * GIB), user__job__memory_current="0", user__job__cpu_max="100000 100000")
    write(kernel, user__job__memory_stat="anon 5\ninactive_file 7")
    machine = this_machine(kernel, {})
    assert machine.memory_from == "cgroup"
    assert machine.cores_from == ("cgroup" if len(os.sched_getaffinity(0)) > 1 else machine.cores_from)
    group = kernel.cgroups / "user/job"
    assert machine.gauges == {
        "usage": f"{group}/memory.current",
        "limit": f"{group}/memory.max",
        "stat": f"{group}/memory.stat inactive_file",
    }


def test_pages_that_can_be_dropped_are_not_in_use(kernel: Kernel):
    write(kernel, user__job__memory_max=str(4 * GIB), user__job__memory_current=str(3 * GIB))
    write(kernel, user__job__memory_stat=f"anon {GIB}\ninactive_file {2 * GIB}")
    assert this_machine(kernel, {}).available_bytes == 3 * GIB


@pytest.mark.parametrize(
    ("env", "memory", "source"),
    [
        ({"SLURM_MEM_PER_NODE": "2048"}, 2 * GIB, "Slurm"),
        ({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "6"}, 3 * GIB, "Slurm"),
        ({"SLURM_MEM_PER_NODE": "0"}, 16 * GIB, "host"),
        ({"SLURM_MEM_PER_NODE": "9999999"}, 16 * GIB, "host"),
        ({"SLURM_MEM_PER_NODE": "2G"}, 16 * GIB, "host"),
    ],
)
def test_memory_of_a_slurm_job(kernel: Kernel, env: dict[str, str], memory: int, source: str):
    machine = this_machine(kernel, env)
    assert (machine.memory_bytes, machine.memory_from) == (memory, source)
    assert machine.available_bytes == min(memory, 8 * GIB)


def test_processors_of_a_slurm_job_and_of_the_first_cgroups(kernel: Kernel):
    assert this_machine(kernel, {"SLURM_CPUS_ON_NODE": "64", "SLURM_CPUS_PER_TASK": "1"}).cores == 1
    kernel.own.write_text("4:cpu,cpuacct:/job\n")
    place = kernel.cgroups / "cpu/job"
    place.mkdir(parents=True)
    (place / "cpu.cfs_quota_us").write_text("100000\n")
    (place / "cpu.cfs_period_us").write_text("100000\n")
    assert this_machine(kernel, {}).cores == 1


def test_without_cgroups_and_on_old_kernels(kernel: Kernel):
    kernel.own.unlink()
    kernel.meminfo.write_text("MemTotal: 1048576 kB\nMemFree: 524288 kB\n")
    machine = this_machine(kernel)
    assert (machine.memory_bytes, machine.available_bytes) == (GIB, GIB // 2)


def test_this_one_has_memory_and_processors():
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes >= machine.available_bytes > 0
