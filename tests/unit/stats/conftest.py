"""Small records of a run: two packages, four compilers, one of which waited for memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bringup.building.unit_history import Unit, read_units
from bringup.stats.runs import Run, read_run
from bringup.system.layout import Layout

T = 1_800_000_000.0
STEPS = (
    # step, after, start, seconds, outcome
    ("alpha:fetch", (), 0, 10, "done"),
    ("beta:fetch", (), 0, 4, "done"),
    ("alpha:build", ("alpha:fetch", "cuda:prepare"), 10, 20, "done"),
    ("beta:build", ("beta:fetch",), 4, 5, "done"),
    ("environment:install", ("alpha:build", "beta:build"), 30, 2, "done"),
)
UNITS = (
    # key, start, wall, rss in MiB, wait, why, slot
    ("alpha|a.cu|a.o", 11, 4, 1000, 0, "", 0),
    ("alpha|b.cu|b.o", 11, 4, 3000, 0, "", 1),
    ("alpha|c.cu|c.o", 17, 12, 500, 3, "memory", 0),
    ("beta|d.c|d.o", 5, 1, 20, 0, "", 1),
)


def run_document() -> dict[str, object]:
    steps = [
        {"step": name, "after": after, "start": T + start, "seconds": seconds, "outcome": outcome, "tool_seconds": 1,
         "cpu_seconds": 3}
        for name, after, start, seconds, outcome in STEPS
    ]  # fmt: skip
    order = {name: after for name, after, *_ in STEPS}
    return {
        "schema": 1, "target": "h200-cu130-cp311", "stack": "tiny", "started": T, "seconds": 32, "outcome": "done",
        "jobs": 2, "memory_mib": 4096, "units": "1-1", "order": order, "steps": steps,
    }  # fmt: skip


def unit_lines(run: str = "1-1") -> str:
    rows = [
        {"key": key, "lang": "cuda", "start": T + start, "wall": wall, "cpu": wall, "rss_kib": mib << 10,
         "need_mib": mib, "wait": wait, "why": why, "exit": 0, "signal": 0, "attempt": 1, "slot": slot, "running": 1,
         "pid": 7, "run": run}
        for key, start, wall, mib, wait, why, slot in UNITS
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A target with these records, among units of an older run."""
    found = Layout(build=tmp_path / "build", target="h200-cu130-cp311", cache=tmp_path / "cache")
    found.records.mkdir(parents=True)
    found.run.write_text(json.dumps(run_document()))
    found.units.write_text(unit_lines("0-1") + unit_lines() + '{"key": "cut')
    for name, _, _, seconds, _ in STEPS:
        record = {"step": name, "seconds": seconds, "tool_seconds": 1, "cpu_seconds": 3, "facts": {}, "date": "d"}
        if name == "alpha:build":
            record |= {"download_seconds": 4, "unpack_seconds": 2.5}
            record["facts"] = {
                "jobs": 2,
                "units": {"count": 3, "cpu_seconds": 20, "peak_mib": 3000, "together_mib": 4000},
                "compiler_cache": {"hits": 5, "misses": 1},
            }
        (found.records / f"{name.replace(':', '.')}.json").write_text(json.dumps(record))
    return found


@pytest.fixture
def run(layout: Layout) -> Run:
    found = read_run(layout.run)
    assert found is not None
    return found


@pytest.fixture
def units(layout: Layout) -> list[Unit]:
    return list(read_units(layout.units, run="1-1"))


@pytest.fixture
def change_run(layout: Layout) -> Callable[..., Run]:
    """Change values of run.json and read it again."""

    def change(**values: object) -> Run:
        layout.run.write_text(json.dumps(run_document() | values))
        found = read_run(layout.run)
        assert found is not None
        return found

    return change
