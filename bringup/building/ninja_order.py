"""Starts long compile units first: a build.ninja is rewritten so that ninja takes them before all others.

Of the units that are ready, ninja takes the one that stands first in its file (ninja 1.11 and 1.13: an edge's number is
its place). Durations in `.ninja_log` do not change that: they serve the estimate of the time that is left.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bringup.errors import ConfigError
from bringup.model.base import Table
from bringup.system.fs import write_atomic

MARK = "# Moved here by bringup: units that take long come first."
POOL = "bringup_giants"
_BUILD = re.compile(r"^build ((?:\$.|[^ :$])+)", re.MULTILINE)


class UnitCosts(Table, frozen=True, kw_only=True):
    """The file recipes/units/<name>.toml of a package that ninja builds.

    Attributes:
        units: object file as build.ninja names it (or a pattern with `*`), CPU seconds, peak memory in MiB.
        giant_mib: units that take more share a pool, whose depth follows from the memory to use.
        others_seconds: CPU seconds of an edge that is not among `units`, on average.
    """

    units: tuple[tuple[str, int, int], ...]
    giant_mib: int
    others_seconds: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordered:
    """What was moved.

    Attributes:
        units: units that now come first.
        giants: how many of them take much memory.
        depth: how many of the giants may run at the same time; 0 if there are none.
    """

    units: int
    giants: int
    depth: int


def read_costs(path: Path) -> UnitCosts:
    """Read a file of unit costs.

    Raises:
        ConfigError: it is not of that form; names file and key.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=UnitCosts)
    except msgspec.MsgspecError as exc:
        msg = f"{path}: {exc}"
        raise ConfigError(msg) from exc


def long_units_first(build_ninja: Path, costs: UnitCosts, *, memory_bytes: int) -> Ordered | None:
    """Rewrite a build.ninja; None if that was done before.

    Args:
        build_ninja: the file, as CMake writes it.
        costs: what units cost.
        memory_bytes: memory to use; the giants that run at a time may take half of it.
    """
    text = build_ninja.read_text()
    if MARK in text:
        return None
    lines = text.splitlines(keepends=True)
    found: list[tuple[int, int, str]] = []
    rest: list[str] = []
    first = None
    for block, output in _blocks(lines):
        if output and first is None:
            first = len(rest)
        cost = _cost(output, costs.units) if output else None
        if cost is None:
            rest += block
        else:
            found.append((*cost, "".join(block)))
    if not found:
        return None
    giants = [memory for _, memory, _ in found if memory > costs.giant_mib]
    depth = max(1, (memory_bytes >> 21) // max(giants)) if giants else 0
    moved = "".join(
        text.rstrip("\n") + (f"\n  pool = {POOL}\n\n" if memory > costs.giant_mib else "\n\n")
        for _, memory, text in sorted(found, key=lambda one: -one[0])
    )
    pool = f"pool {POOL}\n  depth = {depth}\n\n" if giants else ""
    rest.insert(first or 0, f"{MARK}\n{pool}{moved}")
    write_atomic(build_ninja, "".join(rest))
    return Ordered(units=len(found), giants=len(giants), depth=depth)


def units_of(text: str, costs: UnitCosts) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the units of known cost in the text of a build.ninja: object file, CPU seconds and MiB."""
    for found in _BUILD.finditer(text):
        cost = _cost(found[1], costs.units)
        if cost is not None:
            yield found[1], cost


def _blocks(lines: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the lines of each build statement with its first output, and other lines one by one with ""."""
    index = 0
    while index < len(lines):
        match = _BUILD.match(lines[index])
        end = index + 1
        if match:
            while end < len(lines) and (lines[end].startswith("  ") or lines[end - 1].endswith("$\n")):
                end += 1
        yield list(lines[index:end]), match[1] if match else ""
        index = end


def _cost(output: str, units: Sequence[tuple[str, int, int]]) -> tuple[int, int] | None:
    for name, seconds, memory in units:
        if name == output or ("*" in name and fnmatch.fnmatchcase(output, name)):
            return seconds, memory
    return None
