"""FlashInfer's kernels one by one, against float32, and one decode against the card's memory bandwidth."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from bringup.verify.levels import level_io, token_rule
else:
    import token_rule

PAGE = 16
WORKSPACE = 128 * 1024 * 1024

ATTENTION_TOLERANCE = 4 * token_rule.UNIT_ROUNDOFF["bfloat16"]
"""Allowed ||out - ref|| / ||ref||: weights and output are each rounded to bfloat16 once, by at most u = 2^-8; four
times that leaves room for the order of sums. 0.0156."""

BANDWIDTH_FRACTION = 0.5
"""A long-context decode that reaches less of the copy bandwidth than this is worth a warning."""

LENGTHS = (1, 15, 16, 17, 130, 777)
"""Lengths around the page size, and more than one split."""

Check = Callable[["level_io.Result", Any, str], None]


def reference(query: Any, key: Any, value: Any, *, causal: bool) -> Any:
    """Attention of [T,H,D] over [S,KV,D] in float32; the last query sees all keys if `causal`."""
    group = query.shape[1] // key.shape[1]
    wide_key, wide_value = (part.float().repeat_interleave(group, dim=1) for part in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query.float(), wide_key) * query.shape[-1] ** -0.5
    if causal:
        rows = torch.arange(query.shape[0], device=query.device)[:, None] + key.shape[0] - query.shape[0]
        scores = scores.masked_fill(torch.arange(key.shape[0], device=query.device)[None, :] > rows, float("-inf"))
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), wide_value)


def error(got: Any, wanted: Any) -> float:
    """Relative error in the Frobenius norm; infinite where `got` is not finite."""
    if not bool(torch.isfinite(got).all()):
        return float("inf")
    return float((got.float() - wanted).norm() / wanted.norm())


def _judge(result: level_io.Result, name: str, worst: float, what: str) -> None:
    why = f"{what}: relative error {worst:.2e} against float32, {ATTENTION_TOLERANCE:.2e} allowed"
    result.add(f"kernel.{name}", worst <= ATTENTION_TOLERANCE, why, evidence=_measured(worst))


def _measured(worst: float) -> dict[str, Any]:
    return {"relative_error": worst, "allowed": ATTENTION_TOLERANCE}


def _normal(*size: int, seed: int) -> Any:
    generator = torch.Generator(device="cuda").manual_seed(seed)
    return torch.randn(*size, generator=generator, device="cuda").bfloat16()


def _paged(
    result: level_io.Result, flashinfer: Any, name: str, *, tensor_cores: bool, heads: int, kv_heads: int
) -> None:
    pages = [-(-length // PAGE) for length in LENGTHS]
    total = sum(pages)
    cache = _normal(total, 2, PAGE, kv_heads, 128, seed=1)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(2)).int().cuda()
    starts = torch.tensor([0, *pages]).cumsum(0).int()
    last = torch.tensor([(length - 1) % PAGE + 1 for length in LENGTHS], dtype=torch.int32)
    query = _normal(len(LENGTHS), heads, 128, seed=3)
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(_workspace(), "NHD", use_tensor_cores=tensor_cores)
    wrapper.plan(
        starts, order, last, heads, kv_heads, 128, PAGE, q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16
    )
    out = wrapper.run(query, cache)
    worst = 0.0
    for row, length in enumerate(LENGTHS):
        mine = cache[order[int(starts[row]) : int(starts[row + 1])].long()]
        key, value = (mine[:, part].reshape(-1, kv_heads, 128)[:length] for part in (0, 1))
        worst = max(worst, error(out[row : row + 1], reference(query[row : row + 1], key, value, causal=False)))
    _judge(result, name, worst, f"paged decode, {heads}/{kv_heads} heads, lengths {', '.join(map(str, LENGTHS))}")


def _workspace() -> Any:
    return torch.zeros(WORKSPACE, dtype=torch.uint8, device="cuda")


def _ragged(result: level_io.Result, flashinfer: Any, name: str, *, backend: str) -> None:
    heads, kv_heads = 8, 2
    starts = torch.tensor([0, *LENGTHS]).cumsum(0).int().cuda()
    total = sum(LENGTHS)
    query, key, value = (_normal(total, many, 128, seed=at) for at, many in enumerate((heads, kv_heads, kv_heads), 5))
    wrapper = flashinfer.BatchPrefillWithRaggedKVCacheWrapper(_workspace(), "NHD", backend=backend)
    wrapper.plan(
        starts, starts, heads, kv_heads, 128, causal=True, q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16
    )
    out, worst = wrapper.run(query, key, value), 0.0
    for row in range(len(LENGTHS)):
        part = slice(int(starts[row]), int(starts[row + 1]))
        worst = max(worst, error(out[part], reference(query[part], key[part], value[part], causal=True)))
    _judge(result, name, worst, f"ragged causal prefill, {backend}, {heads}/{kv_heads} heads")


ATTENTION: dict[str, Check] = {
    "decode": lambda *told: _paged(*told, tensor_cores=False, heads=8, kv_heads=2),
    "decode-mha": lambda *told: _paged(*told, tensor_cores=False, heads=8, kv_heads=8),
    "decode-tensor-core-fa2": lambda *told: _paged(*told, tensor_cores=True, heads=8, kv_heads=2),
    "prefill-ragged-fa2": lambda *told: _ragged(*told, backend="fa2"),
    "prefill-ragged-fa3": lambda *told: _ragged(*told, backend="fa3"),
}
"""Attention kernels by the name of their check."""


def _rmsnorm(result: level_io.Result, flashinfer: Any, name: str) -> None:
    x, weight = _normal(33, 1024, seed=8), _normal(1024, seed=9)
    wide = x.float()
    wanted = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5) * weight.float()
    _close(result, name, flashinfer.norm.rmsnorm(x, weight, 1e-5), wanted)


def _silu(result: level_io.Result, flashinfer: Any, name: str) -> None:
    x = _normal(33, 2048, seed=10)
    gate, up = x.float().chunk(2, dim=-1)
    _close(result, name, flashinfer.activation.silu_and_mul(x), torch.nn.functional.silu(gate) * up)


def _rope(result: level_io.Result, flashinfer: Any, name: str) -> None:
    query, key = _normal(33, 8, 128, seed=11), _normal(33, 2, 128, seed=12)
    places = torch.arange(33, dtype=torch.int32, device="cuda") * 7
    got, _ = flashinfer.rope.apply_rope_pos_ids(query, key, places)
    angle = torch.outer(places.float(), 1e4 ** (-torch.arange(64, device="cuda").float() / 64))[:, None, :]
    low, high = query.float().chunk(2, dim=-1)
    wanted = torch.cat((low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()), dim=-1)
    _close(result, name, got, wanted)


def _page(result: level_io.Result, flashinfer: Any, name: str) -> None:
    key, value = _normal(20, 2, 128, seed=13), _normal(20, 2, 128, seed=14)
    cache = torch.zeros(4, 2, PAGE, 2, 128, device="cuda", dtype=torch.bfloat16)
    order = torch.tensor([3, 1], dtype=torch.int32, device="cuda")
    starts = torch.tensor([0, 2], dtype=torch.int32, device="cuda")
    places = torch.arange(20, dtype=torch.int32, device="cuda")
    last = torch.tensor([4], dtype=torch.int32, device="cuda")
    flashinfer.page.append_paged_kv_cache(key, value, torch.zeros_like(places), places, cache, order, starts, last)
    got = cache[order.long()].transpose(1, 2).reshape(-1, 2, 2, 128)[:20]
    _close(result, name, got, torch.stack((key, value), dim=1).float())


def _cascade(result: level_io.Result, flashinfer: Any, name: str) -> None:
    one, two = _normal(33, 8, 128, seed=15), _normal(33, 8, 128, seed=16)
    first, second = (torch.randn(33, 8, device="cuda") for _ in range(2))
    got, _ = flashinfer.cascade.merge_state(one, first, two, second)
    # The states' scales are base-2 logarithms.
    share = torch.sigmoid((first - second) * 0.6931471805599453)[..., None]
    _close(result, name, got, one.float() * share + two.float() * (1 - share))


def _sampling(result: level_io.Result, flashinfer: Any, name: str) -> None:
    wanted = torch.arange(33, device="cuda") * 911
    probabilities = torch.zeros(33, 32000, device="cuda").scatter_(1, wanted[:, None], 1.0)
    got = flashinfer.sampling.sampling_from_probs(probabilities)
    result.add(f"op.{name}", bool((got.long() == wanted).all()), "samples of a certain distribution are its one token")


def _close(result: level_io.Result, name: str, got: Any, wanted: Any) -> None:
    worst = error(got, wanted)
    why = f"relative error {worst:.2e} against float32, {ATTENTION_TOLERANCE:.2e} allowed"
    result.add(f"op.{name}", worst <= ATTENTION_TOLERANCE, why, evidence=_measured(worst))


OPERATIONS: dict[str, Check] = {
    "norm": _rmsnorm,
    "silu-and-mul": _silu,
    "rope": _rope,
    "page": _page,
    "cascade": _cascade,
    "sampling": _sampling,
}
"""Other kernels by the name of their check."""

NEEDED = frozenset({"norm"})
"""Operations that SGLang's llama takes from FlashInfer; the others may be left out of what is built ahead."""


def _times_ms(body: Callable[[], Any], repeats: int = 50) -> list[float]:
    for _ in range(5):
        body()
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin, end in marks:
        begin.record()
        body()
        end.record()
    torch.cuda.synchronize()
    return [round(float(begin.elapsed_time(end)), 6) for begin, end in marks]


def copy_bandwidth(size: int = 2**30) -> tuple[float, dict[str, Any]]:
    """Bytes a second that a device-to-device copy reads and writes, and what it was measured from."""
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = _times_ms(lambda: target.copy_(source), 20)
    return 2 * size / (statistics.median(times) / 1e3), {"copied_bytes": size, "copy_ms": times}


def bandwidth(result: level_io.Result, flashinfer: Any) -> None:
    """Time one long-context decode with both kernels; the limit is the time to read the cache at copy bandwidth."""
    batch, length, heads, kv_heads = 4, 32768, 32, 8
    pages = batch * length // PAGE
    cache = _normal(pages, 2, PAGE, kv_heads, 128, seed=20)
    query = _normal(batch, heads, 128, seed=21)
    speed, measured = copy_bandwidth()
    read = cache.numel() * cache.element_size()
    rows: dict[str, Any] = {
        "copy_bytes_per_s": speed,
        **measured,
        "expected_fraction": BANDWIDTH_FRACTION,
        "kv_bytes": read,
        "batch": batch,
        "length": length,
        "heads": heads,
        "kv_heads": kv_heads,
        "limit_ms": read / speed * 1e3,
    }
    for name, tensor_cores in (("decode", False), ("decode-tensor-core-fa2", True)):
        wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(_workspace(), "NHD", use_tensor_cores=tensor_cores)
        wrapper.plan(
            torch.arange(batch + 1, dtype=torch.int32) * (length // PAGE),
            torch.arange(pages, dtype=torch.int32, device="cuda"),
            torch.full((batch,), PAGE, dtype=torch.int32),
            heads,
            kv_heads,
            128,
            PAGE,
            q_data_type=torch.bfloat16,
            kv_data_type=torch.bfloat16,
        )
        times = _times_ms(lambda wrapper=wrapper: wrapper.run(query, cache))  # type: ignore[misc]
        took = statistics.median(times)
        fraction = rows["limit_ms"] / took
        rows[name] = {"ms": took, "fraction_of_limit": fraction, "times_ms": times}
        if fraction < BANDWIDTH_FRACTION:
            result.warnings.append(
                f"{name} over {length} tokens takes {took:.3f} ms, {fraction:.0%} of the speed at which this card "
                f"copies memory ({BANDWIDTH_FRACTION:.0%} or more is expected): debug flags, foreign arch, fallback?"
            )
    result.evidence["bandwidth"] = rows
    best = max(rows[name]["fraction_of_limit"] for name in ("decode", "decode-tensor-core-fa2"))
    result.add(
        "bandwidth",
        best > 0,
        f"the better decode kernel reaches {best:.0%} of the copy bandwidth {speed / 1e12:.2f} TB/s",
    )
