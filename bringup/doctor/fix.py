"""What can be mended without root: put stale caches aside, make missing links, write a settings file. All undoable."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bringup.config.settings import settings_file
from bringup.doctor.checks_caches import stale, stale_locks
from bringup.doctor.facts import Facts
from bringup.doctor.model import DoctorReport, Status
from bringup.system.fs import storage_errors, write_atomic

KINDS = ("flashinfer", "tvm-ffi", "triton", "torch-extensions")
ROOMY = ("SCRATCH", "WORK", "HOME")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Aside:
    """Rename a cache entry, so that it is not used and not lost."""

    path: Path
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Make a symbolic link that is missing."""

    path: Path
    target: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Write a file that is not there yet."""

    path: Path
    text: str
    why: str


Action = Aside | Link | Write


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, as the command it amounts to, why, and the command that undoes it."""

    did: str
    why: str
    undo: str


def plan_fixes(facts: Facts, report: DoctorReport) -> tuple[Action, ...]:
    """Return what can be mended here without root; nothing is done yet."""
    return (*_caches(facts), *_links(facts), *_settings(facts, report))


def _caches(facts: Facts) -> Iterator[Action]:
    chosen: list[Path] = []
    entries = [(entry.path, reason) for kind in KINDS for entry, reason in stale(facts, kind)]
    entries += [(entry.path, f"a lock {entry.age_s / 3600:.0f} h old") for entry in stale_locks(facts)]
    for path, reason in sorted(entries):
        if not any(path.is_relative_to(parent) for parent in chosen):
            chosen.append(path)
            yield Aside(path=path, why=reason)


def _links(facts: Facts) -> Iterator[Action]:
    """Yield links that toolkits assembled from wheels lack, where the folder belongs to the user."""
    for toolkit in facts.toolkits:
        root = toolkit.root
        if not toolkit.exists or toolkit.distribution or not os.access(root, os.W_OK):
            continue
        if not (root / "lib64").is_symlink() and not (root / "lib64").exists() and (root / "lib").is_dir():
            yield Link(path=root / "lib64", target="lib", why="nvcc links with -L lib64")
        if "lib64/libcudart.so" in toolkit.missing_parts:
            real = [path for name in ("lib64", "lib") for path in sorted((root / name).glob("libcudart.so.*"))]
            if real and not (real[0].parent / "libcudart.so").is_symlink():
                yield Link(path=real[0].parent / "libcudart.so", target=real[0].name, why="-lcudart wants this name")


def _settings(facts: Facts, report: DoctorReport) -> Iterator[Action]:
    """Yield a settings file that moves build folder and cache to where there is room."""
    if not any(check.id == "host.disk" and check.status is Status.FAIL for check in report.checks) or facts.serving:
        return
    path = settings_file(facts.variables)
    need = (facts.question.stack.disk_mib + facts.question.stack.download_mib) * MIB
    small = {disk.device for disk in facts.disks if disk.purpose in ("build", "cache")}
    if path is None or path.exists():
        return
    for name in ROOMY:
        place = Path(facts.variables.get(name) or "/nonexistent")
        if place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > 2 * need:
            if place.stat().st_dev in small:
                continue
            text = f'build_dir = "{place}/bringup/build"\ncache = "{place}/bringup/cache"\n'
            yield Write(path=path, text=text, why=f"{place} has room")
            return


def describe(action: Action, stamp: str) -> Done:
    """Return an action as the shell commands that do and undo it."""
    path = shlex.quote(str(action.path))
    if isinstance(action, Aside):
        aside = shlex.quote(str(_aside(action.path, stamp)))
        return Done(did=f"mv {path} {aside}", why=action.why, undo=f"mv {aside} {path}")
    if isinstance(action, Link):
        return Done(did=f"ln -s {shlex.quote(action.target)} {path}", why=action.why, undo=f"rm {path}")
    return Done(did=f"write {path}", why=action.why, undo=f"rm {path}")


def _aside(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.name}.aside-{stamp}")


def apply(actions: Sequence[Action], *, stamp: str = "") -> tuple[Done, ...]:
    """Do it.

    Args:
        actions: from `plan_fixes`.
        stamp: end of the names of what is put aside; the time of day if "".

    Raises:
        StorageError: disk full or no permission.
    """
    stamp = stamp or time.strftime("%Y%m%d-%H%M%S")
    done = []
    for action in actions:
        with storage_errors(action.path):
            if isinstance(action, Aside):
                if not os.path.lexists(action.path):
                    continue  # its holder has just gone
                action.path.rename(_aside(action.path, stamp))
            elif isinstance(action, Link):
                action.path.symlink_to(action.target)
            else:
                action.path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(action.path, action.text)
        done.append(describe(action, stamp))
    return tuple(done)
