"""Applies a series of patches to a source tree: all of them, or none and the tree is as it was.

`git apply` works on copies of the touched files in a folder that is no repository, beside the tree. That the tree lies
inside some repository can therefore not make git skip files, as it silently does for paths outside its current folder.
Where there is no git, which a node of an air-gapped cluster may lack, the same is done without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import PatchError
from bringup.formats.patch import Change, PatchFile, read_patch
from bringup.formats.patch_apply import HunkMisfitError, apply_to_text
from bringup.system import process
from bringup.system.fs import storage_errors
from bringup.system.gitcommand import git_environment
from bringup.system.patch_failure import explain

_OFFSET = re.compile(r"^Hunk #(\d+) succeeded at (\d+) \((offset -?\d+ lines?)\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class AppliedPatch:
    """A patch that was applied.

    Attributes:
        name: file name of the patch.
        title: its title.
        files: paths that it changed.
        offsets: hunks that did not fit at the line they name but elsewhere: a sign that the patch wants a refresh.
    """

    name: str
    title: str
    files: tuple[str, ...]
    offsets: tuple[str, ...]


def apply_series(
    tree: Path, patches: Sequence[Path], *, env: Mapping[str, str], log: Path | None = None
) -> tuple[AppliedPatch, ...]:
    """Apply patches in order; paths in them are relative to `tree`, submodules' files included.

    Raises:
        PatchError: a patch is not sound or does not apply; names patch, file, hunk and the nearest reason.
        StorageError: disk full or no permission; the tree is as it was.
    """
    series = [(path, read_patch(path)) for path in patches]
    touched = sorted({name for _, patch in series for name in patch.paths})
    for path, patch in series:
        _refuse_symlinked_folders(tree, path, patch)
    with storage_errors(tree):
        scratch = Path(tempfile.mkdtemp(prefix=f".{tree.name}.patch-", dir=tree.parent))
        try:
            before, after = scratch / "before", scratch / "after"
            for folder in (before, after):
                folder.mkdir()
                _copy(tree, folder, touched)
            applied = tuple(_apply(path, patch, tree, after, env=env, log=log) for path, patch in series)
            _publish(before, after, tree, touched)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return applied


def _refuse_symlinked_folders(tree: Path, path: Path, patch: PatchFile) -> None:
    """Refuse to write through a link, which may lead out of the tree."""
    for name in patch.paths:
        for parent in list(Path(name).parents)[:-1]:
            if (tree / parent).is_symlink():
                msg = f"{path}: {name} lies behind the symbolic link {parent}"
                raise PatchError(msg, hint=f"patch the file itself: {os.readlink(tree / parent)}")  # noqa: PTH115


def _apply(
    path: Path, patch: PatchFile, tree: Path, work: Path, *, env: Mapping[str, str], log: Path | None
) -> AppliedPatch:
    lines: list[str] = []
    if shutil.which("git", path=env.get("PATH")):
        # Without a repository around it, git takes the work folder itself as the root of all paths.
        outside = git_environment(env) | {"GIT_CEILING_DIRECTORIES": str(work.parent.resolve())}
        done = process.run(
            ["git", "apply", "--verbose", "--whitespace=nowarn", path.absolute()],
            env=outside,
            cwd=work,
            log=log,
            check=False,
            error=PatchError,
            what=f"git apply {path.name}",
            on_line=lines.append,
        )
        failed = done.returncode != 0
    else:
        lines += apply_without_git(patch, work)
        failed = any(line.startswith("error: ") for line in lines)
    if failed:
        raise explain(path, patch, tree=tree, work=work, output=lines, log=log)
    offsets = tuple(found[0] for line in lines if (found := _OFFSET.match(line)))
    return AppliedPatch(name=path.name, title=patch.title, files=patch.paths, offsets=offsets)


def apply_without_git(patch: PatchFile, folder: Path) -> list[str]:
    """Apply `patch` to the files in `folder`; returns lines in the words of `git apply --verbose`.

    Modes and binary content are beyond it: such a patch is refused.
    """
    said: list[str] = []
    for file in patch.files:
        old, new = folder / file.old, folder / file.new
        if file.binary:
            return [*said, f"error: {file.new or file.old}: binary content can be patched with git only"]
        if file.old and not old.is_file():
            return [*said, f"error: {file.old}: No such file or directory"]
        if file.change is Change.ADD and new.exists():
            return [*said, f"error: {file.new}: already exists in working directory"]
        text = old.read_bytes().decode("utf-8", "surrogateescape") if file.old else ""
        try:
            after, moved = apply_to_text(text, file)
        except HunkMisfitError as misfit:
            return [*said, f"error: patch failed: {file.old or file.new}:{misfit.hunk.old_start}"]
        said += moved
        if file.new:
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(after.encode("utf-8", "surrogateescape"))
            if file.old and file.new != file.old:
                shutil.copymode(old, new)
        if file.change in (Change.DELETE, Change.RENAME):
            old.unlink()
    return said


def _copy(source: Path, dest: Path, names: Iterable[str]) -> None:
    for name in names:
        file = source / name
        if file.is_symlink() or file.is_file():
            (dest / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, dest / name, follow_symlinks=False)


def _publish(before: Path, after: Path, tree: Path, names: Sequence[str]) -> None:
    """Bring the patched files into the tree: written beside their places first, then all renamed."""
    staged = [(tree / name).with_name(f".{Path(name).name}.patched") for name in names]
    started: list[str] = []
    try:
        for name, fresh in zip(names, staged, strict=True):
            if os.path.lexists(after / name):
                fresh.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(after / name, fresh, follow_symlinks=False)
        for name, fresh in zip(names, staged, strict=True):
            if os.path.lexists(fresh):
                fresh.replace(tree / name)
            else:
                _remove(tree, name)
            started.append(name)
    except BaseException:
        for fresh in staged:
            fresh.unlink(missing_ok=True)
        for name in started:
            if not os.path.lexists(before / name):
                _remove(tree, name)
        _copy(before, tree, started)
        raise


def _remove(tree: Path, name: str) -> None:
    """Remove a file and the folders that become empty by it."""
    (tree / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for parent in list(Path(name).parents)[:-1]:
            (tree / parent).rmdir()
