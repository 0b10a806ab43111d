"""Planning and store with 10 to 10,000 generated recipes: seconds and peak memory, which should grow as the recipes do.

    python benchmarks/scaling.py [--sizes 10,100,1000,10000]

Each recipe needs up to three of those before it, and is built against them. Measured, each size in a process of its
own: a first plan (everything would be built), filling the store with one wheel for each recipe, a plan with everything
in the store, and a plan after the root of all has changed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from _common import table, write_result  # noqa: E402

SIZES = "10,100,1000,10000"


def generate(folder: Path, size: int) -> Path:
    """Write a data folder with so many recipes and return it."""
    from helpers.data_root import Recipe, write_data  # noqa: PLC0415

    recipes = []
    for index in range(size):
        needs = {f"p{(index * step) // 7:05}" for step in (1, 3, 6) if index}
        recipes.append(Recipe(name=f"p{index:05}", needs=tuple(sorted(needs - {f"p{index:05}"})), backend="setup.py"))
    return write_data(folder, *recipes)


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Return seconds of each part; runs in a process of its own."""
    from helpers.program import fake_toolkit  # noqa: PLC0415

    from bringup.config.catalogue import load_catalogue  # noqa: PLC0415
    from bringup.model.plan import Request  # noqa: PLC0415
    from bringup.report import Silent  # noqa: PLC0415
    from bringup.session import open_session  # noqa: PLC0415
    from bringup.system.layout import Settings  # noqa: PLC0415

    data = generate(folder / "data", size)
    fake_toolkit(folder / "cuda")
    settings = Settings(data=data, build=folder / "build", cache=folder / "cache")
    request = Request(gpu="h200")
    open_session(request, settings, Silent())  # what is known of compilers is remembered from here on
    seconds: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        started = time.perf_counter()
        result = work()
        seconds[name] = round(time.perf_counter() - started, 3)
        return result

    timed("load", lambda: load_catalogue(data))
    session = timed("first plan", lambda: open_session(request, settings, Silent()))
    wheel = folder / "x-1.0-py3-none-any.whl"
    wheel.write_bytes(b"x" * 1000)
    store, plan = session.context.store, session.plan

    def fill() -> None:
        for name, key in plan.fingerprints.items():
            store.add(
                key, package=name, version="1.0", wheels=[wheel], inputs=plan.inputs[name], seconds=1, date="2026-01-01"
            )

    timed("fill the store", fill)
    again = timed("plan, all in the store", lambda: open_session(request, settings, Silent()))
    assert sum(step.decision == "reuse" and step.phase == "build" for step in again.plan.steps) == size
    recipe = data / "recipes/p00000.toml"
    recipe.write_text(recipe.read_text().replace('sha256 = "0', 'sha256 = "1'))
    changed = timed("plan, the root changed", lambda: open_session(request, settings, Silent()))
    rebuilt = sum(step.decision == "run" and step.phase == "build" for step in changed.plan.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"seconds": seconds, "peak_mib": peak, "rebuilt": rebuilt, "steps": len(plan.steps)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(Path(args.one[0]), int(args.one[1]))))
        return 0
    results: dict[str, Any] = {}
    for size in (int(one) for one in args.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="bringup-scaling-") as folder:
            env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "CUDA_HOME": f"{folder}/cuda"}
            argv = [sys.executable, __file__, "--one", folder, str(size)]
            done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
        results[str(size)] = json.loads(done.stdout)
    write_result("scaling", {}, results, args.out)
    print(show(results))
    return 0


def show(results: dict[str, Any]) -> str:
    """Return the table: seconds, and milliseconds for each recipe."""
    names = list(next(iter(results.values()))["seconds"])
    rows = []
    for size, one in results.items():
        cells = [f"{one['seconds'][name]:.2f} ({one['seconds'][name] / int(size) * 1000:.2f})" for name in names]
        rows.append([size, one["steps"], *cells, one["peak_mib"]])
    return table(["recipes", "steps", *(f"{name}, s (ms each)" for name in names), "peak MiB"], rows)


if __name__ == "__main__":
    sys.exit(main())
