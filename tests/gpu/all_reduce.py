"""NCCL all-reduce between two processes with a GPU each: right sums, and the bandwidth reached.

    python tests/gpu/all_reduce.py --json OUT [--gpus 2]

Run it with the Python of the environment being verified. Ends with 0 if every sum is right, 9 if one is not, 3 where
there are fewer GPUs. NVLink multicast is left off (NCCL_NVLS_ENABLE=0): virtual machines often do not offer it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found]
import torch.distributed as dist  # type: ignore[import-not-found]
import torch.multiprocessing as mp  # type: ignore[import-not-found]

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.uint8)
SIZES = (1, 1000, 1 << 20, 1 << 24)  # elements: one, an odd length, and up to 64 MiB of float32
REPEATS = 20


def values(size: int, dtype: torch.dtype, rank: int) -> torch.Tensor:
    """Small whole numbers that differ by rank and place; their sums are exact in every type here."""
    return ((torch.arange(size, device="cuda") + 3 * rank) % 11 + rank).to(dtype)


def one_case(size: int, dtype: torch.dtype, rank: int, world: int) -> dict[str, Any]:
    """Reduce, compare with the sum computed here, and time it."""
    wanted = sum(values(size, torch.int64, other) for other in range(world))
    mine = values(size, dtype, rank)
    dist.all_reduce(mine)
    right = bool(torch.equal(mine.to(torch.int64), wanted))
    work = values(size, dtype, rank)
    torch.cuda.synchronize()
    dist.barrier()
    started = time.perf_counter()
    for _ in range(REPEATS):
        work.zero_()
        dist.all_reduce(work)
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / REPEATS
    moved = size * mine.element_size() * 2 * (world - 1) / world  # bus bandwidth, as NVIDIA's nccl-tests count it
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "elements": size,
        "ok": right,
        "seconds": round(seconds, 7),
        "bus_gb_s": round(moved / seconds / 1e9, 2),
    }


def rank_main(rank: int, world: int, port: int, out: str) -> None:
    """One process: its GPU is the one of its rank."""
    torch.cuda.set_device(rank)
    store = dist.TCPStore("127.0.0.1", port, world, is_master=rank == 0, use_libuv=False)
    dist.init_process_group("nccl", store=store, rank=rank, world_size=world)
    cases = [one_case(size, dtype, rank, world) for dtype in DTYPES for size in SIZES]
    right = torch.tensor([int(case["ok"]) for case in cases], device="cuda")
    dist.all_reduce(right, op=dist.ReduceOp.MIN)  # wrong on any rank is wrong
    for case, ok in zip(cases, right.tolist(), strict=True):
        case["ok"] = bool(ok)
    if rank == 0:
        Path(out).write_text(json.dumps(cases))
    dist.destroy_process_group()


def main() -> int:
    """Start the processes, write the document, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=2)
    args = parser.parse_args()
    document: dict[str, Any] = {"gpus": args.gpus, "torch": torch.__version__, "repeats": REPEATS}
    there = torch.cuda.device_count()
    if there < args.gpus:
        document |= {"status": "SKIP", "why": f"{there} GPUs are here"}
        args.json.write_text(json.dumps(document, indent=1))
        print(document["why"], file=sys.stderr)
        return 3
    os.environ["NCCL_NVLS_ENABLE"] = "0"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cases_file = args.json.with_suffix(".cases")
    cases_file.unlink(missing_ok=True)
    failure = ""
    try:
        mp.spawn(rank_main, args=(args.gpus, port, str(cases_file)), nprocs=args.gpus)
    except Exception as exc:  # noqa: BLE001 - whatever a process died of belongs into the result
        failure = str(exc)[-2000:]
    cases = json.loads(cases_file.read_text()) if cases_file.exists() and not failure else []
    cases_file.unlink(missing_ok=True)
    ok = bool(cases) and all(case["ok"] for case in cases)
    document |= {
        "status": "OK" if ok else "FAIL",
        "why": failure,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        "best_bus_gb_s": max((case["bus_gb_s"] for case in cases), default=0.0),
        "cases": cases,
    }
    args.json.write_text(json.dumps(document, indent=1))
    print(f"all-reduce on {args.gpus} GPUs: {document['status']}, {len(cases)} cases, {document['best_bus_gb_s']} GB/s")
    return 0 if ok else 9


if __name__ == "__main__":
    sys.exit(main())
