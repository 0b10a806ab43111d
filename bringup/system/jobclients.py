"""Who takes part in a job server: the makes, ninjas and cargos that were started, and whether they opened its pipe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

COUNTED = frozenset({"ninja", "samu", "make", "gmake"})
UNCOUNTED = frozenset({"cargo"})
_JOBS = re.compile(r"-j\s*\d*|--jobs(=.*)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """A program that may share the jobs.

    Attributes:
        pid: its process.
        name: "ninja".
        children: processes that it runs now.
        takes_part: it has the server's pipe open.
        age: seconds since it was started.
        jobs_flag: the -j on its command line, which switches ninja's part off; "" without one.
    """

    pid: int
    name: str
    children: int
    takes_part: bool
    age: float
    jobs_flag: str = ""


def can_count() -> bool:
    """Tell whether this kernel lists the children of a process (CONFIG_PROC_CHILDREN); nearly all do."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists()


def find_clients(roots: Iterable[int], pipe: Path) -> list[Client]:
    """Return the clients among the processes below `roots`, themselves included."""
    ticks = os.sysconf("SC_CLK_TCK")
    now = float(Path("/proc/uptime").read_text().split()[0])
    found = []
    for pid in _tree(roots):
        name, state, started = _stat(pid)
        if name not in COUNTED | UNCOUNTED or state in "ZX":
            continue
        words = _words(pid)
        if name == "ninja" and {"-n", "-t", "--version"} & set(words):
            continue
        found.append(
            Client(
                pid=pid,
                name=name,
                children=sum(_stat(child)[1] not in "ZX" for child in _children(pid)),
                takes_part=_has_open(pid, str(pipe)),
                age=now - started / ticks,
                jobs_flag=next((word for word in words[1:] if _JOBS.fullmatch(word)), ""),
            )
        )
    return found


def _tree(roots: Iterable[int]) -> Iterator[int]:
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += _children(pid)


def _children(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    except OSError:
        pass  # it is gone, and so are they
    return found


def _stat(pid: int) -> tuple[str, str, int]:
    """Return name, state and start in clock ticks since boot; a process that is gone is in state X."""
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return "", "X", 0
    fields = rest.split()
    return head.partition("(")[2], fields[0], int(fields[19])


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def _has_open(pid: int, path: str) -> bool:
    try:
        return any(_leads_to(link) == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _leads_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
