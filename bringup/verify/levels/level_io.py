"""What every graph level shares: the result document, the time limit, and facts about the GPU and the packages."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bringup.verify.levels import classify, gpu_state
else:
    import classify
    import gpu_state

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "safetensors",
    "apache-tvm-ffi",
    "flashinfer-python",
    "flashinfer-jit-cache",
    "sglang",
    "sglang-kernel",
    "sglang-jit-cache",
    "bringup-harvest",
)


@dataclass
class Result:
    """The document that a level writes: checks in the order they were made, evidence, warnings."""

    level: str
    checks: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, passed: bool, why: str, *, evidence: dict[str, Any] | None = None) -> bool:
        """Record one check; `why` is the sentence shown, for a failure it names the cause."""
        status = "OK" if passed else "FAIL"
        self.checks.append(self._check(name, status, why, required=True, evidence=evidence))
        return passed

    def skip(self, name: str, why: str, *, required: bool) -> None:
        """Record a check that this machine or these options cannot answer."""
        self.checks.append(self._check(name, "SKIPPED", why, required=required, evidence=None))

    def fail_from(self, name: str, text: str, *, evidence: dict[str, Any] | None = None) -> None:
        """Record a failure whose cause is looked up in `text`, a log or a traceback."""
        cause = classify.classify(text)
        found = {"signature": cause.id, "line": cause.line, "fix": list(cause.fix), "log_tail": text[-4000:]}
        self.checks.append(self._check(name, "FAIL", cause.sentence, required=True, evidence=found | (evidence or {})))

    def _check(
        self, name: str, status: str, why: str, *, required: bool, evidence: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "id": f"{self.level}.{name}",
            "status": status,
            "why": why,
            "required": required,
            "evidence": evidence or {},
        }

    def write(self, path: Path) -> None:
        """Write the document, whole or not at all; numbers that JSON does not know become null."""
        document = {"checks": self.checks, "evidence": self.evidence, "warnings": self.warnings}
        part = path.with_name(f"{path.name}.part{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(json_ready(document), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)


def json_ready(value: Any) -> Any:
    """Return `value` in JSON's own types: no NaN, no infinity, no paths, no tuples."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def parser(description: str, *, limit_s: float) -> argparse.ArgumentParser:
    """Return a parser with the options that every level takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, required=True, help="where the result document goes")
    made.add_argument(
        "--time-limit", type=float, default=limit_s, help="seconds, then the level fails (default %(default)s)"
    )
    made.add_argument("--harvest", action="store_true", help="list what is compiled instead of failing on it")
    return made


def run_level(level: str, body: Callable[[Result], None], *, out: Path, limit_s: float) -> int:
    """Run `body` and write its result; whatever goes wrong becomes a failed check. Returns the exit code, 0."""
    result = Result(level)
    started = time.monotonic()
    watchdog = threading.Timer(limit_s, _time_is_up, (result, out, limit_s))
    watchdog.daemon = True
    watchdog.start()
    try:
        body(result)
    except Exception:  # noqa: BLE001 - the document has to be written whatever happens
        result.fail_from("run", traceback.format_exc())
    finally:
        watchdog.cancel()
    result.evidence |= {"versions": versions(), "seconds": round(time.monotonic() - started, 3)}
    result.write(out)
    for check in result.checks:
        print(f"{check['status']:8}{check['id']}: {check['why']}", flush=True)
    for warning in result.warnings:
        print(f"warning: {warning}", flush=True)
    return 0


def _time_is_up(result: Result, out: Path, limit_s: float) -> None:
    # A thread, not a signal: a hung CUDA call never returns to the interpreter that would handle the signal.
    stacks = "\n".join(
        "".join(traceback.format_stack(frame, limit=8))
        for frame in sys._current_frames().values()  # noqa: SLF001
    )
    why = f"not finished after {limit_s:.0f} s; see where it was in the evidence (or raise --time-limit)"
    result.add("time-limit", False, why, evidence={"stacks": stacks[-4000:]})
    result.write(out)
    kill_children()
    os._exit(0)


_CHILDREN: set[int] = set()


def kill_children() -> None:
    """End the process groups of children that are still running."""
    for group in list(_CHILDREN):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 9)
        _CHILDREN.discard(group)


def run_child(
    argv: Sequence[str | Path], *, log: Path, env: dict[str, str] | None = None, limit_s: float
) -> tuple[int, float, str]:
    """Run a script in its own process group with its output in `log`.

    Returns:
        Exit status (-9 when the limit ended it), seconds, and the log's text with the limit noted at its end.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [str(part) for part in argv],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        _CHILDREN.add(child.pid)
        try:
            status = child.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            status = -9
            sink.write(f"\nended after the limit of {limit_s:.0f} s\n".encode())
        finally:
            kill_children()
            child.wait()
    return status, time.monotonic() - started, log.read_text(encoding="utf-8", errors="replace")


def versions() -> dict[str, str]:
    """Versions of Python, glibc and the packages of the stack that are installed."""
    found = {"python": platform.python_version(), "glibc": platform.libc_ver()[1]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


gpus = gpu_state.gpus


def require_gpu(result: Result, torch: Any, *, count: int = 1) -> bool:
    """Note the GPUs as evidence; without enough of them, or enough memory on them, say so and return False."""
    rows = note_gpus(result, count)
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen >= count:
        return free_memory(result, rows)
    why = f"needs {count} GPU{'s' if count > 1 else ''}, torch sees {seen}; run it on a node that has them"
    if rows:
        why = f"nvidia-smi shows {len(rows)} GPU(s) and torch sees {seen}: see CUDA_VISIBLE_DEVICES and the driver"
    result.skip("gpu", why, required=True)
    return False


def note_gpus(result: Result, count: int) -> list[dict[str, str]]:
    """Keep the GPUs that the level will use, and who holds memory on them, as evidence; returns the GPUs."""
    rows = gpu_state.gpus()[:count]
    result.evidence["gpus"] = rows
    result.evidence["gpu_processes"] = gpu_state.processes([row["uuid"] for row in rows])
    return rows


def free_memory(result: Result, rows: Sequence[dict[str, str]]) -> bool:
    """Fail if others hold so much GPU memory that the level cannot run; warn if they hold a notable share."""
    problems, warnings = gpu_state.memory_state(rows, result.evidence["gpu_processes"])
    result.warnings += warnings
    if problems:
        why = f"the GPU is busy: {'; '.join(problems)}. Next: end these processes, or choose another GPU with "
        return result.add("gpu-memory", False, why + "CUDA_VISIBLE_DEVICES")
    return True
