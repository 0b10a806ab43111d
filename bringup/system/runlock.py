"""One run at a time on one target's folder, and no compilers of a killed run left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from bringup.errors import BusyError
from bringup.system import process
from bringup.system.fs import make_dir, storage_errors
from bringup.system.groups import end_tree, start_time
from bringup.system.locks import file_lock


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Hold the target's folder for this process; children that a killed run left are ended first.

    Raises:
        BusyError: another run holds it; names its process.
        StorageError: the folder cannot be written.
    """
    make_dir(root)
    path = root / "lock"
    with storage_errors(path):
        handle = path.open("a+")
    with handle, ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, wait=False))
        except BlockingIOError as exc:
            raise _busy(handle, root) from exc
        _end_orphans(root)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()} since {time.strftime('%H:%M:%S')}\n")
        handle.flush()
        process.record_groups(root / "children")
        try:
            yield
        finally:
            process.record_groups(None)
            handle.seek(0)
            handle.truncate()


def _busy(handle: IO[str], root: Path) -> BusyError:
    handle.seek(0)
    who = handle.read().strip()
    msg = f"{root} is in use by another run" + (f" (process {who})" if who else "")
    return BusyError(msg, hint="wait for it, or build in another folder with --build-dir")


def _end_orphans(root: Path) -> None:
    """End process groups that a run killed with SIGKILL could not end; they would write into the same trees."""
    folder = root / "children"
    if not folder.is_dir():
        return
    for mark in folder.iterdir():
        pid = int(mark.name) if mark.name.isdigit() else 0
        if pid and start_time(pid) == mark.read_text():
            end_tree(pid)
        elif pid and not start_time(pid):
            end_tree(pid)  # the leader is gone, its group may not be
        mark.unlink(missing_ok=True)
