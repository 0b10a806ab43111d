"""Phase prepare: a build environment of pinned distributions and of what we built ourselves before."""

from __future__ import annotations

import os
from pathlib import Path

from bringup.building.same_interface import adopt_same_interface
from bringup.context import Context, Outcome
from bringup.errors import PrepareError
from bringup.model.plan import Package, Step
from bringup.planning.closure import needed_packages
from bringup.system.fs import make_dir, remove_tree, write_atomic

COMPLETE = ".bringup-complete"


def run(package: Package, step: Step, ctx: Context) -> Outcome:
    """Make the build environment of `package`.

    Its interpreter is the target's Python; it holds the closure of `build.requires` as the lock pins it, and the
    wheels of those packages in `needs` that were built before.

    Raises:
        PrepareError: a distribution is not in the lock or cannot be installed.
    """
    place = ctx.layout.build_env(package.name, step.fingerprint)
    if (place / COMPLETE).exists():
        return Outcome(note="as before", outputs=(place / COMPLETE,))
    if adopt_same_interface(package, ctx):
        return Outcome(note="not needed: the package is not built again")
    python = ctx.tools.python
    if python is None:
        msg = f"{package.name}: Python comes before the build environment"
        raise PrepareError(msg)
    for old in place.parent.glob(f"{package.name}-*"):
        remove_tree(old)
    make_dir(place.parent)
    what = f"build environment of {package.name}"
    ctx.uv("venv", "--quiet", "--python", python.executable, place, step=step, error=PrepareError, what=what)
    pins = _requirements(package, ctx, place)
    ours = [name for name in needed_packages(package, ctx.plan.packages) if ctx.plan.packages[name].built]
    found = {name: ctx.store.lookup(ctx.plan.fingerprints[name]).wheels for name in ours}
    wheels = [wheel for name in ours for wheel in found[name]]
    for arguments in (["--require-hashes", "-r", str(pins)] if pins else [], [str(wheel) for wheel in wheels]):
        if arguments:
            ctx.uv(
                "pip", "install", "--quiet", "--python", place / "bin/python", "--no-deps", *arguments,
                step=step, error=PrepareError, what=what,
            )  # fmt: skip
    missing = [name for name in ours if not found[name]]
    if missing:  # prepared before they were built; not complete, so that the build makes it again
        note = f"{_count(place)} distributions; to be made again with {', '.join(missing)}"
        return Outcome(note=note, outputs=(place / COMPLETE,))
    write_atomic(place / COMPLETE, step.fingerprint + "\n")
    return Outcome(note=f"{_count(place)} distributions", outputs=(place / COMPLETE,))


def _requirements(package: Package, ctx: Context, place: Path) -> Path | None:
    """Write the pins of the build requirements beside the environment; without a lock, none are needed or it fails."""
    if not package.build.requires:
        return None
    if ctx.lock is None:
        names = ", ".join(package.build.requires)
        msg = f"{package.name} needs {names} to build, and stack {ctx.plan.stack.name} has no lock"
        raise PrepareError(msg, hint=f"invoke lock --stack {ctx.plan.stack.name}")
    ours = {one.distribution for one in ctx.plan.packages.values() if one.built}
    pins = [pin for pin in ctx.lock.closure(package.build.requires) if pin.name not in ours]
    file = place.with_name(f"{place.name}.{os.getpid()}.txt")
    write_atomic(file, ctx.lock.text(pins))
    return file.replace(place / "requirements.txt")


def _count(place: Path) -> int:
    return len(list(place.glob("lib/python*/site-packages/*.dist-info")))
