"""Which function answers which check."""

from __future__ import annotations

from collections.abc import Callable

from bringup.doctor.facts import Facts
from bringup.doctor.model import Verdict

CheckFunction = Callable[[Facts], Verdict]
FUNCTIONS: dict[str, CheckFunction] = {}


def check(identity: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function for a check of checks.toml."""

    def register(function: CheckFunction) -> CheckFunction:
        FUNCTIONS[identity] = function
        return function

    return register


def listed(items: list[str] | tuple[str, ...], most: int = 4) -> str:
    """Join what was found, the first few in full and the rest as a number."""
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more} more" if more > 0 else "")
