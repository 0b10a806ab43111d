"""Look up which package has a header, library, symbol, module, CMake package or program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from bringup.diagnose.mangle import demangled
from bringup.model.knowledge import Kind, Provider

# Where the letters that an expression begins with end.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_+-]|::)*(?![*?])")
_BEFORE_NAME = re.compile(
    r"^(?:vtable for|typeinfo (?:name )?for|guard variable for|VTT for|(?:non-)?virtual thunk to) "
)


class Supply:
    """All providers; the more exact name wins (`google/protobuf/` over `google/`)."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)

    def find(self, kind: Kind, name: str) -> Provider | None:
        """Return who provides a name, or None."""
        if kind is Kind.SYMBOL:
            return self._named(_candidates(demangled(name)), "symbols")
        if kind is Kind.IDENTIFIER:
            return self._named([name], "identifiers") or self._named([name, f"{name}::"], "symbols")
        if kind is Kind.OBJECT:
            return next((item for item in self._providers if _fits(item.objects, name)), None)
        wanted, names = _plain_name(kind, name), _NAMES[kind]
        if kind is Kind.SHARED and wanted[-1:].isdigit():  # libhdf5.so has its digit from the name, libLLVM-14.so not
            return self.find(Kind.LIBRARY, wanted) or self.find(Kind.LIBRARY, wanted.rstrip("-.0123456789"))
        best: tuple[int, Provider] | None = None
        for item in self._providers:
            for pattern in getattr(item, names):
                weight = _weight(kind, pattern, wanted)
                if weight > (best[0] if best else 0):
                    best = weight, item
        return best[1] if best else None

    def _named(self, texts: Sequence[str], names: str) -> Provider | None:
        """Return whose expressions fit one of the texts, the one that begins with most letters."""
        found: list[tuple[int, Provider]] = []
        for item in self._providers:
            for pattern in getattr(item, names):
                plain = _PLAIN.match(pattern)[0]  # type: ignore[index]  # matches the empty string
                if plain and not any(text.startswith(plain) for text in texts):
                    continue
                if any(_begins(pattern, text) for text in texts):
                    found.append((len(plain), item))
        return max(found, key=lambda pair: pair[0])[1] if found else None


_NAMES = {
    Kind.HEADER: "headers",
    Kind.LIBRARY: "libs",
    Kind.SHARED: "libs",
    Kind.MODULE: "modules",
    Kind.CMAKE: "cmake",
    Kind.PROGRAM: "programs",
    Kind.BUILT: "builds",
}


def _plain_name(kind: Kind, name: str) -> str:
    if kind is Kind.SHARED:
        return re.sub(r"^lib|\.so[.\d]*$", "", name.rpartition("/")[2])
    if kind is Kind.BUILT:
        return re.sub(r"[-_.]+", "-", name).lower()
    if kind is Kind.CMAKE:
        return name.casefold()
    return re.sub(r"-\d[\d.]*$", "", name.rpartition("/")[2]) if kind is Kind.PROGRAM else name


def _weight(kind: Kind, pattern: str, name: str) -> int:
    """Return how exactly a pattern fits, 0 for not at all."""
    if kind is Kind.CMAKE:
        known = pattern.casefold()
        return 1000 if name == known else len(known) * name.startswith(known + "_")
    if kind is Kind.MODULE:
        return 1000 if name == pattern else len(pattern) * name.startswith(pattern + ".")
    if pattern.endswith("/"):
        return len(pattern) * name.startswith(pattern)
    if "*" in pattern:
        return len(pattern) * fnmatchcase(name, pattern)
    return 1000 * (name == pattern or (kind is Kind.HEADER and name.endswith("/" + pattern)))


def _fits(patterns: Iterable[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _begins(pattern: str, text: str) -> bool:
    whole = not pattern.endswith("::") and r"\s" not in pattern
    return bool(re.fullmatch(pattern, text) if whole else re.match(pattern, text))


def _candidates(symbol: str) -> list[str]:
    """Return the texts in which the name of a symbol may begin: all of it, and what stands before its arguments."""
    text = _BEFORE_NAME.sub("", symbol.strip())
    head = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", text)).partition("(")[0]
    words = head.split()
    qualified = [word for word in words if "::" in word]
    return list(dict.fromkeys([symbol, text, f"{text}::", *qualified[-1:], *words[-1:]]))
