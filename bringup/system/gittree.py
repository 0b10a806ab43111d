"""Source trees out of mirrors: a commit with its submodules, nested ones included, at the commits it records."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from bringup.errors import FetchError
from bringup.system.fs import storage_errors
from bringup.system.gitcommand import GitAccess, check_space, git, git_environment, last_words, locked
from bringup.system.gitmirror import ResolvedCommit, fetch_commit, forget, has_commit, missing_offline
from bringup.system.giturl import is_local, redact, resolve_relative

PARALLEL_FETCHES = 4
_GITLINK = re.compile(r"^160000 commit ([0-9a-f]{40,64})\t(.+)$")
_SETTING = re.compile(r"^submodule\.(.*)\.(path|url|update)=(.*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which submodules to take; patterns are globs on paths from the root of the tree.

    Attributes:
        take: patterns of submodules to take, with all that are nested in them; None takes every one.
        without: patterns of submodules to leave out of those, with all that are nested in them.
        recursive: take nested submodules too.
    """

    take: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    recursive: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Submodule:
    """A submodule as its parent's commit records it.

    Attributes:
        path: where it goes, from the root of the tree.
        url: its address, relative ones resolved; empty if .gitmodules has none.
        commit: the commit recorded in the parent.
    """

    path: str
    url: str
    commit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GitTree:
    """A source tree that the mirrors hold completely.

    Attributes:
        root: the commit of the repository itself.
        submodules: path and commit of each submodule that belongs to the tree, sorted by path.
        digest: SHA-256 over the tree ids of all of them; equal exactly for equal content.
    """

    root: ResolvedCommit
    submodules: tuple[tuple[str, ResolvedCommit], ...]
    digest: str


def fetch_tree(
    url: str, *, commit: str | None, tag: str | None = None, selection: Selection, access: GitAccess
) -> GitTree:
    """Make sure that the mirrors hold a commit and the selected submodules, level by level.

    Raises:
        FetchError: as `fetch_commit`; a pattern that matches no submodule; offline: all that is missing at once.
    """
    root = fetch_commit(url, commit=commit, tag=tag, access=access)
    taken: list[tuple[str, ResolvedCommit]] = []
    seen: list[str] = []
    level = [("", url, root)]
    while level:
        wanted = [
            sub
            for path, base, at in level
            for sub in _selected(access, at, path=path, base=base, selection=selection, seen=seen)
        ]
        if access.offline:
            _check_offline(access, wanted)
        with ThreadPoolExecutor(max_workers=PARALLEL_FETCHES) as pool:
            commits = list(pool.map(lambda sub: fetch_commit(sub.url, commit=sub.commit, access=access), wanted))
        found = list(zip(wanted, commits, strict=True))
        taken += [(sub.path, at) for sub, at in found]
        level = [(sub.path, sub.url, at) for sub, at in found] if selection.recursive else []
    _check_patterns(redact(url), selection, seen)
    taken.sort(key=lambda pair: pair[0])
    lines = [f"{path}\t{at.tree}\n" for path, at in [("", root), *taken]]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return GitTree(root=root, submodules=tuple(taken), digest=digest)


def _check_offline(access: GitAccess, wanted: Sequence[Submodule]) -> None:
    missing = [sub for sub in wanted if not has_commit(access, sub.url, commit=sub.commit)]
    if missing:
        raise missing_offline([f"{redact(sub.url)} {sub.commit} (submodule {sub.path})" for sub in missing])


def _selected(
    access: GitAccess, at: ResolvedCommit, *, path: str, base: str, selection: Selection, seen: list[str]
) -> Iterator[Submodule]:
    """Yield the submodules of one repository that the selection wants; note the paths of all in `seen`."""
    if not path and selection.take == () and not selection.without:
        return
    for sub in list_submodules(access, at, base=base, prefix=path):
        seen.append(sub.path)
        if not _wanted(sub.path, selection):
            continue
        if not sub.url:
            msg = f"{at.url} at {at.commit}: submodule {sub.path} has no address in .gitmodules"
            raise FetchError(msg, hint="leave it out in the recipe: without = [...]")
        if is_local(sub.url) and not is_local(base):
            msg = f"{at.url}: submodule {sub.path} points into this machine's file system ({redact(sub.url)})"
            raise FetchError(msg, hint="leave it out in the recipe: without = [...]")
        yield sub


def _wanted(path: str, selection: Selection) -> bool:
    taken = selection.take is None or _matches(path, selection.take)
    return taken and not _matches(path, selection.without)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """Tell whether a pattern matches the path or a folder above it, so that what is nested goes with its parent."""
    folders = [path, *(str(parent) for parent in PurePosixPath(path).parents)]
    return any(fnmatchcase(folder, pattern) for folder in folders for pattern in patterns if folder != ".")


def _check_patterns(shown: str, selection: Selection, seen: Sequence[str]) -> None:
    for pattern in [*(selection.take or ()), *selection.without]:
        if not any(_matches(path, (pattern,)) for path in seen):
            known = ", ".join(sorted(seen)) or "none at all"
            msg = f"{shown}: the pattern {pattern!r} matches no submodule; there are: {known}"
            raise FetchError(msg, hint="correct the pattern in the recipe")


def list_submodules(access: GitAccess, at: ResolvedCommit, *, base: str, prefix: str = "") -> list[Submodule]:
    """Return the submodules that a commit records, with relative addresses resolved against `base`.

    Submodules that upstream switches off (`update = none`) are left out, as git does.

    Raises:
        FetchError: the mirror is damaged, or a path that no sound repository has.
    """
    status, lines = git(access, at.mirror, "ls-tree", "-r", at.commit, log=False)
    if status != 0:
        raise _damaged(access, at.mirror, lines)
    links = [found.groups() for line in lines if (found := _GITLINK.match(line))]
    if not links:
        return []
    settings: dict[str, dict[str, str]] = {}
    status, lines = git(access, at.mirror, "config", f"--blob={at.commit}:.gitmodules", "--list", log=False)
    for line in lines if status == 0 else ():
        if found := _SETTING.match(line):
            settings.setdefault(found[1], {})[found[2]] = found[3]
    by_path = {entry["path"].rstrip("/"): entry for entry in settings.values() if "path" in entry}
    subs = []
    for commit, path in links:
        if path.startswith('"'):
            msg = f"{at.url}: submodule path {path} has characters that are not supported"
            raise FetchError(msg)
        entry = by_path.get(path, {})
        if entry.get("update") != "none":
            url = resolve_relative(base, entry["url"]) if entry.get("url") else ""
            subs.append(Submodule(path=str(PurePosixPath(prefix, path)), url=url, commit=commit))
    return subs


def checkout(tree: GitTree, dest: Path, *, access: GitAccess) -> None:
    """Write the files of a tree to `dest`, which is replaced; without any .git folder.

    Made beside its place and renamed when complete.

    Raises:
        FetchError: a mirror is damaged; it is removed, so that the next fetch makes it anew.
        StorageError: disk full or no permission.
    """
    with storage_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        for old in dest.parent.glob(f".{dest.name}.git-*"):
            shutil.rmtree(old)
        fresh = Path(tempfile.mkdtemp(prefix=f".{dest.name}.git-", dir=dest.parent))
        try:
            place = fresh / "tree"
            for path, at in [("", tree.root), *tree.submodules]:
                _write(access, at, place / path)
            if dest.is_dir():
                dest.rename(fresh / "old")
            place.rename(dest)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _write(access: GitAccess, at: ResolvedCommit, place: Path) -> None:
    """Write the files of one commit into `place`, through an index of our own."""
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bringup-index-", dir=place.parent) as folder:
        env = git_environment(access.env) | {"GIT_INDEX_FILE": str(Path(folder, "index")), "GIT_WORK_TREE": str(place)}
        with locked(access, at.mirror, shared=True) as lock:
            lines: list[str] = []
            for words in (("read-tree", at.commit), ("checkout-index", "--all", "--force", "--quiet")):
                status, lines = git(access, at.mirror, *words, env=env, cwd=place, pass_fds=(lock,))
                if status != 0:
                    break
            else:
                return
    check_space(lines, place)
    raise _damaged(access, at.mirror, lines)


def _damaged(access: GitAccess, mirror: Path, lines: Sequence[str]) -> FetchError:
    forget(access, mirror)
    msg = f"the mirror {mirror} was damaged and has been removed: {last_words(lines)}"
    return FetchError(msg, hint="run the same command again; it is fetched anew", log=os.fspath(access.log or ""))
