"""What a run gives to its builds so that they share jobs and memory: variables, and a launcher for compilers."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bringup.system.fs import read_json, write_json
from bringup.system.groups import start_time
from bringup.system.jobserver import JobServer
from bringup.system.launcher import make_launcher

MARK = "jobs.json"


@contextmanager
def announce(root: Path, folder: Path) -> Iterator[None]:
    """Leave word in the target's folder, for as long as the block runs, of where limits can be changed.

    What a run that was killed left behind is removed.
    """
    mark = root / MARK
    stale = read_mark(root)
    if stale is not None:
        shutil.rmtree(stale[0], ignore_errors=True)
    write_json(mark, {"folder": str(folder), "pid": os.getpid(), "start": start_time(os.getpid())})
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def read_mark(root: Path) -> tuple[Path, bool] | None:
    """Return the folder of a build's limits, and whether that build still runs; None if there is none."""
    known = read_json(root / MARK)
    if not isinstance(known, dict) or "bringup-jobs-" not in str(known.get("folder")):
        return None
    pid = known.get("pid")
    alive = isinstance(pid, int) and start_time(pid) == known.get("start") != ""
    return Path(known["folder"]), alive and Path(known["folder"]).is_dir()


def client_variables(server: JobServer, package: str, tree: Path, *, records: Path, run: str) -> dict[str, str]:
    """Return the variables by which build tools find the job server, and the launcher the place of its records."""
    return {
        "MAKEFLAGS": server.makeflags,
        "BRINGUP_JOBS": str(server.folder),
        "BRINGUP_PACKAGE": package,
        "BRINGUP_TREE": str(tree),
        "BRINGUP_UNITS": str(records),
        "BRINGUP_RUN": run,
    }


class JobBudget:
    """The budget of one run.

    Args:
        server: the job server.
        records: file that each compiled unit adds a line to.
        cache: folder that keeps the compiled launcher.
        env: environment to compile it in.
        say: tells people once if there can be no launcher.
    """

    def __init__(
        self, server: JobServer, *, records: Path, cache: Path, env: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self.server = server
        self.records = records
        self.run = f"{int(time.time())}-{os.getpid()}"
        self._cache = cache
        self._env = env
        self._say = say
        self._lock = threading.Lock()
        self._tried: dict[tuple[str, ...], Path | None] = {}

    def launcher(self, compilers: Sequence[Path]) -> Path | None:
        """Return the launcher, compiled at the first call; None, and people are told so, if that is not possible."""
        with self._lock:
            names = tuple(str(compiler) for compiler in compilers)
            if names not in self._tried:
                found, why = make_launcher(self._cache, names, self._env)
                self._tried[names] = found
                if found is None:
                    self._say(f"no launcher for compilers, packages are built one after another: {why}")
            return self._tried[names]

    def environment(self, package: str, tree: Path) -> dict[str, str]:
        """Return the variables of a build of `package` whose files lie below `tree`."""
        return client_variables(self.server, package, tree, records=self.records, run=self.run)
