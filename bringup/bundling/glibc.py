"""The lowest C library that runs what is in a bundle: of Debian's packages, of published wheels, of our own wheels."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bringup.context import Context
from bringup.environment import our_wheels, site_packages
from bringup.formats.wheel_installed import record_of_installed
from bringup.formats.wheel_name import WheelName
from bringup.verify.installed import is_library, read_libraries
from bringup.verify.linkage import highest_glibc

# PEP 600 names the C library; the names before it stand for one (PEP 513, 571, 599).
MANYLINUX = re.compile(r"manylinux_2_(\d+)_")
LEGACY = {"manylinux1_": 5, "manylinux2010_": 12, "manylinux2014_": 17}


def highest(versions: Iterable[str]) -> str:
    """Return the highest of some versions as "2.36"; "" ones do not count."""
    return max((one for one in versions if one), key=lambda text: tuple(map(int, text.split("."))), default="")


def glibc_of_wheel(filename: str) -> str:
    """Return the C library that a wheel's name asks for, the lowest of its tags; "" if it names none."""
    found = []
    for platform in WheelName.parse(filename).platforms:
        match = MANYLINUX.match(platform)
        old = [minor for prefix, minor in LEGACY.items() if platform.startswith(prefix)]
        found += [int(match[1])] if match else old
    return f"2.{min(found)}" if found else ""


def glibc_of_ours(ctx: Context) -> str:
    """Return the C library that the libraries in our own wheels want, read from them where they are installed.

    Raises:
        InstallError: a wheel of ours is missing or not installed.
    """
    site = site_packages(ctx.layout.environment(ctx.plan.environment))
    found = []
    for group in our_wheels(ctx).values():
        for wheel in group:
            files = record_of_installed(site, WheelName.parse(wheel.name).distribution)
            libraries, _ = read_libraries((site / name for name in files if is_library(name)), symbols=False)
            found.append(highest_glibc(libraries)[0])
    return highest(found)
