"""How long a plan will take and how much memory, from what was recorded here, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bringup.model.plan import Decision, Step

HERE, STORED, GUESS, UNKNOWN = "here", "store", "recipe", "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEstimate:
    """What one step will take.

    Attributes:
        seconds: wall-clock seconds; 0 if unknown.
        memory_mib: memory of its compilers at the same time; 0 if unknown.
        source: "here" (runs recorded in this build directory), "store" (the newest build in the store), "recipe" (its
            guess), "unknown".
        runs: how many recorded runs it is from.
    """

    seconds: float
    memory_mib: int
    source: str
    runs: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a plan will take: wall-clock seconds, MiB of memory at the same time, and each step's part by id."""

    seconds: float
    memory_mib: int
    steps: Mapping[str, StepEstimate]

    def sureness(self) -> str:
        """Return what it rests on: "7 steps from up to 3 runs here, 1 by its recipe's guess, 2 unknown"."""
        counts = dict.fromkeys((HERE, STORED, GUESS, UNKNOWN), 0)
        for one in self.steps.values():
            counts[one.source] += 1
        runs = max((one.runs for one in self.steps.values()), default=0)
        texts = {
            HERE: f"from {'up to ' if runs > 1 else ''}{runs} run{'s' if runs != 1 else ''} here",
            STORED: "from the store's last build",
            GUESS: "by the recipe's guess",
            UNKNOWN: "not known and not counted",
        }
        return ", ".join(_steps(counts[source], text) for source, text in texts.items() if counts[source])

    def document(self) -> dict[str, Any]:
        """Return it for `plan --json`."""
        return {
            "seconds": round(self.seconds, 1),
            "memory_mib": self.memory_mib,
            "sureness": self.sureness(),
            "steps": {
                name: {
                    "seconds": round(one.seconds, 1),
                    "memory_mib": one.memory_mib,
                    "from": one.source,
                    "runs": one.runs,
                }
                for name, one in self.steps.items()
            },
        }


def _steps(count: int, text: str) -> str:
    return f"{count} step{'s' if count != 1 else ''} {text}"


def estimate_step(
    step: Step, record: Mapping[str, Any] | None, *, jobs: int, memory_mib: int, job_mib: int
) -> StepEstimate:
    """Return what a step will take.

    Recorded runs count first: the longest of the last three, since one that went on where another stopped is short.

    Args:
        step: which one.
        record: what was recorded when it was last finished here.
        jobs: compilers at the same time.
        memory_mib: what compilers may use together.
        job_mib: the recipe's guess for one compiler; 0 for steps that do not compile.
    """
    guess = min(memory_mib, job_mib * jobs)
    past: list[Mapping[str, Any]] = [one for one in (record or {}).get("past", ()) if isinstance(one, dict)]
    if record and "past" not in record:
        past = [record]
    seconds = [float(one["seconds"]) for one in past if isinstance(one.get("seconds"), int | float)]
    if seconds:
        peak = max((int(one.get("peak_mib", 0)) for one in past), default=0)
        return StepEstimate(seconds=max(seconds), memory_mib=peak or guess, source=HERE, runs=len(seconds))
    if not step.seconds:
        return StepEstimate(seconds=0, memory_mib=guess, source=UNKNOWN)
    if step.stored:
        return StepEstimate(seconds=step.seconds, memory_mib=guess, source=STORED, runs=1)
    return StepEstimate(seconds=step.seconds / at_once(jobs, memory_mib, job_mib), memory_mib=guess, source=GUESS)


def at_once(jobs: int, memory_mib: int, job_mib: int) -> int:
    """Return how many compilers of `job_mib` fit into the memory, `jobs` of them at most and one at least."""
    return max(1, min(jobs, memory_mib // job_mib)) if job_mib else jobs


def estimate_plan(steps: Sequence[Step], parts: Mapping[str, StepEstimate], *, memory_mib: int) -> Estimate:
    """Return what the steps that are to run take: the longest chain of them, and the memory of the largest.

    Args:
        steps: in an order that `after` allows.
        parts: estimate of each step that is to run, by id.
        memory_mib: what compilers may use together.
    """
    ends: dict[str, float] = {}
    for step in steps:
        begin = max((ends.get(name, 0.0) for name in step.after), default=0.0)
        runs = step.decision is Decision.RUN and step.id in parts
        ends[step.id] = begin + (parts[step.id].seconds if runs else 0.0)
    memory = max((one.memory_mib for one in parts.values()), default=0)
    return Estimate(seconds=max(ends.values(), default=0.0), memory_mib=min(memory, memory_mib), steps=parts)
