"""Facts about the computer: limits, disks, driver, libraries."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
from collections.abc import Iterable
from pathlib import Path

from bringup.doctor.facts import Disk, Driver, Host
from bringup.doctor.places import Places
from bringup.errors import BringupError, TargetError
from bringup.system import process
from bringup.system.environ import base_environment
from bringup.system.host import distribution, glibc_version
from bringup.system.machine import this_machine
from bringup.verify.installed import system_dirs

NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "lustre", "beegfs", "gpfs", "cifs", "fuse.sshfs", "ceph", "wekafs")
LOADED_BY_NAME = ("libnuma.so.1", "libcuda.so.1")


def gather_host(places: Places) -> Host:
    """Return what this computer is."""
    machine = this_machine()
    shm = places.under("dev/shm")
    size = 0
    with contextlib.suppress(OSError):
        stat = os.statvfs(shm)
        size = stat.f_blocks * stat.f_frsize
    folders = [
        *_library_path(places),
        *(places.under(folder) for folder in system_dirs(places.under("etc/ld.so.conf"))),
    ]
    return Host(
        arch=machine.arch,
        cores=machine.cores,
        memory_bytes=machine.memory_bytes,
        available_bytes=machine.available_bytes,
        memory_from=machine.memory_from,
        glibc=glibc_version(),
        nofile=_limit(resource.RLIMIT_NOFILE),
        nproc=_limit(resource.RLIMIT_NPROC),
        memlock=_limit(resource.RLIMIT_MEMLOCK),
        shm_bytes=size,
        in_container=places.under(".dockerenv").exists() or places.under("run/.containerenv").exists(),
        loadable={name: any((folder / name).exists() for folder in folders) for name in LOADED_BY_NAME},
        distribution=distribution(places.root),
    )


def _library_path(places: Places) -> list[Path]:
    return [Path(text) for text in places.env.get("LD_LIBRARY_PATH", "").split(":") if text.startswith("/")]


def _limit(kind: int) -> int:
    soft, _ = resource.getrlimit(kind)
    return -1 if soft == resource.RLIM_INFINITY else soft


def gather_disks(places: Places) -> tuple[Disk, ...]:
    """Return the folders that builds and servers write to."""
    mounts = _mounts(places)
    wanted = [
        ("build", places.build),
        ("cache", places.cache),
        ("temporary files", Path(places.env.get("TMPDIR") or places.under("tmp"))),
        ("kernel caches", places.home / ".cache"),
    ]
    return tuple(_disk(purpose, path, mounts) for purpose, path in wanted)


def _disk(purpose: str, path: Path, mounts: dict[str, tuple[str, str]]) -> Disk:
    there = _existing(path)
    real = str(there.resolve())
    mount = max((point for point in mounts if _below(real, point)), key=len, default="")
    kind, options = mounts.get(mount, ("", ""))
    return Disk(
        purpose=purpose,
        path=path,
        free_bytes=shutil.disk_usage(there).free,
        device=there.stat().st_dev,
        noexec="noexec" in options.split(","),
        writable=there.is_dir() and os.access(there, os.W_OK),
        kind=kind,
    )


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _mounts(places: Places) -> dict[str, tuple[str, str]]:
    found = {}
    with contextlib.suppress(OSError):
        for line in places.under("proc/self/mounts").read_text("utf-8", "replace").splitlines():
            words = line.split(" ")
            if len(words) >= 4:
                point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[1])
                found[point] = (words[2], words[3])
    return found


def gather_driver(places: Places, *, fabric: bool) -> Driver:
    """Return the versions of the driver's parts; the fabric state only if asked, because nvidia-smi -q is slow."""
    kernel = ""
    with contextlib.suppress(OSError):
        text = places.under("proc/driver/nvidia/version").read_text("utf-8", "replace")
        found = re.search(r"(?:Kernel Module|Module for \S+)\s+(\d+\.\d+(?:\.\d+)?)", text)
        kernel = found[1] if found else ""
    return Driver(kernel=kernel, library=_libcuda(places), fabric=_fabric(places) if fabric else "")


def _libcuda(places: Places) -> str:
    """Return the version in the name of the file that libcuda.so.1 leads to, as the loader would find it."""
    configured = (places.under(folder) for folder in system_dirs(places.under("etc/ld.so.conf")))
    for folder in [*_library_path(places), *configured]:
        version = _named_version(folder / "libcuda.so.1")
        if version:
            return version
    return ""


def _named_version(link: Path) -> str:
    if not link.exists():
        return ""
    found = re.fullmatch(r"libcuda\.so\.(\d+\.\d+(?:\.\d+)?)", link.resolve().name)
    return found[1] if found else ""


def _fabric(places: Places) -> str:
    smi = places.which("nvidia-smi", "/usr/bin")
    if smi is None:
        return ""
    lines: list[str] = []
    with contextlib.suppress(BringupError):
        process.run(
            [smi, "-q"], env=base_environment(), check=False, error=TargetError, timeout=30, on_line=lines.append
        )
    return _state_after(lines, "Fabric")


def _state_after(lines: Iterable[str], title: str) -> str:
    inside = False
    for line in lines:
        if line.strip() == title:
            inside = True
        elif inside and line.strip().startswith("State"):
            return line.partition(":")[2].strip()
    return ""
