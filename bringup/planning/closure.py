"""What a package needs, and what those need."""

from __future__ import annotations

from collections.abc import Mapping

from bringup.model.plan import Package


def needed_packages(package: Package, packages: Mapping[str, Package]) -> list[str]:
    """Return the names of all packages below `package`, in build order."""
    found: set[str] = set()
    todo = list(package.needs)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += packages[name].needs
    return [name for name in packages if name in found]
