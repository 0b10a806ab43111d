"""benchmarks/check on results that are in order, and on each of them after somebody has made it look better."""

import copy
import functools
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "benchmarks"))

import check_results  # noqa: E402
import token_rule  # noqa: E402 - found through benchmarks/levels_evidence.py

STEPS = 100
TOKENS = [[number * 64 + step for step in range(64)] for number in range(16)]
BOUND = token_rule.margin_bound("bfloat16", 4, std=1.0, top=5.0)
GPU = {"index": "0", "name": "NVIDIA H200", "uuid": "GPU-01", "driver_version": "580.1"}
LINES = [
    "Capture cuda graph begin. avail mem=96.72 GB",
    "Capture cuda graph bs [1, 2, 4]",
    "Capture cuda graph end. Time elapsed: 1.76 s. mem usage=0.45 GB. avail mem=96.27 GB.",
    "Capture cuda graph num tokens [4, 8]",
    "Capture piecewise CUDA graph end. Time elapsed: 2.33 s. mem usage=0.30 GB. avail mem=95.97 GB.",
]
STEP_LINES = ["Prefill batch. cuda graph: True", "Decode batch. cuda graph: True", "Decode batch. cuda graph: True"]


def check(name, why="", **evidence):
    return {"id": name, "status": "OK", "why": why, "required": True, "evidence": evidence}


def level(name, checks, **evidence):
    found = {"gpus": [GPU], **evidence}
    return {
        "level": name,
        "status": "OK",
        "why": "",
        "seconds": 1.0,
        "warnings": [],
        "checks": checks,
        "evidence": found,
    }


def plain():
    digests = [f"{step:016x}" for step in range(STEPS)]
    rows = [list(range(STEPS)), list(range(STEPS, 2 * STEPS))]
    checks = [
        check("torch.graph-equals-eager", "100 of 100 replays", eager=digests, replays=digests[:], finite=True),
        check("torch.inputs-change", "100 different results", first_rows=digests[:]),
        check("torch.memory-growth", "0 bytes more", allocated=0, reserved=0),
        check("torch.tokens", "200 distinct tokens in 200"),
        check("torch.reference", "logits differ", noise=[0.04] * STEPS, bound=[0.08] * STEPS),
        check("torch.no-compilation", "nothing"),
    ]
    latency = {"eager_ms": 3.0, "graph_ms": 0.5, "ratio": 6.0, "steps": STEPS}
    return level("torch", checks, tokens=rows, eager_tokens=copy.deepcopy(rows), latency=latency, compiled=[])


def kernels():
    copied, times = 2**30, [0.5] * 20
    speed = 2 * copied / 0.5e-3
    limit = 2**29 / speed * 1e3
    decode = {"ms": 0.2, "fraction_of_limit": limit / 0.2, "times_ms": [0.1, 0.2, 0.3]}
    rows = {
        "copied_bytes": copied, "copy_ms": times, "copy_bytes_per_s": speed, "kv_bytes": 2**29, "limit_ms": limit,
        "expected_fraction": 0.5, "decode": decode, "decode-tensor-core-fa2": copy.deepcopy(decode),
    }  # fmt: skip
    checks = [
        check("flashinfer.kernel.decode", "relative error 2.46e-03", relative_error=2.46e-3, allowed=4 * 2.0**-8),
        check("flashinfer.no-compilation", "nothing"),
    ]
    return level("flashinfer", checks, bandwidth=rows, compiled=[])


def engines():
    bench = [{"batch": 8, "step_s": 0.002, "tokens_per_s": 4000.0, "all_step_s": [0.001, 0.002, 0.004]}]
    slow = [{"batch": 8, "step_s": 0.004, "tokens_per_s": 2000.0, "all_step_s": [0.003, 0.004, 0.005]}]
    same = "16 of 16 sequences identical, 1024 distinct tokens"
    names = ("sglang.graph.tokens", "sglang.eager.tokens", "sglang.graph-equals-eager")
    checks = [
        *(check(name, same, distinct=1024, differences=[]) for name in names),
        check("sglang.graph.decode-graphs", "3 decode graphs"), check("sglang.graph.piecewise-graphs", "2 piecewise"),
        check("sglang.graph.prefill-from-graph", "1 of 1"), check("sglang.graph.decode-from-graph", "2 of 2"),
        check("sglang.graph.logprobs", "0 of 1024 log probabilities"), check("sglang.graph.no-compilation"),
    ]  # fmt: skip
    column = {"margins": 1.0, "bounds": BOUND, "stds": 1.0, "tops": 5.0, "logprobs": -2.0}
    reference = {"tokens": TOKENS, **{key: [[value] * 64 for _ in TOKENS] for key, value in column.items()}}
    graph = {
        "tokens": copy.deepcopy(TOKENS), "bench": bench, "compiled": [], "server": {"cuda_graph_bs": [1, 2, 4]},
        "captured": {"lines": LINES, "step_lines": STEP_LINES},
        "scored": {"tokens": TOKENS, "logprobs": [[-2.1] * 64 for _ in TOKENS]},
    }  # fmt: skip
    eager = {"tokens": copy.deepcopy(TOKENS), "bench": slow, "compiled": []}
    speed = [{"batch": 8, "graph_ms_per_token": 2.0, "eager_ms_per_token": 4.0, "speedup": 2.0}]
    reference |= {"layers": 4, "tested_dtype": "bfloat16"}
    return level("sglang", checks, reference=reference, graph=graph, eager=eager, speed=speed)


@functools.cache
def whole():
    static = level("static", [check("static.wheel.x")], wheels={"x.whl": "a" * 64})
    levels = [static, plain(), kernels(), engines()]
    shape = dict.fromkeys(("schema", "name", "date", "machine", "versions", "command"), "x")
    return json.dumps({**shape, "results": {"levels": levels}})


def good():
    return json.loads(whole())


def evidence(document, number, name):
    return next(one for one in document["results"]["levels"][number]["checks"] if one["id"] == name)["evidence"]


def level_evidence(document, number):
    return document["results"]["levels"][number]["evidence"]


TAMPERINGS = {
    "a replay that differs": (
        lambda d: evidence(d, 1, "torch.graph-equals-eager")["replays"].__setitem__(3, "f" * 16),
        "torch.graph-equals-eager",
    ),
    "replays that do not move": (
        lambda d: evidence(d, 1, "torch.inputs-change")["first_rows"].__setitem__(1, "0" * 16),
        "torch.inputs-change",
    ),
    "memory that grew": (lambda d: evidence(d, 1, "torch.memory-growth").update(reserved=2), "torch.memory-growth"),
    "noise above its bound": (lambda d: evidence(d, 1, "torch.reference").update(noise=[0.1] * 100), "torch.reference"),
    "collapsed tokens": (lambda d: level_evidence(d, 1).update(tokens=[[1, 2] * 50] * 2), "torch.tokens"),
    "a better ratio": (lambda d: level_evidence(d, 1)["latency"].update(ratio=7.0), "torch.latency.ratio"),
    "something compiled": (lambda d: level_evidence(d, 1)["compiled"].append({"name": "x"}), "torch.no-compilation"),
    "a wrong kernel": (
        lambda d: evidence(d, 2, "flashinfer.kernel.decode").update(relative_error=0.02), "flashinfer.kernel.decode",
    ),
    "a wider tolerance": (
        lambda d: evidence(d, 2, "flashinfer.kernel.decode").update(allowed=0.1), "flashinfer.kernel.decode: allowed",
    ),
    "a better fraction": (
        lambda d: level_evidence(d, 2)["bandwidth"]["decode"].update(fraction_of_limit=0.99), "fraction_of_limit",
    ),
    "a faster copy": (lambda d: level_evidence(d, 2)["bandwidth"].update(copy_bytes_per_s=1e12), "copy_bytes_per_s"),
    "a token of the engine": (
        lambda d: level_evidence(d, 3)["graph"]["tokens"][2].__setitem__(5, 31999), "sglang.graph.tokens",
    ),
    "a narrower margin bound": (
        lambda d: level_evidence(d, 3)["reference"]["bounds"][0].__setitem__(0, 9.0), "bound of sequence 0, token 0",
    ),
    "a capture line left out": (
        lambda d: level_evidence(d, 3)["graph"]["captured"].update(lines=LINES[:2]), "sglang.graph.decode-graphs",
    ),
    "another count of graphs": (
        lambda d: level_evidence(d, 3)["graph"]["server"].update(cuda_graph_bs=[1, 2]), "sglang.graph.decode-graphs",
    ),
    "no step from a graph": (
        lambda d: level_evidence(d, 3)["graph"]["captured"].update(step_lines=[]), "sglang.graph.decode-from-graph",
    ),
    "log probabilities": (
        lambda d: level_evidence(d, 3)["graph"]["scored"].update(logprobs=[[-9.0] * 64] * 16), "sglang.graph.logprobs",
    ),
    "a median": (lambda d: level_evidence(d, 3)["graph"]["bench"][0].update(step_s=0.001), "step_s"),
    "a speedup": (lambda d: level_evidence(d, 3)["speed"][0].update(speedup=3.0), "speedup"),
    "a failed check in an OK level": (
        lambda d: d["results"]["levels"][0]["checks"][0].update(status="FAIL"), "its checks make it FAIL",
    ),
    "no GPU named": (lambda d: level_evidence(d, 1).update(gpus=[]), "UUID and driver"),
    "no hash of a wheel": (lambda d: level_evidence(d, 0).update(wheels={"x.whl": ""}), "SHA-256 of the wheels"),
    "evidence taken out": (lambda d: level_evidence(d, 3).pop("reference"), "sglang: the evidence cannot be used"),
}  # fmt: skip


def test_what_is_in_order_has_no_finding():
    assert list(check_results.findings(good())) == []


@pytest.mark.parametrize(("change", "told"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_tampering_is_named(change, told):
    document = good()
    change(document)
    found = list(check_results.findings(document))
    assert found
    assert told in "\n".join(found)


def test_medians_and_ratios_of_start_times():
    runs = {"cold": [{"ready_s": value} for value in (60.0, 62.0, 70.0)], "warm": [{"ready_s": 20.0}]}
    results = {"runs": runs, "cold_s": 62.0, "warm_s": 20.0, "cold_over_warm": 3.1}
    document = good() | {"results": results}
    assert list(check_results.findings(document)) == []
    for key, value in (("cold_s", 60.0), ("cold_over_warm", 3.0)):
        assert any(
            line.startswith(key) for line in check_results.findings({**document, "results": {**results, key: value}})
        )


def test_the_program_collects_levels_and_says_what_does_not_follow(tmp_path, capsys):
    levels = good()["results"]["levels"]
    (tmp_path / "one.json").write_text(json.dumps({"date": "2026", "levels": levels}))
    out = tmp_path / "h200-levels.json"
    assert check_results.main(["--write", str(out), str(tmp_path / "one.json")]) == 0
    document = json.loads(out.read_text())
    assert [one["level"] for one in document["results"]["levels"]] == ["static", "torch", "flashinfer", "sglang"]
    document["results"]["levels"][1]["evidence"]["latency"]["ratio"] = 9.0
    out.write_text(json.dumps(document))
    assert check_results.main([str(out)]) == 9
    assert "torch.latency.ratio" in capsys.readouterr().out
    out.write_text("{")
    assert check_results.main([str(out)]) == 2


@pytest.mark.parametrize(
    ("versions", "cache", "wrong"),
    [
        ({"sglang": "0.4.6"}, "triton", 0),
        ({"sglang": "0.4.6"}, "flashinfer", 1),
        ({"sglang-jit-cache": "1"}, "triton", 1),
    ],
)
def test_python_kernels_may_be_compiled_where_nothing_brings_them_along(versions, cache, wrong):
    document = good()
    evidence = document["results"]["levels"][3]["evidence"]
    evidence["versions"], evidence["graph"]["compiled"] = versions, [{"cache": cache, "name": "k"}]
    assert len(list(check_results.findings(document))) == wrong


@pytest.mark.parametrize(("server", "wrong"), [({}, 0), ({"memory_usage": {"graph": 1.0}}, 1)])
def test_graphs_may_be_told_by_the_log_alone_where_the_engine_tells_of_nothing(server, wrong):
    document = good()
    document["results"]["levels"][3]["evidence"]["graph"]["server"] = server
    assert len(list(check_results.findings(document))) == wrong
