"""Two packages that do not need each other, built by the program as a user starts it: at once, under one budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.program import Program
from helpers.sdists import local_recipe

from bringup.building.unit_history import read_units

# Compiles a file once the other package's build has come as far, and keeps what it was told to share.
BUILDING = """
import json, os, pathlib, subprocess, time
here = pathlib.Path({here!r})
(here / "{name}.up").touch()
for _ in range(600):
    if (here / "{other}.up").exists():
        break
    time.sleep(0.05)
else:
    raise SystemExit("{other} does not come")
(here / "{name}.json").write_text(json.dumps(dict(os.environ)))
(here / "{name}.c").write_text("int value;")
subprocess.run(["gcc", "-c", here / "{name}.c", "-o", here / "{name}.o"], check=True)
VALUE = 1
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    recipes = [
        local_recipe(tmp_path / "src", name, during_build=BUILDING.format(here=str(tmp_path), name=name, other=other))
        for name, other in (("alpha", "gamma"), ("gamma", "alpha"))
    ]
    return Program.at(tmp_path, write_data(tmp_path / "data", *recipes))


def test_independent_packages_are_built_at_the_same_time_under_one_budget(program, tmp_path):
    done = program.run("build", "--jobs", "3", "--memory", "2", "--nice", "3")
    assert "3 jobs (--jobs), 2 GiB of memory (--memory)" in done.out
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alpha", "gamma"))
    assert one["MAKEFLAGS"] == two["MAKEFLAGS"]
    assert one["MAKEFLAGS"].startswith(" -j3 --jobserver-auth=fifo:")
    assert (one["BRINGUP_PACKAGE"], two["BRINGUP_PACKAGE"]) == ("alpha", "gamma")
    assert not Path(one["BRINGUP_JOBS"]).exists(), "the budget ends with the build"
    (records,) = program.build_dir.glob("*/units.jsonl")
    units = {unit.package: unit for unit in read_units(records)}
    assert sorted(units) == ["alpha", "gamma"]
    assert {(unit.lang, unit.exit, unit.name) for unit in units.values()} == {("c", 0, "alpha.c"), ("c", 0, "gamma.c")}
    for name in ("alpha", "gamma"):
        (record,) = program.build_dir.glob(f"*/records/{name}.build.json")
        facts = json.loads(record.read_text())["facts"]["units"]
        assert (facts["count"], facts["compiled_again"]) == (1, 0)
        assert facts["peak_mib"] > 5
    assert not list(program.build_dir.glob("*/jobs.json"))
    (trace,) = program.build_dir.glob("*/trace.json")
    bars = {event["name"]: event for event in json.loads(trace.read_bytes())["traceEvents"] if event["ph"] == "X"}
    assert {"alpha:build", "gamma:build", "alpha.c", "gamma.c"} <= set(bars)
    begin, end = bars["alpha:build"]["ts"], bars["alpha:build"]["ts"] + bars["alpha:build"]["dur"]
    assert begin <= bars["alpha.c"]["ts"] < end
    assert "expected: " in done.out
    assert "critical path: " in done.out
    told = json.loads(program.run("stats", "--json").out)
    assert told["run"]["outcome"] == "done"
    assert {"alpha:build", "gamma:build"} <= {step["step"] for step in told["steps"]}
