"""Level `flashinfer`: the captured decode step with FlashInfer's paged attention, and the kernels one by one.

The plan is made on the host before each replay, the kernels run inside the graph, and compiling at run time is
switched off. Every kernel is compared with attention in float32; one long-context decode is timed against the
card's own memory bandwidth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from bringup.verify.levels import flashinfer_kernels as kernels
    from bringup.verify.levels import jit_caches, level_io, llama_step, nvcc_watch, small_llama, torch_level
else:
    import flashinfer_kernels as kernels
    import jit_caches
    import level_io
    import llama_step
    import nvcc_watch
    import small_llama
    import torch_level


class PagedDecode:
    """A paged cache and FlashInfer's decode wrapper over it, usable inside a CUDA graph."""

    def __init__(self, flashinfer: Any, shape: llama_step.Shape, *, tensor_cores: bool) -> None:
        batch, pages = torch_level.BATCH, -(-torch_level.STEPS // kernels.PAGE)
        self._shape = shape
        size = (shape.layers, batch * pages, 2, kernels.PAGE, shape.kv_heads, shape.head_dim)
        self._pages = torch.zeros(size, device="cuda", dtype=torch.bfloat16)
        # Pages in a shuffled order: a kernel that ignores the page table reads another sequence's keys.
        order = torch.randperm(batch * pages, generator=torch.Generator().manual_seed(3))
        self._table = order.view(batch, pages).cuda()
        self._rows = torch.arange(batch, device="cuda")
        self._wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
            torch.zeros(kernels.WORKSPACE, dtype=torch.uint8, device="cuda"),
            "NHD",
            use_cuda_graph=True,
            use_tensor_cores=tensor_cores,
            paged_kv_indptr_buffer=torch.zeros(batch + 1, dtype=torch.int32, device="cuda"),
            paged_kv_indices_buffer=torch.zeros(batch * pages, dtype=torch.int32, device="cuda"),
            paged_kv_last_page_len_buffer=torch.ones(batch, dtype=torch.int32, device="cuda"),
        )

    def plan(self, number: int) -> None:
        """Tell FlashInfer the lengths of step `number`; runs on the host, outside the graph."""
        batch, used = torch_level.BATCH, number // kernels.PAGE + 1
        self._wrapper.plan(
            torch.arange(batch + 1, dtype=torch.int32) * used,
            self._table[:, :used].reshape(-1).int(),
            torch.full((batch,), number % kernels.PAGE + 1, dtype=torch.int32),
            self._shape.heads,
            self._shape.kv_heads,
            self._shape.head_dim,
            kernels.PAGE,
            q_data_type=torch.bfloat16,
            kv_data_type=torch.bfloat16,
        )

    def attend(self, layer: int, query: Any, key: Any, value: Any, positions: Any) -> Any:
        """Store the step's key and value in their page, then attend."""
        pages = self._pages[layer]
        page, slot = self._table[self._rows, positions // kernels.PAGE], positions % kernels.PAGE
        pages[page, 0, slot] = key
        pages[page, 1, slot] = value
        return self._wrapper.run(query, pages)

    def clear(self) -> None:
        """Forget everything, in place."""
        self._pages.zero_()


def guarded(result: level_io.Result, name: str, body: Callable[[], None], *, required: bool = True) -> None:
    """Run one part; an exception fails its check with the true cause, the parts after it still run."""
    try:
        body()
    except Exception as error:  # noqa: BLE001 - any failure of a kernel is a finding
        # FlashInfer names it in the error's spec, the patched 0.2.5 in the error itself.
        module = getattr(getattr(error, "spec", None), "name", "") or getattr(error, "module", "")
        text = traceback.format_exc() + (f"\nmissing module: {module}" if module else "")
        if module and not required:
            result.skip(name, f"the module {module} was not built ahead", required=False)
        else:
            result.fail_from(name, text, evidence={"module": module} if module else None)


def graphs(result: level_io.Result, flashinfer: Any) -> None:
    """The captured llama step with each of the two decode kernels."""
    shape = llama_step.Shape()
    weights = small_llama.random_weights(shape, 1234)
    model = llama_step.load(shape, weights, device="cuda", dtype=torch.bfloat16)

    def one(tensor_cores: bool, prefix: str) -> None:
        paged = PagedDecode(flashinfer, shape, tensor_cores=tensor_cores)
        run = torch_level.Run(model, paged.attend, paged.clear, paged.plan)
        eager = torch_level.compare(result, run, prefix=prefix)
        torch_level.against_reference(result, shape, weights, run.made, eager, name=f"{prefix}reference")

    guarded(result, "decode.run", lambda: one(False, "decode."))
    guarded(result, "tensor-core.run", lambda: one(True, "tensor-core."))


def level(result: level_io.Result, options: argparse.Namespace, watch: nvcc_watch.NvccWatch) -> None:
    """All checks of the level."""
    if not level_io.require_gpu(result, torch):
        return
    folders = jit_caches.roots(os.environ)
    before = jit_caches.snapshot(folders)
    import flashinfer  # type: ignore[import-not-found]  # noqa: PLC0415 - after the environment is set

    result.evidence["flashinfer"] = {
        "version": flashinfer.__version__,
        "file": flashinfer.__file__,
        "jit": not os.environ.get("FLASHINFER_DISABLE_JIT"),
    }
    with torch.no_grad():
        graphs(result, flashinfer)
        for name, check in kernels.ATTENTION.items():
            guarded(result, f"kernel.{name}", lambda name=name, check=check: check(result, flashinfer, name))  # type: ignore[misc]
        for name, check in kernels.OPERATIONS.items():
            guarded(
                result,
                f"op.{name}",
                lambda name=name, check=check: check(result, flashinfer, name),  # type: ignore[misc]
                required=name in kernels.NEEDED,
            )
        guarded(result, "bandwidth", lambda: kernels.bandwidth(result, flashinfer))
    torch_level.check_caches(result, before, folders, harvest=options.harvest)
    if not options.harvest and not options.allow_jit:
        starts = watch.starts()
        why = f"nvcc was started {len(starts)} times: {starts[0][:200]}" if starts else "nvcc was not started"
        result.add("no-nvcc", not starts, why, evidence={"starts": starts[:5]})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the level."""
    parser = level_io.parser(__doc__ or "", limit_s=400)
    parser.add_argument("--allow-jit", action="store_true", help="let FlashInfer compile what was not built ahead")
    options = parser.parse_args(argv)
    # Otherwise the norms are compiled in-process with CuTe DSL, although the built ones are there.
    os.environ["FLASHINFER_USE_CUDA_NORM"] = "1"
    if options.allow_jit:
        os.environ.pop("FLASHINFER_DISABLE_JIT", None)
    else:
        os.environ["FLASHINFER_DISABLE_JIT"] = "1"

    def body(result: level_io.Result) -> None:
        with tempfile.TemporaryDirectory(prefix="flashinfer-level-") as folder:
            level(result, options, nvcc_watch.NvccWatch(Path(folder), os.environ))

    return level_io.run_level("flashinfer", body, out=options.json, limit_s=options.time_limit)


if __name__ == "__main__":
    raise SystemExit(main())
