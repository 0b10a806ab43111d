"""What would be done and why: decides RUN, REUSE or SKIP for every step. Pure: what is there comes in as `State`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bringup.config.lockfile import Lock
from bringup.model.plan import Decision, Package, Phase, Plan, Request, Step, Target
from bringup.model.stack import Stack
from bringup.planning.closure import needed_packages
from bringup.planning.fingerprint import (
    HEADERS,
    Fingerprint,
    Identities,
    alias_inputs,
    build_inputs,
    difference,
    fingerprint,
    source_inputs,
)
from bringup.planning.resolve import arch_lists

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A part of the toolchain as it is found or would be made.

    Attributes:
        identity: content identity, independent of where it is.
        ready: it is there.
        why: where it is, or how it would be had; for people.
        download_mib: what it would fetch.
        disk_mib: what it would take.
    """

    identity: str
    ready: bool
    why: str
    download_mib: int = 0
    disk_mib: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """The toolchain that a plan is made with."""

    python: Tool
    cuda: Tool
    gcc: Tool

    @property
    def identities(self) -> Identities:
        """The parts by content."""
        return Identities(python=self.python.identity, cuda=self.cuda.identity, gcc=self.gcc.identity)


class State(Protocol):
    """What is already there, as a plan needs to know it."""

    def wheel(self, fingerprint: str) -> tuple[bool, str]:
        """Tell whether a store has the wheels of this fingerprint, and where, or what is wrong with them."""

    def interface(self, fingerprint: str) -> str:
        """Return the hash of the binary interface of the wheels of this fingerprint; "" if it is not known."""

    def changed_headers(self, fingerprint: str) -> Mapping[str, str]:
        """Return the machine's headers that went into the wheels of this fingerprint and are others now, by hash."""

    def last_build(self, package: str) -> tuple[Mapping[str, Any], float] | None:
        """Return inputs and wall seconds of the newest build of a package, if there is one."""

    def done(self, step_id: str, fingerprint: str) -> bool:
        """Tell whether this step was finished with this fingerprint and its result is still there."""


def make_plan(
    request: Request,
    target: Target,
    stack: Stack,
    packages: Mapping[str, Package],
    *,
    toolchain: Toolchain,
    lock: Lock | None,
    hooks: Mapping[str, Sequence[str]],
    state: State,
) -> Plan:
    """Return the plan.

    Args:
        request: what was asked.
        target: what is built for.
        stack: what is built.
        packages: the stack's packages in build order.
        toolchain: the tools found or to be made.
        lock: pins of everything that is not built; None for a stack without a lock.
        hooks: hashes of hook files by package.
        state: what is there.
    """
    arch = arch_lists(target.gpu, packages)
    prints = wheel_fingerprints(target, packages, toolchain.identities, lock, hooks, arch, state)
    wanted = _wanted(request, packages)
    if not target.gpu.accelerator:
        toolchain = replace(toolchain, cuda=Tool(identity="", ready=True, why="nothing is compiled for a GPU"))
    aliases = wheel_aliases(packages, prints, state)
    steps = [*_toolchain_steps(toolchain)]
    download = toolchain.python.download_mib + toolchain.cuda.download_mib
    disk = toolchain.python.disk_mib + toolchain.cuda.disk_mib
    for name, package in packages.items():
        new = _package_steps(package, prints.get(name), wanted, state, stack, alias=aliases.get(name, ""))
        steps += new
        if any(step.phase is Phase.FETCH and step.decision is Decision.RUN for step in new):
            download += _source_mib(package)
        if any(step.phase is Phase.BUILD and step.decision is Decision.RUN for step in new):
            disk += package.build.disk_mib
    environment = environment_fingerprint(target, stack, prints, toolchain.identities, lock)
    if not request.only:
        new = _environment_steps(environment, packages, stack, lock, state)
        steps += new
        if new[0].decision is Decision.RUN:
            download += stack.download_mib
            disk += stack.disk_mib
    warnings = [line for package in packages.values() for line in package.warnings]
    notes = [line for package in packages.values() for line in package.notes]
    return Plan(
        target=target,
        stack=stack,
        packages=packages,
        steps=tuple(steps),
        fingerprints={name: one.value for name, one in prints.items()},
        inputs={name: one.inputs for name, one in prints.items()},
        environment=environment,
        aliases=aliases,
        before={
            step.package: last[0]
            for step in steps
            if step.phase is Phase.BUILD and step.decision is Decision.RUN and (last := state.last_build(step.package))
        },
        warnings=tuple(warnings),
        notes=tuple(notes),
        download_mib=download,
        disk_mib=disk,
    )


def wheel_fingerprints(
    target: Target,
    packages: Mapping[str, Package],
    tools: Identities,
    lock: Lock | None,
    hooks: Mapping[str, Sequence[str]],
    arch: Mapping[str, str],
    state: State,
) -> dict[str, Fingerprint]:
    """Return the fingerprint of every package that is built, in build order."""
    prints: dict[str, Fingerprint] = {}
    for name, package in packages.items():
        if not package.built:
            continue
        against = {
            need: prints[need].value if need in prints else _pin(packages[need], lock)
            for need in package.built_against
            if need in packages
        }
        inputs = build_inputs(
            package,
            target,
            tools=tools,
            arch=arch,
            requires=build_pins(package, packages, lock),
            against=against,
            hook=hooks.get(name, ()),
        )
        prints[name] = with_headers(fingerprint(inputs), state)
    return prints


def with_headers(own: Fingerprint, state: State) -> Fingerprint:
    """Return a fingerprint that also holds those headers of the machine that changed since its wheels were built.

    Which headers a build reads is known only after it: so they are no input of the first build, and an input of all
    that follow once one of them is another.
    """
    changed: dict[str, str] = {}
    found = own
    while new := {path: one for path, one in state.changed_headers(found.value).items() if changed.get(path) != one}:
        changed |= new
        found = fingerprint({**own.inputs, HEADERS: dict(sorted(changed.items()))})
    return found


def wheel_aliases(packages: Mapping[str, Package], prints: Mapping[str, Fingerprint], state: State) -> dict[str, str]:
    """Return keys of entries to take for packages whose own entry is missing, because only code below them changed."""
    found: dict[str, str] = {}
    for name, own in prints.items():
        if state.wheel(own.value)[0]:
            continue
        interfaces = {
            need: state.interface(prints[need].value) for need in packages[name].built_against if need in prints
        }
        inputs = alias_inputs(own.inputs, interfaces)
        if inputs is not None and state.wheel(key := fingerprint(inputs).value)[0]:
            found[name] = key
    return found


def build_pins(package: Package, packages: Mapping[str, Package], lock: Lock | None) -> list[str]:
    """Return the pins of the package's build environment that can change its result.

    Packages that we build ourselves are not among them, nor those that the recipe calls neutral.
    """
    requires = [name for name in package.build.requires if name not in package.build.neutral]
    if lock is None:
        return sorted(requires)
    ours = {one.distribution for one in packages.values() if one.built}
    return [f"{pin.name}=={pin.version} {' '.join(pin.hashes)}" for pin in lock.closure(requires)
            if pin.name not in ours]  # fmt: skip


def environment_fingerprint(
    target: Target, stack: Stack, prints: Mapping[str, Fingerprint], tools: Identities, lock: Lock | None
) -> str:
    """Return the fingerprint of the whole target environment."""
    return fingerprint(
        {
            "stack": stack.name,
            "target": target.id,
            "lock": [f"{pin.name}=={pin.version} {' '.join(pin.hashes)}" for pin in lock.pins.values()] if lock else [],
            "wheels": {name: one.value for name, one in prints.items()},
            "python": tools.python,
            "toolkit": tools.cuda,
            "host compiler": tools.gcc,
        }
    ).value


def _pin(package: Package, lock: Lock | None) -> str:
    pin = lock.pins.get(package.distribution) if lock else None
    return f"{package.distribution}=={package.version} {' '.join(pin.hashes) if pin else ''}".strip()


def _wanted(request: Request, packages: Mapping[str, Package]) -> set[str]:
    if not request.only:
        return set(packages)
    return {name for asked in request.only for name in (asked, *needed_packages(packages[asked], packages))}


def _toolchain_steps(toolchain: Toolchain) -> list[Step]:
    steps = []
    order = (("python", toolchain.python, ()), ("gcc", toolchain.gcc, ()), ("cuda", toolchain.cuda, ("gcc:prepare",)))
    for name, tool, after in order:
        decision = Decision.RUN if not tool.ready else Decision.REUSE if tool.identity else Decision.SKIP
        steps.append(
            Step(
                package=name,
                phase=Phase.PREPARE,
                decision=decision,
                why=tool.why,
                fingerprint=tool.identity,
                after=after,
            )
        )
    return steps


def _package_steps(
    package: Package, own: Fingerprint | None, wanted: set[str], state: State, stack: Stack, *, alias: str
) -> list[Step]:
    name = package.name
    if own is None:
        why = f"published wheel {package.distribution} {package.version}, pinned by {stack.name}.lock"
        return [Step(package=name, phase=Phase.FETCH, decision=Decision.SKIP, why=why, fingerprint="")]
    if name not in wanted:
        return [Step(package=name, phase=Phase.BUILD, decision=Decision.SKIP, why="not in --only", fingerprint="")]
    there, problem = state.wheel(own.value)
    last = state.last_build(name)
    seconds = last[1] if last else float(package.build.seconds)
    source = fingerprint(source_inputs(package)).value
    if there or alias:
        why = "its wheel is in the store"
        below = ", ".join(package.built_against)
        reason = f"built against the same binary interface of {below}" if alias else problem
        return [
            *(
                Step(package=name, phase=phase, decision=Decision.SKIP, why=why, fingerprint=source)
                for phase in (Phase.FETCH, Phase.PATCH, Phase.PREPARE)
            ),
            Step(
                package=name, phase=Phase.BUILD, decision=Decision.REUSE,
                why=reason or "nothing changed since it was built",
                fingerprint=own.value, needs=package.needs, seconds=seconds, stored=last is not None,
            ),
        ]  # fmt: skip
    why = problem or _why_build(own, last)
    fetched = state.done(f"{name}:{Phase.FETCH}", source)
    patched = state.done(f"{name}:{Phase.PATCH}", source)
    prepared = state.done(f"{name}:{Phase.PREPARE}", own.value)
    needs_built = tuple(f"{need}:{Phase.BUILD}" for need in package.needs)
    light = package.build.backend == "repack"
    tools = ("python:prepare", "gcc:prepare", *(("cuda:prepare",) if package.build.cuda else ()))
    count = len(package.patches)
    patches = f"{count} patch{'es' if count != 1 else ''}" if count else "no patches, but a clean tree of its own"
    return [
        _step(name, Phase.FETCH, fetched, f"source {package.source_name} is not here yet", source, ()),
        _step(name, Phase.PATCH, patched, patches, source, (f"{name}:fetch",)),
        *(
            ()
            if light
            else (
                _step(
                    name, Phase.PREPARE, prepared, "its build environment is not here yet", own.value,
                    ("python:prepare", *needs_built),
                ),
            )
        ),
        Step(
            package=name,
            phase=Phase.BUILD,
            decision=Decision.RUN,
            why=why,
            fingerprint=own.value,
            needs=package.needs,
            after=(f"{name}:patch",) if light else (f"{name}:patch", f"{name}:prepare", *tools),
            seconds=seconds,
            stored=last is not None,
        ),
    ]  # fmt: skip


def _step(name: str, phase: Phase, done: bool, why: str, print_: str, after: tuple[str, ...]) -> Step:
    decision = Decision.REUSE if done else Decision.RUN
    return Step(
        package=name,
        phase=phase,
        decision=decision,
        why="done before" if done else why,
        fingerprint=print_,
        after=after,
    )


def _why_build(own: Fingerprint, last: tuple[Mapping[str, Any], float] | None) -> str:
    if last is None:
        return "it was never built"
    changed = difference(last[0], own.inputs)
    return f"changed since the last build: {changed}" if changed else "its wheel is no longer in the store"


def _environment_steps(
    environment: str, packages: Mapping[str, Package], stack: Stack, lock: Lock | None, state: State
) -> list[Step]:
    built = [package.name for package in packages.values() if package.built]
    installed = state.done("environment:install", environment)
    verified = installed and state.done("environment:verify", environment)
    pins = len(lock.pins) if lock else 0
    first = Step(
        package="requirements",
        phase=Phase.INSTALL,
        decision=Decision.REUSE if installed else Decision.RUN,
        why="the environment is whole" if installed else f"{pins} distributions as {stack.name}.lock pins them",
        fingerprint=environment,
        after=("python:prepare",),
    )
    second = Step(
        package="environment",
        phase=Phase.INSTALL,
        decision=Decision.REUSE if installed else Decision.RUN,
        why="the environment is whole" if installed else f"our wheels: {', '.join(built)}",
        fingerprint=environment,
        needs=tuple(built),
        after=("requirements:install", "cuda:prepare", "gcc:prepare", *(f"{name}:build" for name in built)),
    )
    third = Step(
        package="environment",
        phase=Phase.VERIFY,
        decision=Decision.REUSE if verified else Decision.RUN,
        why="this environment was verified"
        if verified
        else "every level; those that need the GPU are skipped where there is none",
        fingerprint=environment,
        needs=tuple(packages),
        after=("environment:install",),
    )
    return [first, second, third]


def _source_mib(package: Package) -> int:
    sources = [package.source, *package.extras.values()]
    files: dict[str, int] = {}  # one archive may be several parts
    for source in sources:
        for one in [part.source for part in getattr(source, "parts", ())] or [source]:
            files[getattr(one, "sha256", str(one))] = getattr(one, "size", 0)
    return sum(files.values()) // MIB
