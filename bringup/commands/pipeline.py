"""What the tasks do that plan and build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bringup.errors import BringupError, BuildError, InstallError, UsageError, VerifyError
from bringup.model.plan import Decision, Package, Phase, Plan, Request
from bringup.output import print_json
from bringup.report import (
    Console,
    Silent,
    as_typed,
    duration,
    estimate_lines,
    level_lines,
    nothing_to_do,
    plan_lines,
    summary_lines,
    wrapped,
)
from bringup.system.layout import Settings


def build(request: Request, settings: Settings, *, dry_run: bool, json: bool) -> int | None:
    """Carry out the whole plan, or show it."""
    from bringup.session import open_session

    if dry_run:
        return plan(request, settings, json=json, why="")
    console: Console | Silent = Silent() if json else Console()
    session = open_session(request, settings, console)
    if not any(step.decision is Decision.RUN for step in session.plan.steps):
        _done_before(session.plan, json=json)
        return None
    from bringup.holding import held

    with held(session, lambda old: open_session(request, settings, console, remote=old.context.store.remote)) as ready:
        return _carry_out(ready, console, json=json)


def _done_before(plan: Plan, *, json: bool) -> None:
    if json:
        print_json({"schema": 1, "plan": plan.document(), "ran": []})
    else:
        print(as_typed("\n".join(nothing_to_do(plan))))


def _carry_out(session: Any, console: Console | Silent, *, json: bool) -> int | None:
    from bringup.engine import execute

    request = session.context.request
    todo = [step for step in session.plan.steps if step.decision is Decision.RUN]
    if not todo:
        _done_before(session.plan, json=json)
        return None
    for text in opening_lines(session.plan, limits_text(session), offline=request.offline):
        console.line(text)
    for text in estimate_lines(session.estimate()):
        console.line(text)
    try:
        seconds = execute(session)
    except BringupError as exc:
        explain_failure(exc, session.plan)
        raise
    finally:
        levels = read_levels(session)
    times = session.timings(todo)
    if json:
        print_json(
            {
                "schema": 1,
                "plan": session.plan.document(),
                "ran": [{"step": step.id, "seconds": took, "note": note} for step, took, note in times],
                "seconds": seconds,
            }
        )
        return None
    for text in summary_lines(session.plan, times, levels):
        console.line(text)
    console.line(f"  {'total':<20} {duration(seconds)}")
    from bringup.stats.tables import last_bound_lines

    for text in last_bound_lines(session.context.layout):
        console.line(text)
    for text in closing_lines(session, levels):
        console.line(text)
    return None


def opening_lines(plan: Plan, limits: str, *, offline: bool) -> list[str]:
    """Return what is said before a build starts."""
    lines = [f"{plan.target.id}  stack {plan.stack.name}: {plan.stack.title}"]
    lines += [part for line in plan.warnings for part in wrapped("  warning: ", line)]
    lines += [part for line in plan.notes for part in wrapped("  note: ", line)]
    fetch = "nothing is fetched" if offline else f"about {plan.download_mib / 1024:.1f} GiB to fetch"
    return [*lines, *wrapped("  ", f"{limits}; {fetch}, {plan.disk_mib / 1024:.0f} GiB of disk")]


def limits_text(session: Any) -> str:
    """Return how many jobs and how much memory a build may use, and what sets that."""
    machine, request, ctx = session.machine, session.context.request, session.context
    jobs = "--jobs" if request.jobs else f"processors: {machine.cores_from}"
    memory = "--memory" if request.memory_gib else f"of {machine.memory_bytes / (1 << 30):.0f}: {machine.memory_from}"
    gib = ctx.memory_bytes / (1 << 30)
    text = f"{ctx.jobs} jobs ({jobs}), {gib:{'.0f' if gib >= 1 else '.2g'}} GiB of memory ({memory})"
    for package, count in memory_bound(ctx):
        each = f"{count} job{'s' if count > 1 else ''} of {package.build.memory_per_job_gib:g} GiB"
        text += f", which lowers {package.name} to {each}"
    return text


def memory_bound(ctx: Any) -> list[tuple[Package, int]]:
    """Return the packages to build of which fewer compilers run than there are jobs, since each takes much memory.

    How many that is is a guess by the recipe; a running build lets each compiler in for what it needs.
    """
    from bringup.planning.estimate import at_once

    found = []
    for step in ctx.plan.steps:
        if step.phase is Phase.BUILD and step.decision is Decision.RUN:
            package = ctx.plan.packages[step.package]
            need = int(package.build.memory_per_job_gib * 1024) if package.build.backend != "repack" else 0
            count = at_once(ctx.jobs, ctx.memory_bytes >> 20, need)
            if count < ctx.jobs:
                found.append((package, count))
    return found


def closing_lines(session: Any, levels: Any) -> list[str]:
    """Return where things are and what to do next."""
    from bringup.flags import installed_bundle

    plan, layout = session.plan, session.context.layout
    names = f"--gpu {plan.target.gpu.name} --stack {plan.stack.name}"
    record = session.state.record("environment:install") or {}
    chosen = record.get("facts", {}).get("chosen", ())
    lines = [part for line in chosen for part in wrapped("  overridden on purpose: ", line)]
    lines += ["", f"  environment  {layout.env}", f"  evidence     {layout.verify_json}"]
    moves = [f"a shell in it: invoke shell {names}"]
    if not installed_bundle() and plan.target.gpu.accelerator and any(level.status == "SKIPPED" for level in levels):
        moves.insert(0, f"carry it to a machine with the GPU: invoke bundle {names}")
    return [*lines, *(f"  {'next' if number == 0 else '':<12} {text}" for number, text in enumerate(moves))]


def read_levels(session: Any) -> Any:
    """Return the levels in verify.json of this environment."""
    from bringup.phases.verify import levels_of

    return levels_of(session.context.layout.verify_json, session.plan.environment)


def explain_failure(exc: BringupError, plan: Plan) -> None:
    """Run diagnose on the log of a failed step and show its answer, when it has one."""
    if not exc.log or not isinstance(exc, (BuildError, InstallError, VerifyError)):
        return
    from bringup.diagnose import diagnose_paths, render

    facts = {"gpu": plan.target.gpu.name, "cuda": plan.target.cuda.version, "target": plan.target.id}
    facts["stack"] = plan.stack.name
    facts |= {package.name: package.version for package in plan.packages.values()}
    try:
        answers = diagnose_paths([exc.log], facts=facts, failed=True)
    except BringupError:
        return
    for answer in answers:
        if answer.status != "clean":
            print(render(answer, typed=as_typed), file=sys.stderr)


def plan(request: Request, settings: Settings, *, json: bool, why: str) -> int | None:
    """Show the plan."""
    from bringup.session import open_session

    session = open_session(request, settings, Silent())
    if why and why not in session.plan.packages and why not in {step.package for step in session.plan.steps}:
        msg = f"the plan has no package {why!r}; it has {', '.join(session.plan.packages)}"
        raise UsageError(msg)
    if json:
        print_json(session.plan.document() | {"estimate": session.estimate().document()})
    else:
        lines = [*plan_lines(session.plan, why=why), *wrapped("  limits: ", limits_text(session))]
        print(as_typed("\n".join([*lines, *estimate_lines(session.estimate())])))
    return None


def phase(request: Request, settings: Settings, last: str) -> int | None:
    """Carry out the plan up to and including one phase."""
    from bringup.holding import held
    from bringup.session import open_session

    console = Console()
    session = open_session(request, settings, console)
    with held(session, lambda old: open_session(request, settings, console, remote=old.context.store.remote)) as ready:
        return _carry_out_phase(ready, console, last)


def _carry_out_phase(session: Any, console: Console, last: str) -> int | None:
    from bringup.engine import execute

    order = list(Phase)
    limit = order.index(Phase(last))
    chosen = [step for step in session.plan.steps if order.index(step.phase) <= limit]
    if last == "fetch":
        # Toolkit and distributions come through assembling and installing them, which fills the caches on the way.
        more = {"python:prepare", "gcc:prepare", "cuda:prepare", "requirements:install"}
        chosen = [step for step in session.plan.steps if step.phase is Phase.FETCH or step.id in more]
    ids = {step.id for step in chosen}
    if not any(step.decision is Decision.RUN for step in chosen):
        console.line(f"{session.plan.target.id}: nothing to {last}")
        return None
    try:
        seconds = execute(session, only=lambda step: step.id in ids)
    except BringupError as exc:
        explain_failure(exc, session.plan)
        raise
    console.line(f"{session.plan.target.id}: {last} is done in {duration(seconds)}")
    for step in chosen:
        record = session.state.record(step.id) or {}
        for output in record.get("outputs", ()) if step.phase == last else ():
            console.line(f"  {output}")
    return None


def verify(request: Request, settings: Settings, flags: dict[str, Any]) -> int | None:
    """Verify the environment in force, or one wheel."""
    from bringup.verification import verify_environment, verify_wheel

    if flags["wheel"]:
        return verify_wheel(request, settings, Path(flags["wheel"]), json=flags["json"])
    if not request.gpu:
        msg = "verify needs --gpu"
        raise UsageError(msg, hint="invoke list gpus shows the names")
    report = verify_environment(request, settings, flags)
    if flags["json"]:
        print_json(report.document)
    else:
        print(as_typed("\n".join([f"{report.target}  verification", *level_lines(report.levels)])))
        print(f"  evidence: {report.path}")
    if report.error is not None:
        # The table has told the causes; the exit code and where the evidence is are left to say.
        first, _, rest = report.error.message.partition(":\n")
        raise report.error if flags["json"] or not rest else VerifyError(first, hint=report.error.hint)
    return None
