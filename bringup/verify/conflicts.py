"""Requirements of installed distributions that their environment does not meet, as `pip check` finds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from bringup.formats.distribution_name import plain
from bringup.model.stack import Stack

_OF_EXTRA = re.compile(r""";.*\bextra\s*==\s*(['"])[^'"]+\1""", re.DOTALL)


def find_conflicts(site: Path, stack: Stack, *, theirs: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """Return conflicts that the stack chose (it overrides or excludes that distribution) and all others.

    Args:
        site: site-packages folder.
        stack: whose `requirements` say what was overridden or excluded, and why.
        theirs: distributions that a node brings along; their presence and versions are the node's affair.
    """
    versions: dict[str, str] = {}
    wants: list[tuple[str, Requirement]] = []
    for metadata in sorted(site.glob("*.dist-info/METADATA")):
        head = list(_fields(metadata.read_text(encoding="utf-8", errors="replace")))
        said = dict(reversed(head))  # the first of a name counts
        name = plain(said.get("name", ""))
        versions[name] = said.get("version", "")
        for text in [value for key, value in head if key == "requires-dist"]:
            # Nine of ten requirements are of extras, and reading them takes longest.
            if _OF_EXTRA.search(text) and " or " not in text:
                continue
            try:
                wants.append((name, Requirement(text)))
            except InvalidRequirement:
                continue
    marker_env: dict[str, str] = {**default_environment(), "extra": ""}  # type: ignore[dict-item]
    python = next((part for part in site.parts if part.startswith("python3.")), "python3.11").removeprefix("python")
    marker_env |= {"python_version": python, "python_full_version": f"{python}.0"}
    chosen_names, left_to_node = _chosen(stack), set(theirs)
    chosen, unexpected = [], []
    for name, want in wants:
        if want.marker is not None and not want.marker.evaluate(marker_env):
            continue
        problem = _problem(want, versions)
        if not problem:
            continue
        line = f"{name} {versions[name]} wants {want.name}{want.specifier or ''}, {problem}"
        other = plain(want.name)
        if other in left_to_node:
            chosen.append(f"{line}: PyTorch and its libraries are the node's own")
        elif other in chosen_names:
            why = stack.requirements.why.get(other, "") or stack.requirements.why.get(want.name, "")
            chosen.append(line + (f": {why}" if why else ""))
        else:
            unexpected.append(line)
    return chosen, unexpected


def _fields(metadata: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of the fields above the description, in order; a value may go on in indented lines."""
    name = value = ""
    for line in metadata.splitlines():
        if line.startswith((" ", "\t")):
            value += f" {line.strip()}"
            continue
        if name:
            yield name, value
        name, colon, value = line.partition(":")
        if not colon:
            return
        name, value = name.strip().lower(), value.strip()
    if name:
        yield name, value


def _chosen(stack: Stack) -> set[str]:
    lines = [*stack.requirements.overrides, *stack.requirements.exclude, *stack.requirements.why]
    return {plain(re.split(r"[\s\[<>=!~;@]", line, maxsplit=1)[0]) for line in lines}


def _problem(want: Requirement, versions: dict[str, str]) -> str:
    have = versions.get(plain(want.name))
    if have is None:
        return "which is not installed"
    try:
        fits = want.specifier.contains(Version(have), prereleases=True)
    except InvalidVersion:
        return f"and {have!r} is no version"
    return "" if fits else f"and {have} is installed"
