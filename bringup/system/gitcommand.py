"""Runs git: with its own settings only, without prompts, and never with a secret in an argument list or a log."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bringup.errors import FetchError, StorageError
from bringup.system import process
from bringup.system.giturl import check_url, is_local, redact, rewrite, split_credentials
from bringup.system.locks import NO_LOCKS

FULL_ID = re.compile(r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")
_KEPT = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY", "GIT_PROXY_SSL_CAINFO")
# Nothing from the user's or the machine's settings may change what is fetched or checked out.
_SETTINGS = (
    ("core.autocrlf", "false"),
    ("core.attributesFile", os.devnull),
    ("core.hooksPath", os.devnull),
    ("core.quotePath", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("protocol.allow", "never"),
    *((f"protocol.{name}.allow", "always") for name in ("https", "http", "ssh", "git")),
    # A transfer below 1000 bytes/s for 30 s is a broken one.
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
)


def _ignore(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GitAccess:
    """How repositories are reached in this run.

    Attributes:
        mirrors: folder in the cache that holds the bare mirrors.
        env: environment of the git commands; its GIT_* entries are dropped except for certificates.
        rewrites: (prefix, replacement) pairs, the longest matching prefix wins (`--mirror`).
        offline: use what the mirrors hold and nothing else.
        retries: further attempts after a first one that failed for a reason that may pass.
        backoff: seconds before the first further attempt; doubled each time.
        timeout: seconds that one git command may take.
        log: file that git's output is appended to.
        message: told about retries and fallbacks.
    """

    mirrors: Path
    env: Mapping[str, str]
    rewrites: tuple[tuple[str, str], ...] = ()
    offline: bool = False
    retries: int = 3
    backoff: float = 1.0
    timeout: float = 3600.0
    log: Path | None = None
    message: Callable[[str], None] = _ignore


class Failure(Enum):
    """Why a git command that talks to a server failed."""

    PASSING = "passing"  # worth another attempt
    REFUSED = "refused"  # the server does not hand out commits in this way; another way may do
    LASTING = "lasting"  # no such repository, no permission


_REFUSED = re.compile(
    r"unadvertised object|not our ref|dumb http transport does not support|does not support (?:shallow|filter)"
    r"|couldn't find remote ref|does not support --depth",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"could not read Username|Authentication failed|Permission denied|requested URL returned error: 40[0134]"
    r"|repository .* not found|Repository not found|does not appear to be a git repository|access denied or repository"
    r"|transport '.*' not allowed|certificate problem|Host key verification failed|no such repository",
    re.IGNORECASE,
)


def classify(output: str) -> Failure:
    """Tell from git's output whether another attempt or another way makes sense."""
    if _REFUSED.search(output):
        return Failure.REFUSED
    return Failure.LASTING if _LASTING.search(output) else Failure.PASSING


def git_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for git: no prompts, no settings of user or machine; proxies and certificates stay."""
    clean = {name: value for name, value in env.items() if not name.startswith("GIT_") or name in _KEPT}
    clean |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=15",
        "LC_ALL": "C.UTF-8",
    }
    return _with_settings(clean, _SETTINGS)


def _with_settings(env: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return `env` with git settings added, by environment because an argument list would show secrets."""
    count = int(env.get("GIT_CONFIG_COUNT", "0"))
    more = {"GIT_CONFIG_COUNT": str(count + len(settings))}
    for number, (key, value) in enumerate(settings, count):
        more |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**env, **more}


def git(
    access: GitAccess,
    mirror: Path | None,
    *args: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    what: str = "",
    timeout: float | None = None,
    pass_fds: Sequence[int] = (),
    log: bool = True,
) -> tuple[int, list[str]]:
    """Run git on a mirror; return its status and all lines of its output.

    Raises:
        FetchError: git is not there or took longer than `timeout` (the one of `access` by default).
    """
    lines: list[str] = []
    where = [f"--git-dir={mirror.absolute()}"] if mirror else []
    done = process.run(
        ["git", *where, *args],
        env=env or git_environment(access.env),
        cwd=cwd,
        log=access.log if log else None,
        check=False,
        error=FetchError,
        what=what or f"git {args[0]}",
        timeout=timeout or access.timeout,
        on_line=lines.append,
        pass_fds=pass_fds,
    )
    return done.returncode, lines


def remote(
    access: GitAccess,
    mirror: Path | None,
    url: str,
    *args: str,
    timeout: float | None = None,
    pass_fds: Sequence[int] = (),
) -> tuple[int, list[str]]:
    """Run one git command that talks to a server; `{url}` among `args` stands for the rewritten address."""
    address = split_credentials(check_url(rewrite(check_url(url), access.rewrites)))
    extra = [("protocol.file.allow", "always")] if is_local(address.url) else []
    if address.header:
        extra.append((f"http.{address.url}.extraHeader", address.header))
    env = _with_settings(git_environment(access.env), extra)
    words = [address.url if word == "{url}" else word for word in args]
    return git(access, mirror, *words, env=env, timeout=timeout, pass_fds=pass_fds)


@contextmanager
def locked(access: GitAccess, mirror: Path, *, shared: bool = False) -> Iterator[int]:
    """Hold the mirror's lock; yields its file descriptor.

    Hand the descriptor on to git (`pass_fds`): the lock then lasts as long as git does, even if this program is killed.
    """
    try:
        mirror.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(mirror.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as exc:
        msg = f"cannot use the source cache {mirror.parent}: {exc.strerror}"
        raise StorageError(msg, hint="point the cache at a folder that you may write to") from exc
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            access.message(f"waiting for another run that uses {mirror.name}")
            fcntl.flock(descriptor, kind)
        except OSError as exc:
            if exc.errno not in NO_LOCKS:
                raise
            access.message(f"{mirror.parent}: this file system has no locks; only one run at a time may fetch there")
        yield descriptor
    finally:
        os.close(descriptor)


def last_words(lines: Sequence[str]) -> str:
    """Return the line of git's output that says best what went wrong, without secrets."""
    for mark in ("fatal:", "remote:", "error:"):
        for line in reversed(lines):
            if line.startswith(mark) and line.strip() != mark:
                return redact(line.removeprefix(mark).strip())[:300]
    return redact(lines[-1])[:300] if lines else "git said nothing"


def check_space(lines: Sequence[str], place: Path) -> None:
    """Raise StorageError if git's output says that it could not write for want of space or permission."""
    for line in lines:
        if re.search(r"No space left|Permission denied$|Read-only file system|Disk quota exceeded", line):
            msg = f"cannot write {place}: {redact(line)[:300]}"
            raise StorageError(msg, hint="free some space, or point the cache or the build at another folder")
