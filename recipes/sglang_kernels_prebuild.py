"""Build ahead what SGLang's own JIT would compile at its first start, and pack it as the wheel sglang-jit-cache.

Runs in the environment of the stack (patched SGLang, tvm-ffi, torch) on a machine with a CUDA toolkit; no GPU is
needed, because the architecture is given. SGLang's patch 0004 looks into the package that this writes.

    python sglang_kernels_prebuild.py --work DIR --out DIR [--arch 9.0] [--jobs N] [--local cu130] [--triton DIR]

With --triton it also packs what sglang_kernels_triton.py wrote, and the manager that Triton finds it through.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGE = "sglang_jit_cache"
MANAGER = Path(__file__).with_name("sglang_kernels_manager.py")
# Python runs this line at its start; it imports nothing of ours, and a variable that the user has set stays as it is.
START = f'import os; os.environ.setdefault("TRITON_CACHE_MANAGER", "{PACKAGE}.manager:PackagedCacheManager")\n'
DTYPES = frozenset({"bfloat16", "float16", "float32", "int32", "int64", "int8"})
STAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold: the wheel is the same whenever it is packed

Job = tuple[str, str, tuple[Any, ...]]
"""Module below sglang.jit_kernel, function, arguments."""


def read_jobs(path: Path) -> list[Job]:
    """Return every kernel that the list asks for, in its order.

    Raises:
        ValueError: naming the file and the entry that is not right.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get("kernel", [])
    jobs = []
    for row in rows:
        missing = {"module", "function", "arguments"} - set(row)
        if missing:
            msg = f"{path}: kernel {row.get('module', '?')} has no {', '.join(sorted(missing))}"
            raise ValueError(msg)
        jobs += [(str(row["module"]), str(row["function"]), tuple(arguments)) for arguments in row["arguments"]]
    if not jobs:
        msg = f"{path}: names no kernel"
        raise ValueError(msg)
    return jobs


def build_one(job: Job, *, arch: str, cache: Path) -> dict[str, Any]:
    """Compile one kernel for `arch` into `cache`, in the layout of tvm-ffi; returns its key, file and seconds."""
    os.environ["TVM_FFI_CACHE_DIR"] = str(cache)
    os.environ["TVM_FFI_GPU_BACKEND"] = "cuda"
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415 - of the stack's environment, not of this project
    from sglang.jit_kernel import utils  # type: ignore[import-not-found]  # noqa: PLC0415

    module, function, arguments = job
    keys: list[str] = []

    def remember(key: str) -> None:
        keys.append(key)  # and finds nothing, so that the kernel is compiled

    utils._load_built_ahead = remember  # noqa: SLF001 - the patch that is being served
    typed = [getattr(torch, one) if isinstance(one, str) and one in DTYPES else one for one in arguments]
    started = time.monotonic()
    major, minor, suffix = parse_arch(arch)
    with utils.override_jit_cuda_arch(major, minor, suffix):
        getattr(importlib.import_module(f"sglang.jit_kernel.{module}"), function)(*typed)
    seconds = round(time.monotonic() - started, 2)
    name = keys[0].rpartition("_")[0]
    built = sorted(cache.glob(f"{name}_*/{name}.so"), key=lambda path: path.stat().st_mtime)
    if not built:
        msg = f"{module}.{function}{arguments} left no {name}.so in {cache}"
        raise RuntimeError(msg)
    return {"key": keys[0], "file": str(built[-1]), "seconds": seconds, "function": f"{module}.{function}",
            "arguments": list(arguments)}  # fmt: skip


def parse_arch(arch: str) -> tuple[int, int, str]:
    """Split "9.0a" into (9, 0, "a").

    Raises:
        ValueError: it is not an architecture.
    """
    digits = arch.rstrip("af")
    major, dot, minor = digits.partition(".")
    if not (dot and major.isdigit() and minor.isdigit()):
        msg = f"{arch!r} is not an architecture like 9.0 or 9.0a"
        raise ValueError(msg)
    return int(major), int(minor), arch[len(digits) :]


def triton_files(tree: Path | None) -> dict[str, bytes]:
    """Return what makes Triton find the entries below `tree`, by path in the wheel; nothing without a tree."""
    if tree is None:
        return {}
    entries = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    return {
        f"{PACKAGE}.pth": START.encode(),
        f"{PACKAGE}/manager.py": MANAGER.read_bytes(),
        **{f"{PACKAGE}/triton/{path.relative_to(tree).as_posix()}": path.read_bytes() for path in entries},
    }


def wheel_files(
    built: Sequence[Mapping[str, Any]], *, version: str, arch: str, triton: Path | None = None
) -> dict[str, bytes]:
    """Return what goes into the wheel by path: the package, its index with hashes, and the metadata."""
    modules = {f"{PACKAGE}/modules/{row['key']}.so": Path(row["file"]).read_bytes() for row in built}
    index = {
        "schema": 1,
        "arch": arch,
        "modules": [
            {
                "key": row["key"],
                "function": row["function"],
                "arguments": row["arguments"],
                "sha256": hashlib.sha256(modules[f"{PACKAGE}/modules/{row['key']}.so"]).hexdigest(),
            }
            for row in sorted(built, key=lambda row: str(row["key"]))
        ],
    }
    code = (
        '"""Kernels of sglang.jit_kernel, built ahead. SGLang looks them up by key; index.json lists them."""\n\n'
        "from pathlib import Path\n\n"
        f'__version__ = "{version}"\n\n\n'
        "def get_jit_cache_dir() -> str:\n"
        '    """Return the folder of the modules."""\n'
        '    return str(Path(__file__).resolve().parent / "modules")\n'
    )
    info = f"{PACKAGE}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: sglang-jit-cache\nVersion: {version}\nSummary: Kernels of SGLang's JIT, built ahead for {arch}\nRequires-Python: >=3.10\n"  # noqa: E501 - a template
    wheel = "Wheel-Version: 1.0\nGenerator: bringup\nRoot-Is-Purelib: false\nTag: py3-none-linux_x86_64\n"
    return {
        f"{PACKAGE}/__init__.py": code.encode(),
        f"{PACKAGE}/index.json": (json.dumps(index, indent=1) + "\n").encode(),
        **dict(sorted(modules.items())),
        **triton_files(triton),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": wheel.encode(),
    }


def write_wheel(out: Path, files: Mapping[str, bytes], *, version: str) -> Path:
    """Write the wheel with its RECORD, the same bytes for the same files."""
    record = f"{PACKAGE}-{version}.dist-info/RECORD"
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    listed = "\n".join([*lines, f"{record},,", ""])
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{PACKAGE}-{version}-py3-none-linux_x86_64.whl"
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, content in {**files, record: listed.encode()}.items():
            entry = zipfile.ZipInfo(name, STAMP)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    part.replace(path)
    return path


def check_environment() -> str:
    """Return SGLang's version; exits with what is missing if its patch or a compiler is not there."""
    from sglang.jit_kernel import utils  # noqa: PLC0415
    from sglang.version import __version__  # type: ignore[import-not-found]  # noqa: PLC0415

    if not hasattr(utils, "built_ahead_key"):
        sys.exit("this SGLang does not look for built kernels: install the one with patch 0004 of the stack")
    if not os.environ.get("CUDA_HOME"):
        sys.exit("CUDA_HOME is not set: point it at the toolkit of the target")
    return str(__version__).partition("+")[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Build all kernels of the list and pack them; prints the wheel's path last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=Path, default=Path(__file__).with_suffix(".toml"))
    parser.add_argument("--work", type=Path, required=True, help="tvm-ffi cache that is built into, kept between runs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheel")
    parser.add_argument("--arch", default="9.0", help="as tvm-ffi writes it; SGLang itself asks for 9.0 on an H200")
    parser.add_argument("--local", default="", help="local version label of the wheel, like cu130")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--triton", type=Path, help="tree of sglang_kernels_triton.py to pack as well")
    options = parser.parse_args(argv)
    # Python puts the script's folder first on the search path, where our flashinfer.py would be taken for FlashInfer.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    jobs, version = read_jobs(options.kernels), check_environment()
    # Strips and fixes the temporary names that nvcc leaves in objects, so that the result can be repeated.
    os.environ.setdefault("NVCC_APPEND_FLAGS", "-objtemp")
    work = functools.partial(build_one, arch=options.arch, cache=options.work.resolve())
    built = []
    with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=1) as pool:
        for row in pool.imap(work, jobs, chunksize=1):
            print(f"{row['seconds']:7.1f} s  {row['key']}", flush=True)
            built.append(row)
    full = version + (f"+{options.local}" if options.local else "")
    files = wheel_files(built, version=full, arch=options.arch, triton=options.triton)
    print(write_wheel(options.out, files, version=full))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
