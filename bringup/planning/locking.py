"""What `invoke lock` resolves, and whether a lock still fits its stack. Pure: the resolving itself is system.uv's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from bringup.config.lockfile import SCHEMA, Lock, lock_command
from bringup.config.variants import features, variant_requires
from bringup.errors import ConfigError
from bringup.model.recipe import Overlay, Recipe, Version
from bringup.model.source import OwnSource, WheelSource
from bringup.model.stack import Stack, StackPackage

# SGLang's wheels since 0.5.11 ask for glibc 2.34, which Debian 12, Ubuntu 22.04 and RHEL 9 have.
PLATFORM = "x86_64-manylinux_2_34"
OVERRIDES = "overrides.in"
NEVER = 'sys_platform == "never"'
MAX_CHANGES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class LockInputs:
    """Everything that decides what a lock holds.

    Attributes:
        stack: name of the stack.
        date: day as of which it is resolved; files published later do not exist.
        python: minor version of the target's Python.
        platform: platform in uv's spelling.
        requirements: requirement lines by input file; the names appear in the lock's `# via` comments.
        overrides: requirements that win over what packages ask for, exclusions among them.
    """

    stack: str
    date: str
    python: str
    platform: str
    requirements: Mapping[str, tuple[str, ...]]
    overrides: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, independent of the order in files."""
        data = {
            "date": self.date,
            "python": self.python,
            "platform": self.platform,
            "requirements": {name: sorted(lines) for name, lines in self.requirements.items()},
            "overrides": sorted(self.overrides),
        }
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    @property
    def before(self) -> str:
        """First moment that is too late, in UTC: uv would take a bare day in the time zone of the machine."""
        day = date.fromisoformat(self.date) + timedelta(days=1)
        return f"{day.isoformat()}T00:00:00Z"

    def files(self) -> dict[str, str]:
        """Return the input files by name, overrides included."""
        texts = {name: _lines(lines) for name, lines in self.requirements.items()}
        return {**texts, OVERRIDES: _lines(self.overrides)}


def lock_inputs(stack: Stack, recipes: Mapping[str, Recipe]) -> LockInputs:
    """Return what the lock of a stack is resolved from.

    Roots are the packages at their versions, the stack's own roots, and for each package that is built the
    requirements of its build under every condition that stack and version leave open (GPU and CUDA are not known to
    a lock).
    """
    requirements: dict[str, tuple[str, ...]] = {
        "packages.in": tuple(
            _package_pin(recipes[name], choice)
            for name, choice in stack.packages.items()
            if not isinstance(_version(recipes[name], choice).sources[choice.source], OwnSource)
        ),
        "stack.in": stack.requirements.roots,
    }
    for name, choice in stack.packages.items():
        build = tuple(dict.fromkeys(_build_requires(recipes[name], choice)))
        if build:
            requirements[f"build-{name}.in"] = build
    excluded = tuple(f"{name} ; {NEVER}" for name in stack.requirements.exclude)
    return LockInputs(
        stack=stack.name,
        date=stack.date,
        python=stack.python,
        platform=PLATFORM,
        requirements={name: lines for name, lines in requirements.items() if lines},
        overrides=(*stack.requirements.overrides, *excluded),
    )


def render_lock(inputs: LockInputs, resolved: str) -> str:
    """Return the text of the lock file: our header over what uv resolved."""
    header = (
        f"# bringup-lock: {SCHEMA}",
        f"# stack: {inputs.stack}",
        f"# date: {inputs.date}",
        f"# python: {inputs.python}",
        f"# platform: {inputs.platform}",
        f"# inputs: {inputs.digest}",
        f"# Made by `{lock_command(inputs.stack)}`; do not edit. The inputs are recipes/stacks/{inputs.stack}.toml and",
        "# the versions and build requirements of its recipes; their hash above tells when this file is out of date.",
    )
    return _lines(header) + resolved


def check_lock(lock: Lock, inputs: LockInputs) -> None:
    """Check that a lock was made from what the data files say now.

    Raises:
        ConfigError: it is older; the message names what differs as far as the lock tells, the hint the command.
    """
    if lock.header.inputs == inputs.digest and lock.header.stack == inputs.stack:
        return
    changes = list(_changes(lock, inputs)) or ["build requirements or overrides"]
    more = f"; and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
    listed = "; ".join(changes[:MAX_CHANGES]) + more
    msg = f"{lock.path.name} is older than stack {inputs.stack} and its recipes: {listed}"
    raise ConfigError(msg, hint=lock_command(inputs.stack))


def _changes(lock: Lock, inputs: LockInputs) -> Iterator[str]:
    header = lock.header
    for key in ("stack", "date", "python", "platform"):
        there, wanted = getattr(header, key), getattr(inputs, key)
        if there != wanted:
            yield f"{key} is {wanted} and was {there}"
    lines = [line for group in inputs.requirements.values() for line in group]
    for line in dict.fromkeys([*lines, *(one for one in inputs.overrides if not one.endswith(NEVER))]):
        wanted_one = Requirement(line)
        pin = lock.pins.get(canonicalize_name(wanted_one.name))
        if pin is None:
            yield f"{line} is not in it"
        elif not wanted_one.specifier.contains(pin.version, prereleases=True):
            yield f"it has {pin.name} {pin.version}, wanted is {line}"
    for one in inputs.overrides:
        name = canonicalize_name(Requirement(one).name)
        if one.endswith(NEVER) and name in lock.pins:
            yield f"it has {name}, which the stack leaves out"


def _package_pin(recipe: Recipe, choice: StackPackage) -> str:
    return f"{_version(recipe, choice).distribution or recipe.distribution}=={choice.version}"


def _version(recipe: Recipe, choice: StackPackage) -> Version:
    return next(one for one in recipe.versions if one.version == choice.version)


def _build_requires(recipe: Recipe, choice: StackPackage) -> Iterator[str]:
    if isinstance(_version(recipe, choice).sources[choice.source], WheelSource):
        return  # installed as it is, or packed again after patching, which needs nothing
    yield from recipe.build.requires
    variants = _possible_variants(recipe, choice)
    for name in variants:
        yield from variant_requires(recipe, name)
    for overlay in recipe.when:
        if _may_apply(overlay, choice, {one for name in variants for one in features(recipe, name)}):
            yield from overlay.requires


def _possible_variants(recipe: Recipe, choice: StackPackage) -> list[str]:
    """Return the variant of the stack, and those it falls back to where tools are missing."""
    names: list[str] = []
    name = choice.variant or next(iter(recipe.variants), "")
    while name and name not in names:
        names.append(name)
        name = recipe.variants[name].fallback if name in recipe.variants else ""
    return names


def _may_apply(overlay: Overlay, choice: StackPackage, variants: set[str]) -> bool:
    return (
        SpecifierSet(overlay.version).contains(choice.version, prereleases=True)
        and (not overlay.sources or choice.source in overlay.sources)
        and (not overlay.variants or bool(set(overlay.variants) & variants))
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
