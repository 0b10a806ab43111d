"""Phase fetch: every source of a package is in the cache, checked. No other phase of a package uses the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bringup.context import Context, Outcome
from bringup.errors import FetchError
from bringup.model.hooks import Progress
from bringup.model.plan import Package, Step
from bringup.model.source import DebianSource, DebSource, GitSource, SdistSource, SimpleSource, UrlSource, WheelSource
from bringup.planning.sources import single_sources
from bringup.system.apt import fetch_deb, fetch_debian_source
from bringup.system.apt_sources import find_mirror
from bringup.system.download import Wanted
from bringup.system.git import fetch_source
from bringup.system.gitcommand import GitAccess
from bringup.system.pypi import fetch_index_file

MIB = 1 << 20


def run(package: Package, step: Step, ctx: Context) -> Outcome:
    """Fetch all sources of `package`.

    Raises:
        FetchError: something did not arrive or is not what the recipe says.
        StorageError: disk full or no permission.
    """
    outputs = []
    sources = {source: name for name, source in all_sources(package)}  # parts may share an archive
    for index, (source, name) in enumerate(sources.items()):
        ctx.reporter.progress(step, Progress(done=index, total=len(sources), now=name))
        outputs.append(fetch_one(package, source, step, ctx))
    return Outcome(note=_note(package, outputs), outputs=tuple(outputs))


def all_sources(package: Package) -> Iterator[tuple[str, SimpleSource]]:
    """Yield the sources of a package with names for people: parts of an assembled tree, extras handed over."""
    return single_sources(package.name, package.source, package.extras)


def fetch_one(package: Package, source: SimpleSource, step: Step, ctx: Context) -> Path:
    """Fetch one source and return the file, or the git mirror that holds its commit."""
    on_bytes = ctx.bytes_progress(step)
    offline, cache = ctx.request.offline, ctx.downloads
    mirror = find_mirror(ctx.request.debian_mirror) if ctx.request.debian_mirror else None
    match source:
        case GitSource():
            return fetch_source(source, access=git_access(ctx, step))
        case SdistSource() | WheelSource():
            version = source.version or package.version
            return fetch_index_file(source.project, version, source.sha256, cache, offline=offline, on_bytes=on_bytes)
        case DebSource():
            return fetch_deb(source, cache, mirror=mirror, offline=offline, on_bytes=on_bytes)
        case DebianSource():
            return fetch_debian_source(source, cache, mirror=mirror, offline=offline, on_bytes=on_bytes)
        case UrlSource():
            name = source.url.rpartition("/")[2]
            wanted = Wanted(url=source.url, sha256=source.sha256, filename=name, size=source.size)
            return cache.obtain(wanted, offline=offline, on_bytes=on_bytes)
    msg = f"{package.name}: no way to fetch {type(source).__name__}"
    raise FetchError(msg)


def git_access(ctx: Context, step: Step) -> GitAccess:
    """Return how git repositories are reached in this run."""
    return GitAccess(
        mirrors=ctx.layout.cache / "git",
        env=ctx.env,
        rewrites=ctx.request.mirrors,
        offline=ctx.request.offline,
        log=ctx.layout.log(step.id),
        message=ctx.reporter.line,
    )


def _note(package: Package, outputs: list[Path]) -> str:
    if not outputs:
        return "made of what it needs"
    files = [path for path in outputs if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    kind = msgspec.to_builtins(package.source).get("kind", "")
    more = f", {size / MIB:.1f} MiB" if size else ""
    return f"{kind}{more}" if len(outputs) == 1 else f"{len(outputs)} sources{more}"
