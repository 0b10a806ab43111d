"""What verification found: checks, grouped in levels, with evidence. The shape of build/<target>/verify.json."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class LevelName(StrEnum):
    """Levels of verification, from cheap to complete; each one presumes those before it."""

    STATIC = "static"
    IMPORT = "import"
    TORCH = "torch"
    FLASHINFER = "flashinfer"
    SGLANG = "sglang"


class Status(StrEnum):
    """OK, FAIL, or SKIPPED because this machine cannot tell; SKIPPED is never OK."""

    OK = "OK"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question with its answer.

    Attributes:
        id: lasting name, `static.native-code.flashinfer-jit-cache`.
        status: the answer.
        why: one sentence a stranger understands; for FAIL it names the true cause and the file.
        required: a level is skipped when a required check was.
        evidence: what was seen, JSON values only.
    """

    id: str
    status: Status
    why: str
    required: bool = False
    evidence: dict[str, Any] = {}


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One level's outcome; FAIL if a check fails, SKIPPED if a required check was skipped."""

    level: LevelName
    status: Status
    why: str
    seconds: float
    warnings: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    evidence: dict[str, Any] = {}


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of verify.json."""

    schema: int = 1
    target: str
    stack: str
    date: str
    levels: tuple[Level, ...]


def level_from_checks(
    level: LevelName,
    checks: tuple[Check, ...],
    *,
    seconds: float,
    evidence: dict[str, Any] | None = None,
    warnings: tuple[str, ...] = (),
) -> Level:
    """Combine checks into a level: a failed check fails it, a skipped required one skips it."""
    failed = [check for check in checks if check.status is Status.FAIL]
    skipped = [check for check in checks if check.status is Status.SKIPPED and check.required]
    if failed:
        status, why = Status.FAIL, "; ".join(dict.fromkeys(check.why for check in failed))
    elif skipped:
        status, why = Status.SKIPPED, skipped[0].why
    elif not checks:
        status, why = Status.FAIL, "no check ran"
    else:
        status, why = Status.OK, f"{len(checks)} checks"
    return Level(
        level=level, status=status, why=why, seconds=seconds, checks=checks, evidence=evidence or {}, warnings=warnings
    )
