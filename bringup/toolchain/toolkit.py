"""What a CUDA toolkit is to the rest of the engine, and how its identity follows from the pins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from bringup.errors import ConfigError, TargetError
from bringup.model.toolchain import CudaRelease, DebSet, GccRelease, PinnedDeb, PinnedWheel, WheelSet
from bringup.toolchain.assemble import identity_of

Provider = Literal["system", "wheels", "debs"]
PROVIDERS: tuple[Provider, ...] = ("system", "wheels", "debs")

# Counted up when the same pins are laid out in another way, so that a toolkit of the older layout is made again.
LAYOUT = "1"

# What the compiler's own programs link to. Not the C library: theirs is the machine's, the one in the tree is only
# linked against.
GCC_OWN = (
    "libisl",
    "libmpc",
    "libmpfr",
    "libgmp",
    "libz",
    "libzstd",
    "libbfd",
    "libopcodes",
    "libctf",
    "libjansson",
    "libsframe",
)

Pin = TypeVar("Pin", PinnedWheel, PinnedDeb)


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolkit:
    """A CUDA toolkit that is there.

    Attributes:
        provider: where it came from.
        version: nvcc's version, "13.0.88".
        root: the folder to use as CUDA_HOME.
        nvcc: its compiler driver.
        identity: hash of what it is made of, the same wherever it lies.
    """

    provider: Provider
    version: str
    root: Path
    nvcc: Path
    identity: str


def plan_identity(release: CudaRelease, provider: Provider, groups: Iterable[str] = ()) -> str:
    """Return the identity that the toolkit of these pins will have, from the pins alone.

    Raises:
        TargetError: the release cannot be had that way.
        ConfigError: a group is not known.
        ValueError: for `system`, whose identity is that of its files.
    """
    if provider == "wheels":
        wheels = wheel_set(release)
        return pins_identity("wheels", selected(wheels.packages, groups, release, provider), wheels.root)
    if provider == "debs":
        debs = deb_set(release)
        chosen = selected(debs.packages, groups, release, provider, debs.included)
        return pins_identity("debs", chosen, *sorted(debs.drop))
    msg = "the identity of an installed toolkit is that of its files: see cuda_system.find_system"
    raise ValueError(msg)


def pins_identity(kind: str, pins: Sequence[PinnedWheel] | Sequence[PinnedDeb], *more: str) -> str:
    """Return the hash over pins in any order."""
    return identity_of(kind, LAYOUT, *more, *sorted(f"{pin.name}={pin.version}={pin.sha256}" for pin in pins))


def selected(
    packages: Sequence[Pin],
    groups: Iterable[str],
    release: CudaRelease,
    provider: Provider,
    included: Iterable[str] = (),
) -> list[Pin]:
    """Return the pins that are always taken and those of the groups.

    Raises:
        ConfigError: a group is not known.
    """
    wanted = set(groups) - set(included)
    known = {pin.group for pin in packages if pin.group}
    if wanted - known:
        unknown = ", ".join(repr(name) for name in sorted(wanted - known))
        has = ", ".join(sorted(known | set(included)))
        msg = f"toolchains/cuda/{release.version}.toml: [providers.{provider}] has no group {unknown}; it has: {has}"
        raise ConfigError(msg)
    return [pin for pin in packages if not pin.group or pin.group in wanted]


def wheel_set(release: CudaRelease) -> WheelSet:
    """Return the pins of the `wheels` provider, or raise TargetError with the reason why there are none."""
    if release.providers.wheels is None:
        raise absent(release, "wheels")
    return release.providers.wheels


def deb_set(release: CudaRelease) -> DebSet:
    """Return the pins of the `debs` provider, or raise TargetError with the reason why there are none."""
    if release.providers.debs is None:
        raise absent(release, "debs")
    return release.providers.debs


def absent(release: CudaRelease, provider: Provider) -> TargetError:
    """Return the error for a provider that a release does not have."""
    why = release.providers.absent.get(provider, "no pins are known")
    possible = [name for name in PROVIDERS if getattr(release.providers, name) is not None]
    msg = f"CUDA {release.version} cannot be had with --toolkit {provider}: {why}"
    return TargetError(msg, hint=f"possible for CUDA {release.version}: --toolkit {' or '.join(possible)}")


def gcc_identity(release: GccRelease) -> str:
    """Return the identity that the unpacked compiler will have, from the pins alone."""
    return pins_identity("gcc", release.debs.packages, *sorted(release.debs.drop), *GCC_OWN)
