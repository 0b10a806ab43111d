"""One budget of jobs and memory for everything that a run builds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bringup.building.unit_history import predicted_mib, read_guesses, read_units, shorten, write_guesses, write_history
from bringup.context import Context
from bringup.model.plan import Decision, Phase, Step
from bringup.system import process
from bringup.system.jobbudget import JobBudget, announce
from bringup.system.jobcontrol import Control
from bringup.system.jobserver import JobServer


@contextmanager
def shared_budget(ctx: Context, steps: Sequence[Step]) -> Iterator[Context]:
    """Give the context with a budget, if one of the steps builds something; it ends with the block.

    Raises:
        StorageError: its files cannot be written; ConfigError: a recipe's table of units is wrong.
    """
    building = [step for step in steps if step.phase is Phase.BUILD and step.decision is Decision.RUN]
    if not building:
        yield ctx
        return
    control = Control(jobs=ctx.jobs, memory_bytes=ctx.memory_bytes, nice=ctx.request.nice, gauges=ctx.gauges)
    server = JobServer(control, roots=process.live, say=ctx.reporter.line)
    try:
        records = ctx.layout.units
        shorten(records)
        write_history(server.folder / "history", predicted_mib(read_units(records)))
        names = list(dict.fromkeys(step.package for step in building))
        write_guesses(server.folder / "guesses", read_guesses(ctx.data / "recipes", names))
        budget = JobBudget(server, records=records, cache=ctx.layout.cache, env=ctx.env, say=ctx.reporter.line)
        with announce(ctx.layout.root, server.folder):
            yield replace(ctx, budget=budget)
    finally:
        server.close()
