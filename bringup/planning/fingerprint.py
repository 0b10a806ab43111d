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

# Topic of headers outside of sources and toolchain that are others than in the first build.
HEADERS = "headers of this machine"

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


def alias_inputs(inputs: Mapping[str, Any], interfaces: Mapping[str, str]) -> dict[str, Any] | None:
    """Return inputs in which packages that this one is built against stand with their binary interface.

    Args:
        inputs: of `build_inputs`.
        interfaces: hash of the binary interface by package, for those whose is known.

    Returns:
        None if none of the packages is among them: then there is no second way to find the wheel.
    """
    against = inputs.get("built against", {})
    if not any(interfaces.get(name) for name in against):
        return None
    seen = {name: f"interface {interfaces[name]}" if interfaces.get(name) else one for name, one in against.items()}
    return {**inputs, "built against": seen}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name the topics in which two inputs differ, for people; "" if they are equal."""
    return ", ".join(_topics(old, new))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what, before, now) for all that differs between two inputs; "" stands for nothing."""
    found: list[tuple[str, str, str]] = []
    for topic in _topics(old, new):
        before, now = old.get(topic), new.get(topic)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += [(f"{topic}: {key}", _text(before.get(key)), _text(now.get(key))) for key in {**before, **now}
                      if before.get(key) != now.get(key)]  # fmt: skip
        elif isinstance(before, (list, tuple)) and isinstance(now, (list, tuple)):
            gone, new_ones = [one for one in before if one not in now], [one for one in now if one not in before]
            found.append((topic, _text(gone or before), _text(new_ones or now)))
        else:
            found.append((topic, _text(before), _text(now)))
    return found


def _topics(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(one) for one in value)
    return "" if value is None else str(value)
