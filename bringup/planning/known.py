"""What a plan is made from besides requests and data: the toolchain, and what is already there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bringup.planning.fingerprint import Identities


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A part of the toolchain as it is found or would be made.

    Attributes:
        identity: content identity, independent of where it is.
        ready: it is there.
        why: where it is, or how it would be had; for people.
        download_mib: what it would fetch.
        disk_mib: what it would take.
    """

    identity: str
    ready: bool
    why: str
    download_mib: int = 0
    disk_mib: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """The toolchain that a plan is made with."""

    python: Tool
    cuda: Tool
    gcc: Tool

    @property
    def identities(self) -> Identities:
        """The parts by content."""
        return Identities(python=self.python.identity, cuda=self.cuda.identity, gcc=self.gcc.identity)


class State(Protocol):
    """What is already there, as a plan needs to know it."""

    def wheel(self, fingerprint: str) -> tuple[bool, str]:
        """Tell whether a store has the wheels of this fingerprint, and where, or what is wrong with them."""

    def interface(self, fingerprint: str) -> str:
        """Return the hash of the binary interface of the wheels of this fingerprint; "" if it is not known."""

    def changed_headers(self, fingerprint: str) -> Mapping[str, str]:
        """Return the machine's headers that went into the wheels of this fingerprint and are others now, by hash."""

    def last_build(self, package: str) -> tuple[Mapping[str, Any], float] | None:
        """Return inputs and wall seconds of the newest build of a package, if there is one."""

    def done(self, step_id: str, fingerprint: str) -> bool:
        """Tell whether this step was finished with this fingerprint and its result is still there."""
