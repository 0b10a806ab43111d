"""The benchmark of engine starts, as far as it needs no GPU."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "h200_start.py"
SPEC = importlib.util.spec_from_file_location("h200_start", SCRIPT)
start = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(start)


def row(ready, *compiled):
    return {"ready_s": ready, "first_token_s": ready + 1, "compiled": list(compiled)}


def test_medians_ratios_and_what_was_compiled():
    runs = {"cold": [row(60.0, "triton: k")], "prebuilt": [row(21.0), row(22.0), row(30.0)], "warm": [row(20.0)]}
    results = start.summary(runs)
    assert (results["cold_s"], results["prebuilt_s"], results["warm_s"]) == (60.0, 22.0, 20.0)
    assert results["prebuilt_first_token_s"] == 23.0
    assert results["prebuilt_over_warm"] == pytest.approx(1.1)
    assert results["cold_over_prebuilt"] == pytest.approx(60 / 22)
    assert results["compiled"] == {"cold": ["triton: k"], "prebuilt": [], "warm": []}


def test_a_kind_without_runs_has_no_figures():
    results = start.summary({"cold": [], "prebuilt": [row(21.0)], "warm": [row(20.0)]})
    assert "cold_s" not in results
    assert "cold_over_prebuilt" not in results
    assert results["prebuilt_over_warm"] == pytest.approx(1.05)


def test_the_kinds_take_turns():
    assert start.plan(2, 1) == [("cold", 0), ("prebuilt", 0), ("warm", 0), ("warm", 1), ("prebuilt", 1)]
    assert [kind for kind, _ in start.plan(2, 2)][2:4] == ["warm", "warm"]
    assert [kind for kind, _ in start.plan(1, 0)] == ["prebuilt", "warm"]


def test_what_a_run_left_in_its_home_is_counted(tmp_path):
    (tmp_path / "home/.cache/x").mkdir(parents=True)
    (tmp_path / "home/.cache/x/b.so").write_bytes(b"12")
    (tmp_path / "home/a").touch()
    (tmp_path / "home/link").symlink_to("nowhere")
    assert start.left_in(tmp_path / "home") == {"files": 2, "bytes": 2}


def test_cold_hides_what_was_built_and_what_was_harvested(tmp_path):
    start.hide_prebuilt(tmp_path / "hidden", {"sglang-jit-cache": "1.2"})
    cold = start.environment(tmp_path / "home", hidden=tmp_path / "hidden", cuda_home=tmp_path)
    assert cold["TRITON_CACHE_MANAGER"] == "triton.runtime.cache:FileCacheManager"
    assert cold["PYTHONPATH"].split(":")[0] == str(tmp_path / "hidden")
    assert cold["CUDA_HOME"] == str(tmp_path)
    assert "__version__ = '1.2'" in (tmp_path / "hidden/sglang_jit_cache/__init__.py").read_text()
    prebuilt = start.environment(tmp_path / "other", hidden=None)
    assert "TRITON_CACHE_MANAGER" not in prebuilt
    assert prebuilt["HOME"] != cold["HOME"]
    assert prebuilt["PATH"].startswith(str(Path(sys.executable).parent))


def test_cold_wants_a_toolkit_and_every_run_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="--cuda-home"):
        start.main(["--out", str(tmp_path / "o.json"), "--cuda-home", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="no GPU"):
        start.main(["--out", str(tmp_path / "o.json"), "--cold-repeats", "0"])


def test_a_toolkit_is_one_with_nvcc(tmp_path):
    (tmp_path / "cuda/bin").mkdir(parents=True)
    assert start.toolkit(tmp_path / "cuda") is None
    (tmp_path / "cuda/bin/nvcc").touch()
    assert start.toolkit(tmp_path / "cuda") == tmp_path / "cuda"
