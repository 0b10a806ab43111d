"""Limits of a running build, in a file that launchers and the job server read again and again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bringup.system.fs import write_atomic

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """What may be used.

    Attributes:
        jobs: compilers at the same time.
        memory_bytes: memory that they may take together.
        nice: niceness that they are started with.
        usual_mib: memory reserved for a unit of which nothing else is known, by language: "c", "c++", "cuda", "link".
        gauges: files of the kernel by what they say: "usage" and "limit" of the cgroup, "stat" (with the key of what
            can be reclaimed), "psi".
    """

    jobs: int
    memory_bytes: int
    nice: int = 0
    usual_mib: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the file's text: one "name value" a line."""
        lines = [f"jobs {self.jobs}", f"memory_mib {self.memory_bytes // MIB}", f"nice {self.nice}"]
        lines += [f"lang_{name} {mib}" for name, mib in self.usual_mib.items()]
        lines += [f"{name} {where}" for name, where in self.gauges.items()]
        return "\n".join(lines) + "\n"


def write_control(folder: Path, control: Control) -> None:
    """Write the limits, in one go."""
    write_atomic(folder / "control", control.text())


def read_control(folder: Path) -> Control:
    """Read the limits."""
    values = dict(line.split(" ", 1) for line in (folder / "control").read_text().splitlines())
    return Control(
        jobs=int(values.pop("jobs")),
        memory_bytes=int(values.pop("memory_mib")) * MIB,
        nice=int(values.pop("nice")),
        usual_mib={name[5:]: int(value) for name, value in values.items() if name.startswith("lang_")},
        gauges={name: value for name, value in values.items() if not name.startswith("lang_")},
    )


def change(
    folder: Path, *, jobs: int | None = None, memory_bytes: int | None = None, nice: int | None = None
) -> Control:
    """Change limits of a running build; compilers that run are not interrupted, new ones wait."""
    control = read_control(folder)
    control = replace(
        control,
        jobs=control.jobs if jobs is None else jobs,
        memory_bytes=control.memory_bytes if memory_bytes is None else memory_bytes,
        nice=control.nice if nice is None else nice,
    )
    write_control(folder, control)
    return control


def renice(pid: int, nice: int) -> None:
    """Set the niceness of a process and of everything below it, as far as it is allowed."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            os.setpriority(os.PRIO_PROCESS, one, nice)
            waiting += [int(word) for word in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
