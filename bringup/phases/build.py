"""Phase build: one package becomes wheels, in its build environment, and the wheels enter the store."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

from bringup.building.build_environment import build_environment, fill, package_jobs, placeholders
from bringup.building.cmake_cache import refresh_stale
from bringup.building.compiler_cache import report_of, with_compiler_cache
from bringup.building.configure import build_folders, check_parts, configure, generate
from bringup.building.ninja_progress import ninja_progress
from bringup.building.outside import VARIABLE as OUTSIDE_VARIABLE
from bringup.building.outside import list_file, outside_headers
from bringup.building.recipe_hooks import load_hook, make_hook_context
from bringup.building.same_interface import adopt_same_interface, alias_of
from bringup.building.unit_history import read_units, totals
from bringup.context import Context, Outcome
from bringup.entry import Lookup
from bringup.errors import BringupError, BuildError, VerifyError
from bringup.formats.archive import ArchiveError
from bringup.formats.distribution_name import plain
from bringup.formats.interface import wheel_interface
from bringup.formats.wheel import WheelName, check_wheel, pack_wheel
from bringup.model.plan import Package, Step
from bringup.planning.fingerprint import HEADERS, Fingerprint
from bringup.system import process
from bringup.system.fs import make_dir, remove_tree, write_atomic

KILLED = re.compile(
    r"\bKilled\b|signal 9|SIGKILL|exit (?:code|status) 137|died due to signal 9|cannot allocate memory", re.IGNORECASE
)


def run(package: Package, step: Step, ctx: Context, *, inputs: Mapping[str, Any]) -> Outcome:
    """Build the package and store its wheels.

    Args:
        package: what to build.
        step: the step, whose fingerprint is the wheels' key.
        ctx: the run.
        inputs: all that went into the fingerprint; kept with the wheels.

    Raises:
        BuildError: the build failed or did not give the wheels that the recipe promises.
    """
    same = adopt_same_interface(package, ctx)
    if same is not None:
        below = ", ".join(package.built_against)
        note = f"not built again: the binary interface of {below} is the one it was built against"
        return Outcome(note=note, outputs=same.wheels)
    out = ctx.layout.work(package.name) / "out"
    remove_tree(out)
    make_dir(out)
    started = time.monotonic()
    jobs = package_jobs(package, ctx)
    try:
        wheels = _backend(package, step, ctx, out, jobs)
    except BuildError as exc:
        raise _explain(exc, package, jobs) from exc
    seconds = time.monotonic() - started
    _check(package, wheels, step, ctx)
    found = _keep(package, step, ctx, wheels, inputs, seconds)
    remove_tree(built_for(package, ctx))
    names = ", ".join(f"{wheel.name} ({wheel.stat().st_size / (1 << 20):.1f} MiB)" for wheel in found.wheels)
    facts: dict[str, Any] = {"jobs": jobs}
    cached = report_of(package, step, ctx)
    if cached is not None:
        names, facts["compiler_cache"] = f"{names}; {cached}", cached.facts()
        if cached.unshared:
            ctx.reporter.line(f"warning: {package.name}: compiler results were not shared: {cached.unshared}")
    facts |= _compiled(package, ctx)
    return Outcome(note=names, outputs=found.wheels, facts=facts)


def _compiled(package: Package, ctx: Context) -> dict[str, Any]:
    """Return what the compilers of this step took, and say which units had to be compiled again."""
    if ctx.budget is None:
        return {}
    units = [unit for unit in read_units(ctx.layout.units, run=ctx.budget.run) if unit.package == package.name]
    for unit in units:
        if unit.attempt > 1:
            peak = unit.rss_kib / (1 << 20)
            ctx.reporter.line(
                f"{package.name}: {unit.name} was killed for memory and compiled again alone ({peak:.1f} GiB)"
            )
    return {"units": totals(units)} if units else {}


def _keep(
    package: Package, step: Step, ctx: Context, wheels: list[Path], inputs: Mapping[str, Any], seconds: float
) -> Lookup:
    """Enter the wheels into the stores, under their fingerprint and, where they have one, their second key."""
    interface = _interface(package, wheels, ctx)
    alias = alias_of(package, ctx)
    outside = outside_headers(package, ctx) if package.build.backend != "repack" else {}
    kept = Lookup()
    for own in filter(None, (alias, Fingerprint(value=step.fingerprint, inputs=inputs))):
        kept = ctx.store.add(
            own.value,
            package=package.name,
            version=package.version,
            wheels=wheels,
            inputs=own.inputs,
            seconds=seconds,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            interface=interface,
            alias=own is alias,
            outside=outside,
        )
        if kept.entry is None:
            msg = f"{package.name}: the wheel did not survive its way into the store: {kept.problem}"
            raise BuildError(msg, hint=f"check the disk below {ctx.store.root}")
        if ctx.store.remote:
            ctx.store.remote.publish(kept.entry, kept.wheels)
        wheels = list(kept.wheels)  # the next entry links to these
    return kept


def _interface(package: Package, wheels: list[Path], ctx: Context) -> str:
    """Return the hash of what others see of the package; without one, any change of it rebuilds them."""
    if package.recipe.interface is None:
        return ""
    try:
        return wheel_interface(wheels, package.recipe.interface)
    except (ArchiveError, VerifyError) as exc:
        ctx.reporter.line(f"warning: {package.name}: its binary interface cannot be told: {exc.message}")
        return ""


def _backend(package: Package, step: Step, ctx: Context, out: Path, jobs: int) -> list[Path]:
    source = ctx.layout.source(package.name)
    local = package.build.local.format(local=ctx.plan.target.local)
    if package.build.backend == "repack":
        return [pack_wheel(source, out, local=local)]
    env = with_compiler_cache(package, step, ctx, build_environment(package, step, ctx, jobs))
    env[OUTSIDE_VARIABLE] = str(list_file(package, ctx))
    remove_other_build(package, source / getattr(package.source, "subdirectory", ""), step, ctx)
    check_parts(package, source)
    for line in refresh_stale(package, source, env, ctx):
        ctx.reporter.line(f"{package.name}: {line}")
    if package.build.backend == "hook":
        hook = load_hook(ctx.data, package.name)
        return list(hook.build(make_hook_context(package, step, ctx, out=out, env=env, jobs=jobs)))
    return _frontend(package, step, ctx, out, jobs, env)


def _frontend(package: Package, step: Step, ctx: Context, out: Path, jobs: int, env: Mapping[str, str]) -> list[Path]:
    """Build by setup.py or PEP 517, telling how far ninja is."""
    python = ctx.layout.build_env(package.name, step.fingerprint) / "bin/python"
    folder = ctx.layout.source(package.name) / getattr(package.source, "subdirectory", "")
    log, what = ctx.layout.log(step.id), f"build of {package.name} {package.version}"
    units = ctx.data / "recipes/units" / f"{package.name}.toml"
    if package.build.configure:
        configure(
            package,
            folder,
            python,
            units=units,
            env=env,
            log=log,
            memory_bytes=ctx.memory_bytes,
            say=lambda line: ctx.reporter.line(f"{package.name}: {line}"),
        )
        generate(package, folder, python, env=env, log=log)
    watch = ninja_progress(build_folders(package, folder), units, jobs=jobs)

    def show(line: str) -> None:
        progress = watch.line(line, time.monotonic())
        if progress is not None:
            ctx.reporter.progress(step, progress)

    argv = _wheel_command(package, step, ctx, out, jobs, python=python, folder=folder)
    process.run(argv, env=env, cwd=folder, log=log, what=what, on_line=show)
    return sorted(out.glob("*.whl"))


def _wheel_command(
    package: Package, step: Step, ctx: Context, out: Path, jobs: int, *, python: Path, folder: Path
) -> list[str | Path]:
    if package.build.backend == "setup.py":
        return [python, "setup.py", "bdist_wheel", "--dist-dir", out]
    from bringup.system.pypi import find_uv  # noqa: PLC0415 - a repack needs no uv

    values = placeholders(package, step, ctx, jobs)
    where = f"recipes/{package.name}.toml: build.config_settings"
    settings = [
        word
        for key, value in package.build.config_settings.items()
        for word in ("-C", f"{key}={fill(value, values, where=f'{where}.{key}')}")
    ]
    options = ("--wheel", "--no-build-isolation", "--offline", "--python", python, "--out-dir", out)
    return [find_uv(), "build", *options, *settings, folder]


def remove_other_build(package: Package, folder: Path, step: Step, ctx: Context) -> None:
    """Remove what a build with other flags, compilers or headers left behind.

    setuptools takes every object that is newer than its source, whatever it was compiled with; only what was
    interrupted goes on. What CMake and ninja build stays, where the recipe names its caches (`fresh`): they compare
    command lines, and the caches are checked. They go by times of headers, though, and a package manager installs
    headers with old ones.
    """
    mark = built_for(package, ctx)
    interrupted = mark.is_file() and mark.read_text() == step.fingerprint
    headers = HEADERS in ctx.plan.inputs[package.name] and not interrupted
    if headers or not (interrupted or package.build.fresh):
        remove_tree(folder / "build")
        remove_tree(list_file(package, ctx))
    if headers and package.build.backend == "hook":
        remove_tree(ctx.layout.work(package.name) / "build")
    write_atomic(mark, step.fingerprint)


def built_for(package: Package, ctx: Context) -> Path:
    """Return the file that says what an unfinished build was for."""
    return ctx.layout.work(package.name) / "built-for"


def _check(package: Package, wheels: list[Path], step: Step, ctx: Context) -> None:
    """Fail on what is not the promised wheels: none, another name or version, a RECORD that does not fit."""
    log = str(ctx.layout.log(step.id))
    wanted = {plain(package.distribution), *(plain(name) for name in package.recipe.extra_distributions)}
    found = {plain(WheelName.parse(wheel.name).distribution): wheel for wheel in wheels}
    if set(found) != wanted:
        msg = f"{package.name}: the build gave {sorted(found) or 'no wheel'} and the recipe promises {sorted(wanted)}"
        raise BuildError(msg, log=log)
    own = Version(WheelName.parse(found[plain(package.distribution)].name).version)
    if own.public != str(Version(package.version)):
        msg = f"{package.name}: the wheel's version is {own} and the recipe's is {package.version}"
        hint = "a git tree without tags gives such versions: set the version in the recipe's [build.env]"
        raise BuildError(msg, hint=hint, log=log)
    for wheel in wheels:
        problems = check_wheel(wheel)
        if problems:
            raise BuildError(f"{wheel.name}: {'; '.join(str(problem) for problem in problems[:5])}", log=log)


def _explain(exc: BringupError, package: Package, jobs: int) -> BringupError:
    """Name memory as the cause where a compiler was killed, with the number of jobs to use."""
    if KILLED.search(exc.message) and not exc.hint.startswith("run again with --jobs"):
        fewer = max(1, jobs // 2)
        exc.hint = (
            f"a compiler was killed for want of memory: run again with --jobs {fewer} "
            f"({package.name} takes up to {package.build.memory_per_job_gib:g} GiB a job); what is compiled is kept"
        )
    return exc
