"""`invoke lock`: resolves what a stack's recipes do not pin, as of the stack's date."""

from __future__ import annotations

from collections.abc import Iterator

from bringup.config.catalogue import load_catalogue
from bringup.config.lockfile import read_lock
from bringup.planning.locking import OVERRIDES, lock_inputs, render_lock
from bringup.system.environ import base_environment
from bringup.system.fs import write_atomic
from bringup.system.layout import Settings
from bringup.system.uv import resolve


def make_lock(settings: Settings, name: str) -> Iterator[str]:
    """Write the lock of a stack and yield what changed.

    Raises:
        UsageError: no such stack.
        ConfigError: its requirements have no solution.
        FetchError: the package index is out of reach.
    """
    catalogue = load_catalogue(settings.data, locks=False)
    stack = catalogue.stack(name)
    path = settings.data / "recipes/stacks" / f"{name}.lock"
    before = {pin.name: pin.version for pin in read_lock(path).pins.values()} if path.is_file() else {}
    inputs = lock_inputs(stack, catalogue.recipes)
    resolved = resolve(
        inputs.files(),
        overrides=OVERRIDES,
        python=inputs.python,
        platform=inputs.platform,
        before=inputs.before,
        env=base_environment(),
    )
    write_atomic(path, render_lock(inputs, resolved))
    after = {pin.name: pin.version for pin in read_lock(path).pins.values()}
    for pin in sorted({*before, *after}):
        if before.get(pin) != after.get(pin):
            yield f"  {pin}: {before.get(pin, 'new')} -> {after.get(pin, 'gone')}"
    yield f"{path}: {len(after)} distributions as of {stack.date}"
    if not stack.lock:
        yield f"  to use it, set lock = true in recipes/stacks/{name}.toml"
