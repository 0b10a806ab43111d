"""Names, versions and tags of wheels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.tags import parse_tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bringup.errors import ConfigError
from bringup.formats.archive import ArchiveError


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelName:
    """The parts of a wheel's file name.

    Attributes:
        distribution: normalised name, "flashinfer-jit-cache".
        version: as in the file name, "0.6.8.post1+cu130".
        build: build number, "" if there is none.
        tag: compressed tag set as in the file name, "py2.py3-none-any".
        filename: the whole name.
    """

    distribution: str
    version: str
    build: str
    tag: str
    filename: str

    @classmethod
    def parse(cls, filename: str) -> WheelName:
        """Return the parts of a wheel's file name.

        Raises:
            ArchiveError: this is no name of a wheel.
        """
        try:
            name, _, build, _ = parse_wheel_filename(filename)
        except ValueError as exc:
            msg = f"{filename}: not the name of a wheel: {exc}"
            raise ArchiveError(msg, hint="a wheel is called name-version-python-abi-platform.whl") from exc
        words = filename.removesuffix(".whl").split("-")
        return cls(
            distribution=str(name),
            version=words[1],
            build="".join(map(str, build)),
            tag="-".join(words[-3:]),
            filename=filename,
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The single tags, sorted: "py2-none-any", "py3-none-any"."""
        return expand_tag(self.tag)

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags, sorted: "linux_x86_64"."""
        return tuple(sorted(self.tag.rpartition("-")[2].split(".")))


def expand_tag(tag: str) -> tuple[str, ...]:
    """Return the single tags of a compressed tag set, sorted."""
    return tuple(sorted(str(one) for one in parse_tag(tag)))


def escape_name(name: str) -> str:
    """Return a distribution's name as file names of wheels spell it: flashinfer_jit_cache."""
    return re.sub(r"[-_.]+", "_", name).lower()


def same_name(one: str, other: str) -> bool:
    """Whether two names are of the same distribution."""
    return canonicalize_name(one) == canonicalize_name(other)


def same_version(one: str, other: str) -> bool:
    """Whether two versions are equal, local labels included; False if one is no version."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


def with_local(version: str, label: str) -> str:
    """Return `version` with one more local label: 1.0 -> 1.0+bringup1, 1.0+cu130 -> 1.0+cu130.bringup1.

    A label that is the last one already is not added again.

    Raises:
        ConfigError: the result would not be a version (PEP 440).
    """
    try:
        old = Version(version)
        wanted = Version(f"0+{label}").local if label else None
        if wanted is None or old.local == wanted or (old.local or "").endswith(f".{wanted}"):
            return str(old)
        return str(Version(f"{old.public}+{old.local}.{wanted}" if old.local else f"{old.public}+{wanted}"))
    except InvalidVersion as exc:
        msg = f"version {version!r} with local label {label!r} is not a valid version: {exc}"
        raise ConfigError(msg, hint="a local label is letters and digits, in groups separated by dots") from exc
