"""The steps of a plan: what is done for the toolchain, for a package, for the environment, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bringup.config.lockfile import Lock
from bringup.model.plan import Decision, Package, Phase, Step
from bringup.model.stack import Stack
from bringup.planning.fingerprint import Fingerprint, difference, fingerprint, source_inputs
from bringup.planning.known import State, Toolchain

COMPARABLE = ("package", "variant", "options")  # inputs of builds that take about the same time


def toolchain_steps(toolchain: Toolchain) -> list[Step]:
    """Return the steps that make what is missing of the toolchain."""
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


def package_steps(
    package: Package, own: Fingerprint | None, wanted: set[str], state: State, stack: Stack, *, alias: str
) -> list[Step]:
    """Return the steps of one package.

    Args:
        package: which.
        own: fingerprint of its wheels; None if a published wheel is taken.
        wanted: names of the packages that were asked for, with what they need.
        state: what is there.
        stack: names the lock in reasons.
        alias: key of an entry to take instead of its own; "" for none.
    """
    name = package.name
    if own is None:
        why = f"published wheel {package.distribution} {package.version}, pinned by {stack.name}.lock"
        return [Step(package=name, phase=Phase.FETCH, decision=Decision.SKIP, why=why, fingerprint="")]
    if name not in wanted:
        return [Step(package=name, phase=Phase.BUILD, decision=Decision.SKIP, why="not in --only", fingerprint="")]
    there, problem = state.wheel(own.value)
    last = state.last_build(name)
    seconds, measured = _seconds(package, own, last)
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
                fingerprint=own.value, needs=package.needs, seconds=seconds, stored=measured,
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
            stored=measured,
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


def _seconds(package: Package, own: Fingerprint, last: tuple[Mapping[str, Any], float] | None) -> tuple[float, bool]:
    """Return the wall seconds of the last build and True, or the CPU seconds that the recipe knows and False.

    A build of another version, variant or choice of kernels tells nothing; nor does the recipe of the whole set.
    """
    if last is not None and all(last[0].get(topic) == own.inputs.get(topic) for topic in COMPARABLE):
        return last[1], True
    return (0.0 if package.options.get("full") else float(package.build.seconds)), False


def _why_build(own: Fingerprint, last: tuple[Mapping[str, Any], float] | None) -> str:
    if last is None:
        return "it was never built"
    changed = difference(last[0], own.inputs)
    return f"changed since the last build: {changed}" if changed else "its wheel is no longer in the store"


def environment_steps(
    environment: str, packages: Mapping[str, Package], stack: Stack, lock: Lock | None, state: State
) -> list[Step]:
    """Return the steps that make and verify the environment of this fingerprint."""
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
