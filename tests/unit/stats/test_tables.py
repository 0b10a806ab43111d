"""`invoke stats`: which target is meant, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bringup.errors import UsageError
from bringup.stats.runs import Run
from bringup.stats.tables import document, find_target, last_bound_lines, lines
from bringup.system.layout import Layout


def test_rows_of_steps(layout: Layout):
    rows = {row["step"]: row for row in document(layout)["steps"]}
    build = rows["alpha:build"]
    assert (build["seconds"], build["tool_seconds"]) == (20, 1)
    assert (build["download_seconds"], build["unpack_seconds"], build["own_seconds"]) == (4, 2.5, 12.5)
    assert (rows["alpha:fetch"]["unpack_seconds"], rows["alpha:fetch"]["own_seconds"]) == (None, 9)
    assert (build["cpu_seconds"], build["cores_busy"], build["peak_mib"]) == (20, 0.5, 3000)
    assert rows["alpha:fetch"]["cpu_seconds"] == 3
    assert rows["alpha:fetch"]["peak_mib"] is None


def test_what_an_old_record_lacks_is_not_made_up(layout: Layout):
    (layout.records / "alpha.fetch.json").write_text('{"step": "alpha:fetch", "seconds": 2}')
    row = next(row for row in document(layout)["steps"] if row["step"] == "alpha:fetch")
    assert [row[key] for key in ("tool_seconds", "own_seconds", "cpu_seconds", "cores_busy")] == [None] * 4


def test_worst_units_count_once(layout: Layout):
    found = document(layout)
    assert found["worst_by_time"][0]["unit"].startswith("alpha|c")
    assert [unit["peak_mib"] for unit in found["worst_by_memory"]] == [3000, 1000, 500, 20]


def test_reuse_is_counted(layout: Layout):
    steps = [{"decision": "run"}, {"decision": "reuse"}, {"decision": "reuse"}, {"decision": "skip"}]
    (layout.root / "plan.json").write_text(json.dumps({"steps": steps}))
    reuse = document(layout)["reuse"]
    assert reuse == {"run": 1, "reuse": 2, "skip": 1, "compiler_hits": 5, "compiler_misses": 1}


def test_what_failed_stands_last_and_says_so(layout: Layout, change_run: Callable[..., Run]):
    step = {"step": "alpha:build", "start": 1_800_000_010, "seconds": 3, "outcome": "failed"}
    change_run(steps=[step], outcome="failed")
    found = document(layout)
    assert [row["step"] for row in found["steps"]].count("alpha:build") == 1
    assert (found["steps"][-1]["step"], found["steps"][-1]["outcome"]) == ("alpha:build", "failed")
    assert any(line.endswith("failed") and "alpha:build" in line for line in lines(found))


def test_lines_for_people(layout: Layout):
    text = "\n".join(lines(document(layout)))
    assert "critical path: alpha fetch 10 s, alpha build 20 s, environment install 2.0 s" in text
    assert "bounded by:    one unit (c.cu, 12 s alone): one unit 12 s, network 10 s" in text
    assert "2.9 GiB  alpha: b.cu" in text
    assert "compiler cache: 5 hits, 1 misses" in text


def test_records_alone_are_enough(layout: Layout):
    layout.run.unlink()
    layout.units.unlink()
    found = document(layout)
    assert (found["run"], found["critical"], len(found["steps"])) == (None, None, 5)
    assert lines(found)[0] == "h200-cu130-cp311"
    assert last_bound_lines(layout) == []


@pytest.mark.parametrize(
    "asked", [{}, {"target": "h200-cu130-cp311"}, {"gpu": "h200"}, {"gpu": "h200", "cuda": "13.0"}]
)
def test_target_is_found(layout: Layout, asked: dict[str, str]):
    assert find_target(layout.build, **asked) == "h200-cu130-cp311"


@pytest.mark.parametrize("asked", [{"target": "h2"}, {"gpu": "h20"}, {"gpu": "b200"}, {"gpu": "h200", "cuda": "12.4"}])
def test_target_without_a_build(layout: Layout, asked: dict[str, str]):
    with pytest.raises(UsageError, match=r"no build of .* is recorded") as caught:
        find_target(layout.build, **asked)
    assert "h200-cu130-cp311" in caught.value.hint


def test_no_build_at_all_and_several(layout: Layout, tmp_path: Path):
    with pytest.raises(UsageError, match="no build is recorded"):
        find_target(tmp_path / "nothing")
    other = layout.build / "h200-cu124-cp311"
    other.mkdir()
    (other / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="several targets"):
        find_target(layout.build, gpu="h200")


def test_names_that_a_generator_made_are_cut_in_their_middle(layout: Layout):
    found = document(layout)
    long = "batch_prefill_" + "dtype_q_bf16_" * 15 + "sm90"
    found["worst_by_time"][0]["unit"] = f"alpha|build/{long}/mask_0.cu|x.o"
    assert any(line.endswith("alpha: build/batch_prefill_dtype_..._bf16_sm90/mask_0.cu") for line in lines(found))


def test_a_build_for_cpus_is_found(tmp_path: Path):
    (tmp_path / "cpu-cp311/records").mkdir(parents=True)
    (tmp_path / "cpu-cp311/records/alpha.build.json").write_text("{}")
    assert find_target(tmp_path) == "cpu-cp311"
    assert find_target(tmp_path, gpu="cpu") == "cpu-cp311"
    with pytest.raises(UsageError):
        find_target(tmp_path, gpu="h200")
