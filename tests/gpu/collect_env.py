"""torch.utils.collect_env in an environment without pip, where it ends with an AttributeError by itself.

    python tests/gpu/collect_env.py

It asks `python -m pip list` for the packages; here they come from their metadata.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from typing import Any

from torch.utils import collect_env  # type: ignore[import-not-found]

PACKAGES = re.compile("torch|numpy|triton|nvidia|flashinfer|sgl|optree", re.IGNORECASE)


def packages(*_: Any) -> tuple[str, str]:
    """Return what the report calls the packages' source, and its lines."""
    found = {one.metadata["Name"]: one.version for one in distributions()}
    lines = [f"{name}=={version}" for name, version in sorted(found.items()) if PACKAGES.search(name)]
    return "metadata", "\n".join(lines)


if __name__ == "__main__":
    collect_env.get_pip_packages = packages
    sys.exit(collect_env.main())
