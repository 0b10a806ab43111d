"""Putting what was built before into a fresh environment: bringup's store against uv's cache.

    python benchmarks/store_restore.py [--uv UV] [--runs 7] [--big WHEEL] [--stack STACK --cache CACHE --built BUILD]

Both make a new environment with the same distributions of PyPI: four samples that each has built from their sdists
before, and what the lock of their stack has besides. bringup's figures are those of a whole `install` (it starts,
plans, checks every file against the hashes of our wheels, looks for conflicts) and of its install steps alone, which do
what the two uv commands do. The runs of both alternate; the least counts, because what else a machine does only ever
adds. Each goes into a folder of its own, removed at the end: ext4 takes a hundred times longer to make folders for half
a minute after as many were removed.

With --big one large wheel is put into a new environment, by uv alone and as bringup does it: found in the store, linked
from the environment that is kept (the first time installed by uv), all files checked. The store's own part on it is
measured too: taking it in, finding it for the first time (it is hashed) and afterwards (its times are compared).

With --stack a whole stack that was built before goes into a new environment: CACHE is bringup's cache that has it,
BUILD the build directory with its toolkit, and uv gets the same distributions and wheels as requirement files, with its
own cache filled.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import (  # noqa: E402
    SAMPLES,
    STACK,
    fresh,
    sample_data,
    sample_environment,
    table,
    timed,
    tool,
    version_of,
    write_result,
)  # fmt: skip

KEY = "ab" * 16
NUMBERS = itertools.count()


def install_ours(data: Path, place: Path, env: Mapping[str, str]) -> dict[str, float]:
    """Install into a new build directory; return seconds of everything, and of its install steps."""
    place = place / f"{next(NUMBERS)}"
    argv = [sys.executable, "-m", "bringup.cli", "install", "--gpu", "cpu", "--data", data, "--build-dir", place]
    run = timed(argv, cwd=ROOT, env=env)
    records = [json.loads(path.read_text()) for path in place.glob("*/records/*.install.json")]
    seconds = round(sum(record["seconds"] for record in records), 2)
    return {"wall_s": run["wall_s"], "cpu_s": run["cpu_s"], "install_s": seconds}


def install_with_uv(uv: Path, data: Path, place: Path, env: Mapping[str, str]) -> dict[str, float]:
    """Make an environment with uv alone; return its seconds."""
    place = place / f"{next(NUMBERS)}"
    from_source = [word for name in SAMPLES for word in ("--no-binary", name)]
    first = timed([uv, "venv", "-q", "--python", sys.executable, place], env=env)
    argv = [uv, "pip", "install", "-q", "--no-deps", "--require-hashes", *from_source,
            "--python", place / "bin/python", "-r", data / f"recipes/stacks/{STACK}.lock"]  # fmt: skip
    second = timed(argv, env=env)
    return {key: round(first[key] + second[key], 3) for key in ("wall_s", "cpu_s")}


def alternate(runs: int, ways: Mapping[str, Callable[[], dict[str, float]]]) -> dict[str, Any]:
    """Return for each way its first run, which builds, and the least of the others."""
    first = {name: way() for name, way in ways.items()}
    others: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            others[name].append(way())
    return {
        name: {"first": first[name], "restore": {key: min(run[key] for run in others[name]) for key in first[name]}}
        for name in ways
    }


def large(wheel: Path, uv: Path | None, folder: Path, runs: int) -> dict[str, Any]:
    """Return seconds of the store's own work on one wheel, and of putting it into new environments."""
    from bringup.kept import keep, restore  # noqa: PLC0415
    from bringup.store import Store  # noqa: PLC0415
    from bringup.verify.linked import check_linked  # noqa: PLC0415

    store, kept = Store(folder / "store"), folder / "kept/big"
    seconds = {}
    for name, work in (
        ("take in", lambda: store.add(KEY, package="big", version="1", wheels=[wheel], inputs={}, seconds=1, date="")),
        ("find first", lambda: Store(folder / "store").lookup(KEY)),
        ("find again", lambda: Store(folder / "store").lookup(KEY)),
    ):
        started = time.perf_counter()
        assert work().entry
        seconds[name] = round(time.perf_counter() - started, 4)
    found: dict[str, Any] = {"mib": round(wheel.stat().st_size / (1 << 20)), "seconds": seconds}
    if uv is None:
        return found
    env = {"PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(folder / "uv-big")}

    def install(path: Path, place: Path) -> None:
        timed([uv, "venv", "-q", "--python", sys.executable, place], env=env)
        timed([uv, "pip", "install", "-q", "--no-deps", "--python", place / "bin/python", path], env=env)

    def put(*, ours: bool) -> dict[str, float]:
        place = folder / "big" / f"{next(NUMBERS)}"
        started = time.perf_counter()
        path = store.lookup(KEY).wheels[0] if ours else wheel
        linked = ours and restore(kept, place)
        if not linked:
            install(path, place)
        if ours:
            assert check_linked(next(place.glob("lib/python3.*/site-packages")), path) == []
        seconds = round(time.perf_counter() - started, 3)
        assert linked or not ours or keep(place, kept)
        return {"wall_s": seconds}

    put(ours=True)
    time.sleep(2.1)  # what was unpacked a moment ago is hashed once more
    put(ours=True)
    return found | {"install": alternate(runs, {"bringup": lambda: put(ours=True), "uv": lambda: put(ours=False)})}


def whole_stack(args: argparse.Namespace, uv: Path, folder: Path) -> dict[str, Any]:
    """Return the restores of a stack that was built before, as `alternate` does."""
    env = {**os.environ, "BRINGUP_CACHE": str(args.cache), "BRINGUP_CONFIG": str(folder / "none.toml")}
    places = args.cache.parent / f"{args.cache.name}-restore"  # on the same file system: files are linked
    lists = [folder / name for name in ("requirements.txt", "wheels.txt")]

    def ours() -> dict[str, float]:
        build = fresh(places / f"{next(NUMBERS)}")
        (build / "toolchains").symlink_to(args.built.absolute() / "toolchains")
        words = ["install", "--gpu", args.gpu, "--stack", args.stack, "--build-dir", build]
        run = timed([sys.executable, "-m", "bringup.cli", *words], cwd=ROOT, env=env)
        records = [json.loads(path.read_text()) for path in build.glob("*/records/*.install.json")]
        for file in lists:
            shutil.copy(next(build.glob(f"*/env/{file.name}")), file)
        seconds = round(sum(record["seconds"] for record in records), 2)
        return {"wall_s": run["wall_s"], "cpu_s": run["cpu_s"], "install_s": seconds}

    def theirs() -> dict[str, float]:
        place = fresh(places / f"{next(NUMBERS)}")
        first = timed([uv, "venv", "-q", "--python", sys.executable, place], env=env)
        argv = [uv, "pip", "install", "-q", "--no-deps", "--offline", "--require-hashes", "--python",
                place / "bin/python", *(word for file in lists for word in ("-r", file))]  # fmt: skip
        second = timed(argv, env=env)
        return {key: round(first[key] + second[key], 3) for key in ("wall_s", "cpu_s")}

    try:
        found = alternate(args.runs, {"bringup": ours, "uv": theirs})
        environment = next(places.glob("*/*/env")).resolve()
        files = sum(len(names) for _, _, names in os.walk(environment))
        return {"stack": args.stack, "files": files, **found}
    finally:
        shutil.rmtree(places, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", default="")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--big", type=Path)
    parser.add_argument("--stack", default="")
    parser.add_argument("--gpu", default="h200")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--built", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    uv = tool("uv", args.uv)
    with tempfile.TemporaryDirectory(prefix="bringup-restore-") as name:
        folder = Path(name)
        env = sample_environment(folder)
        data, _ = sample_data(folder)
        ways = {"bringup": lambda: install_ours(data, folder / "build", env)}
        if uv:
            alone = env | {"UV_CACHE_DIR": str(folder / "uv-alone")}
            ways["uv"] = lambda: install_with_uv(uv, data, folder / "environment", alone)
        results = alternate(args.runs, ways)
        if args.stack and uv:
            results["whole stack"] = whole_stack(args, uv, folder)
        if args.big:
            results["large wheel"] = large(args.big, uv, folder, args.runs)
    write_result("store-restore", {"uv": version_of(uv)} if uv else {}, results, args.out)
    print(show(results))
    return 0


def show(results: dict[str, Any]) -> str:
    """Return the tables; ratios are to uv."""
    rows = []
    base = results.get("uv", results["bringup"])["restore"]["wall_s"]
    for name in ("bringup", "uv"):
        if name in results:
            first, again = results[name]["first"], results[name]["restore"]
            rows.append([name, first["wall_s"], again["wall_s"], f"{again['wall_s'] / base:.2f}x", again["cpu_s"]])
    steps = results["bringup"]["restore"]["install_s"]
    rows.append(["bringup, install steps", "", steps, f"{steps / base:.2f}x", ""])
    text = table(["tool", "first, s", "restore, s", "to uv", "CPU, s"], rows)
    big = results.get("large wheel")
    if big:
        text += f"\nlarge wheel of {big['mib']} MiB: {big['seconds']}"
        for name, one in big.get("install", {}).items():
            text += f"\n  {name}: first {one['first']['wall_s']} s, again {one['restore']['wall_s']} s"
    stack = results.get("whole stack")
    if stack:
        base = stack["uv"]["restore"]["wall_s"]
        text += f"\nstack {stack['stack']}, {stack['files']} files:"
        for name in ("bringup", "uv"):
            again = stack[name]["restore"]["wall_s"]
            text += f"\n  {name}: {again} s, {again / base:.2f}x"
    return text


if __name__ == "__main__":
    sys.exit(main())
