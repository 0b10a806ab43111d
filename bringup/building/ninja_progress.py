"""How far a build by ninja is: its lines `[12/2184] Building CXX object x.o` as progress with the time that is left."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bringup.building.ninja_order import UnitCosts, read_costs, units_of
from bringup.model.hooks import Progress

# Nothing is said of the time that is left before this many seconds: the first edges only copy and generate.
SILENT_SECONDS = 30.0
# The table of costs counts as this many seconds of experience when the pace is estimated. On many cores it has to: the
# long units come first, and for minutes none is done.
PRIOR_SECONDS = 600.0
_EDGE = re.compile(r"\[(\d+)/(\d+)\] (.+)")
_OBJECT = re.compile(r"(?:-o |object )(\S+)")


def ninja_progress(folders: Iterable[Path], units: Path, *, jobs: int) -> NinjaProgress:
    """Return what watches the lines of a build.

    Args:
        folders: those of the build.ninja.
        units: file of unit costs; without it no time is told.
        jobs: units that run at the same time.

    Raises:
        ConfigError: the file of unit costs is wrong.
    """
    if not units.exists():
        return NinjaProgress(jobs=jobs)
    costs = read_costs(units)
    return NinjaProgress(jobs=jobs, left=_costs_left(folders, costs), others=costs.others_seconds)


def _costs_left(folders: Iterable[Path], costs: UnitCosts) -> dict[str, float]:
    """Return the CPU seconds of the units of known cost that ninja has yet to compile, by object file."""
    return {
        output: float(seconds)
        for folder in folders
        if (folder / "build.ninja").exists()
        for output, (seconds, _) in units_of((folder / "build.ninja").read_text(), costs)
        if not (folder / output).exists()
    }


@dataclass(kw_only=True, slots=True)
class NinjaProgress:
    """Turns ninja's lines into progress.

    Attributes:
        jobs: units that run at the same time.
        left: CPU seconds of the units of known cost that are not done, by object file.
        others: CPU seconds of every other edge; 0 if nothing is known, and no time is told.
    """

    jobs: int
    left: dict[str, float] = field(default_factory=dict)
    others: float = 0.0
    _begun: float | None = None
    _spent: float = 0.0

    def line(self, text: str, now: float) -> Progress | None:
        """Take one line of output; None if it says nothing of the progress. `now` in seconds of any steady clock."""
        found = _EDGE.match(text)
        if not found:
            return None
        done, total, what = int(found[1]), int(found[2]), found[3]
        begun = self._begun = now if self._begun is None else self._begun
        named = _OBJECT.search(what)
        output = named[1] if named else what.rsplit(maxsplit=1)[-1]
        self._spent += self.left.pop(output, self.others)
        return Progress(done=done, total=total, now=_short(output), eta_seconds=self._eta(now - begun, total - done))

    def _eta(self, elapsed: float, edges: int) -> float | None:
        if elapsed < SILENT_SECONDS or not edges or not self.others:
            return None
        pace = (self._spent + PRIOR_SECONDS * self.jobs) / (elapsed + PRIOR_SECONDS)
        return (sum(self.left.values()) + max(0, edges - len(self.left)) * self.others) / pace


def _short(output: str) -> str:
    """Return the end of a path, by which people know a unit: "native/cuda/Indexing.cu"."""
    parts = Path(output.removesuffix(".o")).parts[-3:]
    return "/".join(part for part in parts if part not in ("__", "/") and not part.endswith(".dir"))
