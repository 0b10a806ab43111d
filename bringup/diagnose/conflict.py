"""Which requirements exclude one another, from what pip and uv say about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST = 4
LONGEST = 4000
ONLY = "the only one that there is"

_NAME = r"(?<![\w.-])[A-Za-z][\w.-]{0,80}(?:\[[\w,-]{1,80}\])?"
_SPEC = r"[<>=!~][^\s,]{0,60}(?:, ?[<>=!~][^\s,]{0,60}){0,6}"
_WANTS = re.compile(
    rf"(?P<who>you|your \w+|[Tt]he user|{_NAME}(?: ?{_SPEC}| [\d][\w.+]*)?)"
    rf" (?P<verb>depends? on|requires?|requested|\(constraint\) requested|require) (?:\(constraint\) )?"
    rf"(?P<name>{_NAME}) ?(?P<spec>{_SPEC})"
)
_GONE = re.compile(
    rf"there (?:is|are) no versions? of (?P<name>{_NAME}) ?(?P<spec>{_SPEC})?"
    rf"|Because (?P<name2>{_NAME}) ?(?P<spec2>{_SPEC})? ?was not found"
)
_ONLY = re.compile(rf"only (?P<name>{_NAME})(?P<spec>==[^\s,]{{1,60}}) is available")
_WHEEL = re.compile(
    rf"(?P<name>{_NAME}(?:{_SPEC})?) has no (?:wheels|source distribution)[^,]{{0,60}}?"
    r"(?P<tag>\([^)]*\)|platform|ABI tag)"
)


def conflicts(core: str, after: Sequence[str]) -> list[str]:
    """Return which packages are wanted in versions that exclude one another, and by whom; empty if nothing says so."""
    text = re.sub(r"\s+", " ", " ".join((core, *after)))[:LONGEST]
    wants: dict[str, dict[str, str]] = {}
    for found in _WANTS.finditer(text):
        by = wants.setdefault(found["name"].lower().replace("_", "-"), {})
        by.setdefault(found["spec"].rstrip(".,"), found["who"])
    for found in _ONLY.finditer(text):
        if wants.get(found["name"].lower()):
            wants[found["name"].lower()].setdefault(found["spec"], ONLY)
    said = [_clash(name, by) for name, by in wants.items() if len(by) > 1]
    if not said:
        said = [_gone(found) for found in _GONE.finditer(text)][:1]
    said += [f"{found['name']} has no file for this Python or platform {found['tag']}: another Python (uv venv --python"
             " 3.11), another release, or build it from source" for found in _WHEEL.finditer(text)][:1]  # fmt: skip
    return said[:MOST]


def _clash(name: str, by: dict[str, str]) -> str:
    sides = " and ".join(f"{name}{spec} ({_who(who)})" for spec, who in list(by.items())[:3])
    return (
        f"{name} is wanted twice, in versions that exclude one another: {sides}: change or drop one of them, or take"
        " another release of what asks for it"
    )


def _who(who: str) -> str:
    if who == ONLY:
        return who
    return "your own requirement" if who.lower().startswith(("you", "the user")) else f"wanted by {who}"


def _gone(found: re.Match[str]) -> str:
    name = found["name"] or found["name2"]
    spec = (found["spec"] or found["spec2"] or "").rstrip(".,")
    return (
        f"the index has no {name}{spec}: pip index versions {name} shows what there is; correct the version, or add"
        " the index that has it"
    )
