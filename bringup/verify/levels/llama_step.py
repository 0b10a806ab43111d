"""One decode step of a llama in plain PyTorch: RMSNorm, RoPE, grouped-query attention with a cache, SwiGLU.

The attention over the cache is a parameter, so that the same step runs with plain PyTorch or with FlashInfer.
Nothing in the step depends on a value on the host: it can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch  # type: ignore[import-not-found]

Attend = Callable[[int, Any, Any, Any, Any], Any]
"""(layer, query [B,H,D], key [B,KV,D], value [B,KV,D], positions [B]) -> output [B,H,D]; stores key and value first."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a llama; the defaults are the ones that the prebuilt kernels of the stack cover."""

    layers: int = 4
    hidden: int = 1024
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 128
    intermediate: int = 2816
    vocab: int = 32000
    positions: int = 8192
    theta: float = 10000.0
    eps: float = 1e-5

    def config(self) -> dict[str, Any]:
        """The checkpoint's config.json, with the names that transformers and SGLang share."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.positions,
            "rope_theta": self.theta,
            "rms_norm_eps": self.eps,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
        }


@dataclass(frozen=True, kw_only=True)
class Llama:
    """Weights on one device in one dtype, by checkpoint name, with the rotation's tables in float32."""

    shape: Shape
    weights: dict[str, Any]
    cos: Any
    sin: Any


def load(shape: Shape, weights: dict[str, Any], *, device: str, dtype: Any) -> Llama:
    """Put `weights` on `device` as `dtype` and compute the rotation's tables."""
    half = shape.head_dim // 2
    frequency = shape.theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.outer(torch.arange(shape.positions, dtype=torch.float64), frequency)
    moved = {name: value.to(device=device, dtype=dtype) for name, value in weights.items()}
    return Llama(shape=shape, weights=moved, cos=angle.cos().float().to(device), sin=angle.sin().float().to(device))


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    """Normalise in float32 and round once, then scale."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def rotate(x: Any, cos: Any, sin: Any) -> Any:
    """Rotate halves of each head, [B,heads,D], by the angles of each row's position, [B,1,D/2]."""
    low, high = x.float().chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).to(x.dtype)


class DenseCache:
    """Keys and values of a batch, [layers,B,positions,KV,D]; attention over it in plain PyTorch."""

    def __init__(self, shape: Shape, *, batch: int, length: int, device: str, dtype: Any) -> None:
        size = (shape.layers, batch, length, shape.kv_heads, shape.head_dim)
        self.keys = torch.zeros(size, device=device, dtype=dtype)
        self.values = torch.zeros(size, device=device, dtype=dtype)
        self._rows = torch.arange(batch, device=device)
        self._slots = torch.arange(length, device=device)

    def attend(self, layer: int, query: Any, key: Any, value: Any, positions: Any) -> Any:
        """Store the step's key and value at `positions`, then attend to all up to there."""
        keys, values = self.keys[layer], self.values[layer]
        keys[self._rows, positions] = key
        values[self._rows, positions] = value
        batch, heads, dim = query.shape
        grouped = query.view(batch, keys.shape[2], heads // keys.shape[2], dim)
        scores = torch.einsum("bkgd,btkd->bkgt", grouped, keys).float() * dim**-0.5
        hidden = self._slots[None, :] > positions[:, None]
        weights = scores.masked_fill(hidden[:, None, None, :], float("-inf")).softmax(-1).to(query.dtype)
        return torch.einsum("bkgt,btkd->bkgd", weights, values).reshape(batch, heads, dim)

    def clear(self) -> None:
        """Forget everything, in place."""
        self.keys.zero_()
        self.values.zero_()


def step(model: Llama, tokens: Any, positions: Any, attend: Attend) -> Any:
    """Return the logits [B,vocab] of the token after `tokens` [B], which stand at `positions` [B]."""
    return torch.nn.functional.linear(hidden(model, tokens, positions, attend), model.weights["lm_head.weight"])


def hidden(model: Llama, tokens: Any, positions: Any, attend: Attend) -> Any:
    """Return what the head multiplies, [B,hidden]."""
    shape, weights = model.shape, model.weights
    linear = torch.nn.functional.linear
    cos, sin = model.cos[positions][:, None, :], model.sin[positions][:, None, :]
    x = torch.nn.functional.embedding(tokens, weights["model.embed_tokens.weight"])
    batch = tokens.shape[0]
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        h = rms_norm(x, weights[at + "input_layernorm.weight"], shape.eps)
        query = linear(h, weights[at + "self_attn.q_proj.weight"]).view(batch, shape.heads, shape.head_dim)
        key = linear(h, weights[at + "self_attn.k_proj.weight"]).view(batch, shape.kv_heads, shape.head_dim)
        value = linear(h, weights[at + "self_attn.v_proj.weight"]).view(batch, shape.kv_heads, shape.head_dim)
        seen = attend(layer, rotate(query, cos, sin), rotate(key, cos, sin), value, positions)
        x = x + linear(seen.reshape(batch, -1), weights[at + "self_attn.o_proj.weight"])
        h = rms_norm(x, weights[at + "post_attention_layernorm.weight"], shape.eps)
        gate = torch.nn.functional.silu(linear(h, weights[at + "mlp.gate_proj.weight"]))
        up = linear(h, weights[at + "mlp.up_proj.weight"])
        x = x + linear(gate * up, weights[at + "mlp.down_proj.weight"])
    return rms_norm(x, weights["model.norm.weight"], shape.eps)
