"""What the tasks do with what was built, with the cache, and for developers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from bringup.errors import UsageError
from bringup.model.plan import Request
from bringup.system.layout import Settings


def lock(settings: Settings, name: str) -> int | None:
    """Make the lock of a stack."""
    from bringup.locking import make_lock

    if not name:
        msg = "lock needs --stack"
        raise UsageError(msg, hint="invoke list stacks shows the names")
    for line in make_lock(settings, name):
        print(line)
    return None


def bundle(request: Request, settings: Settings, flags: dict[str, Any]) -> int | None:
    """Write a bundle."""
    from bringup.bundling.write import BundleOptions, write_bundle
    from bringup.housekeeping import parse_size
    from bringup.report import Console
    from bringup.session import open_session

    if flags["only"] and not flags["sources"]:
        msg = "--only goes with --sources: a bundle of what is built holds the whole environment"
        raise UsageError(msg, hint="add --sources, or leave --only out")
    part_size = parse_size(flags["part_size"], "--part-size")
    console = Console()
    session = open_session(request, settings, console)
    out = Path(flags["output"] or f"{request.gpu}.bundle").resolve()
    options = BundleOptions(
        out=out,
        part_size=part_size,
        with_toolkit=flags["with_toolkit"],
        without_torch=flags["without_torch"],
        sources=flags["sources"],
        harvest=_wheel_of(flags["harvest"]) if flags["harvest"] else None,
    )
    console.line(f"{session.plan.target.id}  stack {session.plan.stack.name}: bundle for a machine without a network")
    write_bundle(session, options, console.line)
    return None


def install_harvest(request: Request, settings: Settings, name: str) -> int | None:
    """Put what another node compiled into an environment that is installed here."""
    from bringup.engine import take_ready_tools
    from bringup.harvest import lay_harvest, take_along
    from bringup.report import Silent, as_typed
    from bringup.session import open_session
    from bringup.system.runlock import run_lock
    from bringup.verification import installed_step

    wheel = _wheel_of(name)
    session = open_session(request, settings, Silent())
    step, ctx = installed_step(session), session.context
    with run_lock(ctx.layout.root):
        take_ready_tools(ctx)
        lay_harvest(step, ctx, take_along(ctx, wheel))
    print(f"{wheel.name} is installed in {ctx.layout.env}")
    print(as_typed("  next: invoke verify --level static --level sglang"))
    return None


def _wheel_of(name: str) -> Path:
    path = Path(name).absolute()
    if not path.is_file():
        msg = f"--harvest {name}: no such file"
        raise UsageError(msg, hint="it lies in build/TARGET/wheels where `verify --harvest` ran")
    return path


def shell(request: Request, settings: Settings) -> int | None:
    """Replace this process by a shell in the environment."""
    from bringup.system.environ import process_environment
    from bringup.system.process import replace_this_process
    from bringup.verification import environment_variables

    variables = environment_variables(request, settings)
    merged = process_environment() | variables
    merged["PATH"] = f"{variables['PATH']}:{process_environment().get('PATH', '')}"
    program = merged.get("SHELL", "/bin/sh")
    print(f"{variables['BRINGUP_TARGET']}: {program}; leave with exit")
    replace_this_process([program], merged)


def env(request: Request, settings: Settings) -> int | None:
    """Print exports."""
    from bringup.verification import environment_variables

    for name, value in environment_variables(request, settings).items():
        text = f'"{value}:$PATH"' if name == "PATH" else shlex.quote(value)
        print(f"export {name}={text}")
    return None


def clean(settings: Settings, target: str, *, everything: bool) -> int | None:
    """Remove what was made; an installed bundle is nothing but that, its own Python included."""
    from bringup.housekeeping import clean as remove

    if settings.bundle:
        folder = shlex.quote(str(settings.bundle))
        msg = "clean would remove what this program runs on"
        raise UsageError(msg, hint=f"an installed bundle is removed with its folder: rm -rf {folder}")
    for line in remove(settings.build, target, everything=everything):
        print(line)
    return None


def gc(settings: Settings, size: str) -> int | None:
    """Shrink the cache."""
    from bringup.housekeeping import collect, parse_size

    for line in collect(settings.cache, parse_size(size)):
        print(line)
    return None


def jobs(settings: Settings, flags: dict[str, Any]) -> int | None:
    """Show or change the limits of a running build."""
    from bringup.jobs import set_limits

    text = str(flags["nice"])
    if text and not text.lstrip("-").isdigit():
        msg = f"--nice {text}: wants a number from -20 to 19"
        raise UsageError(msg)
    nice = int(text) if text else None
    for line in set_limits(settings.build, flags["target"], jobs=flags["jobs"], memory_gib=flags["memory"], nice=nice):
        print(line)
    return None


def schema(settings: Settings, *, check: bool) -> int | None:
    """Write or check generated files."""
    from bringup.generated import write_generated

    changed = write_generated(settings.data, check=check)
    for path in changed:
        print(f"{'out of date' if check else 'written'}: {path}")
    if check and changed:
        print("make them anew with: invoke schema")
        return 2
    return None


def run_tests(words: list[str], *, quick: bool) -> int | None:
    """Run pytest."""
    from bringup.developer import run_tests as run

    return run(words, quick=quick)


def run_lint() -> int | None:
    """Run the linters."""
    from bringup.developer import run_lint as run

    return run()
