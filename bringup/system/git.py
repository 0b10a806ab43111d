"""Sources in git, as recipes name them: into the mirrors, out of the mirrors, and whether they can be had at all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bringup.errors import FetchError
from bringup.model.source import GitSource
from bringup.system.gitcommand import GitAccess, last_words, remote
from bringup.system.gitmirror import ResolvedCommit, fetch_commit, has_commit, mirror_path, reach_hint, resolve_tag
from bringup.system.gittree import GitTree, Selection, checkout, fetch_tree
from bringup.system.giturl import host_of, redact, rewrite

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


def probe(url: str, *, access: GitAccess, timeout: float = 5.0) -> None:
    """Check within `timeout` seconds that the server of `url` answers git.

    Raises:
        FetchError: it does not; the message names the host and why, the hint how to do without.
    """
    where = rewrite(url, access.rewrites)
    host = host_of(where) or where
    try:
        status, lines = remote(access, None, url, "ls-remote", "{url}", "HEAD", timeout=timeout)
        reason = last_words(lines)
    except FetchError:
        status, reason = 1, f"no answer within {timeout:g} s"
    if status != 0:
        msg = f"{redact(host)} is out of reach: {reason} (needed for {redact(url)})"
        raise FetchError(msg, hint=reach_hint(host_of(where)), log=str(access.log or ""))


def probe_all(urls: Sequence[str], *, access: GitAccess, timeout: float = 5.0) -> None:
    """Probe one address of each host, all at the same time.

    Raises:
        FetchError: names every host that is out of reach.
    """
    by_host = {host_of(rewrite(url, access.rewrites)) or rewrite(url, access.rewrites): url for url in urls}
    found: list[FetchError] = []

    def ask(url: str) -> None:
        try:
            probe(url, access=access, timeout=timeout)
        except FetchError as exc:
            found.append(exc)

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(ask, by_host.values()))
    if found:
        found.sort(key=lambda error: error.message)
        raise FetchError("\n".join(error.message for error in found), hint=found[0].hint, log=str(access.log or ""))


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
