"""The project's own data, read once for all tests of a process: it is frozen, so that none can change it."""

from __future__ import annotations

import functools
from pathlib import Path

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.diagnose.knowledge import Knowledge, load_knowledge

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def own_catalogue() -> Catalogue:
    """Return recipes, stacks, GPUs and toolchains."""
    return load_catalogue(ROOT)


@functools.cache
def own_knowledge() -> Knowledge:
    """Return the known issues, with their expressions compiled."""
    return load_knowledge()
