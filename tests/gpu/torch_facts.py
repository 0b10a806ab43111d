"""What a PyTorch says of itself, and whether each of its attention backends gives what the plain one gives.

    python tests/gpu/torch_facts.py --json OUT [--backends flash,efficient,cudnn]

Run it with the Python of the environment being verified. Ends with 0 if every backend that is asked for runs and is
right, and the GPU's machine code is in the library; 9 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found]
from torch.nn import functional  # type: ignore[import-not-found]
from torch.nn.attention import SDPBackend, sdpa_kernel  # type: ignore[import-not-found]

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2}  # of the largest value, against float32


def attend(backend: SDPBackend, inputs: list[torch.Tensor], head: torch.Tensor, *, causal: bool) -> list[torch.Tensor]:
    """Return the result of attention and the gradients of query, key and value."""
    leaves = [one.detach().clone().requires_grad_() for one in inputs]
    with sdpa_kernel(backend):
        result = functional.scaled_dot_product_attention(*leaves, is_causal=causal)
    grads = torch.autograd.grad(result, leaves, head.to(result.dtype))
    return [one.detach().float() for one in (result, *grads)]


def attention_case(name: str, dtype: torch.dtype, head_dim: int, *, causal: bool) -> dict[str, Any]:
    """Compare one backend with plain attention in float32, forward and backward."""
    torch.manual_seed(3)
    shape = (2, 8, 384, head_dim)
    inputs = [torch.randn(shape, device="cuda", dtype=dtype) for _ in range(3)]
    head = torch.randn(shape, device="cuda")
    case: dict[str, Any] = {"backend": name, "dtype": str(dtype), "head_dim": head_dim, "causal": causal}
    wanted = attend(SDPBackend.MATH, [one.float() for one in inputs], head, causal=causal)
    try:
        found = attend(BACKENDS[name], inputs, head, causal=causal)
    except RuntimeError as exc:
        return case | {"ok": False, "why": str(exc)[:300]}
    gaps = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True)]
    return case | {"ok": max(gaps) < TOLERANCE[dtype], "largest_gap": max(gaps), "why": ""}


def convolution() -> dict[str, Any]:
    """Compare a convolution, which cuDNN computes where it is built in, with the CPU's."""
    torch.manual_seed(4)
    image, weight = torch.randn(4, 16, 33, 31), torch.randn(24, 16, 3, 3)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = functional.conv2d(image.cuda(), weight.cuda(), padding=1).cpu()
    gap = float((found - functional.conv2d(image, weight, padding=1)).abs().max())
    return {"ok": gap < 1e-3, "largest_gap": gap, "cudnn": torch.backends.cudnn.version()}


def main() -> int:
    """Write the document and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--backends", default="flash,efficient,cudnn")
    args = parser.parse_args()
    asked = [name for name in args.backends.split(",") if name]
    cases = [
        attention_case(name, dtype, head_dim, causal=causal)
        for name in asked
        for dtype in TOLERANCE
        for head_dim in (64, 128)
        for causal in (False, True)
    ]
    major, minor = torch.cuda.get_device_capability()
    has_code = f"sm_{major}{minor}" in torch.cuda.get_arch_list()
    conv = convolution()
    good = has_code and conv["ok"] and all(case["ok"] for case in cases)
    document = {
        "status": "OK" if good else "FAIL",
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(),
        "arch_list": torch.cuda.get_arch_list(),
        "has_code_of_this_gpu": has_code,
        "cxx11_abi": torch.compiled_with_cxx11_abi(),
        "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        "config": torch.__config__.show(),
        "convolution": conv,
        "attention": cases,
    }
    args.json.write_text(json.dumps(document, indent=1))
    bad = [case for case in cases if not case["ok"]]
    print(f"torch facts: {document['status']}, {document['arch_list']}, {len(cases) - len(bad)} of {len(cases)} attend")
    for case in bad:
        print(f"  {case}")
    return 0 if good else 9


if __name__ == "__main__":
    sys.exit(main())
