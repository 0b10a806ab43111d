"""What the benchmarks share: measuring a command, the shape of a result file, tables."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"


class FailedError(RuntimeError):
    """A command that is measured has to succeed."""


def timed(
    argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a command and return wall and CPU seconds (children included) and what it said."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=dict(env) if env is not None else None, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        msg = f"{' '.join(str(word) for word in argv)}\n{done.stdout[-3000:]}"
        raise FailedError(msg)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3), "output": done.stdout}


def write_result(name: str, versions: Mapping[str, str], results: Any, out: Path | None) -> None:
    """Write a result file; `out` names another one than benchmarks/results/<name>.json."""
    document = {
        "schema": 1,
        "name": name,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(os.getloadavg()[0], 1),
            "system": platform.platform(),
        },
        "versions": {"python": platform.python_version(), **versions},
        "command": f"python benchmarks/{Path(sys.argv[0]).name}",
        "results": results,
    }
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table of aligned columns."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def tool(name: str, given: str = "") -> Path | None:
    """Return a program: the one that is named, beside this Python, or on the PATH; None if there is none."""
    beside = Path(sys.executable).with_name(name)
    found = given or (str(beside) if beside.exists() else shutil.which(name))
    return Path(found) if found else None


def version_of(program: Path) -> str:
    """Return the first line of what a program says to --version."""
    return str(timed([program, "--version"])["output"]).strip().splitlines()[0]


def fresh(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


# Small real sdists of PyPI, with what builds them; markupsafe compiles C.
SAMPLES = {
    "markupsafe": ("3.0.2", "ee55d3edf80167e48ea11a923c7386f4669df67d7994554387f84e7d8b0a2bf0", "setuptools"),
    "six": ("1.17.0", "ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81", "setuptools"),
    "tomli": ("2.2.1", "cd45e1dc79c835ce60f7404ec8119f2eb06d38b1deba146f07ced3bbc44505ff", "flit-core"),
    "idna": ("3.10", "12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9", "flit-core"),
}
STACK = "samples"
RECIPE = """schema = 1
name = "{name}"
distribution = "{name}"
module = "{name}"
summary = "Sample"
homepage = "https://example.org"
license = "MIT"
[[versions]]
version = "{version}"
patches = {patches}
  [versions.sources.sdist]
  kind = "sdist"
  project = "{name}"
  sha256 = "{sha256}"
[build]
backend = "pep517"
cuda = false
requires = ["{requires}"{wheel}]
"""


def sample_data(folder: Path) -> tuple[Path, dict[str, str]]:
    """Write a data folder with the samples and a locked stack of them; return it and versions by name."""
    data = folder / "data"
    for kind in ("cuda", "python", "gcc"):
        shutil.copytree(ROOT / "toolchains" / kind, data / "toolchains" / kind)
    (data / "toolchains/gpus").mkdir()
    lines = (ROOT / "toolchains/gpus/cpu.toml").read_text().splitlines()
    lines = [f'stack = "{STACK}"' if line.startswith("stack = ") else line for line in lines]
    (data / "toolchains/gpus/cpu.toml").write_text("\n".join(lines) + "\n")
    (data / "recipes/stacks").mkdir(parents=True)
    packages = [f'{name} = {{ version = "{one[0]}", source = "sdist" }}' for name, one in SAMPLES.items()]
    head = [
        "schema = 1", f'name = "{STACK}"', 'title = "Samples"', 'date = "2026-05-28"', 'python = "3.11"',
        'cuda = ["13.0"]', 'toolkits = ["wheels"]', "accelerator = false", "lock = true", "[packages]", *packages,
    ]  # fmt: skip
    (data / f"recipes/stacks/{STACK}.toml").write_text("\n".join(head) + "\n")
    for name in SAMPLES:
        write_sample(data, name)
    timed([sys.executable, "-m", "bringup.cli", "lock", "--stack", STACK, "--data", data], cwd=ROOT,
          env=sample_environment(folder))  # fmt: skip
    return data, {name: one[0] for name, one in SAMPLES.items()}


def write_sample(data: Path, name: str, more: str = "", patch: str = "") -> None:
    """Write one sample's recipe, with more TOML at its end and a patch."""
    version, sha256, requires = SAMPLES[name]
    place = data / "patches" / name / version
    shutil.rmtree(place, ignore_errors=True)
    if patch:
        place.mkdir(parents=True)
        (place / "0001-change.patch").write_text(patch)
    text = RECIPE.format(
        name=name, version=version, sha256=sha256, requires=requires,
        patches='["0001-change.patch"]' if patch else "[]", wheel=', "wheel"' if requires == "setuptools" else "",
    )  # fmt: skip
    (data / f"recipes/{name}.toml").write_text(text + more)


def sample_environment(folder: Path) -> dict[str, str]:
    """Return an environment with empty caches below `folder` and the machine's package index."""
    kept = ("PIP_", "UV_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy", "NO_PROXY")
    env = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    home = os.environ.get("HOME", "")
    for config in (".config/pip/pip.conf", ".pip/pip.conf", ".config/uv/uv.toml"):
        name = "UV_CONFIG_FILE" if config.endswith("uv.toml") else "PIP_CONFIG_FILE"
        if home and Path(home, config).is_file():
            env.setdefault(name, str(Path(home, config)))
    return env | {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder / "home"), "LC_ALL": "C.UTF-8",
        "BRINGUP_CACHE": str(folder / "cache"), "BRINGUP_CONFIG": str(folder / "none.toml"),
        "UV_CACHE_DIR": str(folder / "uv-cache"), "PIP_CACHE_DIR": str(folder / "pip-cache"),
    }  # fmt: skip
