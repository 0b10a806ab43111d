"""The sources of a package one by one, and those whose commit nobody has recorded yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bringup.model.source import AssembledSource, GitSource, OwnSource, SimpleSource, Source


def single_sources(name: str, source: Source, extras: Mapping[str, Source]) -> Iterator[tuple[str, SimpleSource]]:
    """Yield sources with names for people: parts of an assembled tree by their folder, extras by their key."""
    for label, one in {name: source, **extras}.items():
        if isinstance(one, AssembledSource):
            for part in one.parts:
                yield part.into or label, part.source
        elif not isinstance(one, OwnSource):
            yield label, one


def unrecorded(name: str, version: str, source: Source, extras: Mapping[str, Source]) -> list[str]:
    """Return a warning for every source of which only a tag is known, wherever in the package it stands."""
    warnings = []
    for label, one in single_sources(name, source, extras):
        if isinstance(one, GitSource) and one.commit == "unrecorded":
            where = "" if label == name else f" of {label}"
            warnings.append(
                f"{name} {version}: no commit is recorded for tag {one.tag}{where}; "
                "the first fetch records it, and a tag that moves later is an error"
            )
    return warnings
