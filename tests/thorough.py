"""How many examples a property is tried with: few at every change, many in continuous integration.

`BRINGUP_THOROUGH=1 ./invokew test` tries them all.
"""

from __future__ import annotations

import os

THOROUGH = os.environ.get("BRINGUP_THOROUGH", "") not in ("", "0")
FEWEST = 5


def examples(most: int) -> int:
    """Return `most` in a thorough run, a tenth of it otherwise."""
    return most if THOROUGH else max(FEWEST, most // 10)
