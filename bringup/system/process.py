"""The one place that starts other programs.

A command is a list of arguments with an explicit environment. Its output goes to a log file (when one is given)
and, line by line, to a callback; the tail is kept for error messages. Every command runs in a session of its own,
so that an interruption ends the whole tree of compilers and not only its root.
"""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from bringup.errors import BringupError, BuildError
from bringup.system.fs import make_dir, storage_errors
from bringup.system.groups import end_tree, start_time

TAIL_LINES = 200

_live: set[int] = set()
_live_lock = threading.Lock()
_groups: list[Path] = []
_waited = threading.local()


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """What a finished command left behind.

    Attributes:
        argv: the command as it was run.
        returncode: exit status; negative for a signal, as subprocess gives it.
        output: the last `TAIL_LINES` lines of stdout and stderr together.
        seconds: wall-clock seconds.
        cpu_seconds: user + system seconds of the command and the children it waited for.
        max_rss_kb: peak resident set of the largest single process in the tree, in KiB.
    """

    argv: tuple[str, ...]
    returncode: int
    output: str
    seconds: float
    cpu_seconds: float
    max_rss_kb: int


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    log: Path | None = None,
    check: bool = True,
    error: type[BringupError] = BuildError,
    what: str = "",
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run one command to its end.

    Args:
        argv: program and arguments; never a shell string.
        env: the whole environment of the command; nothing is inherited.
        cwd: working directory.
        log: file to append the command line and its output to.
        check: raise `error` on a non-zero status.
        error: class raised on failure.
        what: what this command is for, used in the message ("compile FlashInfer module page").
        timeout: seconds after which the command is ended and `error` raised.
        on_line: called with each line of output, without its newline.
        pass_fds: file descriptors that the child keeps open.

    Raises:
        BringupError: of class `error`, when the command fails, cannot be started or takes too long.
    """
    words = tuple(str(word) for word in argv)
    title = what or Path(words[0]).name
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    started = time.monotonic()
    sink = _open_log(log, words, cwd)
    try:
        process = _start(words, env=env, cwd=cwd, pass_fds=pass_fds, error=error, title=title)
        try:
            _pump(process, tail, sink, on_line, deadline=None if timeout is None else started + timeout)
        except TimeoutError:
            end_tree(process.pid)
            _reap(process)
            msg = f"{title} did not finish within {timeout:g} s"
            raise error(msg, hint=f"command: {shlex.join(words)}", log=str(log or "")) from None
        except BaseException:
            end_tree(process.pid)
            _reap(process)
            raise
        status, usage = _reap(process)
    finally:
        if sink is not None:
            sink.close()
    done = Completed(
        argv=words,
        returncode=status,
        output="\n".join(tail),
        seconds=time.monotonic() - started,
        cpu_seconds=usage[0],
        max_rss_kb=usage[1],
    )
    _waited.seconds = tool_seconds() + done.seconds
    _waited.cpu = tool_cpu_seconds() + done.cpu_seconds
    if check and status != 0:
        raise error(_failure_text(title, done), hint=_failure_hint(status), log=str(log or ""))
    return done


def tool_seconds() -> float:
    """Return the wall seconds that this thread has waited for commands so far; what is left of a step is ours."""
    return float(getattr(_waited, "seconds", 0.0))


def tool_cpu_seconds() -> float:
    """Return the CPU seconds of the commands that this thread has waited for so far."""
    return float(getattr(_waited, "cpu", 0.0))


def live() -> tuple[int, ...]:
    """Return the processes of the commands that are running."""
    with _live_lock:
        return tuple(_live)


def end_all() -> None:
    """End every command that is still running, with all its children."""
    with _live_lock:
        pids = list(_live)
    for pid in pids:
        end_tree(pid)


def record_groups(folder: Path | None) -> None:
    """Keep a file named after each running command in `folder`, so that a later run can end what a kill -9 left."""
    _groups.clear()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _groups.append(folder)


def _start(
    words: tuple[str, ...],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    pass_fds: Sequence[int],
    error: type[BringupError],
    title: str,
) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            words,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except OSError as exc:
        msg = f"{title}: cannot start {words[0]}: {exc.strerror or exc}"
        raise error(msg) from exc
    with _live_lock:
        _live.add(process.pid)
    for folder in _groups:
        with contextlib.suppress(OSError):
            (folder / str(process.pid)).write_text(start_time(process.pid))
    return process


def _pump(
    process: subprocess.Popen[bytes],
    tail: collections.deque[str],
    sink: IO[bytes] | None,
    on_line: Callable[[str], None] | None,
    deadline: float | None,
) -> None:
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            wait = None if deadline is None else deadline - time.monotonic()
            if wait is not None and wait <= 0:
                raise TimeoutError
            if not selector.select(wait):
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            if sink is not None:
                _write(sink, chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                _take(line, tail, on_line)
    if rest:
        _take(rest, tail, on_line)


def _take(line: bytes, tail: collections.deque[str], on_line: Callable[[str], None] | None) -> None:
    text = line.decode("utf-8", "replace").rstrip("\r")
    tail.append(text)
    if on_line is not None:
        on_line(text)


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, tuple[float, int]]:
    """Wait with wait4, because the usage of this one child is wanted and not that of all children."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        figures = (usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
    except ChildProcessError:
        process.wait()
        figures = (0.0, 0)
    finally:
        if process.stdout is not None:
            process.stdout.close()
        with _live_lock:
            _live.discard(process.pid)
        for folder in _groups:
            with contextlib.suppress(OSError):
                (folder / str(process.pid)).unlink(missing_ok=True)
    return process.returncode, figures


def _open_log(log: Path | None, words: tuple[str, ...], cwd: Path | None) -> IO[bytes] | None:
    if log is None:
        return None
    make_dir(log.parent)
    with storage_errors(log):
        sink = log.open("ab", buffering=0)  # with a buffer, what did not fit on the disk would fail again when closed
    where = f"(cd {shlex.quote(str(cwd))}) " if cwd else ""
    try:
        _write(sink, f"$ {where}{shlex.join(words)}\n".encode())
    except BaseException:
        sink.close()
        raise
    return sink


def _write(sink: IO[bytes], data: bytes) -> None:
    with storage_errors(Path(sink.name)):
        while data:
            data = data[sink.write(data) :]


def _failure_text(title: str, done: Completed) -> str:
    lines = [line for line in done.output.splitlines() if line.strip()][-12:]
    excerpt = "".join(f"\n    {line[:300]}" for line in lines)
    return f"{title} failed ({describe_status(done.returncode)}){excerpt}"


def describe_status(status: int) -> str:
    """Return 'exit status 2' or 'killed by SIGKILL' for a return code."""
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"


def _failure_hint(status: int) -> str:
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "the kernel killed it, most likely for memory: run again with fewer --jobs"
    return ""


def pass_through(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Run a command on the terminal itself, with its input and output, and return its exit status."""
    return subprocess.run([str(word) for word in argv], cwd=cwd, env=dict(env), check=False).returncode


def replace_this_process(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become another program, found on the PATH of `env`."""
    os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606
