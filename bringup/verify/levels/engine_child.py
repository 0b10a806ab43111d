"""Start one SGLang engine, time it, decode the given prompts and write what happened; run as a child process.

The top of this file imports nothing heavy: SGLang's own processes import it again when they are spawned.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPORTED = (
    "model_path",
    "attention_backend",
    "sampling_backend",
    "dtype",
    "tp_size",
    "mem_fraction_static",
    "page_size",
    "disable_cuda_graph",
    "disable_piecewise_cuda_graph",
    "cuda_graph_max_bs",
    "cuda_graph_bs",
    "piecewise_cuda_graph_tokens",
    "piecewise_cuda_graph_compiler",
    "chunked_prefill_size",
    "max_total_num_tokens",
    "disable_custom_all_reduce",
    "enable_nccl_nvls",
    "version",
)
"""Server arguments and states that are evidence; the rest of get_server_info() is noise."""


NEWER = frozenset({"disable_piecewise_cuda_graph"})
"""Arguments that not every SGLang has, and without which it does what they ask for: 0.4.6 has no piecewise graphs."""


def known_arguments(arguments: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Leave out those of `NEWER` that this SGLang's ServerArgs, whose fields are given, does not have."""
    return {key: value for key, value in arguments.items() if key not in NEWER or key in fields}


def engine_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `sglang.Engine` for these options."""
    arguments: dict[str, Any] = {
        "model_path": str(options.model),
        "skip_tokenizer_init": True,
        "attention_backend": "flashinfer",
        "sampling_backend": "pytorch",
        "dtype": "bfloat16",
        "random_seed": 1,
        "log_level": "info",
        "decode_log_interval": 16,
        "tp_size": options.tp,
        "disable_cuda_graph": options.eager,
        "disable_piecewise_cuda_graph": options.eager or options.no_piecewise,
    }
    if options.tp > 1:
        arguments["disable_custom_all_reduce"] = True  # all traffic over NCCL, which is what is being verified
    if options.mem_fraction_static is not None:
        arguments["mem_fraction_static"] = options.mem_fraction_static
    if options.cuda_graph_max_bs is not None:
        arguments["cuda_graph_max_bs"] = options.cuda_graph_max_bs
    if options.disable_overlap:
        arguments["disable_overlap_schedule"] = True
    return arguments


def server_facts(engine: Any) -> dict[str, Any]:
    """What the engine says about itself: the reported arguments and its memory, which 0.4.6 does not tell."""
    info = engine.get_server_info()
    states = info.get("internal_states") or [{}]
    facts = {key: info[key] for key in REPORTED if key in info}
    return facts | {"memory_usage": states[0].get("memory_usage", {}), "ranks": len(states)}


def decode(engine: Any, prompts: Sequence[Sequence[int]], count: int, **more: Any) -> list[dict[str, Any]]:
    """Decode greedily, all prompts in one call."""
    sampling = {"temperature": 0.0, "max_new_tokens": count, "ignore_eos": True}
    done = engine.generate(input_ids=[list(ids) for ids in prompts], sampling_params=sampling, **more)
    return list(done) if isinstance(done, list) else [done]


def chosen_logprobs(engine: Any, prompts: Sequence[Sequence[int]], count: int) -> dict[str, Any]:
    """Decode again with log probabilities; returns tokens and the log probability of each."""
    rows = decode(engine, prompts, count, return_logprob=True)
    pairs = [row["meta_info"]["output_token_logprobs"] for row in rows]
    return {
        "tokens": [[int(pair[1]) for pair in row] for row in pairs],
        "logprobs": [[float(pair[0]) for pair in row] for row in pairs],
    }


def bench(engine: Any, batch: int, *, vocab: int, count: int = 129, repeats: int = 3) -> dict[str, Any]:
    """Time decoding at one batch size; prompts are new each time, so that no prefix is in the cache.

    Returns:
        Seconds a decoding step takes (median), its spread, and tokens a second over the decoding steps.
    """
    source = random.Random(batch)  # noqa: S311 - prompts, not secrets
    steps = []
    for repeat in range(repeats + 1):
        walls = []
        for wanted in (1, count):
            prompts = [[1, *(source.randrange(3, vocab) for _ in range(31))] for _ in range(batch)]
            started = time.perf_counter()
            decode(engine, prompts, wanted)
            walls.append(time.perf_counter() - started)
        if repeat:  # the first round warms up
            steps.append((walls[1] - walls[0]) / (count - 1))
    steps.sort()
    middle = steps[len(steps) // 2]
    return {
        "batch": batch,
        "step_s": middle,
        "step_s_min": steps[0],
        "step_s_max": steps[-1],
        "tokens_per_s": batch / middle if middle > 0 else 0.0,
        "steps": count - 1,
        "repeats": repeats,
        "all_step_s": steps,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start the engine, use it, stop it; returns the document."""
    document: dict[str, Any] = {"started": options.started}
    task = json.loads(options.task.read_text(encoding="utf-8"))
    before = time.time()
    import sglang  # type: ignore[import-not-found]  # noqa: PLC0415 - timed, and not wanted in spawned processes

    document["import_s"] = time.time() - before
    from sglang.srt.server_args import ServerArgs  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

    names = [field.name for field in dataclasses.fields(ServerArgs)]
    document["piecewise"] = "disable_piecewise_cuda_graph" in names
    arguments = known_arguments(engine_arguments(options), names)
    document["arguments"] = arguments
    engine = sglang.Engine(**arguments)
    document["ready_s"] = time.time() - options.started
    options.out.write_text(json.dumps(document, default=str) + "\n", encoding="utf-8")
    try:
        decode(engine, [[1, 5, 9, 17]], 1)
        document["first_token_s"] = time.time() - options.started
        document["server"] = server_facts(engine)
        if task["prompts"]:
            document["tokens"] = [list(row["output_ids"]) for row in decode(engine, task["prompts"], task["count"])]
        options.out.write_text(json.dumps(document, default=str) + "\n", encoding="utf-8")
        if task["logprobs"]:
            document["scored"] = chosen_logprobs(engine, task["prompts"], task["count"])
        document["bench"] = [bench(engine, batch, vocab=task["vocab"]) for batch in task["batches"]]
        options.out.write_text(json.dumps(document, default=str) + "\n", encoding="utf-8")
    finally:
        engine.shutdown()
    return document


def main(argv: Sequence[str] | None = None) -> int:
    """Run one engine as `--task`, a JSON file with prompts, count, logprobs, batches and vocab, says."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--started", type=float, default=None, help="time.time() when this process was started")
    parser.add_argument("--tp", type=int, default=1)
    parser.add_argument("--mem-fraction-static", type=float)
    parser.add_argument("--cuda-graph-max-bs", type=int)
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs at all")
    parser.add_argument("--no-piecewise", action="store_true")
    parser.add_argument("--disable-overlap", action="store_true")
    options = parser.parse_args(argv)
    options.started = options.started if options.started is not None else time.time()
    run(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
