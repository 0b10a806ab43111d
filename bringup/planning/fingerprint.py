"""Fingerprints: a hash over all that can change a result, kept with its inputs, so that a difference has a name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bringup.model.plan import Package, Target

# Raised when the way wheels are made changes, so that older ones are not taken for what this version would build.
LAYOUT = 1

# Keys of a source that say where it is, how big or why, not what it is.
_NOT_CONTENT = ("size", "tag", "why")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """A hash and what went into it.

    Attributes:
        value: 32 hex digits.
        inputs: JSON values by topic; equal inputs give equal values.
    """

    value: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identities:
    """What the toolchain of a target is, by content.

    Attributes:
        python: minor version and build of the interpreter.
        cuda: toolkit.
        gcc: host compiler.
    """

    python: str
    cuda: str
    gcc: str


def fingerprint(inputs: Mapping[str, Any]) -> Fingerprint:
    """Hash JSON values; the order of keys does not matter."""
    plain = msgspec.to_builtins(inputs)
    text = msgspec.json.encode(plain, order="sorted")
    return Fingerprint(value=hashlib.sha256(text).hexdigest()[:32], inputs=plain)


def source_inputs(package: Package) -> dict[str, Any]:
    """Return what says which source this is: hashes and commits, not addresses' spelling or sizes."""

    def content(source: Any) -> Any:
        return _strip(msgspec.to_builtins(source))

    return {
        "source": content(package.source),
        "extras": {name: content(source) for name, source in package.extras.items()},
        "patches": [patch.sha256 for patch in package.patches],
    }


def _strip(data: Any) -> Any:
    if isinstance(data, dict):
        # Where only a tag is known, the tag says what the source is.
        unsure = data.get("commit") == "unrecorded"
        return {
            key: _strip(value) for key, value in data.items() if key not in _NOT_CONTENT or (unsure and key == "tag")
        }
    if isinstance(data, (list, tuple)):
        return [_strip(value) for value in data]
    return data


def build_inputs(
    package: Package,
    target: Target,
    *,
    tools: Identities,
    arch: Mapping[str, str],
    requires: Sequence[str],
    against: Mapping[str, str],
    hook: Sequence[str],
) -> dict[str, Any]:
    """Return what a wheel of this package depends on.

    Args:
        package: the resolved package.
        target: what it is built for.
        tools: the toolchain by content.
        arch: arch list by consumer.
        requires: pins of the build environment, "name==version sha256:...".
        against: for each package it is built against, that one's fingerprint or pin.
        hook: hashes of the hook's files, in order.
    """
    build = package.build
    inputs: dict[str, Any] = {
        "layout": LAYOUT,
        "package": f"{package.distribution} {package.version}",
        **source_inputs(package),
        "backend": build.backend,
        "platform": target.platform_tag,
        "label": build.local,
    }
    if build.backend == "repack":
        return inputs
    inputs |= {
        "environment variables": dict(build.env),
        "build settings": dict(build.config_settings),
        "variant": package.variant,
        "options": dict(package.options),
        "hook": list(hook),
        "python": tools.python,
        "build requirements": list(requires),
        "built against": dict(against),
        "host compiler": tools.gcc,
    }
    if build.cuda:
        consumers = {"torch", "flashinfer", "cmake", package.name} & set(arch)
        inputs["toolkit"] = tools.cuda
        inputs["arch list"] = {name: arch[name] for name in sorted(consumers)}
    return inputs


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name the topics in which two inputs differ, for people; "" if they are equal."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(names)
