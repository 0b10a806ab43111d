"""Checks and evidence from finished SGLang engines."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bringup.verify.levels import engine_log, jit_caches, level_io, token_rule
else:
    import engine_log
    import jit_caches
    import level_io
    import token_rule


COMPILERS = frozenset({"triton", "inductor"})
"""Caches of compilers that are made for run time: they turn Python into kernels with tools of their own, not nvcc."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One finished engine run: its document, log facts, and what was compiled meanwhile."""

    name: str
    status: int
    seconds: float
    document: dict[str, Any]
    log: str
    captured: engine_log.Captured
    compiled: list[jit_caches.Compiled]

    @property
    def ready(self) -> bool:
        """True if the engine came up and did all it was asked."""
        return self.status == 0 and "bench" in self.document


def report_engine(result: level_io.Result, engine: Engine, *, harvest: bool, allow: Sequence[str] = ()) -> bool:
    """Checks that hold for every engine; False if it did not come through.

    Args:
        result: where they go.
        engine: the finished run.
        harvest: list what was compiled instead of failing on it.
        allow: caches, of `COMPILERS`, whose compilers may have worked.
    """
    evidence = {key: value for key, value in engine.document.items() if key != "tokens"}
    evidence |= {
        "seconds": engine.seconds,
        "captured": engine.captured.evidence(),
        "tokens": engine.document.get("tokens"),
    }
    evidence["compiled"] = [
        {"cache": item.cache, "name": item.name, "files": list(item.files)[:4]} for item in engine.compiled
    ]
    result.evidence[engine.name] = evidence
    if not engine.ready:
        result.fail_from(f"{engine.name}.runs", engine.log, evidence={"exit": engine.status})
        return False
    ready, first = engine.document["ready_s"], engine.document["first_token_s"]
    result.add(f"{engine.name}.runs", True, f"ready after {ready:.1f} s, first token after {first:.1f} s")
    expected = [item for item in engine.compiled if item.cache in allow]
    other = [item for item in engine.compiled if item.cache not in allow]
    told = jit_caches.describe(engine.compiled if harvest else other)
    if harvest:
        result.warnings += [f"{engine.name}: compiled at run time: {told}"] if told else []
    else:
        why = f"compiled at run time: {told}" if told else "nothing was compiled at run time"
        if expected and not other:
            why = f"no nvcc worked; compilers of Python kernels made {jit_caches.describe(expected)}"
        result.add(f"{engine.name}.no-compilation", not other, why)
    return True


def report_graphs(result: level_io.Result, engine: Engine, *, piecewise: bool) -> None:
    """Decode and piecewise graphs were captured, as the engine's API and its log say, and steps ran from them."""
    _report_decode_graphs(result, engine)
    if piecewise and not engine.document.get("piecewise", True):
        piecewise = False
        result.skip(f"{engine.name}.piecewise-graphs", "this SGLang has no piecewise graphs", required=False)
    elif piecewise:
        server, seen = engine.document.get("server", {}), engine.captured
        wanted = server.get("piecewise_cuda_graph_tokens") or []
        done = bool(wanted) and "piecewise" in seen.seconds and bool(seen.piecewise_sizes)
        result.add(
            f"{engine.name}.piecewise-graphs",
            done,
            f"{len(seen.piecewise_sizes)} piecewise graphs captured in {seen.seconds.get('piecewise', 0):.2f} s"
            if done
            else "no piecewise graph was captured; the log says why near `piecewise`",
        )
    seen = engine.captured
    for kind in ("Prefill", "Decode") if piecewise else ("Decode",):
        yes, no = (seen.steps.get(f"{kind} {flag}", 0) for flag in (True, False))
        result.add(
            f"{engine.name}.{kind.lower()}-from-graph",
            yes > 0,
            f"{yes} of {yes + no} logged {kind.lower()} steps ran from a graph",
        )


def _report_decode_graphs(result: level_io.Result, engine: Engine) -> None:
    """Decode graphs: the API and the log agree; an API that does not tell, as that of 0.4.6, leaves it to the log."""
    server, seen = engine.document.get("server", {}), engine.captured
    memory = server.get("memory_usage", {}).get("graph")
    sizes = [int(size) for size in server.get("cuda_graph_bs") or []]
    tells = bool(server.get("memory_usage"))
    ended = "decode" in seen.seconds
    agreed = ended and (
        bool(sizes) and seen.decode_sizes == sizes and memory is not None if tells else bool(seen.decode_sizes)
    )
    if not tells:
        memory = seen.gigabytes.get("decode")
    done = f"{len(seen.decode_sizes)} decode graphs captured in {seen.seconds.get('decode', 0):.2f} s, {memory} GB"
    if agreed and not tells:
        done += ", as the log says; the API of this SGLang does not"
    told = f"the engine speaks of {len(sizes)} decode graphs, its log" if tells else "the log speaks"
    why = f"{told} of {len(seen.decode_sizes)} ({'with' if ended else 'without'} the line that ends the capture)"
    result.add(f"{engine.name}.decode-graphs", agreed, done if agreed else why)


def report_tokens(
    result: level_io.Result,
    name: str,
    expected: Sequence[Sequence[int]],
    got: Sequence[Sequence[int]],
    reference: dict[str, Any],
) -> None:
    """Apply the token rule and keep its verdict."""
    verdict = token_rule.judge(
        expected, got, margins=reference["margins"], bounds=reference["bounds"], reference=reference["tokens"]
    )
    result.add(name, verdict.passed, verdict.why, evidence={"rule": token_rule.STATED_BOUND, **verdict.evidence()})


def report_logprobs(result: level_io.Result, engine: Engine, reference: dict[str, Any]) -> None:
    """Log probabilities of the chosen tokens, as far as the tokens are the reference's, within the same bound."""
    scored, worst, over, count = engine.document.get("scored"), 0.0, 0, 0
    if not scored:
        result.skip(f"{engine.name}.logprobs", "not asked for", required=False)
        return
    rows = zip(
        reference["tokens"],
        scored["tokens"],
        scored["logprobs"],
        reference["logprobs"],
        reference["bounds"],
        strict=False,
    )
    for expected, got, mine, theirs, bounds in rows:
        for step in range(len(expected)):
            if step >= len(got) or got[step] != expected[step]:
                break
            difference, count = abs(mine[step] - theirs[step]), count + 1
            worst, over = max(worst, difference), over + (difference > bounds[step])
    share = over / count if count else 1.0
    result.add(
        f"{engine.name}.logprobs",
        share <= 0.01,
        f"{over} of {count} log probabilities lie outside the bound (1 % may), the largest difference is {worst:.3f}",
    )


def report_speed(result: level_io.Result, graph: Engine, eager: Engine) -> None:
    """Latency and throughput with and without graphs, as ratios."""
    rows = []
    for fast, slow in zip(graph.document["bench"], eager.document["bench"], strict=False):
        ratio = slow["step_s"] / fast["step_s"] if fast["step_s"] > 0 else 0.0
        rows.append(
            {
                "batch": fast["batch"],
                "graph_ms_per_token": fast["step_s"] * 1e3,
                "eager_ms_per_token": slow["step_s"] * 1e3,
                "graph_tokens_per_s": fast["tokens_per_s"],
                "eager_tokens_per_s": slow["tokens_per_s"],
                "speedup": ratio,
            }
        )
    result.evidence["speed"] = rows
    result.add(
        "speed",
        bool(rows),
        "decoding with graphs: "
        + ", ".join(f"batch {row['batch']} {row['graph_ms_per_token']:.2f} ms, {row['speedup']:.1f}x" for row in rows),
    )
    if rows and statistics.median(row["speedup"] for row in rows) < 1.0:
        result.warnings.append("decoding from graphs is not faster than without: " + str(rows))
