"""How long `list`, `plan` and a build with nothing to do take, and what of it is starting Python and importing.

    python benchmarks/startup.py [--runs 15] [--build-dir build] [--out benchmarks/results/startup.json]
    python benchmarks/startup.py --check        only the budget of imports, as continuous integration does

Every run is a process of its own, through ./invokew where its .venv is there. The cases take turns, so that what others
do on the machine meets all of them alike; least and median are given, wall and CPU seconds, and ratios to the start of
the same Python doing nothing, which hold on other machines. Without a build directory that holds a finished target one
is made up: store, records and a toolkit of as many (empty) files as the real one has, which is what a plan looks at.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import write_result  # noqa: E402

PYTHON = Path(os.environ.get("BRINGUP_VENV") or ROOT / ".venv") / "bin/python"
LAUNCHED = PYTHON.exists()
TARGET = ("--gpu", "h200", "--stack", "kernels")
GROUPS = ("invoke", "msgspec", "packaging", "bringup")
TOOLKIT_FILES = 1500

# What a plan must not import: each takes long, and nothing that a plan does needs it. And how many modules it may, all
# told; raise this only with a reason.
HEAVY = ("invoke", "tomllib", "ssl", "http.client", "asyncio", "zipfile", "tarfile", "email", "bringup.phases")
MODULES = 260


def command(words: tuple[str, ...]) -> list[str]:
    """Return the program with these words; without a .venv this Python stands in for the launcher's."""
    return [str(ROOT / "invokew"), *words] if LAUNCHED else [*direct(), *words]


def direct() -> list[str]:
    """Return the program without the launcher."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bringup.cli import main; main()"
    return [sys.executable, "-I", "-c", code]


def run_once(argv: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Return wall and CPU seconds of one run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, cwd=ROOT, env=dict(env), check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(cases: Mapping[str, list[str]], runs: int, env: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return least and median seconds of each case; they take turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for argv in cases.values():
        run_once(argv, env)  # writes .pyc files and what is kept of the data
    for _ in range(runs):
        for name, argv in cases.items():
            seen[name].append(run_once(argv, env))
    return {
        name: {
            "wall_s": round(min(wall for wall, _ in found), 3),
            "wall_median_s": round(statistics.median(wall for wall, _ in found), 3),
            "cpu_s": round(min(cpu for _, cpu in found), 3),
            "cpu_median_s": round(statistics.median(cpu for _, cpu in found), 3),
        }
        for name, found in seen.items()
    }


def modules(words: tuple[str, ...], env: Mapping[str, str]) -> list[str]:
    """Return the modules that a command imports, from `-X importtime`."""
    argv = [*direct()[:2], "-X", "importtime", *direct()[2:], *words]
    done = subprocess.run(
        argv, cwd=ROOT, env=dict(env), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    rows = [line for line in done.stderr.splitlines() if line.startswith("import time:") and "[us]" not in line]
    return [row.split("|")[2].strip() for row in rows]


def over_budget(words: tuple[str, ...], env: Mapping[str, str]) -> list[str]:
    """Return what a command imports against the budget."""
    names = modules(words, env)
    found = [f"imports {one}" for one in HEAVY if any(f"{name}.".startswith(f"{one}.") for name in names)]
    return found + ([f"imports {len(names)} modules, and {MODULES} are allowed"] if len(names) > MODULES else [])


def make_up(folder: Path) -> Path:
    """Make a build directory whose target is finished, as far as a plan can see; return it."""
    from bringup.context import Outcome  # noqa: PLC0415
    from bringup.model.plan import Decision, Phase, Request  # noqa: PLC0415
    from bringup.report import Silent  # noqa: PLC0415
    from bringup.session import open_session  # noqa: PLC0415
    from bringup.system.layout import Settings  # noqa: PLC0415
    from bringup.toolchain.assemble import assemble  # noqa: PLC0415

    settings = Settings(data=ROOT, build=folder / "build", cache=folder / "cache")
    session = open_session(Request(gpu="h200", stack="kernels", toolkit="wheels"), settings, Silent())
    wheel = folder / "made_up-1-py3-none-any.whl"
    wheel.write_bytes(b"no wheel, but as large as one of Python files" * 2000)

    def fill(made: Path, _home: Path) -> None:
        for number in range(TOOLKIT_FILES):
            path = made / f"include/{number // 50}/{number}.h"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    for step in session.plan.steps:
        if step.phase is Phase.BUILD and step.decision is Decision.RUN:
            session.context.store.add(
                step.fingerprint, package=step.package, version="1", wheels=[wheel],
                inputs=session.plan.inputs[step.package], seconds=1, date="2026-01-01",
            )  # fmt: skip
        elif step.id == "cuda:prepare":
            release = session.plan.target.cuda.version
            assemble(session.context.layout.toolchains, f"cuda-{release}-wheels", step.fingerprint, fill)
        elif step.package in ("requirements", "environment"):
            session.state.finish(step, Outcome(outputs=(wheel,)), 1.0)
    return settings.build


def nothing_to_do(place: tuple[str, ...], env: Mapping[str, str]) -> bool:
    """Return whether a build here would run no step: only then is it measured, and never begun."""
    argv = [*direct(), "plan", *TARGET, *place, "--json"]
    done = subprocess.run(argv, cwd=ROOT, env=dict(env), check=True, capture_output=True, text=True)
    return all(step["decision"] != "run" for step in json.loads(done.stdout)["steps"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--check", action="store_true", help="check the budget of imports; measure and write nothing")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bringup-startup-") as name:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        build, made_up = given.build_dir.resolve(), False
        if not nothing_to_do(("--build-dir", str(build)), env):
            build, made_up = make_up(Path(name)), True
            env["BRINGUP_CACHE"] = str(Path(name) / "cache")
            time.sleep(2.1)  # nothing is kept of files that were written a moment ago
        place = ("--build-dir", str(build), *(("--toolkit", "wheels") if made_up else ()))
        cases = {"list gpus": ("list", "gpus"), "plan": ("plan", *TARGET, *place)}
        if nothing_to_do(place, env):
            cases["build with nothing to do"] = ("build", *TARGET, *place)
        for _ in range(2):  # the first of them may read the data files
            problems = [f"{case}: {line}" for case, words in cases.items() for line in over_budget(words, env)]
        print("\n".join(problems) or f"imports are within the budget: {', '.join(cases)}")
        if given.check or problems:
            return 1 if problems else 0
        started = {"python alone": [sys.executable, "-I", "-c", "pass"],
                   "import invoke": [sys.executable, "-I", "-c", "import invoke"]}  # fmt: skip
        results: dict[str, Any] = measure(
            {**started, **{case: command(words) for case, words in cases.items()}}, given.runs, env
        )
        nothing = results["python alone"]["cpu_s"]
        for case, words in cases.items():
            names = modules(words, env)
            own = {group: sum(one.partition(".")[0] == group for one in names) for group in GROUPS}
            results[case]["times_python_alone"] = round(results[case]["cpu_s"] / nothing, 1)
            results[case]["imports"] = {"modules": len(names), **own}
    results |= {"launcher": LAUNCHED, "made up": made_up, "note": given.note}
    write_result("startup", {}, results, given.out)
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
