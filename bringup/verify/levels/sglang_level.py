"""Level `sglang`: an engine with a llama captures its graphs, and its greedy tokens are right.

Three children, one after another: the reference (transformers, float32, which also writes the small llama), the
engine with decode and piecewise graphs, and the engine without any. Tokens of all three must agree by the rule of
token_rule.py, nothing may be compiled while the engines run, and the capture is read from the engine and its log.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bringup.verify.levels import engine_log, engine_report, jit_caches, level_io, prompt_file
else:
    import engine_log
    import engine_report
    import jit_caches
    import level_io
    import prompt_file

HERE = Path(__file__).resolve().parent
TOKENS = 64
BATCHES = (1, 8, 64)
SMALL_MODEL_MEMORY = 0.3
"""Share of the GPU for the small llama's cache when nothing else is asked; SGLang's own default would take 0.85."""

ENGINE_ENV = {
    # NVLink multicast needs rights that containers often lack: off in NCCL, torch's symmetric memory and NVSHMEM.
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Without it FlashInfer compiles its norms in-process with CuTe DSL, although the built ones are there.
    "FLASHINFER_USE_CUDA_NORM": "1",
    # DeepGEMM compiles its fp8 kernels with nvcc at start; a llama in bf16 has none. The name until 0.4, and later.
    "SGL_ENABLE_JIT_DEEPGEMM": "0",
    "SGLANG_ENABLE_JIT_DEEPGEMM": "0",
}


ONE_NODE_ENV = {
    # Ranks of one node need no network: a node without one, or whose own name does not resolve, would stop gloo.
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}


class Session:
    """Runs the children of one verification in one work folder."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work = options, work
        self._deadline = time.monotonic() + options.time_limit - 15
        self._env = {**ENGINE_ENV, **(ONE_NODE_ENV if options.tp > 1 else {})}
        self._env["FLASHINFER_DISABLE_JIT"] = "" if options.allow_jit or options.harvest else "1"
        if options.harvest:  # what this user's caches hold already would not be compiled, and so not be seen
            self._env |= jit_caches.private(work / "caches")

    def left(self) -> float:
        """Seconds until the level's time limit."""
        return float(max(self._deadline - time.monotonic(), 1.0))

    def reference(self) -> tuple[dict[str, Any] | None, str]:
        """Run the reference; returns its document, None if it failed, and its log."""
        out, options = self.work / "reference.json", self.options
        argv: list[str | Path] = [sys.executable, HERE / "fp32_reference.py", "--model", self.model, "--out", out]
        argv += ["--tokens", str(TOKENS), *(["--prompts", options.prompts] if options.prompts else ["--make"])]
        status, _, log = level_io.run_child(argv, log=self.work / "reference.log", env=self._env, limit_s=self.left())
        return (json.loads(out.read_text(encoding="utf-8")) if status == 0 and out.exists() else None), log

    @property
    def model(self) -> Path:
        """The checkpoint: the one asked for, or the small llama's folder."""
        return Path(self.options.model or self.work / "small-llama")

    def engine(self, name: str, task: dict[str, Any], *extra: str, tp: int) -> engine_report.Engine:
        """Run one engine and collect what it left."""
        out, wanted = self.work / f"{name}.json", self.work / f"{name}-task.json"
        wanted.write_text(json.dumps(task), encoding="utf-8")
        out.unlink(missing_ok=True)
        folders = jit_caches.roots({**os.environ, **self._env})
        before = jit_caches.snapshot(folders)
        argv: list[str | Path] = [
            sys.executable,
            HERE / "engine_child.py",
            "--model",
            self.model,
            "--task",
            wanted,
            "--out",
            out,
        ]
        argv += ["--started", repr(time.time()), "--tp", str(tp), *self._sizes(), *extra]
        status, seconds, log = level_io.run_child(
            argv, log=self.work / f"{name}.log", env=self._env, limit_s=self.left()
        )
        items = jit_caches.compiled(before, jit_caches.snapshot(folders))
        if self.options.harvest and self.options.harvest_into:
            jit_caches.harvest(folders, items, self.options.harvest_into / name)
        document = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        return engine_report.Engine(
            name=name,
            status=status,
            seconds=seconds,
            document=document,
            log=log,
            captured=engine_log.read(log),
            compiled=items,
        )

    def _sizes(self) -> list[str]:
        options, sizes = self.options, []
        memory = options.mem_fraction_static
        if memory is None and not options.model:
            memory = SMALL_MODEL_MEMORY
        if memory is not None:
            sizes += ["--mem-fraction-static", str(memory)]
        if options.cuda_graph_max_bs is not None:
            sizes += ["--cuda-graph-max-bs", str(options.cuda_graph_max_bs)]
        return sizes


def inputs_are_good(result: level_io.Result, options: argparse.Namespace) -> bool:
    """Check a checkpoint and prompts that were given, before any engine is started."""
    if not options.model:
        return True
    try:
        prompt_file.check(options.model, options.prompts, TOKENS)
    except ValueError as error:
        return result.add("inputs", False, str(error))
    return True


def level(result: level_io.Result, options: argparse.Namespace, work: Path) -> None:
    """All checks of the level."""
    seen = len(level_io.note_gpus(result, options.tp))
    if seen < options.tp:
        why = f"needs {options.tp} GPU(s), nvidia-smi shows {seen}; run it on a node that has them"
        result.skip("gpu", why, required=True)
        return
    if not (level_io.free_memory(result, result.evidence["gpus"]) and inputs_are_good(result, options)):
        return
    session = Session(options, work)
    reference, log = session.reference()
    if reference is None:
        result.fail_from("reference", log)
        return
    result.evidence["reference"] = reference
    distinct = len({token for row in reference["tokens"] for token in row})
    result.add("reference", True, f"{len(reference['tokens'])} sequences in float32, {distinct} distinct tokens")
    task = {
        "prompts": reference["prompts"],
        "count": TOKENS,
        "logprobs": True,
        "batches": list(BATCHES),
        "vocab": reference["vocab"],
    }
    flags = [] if options.piecewise else ["--no-piecewise"]
    graph = session.engine("graph", task, *flags, tp=options.tp)
    allow = options.allow_compiler
    if engine_report.report_engine(result, graph, harvest=options.harvest, allow=allow):
        engine_report.report_graphs(result, graph, piecewise=options.piecewise)
        engine_report.report_tokens(result, "graph.tokens", reference["tokens"], graph.document["tokens"], reference)
        engine_report.report_logprobs(result, graph, reference)
    if not graph.ready:
        # What stops the first engine mostly stops the next one too: one true cause is enough.
        result.skip("eager.runs", "not started, because the engine with graphs did not come through", required=False)
        return
    eager = session.engine("eager", task, "--eager", tp=options.tp)
    if engine_report.report_engine(result, eager, harvest=options.harvest, allow=allow):
        engine_report.report_tokens(result, "eager.tokens", reference["tokens"], eager.document["tokens"], reference)
    if eager.ready:
        engine_report.report_tokens(
            result, "graph-equals-eager", eager.document["tokens"], graph.document["tokens"], reference
        )
        engine_report.report_speed(result, graph, eager)
    if options.tp > 1:
        single = session.engine("tp1", {**task, "logprobs": False, "batches": []}, *flags, tp=1)
        if engine_report.report_engine(result, single, harvest=options.harvest, allow=allow):
            engine_report.report_tokens(
                result, f"tp{options.tp}-equals-tp1", single.document["tokens"], graph.document["tokens"], reference
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the level."""
    parser = level_io.parser(__doc__ or "", limit_s=900)
    parser.add_argument("--model", type=Path, help="a real llama checkpoint instead of the small one")
    parser.add_argument("--prompts", type=Path, help="JSON lines with `ids` or `text`; needed with --model")
    parser.add_argument("--tp", type=int, default=1, help="tensor parallelism over NCCL")
    parser.add_argument("--mem-fraction-static", type=float)
    parser.add_argument("--cuda-graph-max-bs", type=int)
    parser.add_argument("--no-piecewise", dest="piecewise", action="store_false")
    parser.add_argument("--allow-jit", action="store_true", help="let FlashInfer compile what was not built ahead")
    parser.add_argument(
        "--allow-compiler",
        action="append",
        default=[],
        choices=sorted(engine_report.COMPILERS),
        help="let this compiler of Python kernels work at run time, where nothing was built ahead for it; repeatable",
    )
    parser.add_argument("--harvest-into", type=Path, help="with --harvest: where what was compiled is copied")
    parser.add_argument("--work", type=Path, help="folder for logs and the checkpoint; a temporary one otherwise")
    options = parser.parse_args(argv)
    if options.model and not options.prompts:
        parser.error("--model needs --prompts FILE, JSON lines with `ids` or `text`")
    if options.prompts and not options.model:
        parser.error("--prompts needs --model: the small llama comes with its own")

    def body(result: level_io.Result) -> None:
        if options.work:
            options.work.mkdir(parents=True, exist_ok=True)
            level(result, options, options.work)
            return
        with tempfile.TemporaryDirectory(prefix="sglang-level-") as folder:
            level(result, options, Path(folder))

    return level_io.run_level("sglang", body, out=options.json, limit_s=options.time_limit)


if __name__ == "__main__":
    raise SystemExit(main())
