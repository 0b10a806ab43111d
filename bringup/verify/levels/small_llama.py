"""Write a small llama as a real safetensors checkpoint whose greedy tokens mean something.

Weights of one value, or tiny ones, end in a cycle of two tokens, and any engine looks right on them. Plain random
weights give varied tokens, but two logits out of 32000 are often closer to one another than bf16 can tell, so that
a right engine differs from the reference. Here every matrix is random and seeded, attention is sharp enough to
matter, and a last step raises the head's row of each greedy token until it leads by `MARGIN`: far above the noise
of bf16, far below what a wrong rotation, a lost cache entry or a mixed-up head would change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from bringup.verify.levels import llama_step
else:
    import llama_step

MARGIN = 0.75
"""Lead of every greedy token's logit over the second, in units of the logits' standard deviation."""

SCORE_GAIN = 1.6
"""Gain of the query and key projections: scores get a standard deviation near 2.5, so that few keys win."""

RESIDUAL_GAIN = 1.5
"""Gain of the output and down projections: layers together outweigh the token's own embedding."""


def random_weights(shape: llama_step.Shape, seed: int) -> dict[str, Any]:
    """Seeded weights by checkpoint name, float32 on the CPU, already rounded to bf16 values."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int, gain: float = 1.0) -> Any:
        values = torch.randn(rows, columns, generator=generator) * (gain / columns**0.5)
        return values.bfloat16().float()

    def norm() -> Any:
        return (1.0 + 0.2 * torch.randn(shape.hidden, generator=generator)).bfloat16().float()

    q_rows, kv_rows = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    weights = {
        "model.embed_tokens.weight": torch.randn(shape.vocab, shape.hidden, generator=generator).bfloat16().float()
    }
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        weights |= {
            at + "input_layernorm.weight": norm(),
            at + "self_attn.q_proj.weight": matrix(q_rows, shape.hidden, SCORE_GAIN),
            at + "self_attn.k_proj.weight": matrix(kv_rows, shape.hidden, SCORE_GAIN),
            at + "self_attn.v_proj.weight": matrix(kv_rows, shape.hidden),
            at + "self_attn.o_proj.weight": matrix(shape.hidden, q_rows, RESIDUAL_GAIN),
            at + "post_attention_layernorm.weight": norm(),
            at + "mlp.gate_proj.weight": matrix(shape.intermediate, shape.hidden),
            at + "mlp.up_proj.weight": matrix(shape.intermediate, shape.hidden),
            at + "mlp.down_proj.weight": matrix(shape.hidden, shape.intermediate, RESIDUAL_GAIN),
        }
    weights["model.norm.weight"] = torch.ones(shape.hidden)
    weights["lm_head.weight"] = matrix(shape.vocab, shape.hidden)
    return weights


def prompts(shape: llama_step.Shape, *, count: int = 16, seed: int = 7) -> list[list[int]]:
    """Seeded prompts of different lengths, 5 to 140 tokens, each beginning with the model's first token."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [5 + 9 * number for number in range(count)]
    drawn = [torch.randint(3, shape.vocab, (length - 1,), generator=generator).tolist() for length in lengths]
    return [[1, *tokens] for tokens in drawn]


def greedy(model: llama_step.Llama, starts: Sequence[Sequence[int]], count: int) -> tuple[Any, Any]:
    """Greedy decoding with the head's margin widened on the way.

    All prompts advance together, one token a step; where a prompt has ended its own tokens follow.

    Returns:
        Tokens [prompts,count] and the hidden states [prompts,count,hidden] that they were read from.
    """
    device = model.cos.device
    head, total = model.weights["lm_head.weight"], max(map(len, starts)) + count
    cache = llama_step.DenseCache(model.shape, batch=len(starts), length=total, device=str(device), dtype=head.dtype)
    tokens = torch.zeros(len(starts), count, dtype=torch.long, device=device)
    states = torch.zeros(len(starts), count, model.shape.hidden, device=device)
    given = torch.zeros(len(starts), total, dtype=torch.long, device=device)
    for row, start in enumerate(starts):
        given[row, : len(start)] = torch.tensor(start, device=device)
    lengths = torch.tensor([len(start) for start in starts], device=device)
    now = given[:, 0]
    for place in range(total - 1):
        positions = torch.full((len(starts),), place, device=device)
        state = llama_step.hidden(model, now, positions, cache.attend)
        made = place + 1 - lengths
        rows = ((made >= 0) & (made < count)).nonzero()[:, 0]
        now = given[:, place + 1].clone()
        if len(rows):
            chosen = (state[rows] @ head.T).argmax(-1)
            states[rows, made[rows]], tokens[rows, made[rows]], now[rows] = state[rows], chosen, chosen
            _lead(head, state[rows], chosen)
    return tokens, states


def _lead(head: Any, states: Any, wanted: Any) -> int:
    """Raise the rows `wanted` along their states until each leads by the margin; returns how many fell short."""
    logits = states @ head.T
    aim = MARGIN * logits.std(-1)
    best = logits.gather(1, wanted[:, None])[:, 0]
    logits.scatter_(1, wanted[:, None], float("-inf"))
    short = (aim - (best - logits.max(-1).values)).clamp(min=0)
    # A little more than needed: a change below half a unit of bf16 would be rounded away, time after time.
    push = torch.where(short > 0, short + 0.25 * aim, 0.0)
    change = push[:, None] * states / states.pow(2).sum(-1, keepdim=True)
    head.index_add_(0, wanted, change)
    return int((short > 0).sum())


def widen_margins(model: llama_step.Llama, tokens: Any, states: Any, *, passes: int = 50) -> int:
    """Repeat the widening over all recorded states until the head, rounded to bf16, keeps every margin.

    Returns:
        How many tokens fall short after the last pass; 0 is the expected outcome.
    """
    head = model.weights["lm_head.weight"]
    flat, wanted = states.flatten(0, 1), tokens.flatten()
    short = len(wanted)
    for _ in range(passes):
        short = _lead(head, flat, wanted)
        head.copy_(head.bfloat16().float())
        if not short:
            break
    return short


def write(
    folder: Path, *, shape: llama_step.Shape, seed: int = 1234, tokens: int = 64, device: str = "cpu"
) -> dict[str, Any]:
    """Write config.json and model.safetensors (bf16) to `folder`.

    Returns:
        Evidence: seed, sha256 of the weights, prompts, and how many margins could not be widened.
    """
    from safetensors.torch import save_file  # type: ignore[import-not-found]  # noqa: PLC0415 - torch_level needs none

    with torch.no_grad():
        model = llama_step.load(shape, random_weights(shape, seed), device=device, dtype=torch.float32)
        starts = prompts(shape)
        made, states = greedy(model, starts, tokens)
        short = widen_margins(model, made, states)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape.config(), indent=1) + "\n", encoding="utf-8")
    path = folder / "model.safetensors"
    rounded = {name: value.bfloat16().cpu().contiguous() for name, value in model.weights.items()}
    save_file(rounded, str(path), metadata={"format": "pt"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"seed": seed, "sha256": digest, "prompts": starts, "short_margins": short, "margin": MARGIN}
