"""What belongs into a target environment: our wheels from the store, and the lock's pins for the rest."""

from __future__ import annotations

from pathlib import Path

from bringup.config.lockfile import Pin
from bringup.context import Context
from bringup.errors import InstallError


def pins_to_install(ctx: Context) -> list[Pin]:
    """Return the lock's pins without the distributions that come from our own wheels."""
    if ctx.lock is None:
        return []
    ours = {package.distribution for package in ctx.plan.packages.values() if package.built}
    return [pin for pin in ctx.lock.pins.values() if pin.name not in ours]


def pins_of_node(ctx: Context) -> dict[str, str]:
    """Return name and version of the pins that an installed bundle left to the node: torch and what it links."""
    if ctx.lock is None or ctx.frozen is None or ctx.frozen.node_torch is None:
        return {}
    return {name: ctx.lock.pins[name].version for name in ctx.frozen.node_torch.left_out if name in ctx.lock.pins}


def our_wheels(ctx: Context) -> dict[str, tuple[Path, ...]]:
    """Return the wheels in the store of every package that is built.

    Raises:
        InstallError: one is missing or damaged.
    """
    found = {}
    for name, fingerprint in ctx.plan.fingerprints.items():
        lookup = ctx.store.lookup(fingerprint)
        if lookup.entry is None:
            msg = f"{name}: {lookup.problem or 'its wheel is not in the store'}"
            names = f"--gpu {ctx.plan.target.gpu.name} --stack {ctx.plan.stack.name}"
            raise InstallError(msg, hint=f"invoke build {names} builds it anew")
        found[name] = lookup.wheels
    return found


def site_packages(place: Path) -> Path:
    """Return the environment's site-packages."""
    found = sorted(place.glob("lib/python3.*/site-packages"))
    if not found:
        msg = f"{place}: not an environment"
        raise InstallError(msg)
    return found[0]
