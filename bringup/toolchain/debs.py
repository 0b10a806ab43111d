"""Debian packages unpacked together into one folder, as toolchains/*.toml pins them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bringup.formats.deb import unpack_deb
from bringup.model.toolchain import DebSet, PinnedDeb
from bringup.system.apt import fetch_debs
from bringup.system.apt_sources import DebianMirror
from bringup.system.download import OnBytes
from bringup.system.downloads import DownloadCache
from bringup.system.fs import storage_errors
from bringup.system.spent import spent_on

# Never of use in a toolchain: manuals, translations, package checks.
SHARED = ("usr/share/*", "etc/*", "var/*")


def unpack_debs(
    debs: DebSet,
    packages: Sequence[PinnedDeb],
    root: Path,
    *,
    cache: DownloadCache,
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> None:
    """Fetch packages and unpack below `root` what the set does not drop.

    Raises:
        TargetError: no mirror is known.
        FetchError: a package is missing, gone from the mirror or damaged.
        StorageError: disk full or no permission.
    """
    keep = kept(debs.drop)
    files = fetch_debs(packages, debs.suite, cache, mirror=mirror, offline=offline, on_bytes=on_bytes)
    for file in files:
        with spent_on("unpack"):
            unpack_deb(file, root, keep=keep)


def kept(drop: Sequence[str]) -> Callable[[str], bool]:
    """Return the test for names that are kept; in globs `*` also matches slashes."""
    pattern = re.compile("|".join(fnmatch.translate(glob) for glob in (*SHARED, *drop)))
    return lambda name: pattern.match(name) is None


def remove_dangling(folder: Path) -> None:
    """Remove links whose target was not unpacked, so that no build takes them for a library."""
    with storage_errors(folder, every=True):
        for base, folders, names in os.walk(folder):
            for name in (*folders, *names):
                path = Path(base, name)
                if path.is_symlink() and not path.exists():
                    path.unlink()
