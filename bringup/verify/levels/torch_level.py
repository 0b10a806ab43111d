"""Level `torch`: a llama decode step in plain PyTorch, captured in a CUDA graph and replayed with changing inputs.

Replays must give, bit for bit, what the same kernels give in eager mode, must follow their inputs, must take no
memory, and must be right: the logits are compared with the same model in float32.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from bringup.verify.levels import jit_caches, level_io, llama_step, small_llama, token_rule
else:
    import jit_caches
    import level_io
    import llama_step
    import small_llama
    import token_rule

STEPS = 100
BATCH = 4


class Run:
    """One decode loop over static buffers; `forward` is called in eager mode or captured once and replayed.

    Args:
        model: the weights.
        attend: attention over the cache.
        clear: empties the cache in place.
        plan: called on the host before each step with the step's number, outside the graph.
    """

    def __init__(
        self,
        model: llama_step.Llama,
        attend: llama_step.Attend,
        clear: Callable[[], None],
        plan: Callable[[int], None] = lambda _: None,
    ) -> None:
        device = model.cos.device
        self.tokens = torch.zeros(BATCH, dtype=torch.long, device=device)
        self.positions = torch.zeros(BATCH, dtype=torch.long, device=device)
        self.logits = torch.zeros(BATCH, model.shape.vocab, device=device, dtype=model.weights["lm_head.weight"].dtype)
        self.seen = torch.zeros(STEPS, *self.logits.shape, device=device, dtype=self.logits.dtype)
        self.made = torch.zeros(STEPS, BATCH, dtype=torch.long, device=device)
        self._model, self._attend, self._clear, self._plan = model, attend, clear, plan

    def forward(self) -> None:
        """The step itself, from and to the static buffers."""
        self.logits.copy_(llama_step.step(self._model, self.tokens, self.positions, self._attend))

    def decode(self, forward: Callable[[], None]) -> float:
        """Decode `STEPS` tokens greedily with `forward`; returns the median seconds of a step."""
        self._clear()
        self.tokens.copy_(torch.arange(BATCH) * 7919 + 11)
        self.positions.zero_()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(2 * STEPS)]
        for number in range(STEPS):
            self._plan(number)
            marks[2 * number].record()
            forward()
            marks[2 * number + 1].record()
            self.seen[number].copy_(self.logits)
            torch.argmax(self.logits, dim=-1, out=self.made[number])
            self.tokens.copy_(self.made[number])
            self.positions.add_(1)
        torch.cuda.synchronize()
        times = sorted(marks[2 * at].elapsed_time(marks[2 * at + 1]) for at in range(STEPS))
        return float(times[STEPS // 2]) / 1000.0

    def capture(self) -> Any:
        """Warm up on a side stream, capture the step, and return the graph."""
        # The step of the last decode stands at the end of the cache, and one more would be outside of it.
        self._clear()
        self.positions.zero_()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._plan(0)
            for _ in range(3):
                self.forward()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self._plan(0)
        with torch.cuda.graph(graph):
            self.forward()
        return graph


def compare(result: level_io.Result, run: Run, *, prefix: str = "") -> Any:
    """Make the checks that hold for any captured decode step; returns the eager logits [steps,B,vocab]."""
    run.decode(run.forward)
    eager_s = run.decode(run.forward)
    eager, eager_tokens = run.seen.clone(), run.made.clone()
    started = time.monotonic()
    graph = run.capture()
    torch.cuda.synchronize()
    capture_s = time.monotonic() - started
    run.decode(graph.replay)
    run.seen.zero_()
    free, held = torch.cuda.mem_get_info()[0], (torch.cuda.memory_allocated(), torch.cuda.memory_reserved())
    graph_s = run.decode(graph.replay)
    grown = [
        now - then
        for now, then in zip((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()), held, strict=True)
    ]
    taken = free - torch.cuda.mem_get_info()[0]
    if taken > 0 and not any(grown):
        result.warnings.append(
            f"{taken} bytes of GPU memory went to something outside torch's allocator during the replays"
        )
    same = [bool(torch.equal(run.seen[at], eager[at])) for at in range(STEPS)]
    finite = bool(torch.isfinite(eager.float()).all())
    worst = float((run.seen.float() - eager.float()).abs().max())
    why = f"{sum(same)} of {STEPS} replays bit-equal to eager, largest difference {worst:.3g}"
    if not finite:
        why = "the logits hold NaN or infinity"
    evidence = {"unequal_steps": _false(same), "eager": digests(eager), "replays": digests(run.seen), "finite": finite}
    result.add(f"{prefix}graph-equals-eager", all(same) and finite, why, evidence=evidence)
    first_rows = digests(run.seen[:, 0])
    moving = len(set(first_rows))
    result.add(
        f"{prefix}inputs-change",
        moving == STEPS,
        f"{moving} different results in {STEPS} replays with different inputs",
        evidence={"first_rows": first_rows},
    )
    result.add(
        f"{prefix}memory-growth",
        not any(grown),
        f"{grown[0]} bytes more allocated and {grown[1]} bytes more reserved after {STEPS} replays",
        evidence={"allocated": grown[0], "reserved": grown[1], "device_bytes_taken": taken},
    )
    distinct = int(run.made.unique().numel())
    result.add(f"{prefix}tokens", distinct >= STEPS, f"{distinct} distinct tokens in {run.made.numel()}")
    result.evidence[f"{prefix}tokens"] = run.made.T.tolist()
    result.evidence[f"{prefix}eager_tokens"] = eager_tokens.T.tolist()
    result.evidence[f"{prefix}latency"] = {
        "eager_ms": eager_s * 1e3,
        "graph_ms": graph_s * 1e3,
        "ratio": eager_s / graph_s,
        "capture_s": capture_s,
        "batch": BATCH,
        "steps": STEPS,
    }
    return eager


def digests(rows: Any) -> list[str]:
    """Return a short digest of the bytes of each row, so that equality can be counted again from the evidence."""
    host = rows.contiguous().flatten(1).view(torch.uint8).cpu().numpy()
    return [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in host]


def against_reference(
    result: level_io.Result, shape: llama_step.Shape, weights: dict[str, Any], tokens: Any, got: Any, *, name: str
) -> None:
    """Compare logits with the same weights in float32, fed with the same tokens."""
    device = str(got.device)
    wide = llama_step.load(shape, weights, device=device, dtype=torch.float32)
    cache = llama_step.DenseCache(shape, batch=BATCH, length=STEPS, device=device, dtype=torch.float32)
    now = torch.arange(BATCH, device=device) * 7919 + 11
    worst, worst_bound = 0.0, 1.0
    noises: list[float] = []
    bounds: list[float] = []
    for number in range(STEPS):
        positions = torch.full((BATCH,), number, device=device)
        logits = llama_step.step(wide, now, positions, cache.attend)
        noise = (got[number].float() - logits).std(-1).max().item()
        bound = token_rule.logit_noise("bfloat16", shape.layers, std=logits.std(-1).min().item()) * REFERENCE_SLACK
        noises.append(noise)
        bounds.append(bound)
        if not noise / bound <= worst / worst_bound:
            worst, worst_bound = noise, bound
        now = tokens[number]
    why = (
        f"logits differ from float32 by {worst:.4f} (standard deviation, worst step); rounding of "
        f"{token_rule.ROUNDINGS_PER_LAYER * shape.layers + token_rule.ROUNDINGS_OUTSIDE} values to bfloat16 "
        f"allows {worst_bound:.4f}"
    )
    result.add(name, math.isfinite(worst) and worst <= worst_bound, why, evidence={"noise": noises, "bound": bounds})


REFERENCE_SLACK = 3.0
"""Sharp attention passes on more noise than it gets; independent roundings alone would give 1."""


def _false(flags: Sequence[bool]) -> list[int]:
    return [at for at, flag in enumerate(flags) if not flag][:10]


def check_caches(result: level_io.Result, before: jit_caches.State, folders: dict[str, Path], *, harvest: bool) -> None:
    """Fail if anything was compiled since `before`; with `harvest` only list it."""
    items = jit_caches.compiled(before, jit_caches.snapshot(folders))
    named = [{"cache": item.cache, "name": item.name, "files": list(item.files)[:4]} for item in items]
    result.evidence["compiled"] = named
    if harvest:
        result.warnings += [f"compiled at run time: {jit_caches.describe(items)}"] if items else []
        return
    why = f"compiled at run time: {jit_caches.describe(items)}" if items else "nothing was compiled at run time"
    result.add("no-compilation", not items, why)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the level."""
    parser = level_io.parser(__doc__ or "", limit_s=300)
    options = parser.parse_args(argv)

    def body(result: level_io.Result) -> None:
        level(result, options)

    return level_io.run_level("torch", body, out=options.json, limit_s=options.time_limit)


def level(result: level_io.Result, options: argparse.Namespace) -> None:
    """All checks of the level."""
    if not level_io.require_gpu(result, torch):
        return
    folders = jit_caches.roots(os.environ)
    before = jit_caches.snapshot(folders)
    result.evidence["torch"] = {
        "git": torch.version.git_version,
        "cuda": torch.version.cuda,
        "archs": torch.cuda.get_arch_list(),
        "capability": list(torch.cuda.get_device_capability()),
        "file": torch.__file__,
    }
    shape = llama_step.Shape()
    weights = small_llama.random_weights(shape, 1234)
    with torch.no_grad():
        model = llama_step.load(shape, weights, device="cuda", dtype=torch.bfloat16)
        cache = llama_step.DenseCache(shape, batch=BATCH, length=STEPS, device="cuda", dtype=torch.bfloat16)
        run = Run(model, cache.attend, cache.clear)
        eager = compare(result, run)
        against_reference(result, shape, weights, run.made, eager, name="reference")
    check_caches(result, before, folders, harvest=options.harvest)


if __name__ == "__main__":
    raise SystemExit(main())
