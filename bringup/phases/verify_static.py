"""Level static: our wheels and the environment, examined without importing anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bringup.context import Context
from bringup.environment import our_wheels, pins_of_node, pins_to_install, site_packages
from bringup.errors import InstallError
from bringup.formats.wheel import WheelName
from bringup.formats.wheel_installed import dist_info_installed, record_of_installed
from bringup.harvest import DISTRIBUTION, check_harvest, find_harvest
from bringup.model.node_torch import NOTE as NODE_TORCH
from bringup.model.plan import Package, Step
from bringup.model.recipe import NativeCode
from bringup.model.verify import Check, Status
from bringup.system.fs import read_json
from bringup.verify import static
from bringup.verify.installed import is_library, read_libraries
from bringup.verify.linkage import check_abi, torch_exports
from bringup.verify.native_code import check_native_code
from bringup.verify.node_torch import check_node_torch, read_note
from bringup.verify.published import NOTE, check_published


def static_checks(ctx: Context, step: Step) -> tuple[Check, ...]:
    """Examine our wheels and the environment without importing anything."""
    site = site_packages(ctx.layout.environment(step.fingerprint))
    wheels = []
    for name, group in our_wheels(ctx).items():
        for wheel in group:
            distribution = WheelName.parse(wheel.name).distribution
            files = record_of_installed(site, distribution)
            rules = _rules_for(ctx.plan.packages[name].native_code, files, len(group))
            wheels.append(static.OurWheel(path=wheel, distribution=distribution, native_code=rules_of(rules, ctx)))
    harvest, _ = find_harvest(ctx)
    if harvest and dist_info_installed(site, DISTRIBUTION):
        wheels.append(static.OurWheel(path=harvest, distribution=DISTRIBUTION))
    checks = static.check_static(site, wheels) + check_harvest(ctx, site)
    noted = read_json(ctx.layout.environment(step.fingerprint) / NOTE)
    known = noted if isinstance(noted, dict) else {}
    published = [package for package in ctx.plan.packages.values() if not package.built]
    checks += tuple(_node_torch_checks(ctx, ctx.layout.environment(step.fingerprint), site))
    return checks + tuple(check for package in published for check in _published_checks(package, site, ctx, known))


def _node_torch_checks(ctx: Context, place: Path, site: Path) -> Iterator[Check]:
    """Examine the PyTorch that the node brings along, where an installed bundle has none."""
    if not pins_of_node(ctx):
        return
    note = read_note(place)
    if note is None:
        why = f"{place / NODE_TORCH} is missing: nothing says which PyTorch of the node the environment was made with"
        yield Check(id="static.node-torch", status=Status.FAIL, why=why)
        return
    yield check_node_torch(site, note)
    for name, taken in note.distributions.items():
        yield check_published(Path(taken.site), name, taken.version, {"record": taken.record})


def _published_checks(package: Package, site: Path, ctx: Context, known: Mapping[str, Any]) -> Iterator[Check]:
    """Examine a published package: is it still the one installed, its GPU code, its fit to PyTorch."""
    name = package.distribution
    pinned = ctx.lock is not None and name in ctx.lock.pins
    if ctx.lock and pinned and name not in pins_of_node(ctx):
        yield check_published(site, name, package.version, known.get(name, {}), ctx.lock.pins[name].hashes)
    try:
        files = record_of_installed(site, name)
    except InstallError:
        if pinned:
            return  # what looks for a replacement has named it
        raise
    if package.native_code:
        rules = rules_of(package.native_code, ctx)
        yield check_native_code(name, rules, files, lambda name: nullcontext(site / name))
    if "pytorch" in package.built_against:
        elves, _ = read_libraries(site / file for file in files if is_library(file))
        yield check_abi(name, elves, torch_exports(site), site_packages=site)


def wheel_hashes(ctx: Context, checks: Sequence[Check]) -> dict[str, Any]:
    """Return what says which bits were verified: the SHA-256 of our wheels, and that of the lock in force."""
    ours = {check.evidence["wheel"]: check.evidence["sha256"] for check in checks if check.evidence.get("sha256")}
    lock = ctx.lock.text(pins_to_install(ctx)) if ctx.lock else ""
    return {"wheels": ours, "lock_sha256": hashlib.sha256(lock.encode()).hexdigest() if lock else ""}


def _rules_for(rules: Sequence[NativeCode], files: Iterable[str], wheels: int) -> Sequence[NativeCode]:
    """Return the rules that are about one of a package's several wheels: those that match in it.

    A rule names the top-level folder that it is about, so a promise about a file that is gone still fails.
    """
    if wheels == 1:
        return rules
    tops = {name.split("/", 1)[0] for name in files}
    return [rule for rule in rules if rule.glob.split("/", 1)[0] in tops or rule.glob.startswith("*")]


def rules_of(rules: Sequence[NativeCode], ctx: Context) -> tuple[static.NativeCode, ...]:
    """Translate a recipe's rules into names of machine code."""
    code = ctx.plan.target.gpu.machine_code
    return tuple(
        static.NativeCode(
            glob=rule.glob,
            archs=(code.exact,) if rule.code == "exact" else code.any,
            exempt=rule.exempt,
            why=rule.why,
        )
        for rule in rules
    )
