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
