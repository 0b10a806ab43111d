"""Whether the order that people read is one in which the steps could run."""

from __future__ import annotations

from collections.abc import Sequence

from bringup.model.plan import Step


def too_early(steps: Sequence[Step]) -> list[str]:
    """Return a sentence for each step that comes before one that it waits for."""
    seen: set[str] = set()
    known = {step.id for step in steps}
    problems = []
    for step in steps:
        late = [name for name in step.after if name in known and name not in seen]
        if late:
            problems.append(f"{step.id} comes before {', '.join(late)}")
        seen.add(step.id)
    return problems
