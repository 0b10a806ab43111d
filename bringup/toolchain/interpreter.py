"""What a Python for the target is, and where one is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bringup.model.toolchain import PinnedDeb, PythonRelease
from bringup.system.downloads import DownloadCache
from bringup.toolchain.facts import FactCache
from bringup.toolchain.toolkit import pins_identity

if TYPE_CHECKING:
    from bringup.system.apt_sources import DebianMirror
    from bringup.system.download import OnBytes

PythonProvider = Literal["system", "uv", "debs"]
# Counted up when the same packages are laid out in another way.
PYTHON_LAYOUT = "2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python that virtual environments are made from.

    Attributes:
        provider: where it came from.
        version: full version, "3.11.7".
        executable: the program, never a shim or a virtual environment's link.
        include: folder that holds Python.h; None if the headers are not there.
        identity: hash of what it is, the same wherever it lies.
    """

    provider: PythonProvider
    version: str
    executable: Path
    include: Path | None
    identity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonPlaces:
    """Where interpreters are looked for, kept and fetched from.

    Attributes:
        dest_root: folder of assembled trees and of uv's interpreters.
        cache: downloads.
        facts: what is known about interpreters seen before.
        user_env: the user's environment, for PATH and pyenv.
        mirror: Debian mirror; that of the machine if None.
        offline: fetch nothing.
        on_bytes: told how many bytes have arrived.
    """

    dest_root: Path
    cache: DownloadCache
    facts: FactCache
    user_env: Mapping[str, str]
    mirror: DebianMirror | None = None
    offline: bool = False
    on_bytes: OnBytes | None = None


def python_identity(release: PythonRelease, *, headers: bool = True) -> str:
    """Return the identity of the unpacked interpreter, from the pins alone."""
    return pins_identity("python", python_debs(release, headers=headers), *sorted(release.debs.drop), PYTHON_LAYOUT)


def python_debs(release: PythonRelease, *, headers: bool = True) -> list[PinnedDeb]:
    """Return the packages that the unpacked interpreter is made of."""
    groups = {"", "dev"} if headers else {""}
    return [package for package in release.debs.packages if package.group in groups]
