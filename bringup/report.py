"""What people see: calm lines while it runs, a live line on a terminal, a short table at the end."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from bringup.model.hooks import Progress
from bringup.model.plan import Decision, Phase, Plan, Step
from bringup.model.verify import Level, Status
from bringup.planning.estimate import UNKNOWN
from bringup.planning.fingerprint import changes
from bringup.system.environ import command_name

if TYPE_CHECKING:
    from bringup.context import Outcome
    from bringup.planning.estimate import Estimate

# Seconds between two progress lines of one step where the output is not a terminal.
QUIET_SECONDS = 20.0
# Names of running units in a progress line.
SHOWN = 3
# Columns that a table at the end may take; a word longer than that, as a path, stands whole.
WIDTH = 100
# One of our commands in a text; other things that are invoked stay as they are.
COMMAND = re.compile(
    r"(?<![\w./-])invoke (?=(?:build|plan|fetch|patch|prepare|install|verify|jobs|shell|env|bundle|list|stats|doctor"
    r"|diagnose|report|clean|gc|lock|test|lint|schema|knowledge)\b)"
)


def duration(seconds: float) -> str:
    """Return seconds as people say them: "0.4 s", "12 s", "3 min 05 s", "1 h 20 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def as_typed(text: str) -> str:
    """Return text with our commands as this user types them: `./invokew build` where the launcher started us."""
    command = command_name()
    return text if command == "invoke" else COMMAND.sub(lambda _: f"{command} ", text)


class Console:
    """Writes to a stream; safe to use from several threads.

    Args:
        stream: where lines go.
        live: whether a line may be written over; as the stream is a terminal if None.
    """

    def __init__(self, stream: IO[str] | None = None, *, live: bool | None = None) -> None:
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty() if live is None else live
        self._lock = threading.Lock()
        self._shown: dict[str, str] = {}
        self._last: dict[str, float] = {}
        self._begun: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Write one line."""
        with self._lock:
            self._clear()
            self._write(as_typed(text) + "\n")
            self._draw()

    def started(self, step: Step) -> None:
        """Note that a step begins."""
        with self._lock:
            self._begun[step.id] = self._last[step.id] = time.monotonic()
            self._shown[step.id] = label(step)
            self._draw()

    def progress(self, step: Step, progress: Progress) -> None:
        """Show how far a step is: at once on a terminal, now and then elsewhere."""
        text = f"{label(step)}  {progress_text(progress)}"
        with self._lock:
            self._shown[step.id] = text
            now = time.monotonic()
            if self._live:
                self._draw()
            elif now - self._last.get(step.id, 0.0) >= QUIET_SECONDS:
                self._last[step.id] = now
                self._write(f"  ...   {text}\n")

    def finished(self, step: Step, outcome: Outcome, seconds: float) -> None:
        """Say that a step is done."""
        with self._lock:
            self._shown.pop(step.id, None)
        self.line(f"  done  {label(step):<28} {duration(seconds):>12}  {outcome.note}".rstrip())

    def failed(self, step: Step, seconds: float, *, stopped: bool) -> None:
        """Say that a step failed, or was stopped by the user or another's failure; the reason follows at the end."""
        with self._lock:
            self._shown.pop(step.id, None)
        word = "stop" if stopped else "FAIL"
        self.line(f"  {word:<5} {label(step):<28} {duration(seconds):>12}")

    def _clear(self) -> None:
        if self._live:
            self._write("\r\x1b[K")

    def _draw(self) -> None:
        if self._live and self._shown:
            width = shutil.get_terminal_size().columns - 1
            text = "  |  ".join(self._shown.values())
            self._write(f"\r\x1b[K{text[:width]}")

    def _write(self, text: str) -> None:
        """Write and flush; if whoever read it is gone, `head` or a terminal, the work goes on without."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._live = False
            with open(os.devnull, "w") as nothing:  # noqa: PTH123 - for what is still to be written, here and elsewhere
                os.dup2(nothing.fileno(), self._stream.fileno())


class Silent:
    """Says nothing; for --json, where stdout holds one document."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def started(self, step: Step) -> None:
        """Say nothing."""

    def progress(self, step: Step, progress: Progress) -> None:
        """Say nothing."""

    def finished(self, step: Step, outcome: Outcome, seconds: float) -> None:
        """Say nothing."""

    def failed(self, step: Step, seconds: float, *, stopped: bool) -> None:
        """Say nothing."""


def label(step: Step) -> str:
    """Return what a step is called: "flashinfer build"."""
    return f"{step.package} {step.phase}"


def progress_text(progress: Progress) -> str:
    """Return "12/36 prefill hd128: mask 1, 4 min left"."""
    parts = []
    if progress.total:
        parts.append(f"{progress.done}/{progress.total}")
    if progress.now:
        running = progress.now.split(", ")  # on many cores there are dozens
        more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
        parts.append(", ".join(running[:SHOWN]) + more)
    text = " ".join(parts)
    if progress.eta_seconds is not None:
        text += f", about {duration(progress.eta_seconds)} left"
    return text


def plan_lines(plan: Plan, *, why: str = "") -> list[str]:
    """Return a plan for people; with `why` only the steps of that package, with everything known about them."""
    lines = [f"{plan.target.id}  stack {plan.stack.name}: {plan.stack.title}"]
    steps = [step for step in plan.steps if not why or step.package == why]
    width = max(len(label(step)) for step in steps) if steps else 0
    for step in steps:
        lines.append(f"  {step.decision:<5} {label(step):<{width}}  {step.why}")
        if why and step.phase is Phase.BUILD and step.fingerprint:
            lines += change_lines(plan, why)
            lines.append(f"        fingerprint {step.fingerprint}, over:")
            lines += [f"          {name}: {shown(value)}" for name, value in plan.inputs.get(why, {}).items()]
    lines += [part for line in plan.notes for part in wrapped("  note: ", line)]
    lines += [part for line in plan.warnings for part in wrapped("  warning: ", line)]
    if plan.download_mib or plan.disk_mib:
        lines.append(f"  estimate: {plan.download_mib / 1024:.1f} GiB to fetch, {plan.disk_mib / 1024:.1f} GiB of disk")
    return lines


def estimate_lines(estimate: Estimate) -> list[str]:
    """Return how long the steps will take, with how much memory, and how sure that is; nothing if nothing runs."""
    if not estimate.steps:
        return []
    open_end = any(one.source == UNKNOWN for one in estimate.steps.values())
    memory = f", {estimate.memory_mib / 1024:.1f} GiB of memory for compilers" if estimate.memory_mib else ""
    if not estimate.seconds:
        return wrapped("  expected: ", f"how long is not known, since no step of these was timed before{memory}")
    said = f"{'at least' if open_end else 'about'} {duration(estimate.seconds)}{memory}"
    return wrapped("  expected: ", f"{said} ({estimate.sureness()})")


def change_lines(plan: Plan, package: str) -> list[str]:
    """Return what differs from the last build of a package, each with its value before and now."""
    before = plan.before.get(package)
    if before is None:
        return []
    found = changes(before, plan.inputs.get(package, {}))
    lines = ["        since the last build:"] if found else []
    for what, old, new in found:
        lines += [
            f"          {what}",
            f"            was  {shown(old) or 'nothing'}",
            f"            now  {shown(new) or 'nothing'}",
        ]
    return lines


def shown(value: object, limit: int = 160) -> str:
    """Return a value in one line of at most `limit` characters."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def summary_lines(plan: Plan, seconds: Sequence[tuple[Step, float, str]], levels: Sequence[Level]) -> list[str]:
    """Return the table after a build: steps with times, then what was verified and what was skipped and why."""
    lines = ["", f"{plan.target.id}  stack {plan.stack.name}"]
    width = max([len(label(step)) for step, _, _ in seconds] + [0])
    for step, took, note in seconds:
        lines += wrapped(f"  {label(step):<{width}}  {duration(took):>12}  ", note)
    for level in levels:
        lines += wrapped(f"  verify {level.level:<{max(0, width - 7)}}  {level.status:>12}  ", as_typed(level.why))
        for text in level.warnings:
            lines += wrapped("          warning: ", text)
    return lines


def wrapped(head: str, text: str) -> list[str]:
    """Return `head` and `text` in lines of at most `WIDTH`; those after the first stand below the text."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def nothing_to_do(plan: Plan) -> list[str]:
    """Return what is said when every step is there already."""
    reused = [step for step in plan.steps if step.decision is Decision.REUSE and step.phase is Phase.BUILD]
    lines = [f"{plan.target.id}  stack {plan.stack.name}: nothing to do"]
    lines += [f"  {label(step)}: {step.why} ({step.fingerprint[:12]})" for step in reused]
    return lines


def level_lines(levels: Sequence[Level]) -> list[str]:
    """Return levels with those checks that are not plainly OK; what several checks say alike stands there once."""
    lines = []
    for level in levels:
        said = _in_brief(level)
        lines.append(f"  {level.level:<11} {level.status:<8} {duration(level.seconds):>10}  {said}".rstrip())
        shown_checks: dict[tuple[Status, str], list[str]] = {}
        for check in level.checks:
            if check.status is not Status.OK and (check.status is Status.FAIL or check.why != level.why):
                shown_checks.setdefault((check.status, check.why), []).append(check.id)
        for (status, why), names in shown_checks.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"      {status:<8} {names[0]}{more}: {why}")
        lines += [f"      warning  {text}" for text in level.warnings]
    return lines


def _in_brief(level: Level) -> str:
    if level.status is not Status.FAIL:
        return level.why
    failed = sum(check.status is Status.FAIL for check in level.checks)
    return f"{failed} of {len(level.checks)} checks fail" if level.checks else level.why
