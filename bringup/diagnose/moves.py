"""The next move for the names in a failing line: which package has the header, what to link with, whom to upgrade."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bringup.diagnose.knowledge import Knowledge
from bringup.diagnose.mangle import demangled
from bringup.diagnose.supply import Supply
from bringup.diagnose.text import MAX_LINE
from bringup.model.knowledge import Kind, Mention, Provider

MOST = 3
ABOVE = 12
# Names of packages that are also words of messages.
_COMMON = frozenset(
    {"wheel", "packaging", "requests", "cuda", "file", "platform", "typing", "test", "token", "serial", "cmake"}
)
_DIST = r"(?P<name>[A-Za-z][\w.-]*?)"
_BUILT = (
    re.compile(rf"Failed to (?:download and )?build `?{_DIST}(?:==(?P<version>[\w.+!]+))?(?:`|$|\s@)"),
    re.compile(rf"Failed (?:building|to build) (?:editable |wheel for |installable wheels for )+{_DIST}(?:$|\s)"),
    re.compile(rf"(?:Could not build wheels|Failed to build installable wheels) for .*\(?{_DIST}\)?(?:$|,)"),
    re.compile(rf"Building (?:editable|wheels?) for (?!collected){_DIST} \("),
    re.compile(rf"^Collecting {_DIST}==(?P<version>[\w.+!]+)$"),
)
NOBODY = "the calling package"


def moves(
    core: str, after: Sequence[str], above: Sequence[str], around: Sequence[str], caller: str, knowledge: Knowledge
) -> list[str]:
    """Return sentences that say what to do about the names in a line.

    Args:
        core: the root line.
        after: lines that follow it.
        above: lines before it, in their order.
        around: lines on both sides, for the `near` of a mention.
        caller: the innermost package of the traceback, or empty.
        knowledge: mentions and providers.
    """
    supply = Supply(knowledge.providers)
    texts: list[str] = []
    seen: set[str] = set()
    for mention, pattern in knowledge.mentions:
        found = _found(mention, pattern, core, after, above)
        if found is None or (mention.near and not any(re.search(mention.near, row) for row in around)):
            continue
        groups = _groups(found)
        name = groups.get("name", "").rstrip(".,")
        provider = supply.find(mention.kind, name) if name and mention.kind is not Kind.ANY else None
        key = f"by {provider.name}" if provider else name
        text = mention.known if provider else mention.unknown
        if text and key not in seen:
            seen.add(key)
            shown = demangled(name) if mention.kind is Kind.SYMBOL else name
            values = {**groups, "name": shown, "caller": caller or NOBODY, "deb": _debian_name(name)}
            texts.append(_said(text, values, mention.kind, provider))
    return texts[:MOST]


def spoken(rows: Sequence[str], knowledge: Knowledge) -> list[str]:
    """Return which Python packages a message speaks of, where nothing more exact is known of it.

    Args:
        rows: the root line and what belongs to it.
        knowledge: the providers.
    """
    supply = Supply(knowledge.providers)
    found: dict[str, None] = {}
    for word in dict.fromkeys(re.findall(r"[A-Za-z][\w-]{3,40}", " ".join(rows))):
        provider = None if word.lower() in _COMMON else supply.find(Kind.MODULE, word.lower().replace("-", "_"))
        if provider and provider.pip:
            found.setdefault(_first(provider.pip).partition("[")[0])
    names = list(found)[:MOST]
    if not names:
        return []
    every = " ".join(names)
    text = (
        f"it speaks of {', '.join(names)}: see which versions are there (pip show {every}; pip check) and bring them to"
        f" versions that belong together: pip install -U {every}, or those that the package above them pins"
    )
    return [text]


def built(rows: Sequence[str], knowledge: Knowledge) -> list[str]:
    """Return what the building of the package that failed needs, and how to do without building it.

    Args:
        rows: lines around the root line, in their order.
        knowledge: the providers.
    """
    found = next((match for pattern in _BUILT for row in rows if (match := pattern.search(row))), None)
    if found is None:
        return []
    name, version = found["name"], found.groupdict().get("version") or ""
    provider = Supply(knowledge.providers).find(Kind.BUILT, name)
    texts = []
    if provider:
        offers = "; ".join(offer for offer in _offers(Kind.BUILT, provider) if offer != f"pip install {name}")
        needs = f"{name} is built from source here, and needs {provider.name}"
        texts.append("; ".join(filter(None, (f"{needs}: {offers}" if offers else "", provider.note))))
    texts.append(
        f"without building {name}: a release that has a wheel for this Python (pip install --only-binary :all: {name}"
        f"{', instead of ' + version if version else ''}; uv venv --python 3.11 where this Python is too new)"
    )
    return texts


def _found(
    mention: Mention, pattern: re.Pattern[str], core: str, after: Sequence[str], above: Sequence[str]
) -> re.Match[str] | None:
    rows = [core, *after[: mention.rows]]
    joined = " ".join(row for row in rows if row)[:MAX_LINE] if mention.rows else core  # CMake breaks its sentences
    before = reversed(above[-ABOVE:]) if mention.above else ()
    return next((found for row in (*rows, joined, *before) if (found := pattern.search(row))), None)


def _groups(found: re.Match[str]) -> dict[str, str]:
    groups: dict[str, str] = {}
    for key, text in found.groupdict().items():
        if text:
            groups.setdefault(key.rstrip("0123456789"), text)
    return groups


def _said(text: str, values: Mapping[str, str], kind: Kind, provider: Provider | None) -> str:
    """Return the sentence with its names filled in; {gpu} and other facts are left to the caller."""
    if provider is None:
        return _filled(text, values)
    offers = list(_offers(kind, provider))
    more = {
        "provider": provider.name,
        "install": "; ".join(offers) or f"install {provider.name}",
        "link": provider.link or f"the library of {provider.name}",
        "version": "; ".join(_versions(provider)) or f"the version of {provider.name}",
        "pip": _first(provider.pip) or provider.name,
    }
    said = _filled(text, {**values, **more})
    return f"{said}; {provider.note}" if provider.note else said


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"(?<!\$)\{(\w+)\}", lambda found: values.get(found[1]) or found[0], text)


def _offers(kind: Kind, provider: Provider) -> Iterator[str]:
    """Yield how the package can be installed, what fits the kind of name first."""
    deb = {Kind.SHARED: provider.runtime, Kind.PROGRAM: provider.tool}.get(kind) or provider.apt
    for_python = kind in (Kind.MODULE, Kind.OBJECT, Kind.PROGRAM, Kind.BUILT)
    only_module = bool(provider.modules and provider.apt) and not provider.devel
    python = f"pip install {provider.pip}" if provider.pip and (for_python or not only_module) else ""
    debian = "" if not deb else deb if deb.startswith("the ") else f"apt-get install {deb}"
    both = [python, debian] if kind in (Kind.MODULE, Kind.OBJECT) else [debian, python]
    if kind is Kind.MODULE and python:
        both = [python]
    yield from filter(None, both)
    if provider.conda and kind is not Kind.MODULE:
        yield f"conda install -c conda-forge {provider.conda}"


def _debian_name(library: str) -> str:
    """Return how Debian calls the package of a shared library: libtinfo.so.5 is in libtinfo5."""
    stem, _, number = library.rpartition("/")[2].partition(".so")
    number = number.strip(".")
    return (f"{stem}-{number}" if stem[-1:].isdigit() and number else stem + number).replace("_", "-").lower()


def _versions(provider: Provider) -> Iterator[str]:
    """Yield commands that tell which version is there."""
    if provider.pip:
        yield f"pip show {_first(provider.pip)}"
    if provider.apt:
        yield f"dpkg -s {_first(provider.apt)}"


def _first(names: str) -> str:
    return names.partition(" ")[0]
