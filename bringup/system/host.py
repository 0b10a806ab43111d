"""Facts about this machine that decide what can run here."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from bringup.errors import TargetError
from bringup.system.apt_sources import os_release

__all__ = ["distribution", "glibc_version", "machine", "os_release", "require_glibc"]


def machine() -> str:
    """Return the CPU architecture, "x86_64" or "aarch64"."""
    return platform.machine()


def distribution(root: Path = Path("/")) -> str:
    """Return the release of the distribution, "debian-12"; "" if /etc/os-release does not say."""
    fields = os_release(root)
    name, version = fields.get("ID", ""), fields.get("VERSION_ID", "")
    return f"{name}-{version}" if name and version else ""


def glibc_version() -> tuple[int, int]:
    """Return the version of the C library, (0, 0) if it is not GNU's."""
    try:
        words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        return (0, 0)
    return parse_version(words[1]) if len(words) == 2 and words[0] == "glibc" else (0, 0)


def require_glibc(lowest: str, what: str) -> None:
    """Check that programs built for a C library run here.

    Raises:
        TargetError: this machine's is older or another one; the message names both.
    """
    if not lowest:
        return
    have = glibc_version()
    if machine() != "x86_64":
        msg = f"{what} is for x86_64, and this machine is {machine()}"
        raise TargetError(msg)
    if have < parse_version(lowest):
        here = f"glibc {have[0]}.{have[1]}" if have != (0, 0) else "another C library"
        msg = f"{what} needs glibc {lowest} or newer, and this machine has {here}"
        raise TargetError(msg, hint="install it from this distribution instead")


def parse_version(text: str) -> tuple[int, int]:
    """Return major and minor number of a version."""
    major, _, minor = text.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)
