"""What would be done and why: decides RUN, REUSE or SKIP for every step. Pure: what is there comes in as `State`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bringup.config.lockfile import Lock
from bringup.model.plan import Decision, Package, Phase, Plan, Request, Target
from bringup.model.stack import Stack
from bringup.planning.closure import needed_packages
from bringup.planning.fingerprint import (
    HEADERS,
    Fingerprint,
    Identities,
    alias_inputs,
    build_inputs,
    fingerprint,
)
from bringup.planning.known import State, Tool, Toolchain
from bringup.planning.resolve import arch_lists
from bringup.planning.steps import environment_steps, package_steps, toolchain_steps

MIB = 1 << 20


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
    steps = [*toolchain_steps(toolchain)]
    download = toolchain.python.download_mib + toolchain.cuda.download_mib
    disk = toolchain.python.disk_mib + toolchain.cuda.disk_mib
    for name, package in packages.items():
        new = package_steps(package, prints.get(name), wanted, state, stack, alias=aliases.get(name, ""))
        steps += new
        if any(step.phase is Phase.FETCH and step.decision is Decision.RUN for step in new):
            download += _source_mib(package)
        if any(step.phase is Phase.BUILD and step.decision is Decision.RUN for step in new):
            disk += package.build.disk_mib
    environment = environment_fingerprint(target, stack, prints, toolchain.identities, lock)
    if not request.only:
        new = environment_steps(environment, packages, stack, lock, state)
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


def _source_mib(package: Package) -> int:
    sources = [package.source, *package.extras.values()]
    files: dict[str, int] = {}  # one archive may be several parts
    for source in sources:
        for one in [part.source for part in getattr(source, "parts", ())] or [source]:
            files[getattr(one, "sha256", str(one))] = getattr(one, "size", 0)
    return sum(files.values()) // MIB
