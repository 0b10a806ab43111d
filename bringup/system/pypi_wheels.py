"""The one wheel of each pinned project that fits a target, for bundles that carry files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from bringup.errors import FetchError
from bringup.system.download import Wanted
from bringup.system.environ import base_environment
from bringup.system.pypi import IndexFile, batches, look_up

# glibc of the oldest and newest systems that wheels are looked for; PEP 600 names a wheel after the glibc it needs.
GLIBC = range(39, 4, -1)
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedProject:
    """A project at an exact version.

    Attributes:
        name: project name.
        version: version.
        hashes: SHA-256 of the files that are allowed; any of the version's if empty.
    """

    name: str
    version: str
    hashes: frozenset[str] = frozenset()


def target_tags(python: str, machine: str, glibc: int = 39) -> list[Tag]:
    """Return the tags that fit, best first; `python` is "3.11", `glibc` the minor version on the target machine."""
    platforms = []
    for minor in GLIBC:
        if minor <= glibc:
            platforms.append(f"manylinux_2_{minor}_{machine}")
            if minor in LEGACY:
                platforms.append(f"{LEGACY[minor]}_{machine}")
    platforms.append(f"linux_{machine}")
    major, minor_version = (int(part) for part in python.split("."))
    return [
        *cpython_tags((major, minor_version), platforms=platforms),
        *compatible_tags((major, minor_version), f"cp{major}{minor_version}", platforms),
    ]


def locate_wheels(projects: Sequence[PinnedProject], tags: Sequence[Tag]) -> dict[str, Wanted]:
    """Return for each project the wheel that fits best.

    Raises:
        FetchError: no network, or a project has no wheel that fits; all of these are named.
    """
    rank = {tag: index for index, tag in enumerate(tags)}
    allowed = {str(canonicalize_name(project.name)): project for project in projects}
    best: dict[str, tuple[int, Wanted]] = {}
    files = [IndexFile(name=project.name, version=project.version, sha256="") for project in projects]
    for batch in batches(files):
        for sha256, url in look_up(batch, env=base_environment()):
            filename = unquote(urlsplit(url).path.rpartition("/")[2])
            found = _rank(filename, rank)
            if found is None:
                continue
            name, place = found
            project = allowed.get(name)
            if project is None or (project.hashes and sha256 not in project.hashes):
                continue
            if name not in best or place < best[name][0]:
                best[name] = (place, Wanted(url=url, sha256=sha256, filename=filename))
    missing = sorted(set(allowed) - set(best))
    if missing:
        msg = f"the package index has no wheel that fits the target for {', '.join(missing)}"
        raise FetchError(msg, hint="these releases exist as source only; pin others in the stack")
    return {name: wanted for name, (_, wanted) in best.items()}


def _rank(filename: str, rank: dict[Tag, int]) -> tuple[str, int] | None:
    try:
        name, _, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    places = [rank[tag] for tag in _known(tags, rank)]
    return (str(name), min(places)) if places else None


def _known(tags: Iterable[Tag], rank: dict[Tag, int]) -> list[Tag]:
    return [tag for tag in tags if tag in rank]
