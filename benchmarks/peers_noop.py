"""Cold and no-op runs on the same real sdists: bringup, fromager, `uv pip install --no-binary`, `pip wheel`.

    python benchmarks/peers_noop.py [--fromager FROMAGER] [--pip PIP] [--uv UV]

Each tool makes wheels of the same packages of PyPI from their sdists, with caches of its own: "cold" with nothing
there, downloads included; "no-op" again with nothing changed, the best of several runs; "start" is --version. bringup
builds with pinned build requirements, the others resolve them. fromager also builds the build backends from source,
which is what it is for. In every run it asks its own embedded index server and backs off while that is not there, about
three seconds; "no-op without waiting" is CPU time, which holds none of that. uv's no-op looks at the environment, where
the packages are installed already; it makes no wheels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import sample_data, sample_environment, table, timed, tool, version_of, write_result  # noqa: E402

RUNS = 5


def best(argv: list[str | Path], env: dict[str, str], cwd: Path) -> dict[str, Any]:
    """Return the fastest of several runs."""
    runs = [timed(argv, env=env, cwd=cwd) for _ in range(RUNS)]
    return {key: min(run[key] for run in runs) for key in ("wall_s", "cpu_s")}


def commands(folder: Path, tools: dict[str, Path]) -> dict[str, list[Any]]:
    """Return what each tool is asked to do."""
    data, wanted = sample_data(folder)
    found: dict[str, list[Any]] = {
        "bringup": [
            tools["bringup"], "-m", "bringup.cli", "build", "--gpu", "cpu", "--data", data,
            "--build-dir", folder / "build", *(word for name in wanted for word in ("--only", name)),
        ],
    }  # fmt: skip
    pins = [f"{name}=={version}" for name, version in wanted.items()]
    if "fromager" in tools:
        places = [
            "--sdists-repo",
            folder / "f/sdists",
            "--wheels-repo",
            folder / "f/wheels",
            "--work-dir",
            folder / "f/work",
        ]
        found["fromager"] = [tools["fromager"], *places, "bootstrap", *pins]
    if "pip" in tools:
        found["pip wheel"] = [
            tools["pip"],
            "wheel",
            "--no-deps",
            "--no-binary",
            ":all:",
            "-w",
            folder / "wheels",
            *pins,
        ]
    if "uv" in tools:
        timed([tools["uv"], "venv", "-q", "--python", sys.executable, folder / "venv"])
        found["uv pip install"] = [
            tools["uv"], "pip", "install", "-q", "--no-deps", "--no-binary", ":all:",
            "--python", folder / "venv/bin/python", *pins,
        ]  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--fromager", "--pip", "--uv"):
        parser.add_argument(name, default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    tools = {"bringup": Path(sys.executable)}
    for name in ("fromager", "pip", "uv"):
        found = tool(name, getattr(args, name))
        if found:
            tools[name] = found
    versions = {name: version_of(path) for name, path in tools.items() if name != "bringup"}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bringup-peers-") as name:
        folder = Path(name)
        env = sample_environment(folder)
        for one, argv in commands(folder, tools).items():
            if one == "fromager":  # it starts a uv that it finds on the PATH
                env = {**env, "PATH": f"{argv[0].parent}:{env['PATH']}"}
            cold = timed(argv, env=env, cwd=ROOT if one == "bringup" else folder)
            program = [*argv[:3], "--version"] if one == "bringup" else [argv[0], "--version"]
            results[one] = {
                "cold": {"wall_s": cold["wall_s"], "cpu_s": cold["cpu_s"]},
                "no-op": best(argv, env, ROOT if one == "bringup" else folder),
                "start": best(program, env, ROOT if one == "bringup" else folder),
            }
    write_result("peers-noop", versions, results, args.out)
    print(show(results))
    return 0


def show(results: dict[str, Any]) -> str:
    """Return the table with ratios to bringup."""
    ours = results["bringup"]
    rows = []
    for name, one in results.items():
        cells = [f"{one[part]['wall_s']:.2f} ({one[part]['wall_s'] / ours[part]['wall_s']:.2f}x)" for part in one]
        rows.append([name, *cells, f"{one['no-op']['cpu_s']:.2f}"])
    return table(["tool", "cold, s", "no-op, s", "start, s", "no-op without waiting, CPU s"], rows)


if __name__ == "__main__":
    sys.exit(main())
