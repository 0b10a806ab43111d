"""What ninja says while it builds, as progress a person can read.

Ninja tells when a unit is done and not when it starts. A build file can make each command say that itself, into ninja's
own output (`echo @start NAME >>/proc/$PPID/fd/1` in front of the command), and name its units by `description`. With
NINJA_STATUS as below, the lines are then

    @start NAME
    @done 3/37 NAME
    FAILED: [code=1] OBJECT
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bringup.model.hooks import Progress

NINJA_STATUS = "@done %f/%t "

# The cost table counts as this many seconds of experience when the pace is estimated.
PRIOR_SECONDS = 20.0


@dataclass(kw_only=True, slots=True)
class Watch:
    """Turns ninja's lines into progress: which units run, how many are left, how long it will take.

    Attributes:
        costs: CPU seconds by unit name, of the units still to compile.
        objects: unit name by the object file that ninja names when it fails.
        heavy: names of the units of which only `heavy_depth` run at a time.
        heavy_depth: see `heavy`.
        jobs: units that run at the same time.
    """

    costs: dict[str, float]
    objects: Mapping[str, str] = field(default_factory=dict)
    heavy: frozenset[str] = frozenset()
    heavy_depth: int = 1
    jobs: int = 1
    running: dict[str, float] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    spent: float = 0.0
    failed: list[str] = field(default_factory=list)
    excerpt: list[str] = field(default_factory=list)

    def line(self, text: str, now: float) -> bool:
        """Take one line of ninja's output; True if the progress changed. `now` in seconds of any steady clock."""
        found = re.match(r"@(start|done) (?:\d+/\d+ )?(.+)$", text)
        if not found:
            if text.startswith("FAILED: "):
                output = text.rsplit(maxsplit=1)[-1]
                self.failed.append(self.objects.get(output, Path(output).name))
            elif self.failed and len(self.excerpt) < 400:
                self.excerpt.append(text)
            return False
        verb, unit = found.groups()
        if verb == "start":
            self.running[unit] = now
        elif unit in self.costs:
            self.spent += now - self.running.pop(unit, now)
            self.done.add(unit)
        return unit in self.costs

    def progress(self, now: float) -> Progress:
        """Return what to show: the unit started last is named first."""
        pace = (sum(self.costs[unit] for unit in self.done) + PRIOR_SECONDS) / (self.spent + PRIOR_SECONDS)
        left = {unit: cost for unit, cost in self.costs.items() if unit not in self.done}
        for unit, since in self.running.items():
            if unit in left:
                left[unit] = max(left[unit] - (now - since) * pace, 0.05 * left[unit])
        heavy = sum(cost for unit, cost in left.items() if unit in self.heavy)
        bounds = (sum(left.values()) / self.jobs, heavy / self.heavy_depth, max(left.values(), default=0.0))
        shown = ", ".join(reversed([unit for unit in self.running if unit in self.costs]))
        return Progress(done=len(self.done), total=len(self.costs), now=shown, eta_seconds=max(bounds) / pace)

    def first_error(self) -> str:
        """Return the first line of a failed unit's output that a compiler calls an error."""
        wanted = re.compile(r"error|fatal|Killed|cannot find", re.IGNORECASE)
        return next((line for line in self.excerpt[1:] if wanted.search(line)), "").strip()
