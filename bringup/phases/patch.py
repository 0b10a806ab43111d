"""Phase patch: a clean source tree with the recipe's patches applied, made beside its place and renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bringup.context import Context, Outcome
from bringup.errors import PatchError
from bringup.formats.deb import unpack_deb
from bringup.formats.source_archive import unpack_archive
from bringup.formats.wheel import unpack_wheel
from bringup.model.plan import Package, Step
from bringup.model.source import (
    AssembledSource,
    DebSource,
    GitSource,
    OwnSource,
    Part,
    SdistSource,
    SimpleSource,
    Source,
    WheelSource,
)
from bringup.system.fs import make_dir, remove_tree, storage_errors
from bringup.system.git import checkout_source
from bringup.system.gitcommand import GitAccess
from bringup.system.patching import apply_series
from bringup.system.spent import spent_on
from bringup.toolchain.elf_rpath import set_rpath


def run(package: Package, step: Step, ctx: Context) -> Outcome:
    """Unpack the sources and apply the patches.

    Raises:
        FetchError: a source is not in the cache or an archive is damaged.
        PatchError: a patch does not apply, or a part that the recipe wants is not in its source.
        StorageError: disk full or no permission.
    """
    place = ctx.layout.source(package.name)
    make_dir(place.parent)
    fresh = place.with_name(f".source.new-{os.getpid()}")
    for old in [place, *place.parent.glob(".*.new-*")]:
        remove_tree(old)
    with storage_errors(fresh):
        _place(package, package.source, fresh, step, ctx)
        for name, source in package.extras.items():
            extra = extra_folder(ctx, package, name)
            remove_tree(extra)
            _place(package, source, extra, step, ctx)
        if package.patches:
            apply_series(fresh, [patch.path for patch in package.patches], env=ctx.env, log=ctx.layout.log(step.id))
        fresh.rename(place)
    count = len(package.patches)
    return Outcome(note=f"{count} patch{'es' if count != 1 else ''}" if count else "clean tree", outputs=(place,))


def extra_folder(ctx: Context, package: Package, name: str) -> Path:
    """Return where the source that is handed over as `name` lies."""
    return ctx.layout.work(package.name) / "extras" / name


def _place(package: Package, source: Source, dest: Path, step: Step, ctx: Context) -> None:
    if isinstance(source, OwnSource):
        make_dir(dest)
        return
    if not isinstance(source, AssembledSource):
        _place_simple(package, source, dest, step, ctx)
        return
    make_dir(dest)
    pieces: dict[SimpleSource, Path] = {}  # several parts may come from one archive
    try:
        for index, part in enumerate(source.parts):
            if part.source not in pieces:
                piece = dest.with_name(f".{dest.name}.part{index}.new-{os.getpid()}")
                remove_tree(piece)
                _place_simple(package, part.source, piece, step, ctx)
                pieces[part.source] = piece
            try:
                place_part(pieces[part.source], part, dest)
            except FileNotFoundError as exc:
                msg = f"{package.name}: parts[{index}] has no file or folder {part.pick!r}"
                hint = f"recipes/{package.name}.toml names it as `pick` of {part.into or 'the root'}"
                raise PatchError(msg, hint=hint) from exc
    finally:
        for piece in pieces.values():
            remove_tree(piece)
    for folder in source.empty:
        make_dir(dest / folder)


def place_part(piece: Path, part: Part, tree: Path) -> None:
    """Copy what a part wants of its unpacked source into the tree that is assembled.

    Raises:
        FileNotFoundError: the source has no such file or folder, or a link leads nowhere or outside of the source.
        PrepareError: a search path is asked for, and the file is no library that can take one.
    """
    inner = Path(os.path.realpath(piece / part.pick))
    if not inner.is_relative_to(os.path.realpath(piece)):
        raise FileNotFoundError(part.pick)
    if inner.is_dir():
        shutil.copytree(inner, tree / part.into, symlinks=True, dirs_exist_ok=True)
        return
    target = tree / part.into
    make_dir(target.parent)
    shutil.copy2(inner, target)
    if part.rpath:
        set_rpath(target, part.rpath)


def _place_simple(package: Package, source: SimpleSource, dest: Path, step: Step, ctx: Context) -> None:
    if isinstance(source, GitSource):
        access = GitAccess(
            mirrors=ctx.layout.cache / "git",
            env=ctx.env,
            rewrites=ctx.request.mirrors,
            offline=True,
            log=ctx.layout.log(step.id),
            message=ctx.reporter.line,
        )
        checkout_source(source, dest, access=access)
        return
    file = ctx.downloads.get(source.sha256)
    if file is None:
        msg = f"{package.name}: a source that was fetched before is no longer in {ctx.downloads.root}"
        raise PatchError(msg, hint="run the same command again; it is fetched anew")
    with spent_on("unpack"):
        if isinstance(source, WheelSource):
            unpack_wheel(file, dest)
        elif isinstance(source, DebSource):
            unpack_deb(file, dest)
        else:
            unpack_archive(file, dest, strip=1 if isinstance(source, SdistSource) else source.strip)
