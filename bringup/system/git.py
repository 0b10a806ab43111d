"""Sources in git, as recipes name them: into the mirrors, out of the mirrors, and whether they can be had at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bringup.model.recipe import GitSource
from bringup.system.gitcommand import GitAccess
from bringup.system.gitmirror import (
    ResolvedCommit,
    fetch_commit,
    has_commit,
    mirror_path,
    probe,
    probe_all,
    resolve_tag,
)
from bringup.system.gittree import GitTree, Selection, checkout, fetch_tree

__all__ = [
    "GitAccess",
    "GitTree",
    "ResolvedCommit",
    "Selection",
    "checkout",
    "checkout_source",
    "fetch_commit",
    "fetch_source",
    "fetch_tree",
    "has_commit",
    "mirror_path",
    "probe",
    "probe_all",
    "probe_sources",
    "resolve_source",
    "resolve_tag",
]

UNRECORDED = "unrecorded"


def resolve_source(source: GitSource, *, access: GitAccess) -> GitTree:
    """Make sure that the mirrors hold a recipe's source with its submodules; return what exactly that is.

    Raises:
        FetchError: as `fetch_tree`.
    """
    selection = Selection(take=source.submodules, without=source.without)
    return fetch_tree(source.url, commit=_commit(source), tag=source.tag or None, selection=selection, access=access)


def fetch_source(source: GitSource, *, access: GitAccess) -> Path:
    """Make sure that the mirrors hold a recipe's source with its submodules; return the mirror of the source itself.

    Raises:
        FetchError: as `fetch_tree`.
    """
    return resolve_source(source, access=access).root.mirror


def checkout_source(source: GitSource, dest: Path, *, access: GitAccess) -> GitTree:
    """Write the tree of a recipe's source to `dest`, which is replaced; fetches what the mirrors lack.

    Raises:
        FetchError: as `fetch_tree` and `checkout`.
        StorageError: disk full or no permission.
    """
    tree = resolve_source(source, access=access)
    checkout(tree, dest, access=access)
    return tree


def probe_sources(sources: Sequence[GitSource], *, access: GitAccess, timeout: float = 5.0) -> None:
    """Check within seconds that the hosts of those sources answer that the cache does not hold yet.

    Raises:
        FetchError: names every host that is out of reach, and what to do without it.
    """
    urls = [
        source.url
        for source in sources
        if not has_commit(access, source.url, commit=_commit(source), tag=source.tag or None)
    ]
    if urls and not access.offline:
        probe_all(urls, access=access, timeout=timeout)


def _commit(source: GitSource) -> str | None:
    return None if source.commit == UNRECORDED else source.commit
