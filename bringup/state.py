"""What was finished before: records of steps below the target's folder, and the store."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bringup.context import Outcome
from bringup.entry import Entry, Lookup
from bringup.errors import BringupError
from bringup.model.plan import Phase, Step
from bringup.store import Store
from bringup.system.fs import read_json, write_json
from bringup.system.layout import Layout

# Runs of a step whose figures are kept, for estimates.
KEPT_RUNS = 3


class TargetState:
    """The state of one target, as `planning.planner.State` wants it.

    Args:
        layout: folders of the target.
        store: wheels by fingerprint.
        built_here: wheels come from this machine. Those of a bundle come from another one, whose headers are not here.
    """

    def __init__(self, layout: Layout, store: Store, *, built_here: bool = True) -> None:
        self._built_here = built_here
        self._layout = layout
        self._store = store
        self._known: dict[str, tuple[Lookup, bool]] = {}
        self._newest: dict[str, Entry] | None = None

    def wheel(self, fingerprint: str) -> tuple[bool, str]:
        """Tell whether this store or the remote one has whole wheels of this fingerprint, and what to say about it."""
        found, elsewhere = self._look_up(fingerprint)
        if found.entry is not None and elsewhere and self._store.remote:
            size = sum(wheel.size for wheel in found.entry.wheels) / (1 << 20)
            return True, f"its wheel is in {self._store.remote.name} ({size:.1f} MiB)"
        return found.entry is not None, found.problem

    def interface(self, fingerprint: str) -> str:
        """Return the binary interface that is recorded with the wheels of this fingerprint."""
        entry = self._look_up(fingerprint)[0].entry
        return entry.interface if entry else ""

    def changed_headers(self, fingerprint: str) -> Mapping[str, str]:
        """Return the machine's headers that went into the wheels of this fingerprint and are others now."""
        entry = self._look_up(fingerprint)[0].entry
        return self._store.changed_headers(entry) if entry and self._built_here else {}

    def _look_up(self, fingerprint: str) -> tuple[Lookup, bool]:
        """Ask the stores once for each fingerprint."""
        if fingerprint not in self._known:
            self._known[fingerprint] = self._store.available(fingerprint)
        return self._known[fingerprint]

    def last_build(self, package: str) -> tuple[Mapping[str, Any], float] | None:
        """Return inputs and wall seconds of the newest build of a package."""
        if self._newest is None:  # read once: a store may have thousands
            self._newest = {entry.package: entry for entry in reversed(self._store.entries())}
        newest = self._newest.get(package)
        return (newest.inputs, newest.seconds) if newest else None

    def done(self, step_id: str, fingerprint: str) -> bool:
        """Tell whether the step was finished with this fingerprint and its outputs are still there."""
        record = self.record(step_id)
        if record is None or record.get("fingerprint") != fingerprint:
            return False
        return all(Path(path).exists() for path in record.get("outputs", ()))

    def record(self, step_id: str) -> dict[str, Any] | None:
        """Return what was recorded when a step was last finished."""
        known = read_json(self._path(step_id))
        return known if isinstance(known, dict) else None

    def finish(
        self, step: Step, outcome: Outcome, seconds: float, parts: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        """Record that a step is done; the last thing that happens to it.

        Args:
            step: which one.
            outcome: what it did.
            seconds: wall-clock seconds it took.
            parts: figures to keep by name: of these, the seconds of commands, downloads and unpacking, and the CPU
                seconds of the commands.
        """
        past = [*self._past(step), *_figures(step, outcome, seconds)][-KEPT_RUNS:]
        write_json(
            self._path(step.id),
            {
                "schema": 1,
                "step": step.id,
                "fingerprint": step.fingerprint,
                "outputs": [str(path) for path in outcome.outputs],
                "seconds": round(seconds, 2),
                **{name: round(value, 2) for name, value in parts.items()},
                "past": past,
                "note": outcome.note,
                "facts": dict(outcome.facts),
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            },
        )

    def _past(self, step: Step) -> list[dict[str, Any]]:
        """Return the figures of earlier runs of a step."""
        found = (self.record(step.id) or {}).get("past")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def fail(self, step: Step, error: BringupError) -> None:
        """Record that a step failed, for who asks about it later."""
        write_json(
            self._layout.failure,
            {
                "schema": 1,
                "step": step.id,
                "message": error.message,
                "log": error.log,
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            },
        )

    def forget_failure(self) -> None:
        """Begin a run without the failure of an earlier one."""
        self._layout.failure.unlink(missing_ok=True)

    def _path(self, step_id: str) -> Path:
        return self._layout.records / f"{step_id.replace(':', '.')}.json"


def _figures(step: Step, outcome: Outcome, seconds: float) -> list[dict[str, Any]]:
    """Return what a run says about the next one; nothing if it took over a wheel instead of building one."""
    if step.phase is Phase.BUILD and "jobs" not in outcome.facts:
        return []
    units = outcome.facts.get("units", {})
    return [{"seconds": round(seconds, 2), "peak_mib": units.get("together_mib", 0)}]
