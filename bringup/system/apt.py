"""Debian packages by name, version and hash, from the machine's own mirror or a named one.

One way for all machines: our own reader of the mirror instead of apt. It leaves the system's package lists alone, needs
neither root nor a private state directory (`apt-get update` alone reads ten times what is wanted), and works on other
distributions. Signatures are not checked; the SHA-256 that our data pins is, and that is the stronger promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bringup.errors import FetchError
from bringup.model.source import DebianSource, DebSource
from bringup.model.toolchain import PinnedDeb
from bringup.system.apt_sources import DebianMirror, describe, find_mirror
from bringup.system.debian_index import IndexEntry, read_packages, read_sources
from bringup.system.download import GoneError, OnBytes, Wanted, WrongFileError
from bringup.system.downloads import DownloadCache, missing_offline, obtain_all

__all__ = ["DebianMirror", "fetch_deb", "fetch_debian_source", "fetch_debs", "find_mirror"]


def fetch_debs(
    packages: Sequence[PinnedDeb],
    suite: str,
    cache: DownloadCache,
    *,
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> list[Path]:
    """Return the files of binary packages in the order given; the mirror is looked up only if one is missing.

    Args:
        packages: what is wanted.
        suite: Debian release they were pinned in.
        cache: downloads.
        mirror: where from; that of the machine if None.
        offline: fetch nothing.
        on_bytes: told how many bytes have arrived.

    Raises:
        TargetError: no mirror is known.
        FetchError: no network, missing offline, gone from the mirror, or another hash.
        StorageError: disk full or no permission.
    """
    by_hash = {package.sha256: package for package in packages}

    def find(missing: set[str]) -> list[Wanted]:
        source = mirror or find_mirror()
        wanted = [by_hash[sha256] for sha256 in sorted(missing)]
        paths = {package.sha256: package.path for package in wanted if package.path}
        unknown = [package for package in wanted if not package.path]
        paths |= _paths_in_index(unknown, suite, source)
        return [_wanted(source, paths[package.sha256], package.sha256, package.size) for package in wanted]

    names = [(package.sha256, f"{package.name} {package.version}") for package in by_hash.values()]
    try:
        with _another_mirror(mirror):
            files = obtain_all(cache, names, find, offline=offline, on_bytes=on_bytes)
    except GoneError:
        # The index names what the mirror has instead, or where the file went.
        source = mirror or find_mirror()
        missing = [package for package in by_hash.values() if cache.get(package.sha256) is None]
        moved = _paths_in_index(missing, suite, source)
        files = obtain_all(
            cache,
            names,
            lambda hashes: [_wanted(source, moved[sha256], sha256, by_hash[sha256].size) for sha256 in hashes],
            on_bytes=on_bytes,
        )
    return [files[package.sha256] for package in packages]


def fetch_deb(
    deb: DebSource,
    cache: DownloadCache,
    *,
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Return one binary package that a recipe names. Raises as `fetch_debs` does."""
    pin = PinnedDeb(name=deb.package, version=deb.version, sha256=deb.sha256, size=deb.size, component=deb.component)
    return fetch_debs([pin], deb.suite, cache, mirror=mirror, offline=offline, on_bytes=on_bytes)[0]


def fetch_debian_source(
    source: DebianSource,
    cache: DownloadCache,
    *,
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Return one file of a source package: from its place in the pool, else from where the index says it is.

    Raises:
        TargetError: no mirror is known.
        FetchError: no network, missing offline, gone from the mirror, or another hash.
        StorageError: disk full or no permission.
    """
    known = cache.get(source.sha256, check=True)
    if known is not None:
        return known
    if offline:
        raise missing_offline(source.file, source.sha256, cache.root)
    place = mirror or find_mirror()
    with _another_mirror(place):
        return _debian_source(source, place, cache, on_bytes)


def _debian_source(source: DebianSource, place: DebianMirror, cache: DownloadCache, on_bytes: OnBytes | None) -> Path:
    try:
        path = f"pool/{source.component}/{pool_folder(source.package)}/{source.file}"
        return cache.obtain(_wanted(place, path, source.sha256, source.size), on_bytes=on_bytes)
    except GoneError:
        entries = _search(read_sources, place, source.suite, source.component, [source.package])
    for entry in entries:
        if entry.sha256 == source.sha256:
            return cache.obtain(_wanted(place, entry.path, source.sha256, source.size), on_bytes=on_bytes)
    what = f"{source.file} of {source.package} {source.version}"
    raise _gone(what, source.suite, entries, place)


@contextmanager
def _another_mirror(mirror: DebianMirror | None) -> Iterator[None]:
    """Name the mirror whose file is not the pinned one, and the flag for another."""
    try:
        yield
    except WrongFileError as exc:
        place = describe(mirror or find_mirror())
        exc.hint = f"the mirror was {place}; name another one with --debian-mirror URL ({exc.hint})"
        raise


def pool_folder(package: str) -> str:
    """Return the folder of a source package in a pool, "libx/libxml2" or "g/gcc-12" (Debian's archive layout)."""
    return f"{package[:4] if package.startswith('lib') else package[:1]}/{package}"


def _paths_in_index(packages: Sequence[PinnedDeb], suite: str, mirror: DebianMirror) -> dict[str, str]:
    paths: dict[str, str] = {}
    for component in sorted({package.component for package in packages}):
        wanted = [package for package in packages if package.component == component]
        entries = _search(read_packages, mirror, suite, component, [package.name for package in wanted])
        found = {entry.sha256: entry.path for entry in entries}
        for package in wanted:
            if package.sha256 not in found:
                has = [entry for entry in entries if entry.package == package.name]
                what = f"{package.name} {package.version}"
                raise _gone(what, suite, has, mirror)
            paths[package.sha256] = found[package.sha256]
    return paths


def _search(
    read: Callable[..., list[IndexEntry]], mirror: DebianMirror, suite: str, component: str, names: Sequence[str]
) -> list[IndexEntry]:
    """Look in a suite and in its updates."""
    return [
        entry
        for name in (suite, f"{suite}-updates")
        for entry in read(mirror.url, name, component, names, proxy=mirror.proxy)
    ]


def _wanted(mirror: DebianMirror, path: str, sha256: str, size: int) -> Wanted:
    # A version may hold '~' and '+', which mirrors take as they are; ':' never is in a file name.
    return Wanted(
        url=f"{mirror.url}/{path}", sha256=sha256, filename=path.rpartition("/")[2], size=size, proxy=mirror.proxy
    )


def _gone(what: str, suite: str, entries: Sequence[IndexEntry], mirror: DebianMirror) -> FetchError:
    has = ", ".join(sorted({entry.version for entry in entries})) or "no version of it"
    msg = (
        f"{what} is not (or no longer, with the pinned hash) on the mirror {describe(mirror)}; {suite} there has {has}"
    )
    return FetchError(msg, hint="name a mirror that keeps older versions with --debian-mirror URL, or update the pin")
