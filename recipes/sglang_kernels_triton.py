"""Compile the Triton kernels that SGLang launches at its start, with their launchers, under the keys it looks up.

Runs in the environment of the stack on a machine without a GPU: Triton only asks its driver which GPU there is, so a
driver that answers is enough, and a kernel's key hashes contents and versions, not paths. Launchers and Triton's
`cuda_utils` are C, compiled by gcc; they need a libcuda.so.1 to name, not one that works.

    python sglang_kernels_triton.py --work DIR --out DIR [--arch 9.0]

OUT gets index.json and the files it lists. recipes/sglang_kernels_manager.py finds them at run time.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROW = "row"
Kernel = tuple[str, str, tuple[Any, ...]]
"""Module, function, arguments with every `row` replaced by a number."""


def read_kernels(path: Path) -> list[Kernel]:
    """Return every kernel of the table [triton], once for each length of a row where it takes one.

    Raises:
        ValueError: naming the file and the entry that is not right.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("triton", {})
    found: list[Kernel] = []
    for one in table.get("kernel", []):
        missing = {"module", "function", "arguments"} - set(one)
        if missing:
            msg = f"{path}: triton kernel {one.get('function', '?')} has no {', '.join(sorted(missing))}"
            raise ValueError(msg)
        for arguments in one["arguments"]:
            rows = table.get("row", []) if ROW in arguments else [0]
            if not rows:
                msg = f"{path}: triton kernel {one['function']} takes a row, and [triton] has no `row`"
                raise ValueError(msg)
            found += [
                (str(one["module"]), str(one["function"]), tuple(row if word == ROW else word for word in arguments))
                for row in rows
            ]
    if not found:
        msg = f"{path}: names no triton kernel"
        raise ValueError(msg)
    return found


def base32(digest: str) -> str:
    """Return a hex digest as Triton names its cache folders (triton/runtime/cache.py)."""
    return base64.b32encode(bytes.fromhex(digest)).decode().rstrip("=")


def module_keys(source: str) -> list[str]:
    """Return the keys under which Triton looks for a compiled C module: with the command `file` there, and without.

    Triton 3.6 hashes the source with platform.architecture(), which asks `file` for the format of executables and
    leaves it out on a machine that has no such command.
    """
    names = [f"{platform.machine()},{platform.system()},64bit,{linkage}" for linkage in ("ELF", "")]
    return [base32(hashlib.sha256((source + name).encode()).hexdigest()) for name in names]


def argument(word: Any) -> Any:
    """Turn "*int64" into a tensor at an address that divides by 16, "*int64 odd" into one elsewhere, "none" into None.

    Raises:
        ValueError: it is text and none of these.
    """
    if not isinstance(word, str):
        return word
    if word == "none":
        return None
    name, _, odd = word.removeprefix("*").partition(" ")
    import torch  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - of the stack's environment

    kind = getattr(torch, name, None)
    if not word.startswith("*") or odd not in ("", "odd") or not isinstance(kind, torch.dtype):
        msg = f"{word!r} is not an argument: *int64, *int64 odd, none, a number or a truth value"
        raise ValueError(msg)
    return torch.zeros(17, dtype=kind)[1 if odd else 0 :]


def pretend(capability: int) -> None:
    """Make Triton believe in a GPU of this capability, 90, and leave line tables with paths out of the kernels."""
    from triton import knobs  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    from triton.backends.compiler import GPUTarget  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    from triton.backends.driver import DriverBase  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    from triton.backends.nvidia.driver import ty_to_cpp  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    from triton.runtime import driver  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    class Answers(DriverBase):  # type: ignore[misc,unused-ignore]
        is_active = classmethod(lambda _cls: True)
        get_current_target = staticmethod(lambda: GPUTarget("cuda", capability, 32))
        get_current_device = staticmethod(lambda: 0)
        get_current_stream = staticmethod(lambda _device: 0)
        get_active_torch_device = staticmethod(lambda: None)
        get_benchmarker = staticmethod(lambda: None)
        map_python_to_cpp_type = staticmethod(ty_to_cpp)

    driver.set_active(Answers())
    # Set behind the knob's back: through it the environment would change, and with that every key.
    knobs.compilation.__dict__["disable_line_info"] = True


def compile_kernel(kernel: Kernel) -> tuple[dict[str, Any], str]:
    """Compile one kernel; returns its entry, with contents, and the C source of its launcher."""
    from triton.backends.nvidia import driver  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    module, function, words = kernel
    jit = getattr(importlib.import_module(module), function)
    made = jit.warmup(*[argument(word) for word in words], grid=(1,))
    files = {
        name: Path(path).read_bytes()
        for name, path in made.metadata_group.items()
        if name.endswith((".cubin", ".json"))
    }
    for name in [name for name in files if name.endswith(".json")]:
        files[name] = without_paths(files[name])
    constants = {(jit.arg_names.index(at),) if isinstance(at, str) else at: v for at, v in made.src.constants.items()}
    source = driver.make_launcher(constants, dict(made.src.signature), getattr(made.metadata, "tensordesc_meta", None))
    return {"kind": "kernel", "name": function, "keys": [base32(made.hash)], "arguments": list(words),
            "files": files}, str(source)  # fmt: skip


def without_paths(metadata: bytes) -> bytes:
    """Return a kernel's metadata with libraries named as they lie in Triton's package; loading reads none of that."""
    read = json.loads(metadata)
    read["extern_libs"] = [
        [name, str(path)[at:] if (at := str(path).find("triton/backends/")) >= 0 else Path(path).name]
        for name, path in read.get("extern_libs") or []
    ]
    return json.dumps(read).encode()


def compile_module(name: str, source: str, work: Path, library_dirs: Sequence[str]) -> dict[str, Any]:
    """Compile one C module as Triton does; returns its entry, with contents."""
    from triton.backends.nvidia import driver  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    from triton.runtime import build  # noqa: PLC0415

    folder = work / hashlib.sha256(source.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / f"{name}.c"
    text.write_text(source, encoding="utf-8")
    # The driver's name has to be written down although the one here has nothing that is wanted.
    flags = [f"-ffile-prefix-map={folder}=.", "-s", "-Wl,--build-id=none", "-Wl,--no-as-needed"]
    flags += [str(Path(place, "libcuda.so.1")) for place in library_dirs]
    built = build._build(  # noqa: SLF001 - the very function that runs at run time
        name, str(text), str(folder), list(library_dirs), driver.include_dirs, driver.libraries, flags
    )
    return {"kind": "module", "name": name, "keys": module_keys(source),
            "files": {Path(built).name: Path(built).read_bytes()}}  # fmt: skip


def driver_to_name(work: Path) -> str:
    """Make a libcuda.so.1 without content, for the linker to write its name down; returns its folder."""
    folder = work / "driver"
    folder.mkdir(parents=True, exist_ok=True)
    argv = [os.environ.get("CC") or shutil.which("gcc") or "gcc", "-shared", "-nostdlib", "-x", "c", os.devnull]
    subprocess.run([*argv, "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")], check=True)
    return str(folder)


def write_tree(out: Path, entries: Iterable[Mapping[str, Any]]) -> int:
    """Write the files of all entries below `out` and index.json beside them; returns how many bytes they have."""
    if out.exists():
        shutil.rmtree(out)
    index, size = {}, 0
    for entry in sorted(entries, key=lambda one: str(one["keys"][0])):
        files = {}
        for name, content in sorted(entry["files"].items()):
            path = Path("files", entry["keys"][0], name)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(content)
            size += len(content)
            digest = hashlib.sha256(content).hexdigest()
            files[name] = {"path": path.as_posix(), "sha256": digest, "size": len(content)}
        about = {key: entry[key] for key in ("kind", "name", "arguments") if key in entry}
        index.update({key: {**about, "files": files} for key in entry["keys"]})
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": 1, "entries": dict(sorted(index.items()))}, indent=1)
    (out / "index.json").write_text(text + "\n", encoding="utf-8")
    return size


def build(kernels: Sequence[Kernel], work: Path, capability: int) -> list[dict[str, Any]]:
    """Compile the kernels, each launcher once, and cuda_utils; prints one line for each."""
    from triton.backends.nvidia import driver  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    pretend(capability)
    entries, sources = [], {Path(driver.__file__).with_name("driver.c").read_text(encoding="utf-8"): "cuda_utils"}
    for kernel in kernels:
        started = time.monotonic()
        entry, launcher = compile_kernel(kernel)
        entries.append(entry)
        sources[launcher] = "__triton_launcher"
        words = ",".join(map(str, kernel[2]))
        print(f"{time.monotonic() - started:7.1f} s  {kernel[1]}({words})", flush=True)
    folders = [driver_to_name(work)]
    for source, name in sources.items():
        started = time.monotonic()
        entries.append(compile_module(name, source, work, folders))
        print(f"{time.monotonic() - started:7.1f} s  {name}", flush=True)
    return entries


def main(argv: Sequence[str] | None = None) -> int:
    """Compile everything on the list and write the tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).with_name("sglang_kernels_prebuild.toml")
    parser.add_argument("--kernels", type=Path, default=default)
    parser.add_argument("--work", type=Path, required=True, help="folder for intermediate files, kept between runs")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced")
    parser.add_argument("--arch", default="9.0")
    options = parser.parse_args(argv)
    # Python puts the script's folder first on the search path, where our flashinfer.py would be taken for FlashInfer.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    kernels = read_kernels(options.kernels)
    work = options.work.resolve()
    # What others set for their own runs would enter the keys, or answer from another cache.
    for name in [name for name in os.environ if name.startswith("TRITON_")]:
        del os.environ[name]
    os.environ["TRITON_CACHE_DIR"] = str(work / "cache")
    for module in sorted({module for module, _, _ in kernels}):
        importlib.import_module(module)  # before the pretended driver: SGLang would ask it for more than Triton does
    entries = build(kernels, work, int(options.arch.rstrip("af").replace(".", "")))
    size = write_tree(options.out.resolve(), entries)
    print(f"{len(entries)} entries, {size} bytes, in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
