"""The lock of a stack: every distribution with version, hashes and who asked for it.

The file is what `uv pip compile --generate-hashes` writes, under a header of ours. The `# via` comments are kept and
read, because they hold the dependency graph: what a build environment needs is found by following them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bringup.errors import ConfigError, StorageError
from bringup.formats.distribution_name import plain

SCHEMA = "1"
MAX_SHOWN = 20

_HEADER = re.compile(r"# (bringup-lock|stack|date|python|platform|inputs): (\S+)")
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[^\]]*\])?==(?P<version>[A-Za-z0-9.!+_-]+)"
    r"(?: ; (?P<marker>[^\\]+?))?(?P<more> \\)?"
)
_HASH = re.compile(r"    --hash=(sha256:[0-9a-f]{64})(?P<more> \\)?")
_VIA = re.compile(r"    #(?: via|  )(?: (?P<name>\S.*))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a lock was made from.

    Attributes:
        stack: name of the stack.
        date: day as of which it was resolved.
        python: minor version of Python it is for.
        platform: platform it is for, in uv's spelling.
        inputs: SHA-256 of everything that was resolved (`planning.locking.LockInputs.digest`).
    """

    stack: str
    date: str
    python: str
    platform: str
    inputs: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """One distribution of a lock.

    Attributes:
        name: normalised name.
        version: exact version.
        hashes: "sha256:<hex>" of every file of the release, for all platforms.
        via: names of the distributions that asked for it, and of input files ("-r build-flashinfer.in").
        marker: environment marker; "" if it always applies.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    via: tuple[str, ...] = ()
    marker: str = ""

    def text(self) -> str:
        """Return the pin as a requirements file spells it, without the comment."""
        head = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n".join([head, *(f"    --hash={one}" for one in self.hashes)]) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All pins of a stack.

    Attributes:
        path: the file.
        header: what it was made from.
        pins: by normalised name, in alphabetical order.
        children: for each name the distributions that it asked for.
    """

    path: Path
    header: Header
    pins: Mapping[str, Pin]
    children: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def closure(self, names: Iterable[str]) -> tuple[Pin, ...]:
        """Return the pins of these distributions and of everything that they depend on, in alphabetical order.

        Args:
            names: names or requirements ("setuptools>=77"); extras in them are not looked at.

        Raises:
            ConfigError: some are not in the lock, or of a version that is not asked for.
        """
        names = list(names)
        todo = [_name_of(name) for name in names]
        missing = sorted(set(todo) - set(self.pins))
        if missing:
            msg = f"{self.path.name} has no {', '.join(missing)}"
            raise ConfigError(msg, hint=self.remedy)
        from packaging.requirements import Requirement  # noqa: PLC0415 - a plan needs none, and it is slow to import

        for requirement in map(Requirement, names):
            version = self.pins[_name_of(requirement.name)].version
            if not requirement.specifier.contains(version, prereleases=True):
                msg = f"{self.path.name} pins {requirement.name} {version}, and a recipe wants {requirement}"
                raise ConfigError(msg, hint=self.remedy)
        found: set[str] = set()
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self.children.get(name, ())
        return tuple(pin for name, pin in self.pins.items() if name in found)

    def without(self, names: Iterable[str]) -> tuple[Pin, ...]:
        """Return all pins but those of these distributions: what is installed from the index beside our own wheels."""
        left_out = {_name_of(name) for name in names}
        return tuple(pin for name, pin in self.pins.items() if name not in left_out)

    def text(self, pins: Iterable[Pin] | None = None) -> str:
        """Return pins (all if None) as a requirements file for `uv pip install --no-deps --require-hashes -r`."""
        return "".join(pin.text() for pin in (self.pins.values() if pins is None else pins))

    @property
    def remedy(self) -> str:
        """The command that makes this lock anew."""
        return lock_command(self.header.stack)


def lock_command(stack: str) -> str:
    """Return the command that makes the lock of a stack."""
    return f"invoke lock --stack {stack}"


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        ConfigError: it is not what `invoke lock` writes; every line that is wrong is named.
        StorageError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        msg = f"{path.name} is not text: {exc}"
        raise ConfigError(msg, hint=lock_command(path.stem)) from exc
    except OSError as exc:
        msg = f"{path}: {exc.strerror or exc}"
        raise StorageError(msg, hint=lock_command(path.stem)) from exc
    return parse_lock(text, path)


def parse_lock(text: str, path: Path) -> Lock:
    """Parse the text of a lock file; see `read_lock`."""
    lines = text.split("\n")
    problems: list[str] = []
    header = _header(lines, problems)
    pins: dict[str, Pin] = {}
    for number, pin in _pins(lines, problems):
        if pin.name in pins:
            problems.append(f"line {number}: {pin.name} is pinned twice")
        if not pin.hashes:
            problems.append(f"line {number}: {pin.name} has no hash")
        pins[pin.name] = pin
    problems += [
        f"{pin.name} is wanted by {parent}, which is not in the lock"
        for pin in pins.values()
        for parent in pin.via
        if not parent.startswith("-") and parent not in pins
    ]
    if problems:
        shown = "\n".join(f"  {path.name}: {problem}" for problem in problems[:MAX_SHOWN])
        more = f"\n  ... and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        msg = f"{path.name} is not a lock as `invoke lock` writes it\n{shown}{more}"
        raise ConfigError(msg, hint=lock_command(path.stem))
    return Lock(path=path, header=header, pins=dict(sorted(pins.items())), children=_invert(pins))


def _header(lines: list[str], problems: list[str]) -> Header:
    values = {}
    for line in lines:
        if not line.startswith("#"):
            break
        match = _HEADER.fullmatch(line)
        if match:
            values[match[1]] = match[2]
    schema = values.pop("bringup-lock", "")
    if schema != SCHEMA:
        problems.append(f"the header says bringup-lock {schema or 'nothing'}; this version reads {SCHEMA}")
    missing = [name for name in Header.__dataclass_fields__ if name not in values]
    if missing:
        problems.append(f"the header does not say {', '.join(missing)}")
    return Header(**{name: values.get(name, "") for name in Header.__dataclass_fields__})


@dataclass(kw_only=True, slots=True)
class _Draft:
    """A pin while its lines are read; `open` as long as the line before ended in a backslash."""

    number: int
    name: str
    version: str
    marker: str
    open: bool
    hashes: list[str] = field(default_factory=list)
    via: list[str] = field(default_factory=list)

    def done(self) -> tuple[int, Pin]:
        return self.number, Pin(
            name=self.name,
            version=self.version,
            hashes=tuple(self.hashes),
            via=tuple(self.via),
            marker=self.marker,
        )


def _pins(lines: list[str], problems: list[str]) -> Iterator[tuple[int, Pin]]:
    draft: _Draft | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        start = _PIN.fullmatch(line)
        if start:
            if draft:
                yield _close(draft, problems)
            name = plain(start["name"])
            marker = start["marker"] or ""
            draft = _Draft(number=number, name=name, version=start["version"], marker=marker, open=bool(start["more"]))
        elif draft is None or not _continue(draft, line):
            problems.append(f"line {number}: {line.strip()[:80]!r} is neither a pin, a hash nor a comment on one")
    if draft:
        yield _close(draft, problems)


def _continue(draft: _Draft, line: str) -> bool:
    """Take a line that belongs to the pin before it; tell whether it did."""
    found = _HASH.fullmatch(line)
    if found and draft.open:
        draft.hashes.append(found[1])
        draft.open = bool(found["more"])
        return True
    via = _VIA.fullmatch(line)
    if via and not draft.open:
        if via["name"]:
            draft.via.append(via["name"] if via["name"].startswith("-") else plain(via["name"]))
        return True
    return False


def _close(draft: _Draft, problems: list[str]) -> tuple[int, Pin]:
    if draft.open:
        problems.append(f"line {draft.number}: {draft.name} ends in the middle")
    return draft.done()


def _invert(pins: Mapping[str, Pin]) -> dict[str, tuple[str, ...]]:
    children: dict[str, list[str]] = {}
    for pin in pins.values():
        for parent in pin.via:
            children.setdefault(parent, []).append(pin.name)
    return {parent: tuple(names) for parent, names in children.items()}


def _name_of(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - see `needed_by`

    try:
        return plain(Requirement(text).name)
    except InvalidRequirement as exc:
        msg = f"{text!r} is not a requirement: {exc}"
        raise ConfigError(msg) from exc
