"""Seconds from process start to a ready SGLang engine: cold, with built and harvested kernels, with warm caches.

    ENVIRONMENT/bin/python benchmarks/h200_start.py --out benchmarks/results/h200-start.json [--cuda-home DIR]

Run it with the Python of an installed bundle's environment (build/TARGET/env/bin/python), on a node with the GPU. All
three kinds use the same arguments (all decode sizes, piecewise graphs on) and the same checkpoint; an unmeasured
run first brings all files into the page cache and fills the warm caches. Cold and prebuilt get a new HOME each, and
what a run leaves there is listed. For cold the packages of built kernels are hidden behind empty ones of the same name
and Triton uses its own cache alone, so CUDA_HOME has to hold nvcc. The kinds take turns, in changing order, so that
drift and what one run does to the next hit all of them; OUT is written after every run. On an H200 node a cold start
took 92 s and the others 20 s: `--cold-repeats 1` ends within five minutes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LEVELS = Path(os.environ.get("BRINGUP_LEVELS", ROOT / "bringup" / "verify" / "levels"))
sys.path.insert(0, str(LEVELS))

import jit_caches  # type: ignore[import-not-found]  # noqa: E402 - found through the line above
import level_io  # type: ignore[import-not-found]  # noqa: E402
import sglang_level  # type: ignore[import-not-found]  # noqa: E402

KINDS = ("cold", "prebuilt", "warm")
PREBUILT = ("flashinfer-jit-cache", "sglang-jit-cache")
TRITONS_OWN = "triton.runtime.cache:FileCacheManager"
"""Value of TRITON_CACHE_MANAGER with which what lies in packages is not found."""


def hide_prebuilt(folder: Path, versions: dict[str, str]) -> None:
    """Write packages of the names of PREBUILT, with their versions, that hold no kernel."""
    (folder / "empty").mkdir(parents=True, exist_ok=True)
    for name in PREBUILT:
        package = folder / name.replace("-", "_")
        package.mkdir(exist_ok=True)
        version, place = versions.get(name, "0"), str(folder / "empty")
        code = f"__version__ = {version!r}\n\n\ndef get_jit_cache_dir():\n    return {place!r}\n"
        (package / "__init__.py").write_text(code, encoding="utf-8")


def environment(home: Path, *, hidden: Path | None, cuda_home: Path | None = None) -> dict[str, str]:
    """The variables of one run: every cache inside `home`, and the compilers of the environment that runs this."""
    for folder in (home, home / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    env = dict(sglang_level.ENGINE_ENV)
    env |= {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "FLASHINFER_WORKSPACE_BASE": str(home),
        "FLASHINFER_DISABLE_JIT": "",
        "TVM_FFI_CACHE_DIR": str(home / ".cache" / "tvm-ffi"),
        "TRITON_CACHE_DIR": str(home / ".triton" / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor"),
        "SGLANG_CACHE_DIR": str(home / ".cache" / "sglang"),
        "CUDA_CACHE_PATH": str(home / ".nv" / "ComputeCache"),
    }
    tools = Path(sys.executable).parent
    env["PATH"] = os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)])
    for name, tool in (("CC", "gcc"), ("CXX", "g++"), ("CUDAHOSTCXX", "g++")):
        if (tools / tool).exists():
            env[name] = str(tools / tool)
    if cuda_home:
        env["CUDA_HOME"] = str(cuda_home)
    if hidden:
        env["TRITON_CACHE_MANAGER"] = TRITONS_OWN
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(hidden), os.environ.get("PYTHONPATH", "")]))
    return env


def left_in(home: Path) -> dict[str, int]:
    """Return how many files lie in a home folder, and their bytes."""
    sizes = [path.stat().st_size for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def start_engine(work: Path, model: Path, env: dict[str, str], name: str, limit_s: float) -> dict[str, Any]:
    """Start one engine, take one token, stop it; returns seconds and what was compiled.

    Raises:
        SystemExit: it did not come up; the message names the cause.
    """
    task, out = work / "task.json", work / f"{name}.json"
    task.write_text(json.dumps({"prompts": [], "count": 1, "logprobs": False, "batches": [], "vocab": 32000}))
    folders = jit_caches.roots({**os.environ, **env})
    before = jit_caches.snapshot(folders)
    argv = [sys.executable, LEVELS / "engine_child.py", "--model", model, "--task", task, "--out", out]
    argv += ["--mem-fraction-static", str(sglang_level.SMALL_MODEL_MEMORY), "--started", repr(time.time())]
    status, _, log = level_io.run_child(argv, log=work / f"{name}.log", env=env, limit_s=limit_s)
    document = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    if status != 0 or "first_token_s" not in document:
        sys.exit(f"{name}: {level_io.classify.classify(log).sentence} (log: {work / f'{name}.log'})")
    items = jit_caches.compiled(before, jit_caches.snapshot(folders))
    seen = sglang_level.engine_log.read(log)
    row = {
        "ready_s": document["ready_s"],
        "first_token_s": document["first_token_s"],
        "import_s": document["import_s"],
        "capture_s": seen.seconds,
        "decode_graphs": len(seen.decode_sizes),
        "piecewise_graphs": len(seen.piecewise_sizes),
        "compiled": sorted({f"{item.cache}: {item.name}" for item in items}),
        "left": left_in(Path(env["HOME"])),
    }
    made = len(row["compiled"])
    print(f"{name:14}ready {row['ready_s']:6.1f} s, token {row['first_token_s']:6.1f} s, {made} compiled", flush=True)
    return row


def plan(repeats: int, cold_repeats: int) -> list[tuple[str, int]]:
    """Return kind and number of every run in turn, every second round backwards."""
    wanted = {"cold": cold_repeats, "prebuilt": repeats, "warm": repeats}
    rounds = [KINDS[:: -1 if turn % 2 else 1] for turn in range(max(wanted.values()))]
    return [(kind, turn) for turn, kinds in enumerate(rounds) for kind in kinds if turn < wanted[kind]]


def measure(options: argparse.Namespace, work: Path, write: Callable[[dict[str, Any]], None]) -> None:
    """Make the checkpoint, fill the warm caches, then run every kind in turn; `write` gets the results so far."""
    versions, model = level_io.versions(), work / "small-llama"
    argv = [sys.executable, LEVELS / "fp32_reference.py", "--make", "--model", model, "--tokens", "2", "--limit", "1"]
    status, _, log = level_io.run_child([*argv, "--out", work / "reference.json"], log=work / "make.log", limit_s=300)
    if status != 0:
        sys.exit(f"the checkpoint could not be written: {level_io.classify.classify(log).sentence}")
    hidden = work / "hidden"
    hide_prebuilt(hidden, versions)
    warm = environment(work / "home-warm", hidden=None, cuda_home=options.cuda_home)
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    start_engine(work, model, warm, "fill", options.limit)
    for kind, turn in plan(options.repeats, options.cold_repeats):
        name = f"{kind}-{turn}"
        env = warm
        if kind != "warm":
            shadow = hidden if kind == "cold" else None
            env = environment(work / f"home-{name}", hidden=shadow, cuda_home=options.cuda_home)
        runs[kind].append(start_engine(work, model, env, name, options.limit))
        write(summary(runs))


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians and ratios, recomputed from the runs; of kinds that have none yet, nothing."""
    ready = {kind: statistics.median(row["ready_s"] for row in rows) for kind, rows in runs.items() if rows}
    first = {kind: statistics.median(row["first_token_s"] for row in rows) for kind, rows in runs.items() if rows}
    results: dict[str, Any] = {f"{kind}_s": seconds for kind, seconds in ready.items()}
    results |= {f"{kind}_first_token_s": seconds for kind, seconds in first.items()}
    if {"prebuilt", "warm"} <= set(ready):
        results["prebuilt_over_warm"] = ready["prebuilt"] / ready["warm"]
    if {"cold", "prebuilt"} <= set(ready):
        results["cold_over_prebuilt"] = ready["cold"] / ready["prebuilt"]
    compiled = {kind: sorted({name for row in rows for name in row["compiled"]}) for kind, rows in runs.items() if rows}
    return {**results, "compiled": compiled, "runs": runs}


def toolkit(given: Path | None) -> Path | None:
    """Return a CUDA toolkit with nvcc: the one given, CUDA_HOME, or /usr/local/cuda; None if there is none."""
    places = [given] if given else [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")), Path("/usr/local/cuda")]
    return next((place for place in places if place and (place / "bin" / "nvcc").is_file()), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold-repeats", type=int, help="cold starts, 0 for none; --repeats without it")
    parser.add_argument("--cuda-home", type=Path, help="toolkit with nvcc, for cold; CUDA_HOME without it")
    parser.add_argument("--limit", type=float, default=240, help="seconds that one engine may take")
    parser.add_argument("--work", type=Path, help="folder for homes and logs; a temporary one otherwise")
    options = parser.parse_args(argv)
    if options.cold_repeats is None:
        options.cold_repeats = options.repeats
    options.cuda_home = toolkit(options.cuda_home)
    if options.cold_repeats and options.cuda_home is None:
        sys.exit("a cold start compiles: name a toolkit with bin/nvcc by --cuda-home, or give --cold-repeats 0")
    if not level_io.gpus():
        sys.exit("no GPU: nvidia-smi shows none")
    document = {
        "schema": 1,
        "name": "h200-start",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"gpus": level_io.gpus(), "cores": len(os.sched_getaffinity(0))},
        "versions": level_io.versions(),
        "command": shlex.join(["python", "benchmarks/h200_start.py", *(argv if argv is not None else sys.argv[1:])]),
        "results": {},
    }

    def write(results: dict[str, Any]) -> None:
        text = json.dumps(level_io.json_ready({**document, "results": results}), indent=1)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory(prefix="h200-start-") as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        measure(options, work, write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
