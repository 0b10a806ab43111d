"""Whether files hold the GPU code that was promised for them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bringup.errors import ConfigError
from bringup.formats.elf import ElfError
from bringup.formats.fatbin import DeviceCode, describe, device_code, summarise
from bringup.model.verify import Check, Status

# Opens a file of a package by its name inside; the path is good while the context lasts.
Opener = Callable[[str], AbstractContextManager[Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeCode:
    """What was promised for some files of a wheel.

    Attributes:
        glob: path pattern inside the wheel; `*` stops at slashes, `**/` does not.
        archs: machine code of which each file must hold at least one: ("sm_90a", "sm_90").
        exempt: these files are known not to hold it.
        why: reason of an exemption.
    """

    glob: str
    archs: tuple[str, ...] = ()
    exempt: bool = False
    why: str = ""


def native_archs(arch: str, code: Literal["exact", "any"] = "exact") -> tuple[str, ...]:
    """Return the machine code that counts for a target such as "sm_90a".

    "any" adds what runs on it by the rules of CUDA's binary compatibility: the same family ("f") and plain code of
    the same major version and no higher minor version (CUDA C++ Programming Guide, 5.8.1 and 5.8.3).
    """
    match = re.fullmatch(r"sm_(\d+)(\d)([af]?)", arch)
    if code == "exact" or match is None:
        return (arch,)
    major, minor = int(match[1]), int(match[2])
    family = [f"sm_{major}{low}f" for low in range(minor, -1, -1)] if major >= 10 else []
    plain = [f"sm_{major}{low}" for low in range(minor, -1, -1)]
    return tuple(dict.fromkeys([arch, *family, *plain]))


def matches(pattern: str, path: str) -> bool:
    """Whether a path with slashes matches a glob with `*`, `?`, `[...]`, `[!...]` and `**/`.

    Raises:
        ConfigError: the glob has a set that is none, "[z-a]".
    """
    return _compiled(pattern).fullmatch(path) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern):
        if part[:1] == "[" and part[-1] == "]":
            inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
            regex += f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
        else:
            regex += known.get(part) or re.escape(part)
    try:
        return re.compile(regex)
    except re.error as exc:
        msg = f"glob {pattern!r} cannot be used: {exc}"
        raise ConfigError(msg) from exc


def check_native_code(distribution: str, rules: Sequence[NativeCode], files: Iterable[str], opener: Opener) -> Check:
    """Check the promised GPU code of one package.

    Args:
        distribution: named in the check's id.
        rules: the promises.
        files: names of all files of the package, with slashes.
        opener: gives the path to read a file at.
    """
    names = sorted(files)
    exempt = {name: rule for rule in rules if rule.exempt for name in names if matches(rule.glob, name)}
    problems = [
        f"no file matches {rule.glob}, for which {_wanted(rule)} was promised"
        for rule in rules
        if not any(matches(rule.glob, name) for name in names)
    ]
    seen: dict[str, dict[str, dict[str, int]]] = {}
    codes: dict[str, tuple[DeviceCode, ...]] = {}
    for rule in rules:
        for name in names:
            if rule.exempt or name in exempt or not matches(rule.glob, name):
                continue
            try:
                if name not in codes:
                    with opener(name) as path:
                        codes[name] = device_code(path)
                    seen[name] = summarise(codes[name])
            except ElfError as exc:
                problems.append(exc.message)
                continue
            if not set(rule.archs) & set(seen[name]["cubin"]):
                problems.append(f"{name} holds {describe(codes[name])}, not the machine code promised, {_wanted(rule)}")
    evidence: dict[str, Any] = {
        "files": seen,
        "promised": {rule.glob: list(rule.archs) for rule in rules if not rule.exempt},
        "exempt": {name: rule.why for name, rule in exempt.items()},
    }
    return Check(
        id=f"static.native-code.{distribution}",
        status=Status.FAIL if problems else Status.OK,
        why=shorten(problems) if problems else _summary(seen, exempt),
        evidence=evidence | ({"problems": problems} if problems else {}),
    )


def _wanted(rule: NativeCode) -> str:
    return " or ".join(rule.archs) or ("an exemption" if rule.exempt else "no architecture")


def _summary(seen: dict[str, dict[str, dict[str, int]]], exempt: dict[str, NativeCode]) -> str:
    archs = sorted({arch for summary in seen.values() for arch in summary["cubin"]}, key=lambda arch: (len(arch), arch))
    text = f"{len(seen)} files hold the machine code promised ({', '.join(archs) or 'none'} are in)"
    reasons = "; ".join(sorted({rule.why or "no reason given" for rule in exempt.values()}))
    return text + (f"; {len(exempt)} exempt: {reasons}" if exempt else "")


def shorten(problems: Sequence[str], most: int = 3) -> str:
    """Join sentences, the first few in full and the rest as a number."""
    more = len(problems) - most
    return "; ".join(problems[:most]) + (f"; and {more} more" if more > 0 else "")
