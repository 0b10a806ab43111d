"""Greedy tokens of a checkpoint from transformers in float32, with the lead of every token: what engines must equal.

Run as a script: `fp32_reference.py --model DIR --prompts FILE --tokens 64 --out FILE`. With `--make` the small llama
is written to DIR first and its own prompts are used.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from bringup.verify.levels import llama_step, prompt_file, small_llama, token_rule
else:
    import llama_step
    import prompt_file
    import small_llama
    import token_rule


COLUMNS = ("tokens", "margins", "bounds", "stds", "tops", "logprobs")
"""What is kept of every step: the bounds follow from stds and tops, token_rule.py says how."""


def decode(model: Any, ids: Sequence[int], count: int, *, tested_dtype: str) -> dict[str, Any]:
    """Decode `count` tokens greedily; returns tokens, margins, the rule's bounds and log probabilities."""
    device = model.device
    layers = model.config.num_hidden_layers
    now, past = torch.tensor([list(ids)], device=device), None
    made: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for _ in range(count):
        out = model(now, past_key_values=past, use_cache=True, logits_to_keep=1)
        past, logits = out.past_key_values, out.logits[0, -1].float()
        best, which = logits.topk(2)
        token, top = int(which[0]), float(best[0])
        made["tokens"].append(token)
        made["margins"].append(top - float(best[1]))
        made["stds"].append(float(logits.std()))
        made["tops"].append(top)
        made["bounds"].append(token_rule.margin_bound(tested_dtype, layers, std=float(logits.std()), top=top))
        made["logprobs"].append(float(logits.log_softmax(-1)[token]))
        now = torch.tensor([[token]], device=device)
    return made


def dtype_keyword(version: str) -> str:
    """Return what transformers calls the argument for the dtype: renamed with 4.56."""
    numbers = [int(part) for part in version.split(".")[:2]]
    return "dtype" if numbers >= [4, 56] else "torch_dtype"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make the checkpoint if asked, decode all prompts, and return the document."""
    device = "cuda" if torch.cuda.is_available() and not options.cpu else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    made: dict[str, Any] = {}
    if options.make:
        made = small_llama.write(options.model, shape=llama_step.Shape(), tokens=options.tokens, device=device)
        starts = made.pop("prompts")
    else:
        starts = prompt_file.load(options.prompts, options.model, options.tokens)
    import transformers  # type: ignore[import-not-found]  # noqa: PLC0415 - slow to import
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    started = time.monotonic()
    wanted = {dtype_keyword(transformers.__version__): getattr(torch, options.dtype)}
    model = AutoModelForCausalLM.from_pretrained(str(options.model), **wanted, attn_implementation="eager")
    model = model.to(device).eval()
    if options.limit:
        starts = starts[: options.limit]
    with torch.no_grad():
        rows = [decode(model, ids, options.tokens, tested_dtype=options.tested_dtype) for ids in starts]
    columns = {key: [row[key] for row in rows] for key in COLUMNS}
    return {
        "prompts": starts,
        **columns,
        "checkpoint": made,
        "dtype": options.dtype,
        "tested_dtype": options.tested_dtype,
        "device": device,
        "layers": model.config.num_hidden_layers,
        "vocab": model.config.vocab_size,
        "bound": token_rule.STATED_BOUND,
        "seconds": time.monotonic() - started,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the reference document to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--make", action="store_true", help="write the small llama to --model first")
    parser.add_argument("--prompts", type=Path, help="JSON lines with `ids` or `text`")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--limit", type=int, help="only the first so many prompts")
    parser.add_argument("--dtype", default="float32", help="dtype to compute in (another one only to test the rule)")
    parser.add_argument("--tested-dtype", default="bfloat16", help="dtype of the program that will be compared")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    if not options.make and not options.prompts:
        parser.error("--prompts is needed unless --make writes the model and its prompts")
    document = run(options)
    options.out.write_text(json.dumps(document) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
