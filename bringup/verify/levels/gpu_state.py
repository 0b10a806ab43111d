"""Which GPUs this process may use, what is free on them, and who holds the rest; as nvidia-smi tells it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

FIELDS = ("index", "name", "uuid", "driver_version", "compute_cap", "memory.total", "memory.used")

NEEDED_MIB = 6 * 1024
"""Free memory that a graph level needs: models, workspaces and CUDA's own, with room."""

NOTABLE_MIB = 1024
"""Memory of others worth a warning: it changes how large the key-value cache becomes, and what is measured."""


def query(what: str) -> list[list[str]]:
    """Return the rows of one query of nvidia-smi; empty without it or without a GPU."""
    argv = ["nvidia-smi", f"--query-{what}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.split(", ") for line in done.stdout.splitlines() if ", " in line]


def gpus(env: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """Return what nvidia-smi says about each GPU that CUDA_VISIBLE_DEVICES leaves to this process, in its order."""
    rows = [dict(zip(FIELDS, row, strict=False)) for row in query(f"gpu={','.join(FIELDS)}")]
    return visible(rows, (os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES"))


def visible(rows: Sequence[dict[str, str]], chosen: str | None) -> list[dict[str, str]]:
    """Pick the GPUs of a value of CUDA_VISIBLE_DEVICES; as CUDA does, stop at the first name that means none."""
    if chosen is None:
        return list(rows)
    found = []
    for word in (part.strip() for part in chosen.split(",")):
        match = [row for row in rows if word and (row["index"] == word or row["uuid"].startswith(word))]
        if len(match) != 1:
            break
        found.append(match[0])
    return found


def processes(uuids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the processes that hold memory on these GPUs: pid, name, mib (None if the driver does not tell)."""
    fields = ("gpu_uuid", "pid", "used_memory", "process_name")
    rows = [dict(zip(fields, row, strict=False)) for row in query(f"compute-apps={','.join(fields)}")]
    return [
        {
            "gpu": row["gpu_uuid"],
            "pid": int(row["pid"]),
            "name": row.get("process_name", "").rpartition("/")[2],
            "mib": int(row["used_memory"]) if row["used_memory"].isdigit() else None,
        }
        for row in rows
        if row["gpu_uuid"] in uuids and row["pid"].isdigit()
    ]


def describe(row: Mapping[str, str], holders: Sequence[Mapping[str, Any]]) -> str:
    """Say what is taken on one GPU and by whom, as far as it can be known."""
    total, used = float(row["memory.total"]), float(row["memory.used"])
    text = f"GPU {row['index']} has {(total - used) / 1024:.1f} of {total / 1024:.1f} GiB free"
    mine = [holder for holder in holders if holder["gpu"] == row["uuid"]]
    if not mine:
        return f"{text}; the driver names no process here that holds the rest (it may run in another container)"
    sizes = ["" if holder["mib"] is None else f", {holder['mib']} MiB" for holder in mine]
    named = ", ".join(f"{holder['pid']} ({holder['name']}{size})" for holder, size in zip(mine, sizes, strict=True))
    return f"{text}; held by process {named}"


def memory_state(
    rows: Sequence[Mapping[str, str]], holders: Sequence[Mapping[str, Any]], *, needed_mib: int = NEEDED_MIB
) -> tuple[list[str], list[str]]:
    """Return problems and warnings about memory that others hold on these GPUs."""
    problems, warnings = [], []
    for row in rows:
        try:
            total, used = float(row["memory.total"]), float(row["memory.used"])
        except (KeyError, ValueError):
            continue  # MIG instances and some virtual GPUs answer "[N/A]"
        if total - used < needed_mib:
            problems.append(f"{describe(row, holders)}; {needed_mib / 1024:.0f} GiB are needed")
        elif used > NOTABLE_MIB:
            warnings.append(f"the GPU is not idle: {describe(row, holders)}")
    return problems, warnings
