"""Reuse of a wheel whose package was to be built again because of what it is built against, and need not be.

While a plan is made the new interface of what is below may not be known yet; it is when that was built.
"""

from __future__ import annotations

import datetime

from bringup.context import Context
from bringup.entry import Lookup
from bringup.model.plan import Package
from bringup.planning.fingerprint import Fingerprint, alias_inputs, fingerprint


def alias_of(package: Package, ctx: Context) -> Fingerprint | None:
    """Return the second key of a package: binary interfaces instead of fingerprints of what it is built against."""
    prints = ctx.plan.fingerprints
    interfaces = {}
    for need in package.built_against:
        entry = ctx.store.lookup(prints[need]).entry if need in prints else None
        interfaces[need] = entry.interface if entry else ""
    inputs = alias_inputs(ctx.plan.inputs[package.name], interfaces)
    return fingerprint(inputs) if inputs is not None else None


def adopt_same_interface(package: Package, ctx: Context) -> Lookup | None:
    """Enter the wheel of an earlier build under this step's fingerprint, if it saw the same interfaces below it."""
    alias = alias_of(package, ctx)
    found = ctx.store.pull(alias.value) if alias else Lookup()
    if found.entry is None:
        return None
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return ctx.store.adopt(ctx.plan.fingerprints[package.name], found, ctx.plan.inputs[package.name], date)
