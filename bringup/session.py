"""From a request to a plan: load the data, look at this machine, decide. Nothing is written and no phase is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bringup.building.hook_files import hook_files
from bringup.config.catalogue import Catalogue
from bringup.config.frozen import read_frozen
from bringup.context import Context, Reporter, Tools
from bringup.errors import TargetError
from bringup.model.gpu import Gpu
from bringup.model.plan import Decision, Phase, Plan, Request, Step
from bringup.model.stack import Stack
from bringup.planning.estimate import Estimate, StepEstimate, estimate_plan, estimate_step
from bringup.planning.known import Toolchain
from bringup.planning.planner import make_plan
from bringup.planning.resolve import file_hash, resolve_packages
from bringup.planning.target import resolve_target
from bringup.snapshot import DataFiles
from bringup.state import TargetState
from bringup.store import Remote, Store
from bringup.survey import Surroundings, frozen_toolchain, missing_tools, node_environment, survey_toolchain
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment, process_environment
from bringup.system.layout import Layout, Settings
from bringup.system.machine import GIB, Machine, this_machine
from bringup.toolchain.facts import FactCache

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

    def expected_seconds(self, step: Step) -> float:
        """Return how long a step will take, by when it last ran here or what its recipe says; 1 if that is unknown."""
        return self._estimate(step).seconds or 1.0

    def estimate(self) -> Estimate:
        """Return what the steps that are to run will take, and how sure that is."""
        parts = {step.id: self._estimate(step) for step in self.plan.steps if step.decision is Decision.RUN}
        return estimate_plan(self.plan.steps, parts, memory_mib=self.context.memory_bytes >> 20)

    def _estimate(self, step: Step) -> StepEstimate:
        """Return what one step will take; a package that is only packed anew uses no compilers."""
        package = self.plan.packages.get(step.package)
        compiles = package is not None and step.phase is Phase.BUILD and package.build.backend != "repack"
        return estimate_step(
            step,
            self.state.record(step.id),
            jobs=self.context.jobs,
            memory_mib=self.context.memory_bytes >> 20,
            job_mib=int(package.build.memory_per_job_gib * 1024) if package and compiles else 0,
        )


def open_session(request: Request, settings: Settings, reporter: Reporter, *, remote: Remote | None = None) -> Session:
    """Load the data, look at this machine and make the plan; nothing below the build directory is written.

    Args:
        request: what was asked.
        settings: where things are.
        reporter: tells people.
        remote: the remote store as an earlier plan of this run left it; made from the request if None.

    Raises:
        ConfigError: data files are wrong; UsageError: a name is unknown; TargetError: not possible here.
    """
    data = DataFiles(settings.data, settings.cache)
    catalogue = data.catalogue()
    env = base_environment()
    machine = this_machine()
    gpu = find_gpu(request.gpu, catalogue, env)
    stack = catalogue.stack(request.stack or gpu.stack)
    remote = remote or _remote_store(request)
    refused: list[TargetError] = []
    for cuda in (request.cuda,) if request.cuda else stack.cuda:
        asked = replace(request, cuda=cuda)
        try:
            return _session_for(
                asked,
                settings,
                reporter,
                data=data,
                catalogue=catalogue,
                gpu=gpu,
                env=env,
                machine=machine,
                remote=remote,
            )
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
    data: DataFiles,
    catalogue: Catalogue,
    gpu: Gpu,
    env: Mapping[str, str],
    machine: Machine,
    remote: Remote | None,
) -> Session:
    target, stack = resolve_target(request, catalogue, gpu=gpu, machine=machine.arch)
    lock = data.lock(stack, catalogue)
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
    store = Store(settings.cache / "store", remote)
    frozen = read_frozen(settings.bundle) if settings.bundle else None
    state = TargetState(layout, store, built_here=frozen is None or frozen.sources)
    if frozen and settings.bundle:
        env = {**env, **node_environment(settings.bundle)}
        toolchain = frozen_toolchain(frozen, target, around, catalogue.gccs)
    else:
        toolchain = survey_toolchain(target, packages, around, host_compiler=request.host_compiler, gccs=catalogue.gccs)
    hooks = {
        name: [file_hash(path) for path in hook_files(settings.data, name)]
        for name, package in packages.items()
        if package.build.backend == "hook"
    }
    plan = make_plan(request, target, stack, packages, toolchain=toolchain, lock=lock, hooks=hooks, state=state)
    if remote:
        plan = replace(plan, warnings=(*plan.warnings, *remote.unsaid))
        remote.unsaid, remote.say = [], reporter.line
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
        gauges=machine.gauges,
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
    from bringup.system.gpus import visible_devices  # noqa: PLC0415 - mostly the GPU is named

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


def _remote_store(request: Request) -> Remote | None:
    if not request.remote_store or (request.offline and request.remote_store.startswith(("http", "s3:"))):
        return None
    from bringup.remote import RemoteStore  # noqa: PLC0415 - HTTP is slow to import and seldom needed
    from bringup.system.blob_places import open_blobs  # noqa: PLC0415

    blobs = open_blobs(request.remote_store, env=process_environment(), timeout=request.remote_timeout)
    return RemoteStore(blobs, writable=request.remote_write, say=None)


def _patch_hashes(data: Path, stack: Stack) -> dict[Path, str]:
    found = {}
    for name, choice in stack.packages.items():
        for path in (data / "patches" / name / choice.version).glob("*.patch"):
            found[path] = file_hash(path)
    return found
