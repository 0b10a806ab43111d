"""Seconds from process start to a ready SGLang engine: cold, with kernels built ahead, and with warm caches.

    python benchmarks/h200_start.py --out benchmarks/results/h200-start.json [--harvest DIR]

Run it with the Python of the environment being measured, on a node with the GPU. All three use the same arguments
(all decode batch sizes, piecewise graphs on) and the same checkpoint; an unmeasured run first brings all files into
the page cache and fills the warm caches. Cold and prebuilt get a new HOME each time; for cold the packages of
built kernels are hidden behind empty ones of the same name. The kinds take turns, so that drift hits all of them.
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
from collections.abc import Sequence
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


def hide_prebuilt(folder: Path, versions: dict[str, str]) -> None:
    """Write packages of the names of PREBUILT, with their versions, that hold no kernel."""
    (folder / "empty").mkdir(parents=True, exist_ok=True)
    for name in PREBUILT:
        package = folder / name.replace("-", "_")
        package.mkdir(exist_ok=True)
        version, place = versions.get(name, "0"), str(folder / "empty")
        code = f"__version__ = {version!r}\n\n\ndef get_jit_cache_dir():\n    return {place!r}\n"
        (package / "__init__.py").write_text(code, encoding="utf-8")


def environment(home: Path, *, hidden: Path | None) -> dict[str, str]:
    """The variables of one run: every cache inside `home`."""
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
    if hidden:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(hidden), os.environ.get("PYTHONPATH", "")]))
    return env


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
    }
    made = len(row["compiled"])
    print(f"{name:14}ready {row['ready_s']:6.1f} s, token {row['first_token_s']:6.1f} s, {made} compiled", flush=True)
    return row


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Make the checkpoint, fill the warm caches, then run every kind in turn; returns the results."""
    versions, model = level_io.versions(), work / "small-llama"
    argv = [sys.executable, LEVELS / "fp32_reference.py", "--make", "--model", model, "--tokens", "2", "--limit", "1"]
    status, _, log = level_io.run_child([*argv, "--out", work / "reference.json"], log=work / "make.log", limit_s=300)
    if status != 0:
        sys.exit(f"the checkpoint could not be written: {level_io.classify.classify(log).sentence}")
    hidden = work / "hidden"
    hide_prebuilt(hidden, versions)
    warm = environment(work / "home-warm", hidden=None)
    lay(options.harvest, warm)
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    start_engine(work, model, warm, "fill", options.limit)
    for repeat in range(options.repeats):
        for kind in KINDS:
            name = f"{kind}-{repeat}"
            env = (
                warm
                if kind == "warm"
                else environment(work / f"home-{name}", hidden=hidden if kind == "cold" else None)
            )
            if kind == "prebuilt":
                lay(options.harvest, env)
            runs[kind].append(start_engine(work, model, env, name, options.limit))
    return summary(runs)


def lay(harvest: Path | None, env: dict[str, str]) -> None:
    """Lay what was harvested into the caches of `env`, as an installed bundle would."""
    if harvest:
        jit_caches.place(harvest, jit_caches.roots({**os.environ, **env}))


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians and ratios, recomputed from the runs."""
    ready = {kind: statistics.median(row["ready_s"] for row in rows) for kind, rows in runs.items()}
    first = {kind: statistics.median(row["first_token_s"] for row in rows) for kind, rows in runs.items()}
    return {
        **{f"{kind}_s": ready[kind] for kind in KINDS},
        **{f"{kind}_first_token_s": first[kind] for kind in KINDS},
        "prebuilt_over_warm": ready["prebuilt"] / ready["warm"],
        "cold_over_prebuilt": ready["cold"] / ready["prebuilt"],
        "runs": runs,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--harvest", type=Path, help="what `verify --harvest` packed, laid down for prebuilt and warm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=240, help="seconds that one engine may take")
    parser.add_argument("--work", type=Path, help="folder for homes and logs; a temporary one otherwise")
    options = parser.parse_args(argv)
    if not level_io.gpus():
        sys.exit("no GPU: nvidia-smi shows none")
    with tempfile.TemporaryDirectory(prefix="h200-start-") as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        results = measure(options, work)
    document = {
        "schema": 1,
        "name": "h200-start",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"gpus": level_io.gpus(), "cores": len(os.sched_getaffinity(0))},
        "versions": level_io.versions(),
        "command": shlex.join(["python", "benchmarks/h200_start.py", *(argv if argv is not None else sys.argv[1:])]),
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(level_io.json_ready(document), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
