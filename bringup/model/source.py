"""Where a package comes from: the `sources` of a recipe."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bringup.model.base import Commit, Name, Sha256, Table


class GitSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="git"):
    """A commit of a git repository.

    Attributes:
        url: clone address.
        tag: release tag; fetched where the server refuses commits by hash, and checked against `commit`; "" if the
            commit stands at no tag.
        commit: full hash; "unrecorded" makes the first fetch record it.
        submodules: paths (globs) of submodules to take, nested ones below them included; none if empty.
        without: paths (globs) of submodules to leave out of those.
        subdirectory: folder of the package in the repository.
    """

    url: str
    commit: Commit
    tag: str = ""
    submodules: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    subdirectory: str = ""


class SdistSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="sdist"):
    """A source distribution of the package index, by name, version and hash.

    Attributes:
        project: project name on the index.
        version: exact version; the recipe's version if "".
        sha256: hash of the archive.
        size: bytes of the archive, for estimates.
        subdirectory: folder of the package in the archive.
    """

    project: str
    sha256: Sha256
    version: str = ""
    size: int = 0
    subdirectory: str = ""


class WheelSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="wheel"):
    """A published wheel. Without patches it is installed as the lock pins it; with patches it is repacked.

    Attributes:
        project: project name on the index.
        version: exact version; the recipe's version if "".
        sha256: hash of the cp311 / x86_64 file.
        size: bytes of the file.
    """

    project: str
    sha256: Sha256
    version: str = ""
    size: int = 0


class DebianSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="debian-source"):
    """One file of a Debian source package, for example the upstream archive that Debian keeps.

    Attributes:
        package: source package name.
        version: full Debian version.
        suite: Debian release.
        file: file name.
        sha256: its hash.
        size: bytes of the file.
        component: archive area.
        strip: leading path components to remove when unpacking.
    """

    package: str
    version: str
    suite: Name
    file: str
    sha256: Sha256
    size: int = 0
    component: str = "main"
    strip: int = 1


class DebSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="deb"):
    """A Debian binary package, unpacked.

    Attributes:
        package: binary package name.
        version: full Debian version.
        suite: Debian release.
        sha256: hash of the file.
        size: bytes of the file, for estimates.
        component: archive area.
    """

    package: str
    version: str
    suite: Name
    sha256: Sha256
    size: int = 0
    component: str = "main"


class UrlSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="url"):
    """A file at an address, by hash.

    Attributes:
        url: address.
        sha256: hash of the file.
        size: bytes.
        strip: leading path components to remove when unpacking.
    """

    url: str
    sha256: Sha256
    size: int = 0
    strip: int = 1


class OwnSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="recipe"):
    """No source of its own: the hook makes the wheel out of what the package needs.

    Attributes:
        why: what it is made of.
    """

    why: str


SimpleSource = GitSource | SdistSource | WheelSource | DebianSource | DebSource | UrlSource


class Part(Table, frozen=True, kw_only=True):
    """One piece of an assembled tree.

    Attributes:
        source: where it comes from.
        into: folder of the tree it goes to, "" is the root; the file's new path where `pick` is a file.
        pick: only what is below this folder of the source, without that prefix, or only this file; a link stands for
            what it leads to.
        rpath: where a library that `pick` names looks for those it needs, `$ORIGIN` for the folder it is in: a library
            of a distribution's package expects them in the system's folders.
        why: which commit upstream pinned and why this stands in for it.
    """

    source: SimpleSource
    into: str = ""
    pick: str = ""
    rpath: str = ""
    why: str = ""


class AssembledSource(Table, frozen=True, kw_only=True, tag_field="kind", tag="assembled"):
    """A tree put together from several sources: an archive without its submodules, refilled.

    Attributes:
        parts: the pieces, unpacked in this order.
        empty: folders to create empty, where a build only tests for them.
    """

    parts: Annotated[tuple[Part, ...], msgspec.Meta(min_length=1)]
    empty: tuple[str, ...] = ()


Source = GitSource | SdistSource | WheelSource | DebianSource | DebSource | UrlSource | AssembledSource | OwnSource
