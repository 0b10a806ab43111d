"""What the benchmarks of the job budget share: ninja, a server with launchers, memory cgroups."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bringup.system.jobbudget import client_variables  # noqa: E402
from bringup.system.jobcontrol import Control  # noqa: E402
from bringup.system.jobserver import JobServer  # noqa: E402
from bringup.system.launcher import make_launcher, put_in_front  # noqa: E402
from bringup.system.machine import Kernel, this_machine  # noqa: E402
from bringup.system.pypi import find_uv  # noqa: E402

MIB = 1 << 20
NINJA = "ninja==1.13.0"
__all__ = ["Kernel", "put_in_front", "this_machine"]


def fetch_ninja(folder: Path) -> Path:
    """Return a ninja that takes part in a job server, from PyPI."""
    program = folder / "ninja" / "bin" / "ninja"
    if not program.exists():
        argv = [find_uv(), "pip", "install", "--quiet", "--target", folder / "ninja", NINJA]
        subprocess.run([str(word) for word in argv], check=True)
    return program


def launcher(folder: Path) -> Path:
    """Return the compiled launcher."""
    found, why = make_launcher(folder, ["cc"], dict(os.environ))
    if found is None:
        sys.exit(f"no launcher: {why}")
    return found


class Budget:
    """A job server, and the variables of builds that share it."""

    def __init__(self, jobs: int, memory_mib: int, *, folder: Path, gauges: Mapping[str, str] | None = None) -> None:
        self.roots: list[int] = []
        self.said: list[str] = []
        self.records = folder / "units.jsonl"
        control = Control(jobs=jobs, memory_bytes=memory_mib * MIB, gauges=gauges or {})
        self.server = JobServer(control, roots=lambda: list(self.roots), say=self.said.append)

    def environment(self, package: str, tree: Path) -> dict[str, str]:
        """Return the variables of one package's build."""
        ours = client_variables(self.server, package, tree, records=self.records, run="benchmark")
        return {**os.environ, **ours}


class Watch:
    """Samples the memory of process trees, ten times a second; for where there is no cgroup to ask."""

    def __init__(self, roots: list[int]) -> None:
        self.peak_kib = 0
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.peak_kib = max(self.peak_kib, sum(tree_kib(pid) for pid in list(self._roots)))


def tree_kib(pid: int) -> int:
    """Return the resident memory of a process and all below it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return pages * 4 + sum(tree_kib(int(child)) for child in children)


@contextmanager
def memory_cgroup(limit_mib: int) -> Iterator[Path]:
    """Give a cgroup (v1 or v2) below this process's own, with a limit; it is removed in the end.

    Raises:
        OSError: cgroups cannot be written here.
    """
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    old = next((inner for _, names, inner in lines if "memory" in names.split(",")), None)
    top = Path("/sys/fs/cgroup")
    own = top / "memory" / old.lstrip("/") if old is not None else top / lines[-1][2].lstrip("/")
    group = own / f"bringup-benchmark-{os.getpid()}"
    group.mkdir()
    try:
        name = "memory.limit_in_bytes" if old is not None else "memory.max"
        (group / name).write_text(str(limit_mib * MIB))
        yield group
    finally:
        for _ in range(50):
            for pid in (group / "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def resident_mib(group: Path) -> int:
    """Return the anonymous memory of a cgroup, which is what cannot be reclaimed."""
    values = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(values.get("total_rss", values.get("anon", 0))) // MIB


def kills(group: Path) -> int:
    """Return how many processes of a cgroup the kernel has killed for memory."""
    for name in ("memory.oom_control", "memory.events"):
        if (group / name).exists():
            values = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(values.get("oom_kill", 0))
    return 0


def cpu_seconds() -> float:
    """Return user and system seconds of all children that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_line(argv: Sequence[str | Path]) -> str:
    """Return the first line that a program says."""
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=True).stdout.split("\n")[
        0
    ]
