"""PyTorch's operators on the GPU against the CPU, forward and backward, on upstream's own samples.

    python tests/gpu/operators.py --json OUT [--seconds 80] [--rehearse]

Run it with the Python of the environment being verified. Operators and samples are those of
torch.testing._internal.common_methods_invocations.op_db, which travels in every wheel. A case is one operator with one
dtype: its first samples are made on the CPU, copied to the GPU, and results and gradients are compared. A result counts
as right within the tolerance of its dtype, or where it is no further from the same computation in float64 than three
times the CPU's own distance. Ends with 0 if all are right and at least 200 cases were compared, 9 otherwise.
--rehearse compares float32 with float64 on the CPU: it tries this program, and needs no GPU.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import types
import unittest
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# common_utils takes one name of a package that is for tests of printed output; no sample needs it.
_stand_in = types.ModuleType("expecttest")
_stand_in.TestCase = unittest.TestCase  # type: ignore[attr-defined]
sys.modules.setdefault("expecttest", _stand_in)

import torch  # type: ignore[import-not-found]  # noqa: E402

# Before upstream's test modules: they forbid changes of these.
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False

from torch.testing._internal.common_methods_invocations import op_db  # type: ignore[import-not-found]  # noqa: E402

LEAST = 200
SAMPLES = 2
TOLERANCE = {  # relative, absolute
    torch.float64: (1e-7, 1e-7),
    torch.float32: (1e-4, 1e-4),
    torch.complex64: (1e-4, 1e-4),
    torch.float16: (1e-2, 1e-2),
    torch.bfloat16: (4e-2, 4e-2),
}
# Times the tolerance: a gradient that subtracts nearly equal logarithms, and sums of large powers.
LOOSE = {"logcumsumexp": 100.0, "matrix_exp": 100.0}
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.complex64)
# Not comparable, whatever computes them: random numbers, memory that nobody wrote, factors that are not unique
# (signs, order, bases), and what only describes a tensor.
NOT_UNIQUE = re.compile(
    r"rand|dropout|bernoulli|multinomial|normal$|uniform|exponential|cauchy|geometric|log_normal|rrelu|empty|new_full"
    r"|svd|eig|qr|pca_lowrank|lstsq|ormqr|householder|lu$|lu_|ldl|cholesky_ex|inv_ex|matrix_rank|cond$|pinv"
    r"|fractional_max_pool|resize|_segment|jiterator|to_sparse|sparse|as_strided|nested|gumbel|sampled_addmm"
    r"|multi_head_attention_forward"  # draws a dropout
    r"|native_batch_norm"  # keeps other statistics for the backward pass on a GPU
    r"|^tensor_split$"  # wants its indices on the CPU
    r"|^index_put$"  # writes several values to one place, and which of them stays is not defined
)
TIES = re.compile(r"^(topk|sort|msort|argsort|kthvalue|mode)$")
"""Equal values come often in 16 bits and among small integers, and their order is not defined."""


def wanted_cases() -> Iterator[tuple[Any, torch.dtype]]:
    """Yield operator and dtype: first every operator in float32, then the next dtype."""
    for dtype in DTYPES:
        for op in op_db:
            ties = (dtype.itemsize == 2 or dtype is torch.int64) and TIES.search(op.name)
            if dtype in op.dtypesIfCUDA and dtype in op.dtypes and not NOT_UNIQUE.search(op.name) and not ties:
                yield op, dtype


def tensors(value: Any) -> list[torch.Tensor]:
    """Return the tensors in a result, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [one for item in value for one in tensors(item)]
    return []


def moved(sample: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return a sample with every tensor changed, and its need of a gradient kept."""

    def one(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return change(value.detach()).requires_grad_(value.requires_grad)

    return sample.transform(one)


def widened(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the widest type of its kind."""
    if value.is_floating_point():
        return value.double()
    return value.to(torch.complex128) if value.is_complex() else value.clone()


def computed(op: Any, sample: Any, *, backward: bool) -> list[torch.Tensor]:
    """Return results, and the gradients of the inputs where they are wanted, on the CPU."""
    results = tensors(op(sample.input, *sample.args, **sample.kwargs))
    inputs = [one for one in tensors([sample.input, *sample.args, *sample.kwargs.values()]) if one.requires_grad]
    found = [one.detach() for one in results]
    differentiable = [one for one in results if one.requires_grad]
    if backward and inputs and differentiable:
        weights = [torch.linspace(0.5, 1.5, max(1, one.numel()))[: one.numel()].reshape(one.shape) for one in results]
        pairs = [(one, weight) for one, weight in zip(results, weights, strict=True) if one.requires_grad]
        heads = [weight.to(device=one.device, dtype=one.dtype) for one, weight in pairs]
        grads = torch.autograd.grad([one for one, _ in pairs], inputs, heads, allow_unused=True)
        found += [torch.zeros(()) if one is None else one.detach() for one in grads]
    return [one.resolve_conj().resolve_neg().to("cpu") for one in found]


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference of two results in float64; infinite where one is not a number alone."""
    if found.shape != wanted.shape:
        return float("inf")
    a, b = widened(found), widened(wanted)
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else float("inf")
    same = (a == b) | (torch.isnan(a) & torch.isnan(b))
    gap = torch.where(same, torch.zeros_like(a.abs()), (a - b).abs())
    return float(torch.nan_to_num(gap, nan=float("inf")).max()) if gap.numel() else 0.0


def within(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype, loose: float) -> bool:
    """Return whether a result is that of the CPU within the tolerance of the case's dtype, or its own for integers."""
    relative, absolute = (loose * one for one in TOLERANCE.get(dtype) or TOLERANCE.get(found.dtype, (0.0, 0.0)))
    try:
        torch.testing.assert_close(
            found, wanted, rtol=relative, atol=absolute, equal_nan=True, check_dtype=False, check_stride=False
        )
    except AssertionError:
        return False
    return True


def compare(op: Any, sample: Any, dtype: torch.dtype, *, backward: bool, rehearse: bool) -> str:
    """Return what differs in one sample, "" if nothing does.

    Raises:
        Exception: what the CPU says to a sample it cannot compute.
    """
    here = computed(op, moved(sample, lambda one: one.clone()), backward=backward)
    change = widened if rehearse else lambda one: one.to("cuda")
    try:
        there = computed(op, moved(sample, change), backward=backward)
    except Exception as exc:  # noqa: BLE001 - the CPU could do it
        return f"{type(exc).__name__}: {exc}"[:300]
    if len(here) != len(there):
        return f"{len(there)} results instead of {len(here)}"
    loose = LOOSE.get(op.name, 1.0)
    bad = [place for place, (a, b) in enumerate(zip(there, here, strict=True)) if not within(a, b, dtype, loose)]
    if not bad:
        return ""
    if rehearse:  # the other side is float64 itself
        return f"result {bad[0]} differs by {difference(there[bad[0]], here[bad[0]]):.3g}"
    try:
        truth = computed(op, moved(sample, widened), backward=backward)
    except Exception:  # noqa: BLE001 - then the CPU's own result has to do
        truth = here
    for place in bad:
        mine, own = difference(there[place], truth[place]), difference(here[place], truth[place])
        if not mine <= 3 * own:
            return f"result {place} differs by {mine:.3g} from float64; the CPU's by {own:.3g}"
    return ""


def run_case(op: Any, dtype: torch.dtype, *, rehearse: bool) -> dict[str, Any]:
    """Compare one operator with one dtype."""
    both = dtype in op.backward_dtypesIfCUDA and dtype in op.backward_dtypes
    backward = bool(op.supports_autograd and both and (dtype.is_floating_point or dtype.is_complex))
    case: dict[str, Any] = {"op": op.formatted_name, "dtype": str(dtype).removeprefix("torch."), "backward": backward}
    torch.manual_seed(7)
    done = 0
    try:
        for sample in op.sample_inputs("cpu", dtype, requires_grad=backward):
            why = compare(op, sample, dtype, backward=backward, rehearse=rehearse)
            if why:
                return case | {"status": "FAIL", "why": why}
            done += 1
            if done == SAMPLES:
                break
    except Exception as exc:  # noqa: BLE001 - the CPU cannot do it: nothing to compare with
        return case | {"status": "SKIP", "why": f"CPU: {type(exc).__name__}: {exc}"[:200]}
    return case | {"status": "OK" if done else "SKIP", "why": "" if done else "no sample"}


def main() -> int:
    """Run the cases, write the document, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=80.0, help="no further case is begun after so many seconds")
    parser.add_argument("--rehearse", action="store_true", help="float32 against float64 on the CPU")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    if not args.rehearse and not torch.cuda.is_available():
        print("torch sees no GPU", file=sys.stderr)
        return 3
    torch.set_num_threads(8)
    started = time.monotonic()
    wanted = [case for case in wanted_cases() if not args.rehearse or case[1] is torch.float32]
    cases: list[dict[str, Any]] = []
    for op, dtype in wanted:
        if time.monotonic() - started > args.seconds:
            break
        cases.append(run_case(op, dtype, rehearse=args.rehearse))
        if not args.rehearse and "CUDA error" in cases[-1]["why"]:
            break  # nothing after an illegal access means anything
    counts = Counter(case["status"] for case in cases)
    compared = counts["OK"] + counts["FAIL"]
    good = compared >= LEAST and not counts["FAIL"]
    document = {
        "status": "OK" if good else "FAIL",
        "torch": torch.__version__,
        "device": "cpu, float64" if args.rehearse else torch.cuda.get_device_name(),
        "seconds": round(time.monotonic() - started, 1),
        "known_cases": len(wanted),
        "compared": compared,
        "with_backward": sum(case["backward"] for case in cases if case["status"] != "SKIP"),
        "counts": dict(counts),
        "cases": cases,
    }
    args.json.write_text(json.dumps(document, indent=0))
    print(
        f"operators: {document['status']}, {compared} cases compared, {counts['FAIL']} differ, {counts['SKIP']} skipped"
    )
    for case in cases:
        if case["status"] == "FAIL":
            print(f"  {case['op']} {case['dtype']}: {case['why']}")
    return 0 if good else 9


if __name__ == "__main__":
    sys.exit(main())
