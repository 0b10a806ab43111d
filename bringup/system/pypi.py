"""Files of the package index, found by project, version and hash without naming an index.

uv knows which index this machine uses (its own settings, a mirror, credentials); it is asked for the addresses of
exact versions, for all platforms, and nothing is resolved, built or installed.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from bringup.errors import FetchError, PrepareError
from bringup.system.download import OFFLINE_HINT, OnBytes, Wanted
from bringup.system.downloads import DownloadCache, obtain_all
from bringup.system.environ import base_environment
from bringup.system.process import run

PYTHON = "3.11"
UV_TIMEOUT = 300.0
# --universal lists the files of all platforms, so that a file is found whatever this machine could install.
COMPILE = (
    "pip", "compile", "--quiet", "--no-deps", "--no-header", "--universal", "--prerelease", "allow",
    "--format", "pylock.toml",
)  # fmt: skip

_NO_NETWORK = re.compile(
    r"dns error|failed to lookup|error sending request|connection refused|operation timed out|tcp connect"
    r"|network is unreachable|client error \(connect\)|offline",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFile:
    """One file of a project: wheel or source distribution.

    Attributes:
        name: project name.
        version: exact version.
        sha256: hash of the file.
        size: bytes, 0 if unknown.
    """

    name: str
    version: str
    sha256: str
    size: int = 0


def find_uv() -> Path:
    """Return uv's executable: beside this Python, else on PATH.

    Raises:
        PrepareError: there is none.
    """
    beside = Path(sys.executable).parent / "uv"
    if beside.is_file():
        return beside
    found = shutil.which("uv")
    if found is None:
        msg = "uv is neither beside this Python nor on PATH"
        raise PrepareError(msg, hint=f"{sys.executable} -m pip install uv")
    return Path(found)


def locate(files: Sequence[IndexFile], *, env: Mapping[str, str] | None = None) -> dict[str, Wanted]:
    """Return for each file's hash its address and name; hashes that the index does not have are left out.

    Args:
        files: what to look for; one call of uv for each set of distinct projects.
        env: environment of uv; the usual one if None.

    Raises:
        FetchError: no network, or the index does not have a project or version.
    """
    sizes = {file.sha256: file.size for file in files}
    found: dict[str, Wanted] = {}
    for batch in batches(files):
        for sha256, url in look_up(batch, env=base_environment() if env is None else env):
            if sha256 in sizes:
                name = unquote(urlsplit(url).path.rpartition("/")[2])
                found[sha256] = Wanted(url=url, sha256=sha256, filename=name, size=sizes[sha256])
    return found


def fetch_index_files(
    files: Sequence[IndexFile], cache: DownloadCache, *, offline: bool = False, on_bytes: OnBytes | None = None
) -> dict[str, Path]:
    """Return the files by hash, from the cache where they are there and several at a time where not.

    Raises:
        FetchError: no network, missing offline, gone from the index, or replaced by a file of another hash.
        StorageError: disk full or no permission.
    """
    by_hash = {file.sha256: file for file in files}

    def find(missing: set[str]) -> list[Wanted]:
        wanted = [by_hash[sha256] for sha256 in missing]
        found = locate(wanted)
        for file in wanted:
            if file.sha256 not in found:
                msg = f"the package index has no file of {file.name} {file.version} with sha256 {file.sha256}"
                raise FetchError(msg, hint="the file was withdrawn, or the index in use is an incomplete mirror")
        return list(found.values())

    names = [(file.sha256, f"{file.name} {file.version}") for file in by_hash.values()]
    return obtain_all(cache, names, find, offline=offline, on_bytes=on_bytes)


def fetch_index_file(
    name: str,
    version: str,
    sha256: str,
    cache: DownloadCache,
    *,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Return one file of a project, fetched if it is not in the cache. Raises as `fetch_index_files` does."""
    file = IndexFile(name=name, version=version, sha256=sha256)
    return fetch_index_files([file], cache, offline=offline, on_bytes=on_bytes)[sha256]


def batches(files: Iterable[IndexFile]) -> list[dict[str, str]]:
    """Split into sets in which each project has one version, because uv resolves a set to one version each."""
    groups: list[dict[str, str]] = []
    for name, version in sorted({(str(canonicalize_name(file.name)), file.version) for file in files}):
        for batch in groups:
            if name not in batch:
                batch[name] = version
                break
        else:
            groups.append({name: version})
    return groups


def look_up(batch: Mapping[str, str], *, env: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return hash and address of every file of some exact versions, one version of each project.

    Raises:
        FetchError: no network, or the index does not have a project or version.
    """
    with tempfile.TemporaryDirectory(prefix="bringup-locate-") as folder:
        wanted, answer = Path(folder, "requirements.in"), Path(folder, "pylock.toml")
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in batch.items()))
        done = run(
            [find_uv(), *COMPILE, "--python-version", PYTHON, "--output-file", answer, wanted],
            env=env,
            cwd=Path(folder),
            check=False,
            error=FetchError,
            what="look up files on the package index",
            timeout=UV_TIMEOUT,
        )
        if done.returncode != 0:
            raise _failure(done.output, batch)
        return list(_files(tomllib.loads(answer.read_text()), Path(folder)))


def _files(lock: Mapping[str, Any], folder: Path) -> Iterable[tuple[str, str]]:
    for package in lock.get("packages", []):
        for entry in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]:
            sha256 = entry.get("hashes", {}).get("sha256", "")
            address = entry.get("url") or ((folder / entry["path"]).resolve().as_uri() if "path" in entry else "")
            if sha256 and address:
                yield sha256, address


def _failure(output: str, batch: Mapping[str, str]) -> FetchError:
    text = " ".join(line.strip() for line in output.splitlines() if line.strip())
    if _NO_NETWORK.search(output):
        host = re.search(r"https?://(?:[^@/\s`]*@)?([^/\s`]+)", output)
        msg = f"cannot reach the package index{' at ' + host[1] if host else ''}: {text[:400]}"
        return FetchError(msg, hint=OFFLINE_HINT)
    gone = re.search(r"no version of ([A-Za-z0-9._-]+==\S+?)[\s,]|`?([A-Za-z0-9._-]+)`? was not found", text)
    if gone:
        msg = f"the package index does not have {gone[1] or gone[2]}: {text[:400]}"
        return FetchError(msg, hint="the version was withdrawn, or the index in use is an incomplete mirror")
    wanted = ", ".join(f"{name} {version}" for name, version in batch.items())
    msg = f"uv could not look up {wanted}: {text[:600]}"
    return FetchError(msg)
