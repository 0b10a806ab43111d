"""Carries out a plan: checks, then runs its steps under the target's lock. Where phases meet their steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from bringup.context import Context, Outcome
from bringup.errors import BringupError, Interrupted, StorageError, TargetError
from bringup.model.plan import Decision, Phase, Step
from bringup.model.source import GitSource
from bringup.phases import install, tools
from bringup.schedule import run_steps
from bringup.session import Session
from bringup.stats.runs import DONE, FAILED, PARTS, STOPPED, Run, RunLog, StepRun
from bringup.stats.trace import write_trace
from bringup.system import process
from bringup.system.fs import free_bytes, make_dir, write_json
from bringup.system.machine import GIB
from bringup.system.runlock import run_lock
from bringup.system.spent import spent

if TYPE_CHECKING:
    from bringup.phases.verify import Options

MIB = 1 << 20


def execute(session: Session, *, only: Callable[[Step], bool] | None = None, options: Options | None = None) -> float:
    """Carry the plan out and return the wall-clock seconds.

    Args:
        session: the plan and its surroundings.
        only: restricts the steps, for tasks that run one phase.
        options: of verification; all levels if None, of which this machine may have to skip some.

    Raises:
        BringupError: of the phase that failed.
    """
    started = time.monotonic()
    ctx = session.context
    steps = tuple(step for step in ctx.plan.steps if only is None or only(step))
    if not any(step.decision is Decision.RUN for step in steps):
        return time.monotonic() - started
    check_before(session, steps)
    make_dir(ctx.layout.root)
    with run_lock(ctx.layout.root), _interruptible():
        write_json(ctx.layout.root / "plan.json", ctx.plan.document(), durable=False)
        session.state.forget_failure()
        take_ready_tools(ctx)
        with _budget(ctx, steps) as ctx, _recorded(ctx, steps) as log:
            session = replace(session, context=ctx)
            runner = _Runner(session, options, log)
            run_steps(
                steps,
                runner.run,
                heavy=lambda step: _is_heavy(step, ctx),
                seconds_of=session.expected_seconds,
                stopping=ctx.stopping,
                seconds=ctx.request.time_limit,
            )
    return time.monotonic() - started


def _budget(ctx: Context, steps: tuple[Step, ...]) -> AbstractContextManager[Context]:
    """Return the context with a budget of jobs if something is built."""
    if not any(step.phase is Phase.BUILD and step.decision is Decision.RUN for step in steps):
        return nullcontext(ctx)
    from bringup.building.shared_budget import shared_budget  # noqa: PLC0415

    return shared_budget(ctx, steps)


@contextmanager
def _recorded(ctx: Context, steps: tuple[Step, ...]) -> Iterator[RunLog]:
    """Keep the record of a run, and write its timeline at the end, however it ends."""
    run = Run(
        target=ctx.plan.target.id,
        stack=ctx.plan.stack.name,
        started=round(time.time(), 3),
        jobs=ctx.jobs,
        memory_mib=ctx.memory_bytes >> 20,
        units=ctx.budget.run if ctx.budget else "",
        order={step.id: step.after for step in steps},
    )
    log, outcome = RunLog(ctx.layout.run, run), STOPPED
    try:
        yield log
        outcome = DONE
    except BringupError as exc:
        outcome = STOPPED if isinstance(exc, Interrupted) else FAILED
        raise
    finally:
        log.close(outcome)
        try:
            write_trace(ctx.layout)
        except BringupError as exc:
            ctx.reporter.line(f"warning: no timeline was written: {exc.message}")


def take_ready_tools(ctx: Context) -> None:
    """Fill in the tools that are there already; their steps do not run."""
    for step in ctx.plan.steps:
        travels = ctx.frozen is None or ctx.frozen.with_toolkit or step.package != "cuda"
        if step.decision is Decision.REUSE and step.package in TOOL_PHASES and travels:
            TOOL_PHASES[step.package](step, ctx)


TOOL_PHASES: dict[str, Callable[[Step, Context], Outcome]] = {
    "python": tools.python,
    "gcc": tools.gcc,
    "cuda": tools.cuda,
}


def _is_heavy(step: Step, ctx: Context) -> bool:
    """Tell whether a step compiles without a launcher: such steps take turns, since nothing keeps them apart."""
    if step.phase is not Phase.BUILD or step.package not in ctx.plan.packages:
        return False
    from bringup.building.build_environment import launcher_for  # noqa: PLC0415

    package = ctx.plan.packages[step.package]
    return package.build.backend != "repack" and launcher_for(package, ctx) is None


class _Begun:
    """Clocks as they stood when a step began, in its thread."""

    def __init__(self) -> None:
        self._date, self._started = time.time(), time.monotonic()
        self._tools, self._cpu = process.tool_seconds(), process.tool_cpu_seconds()
        self._download, self._unpack = spent("download"), spent("unpack")

    def ended(self, step: Step, outcome: str) -> StepRun:
        """Return the record of the step, which ends now."""
        return StepRun(
            step=step.id,
            after=step.after,
            start=round(self._date, 3),
            seconds=round(time.monotonic() - self._started, 3),
            tool_seconds=round(process.tool_seconds() - self._tools, 2),
            cpu_seconds=round(process.tool_cpu_seconds() - self._cpu, 2),
            download_seconds=round(spent("download") - self._download, 2),
            unpack_seconds=round(spent("unpack") - self._unpack, 2),
            outcome=outcome,
        )


class _Runner:
    """Runs one step: chooses the phase, tells the reporter, records what is done."""

    def __init__(self, session: Session, options: Options | None, log: RunLog) -> None:
        self._session = session
        self._options = options
        self._log = log

    def run(self, step: Step) -> None:
        ctx = self._session.context
        begun = _Begun()
        ctx.reporter.started(step)
        try:
            outcome = self._phase(step)
        except BringupError as exc:
            if not ctx.stopping.is_set():  # what is ended because something else failed is no failure of its own
                self._session.state.fail(step, exc)
            stopped = ctx.stopping.is_set() or isinstance(exc, Interrupted)
            ended = begun.ended(step, STOPPED if stopped else FAILED)
            self._log.ended(ended)
            ctx.reporter.failed(step, ended.seconds, stopped=stopped)
            raise
        ended = begun.ended(step, DONE)
        parts = {name: getattr(ended, name) for name in PARTS}
        self._session.state.finish(step, outcome, ended.seconds, parts)
        self._log.ended(ended)
        ctx.reporter.finished(step, outcome, ended.seconds)

    def _phase(self, step: Step) -> Outcome:
        ctx = self._session.context
        if step.package in TOOL_PHASES:
            return TOOL_PHASES[step.package](step, ctx)
        match step.package, step.phase:
            case "requirements", _:
                return install.requirements(step, ctx)
            case "environment", Phase.INSTALL:
                return install.environment(step, ctx)
            case "environment", Phase.VERIFY:
                from bringup.phases import verify  # noqa: PLC0415 - what only installs needs no verification

                return verify.run(step, ctx, self._options or verify.Options())
            case _:
                return self._package_phase(step)

    def _package_phase(self, step: Step) -> Outcome:
        from bringup.phases import build, fetch, patch, prepare  # noqa: PLC0415 - neither, if all wheels are there

        ctx = self._session.context
        package = ctx.plan.packages[step.package]
        match step.phase:
            case Phase.FETCH:
                return fetch.run(package, step, ctx)
            case Phase.PATCH:
                return patch.run(package, step, ctx)
            case Phase.PREPARE:
                return prepare.run(package, step, ctx)
            case Phase.BUILD | Phase.INSTALL | Phase.VERIFY:
                return build.run(package, step, ctx, inputs=ctx.plan.inputs[step.package])


def check_before(session: Session, steps: tuple[Step, ...]) -> None:
    """Check disk, memory and reach of the sources before anything is started.

    Raises:
        StorageError: not enough disk.
        TargetError: not enough memory for one compiler of a package.
        FetchError: a git host is out of reach.
    """
    ctx, plan = session.context, session.plan
    make_dir(ctx.layout.build)
    free = free_bytes(ctx.layout.build)
    chosen = {step.id for step in steps}
    left_out = [step for step in plan.steps if step.phase is Phase.BUILD and step.id not in chosen]
    spared = sum(plan.packages[step.package].build.disk_mib for step in left_out if step.decision is Decision.RUN)
    # Where PyTorch stays with the node the stack's figure is far too high, and install.sh has looked at the room.
    without_torch = ctx.frozen is not None and ctx.frozen.node_torch is not None
    if (plan.disk_mib - spared) * MIB > free and not without_torch:
        need = (plan.disk_mib - spared) / 1024
        msg = f"{ctx.layout.build}: this takes about {need:.0f} GiB and {free / GIB:.1f} GiB are free"
        other = "install into another folder" if ctx.frozen else "choose another folder with --build-dir"
        raise StorageError(msg, hint=f"free some space, or {other}")
    for step in steps:
        if step.phase is Phase.BUILD and step.decision is Decision.RUN:
            need = plan.packages[step.package].build.memory_per_job_gib
            if need * GIB > session.machine.memory_bytes:
                msg = (
                    f"{step.package}: one compiler takes up to {need:g} GiB and this machine has "
                    f"{session.machine.memory_bytes / GIB:.1f} GiB"
                )
                raise TargetError(
                    msg, hint="build on a machine with more memory, or raise the limit of the cgroup or job"
                )
    fetches = [step for step in steps if step.phase is Phase.FETCH and step.decision is Decision.RUN]
    if not fetches:
        return
    from bringup.phases import fetch  # noqa: PLC0415
    from bringup.system.git import probe_sources  # noqa: PLC0415

    sources = [
        source
        for step in fetches
        for _, source in fetch.all_sources(plan.packages[step.package])
        if isinstance(source, GitSource)
    ]
    if sources and not ctx.request.offline:
        probe_sources(sources, access=fetch.git_access(ctx, fetches[0]))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM (a scheduler that ends the job) and SIGHUP (a terminal that closes) do what Ctrl-C does.

    Signals that are ignored stay so: nohup ignores SIGHUP for a build that goes on without its terminal.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
