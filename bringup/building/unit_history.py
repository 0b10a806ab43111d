"""What compilers took: the records that launchers leave, and the predictions they go by the next time."""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from bringup.building.ninja_order import read_costs
from bringup.errors import ConfigError
from bringup.system.fs import write_atomic

KEPT = 3
SIZE_LIMIT = 32 << 20
_ROW = struct.Struct("=QII")


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One line of build/<target>/units.jsonl: one run of one compiler.

    Attributes:
        key: package, source and output, relative to the package's folder, with hashes in paths as "#".
        lang: "c", "c++", "cuda" or "link".
        start: seconds since 1970 when the compiler was started.
        wall: seconds it ran.
        cpu: user and system seconds of it and all that it started.
        rss_kib: peak resident memory: of its largest process, or of all its processes as sampled four times a second.
        need_mib: memory that was reserved for it.
        wait: seconds it waited before.
        why: what for: "jobs", "memory", "pressure" (of memory), "alone" (another ran alone), "order"; "" if it did not.
        exit: exit status; -1 for a signal.
        signal: signal that ended it; 0 for none.
        attempt: 2 where the first was killed for memory.
        slot: place in the table of launchers; two units with the same slot never ran at the same time.
        running: compilers that ran when it was done, itself included.
        pid: process of the launcher.
        run: of which build, "<seconds since 1970>-<process>".
    """

    key: str
    lang: str
    start: float
    wall: float
    cpu: float
    rss_kib: int
    need_mib: int
    wait: float
    why: str
    exit: int
    signal: int
    attempt: int
    slot: int
    running: int
    pid: int
    run: str = ""

    @property
    def package(self) -> str:
        """The package that it belongs to."""
        return self.key.partition("|")[0]

    @property
    def name(self) -> str:
        """The source file's name, or what was linked."""
        _, source, output = self.key.split("|", 2)
        return (source or output).rpartition("/")[2]


def read_units(path: Path, *, run: str = "") -> Iterator[Unit]:
    """Yield the records of a file, of one run if named; a line that was cut off by a crash is passed over."""
    decoder = msgspec.json.Decoder(Unit)
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    with handle:
        for line in handle:
            try:
                unit = decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if (not run or unit.run == run) and unit.key.count("|") >= 2:
                yield unit


def totals(units: Sequence[Unit]) -> dict[str, float]:
    """Return how many units were compiled and what that took: seconds of processors and of waiting, MiB at most.

    `peak_mib` is the largest unit, `together_mib` those at the same time.
    """
    return {
        "count": sum(unit.attempt == 1 for unit in units),
        "compiled_again": sum(unit.attempt > 1 for unit in units),
        "cpu_seconds": round(sum(unit.cpu for unit in units), 1),
        "waited_seconds": round(sum(unit.wait for unit in units), 1),
        "peak_mib": max((unit.rss_kib >> 10 for unit in units), default=0),
        "together_mib": together_mib(units),
    }


def together_mib(units: Iterable[Unit]) -> int:
    """Return the most that units took at the same time, in MiB, had each been at its peak all along: an upper bound."""
    events = []
    for unit in units:
        events += [(unit.start, unit.rss_kib), (unit.start + unit.wall, -unit.rss_kib)]
    most = now = 0
    for _, change in sorted(events):  # at the same moment, what ends comes before what starts
        now += change
        most = max(most, now)
    return most >> 10


def key_hash(key: str) -> int:
    """Return FNV-1a of a key, as the launcher computes it."""
    value = 1469598103934665603
    for byte in key.encode():
        value = (value ^ byte) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
    return value


def predicted_mib(units: Iterable[Unit]) -> dict[str, int]:
    """Return what each key will take: the most of its last three runs and a little, or much if one was killed, more."""
    last: dict[str, list[Unit]] = {}
    for unit in units:
        last[unit.key] = [*last.get(unit.key, []), unit][-KEPT:]
    found = {}
    for key, runs in last.items():
        peak = max(unit.rss_kib * (1.05 if unit.exit == 0 else 1.25) for unit in runs)
        found[key] = int(peak / 1024) + 8
    return found


def write_history(path: Path, predicted: dict[str, int]) -> None:
    """Write predictions in the form launchers look them up: rows of hash and MiB, sorted."""
    rows = sorted((key_hash(key), mib) for key, mib in predicted.items())
    write_atomic(path, b"".join(_ROW.pack(key, mib, 0) for key, mib in rows))


def read_guesses(recipes: Path, packages: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return (package, MiB, pattern) of the recipes' tables of units, in the order in which they count.

    Args:
        recipes: the folder of recipes; a table is units/<package>.toml or <package>.units.toml.
        packages: recipe names.

    Raises:
        ConfigError: a table cannot be read; names file and key.
    """
    found = []
    for name in packages:
        path = recipes / "units" / f"{name}.toml"
        if path.exists():
            found += [(name, mib, pattern) for pattern, _, mib in read_costs(path).units]
        path = recipes / f"{name}.units.toml"
        if path.exists():
            try:
                rows = tomllib.loads(path.read_text())["unit"]
                found += [(name, int(row["memory_mib"]), str(row["source"])) for row in rows]
            except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as exc:
                raise ConfigError(f"{path}: {type(exc).__name__}: {exc}") from exc
    return found


def write_guesses(path: Path, guesses: Sequence[tuple[str, int, str]]) -> None:
    """Write guesses in the form launchers read them."""
    write_atomic(path, "".join(f"{mib} {package} {pattern}\n" for package, mib, pattern in guesses))


def shorten(path: Path) -> None:
    """Keep the last runs of each unit only, once the file has become long."""
    if not path.exists() or path.stat().st_size < SIZE_LIMIT:
        return
    last: dict[str, list[Unit]] = {}
    for unit in read_units(path):
        last[unit.key] = [*last.get(unit.key, []), unit][-KEPT:]
    kept = sorted((unit for runs in last.values() for unit in runs), key=lambda unit: unit.start)
    write_atomic(path, b"".join(msgspec.json.encode(unit) + b"\n" for unit in kept))
