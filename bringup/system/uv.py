"""Resolving with uv: requirements in, pinned requirements with hashes out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bringup.errors import BringupError, ConfigError, FetchError, PrepareError, StorageError
from bringup.system.download import OFFLINE_HINT
from bringup.system.process import describe_status, run
from bringup.system.pypi import find_uv

TIMEOUT = 900.0
OUTPUT = "resolved.txt"

# Everything that settings of the machine could change is said here, except where the index is.
_OPTIONS = (
    "--quiet", "--no-header", "--no-emit-index-url", "--generate-hashes", "--annotate", "--annotation-style", "split",
    "--resolution", "highest", "--prerelease", "if-necessary-or-explicit",
)  # fmt: skip
_NO_NETWORK = re.compile(
    r"dns error|failed to lookup|error sending request|connection refused|operation timed out|tcp connect"
    r"|network is unreachable|client error \(connect\)|network was disabled",
    re.IGNORECASE,
)
_NO_SOLUTION = re.compile(
    r"no solution found|not found in the package registry|there (is|are) no version", re.IGNORECASE
)

_NO_ROOM = re.compile(r"os error (28|30|122)\b|no space left on device|read-only file system", re.IGNORECASE)
_NOT_SERVED = re.compile(r"hash mismatch|HTTP status (client|server) error|request failed after", re.IGNORECASE)


def named(exc: BringupError) -> BringupError:
    """Return what a failed uv means: no network or a wrong file, no room on the disk, or else the error as it is."""
    if _NO_ROOM.search(exc.message):
        hint = "free some space (`invoke clean`, `invoke gc`) or choose another folder with --build-dir"
        return StorageError(exc.message, hint=hint, log=exc.log)
    if _NO_NETWORK.search(exc.message):
        return FetchError(f"the package index cannot be reached: {exc.message}", hint=OFFLINE_HINT, log=exc.log)
    if _NOT_SERVED.search(exc.message):
        hint = "the package index serves another file than the lock pins, or none: ask it again, or another one"
        return FetchError(exc.message, hint=hint, log=exc.log)
    return exc


def resolve(
    files: Mapping[str, str],
    *,
    overrides: str,
    python: str,
    platform: str,
    before: str,
    env: Mapping[str, str],
    log: Path | None = None,
    offline: bool = False,
) -> str:
    """Resolve requirement files together and return the pins with hashes and `# via` comments.

    Args:
        files: text by file name; the names appear in the comments.
        overrides: which of them holds requirements that win over what packages ask for.
        python: minor version of Python to resolve for.
        platform: platform to resolve for, in uv's spelling.
        before: moment from which on published files are ignored, RFC 3339.
        env: environment of uv; it says where the package index is.
        log: file that uv's output is appended to.
        offline: use what uv has in its cache only.

    Raises:
        ConfigError: the requirements contradict each other or name what does not exist.
        FetchError: the package index cannot be reached.
        PrepareError: uv is not there, or fails otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="bringup-lock-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        argv = [
            find_uv(), "pip", "compile", *(file for file in files if file != overrides), "--override", overrides,
            *_OPTIONS, "--python-version", python, "--python-platform", platform, "--exclude-newer", before,
            "--output-file", OUTPUT, *(("--offline",) if offline else ()),
        ]  # fmt: skip
        quiet = {**env, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        done = run(argv, env=quiet, cwd=folder, log=log, check=False, error=PrepareError, what="uv", timeout=TIMEOUT)
        if done.returncode != 0:
            raise _failure(done.output, describe_status(done.returncode), log)
        return (folder / OUTPUT).read_text(encoding="utf-8")


def _failure(output: str, status: str, log: Path | None) -> BringupError:
    where = str(log or "")
    text = "\n".join(f"    {line.rstrip()[:300]}" for line in output.splitlines() if line.strip())
    if _NO_NETWORK.search(output):
        return FetchError(f"the package index cannot be reached\n{text}", hint=OFFLINE_HINT, log=where)
    if _NO_SOLUTION.search(output):
        hint = "change versions, overrides, exclude or date of the stack"
        return ConfigError(f"the stack's requirements have no solution\n{text}", hint=hint, log=where)
    return PrepareError(f"uv could not resolve the stack ({status})\n{text}", log=where)
