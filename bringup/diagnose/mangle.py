"""Names of C++ as the loader writes them (`_ZN3c105Error4whatEv`), read as far as a person needs: c10::Error::what."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[1-9]\d{0,3}")
_STANDARD = {"St": "std", "Sa": "std::allocator", "Ss": "std::string", "Si": "std::istream", "So": "std::ostream"}
_OPERATORS = {
    "nw": "operator new", "na": "operator new[]", "dl": "operator delete", "da": "operator delete[]",
    "eq": "operator==", "ne": "operator!=", "ls": "operator<<", "rs": "operator>>", "aS": "operator=",
    "cl": "operator()",
    "ix": "operator[]", "pl": "operator+", "mi": "operator-", "ml": "operator*", "dv": "operator/", "lt": "operator<",
    "gt": "operator>",
}  # fmt: skip
_SPECIAL = {"TV": "vtable for ", "TI": "typeinfo for ", "TS": "typeinfo name for ", "GV": "guard variable for "}
_CXX11 = "B5cxx11"


def demangled(symbol: str) -> str:
    """Return the qualified name without arguments; what is not mangled, or not understood, comes back as it was."""
    if not symbol.startswith("_Z"):
        return symbol
    text, before = symbol[2:], ""
    if text[:2] in _SPECIAL:
        before, text = _SPECIAL[text[:2]], text[2:]
    parts = _parts(text)
    return before + "::".join(parts) if parts else symbol


def is_cxx11(symbol: str) -> bool:
    """Return whether a name has types of the newer C++ ABI of libstdc++ in it (std::__cxx11::string)."""
    return "__cxx11" in symbol or _CXX11 in symbol


def _parts(text: str) -> list[str]:
    nested = text.startswith("N")
    text = re.sub(r"^[rVKRO]*", "", text[1:]) if nested else text
    parts: list[str] = []
    while text:
        number = _NUMBER.match(text)
        if number:
            end = number.end() + int(number[0])
            if end > len(text):
                break
            parts.append(text[number.end() : end])
            text = text[end:]
        elif text[:2] in _STANDARD and not parts:
            parts.append(_STANDARD[text[:2]])
            text = text[2:]
        elif text[0] in "CD" and text[1:2].isdigit() and parts:
            parts.append(("~" if text[0] == "D" else "") + parts[-1])
            text = text[2:]
        elif text[:2] in _OPERATORS:
            parts.append(_OPERATORS[text[:2]])
            break
        else:
            break
        if not nested and parts[0] != "std":
            break
    return parts
