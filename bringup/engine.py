"""The main flow: load, survey, plan, check, run. Everything a command of the user does goes through here."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from bringup.bundling.frozen import read_frozen
from bringup.building.recipe_hooks import hook_files
from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.config.lockfile import Lock, read_lock
from bringup.context import Context, Outcome, Reporter, Tools
from bringup.errors import BringupError, StorageError, TargetError
from bringup.model.gpu import Gpu
from bringup.model.plan import Decision, Phase, Plan, Request, Step
from bringup.model.recipe import GitSource
from bringup.model.stack import Stack
from bringup.phases import build, fetch, install, patch, prepare, tools, verify
from bringup.planning.locking import check_lock, lock_inputs
from bringup.planning.planner import Toolchain, make_plan
from bringup.planning.resolve import file_hash, resolve_packages, resolve_target
from bringup.schedule import run_steps
from bringup.state import TargetState
from bringup.store import Store
from bringup.survey import Surroundings, frozen_toolchain, node_environment, missing_tools, survey_toolchain
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment, process_environment
from bringup.system.fs import free_bytes, make_dir, write_json
from bringup.system.git import probe_sources
from bringup.system.gpus import visible_devices
from bringup.system.layout import Layout, Settings
from bringup.system.machine import GIB, Machine, this_machine
from bringup.system.runlock import run_lock
from bringup.toolchain.facts import FactCache

MIB = 1 << 20
# Share of the machine's memory that compilers may take in all.
MEMORY_SHARE = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A plan with all that is needed to carry it out."""

    catalogue: Catalogue
    context: Context
    state: TargetState
    machine: Machine
    toolchain: Toolchain

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self.context.plan

    def timings(self, steps: Sequence[Step]) -> list[tuple[Step, float, str]]:
        """Return steps with the seconds they took and what came of them, as far as they are finished."""
        found = []
        for step in steps:
            record = self.state.record(step.id)
            if record and record.get("fingerprint") == step.fingerprint:
                found.append((step, float(record["seconds"]), str(record["note"])))
        return found


def open_session(request: Request, settings: Settings, reporter: Reporter) -> Session:
    """Load the data, look at this machine and make the plan; nothing below the build directory is written.

    Raises:
        ConfigError: data files are wrong; UsageError: a name is unknown; TargetError: not possible here.
    """
    catalogue = load_catalogue(settings.data)
    env = base_environment()
    machine = this_machine()
    gpu = find_gpu(request.gpu, catalogue, env)
    stack = catalogue.stack(request.stack or gpu.stack)
    refused: list[TargetError] = []
    for cuda in (request.cuda,) if request.cuda else stack.cuda:
        asked = replace(request, cuda=cuda)
        try:
            return _session_for(asked, settings, reporter, catalogue=catalogue, gpu=gpu, env=env, machine=machine)
        except TargetError as exc:
            refused.append(exc)
    if len({exc.message for exc in refused}) == 1:
        raise refused[0]
    lines = "\n".join(f"  CUDA {cuda}: {exc.message}" for cuda, exc in zip(stack.cuda, refused, strict=True))
    msg = f"stack {stack.name} cannot be built for {gpu.title} here:\n{lines}"
    raise TargetError(msg, hint=refused[0].hint)


def _session_for(
    request: Request,
    settings: Settings,
    reporter: Reporter,
    *,
    catalogue: Catalogue,
    gpu: Gpu,
    env: Mapping[str, str],
    machine: Machine,
) -> Session:
    target, stack = resolve_target(request, catalogue, gpu=gpu, machine=machine.arch)
    lock = _lock_of(stack, catalogue)
    user_env = process_environment()
    layout = Layout(build=settings.build, target=target.id, cache=settings.cache)
    downloads = DownloadCache(settings.cache / "downloads")
    around = Surroundings(
        toolchains=layout.toolchains,
        cache=downloads,
        facts=FactCache(settings.cache / "facts.json"),
        env=env,
        user_env=user_env,
    )
    packages = resolve_packages(
        request,
        catalogue,
        target,
        stack,
        patch_hash=_patch_hashes(settings.data, stack),
        missing_tools=missing_tools(stack, catalogue, facts=around.facts, around=user_env),
    )
    store = Store(settings.cache / "store")
    state = TargetState(layout, store)
    frozen = read_frozen(settings.bundle) if settings.bundle else None
    if frozen and settings.bundle:
        env = {**env, **node_environment(settings.bundle)}
        toolchain = frozen_toolchain(frozen, target, around, catalogue.gccs)
    else:
        toolchain = survey_toolchain(
            target, packages, around, host_compiler=request.host_compiler, gccs=catalogue.gccs
        )
    hooks = {name: [file_hash(path) for path in hook_files(settings.data, name)] for name in packages}
    plan = make_plan(request, target, stack, packages, toolchain=toolchain, lock=lock, hooks=hooks, state=state)
    memory = int(request.memory_gib * GIB) if request.memory_gib else int(machine.memory_bytes * MEMORY_SHARE)
    context = Context(
        plan=plan,
        request=request,
        data=settings.data,
        layout=layout,
        env=env,
        store=store,
        downloads=downloads,
        gccs=catalogue.gccs,
        frozen=frozen,
        lock=lock,
        reporter=reporter,
        tools=Tools(),
        jobs=request.jobs or machine.cores,
        memory_bytes=memory,
    )
    return Session(catalogue=catalogue, context=context, state=state, machine=machine, toolchain=toolchain)


def find_gpu(name: str, catalogue: Catalogue, env: Mapping[str, str]) -> Gpu:
    """Return the GPU that is meant; "auto" asks the driver.

    Raises:
        UsageError: no such GPU.
        TargetError: "auto" without a GPU, with several kinds, or with one that no file describes.
    """
    if name != "auto":
        return catalogue.gpu(name)
    devices = visible_devices(env)
    if not devices:
        msg = "--gpu auto: no GPU is visible on this machine"
        raise TargetError(msg, hint="name the GPU to build for: --gpu h200 (no GPU is needed to build)")
    kinds = {device.capability for device in devices}
    if len(kinds) > 1:
        listed = "\n".join(f"  {device.name}, capability {device.capability}" for device in devices)
        msg = f"--gpu auto: the GPUs of this machine differ:\n{listed}"
        raise TargetError(msg, hint="name the one to build for: --gpu NAME")
    device = devices[0]
    same = [gpu for gpu in catalogue.gpus.values() if gpu.capability.rstrip("af") == device.capability]
    named = [gpu for gpu in same if any(text in device.name for text in gpu.device_names)]
    best = sorted(named, key=lambda gpu: max(len(t) for t in gpu.device_names if t in device.name), reverse=True)
    if best or same:
        return (best or same)[0]
    msg = f"--gpu auto: no file in toolchains/gpus describes {device.name} (capability {device.capability})"
    raise TargetError(msg, hint="docs/how-to/new-gpu.md shows how to add it")


def _lock_of(stack: Stack, catalogue: Catalogue) -> Lock | None:
    if not stack.lock:
        return None
    lock = read_lock(catalogue.root / "recipes/stacks" / f"{stack.name}.lock")
    check_lock(lock, lock_inputs(stack, catalogue.recipes))
    return lock


def _patch_hashes(data: Path, stack: Stack) -> dict[Path, str]:
    found = {}
    for name, choice in stack.packages.items():
        for path in (data / "patches" / name / choice.version).glob("*.patch"):
            found[path] = file_hash(path)
    return found


def execute(
    session: Session, *, only: Callable[[Step], bool] | None = None, options: verify.Options | None = None
) -> float:
    """Carry the plan out and return the wall-clock seconds.

    Args:
        session: the plan and its surroundings.
        only: restricts the steps, for tasks that run one phase.
        options: of verification; the levels without a GPU if None.

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
        write_json(ctx.layout.root / "plan.json", ctx.plan.document())
        take_ready_tools(ctx)
        runner = _Runner(session, options or verify.Options(levels=verify.WITHOUT_GPU))
        run_steps(steps, runner.run, heavy=_is_heavy(ctx.plan), stopping=ctx.stopping)
    return time.monotonic() - started


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


def _is_heavy(plan: Plan) -> Callable[[Step], bool]:
    return lambda step: step.phase is Phase.BUILD and plan.packages[step.package].build.backend != "repack"


class _Runner:
    """Runs one step: chooses the phase, tells the reporter, records what is done."""

    def __init__(self, session: Session, options: verify.Options) -> None:
        self._session = session
        self._options = options

    def run(self, step: Step) -> None:
        ctx = self._session.context
        started = time.monotonic()
        ctx.reporter.started(step)
        try:
            outcome = self._phase(step)
        except BringupError as exc:
            ctx.reporter.failed(step, exc, time.monotonic() - started)
            raise
        seconds = time.monotonic() - started
        self._session.state.finish(step, outcome, seconds)
        ctx.reporter.finished(step, outcome, seconds)

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
                return verify.run(step, ctx, self._options)
            case _:
                return self._package_phase(step)

    def _package_phase(self, step: Step) -> Outcome:
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
    if plan.disk_mib * MIB > free:
        msg = f"{ctx.layout.build}: this build takes about {plan.disk_mib / 1024:.0f} GiB and {free / GIB:.1f} GiB are free"
        raise StorageError(msg, hint="free some space, or choose another folder with --build-dir")
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
    """Let SIGTERM (a scheduler that ends the job) do what Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
