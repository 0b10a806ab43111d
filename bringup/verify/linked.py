"""Whether an environment holds a wheel's files, without hashing again what was hashed in another environment.

uv links the files of a wheel from its cache into each environment, so that they are the same files: an edit in one
environment changes them in all of them and in the cache. So nothing is taken for right because it comes from a cache.
Every file is compared with the hash in our own wheel's RECORD; that answer stands for as long as device, inode, size
and modification time of the file stay. (Its change time does not serve: every link that is made or removed sets it. An
edit that also sets the modification time back is found by `verify`, which hashes all files.)
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from bringup.errors import BringupError
from bringup.formats.archive import Problem
from bringup.formats.wheel_name import WheelName
from bringup.system.fs import write_atomic
from bringup.system.stamps import TICK_NS, now_ns, stamp


class Hashed(msgspec.Struct, frozen=True, kw_only=True):
    """Files that had the hashes of a wheel's RECORD.

    Attributes:
        wheel: stamp of the wheel.
        files: device, inode, size and modification time (ns) by path relative to site-packages.
    """

    wheel: list[int]
    files: dict[str, list[int]]


def check_linked(site_packages: Path, wheel: Path, *, tick_ns: int = TICK_NS) -> list[Problem]:
    """Return in what way an environment differs from a wheel, as `check_installed` does.

    Args:
        site_packages: of the environment.
        wheel: what was installed; what was hashed is noted beside it.
        tick_ns: how long files must have rested for their times to be noted.

    Raises:
        ArchiveError: the wheel cannot be read.
    """
    mark, of_wheel, started = wheel.with_name(f".{wheel.name}.installed"), stamp(wheel), now_ns()
    known = _read(mark)
    if known and known.wheel == of_wheel and _same(site_packages, known.files):
        return []
    # Reading wheels is slow to import, and seldom needed.
    from bringup.formats.wheel_installed import (  # noqa: PLC0415
        check_installed,
        dist_info_installed,
        installed_files,
    )

    if dist_info_installed(site_packages, WheelName.parse(wheel.name).distribution) is None:
        return check_installed(site_packages, wheel)
    before = {path: _identity(path) for path in installed_files(site_packages, wheel)}
    problems = check_installed(site_packages, wheel)
    rested = all(one and one[3] + tick_ns < started for one in before.values())
    if rested and not problems:
        names = {os.path.relpath(path, site_packages): one for path, one in before.items()}
        with contextlib.suppress(BringupError, OSError):  # a folder that cannot be written is as good, only slower
            write_atomic(mark, msgspec.msgpack.encode(Hashed(wheel=of_wheel, files=names)), durable=False)
    return problems


def _same(site_packages: Path, files: dict[str, list[int]]) -> bool:
    folder = str(site_packages)
    return all(_identity(f"{folder}/{name}") == seen for name, seen in files.items())


def _identity(path: str | Path) -> list[int]:
    """Return what says that a file is the same as before; empty if it is not there."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - thousands of files
    except OSError:
        return []
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns]


def _read(mark: Path) -> Hashed | None:
    try:
        return msgspec.msgpack.decode(mark.read_bytes(), type=Hashed)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
