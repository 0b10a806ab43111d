"""What the tasks do: one function each, returning an exit code or None for success."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from bringup.errors import BringupError, BuildError, InstallError, UsageError, VerifyError
from bringup.model.plan import Decision, Phase, Plan, Request
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
from bringup.system.layout import Layout, Settings


def build(request: Request, settings: Settings, *, dry_run: bool, json: bool) -> int | None:
    """Carry out the whole plan, or show it."""
    from bringup.holding import held
    from bringup.session import open_session

    if dry_run:
        return plan(request, settings, json=json, why="")
    console: Console | Silent = Silent() if json else Console()
    session = open_session(request, settings, console)
    if not any(step.decision is Decision.RUN for step in session.plan.steps):
        return _carry_out(session, console, json=json)
    with held(session, lambda old: open_session(request, settings, console, remote=old.context.store.remote)) as ready:
        return _carry_out(ready, console, json=json)


def _carry_out(session: Any, console: Console | Silent, *, json: bool) -> int | None:
    from bringup.engine import execute

    request = session.context.request
    todo = [step for step in session.plan.steps if step.decision is Decision.RUN]
    if not todo:
        if json:
            print_json({"schema": 1, "plan": session.plan.document(), "ran": []})
        else:
            print(as_typed("\n".join(nothing_to_do(session.plan))))
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
    lines.append(f"  {limits}; {fetch}, {plan.disk_mib / 1024:.0f} GiB of disk")
    return lines


def limits_text(session: Any) -> str:
    """Return how many jobs and how much memory a build may use, and what sets that."""
    machine, request, ctx = session.machine, session.context.request, session.context
    jobs = "--jobs" if request.jobs else f"processors: {machine.cores_from}"
    memory = "--memory" if request.memory_gib else f"of {machine.memory_bytes / (1 << 30):.0f}: {machine.memory_from}"
    return f"{ctx.jobs} jobs ({jobs}), {ctx.memory_bytes / (1 << 30):.0f} GiB of memory ({memory})"


def closing_lines(session: Any, levels: Any) -> list[str]:
    """Return where things are and what to do next."""
    plan, layout = session.plan, session.context.layout
    names = f"--gpu {plan.target.gpu.name} --stack {plan.stack.name}"
    record = session.state.record("environment:install") or {}
    chosen = record.get("facts", {}).get("chosen", ())
    lines = [part for line in chosen for part in wrapped("  overridden on purpose: ", line)]
    lines += ["", f"  environment  {layout.env}", f"  evidence     {layout.verify_json}"]
    if any(level.status == "SKIPPED" for level in levels):
        lines.append(f"  next         carry it to a machine with the GPU: invoke bundle {names}")
    lines.append(f"               a shell in it: invoke shell {names}")
    return lines


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
    facts |= {package.name: package.version for package in plan.packages.values()}
    try:
        answers = diagnose_paths([exc.log], facts=facts)
    except BringupError:
        return
    for answer in answers:
        if answer.status != "clean":
            print(render(answer), file=sys.stderr)


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
        lines = [*plan_lines(session.plan, why=why), f"  limits: {limits_text(session)}"]
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


def listing(settings: Settings, what: str, *, json: bool) -> int | None:
    """List data."""
    from bringup.config.catalogue import load_catalogue, unknown
    from bringup.listing import KINDS, rows, tables

    catalogue = load_catalogue(settings.data)
    if what and what not in KINDS:
        raise unknown("kind", what, list(KINDS), listing="invoke list")
    if json:
        print_json({"schema": 1, **{kind: rows(catalogue, kind) for kind in KINDS if not what or kind == what}})
    else:
        print("\n\n".join(tables(catalogue, [what] if what else list(KINDS))))
    return None


def lock(settings: Settings, name: str) -> int | None:
    """Make the lock of a stack."""
    from bringup.locking import make_lock

    if not name:
        msg = "lock needs --stack"
        raise UsageError(msg, hint="invoke list stacks shows the names")
    for line in make_lock(settings, name):
        print(line)
    return None


def diagnose(flags: dict[str, Any]) -> int | None:
    """Diagnose logs."""
    from bringup.diagnose import diagnose_paths, exit_code, render
    from bringup.flags import settings_from
    from bringup.verification import facts_of_target, last_failed_log

    settings = settings_from(flags)
    logs = list(flags["log"] or ())
    if flags["last"]:
        logs.append(str(last_failed_log(settings)))
    if not logs:
        msg = "diagnose needs a log: invoke diagnose build.log, - for stdin, or --last"
        raise UsageError(msg)
    answers = diagnose_paths(logs, facts=facts_of_target(flags, settings))
    if flags["json"]:
        print_json(answers[0] if len(answers) == 1 else answers)
    else:
        print("\n\n".join(render(answer, brief=flags["brief"]) for answer in answers))
    return exit_code(answers)


def knowledge(flags: dict[str, Any]) -> int | None:
    """Check or extend the known issues."""
    from bringup.diagnose.check import check_knowledge
    from bringup.diagnose.scaffold import new_issue

    if flags["new"]:
        print(f"written: {new_issue(flags['new'], issue=flags['id'])}")
        return None
    problems = check_knowledge()
    for problem in problems:
        print(problem)
    count = len(problems)
    print(f"known issues: {count or 'no'} problem{'' if count == 1 else 's'}")
    return 2 if problems else None


def doctor(request: Request, settings: Settings, flags: dict[str, Any]) -> int | None:
    """Examine this machine or an environment; 12 with a FAIL."""
    from bringup.config.catalogue import load_catalogue
    from bringup.doctor import FAIL_EXIT, make_places, make_question, run_doctor
    from bringup.session import find_gpu
    from bringup.system.environ import base_environment, process_environment

    if flags["json"] and flags["fix"] and not flags["yes"]:
        msg = "doctor --fix --json needs --yes: there is nobody to ask"
        raise UsageError(msg)
    catalogue = load_catalogue(settings.data)
    gpu = find_gpu(request.gpu, catalogue, base_environment())
    environment = Path(flags["env"]) if flags["env"] else None
    question = make_question(request, catalogue, gpu, environment=environment, deep=flags["deep"])

    def agree(planned: Any) -> bool:
        return flags["yes"] or _asked([f"  {one.did}   ({one.why})" for one in planned])

    places = make_places(settings, process_environment())
    outcome = run_doctor(question, places, fix=flags["fix"], agree=agree, mirrors=request.mirrors)
    if flags["json"]:
        print_json(outcome.document)
    else:
        print(outcome.text)
    return FAIL_EXIT if outcome.report.failed else None


def report(request: Request, settings: Settings, flags: dict[str, Any]) -> int | None:
    """Write what an upstream issue needs."""
    from bringup.config.catalogue import load_catalogue
    from bringup.diagnose import diagnose_paths
    from bringup.doctor import make_places, make_question
    from bringup.reporting.run import make_issue
    from bringup.session import find_gpu
    from bringup.system.environ import base_environment, process_environment
    from bringup.verification import facts_of_target, last_failed_log

    known = facts_of_target(flags, settings)
    log = str(last_failed_log(settings)) if flags["last"] else flags["log"]
    diagnosis = diagnose_paths([log], facts=known)[0] if log else None
    catalogue = load_catalogue(settings.data)
    gpu = find_gpu(request.gpu or known.get("gpu", "auto"), catalogue, base_environment())
    target = settings.build / known["target"] if known.get("target") else None
    own = target / "env" if target and (target / "env").exists() else None
    question = make_question(request, catalogue, gpu, environment=Path(flags["env"]) if flags["env"] else own)
    places = make_places(settings, process_environment())
    text = make_issue(
        question, places, upstream=flags["upstream"], diagnosis=diagnosis, command=flags["command"], target=target
    )
    if not flags["output"]:
        print(text)
        return None
    from bringup.system.fs import storage_errors, write_atomic

    path = Path(flags["output"])
    with storage_errors(path):
        write_atomic(path, text + "\n")
    print(f"{path}: read it before you send it; nothing was sent")
    return None


def _asked(lines: list[str]) -> bool:
    print("\n".join(["doctor would do this:", *lines]))
    try:
        return input("do it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def bundle(request: Request, settings: Settings, flags: dict[str, Any]) -> int | None:
    """Write a bundle."""
    from bringup.bundling.write import BundleOptions, write_bundle
    from bringup.housekeeping import parse_size
    from bringup.session import open_session

    console = Console()
    session = open_session(request, settings, console)
    out = Path(flags["output"] or f"{request.gpu}.bundle").absolute()
    options = BundleOptions(
        out=out,
        part_size=parse_size(flags["part_size"]),
        with_toolkit=flags["with_toolkit"],
        without_torch=flags["without_torch"],
        sources=flags["sources"],
        harvest=_wheel_of(flags["harvest"]),
    )
    console.line(f"{session.plan.target.id}  stack {session.plan.stack.name}: bundle for a machine without a network")
    write_bundle(session, options, console.line)
    return None


def _wheel_of(name: str) -> Path | None:
    path = Path(name).absolute() if name else None
    if path and not path.is_file():
        msg = f"--harvest {name}: no such file"
        raise UsageError(msg, hint="it lies in build/TARGET/wheels where `verify --harvest` ran")
    return path


def shell(request: Request, settings: Settings) -> int | None:
    """Replace this process by a shell in the environment."""
    from bringup.system.environ import process_environment
    from bringup.system.process import replace_this_process
    from bringup.verification import environment_variables

    variables = environment_variables(request, settings)
    merged = process_environment() | variables
    merged["PATH"] = f"{variables['PATH']}:{process_environment().get('PATH', '')}"
    program = merged.get("SHELL", "/bin/sh")
    print(f"{variables['BRINGUP_TARGET']}: {program}; leave with exit")
    replace_this_process([program], merged)


def env(request: Request, settings: Settings) -> int | None:
    """Print exports."""
    from bringup.verification import environment_variables

    for name, value in environment_variables(request, settings).items():
        text = f'"{value}:$PATH"' if name == "PATH" else shlex.quote(value)
        print(f"export {name}={text}")
    return None


def clean(settings: Settings, target: str, *, everything: bool) -> int | None:
    """Remove what was made."""
    from bringup.housekeeping import clean as remove

    for line in remove(settings.build, target, everything=everything):
        print(line)
    return None


def gc(settings: Settings, size: str) -> int | None:
    """Shrink the cache."""
    from bringup.housekeeping import collect, parse_size

    for line in collect(settings.cache, parse_size(size)):
        print(line)
    return None


def jobs(settings: Settings, flags: dict[str, Any]) -> int | None:
    """Show or change the limits of a running build."""
    from bringup.jobs import set_limits

    text = str(flags["nice"])
    if text and not text.lstrip("-").isdigit():
        msg = f"--nice {text}: a number from -20 to 19"
        raise UsageError(msg)
    nice = int(text) if text else None
    for line in set_limits(settings.build, flags["target"], jobs=flags["jobs"], memory_gib=flags["memory"], nice=nice):
        print(line)
    return None


def stats(settings: Settings, flags: dict[str, Any]) -> int | None:
    """Show what a target's builds took."""
    from bringup.stats.tables import document, find_target, lines

    gpu = flags["gpu"]
    if gpu == "auto":
        from bringup.config.catalogue import load_catalogue
        from bringup.session import find_gpu
        from bringup.system.environ import base_environment

        gpu = find_gpu(gpu, load_catalogue(settings.data), base_environment()).name
    target = find_target(settings.build, target=flags["target"], gpu=gpu, cuda=flags["cuda"])
    found = document(Layout(build=settings.build, target=target, cache=settings.cache))
    if flags["json"]:
        print_json(found)
    else:
        print("\n".join(lines(found)))
    return None


def schema(settings: Settings, *, check: bool) -> int | None:
    """Write or check generated files."""
    from bringup.generated import write_generated

    changed = write_generated(settings.data, check=check)
    for path in changed:
        print(f"{'out of date' if check else 'written'}: {path}")
    if check and changed:
        print("make them anew with: invoke schema")
        return 2
    return None


def run_tests(words: list[str], *, quick: bool) -> int | None:
    """Run pytest."""
    from bringup.developer import run_tests as run

    return run(words, quick=quick)


def run_lint() -> int | None:
    """Run the linters."""
    from bringup.developer import run_lint as run

    return run()
