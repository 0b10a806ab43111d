"""The one budget of compile jobs: a GNU make job server that all steps of all packages share.

The server is a FIFO with one token for each job beyond the first. make 4.4, ninja 1.13 and cargo take a token for each
further job and put it back; the job that a client may always run needs none. Compilers besides wait for memory in their
launcher (bringup/launcher), which also keeps the number of running compilers at the limit: with several clients, or one
that does not take part, there would be more. Limits change there too, since a busy ninja gives no token back in time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
import termios
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from bringup.system.groups import start_time
from bringup.system.jobclients import UNCOUNTED, Client, can_count, find_clients
from bringup.system.jobcontrol import Control, read_control, write_control
from bringup.system.jobledger import Ledger, Sample
from bringup.system.jobtable import change_debt, create_table, drop_entries, read_table

PERIOD = 0.3
# A client opens the pipe before it starts its first job. One that runs several jobs after this time without it has not.
PATIENCE = 1.0


class JobServer:
    """Owns the FIFO, the launchers' table and the thread that watches over both.

    Args:
        control: limits to start with; changed while it runs with `bringup.system.jobcontrol.change`.
        roots: tells the processes whose descendants are clients.
        say: tells people of a client that does not take part, or of tokens that were lost.
        parent: folder for its files; the system's temporary folder if None. It must be on a local disk.
    """

    def __init__(
        self,
        control: Control,
        *,
        roots: Callable[[], Iterable[int]],
        say: Callable[[str], None],
        parent: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bringup-jobs-", dir=parent)).resolve()
        self.pipe = self.folder / "pipe"
        self.table = self.folder / "table"
        os.mkfifo(self.pipe, 0o600)
        create_table(self.table)
        write_control(self.folder, control)
        self._jobs = control.jobs
        self._roots = roots
        self._say = say
        self._end = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._ledger = Ledger(tokens=control.jobs - 1)
        self._told: set[tuple[str, str]] = set()
        self._counts = can_count()
        self._stop = threading.Event()
        self._put(control.jobs - 1)
        self._thread = threading.Thread(target=self._watch, name="jobserver", daemon=True)
        self._thread.start()

    @property
    def makeflags(self) -> str:
        """MAKEFLAGS for clients."""
        return f" -j{self._jobs} --jobserver-auth=fifo:{self.pipe}"

    def level(self) -> int:
        """Return how many tokens are in the pipe."""
        return int(struct.unpack("i", fcntl.ioctl(self._end, termios.FIONREAD, b"\0\0\0\0"))[0])

    def close(self) -> None:
        """Stop watching and remove the files."""
        self._stop.set()
        self._thread.join()
        os.close(self._end)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            with contextlib.suppress(OSError):  # a process or a file that goes away while one looks
                self.tend()

    def tend(self) -> None:
        """Look once: follow a change of limits, reap the dead, take out what is owed, put back what was lost."""
        self._follow(read_control(self.folder))
        entries, debt = read_table(self.table)
        dead = {(entry.pid, entry.start) for entry in entries if start_time(entry.pid) != str(entry.start)}
        if dead:
            drop_entries(self.table, dead)
            entries, debt = read_table(self.table)
        if debt:
            change_debt(self.table, -self._take(debt))
        clients = find_clients(self._roots(), self.pipe)
        for client in clients:
            self._check(client)
        level, (entries, debt) = self.level(), read_table(self.table)
        change = self._ledger.balance(
            Sample(
                level=level,
                children={client.pid: client.children for client in clients if client.takes_part},
                donated=sum(entry.donated for entry in entries),
                owed=debt,
                sure=self._counts and not any(client.name in UNCOUNTED for client in clients),
            )
        )
        if change > 0:
            self._put(change)
            self._say(f"job tokens put back after a program that held them was killed: {change}")
        elif change < 0:
            self._take(-change)

    def _follow(self, control: Control) -> None:
        more, self._jobs = control.jobs - self._jobs, control.jobs
        if not more:
            return
        self._ledger.resize(control.jobs - 1)
        if more > 0:
            owed = read_table(self.table)[1]
            change_debt(self.table, -more)
            self._put(max(0, more - owed))
        else:
            change_debt(self.table, -more)

    def _check(self, client: Client) -> None:
        if client.takes_part or client.children < 2 or client.age < PATIENCE:
            return
        flag = f"{client.jobs_flag} on its command line switches that off" if client.jobs_flag else ""
        why = flag or "it did not open the pipe: too old for one, or without MAKEFLAGS"
        if (client.name, why) in self._told:  # a build system may start many of them
            return
        self._told.add((client.name, why))
        self._say(f"{client.name} (process {client.pid}) does not take part in the job budget ({why})")

    def _put(self, count: int) -> None:
        if count > 0:
            os.write(self._end, b"+" * count)

    def _take(self, count: int) -> int:
        try:
            return len(os.read(self._end, count)) if count > 0 else 0
        except BlockingIOError:
            return 0
