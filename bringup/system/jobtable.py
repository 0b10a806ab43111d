"""The table of running and waiting compilers that launchers share, as bringup/launcher/admission.h defines it."""

from __future__ import annotations

import fcntl
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SLOTS = 1024
HEADER = struct.Struct("=IIQ176x")
SLOT = struct.Struct("=iiiIIIIIQQ144s")
VERSION = 1
WAITING, RUNNING = 1, 2
ALONE, DONATED = 1, 2
_DEBT = struct.Struct("=I")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One launcher that runs or waits.

    Attributes:
        running: the compiler runs; False while it waits.
        pid: process of the launcher.
        child: process of the compiler, or 0.
        alone: it runs while nothing else does, after having been killed for memory.
        donated: its token is back in the pool while it waits.
        need_mib: memory reserved for it.
        seen_mib: most memory that it was seen to take.
        start: start of the process in clock ticks since boot; tells reused ids apart.
        ticket: its place in the queue.
        name: package and file.
    """

    running: bool
    pid: int
    child: int
    alone: bool
    donated: bool
    need_mib: int
    seen_mib: int
    start: int
    ticket: int
    name: str


def create_table(path: Path) -> None:
    """Make an empty table."""
    path.write_bytes(HEADER.pack(VERSION, 0, 0) + bytes(SLOT.size * SLOTS))


def read_table(path: Path) -> tuple[list[Entry], int]:
    """Return the entries, in the order of the queue, and the tokens that are owed to the server."""
    data = path.read_bytes()
    _, debt, _ = HEADER.unpack_from(data)
    entries = []
    for index in range((len(data) - HEADER.size) // SLOT.size):
        state, pid, child, flags, need, seen, _, _, start, ticket, name = SLOT.unpack_from(
            data, HEADER.size + index * SLOT.size
        )
        if state in (WAITING, RUNNING):
            entries.append(
                Entry(
                    running=state == RUNNING, pid=pid, child=child,
                    alone=bool(flags & ALONE), donated=bool(flags & DONATED),
                    need_mib=need, seen_mib=seen, start=start, ticket=ticket,
                    name=name.partition(b"\0")[0].decode("utf-8", "replace"),
                )
            )  # fmt: skip
    return sorted(entries, key=lambda entry: entry.ticket), debt


def change_debt(path: Path, by: int) -> int:
    """Add to the tokens that are owed to the server, not below none; return what is owed then."""
    with _locked(path) as shared:
        debt = max(0, int(_DEBT.unpack_from(shared, 4)[0]) + by)
        _DEBT.pack_into(shared, 4, debt)
        return debt


def drop_entries(path: Path, gone: set[tuple[int, int]]) -> None:
    """Free the slots of these processes (id, start); a token that one had donated is owed from then on."""
    with _locked(path) as shared:
        for index in range(SLOTS):
            at = HEADER.size + index * SLOT.size
            state, pid, _, flags, _, _, _, _, start, _, _ = SLOT.unpack_from(shared, at)
            if state and (pid, start) in gone:
                if flags & DONATED:
                    _DEBT.pack_into(shared, 4, _DEBT.unpack_from(shared, 4)[0] + 1)
                struct.pack_into("=i", shared, at, 0)


@contextmanager
def _locked(path: Path) -> Iterator[mmap.mmap]:
    with path.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as shared:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield shared
