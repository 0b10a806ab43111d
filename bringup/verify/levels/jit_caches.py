"""See what was compiled at run time, take it along, and lay it down somewhere else.

Five packages compile at run time and keep the result in folders of their own. A snapshot before and one after tell
what a run compiled, by name. `harvest` copies that, with a hash for each file; `place` lays a harvest into the
folders of another user or node. Only Triton needs help with that: its group files hold absolute paths, and a
group whose files are not found where it says is compiled again.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COMPILED = frozenset(
    {
        ".so",
        ".o",
        ".a",
        ".cubin",
        ".fatbin",
        ".ptx",
        ".ttir",
        ".ttgir",
        ".llir",
        ".cu",
        ".cpp",
        ".c",
        ".mlir",
        ".hsaco",
        ".py",
    }
)
"""Suffixes of what compilers leave; a lock, a log or a build.ninja written afresh is no compilation."""

FLASHINFER_PRODUCTS = frozenset({".so", ".o", ".cubin"})

NOT_COMPILED = re.compile(r"(^|/)(computation_graph_[\d.]+\.py|sglang_compile_cache\.py|tmp\.[^/]*/.*|__pycache__/.*)$")
"""SGLang writes the graph that it was given on every start, for reading; nothing is compiled from it."""

State = dict[str, dict[str, tuple[int, int]]]
"""Cache name -> file below its folder -> (size in bytes, modification time in ns)."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """One thing that was compiled: a module, a kernel or a graph.

    Attributes:
        cache: whose cache it is in: flashinfer, tvm-ffi, triton, inductor, sglang, torch-extensions, driver.
        name: its name there without hashes: `batch_prefill_...`, `sgl_kernel_jit_kvcache_512_true`.
        files: paths below the cache's folder.
    """

    cache: str
    name: str
    files: tuple[str, ...]


def roots(env: Mapping[str, str]) -> dict[str, Path]:
    """Return the folder of each cache for a process with the environment `env`."""
    home = Path(env.get("HOME") or Path.home())
    temporary = Path(env.get("TMPDIR") or tempfile.gettempdir())
    names = [env[key] for key in ("LOGNAME", "USER", "LNAME", "USERNAME") if env.get(key)]
    user = re.sub(r'[\\/:*?"<>|]', "_", names[0] if names else _user())

    def at(variable: str, default: Path) -> Path:
        return Path(env[variable]) if env.get(variable) else default

    return {
        "flashinfer": Path(env.get("FLASHINFER_WORKSPACE_BASE") or home) / ".cache" / "flashinfer",
        "tvm-ffi": at("TVM_FFI_CACHE_DIR", home / ".cache" / "tvm-ffi"),
        "triton": at("TRITON_CACHE_DIR", Path(env.get("TRITON_HOME") or home) / ".triton" / "cache"),
        "inductor": at("TORCHINDUCTOR_CACHE_DIR", temporary / f"torchinductor_{user}"),
        "sglang": at("SGLANG_CACHE_DIR", home / ".cache" / "sglang") / "torch_compile_cache",
        "deep-gemm": at("SGLANG_DG_CACHE_DIR", home / ".cache" / "deep_gemm"),
        "torch-extensions": at("TORCH_EXTENSIONS_DIR", home / ".cache" / "torch_extensions"),
        "cute-dsl": at("CUTE_DSL_CACHE_DIR", temporary / user / "cutlass_python_cache"),
        "driver": at("CUDA_CACHE_PATH", home / ".nv" / "ComputeCache"),
    }


def private(folder: Path) -> dict[str, str]:
    """Return the variables that put every cache below `folder`; HOME stays."""
    return {
        "FLASHINFER_WORKSPACE_BASE": str(folder),
        "TVM_FFI_CACHE_DIR": str(folder / "tvm-ffi"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "SGLANG_CACHE_DIR": str(folder / "sglang"),
        "SGLANG_DG_CACHE_DIR": str(folder / "deep_gemm"),
        "TORCH_EXTENSIONS_DIR": str(folder / "torch_extensions"),
        "CUTE_DSL_CACHE_DIR": str(folder / "cute_dsl"),
        "CUDA_CACHE_PATH": str(folder / "ComputeCache"),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def snapshot(folders: Mapping[str, Path]) -> State:
    """Return size and time of every file in the caches; a cache that is not there is empty."""
    return {name: _files(folder) for name, folder in folders.items()}


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            try:
                status = path.stat()
            except OSError:
                continue  # a lock or a temporary file that went away meanwhile
            found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found


def compiled(before: State, after: State) -> list[Compiled]:
    """Return what the caches hold now and did not hold, or held differently, before; sorted by cache and name."""
    made = []
    for cache, files in after.items():
        old = before.get(cache, {})
        fresh = [file for file, state in files.items() if old.get(file) != state and _is_product(cache, file)]
        groups: dict[str, list[str]] = {}
        for file in sorted(fresh):
            groups.setdefault(_unit(cache, file), []).append(file)
        made += [
            Compiled(cache=cache, name=_name(cache, unit, members), files=tuple(members))
            for unit, members in groups.items()
        ]
    return sorted(made, key=lambda item: (item.cache, item.name, item.files))


def _is_product(cache: str, file: str) -> bool:
    if NOT_COMPILED.search(file):
        return False
    if cache == "flashinfer":
        # Its generated sources are written also for modules that are loaded from where they were built ahead.
        return Path(file).suffix in FLASHINFER_PRODUCTS
    # The driver's own cache of PTX that it compiled has no suffixes; only its index is no product.
    return Path(file).suffix in COMPILED if cache != "driver" else Path(file).name != "index"


def _unit(cache: str, file: str) -> str:
    parts = file.split("/")
    if cache == "flashinfer" and len(parts) > 2:
        inner = next((at for at, part in enumerate(parts) if part in ("cached_ops", "generated")), 0)
        return parts[min(inner + 1, len(parts) - 1)]
    return parts[0] if cache in ("tvm-ffi", "triton", "torch-extensions") else file


def _name(cache: str, unit: str, files: Sequence[str]) -> str:
    if cache == "tvm-ffi":
        return re.sub(r"_[0-9a-f]{16}$", "", unit)
    if cache == "triton":
        stems = sorted({Path(file).name.split(".")[0] for file in files})
        return stems[-1] if stems else unit
    return unit


def harvest(folders: Mapping[str, Path], items: Sequence[Compiled], into: Path) -> dict[str, Any]:
    """Copy what was compiled, with the files that belong to it, and write manifest.json beside it.

    Returns:
        The manifest: `items` with cache, name and files, and `files` with the sha256 of each.
    """
    listed = {}
    for item in items:
        if item.cache == "driver":
            continue  # the driver's own; a native build never fills it
        for file in _belonging(folders[item.cache], item):
            target = into / item.cache / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folders[item.cache] / file, target)
            listed[f"{item.cache}/{file}"] = hashlib.sha256(target.read_bytes()).hexdigest()
    manifest = {"schema": 1, "items": [asdict(item) for item in items], "files": dict(sorted(listed.items()))}
    into.mkdir(parents=True, exist_ok=True)
    (into / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _belonging(folder: Path, item: Compiled) -> list[str]:
    """All files of the units that `item` is made of: Triton's .json and group files are no products but needed."""
    files = set(item.files)
    if item.cache in ("tvm-ffi", "triton"):
        for unit in {file.split("/")[0] for file in item.files}:
            files |= {f"{unit}/{file}" for file in _files(folder / unit) if not file.startswith("tmp.")}
    return sorted(file for file in files if Path(file).name not in ("lock", ".lock"))


def place(source: Path, folders: Mapping[str, Path]) -> list[str]:
    """Lay a harvest into the caches `folders`; files of the same content stay as they are.

    Returns:
        The files laid down, `triton/<key>/<file>`.

    Raises:
        ValueError: a file of the manifest is missing or has another hash; nothing is laid down then.
    """
    listed = json.loads((source / "manifest.json").read_text(encoding="utf-8"))["files"]
    for file, digest in listed.items():
        path = source / file
        if ".." in Path(file).parts or not path.is_file():
            raise ValueError(f"{source}: {file} of the manifest is not there")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ValueError(f"{source}: {file} is not what the manifest says, it was changed or damaged")
    laid = []
    for file in listed:
        cache, _, below = file.partition("/")
        target = folders[cache] / below
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part{os.getpid()}")
        shutil.copy2(source / file, part)
        part.replace(target)
        laid.append(file)
    relocate_triton(folders["triton"])
    return laid


def relocate_triton(folder: Path) -> int:
    """Make the group files below Triton's cache `folder` name the files beside them; returns how many changed."""
    changed = 0
    for group in sorted(folder.glob("*/__grp__*")):
        listed = json.loads(group.read_text(encoding="utf-8"))
        paths = {name: str(group.parent / name) for name in listed.get("child_paths", {})}
        if paths != listed.get("child_paths"):
            part = group.with_name(f"{group.name}.part{os.getpid()}")
            part.write_text(json.dumps({"child_paths": paths}), encoding="utf-8")
            part.replace(group)
            changed += 1
    return changed


def describe(items: Sequence[Compiled]) -> str:
    """Name what was compiled in one line: `tvm-ffi: kvcache_512_true; triton: _kernel, launcher`."""
    by_cache: dict[str, list[str]] = {}
    for item in items:
        names = by_cache.setdefault(item.cache, [])
        if item.name not in names:
            names.append(item.name)
    if names := by_cache.pop("driver", []):
        by_cache["PTX compiled by the driver, so a binary has no machine code for this GPU"] = [f"{len(names)} times"]
    return "; ".join(f"{cache}: {', '.join(names)}" for cache, names in by_cache.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Snapshot, harvest or place from a shell; the caches are those of this process's environment."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    snap = commands.add_parser("snapshot", help="write the state of all caches")
    snap.add_argument("file", type=Path)
    take = commands.add_parser("harvest", help="copy what was compiled since a snapshot")
    take.add_argument("--since", type=Path, help="a snapshot; without it everything in the caches is taken")
    take.add_argument("folder", type=Path)
    lay = commands.add_parser("place", help="lay a harvest into the caches")
    lay.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    folders = roots(os.environ)
    if options.command == "snapshot":
        options.file.write_text(json.dumps(snapshot(folders)), encoding="utf-8")
    elif options.command == "harvest":
        items = compiled(load_state(options.since) if options.since else {}, snapshot(folders))
        harvest(folders, items, options.folder)
        print(describe(items) or "nothing was compiled")
    else:
        print(f"{len(place(options.folder, folders))} files laid down")
    return 0


def load_state(path: Path) -> State:
    """Read a snapshot that `snapshot` wrote."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return {cache: {file: (size, time) for file, (size, time) in files.items()} for cache, files in raw.items()}


if __name__ == "__main__":
    raise SystemExit(main())
