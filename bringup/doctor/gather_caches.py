"""Facts about kernels that were compiled at run time: who made them, and what they refer to."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from bringup.doctor.facts import CacheEntry
from bringup.doctor.places import Places
from bringup.formats.elf import ElfError, is_elf, read_elf

# More entries than this are not looked at: the answer is for people, and it has to come at once.
MOST = 20_000
_VERSION = re.compile(r"\d+\.\d+[\w.+]*")
_PYTHON_TAG = re.compile(r"\.cpython-(\d+)-")
_RULE = re.compile(r"^(?:nvcc|cuda_home|cxx)\s*=\s*(/\S+)", re.MULTILINE)
# Paths in a build.ninja that a compile would use: the compiler and the include folders of a toolkit.
_INCLUDE = re.compile(r"-(?:isystem|I)\s*(/\S*(?:cuda|cu1\d)\S*)")


def gather_caches(places: Places) -> tuple[CacheEntry, ...]:
    """Return what is in the caches of FlashInfer, tvm-ffi, Triton and torch's extensions."""
    env, home = places.env, places.home
    triton = env.get("TRITON_CACHE_DIR") or Path(env.get("TRITON_HOME") or home, ".triton/cache")
    return (
        *_flashinfer(Path(env.get("FLASHINFER_WORKSPACE_BASE") or home, ".cache/flashinfer")),
        *_tvm_ffi(Path(env.get("TVM_FFI_CACHE_DIR") or home / ".cache/tvm-ffi")),
        *_triton(Path(triton)),
        *_torch_extensions(Path(env.get("TORCH_EXTENSIONS_DIR") or home / ".cache/torch_extensions")),
    )


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder; those that were put aside by doctor are left out."""
    try:
        with os.scandir(path) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and ".aside-" not in entry.name
            )[:MOST]
    except OSError:
        return []


def _flashinfer(base: Path) -> Iterator[CacheEntry]:
    """Yield versions and their modules (from 0.3 on `<version>/<arch>/cached_ops`, before `<arch>/cached_ops`)."""
    for folder in _folders(base):
        version = folder.name if _VERSION.fullmatch(folder.name) else ""
        if version:
            yield CacheEntry(kind="flashinfer", path=folder, made_by=version)
        for arch in _folders(folder) if version else [folder]:
            modules = arch / "cached_ops"
            for module in _folders(modules):
                yield _module("flashinfer", module, version)
            for lock in [*modules.glob("tmp/*.lock"), *modules.glob("*.lock")]:
                # The module of a lock is there when its compile came to an end.
                if not (modules / lock.stem / f"{lock.stem}.so").exists():
                    yield CacheEntry(kind="flashinfer", path=lock, made_by=version, lock=True, age_s=_age(lock))


def _tvm_ffi(base: Path) -> Iterator[CacheEntry]:
    for module in _folders(base):
        yield _module("tvm-ffi", module, "")
        for lock in module.glob("*lock"):
            if not any(module.glob("*.so")):
                yield CacheEntry(kind="tvm-ffi", path=lock, lock=True, age_s=_age(lock))


def _triton(base: Path) -> Iterator[CacheEntry]:
    for folder in _folders(base):
        tag = next((found for name in _names(folder) if (found := _PYTHON_TAG.search(name))), None)
        if tag:
            yield CacheEntry(kind="triton", path=folder, made_by=f"cp{tag[1]}")


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - thousands of folders
    except OSError:
        return []


def _torch_extensions(base: Path) -> Iterator[CacheEntry]:
    """Yield `py311_cu130/<name>`; a file named lock is held as long as it is there (torch's FileBaton)."""
    for folder in _folders(base):
        for extension in _folders(folder):
            yield CacheEntry(kind="torch-extensions", path=extension, made_by=folder.name, needed=_needed(extension))
            lock = extension / "lock"
            if lock.exists():
                yield CacheEntry(kind="torch-extensions", path=lock, made_by=folder.name, lock=True, age_s=_age(lock))


def _module(kind: str, folder: Path, made_by: str) -> CacheEntry:
    missing: list[str] = []
    with contextlib.suppress(OSError):
        text = (folder / "build.ninja").read_text("utf-8", "replace")
        named = dict.fromkeys([*_RULE.findall(text), *_INCLUDE.findall(text)])
        missing = [path for path in named if not Path(path).exists()]
    return CacheEntry(kind=kind, path=folder, made_by=made_by, missing=tuple(missing), needed=_needed(folder))


def _needed(folder: Path) -> tuple[str, ...]:
    found: set[str] = set()
    for library in folder.glob("*.so"):
        with contextlib.suppress(ElfError):
            if is_elf(library):
                found |= {name for name in read_elf(library, symbols=False).needed if name.startswith("libcudart.so")}
    return tuple(sorted(found))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
