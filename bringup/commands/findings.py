"""What the tasks do that only look and tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bringup.errors import TargetError, UsageError
from bringup.model.plan import Request
from bringup.output import print_json
from bringup.system.layout import Layout, Settings


def listing(settings: Settings, what: str, *, json: bool) -> int | None:
    """List data."""
    from bringup.config.catalogue import unknown
    from bringup.listing import KINDS, rows, tables
    from bringup.snapshot import DataFiles

    catalogue = DataFiles(settings.data, settings.cache).catalogue()
    if what and what not in KINDS:
        raise unknown("kind", what, list(KINDS), listing="invoke list")
    if json:
        print_json({"schema": 1, **{kind: rows(catalogue, kind) for kind in KINDS if not what or kind == what}})
    else:
        print("\n\n".join(tables(catalogue, [what] if what else list(KINDS))))
    return None


def diagnose(flags: dict[str, Any]) -> int | None:
    """Diagnose logs."""
    from bringup.diagnose import diagnose_paths, exit_code, render
    from bringup.flags import settings_from
    from bringup.report import as_typed
    from bringup.verification import facts_of_target, last_failed_log

    settings = settings_from(flags)
    logs = list(flags["log"] or ())
    if flags["last"]:
        logs.append(str(last_failed_log(settings)))
    if not logs:
        msg = "diagnose needs a log: invoke diagnose build.log, - for stdin, or --last"
        raise UsageError(msg)
    answers = diagnose_paths(logs, facts=facts_of_target(flags, settings), failed=flags["failed"] or flags["last"])
    if flags["json"]:
        print_json(answers[0] if len(answers) == 1 else answers)
    else:
        print("\n\n".join(render(answer, brief=flags["brief"], typed=as_typed) for answer in answers))
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
    from bringup.doctor import FAIL_EXIT, make_places, make_question, run_doctor
    from bringup.report import as_typed
    from bringup.session import find_gpu
    from bringup.snapshot import DataFiles
    from bringup.system.environ import base_environment, process_environment

    if flags["json"] and flags["fix"] and not flags["yes"]:
        msg = "doctor --fix --json needs --yes: there is nobody to ask"
        raise UsageError(msg)
    catalogue = DataFiles(settings.data, settings.cache).catalogue()
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
        print(as_typed(outcome.text))
    return FAIL_EXIT if outcome.report.failed else None


def report(request: Request, settings: Settings, flags: dict[str, Any]) -> int | None:
    """Write what an upstream issue needs."""
    from bringup.diagnose import diagnose_paths
    from bringup.doctor import make_places, make_question
    from bringup.reporting.run import make_issue
    from bringup.session import find_gpu
    from bringup.snapshot import DataFiles
    from bringup.system.environ import base_environment, process_environment
    from bringup.verification import facts_of_target, last_failed_log

    known = facts_of_target(flags, settings)
    log = str(last_failed_log(settings)) if flags["last"] else flags["log"]
    diagnosis = diagnose_paths([log], facts=known, failed=True)[0] if log else None
    catalogue = DataFiles(settings.data, settings.cache).catalogue()
    try:
        gpu = find_gpu(request.gpu or known.get("gpu", "auto"), catalogue, base_environment())
    except TargetError as exc:
        if request.gpu:
            raise
        raise UsageError("report needs --gpu: nothing was built here and no GPU is visible", hint=exc.hint) from exc
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


def stats(settings: Settings, flags: dict[str, Any]) -> int | None:
    """Show what a target's builds took."""
    from bringup.stats.tables import document, find_target, lines

    gpu = flags["gpu"]
    if gpu == "auto":
        from bringup.session import find_gpu
        from bringup.snapshot import DataFiles
        from bringup.system.environ import base_environment

        gpu = find_gpu(gpu, DataFiles(settings.data, settings.cache).catalogue(), base_environment()).name
    target = find_target(settings.build, target=flags["target"], gpu=gpu, cuda=flags["cuda"])
    found = document(Layout(build=settings.build, target=target, cache=settings.cache))
    if flags["json"]:
        print_json(found)
    else:
        print("\n".join(lines(found)))
    return None
