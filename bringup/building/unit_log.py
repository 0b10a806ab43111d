"""What every compiled unit cost: a launcher before each compiler and linker writes it down, and this reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import PrepareError
from bringup.system import process
from bringup.system.fs import make_dir

SOURCE = Path(__file__).with_name("unit_launcher.c")
VARIABLE = "BRINGUP_UNIT_LOG"
COMPILERS = ("CMAKE_C_COMPILER_LAUNCHER", "CMAKE_CXX_COMPILER_LAUNCHER", "CMAKE_CUDA_COMPILER_LAUNCHER")
LINKERS = ("CMAKE_C_LINKER_LAUNCHER", "CMAKE_CXX_LINKER_LAUNCHER")


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitRun:
    """One run of a compiler or linker.

    Attributes:
        start: when it began, seconds since 1970.
        end: when it ended.
        cpu_seconds: user and system seconds of it and its children.
        peak_kib: memory of the largest process among them.
        status: its exit status; over 128 for a signal.
        output: the file it made, as the build system names it.
    """

    start: float
    end: float
    cpu_seconds: float
    peak_kib: int
    status: int
    output: str

    @property
    def compiles(self) -> bool:
        """Whether it made an object file."""
        return self.output.endswith(".o")


def unit_log(work: Path) -> Path:
    """Return the file that the launcher of a package writes to; it grows over all attempts."""
    return work / "units.log"


def launcher_environment(env: Mapping[str, str], work: Path, log: Path) -> dict[str, str]:
    """Compile the launcher and return the variables that put it before CMake's compilers and linkers.

    Args:
        env: environment of the build; a launcher that is there already comes after ours.
        work: the package's folder.
        log: log of the step.

    Raises:
        PrepareError: the host compiler cannot compile it.
    """
    program = make_dir(work / "bin") / "unit_launcher"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        argv: list[str | Path] = [env["CC"], "-O2", "-std=gnu11", "-o", program, SOURCE]
        process.run(argv, env=env, log=log, error=PrepareError, what="the compilers' launcher")
    found = {name: f"{program};{env[name]}" if env.get(name) else str(program) for name in (*COMPILERS, *LINKERS)}
    return {VARIABLE: str(unit_log(work)), **found}


def read_unit_log(path: Path) -> Iterator[UnitRun]:
    """Yield what a log says; a line that was cut off (a full disk, a crash) is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields = line.rstrip("\n").split("\t", 6)
            try:
                start, end, user, system = (float(one) for one in fields[:4])
                peak, status, output = int(fields[4]), int(fields[5]), fields[6]
            except (ValueError, IndexError):
                continue
            cpu = user + system
            yield UnitRun(start=start, end=end, cpu_seconds=cpu, peak_kib=peak, status=status, output=output)
