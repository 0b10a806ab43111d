"""Putting what was built before into a fresh environment: bringup's store against uv's cache.

    python benchmarks/store_restore.py [--uv UV] [--big WHEEL]

bringup builds the samples of PyPI once and then installs them into a new target environment, its plan, checks of hashes
and verification of the environment included; the time of the install steps alone is given beside it. uv has built the
same sdists into its cache and installs them into a new environment. With --big the store's own part is measured on one
large wheel: taking it in, finding it for the first time (it is hashed) and afterwards (its times are compared).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import fresh, sample_data, sample_environment, table, timed, tool, version_of, write_result  # noqa: E402

RUNS = 3


def ours(folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """Return seconds of a whole `install` into a new environment, and of its install steps."""
    data, _ = sample_data(folder)
    argv = [sys.executable, "-m", "bringup.cli", "install", "--gpu", "cpu", "--data", data, "--build-dir"]
    cold = timed([*argv, folder / "first"], cwd=ROOT, env=env)
    runs = []
    for _ in range(RUNS):
        place = fresh(folder / "again")
        run = timed([*argv, place], cwd=ROOT, env=env)
        records = [json.loads(path.read_text()) for path in place.glob("*/records/*.install.json")]
        runs.append({"wall_s": run["wall_s"], "install_s": round(sum(record["seconds"] for record in records), 2)})
    return {"cold": {"wall_s": cold["wall_s"]}, "restore": min(runs, key=lambda run: run["wall_s"])}


def with_uv(uv: Path, folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """Return seconds of making an environment and installing into it from uv's cache."""
    _, wanted = sample_data(fresh(folder / "uv-data"))
    pins = [f"{name}=={version}" for name, version in wanted.items()]

    def run() -> float:
        place = folder / "uv-env"
        shutil.rmtree(place, ignore_errors=True)
        took = timed([uv, "venv", "-q", "--python", sys.executable, place], env=env)["wall_s"]
        argv = [
            uv,
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--python",
            place / "bin/python",
            *pins,
        ]
        return float(took + timed(argv, env=env)["wall_s"])

    cold = run()
    return {"cold": {"wall_s": cold}, "restore": {"wall_s": round(min(run() for _ in range(RUNS)), 3)}}


def large(wheel: Path, folder: Path) -> dict[str, Any]:
    """Return seconds of the store's own work on one wheel."""
    from bringup.store import Store  # noqa: PLC0415

    store = Store(folder / "store")
    seconds = {}
    for name, work in (
        (
            "take in",
            lambda: store.add(
                "ab" * 16, package="big", version="1", wheels=[wheel], inputs={}, seconds=1, date="2026-01-01"
            ),
        ),
        ("find first", lambda: Store(folder / "store").lookup("ab" * 16)),
        ("find again", lambda: Store(folder / "store").lookup("ab" * 16)),
    ):
        started = time.perf_counter()
        assert work().entry
        seconds[name] = round(time.perf_counter() - started, 4)
    return {"mib": round(wheel.stat().st_size / (1 << 20)), "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", default="")
    parser.add_argument("--big", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    uv = tool("uv", args.uv)
    with tempfile.TemporaryDirectory(prefix="bringup-restore-") as name:
        folder = Path(name)
        env = sample_environment(folder)
        results: dict[str, Any] = {"bringup": ours(folder, env)}
        if uv:
            results["uv"] = with_uv(uv, folder, env)
        if args.big:
            results["large wheel"] = large(args.big, folder)
    write_result("store-restore", {"uv": version_of(uv)} if uv else {}, results, args.out)
    print(show(results))
    return 0


def show(results: dict[str, Any]) -> str:
    """Return the table with ratios to bringup."""
    base = results["bringup"]["restore"]["wall_s"]
    rows = []
    for name in ("bringup", "uv"):
        if name in results:
            one = results[name]
            seconds = one["restore"]["wall_s"]
            rows.append(
                [name, one["cold"]["wall_s"], seconds, f"{seconds / base:.2f}x", one["restore"].get("install_s", "")]
            )
    text = table(["tool", "first, s", "restore, s", "ratio", "install steps alone, s"], rows)
    if "large wheel" in results:
        text += f"\nlarge wheel of {results['large wheel']['mib']} MiB: {results['large wheel']['seconds']}"
    return text


if __name__ == "__main__":
    sys.exit(main())
