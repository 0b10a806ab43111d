"""What a bundle of sources holds instead of built wheels: archives, and the wheels of the build environments."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bringup.config.lockfile import Pin
from bringup.context import Context
from bringup.environment import pins_to_install
from bringup.errors import InstallError, UsageError
from bringup.model.plan import Decision, Package, Phase
from bringup.model.source import GitSource
from bringup.phases.fetch import all_sources
from bringup.system.fs import write_json
from bringup.toolchain.assemble import MANIFEST


def packages_to_build(ctx: Context) -> list[Package]:
    """Return the packages that the plan builds or has built: all, or those of `--only` and what they need."""
    chosen = {
        step.package for step in ctx.plan.steps if step.phase is Phase.BUILD and step.decision is not Decision.SKIP
    }
    return [package for name, package in ctx.plan.packages.items() if name in chosen]


def check_fetched(ctx: Context) -> None:
    """Fail if something that has to travel is not here.

    Raises:
        InstallError: sources or toolkit are missing; the hint is the command that gets them.
        UsageError: a source is a git repository, whose mirrors do not travel.
    """
    for package in packages_to_build(ctx):
        if any(isinstance(source, GitSource) for _, source in all_sources(package)):
            msg = f"{package.name}: --sources carries archives, and {package.source_name} is a git repository"
            raise UsageError(msg, hint="a stack whose sources are archives: registry")
    request, target = ctx.request, ctx.plan.target
    undone = [
        step.id
        for step in ctx.plan.steps
        if step.decision is Decision.RUN and (step.phase is Phase.FETCH or step.package == "cuda")
    ]
    if undone:
        only = "".join(f" --only {name}" for name in request.only)
        msg = f"{target.id} (stack {ctx.plan.stack.name}) is not all here: {', '.join(undone[:4])}"
        raise InstallError(msg, hint=f"invoke prepare --gpu {target.gpu.name} --stack {ctx.plan.stack.name}{only}")


def check_toolkit_travels(ctx: Context, flag: str) -> None:
    """Fail if the toolkit that is to travel is an installed one: a node would look for it in the same place.

    Raises:
        UsageError: the hint names the toolkits that travel.
    """
    cuda, release = ctx.tools.cuda, ctx.plan.target.cuda
    if cuda is None or cuda.provider != "system":
        return
    able = [name for name in ("wheels", "debs") if getattr(release.providers, name) is not None]
    hint = f"take one that bringup puts together: --toolkit {' or '.join(able)}" if able else "leave the flag out"
    raise UsageError(f"{flag} carries the CUDA toolkit, and the one at {cuda.root} is installed there", hint=hint)


def source_files(ctx: Context) -> list[Path]:
    """Return the archives of all packages to build, each once.

    Raises:
        InstallError: one is no longer in the cache.
    """
    found: dict[str, Path] = {}
    for package in packages_to_build(ctx):
        for name, source in all_sources(package):
            assert not isinstance(source, GitSource)
            path = ctx.downloads.get(source.sha256)
            if path is None:
                msg = f"{package.name}: {name} was fetched before and is no longer in {ctx.downloads.root}"
                raise InstallError(msg, hint="invoke fetch with the same flags; it is fetched anew")
            found[source.sha256] = path
    return list(found.values())


def build_pins(ctx: Context) -> Sequence[Pin]:
    """Return the pins that building needs: with `--only` those of the build environments, else the whole lock."""
    if ctx.lock is None:
        return ()
    if not ctx.request.only:
        return pins_to_install(ctx)
    ours = {package.distribution for package in ctx.plan.packages.values() if package.built}
    wanted = [requirement for package in packages_to_build(ctx) for requirement in package.build.requires]
    return [pin for pin in ctx.lock.closure(wanted) if pin.name not in ours]


def toolkit_to_compile(home: Path, dest: Path) -> Path:
    """Copy a toolkit, by hard links, without libraries that only running programs need: a tenth of the size.

    A library goes if it has a stub to link against, which then takes its name.

    Args:
        home: the toolkit.
        dest: folder to make.
    """

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:  # another disk
            shutil.copy2(source, target)

    shutil.copytree(home, dest, symlinks=True, copy_function=link)
    folder = dest / "lib64"
    for stub in sorted((folder / "stubs").glob("lib*.so")):
        there = sorted(folder.glob(f"{stub.name}*"))
        for one in there:
            one.unlink()
        if there:
            (folder / stub.name).symlink_to(f"stubs/{stub.name}")
    manifest = json.loads((home / MANIFEST).read_bytes())
    files = {name: os.lstat(dest / name).st_size for name in manifest["files"] if os.path.lexists(dest / name)}
    (dest / MANIFEST).unlink()  # a hard link of the original
    write_json(dest / MANIFEST, {**manifest, "files": files})
    return dest
