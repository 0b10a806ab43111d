"""Names of distributions."""

import re


def plain(name: str) -> str:
    """Return a distribution name in its normal form (PEP 503); packaging's own function is slow to import."""
    return re.sub(r"[-_.]+", "-", name).lower()
