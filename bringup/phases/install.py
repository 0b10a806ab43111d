"""Phase install: the target environment, made under a name of its own and put in force by one link."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bringup.config.lockfile import Pin
from bringup.context import Context, Outcome
from bringup.environment import our_wheels, pins_of_node, pins_to_install, site_packages
from bringup.errors import InstallError
from bringup.formats.wheel_name import WheelName
from bringup.harvest import find_harvest
from bringup.kept import keep, key_of, restore
from bringup.model.node_torch import NOTE as NODE_TORCH
from bringup.model.plan import Decision, Phase, Step
from bringup.system import process
from bringup.system.fs import make_dir, point_link, remove_tree, write_atomic, write_json
from bringup.toolchain.links import link_tools
from bringup.toolchain.node_torch import REMEDY, check_facts, parse_facts, take_torch
from bringup.verify.conflicts import find_conflicts
from bringup.verify.linked import check_linked
from bringup.verify.published import NOTE, note_published

COMPLETE = ".bringup-complete"
REQUIREMENTS = ".bringup-requirements"
IMPORT_S = 600  # a first import of torch from a slow shared disk takes minutes


def requirements(step: Step, ctx: Context) -> Outcome:
    """Make the environment and install what the lock pins, except for the packages that we build.

    Raises:
        InstallError: a distribution cannot be installed.
    """
    place = ctx.layout.environment(step.fingerprint)
    mark = place / REQUIREMENTS
    if mark.exists():
        return Outcome(note="as before", outputs=(mark,))
    if ctx.tools.python is None:
        msg = "Python comes before the environment"
        raise InstallError(msg)
    remove_tree(place)
    make_dir(place.parent)
    theirs = pins_of_node(ctx)
    pins = [pin for pin in pins_to_install(ctx) if pin.name not in theirs]
    reused = all(one.decision is Decision.REUSE for one in ctx.plan.steps if one.phase is Phase.BUILD)
    ours = _wheels_text(ctx) if reused else ""
    kept = _kept(ctx, ours)
    note = f"{len(pins)} distributions"
    if kept is not None and restore(kept, place):
        note += " and our wheels, linked from the cache"
    else:
        _install(step, ctx, place, pins, ours)
    if theirs:
        note += f"; {use_node_torch(step, ctx, place)}"
    write_atomic(mark, step.fingerprint + "\n")
    return Outcome(note=note, outputs=(mark,))


def _install(step: Step, ctx: Context, place: Path, pins: list[Pin], ours: str) -> None:
    """Make an environment with pinned distributions and `ours`, our wheels as requirements."""
    assert ctx.tools.python is not None
    ctx.uv(
        "venv", "--quiet", "--prompt", ctx.plan.target.id, "--python", ctx.tools.python.executable, place,
        step=step, error=InstallError, what=f"environment of {ctx.plan.target.id}",
    )  # fmt: skip
    if not pins:
        return
    file, restored = place / "requirements.txt", place / "wheels.txt"
    write_atomic(file, ctx.lock.text(pins) if ctx.lock else "", durable=False)
    write_atomic(restored, ours, durable=False)
    ctx.uv(
        "pip", "install", "--quiet", "--python", place / "bin/python", "--no-deps", "--require-hashes",
        "-r", file, "-r", restored,
        step=step, error=InstallError, what="installation of the pinned distributions",
    )  # fmt: skip


def _kept(ctx: Context, ours: str) -> Path | None:
    """Return where an environment with the pins and `ours`, all our wheels, is or would be kept; None if it is not.

    An installed bundle is one environment. What lies beside it stays small.
    """
    if ctx.frozen is not None or ctx.tools.python is None or not ours:
        return None
    python = ctx.tools.python
    pins = ctx.lock.text(pins_to_install(ctx)) if ctx.lock else ""
    parts = (ctx.plan.target.id, str(python.executable), str(python.version), pins, ours)
    return ctx.layout.cache / "environments" / key_of(parts)


def use_node_torch(step: Step, ctx: Context, place: Path) -> str:
    """Let an environment use the node's own PyTorch, note which one it is, and import it once.

    Raises:
        InstallError: it is not the lock's, is not whole, or does not import from here.
    """
    wanted = ctx.frozen.node_torch if ctx.frozen else None
    found = ctx.layout.node_torch
    if wanted is None or not found.is_file():
        msg = f"{found} is missing: the bundle came without PyTorch, and nothing says where the node's is"
        raise InstallError(msg, hint="install the bundle again with its install.sh")
    facts = parse_facts(found.read_text("utf-8", "replace"))
    check_facts(facts, wanted)
    taken = take_torch(facts, pins_of_node(ctx), site_packages(place))
    done = process.run(
        [place / "bin/python", "-I", "-c", "import torch; print(torch.__version__, torch.version.cuda or 'none')"],
        env=ctx.env, cwd=ctx.layout.root, log=ctx.layout.log(step.id), check=False, error=InstallError,
        timeout=IMPORT_S, what="import of the node's torch",
    )  # fmt: skip
    lines = done.output.strip().splitlines() or [process.describe_status(done.returncode)]
    if done.returncode or lines[-1] != f"{taken.torch} {taken.cuda}":
        msg = f"the torch in {taken.site} does not import from the environment as {wanted}: {lines[-1]}"
        raise InstallError(msg, hint=REMEDY, log=str(ctx.layout.log(step.id)))
    write_json(place / NODE_TORCH, msgspec.to_builtins(taken))
    return f"torch {taken.torch} of {taken.python}"


def environment(step: Step, ctx: Context) -> Outcome:
    """Install our wheels without their dependencies, check that nothing else replaced them, put the link in force.

    Raises:
        InstallError: a wheel cannot be installed, a file of ours has another hash, or versions conflict that the
            stack did not choose to override.
    """
    place = ctx.layout.environment(step.fingerprint)
    wheels = [wheel for group in our_wheels(ctx).values() for wheel in group]
    harvest, why = find_harvest(ctx)
    if harvest:
        wheels.append(harvest)
    site = site_packages(place)
    install_wheels(step, ctx, place, wheels)
    kept = None if harvest else _kept(ctx, _wheels_text(ctx))
    if kept is not None and not kept.is_dir():
        keep(place, kept, without={REQUIREMENTS})
    if ctx.tools.gcc:
        link_tools(place / "bin", ctx.tools.gcc, ctx.tools.cuda, {})
    write_constraints(place, wheels, ctx)
    chosen, unexpected = find_conflicts(site, ctx.plan.stack, theirs=pins_of_node(ctx))
    write_json(place / "conflicts.json", {"chosen": chosen, "unexpected": unexpected})
    if unexpected:
        lines = "\n".join(f"  {line}" for line in unexpected)
        msg = f"distributions in the environment contradict each other:\n{lines}"
        raise InstallError(msg, hint=f"pin them in recipes/stacks/{ctx.plan.stack.name}.toml and lock again")
    published = [package.distribution for package in ctx.plan.packages.values() if not package.built]
    write_json(place / NOTE, note_published(site, published))
    write_atomic(place / COMPLETE, step.fingerprint + "\n")
    point_link(ctx.layout.env, place)
    for old in place.parent.iterdir():
        if old != place and old.is_dir():
            remove_tree(old)
    note = f"{len(wheels) - bool(harvest)} wheels of ours"
    if harvest or why:
        note += f"; with {harvest.name}" if harvest else f"; {why}"
    if chosen:
        note += f"; {len(chosen)} requirements overridden on purpose"
    return Outcome(note=note, outputs=(place / COMPLETE,), facts={"chosen": chosen})


def _wheels_text(ctx: Context) -> str:
    """Return our wheels as requirements with hashes; "" if one is not in the store."""
    lines = []
    for fingerprint in ctx.plan.fingerprints.values():
        found = ctx.store.lookup(fingerprint)
        if found.entry is None:
            return ""
        for stored, path in zip(found.entry.wheels, found.wheels, strict=True):
            name = WheelName.parse(stored.file).distribution
            lines.append(f"{name} @ {path.as_uri()} --hash=sha256:{stored.sha256}\n")
    return "".join(lines)


def install_wheels(step: Step, ctx: Context, place: Path, wheels: list[Path]) -> None:
    """Install those of our wheels whose files do not lie in the environment as the wheels have them.

    What uv has in its cache may have been edited through a link in another environment. Then the wheel is unpacked
    again, past the cache.

    Raises:
        InstallError: a wheel cannot be installed, or a file of it has another hash in the environment all the same.
    """
    wrong = differing(place, wheels)
    for options in ((), ("--no-cache",)):
        if not wrong:
            return
        if options:
            for wheel, text in wrong.items():
                ctx.reporter.line(f"warning: uv's cache has {wheel.name} with changed files, so it is not used: {text}")
        ctx.uv(
            "pip", "install", "--quiet", "--python", place / "bin/python", "--no-deps", "--reinstall", *options, *wrong,
            step=step, error=InstallError, what="installation of our wheels",
        )  # fmt: skip
        wrong = differing(place, list(wrong))
    for wheel, text in wrong.items():
        raise InstallError(f"{wheel.name} is not what lies in the environment: {text}")


def differing(place: Path, wheels: list[Path]) -> dict[Path, str]:
    """Return the wheels that an environment does not hold as they are, with the first differences."""
    site = site_packages(place)
    found = {wheel: check_linked(site, wheel) for wheel in wheels}
    return {wheel: "; ".join(str(one) for one in problems[:5]) for wheel, problems in found.items() if problems}


def write_constraints(place: Path, wheels: list[Path], ctx: Context) -> None:
    """Write constraints.txt, which keeps a later `pip install -c` from replacing what was built."""
    lines = ["# pip install -c this file: nothing may replace what was built or pinned"]
    lines += [f"{(name := WheelName.parse(wheel.name)).distribution}=={name.version}" for wheel in wheels]
    lines += [f"{pin.name}=={pin.version}" for pin in pins_to_install(ctx)]
    write_atomic(place / "constraints.txt", "\n".join(lines) + "\n")
