import engine_log
import engine_report
import jit_caches
import level_io
import pytest
from test_engine_log import LOG

TOKENS = [[number * 64 + step for step in range(64)] for number in range(16)]
REFERENCE = {
    "tokens": TOKENS,
    "margins": [[1.0] * 64] * 16,
    "bounds": [[0.25] * 64] * 16,
    "logprobs": [[-2.0] * 64] * 16,
}


def engine(*, log=LOG, compiled=(), status=0, **more):
    document = {
        "ready_s": 20.0, "first_token_s": 20.5, "tokens": TOKENS,
        "bench": [{"batch": batch, "step_s": 0.001 * batch, "tokens_per_s": 1000.0} for batch in (1, 8)],
        "server": {
            "cuda_graph_bs": [1, 2, 4], "piecewise_cuda_graph_tokens": [4, 8, 12],
            "memory_usage": {"graph": 0.08},
        },
        "scored": {"tokens": TOKENS, "logprobs": [[-2.1] * 64] * 16},
    }  # fmt: skip
    return engine_report.Engine(
        name="graph", status=status, seconds=30.0, document=document | more, log=log, captured=engine_log.read(log),
        compiled=list(compiled),
    )  # fmt: skip


@pytest.fixture
def result():
    return level_io.Result("sglang")


def told(result):
    return {check["id"].removeprefix("sglang.graph."): check["status"] for check in result.checks}


def test_a_good_engine(result):
    good = engine()
    assert engine_report.report_engine(result, good, harvest=False)
    engine_report.report_graphs(result, good, piecewise=True)
    engine_report.report_logprobs(result, good, REFERENCE)
    assert told(result) == dict.fromkeys(
        (
            "runs",
            "no-compilation",
            "decode-graphs",
            "piecewise-graphs",
            "prefill-from-graph",
            "decode-from-graph",
            "logprobs",
        ),
        "OK",
    )
    assert result.evidence["graph"]["scored"]["tokens"] == TOKENS
    assert result.evidence["graph"]["captured"]["lines"]


def test_compiling_fails_by_name_and_harvest_only_warns(result):
    item = jit_caches.Compiled(cache="tvm-ffi", name="sgl_kernel_jit_kvcache_256_true", files=("x.so",))
    engine_report.report_engine(result, engine(compiled=[item]), harvest=False)
    assert told(result)["no-compilation"] == "FAIL"
    assert "kvcache_256" in result.checks[-1]["why"]
    other = level_io.Result("sglang")
    engine_report.report_engine(other, engine(compiled=[item]), harvest=True)
    assert "no-compilation" not in told(other)
    assert "kvcache_256" in other.warnings[0]


def test_an_engine_that_died_has_the_cause_of_its_log(result):
    dead = engine(status=-9, log="Capture cuda graph begin.\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    assert not engine_report.report_engine(result, dead, harvest=False)
    assert told(result) == {"runs": "FAIL"}
    assert "--mem-fraction-static" in result.checks[0]["why"]
    assert result.checks[0]["evidence"]["exit"] == -9


@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        ("Capture cuda graph end", "Capture cuda graph ???", {"decode-graphs"}),
        ("bs [1, 2, 4]", "bs [1, 2]", {"decode-graphs"}),
        ("Capture piecewise CUDA graph end", "gave up", {"piecewise-graphs"}),
        ("16, #token: 100, cuda graph: True", "16, #token: 100, cuda graph: False", {"decode-from-graph"}),
        ("4, cuda graph: True", "4, cuda graph: False", {"prefill-from-graph"}),
    ],
)
def test_graphs_that_are_missing_are_seen(result, old, new, failed):
    assert old in LOG
    engine_report.report_graphs(result, engine(log=LOG.replace(old, new)), piecewise=True)
    assert {name for name, status in told(result).items() if status == "FAIL"} == failed


@pytest.mark.parametrize(("value", "status"), [(-2.2, "OK"), (-2.3, "FAIL")])
def test_logprobs_outside_the_bound_fail(result, value, status):
    engine_report.report_logprobs(result, engine(scored={"tokens": TOKENS, "logprobs": [[value] * 64] * 16}), REFERENCE)
    assert told(result)["logprobs"] == status


def test_wrong_tokens_fail(result):
    wrong = [list(reversed(row)) for row in TOKENS]
    engine_report.report_tokens(result, "graph.tokens", TOKENS, wrong, REFERENCE)
    assert told(result) == {"tokens": "FAIL"}


def test_speed_is_a_ratio_and_no_gain_is_a_warning(result):
    slow = engine(bench=[{"batch": batch, "step_s": 0.004 * batch, "tokens_per_s": 250.0} for batch in (1, 8)])
    engine_report.report_speed(result, engine(), slow)
    assert [row["speedup"] for row in result.evidence["speed"]] == [pytest.approx(4), pytest.approx(4)]
    assert result.warnings == []
    engine_report.report_speed(result, slow, engine())
    assert len(result.warnings) == 1


OLD_LOG = """\
[2026-11-21 11:00:00] Capture cuda graph begin. This can take up to several minutes. avail mem=96.79 GB
[2026-11-21 11:00:00] Capture cuda graph bs [1, 2, 4]
Capturing batches (avail_mem=95.02 GB): 100%|##########| 3/3 [00:01<00:00,  2.70it/s]
[2026-11-21 11:00:01] Capture cuda graph end. Time elapsed: 1.11 s. mem usage=0.21 GB. avail mem=94.99 GB.
[2026-11-21 11:00:02] Prefill batch. #new-seq: 1, #new-token: 4, #cached-token: 0, token usage: 0.00, #queue-req: 0
[2026-11-21 11:00:03] Decode batch. #running-req: 16, #token: 1516, token usage: 0.00, cuda graph: True, gen throughput (token/s): 3.20, #queue-req: 0
"""  # noqa: E501


@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        ("", "", set()),
        ("cuda graph: True", "cuda graph: False", {"decode-from-graph"}),
        ("Capture cuda graph end", "Capture cuda graph failed", {"decode-graphs"}),
        ("Capture cuda graph bs [1, 2, 4]", "", {"decode-graphs"}),
    ],
)
def test_a_release_whose_api_tells_nothing_of_graphs(result, old, new, failed):
    older = engine(log=OLD_LOG.replace(old, new), server={"cuda_graph_bs": None}, piecewise=False)
    engine_report.report_graphs(result, older, piecewise=True)
    assert {name for name, status in told(result).items() if status == "FAIL"} == failed
    assert told(result)["piecewise-graphs"] == "SKIPPED"
    assert "prefill-from-graph" not in told(result)
    if not failed:
        assert "3 decode graphs captured in 1.11 s, 0.21 GB" in result.checks[0]["why"]


def test_compilers_of_python_kernels_may_be_let_pass_and_nvcc_never(result):
    triton = jit_caches.Compiled(cache="triton", name="write_req_to_token_pool_triton", files=("k/x.cubin",))
    engine_report.report_engine(result, engine(compiled=[triton]), harvest=False, allow=("triton",))
    assert told(result)["no-compilation"] == "OK"
    assert "write_req_to_token_pool_triton" in result.checks[-1]["why"]
    module = jit_caches.Compiled(cache="flashinfer", name="norm", files=("90/cached_ops/norm/norm.so",))
    engine_report.report_engine(result, engine(compiled=[triton, module]), harvest=False, allow=("triton",))
    assert told(result)["no-compilation"] == "FAIL"
    assert "norm" in result.checks[-1]["why"]
    assert "write_req" not in result.checks[-1]["why"]
