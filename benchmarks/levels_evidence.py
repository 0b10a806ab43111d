"""Compute every verdict of a verify.json again, from the evidence in it; used by benchmarks/check."""

from __future__ import annotations

import math
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LEVELS = Path(__file__).resolve().parents[1] / "bringup" / "verify" / "levels"
sys.path.insert(0, str(LEVELS))

import engine_log  # type: ignore[import-not-found]  # noqa: E402 - found through the line above
import token_rule  # type: ignore[import-not-found]  # noqa: E402

Json = Mapping[str, Any]
GRAPH_LEVELS = ("torch", "flashinfer", "sglang")
SLACK = 1e-6

RUN_TIME = frozenset({"triton", "inductor"})
"""Caches of the compilers of Python kernels."""


def level_findings(level: Json) -> Iterator[str]:
    """Yield every figure or verdict of one level that does not follow from its evidence."""
    yield from _status(level)
    name, checks = level["level"], {check["id"]: check for check in level["checks"]}
    if level["status"] == "SKIPPED":
        return
    if name == "static":
        wheels = level["evidence"].get("wheels") or {}
        if not wheels or not all(re.fullmatch(r"[0-9a-f]{64}", str(digest)) for digest in wheels.values()):
            yield "static: the evidence does not hold the SHA-256 of the wheels"
    if name not in GRAPH_LEVELS:
        return
    gpus = level["evidence"].get("gpus") or []
    if not gpus or not all(gpu.get("uuid", "").startswith("GPU-") and gpu.get("driver_version") for gpu in gpus):
        yield f"{name}: the evidence does not hold UUID and driver of the GPU"
    try:
        yield from (_sglang if name == "sglang" else _plain)(level, checks)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        yield f"{name}: the evidence cannot be used: {type(error).__name__}: {error}"


def _status(level: Json) -> Iterator[str]:
    states = [check["status"] for check in level["checks"]]
    skipped = any(check["status"] == "SKIPPED" and check.get("required") for check in level["checks"])
    status = "FAIL" if "FAIL" in states or not states else "SKIPPED" if skipped else "OK"
    if status != level["status"]:
        yield f"{level['level']}: is {level['status']}, its checks make it {status}"


def _verdict(check: Json, passed: bool, text: str) -> Iterator[str]:
    if (check["status"] == "OK") != passed:
        yield f"{check['id']}: is {check['status']}, the evidence says {text}"


def _figure(where: str, said: float, computed: float, *, part: float = SLACK) -> Iterator[str]:
    if not math.isclose(said, computed, rel_tol=part, abs_tol=1e-12):
        yield f"{where}: says {said:g}, the evidence makes it {computed:g}"


def _number(check: Json, count: int) -> Iterator[str]:
    """The sentence of a check begins with a number."""
    if not re.match(rf"{count}\b", check["why"]):
        yield f"{check['id']}: says {check['why'][:40]!r}, the evidence makes it {count}"


def _plain(level: Json, checks: Mapping[str, Json]) -> Iterator[str]:
    """Level torch, and level flashinfer with its kernels."""
    name, evidence = level["level"], level["evidence"]
    for prefix in [key.removesuffix("latency") for key in evidence if key.endswith("latency")]:
        yield from _graph(f"{name}.{prefix}", prefix, checks, evidence)
    for check in level["checks"]:
        if re.match(r"flashinfer\.(kernel|op)\.", check["id"]) and "relative_error" in check["evidence"]:
            told = check["evidence"]
            error = math.inf if told["relative_error"] is None else told["relative_error"]
            yield from _figure(f"{check['id']}: allowed", told["allowed"], 4 * token_rule.UNIT_ROUNDOFF["bfloat16"])
            yield from _verdict(check, error <= told["allowed"], f"relative error {error:g}")
            if f"{error:.2e}" not in check["why"]:
                yield f"{check['id']}: says {check['why'][:80]!r}, the evidence has {error:.2e}"
        elif check["id"].startswith("flashinfer.kernel.") and check["status"] == "OK":
            yield f"{check['id']}: its error is not in the evidence"
    if name == "flashinfer":
        yield from _bandwidth(evidence["bandwidth"], level["warnings"])
    if f"{name}.no-compilation" in checks:
        made = evidence["compiled"]
        yield from _verdict(checks[f"{name}.no-compilation"], not made, f"{len(made)} things were compiled")


def _graph(at: str, prefix: str, checks: Mapping[str, Json], evidence: Json) -> Iterator[str]:
    equal, steps = checks[f"{at}graph-equals-eager"], evidence[f"{prefix}latency"]["steps"]
    told = equal["evidence"]
    if len(told.get("eager", ())) != steps or len(told.get("replays", ())) != steps:
        yield f"{equal['id']}: the digests of {steps} steps are not in the evidence"
        return
    same = sum(one == two for one, two in zip(told["eager"], told["replays"], strict=True))
    yield from _verdict(equal, same == steps and told["finite"], f"{same} of {steps} replays are equal")
    if told["finite"]:
        yield from _number(equal, same)
    moving = checks[f"{at}inputs-change"]
    different = len(set(moving["evidence"]["first_rows"]))
    yield from _verdict(moving, different == steps, f"{different} different results")
    yield from _number(moving, different)
    growth = checks[f"{at}memory-growth"]
    yield from _verdict(
        growth, not growth["evidence"]["allocated"] and not growth["evidence"]["reserved"], "memory grew"
    )
    yield from _number(growth, growth["evidence"]["allocated"])
    distinct = len({token for row in evidence[f"{prefix}tokens"] for token in row})
    yield from _verdict(checks[f"{at}tokens"], distinct >= steps, f"{distinct} distinct tokens")
    yield from _number(checks[f"{at}tokens"], distinct)
    if evidence[f"{prefix}tokens"] != evidence[f"{prefix}eager_tokens"] and equal["status"] == "OK":
        yield f"{at}tokens: those of the graph are not those of eager mode"
    reference = checks[f"{at}reference"]["evidence"]
    inside = all(noise <= bound for noise, bound in zip(reference["noise"], reference["bound"], strict=True))
    yield from _verdict(checks[f"{at}reference"], inside and len(reference["noise"]) == steps, "noise above its bound")
    times = evidence[f"{prefix}latency"]
    yield from _figure(f"{at}latency.ratio", times["ratio"], times["eager_ms"] / times["graph_ms"])


def _bandwidth(rows: Json, warnings: Sequence[str]) -> Iterator[str]:
    speed = 2 * rows["copied_bytes"] / (statistics.median(rows["copy_ms"]) / 1e3)
    yield from _figure("flashinfer.bandwidth.copy_bytes_per_s", rows["copy_bytes_per_s"], speed)
    yield from _figure("flashinfer.bandwidth.limit_ms", rows["limit_ms"], rows["kv_bytes"] / speed * 1e3)
    for name in ("decode", "decode-tensor-core-fa2"):
        took = statistics.median(rows[name]["times_ms"])
        fraction = rows["kv_bytes"] / speed * 1e3 / took
        yield from _figure(f"flashinfer.bandwidth.{name}.ms", rows[name]["ms"], took)
        yield from _figure(f"flashinfer.bandwidth.{name}.fraction_of_limit", rows[name]["fraction_of_limit"], fraction)
        warned = any(text.startswith(f"{name} over ") for text in warnings)
        if warned != (fraction < rows["expected_fraction"]):
            yield f"flashinfer.bandwidth.{name}: reaches {fraction:.0%}, and {'a' if warned else 'no'} warning says so"


def _sglang(level: Json, checks: Mapping[str, Json]) -> Iterator[str]:
    evidence = level["evidence"]
    reference = evidence["reference"]
    yield from _bounds(reference)
    engines = {name: evidence[name] for name in ("graph", "eager", "tp1") if name in evidence}
    pairs: dict[str, Callable[[], tuple[Any, Any]]] = {
        "sglang.graph.tokens": lambda: (reference["tokens"], engines["graph"]["tokens"]),
        "sglang.eager.tokens": lambda: (reference["tokens"], engines["eager"]["tokens"]),
        "sglang.graph-equals-eager": lambda: (engines["eager"]["tokens"], engines["graph"]["tokens"]),
        **{
            name: lambda: (engines["tp1"]["tokens"], engines["graph"]["tokens"])
            for name in checks if re.fullmatch(r"sglang\.tp\d+-equals-tp1", name)
        },
    }  # fmt: skip
    for name, pair in pairs.items():
        if name in checks:
            yield from _tokens(checks[name], *pair(), reference)
        elif level["status"] == "OK":
            yield f"{name}: is missing"
    for name, engine in engines.items():
        yield from _engine(
            name, engine, checks, ahead="sglang-jit-cache" in evidence.get("versions", ("sglang-jit-cache",))
        )
    if "sglang.graph.logprobs" in checks and checks["sglang.graph.logprobs"]["status"] != "SKIPPED":
        yield from _logprobs(checks["sglang.graph.logprobs"], engines["graph"], reference)
    if "speed" in evidence:
        yield from _speed(evidence["speed"], engines)


def _bounds(reference: Json) -> Iterator[str]:
    if "stds" not in reference:
        yield "sglang.reference: what its bounds follow from (stds, tops) is not in the evidence"
        return
    for number, bounds in enumerate(reference["bounds"]):
        for step, bound in enumerate(bounds):
            std, top = reference["stds"][number][step], reference["tops"][number][step]
            made = token_rule.margin_bound(reference["tested_dtype"], reference["layers"], std=std, top=top)
            yield from _figure(f"sglang.reference: bound of sequence {number}, token {step}", bound, made)


def _tokens(check: Json, expected: Any, got: Any, reference: Json) -> Iterator[str]:
    verdict = token_rule.judge(
        expected, got, margins=reference["margins"], bounds=reference["bounds"], reference=reference["tokens"]
    )
    yield from _verdict(check, verdict.passed, verdict.why)
    told = check["evidence"]
    if told.get("distinct") != verdict.distinct:
        yield f"{check['id']}: says {told.get('distinct')} distinct tokens, there are {verdict.distinct}"
    named = len(told.get("differences", ()))
    if named != len(verdict.differences):
        yield f"{check['id']}: names {named} differences, there are {len(verdict.differences)}"
    if verdict.passed and check["why"] != verdict.why:
        yield f"{check['id']}: says {check['why']!r}, the tokens say {verdict.why!r}"


def _engine(name: str, engine: Json, checks: Mapping[str, Json], *, ahead: bool) -> Iterator[str]:
    """Judge one engine; Python kernels may be compiled at run time where nothing brings them along (not `ahead`)."""
    compiled = checks.get(f"sglang.{name}.no-compilation")
    if compiled:
        made = [item for item in engine["compiled"] if ahead or item["cache"] not in RUN_TIME]
        yield from _verdict(compiled, not made, f"{len(made)} things were compiled")
    for bench in engine.get("bench") or ():
        where = f"sglang.{name}.bench at batch {bench['batch']}"
        if "all_step_s" not in bench:
            yield f"{where}: the single times are not in the evidence"
            continue
        middle = sorted(bench["all_step_s"])[len(bench["all_step_s"]) // 2]
        yield from _figure(f"{where}: step_s", bench["step_s"], middle)
        yield from _figure(f"{where}: tokens_per_s", bench["tokens_per_s"], bench["batch"] / middle)
    decode = checks.get(f"sglang.{name}.decode-graphs")
    if decode is None:
        return
    captured = engine["captured"]
    seen = engine_log.read("\n".join([*captured["lines"], *captured.get("step_lines", ())]))
    said = [int(size) for size in engine["server"].get("cuda_graph_bs") or []]
    tells = bool(said or engine["server"].get("memory_usage"))  # the API of 0.4.6 does not
    agreed = "decode" in seen.seconds and bool(seen.decode_sizes) and (not tells or seen.decode_sizes == said)
    yield from _verdict(decode, agreed, f"{len(seen.decode_sizes)} decode graphs in the log, {len(said)} in the engine")
    if agreed:
        yield from _number(decode, len(seen.decode_sizes))
    piecewise = checks.get(f"sglang.{name}.piecewise-graphs")
    if piecewise:
        done = "piecewise" in seen.seconds and bool(seen.piecewise_sizes)
        yield from _verdict(piecewise, done, f"{len(seen.piecewise_sizes)} piecewise graphs in the log")
        if done:
            yield from _number(piecewise, len(seen.piecewise_sizes))
    for kind in ("Prefill", "Decode"):
        check = checks.get(f"sglang.{name}.{kind.lower()}-from-graph")
        if check:
            yield from _verdict(check, seen.steps.get(f"{kind} True", 0) > 0, f"steps in the log: {seen.steps}")
            yield from _number(check, seen.steps.get(f"{kind} True", 0))


def _logprobs(check: Json, engine: Json, reference: Json) -> Iterator[str]:
    scored = engine.get("scored")
    if not scored:
        yield f"{check['id']}: the log probabilities are not in the evidence"
        return
    count = over = 0
    for number, expected in enumerate(reference["tokens"]):
        for step, token in enumerate(expected):
            if step >= len(scored["tokens"][number]) or scored["tokens"][number][step] != token:
                break
            gap = abs(scored["logprobs"][number][step] - reference["logprobs"][number][step])
            count, over = count + 1, over + (gap > reference["bounds"][number][step])
    yield from _verdict(check, bool(count) and over / count <= 0.01, f"{over} of {count} outside")
    if not check["why"].startswith(f"{over} of {count} "):
        yield f"{check['id']}: says {check['why'][:40]!r}, the evidence makes it {over} of {count}"


def _speed(rows: Sequence[Json], engines: Mapping[str, Json]) -> Iterator[str]:
    for row, fast, slow in zip(rows, engines["graph"]["bench"], engines["eager"]["bench"], strict=True):
        where = f"sglang.speed at batch {row['batch']}"
        yield from _figure(f"{where}: graph_ms_per_token", row["graph_ms_per_token"], fast["step_s"] * 1e3)
        yield from _figure(f"{where}: eager_ms_per_token", row["eager_ms_per_token"], slow["step_s"] * 1e3)
        yield from _figure(f"{where}: speedup", row["speedup"], slow["step_s"] / fast["step_s"])
