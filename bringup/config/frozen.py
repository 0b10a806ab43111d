"""Reads the description of an installed bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bringup.errors import ConfigError
from bringup.model.frozen import FILE, Frozen


def read_frozen(root: Path) -> Frozen:
    """Read bundle.json of an installed bundle.

    Raises:
        ConfigError: it is missing or not what a bundle holds.
    """
    try:
        return msgspec.json.decode((root / FILE).read_bytes(), type=Frozen)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        msg = f"{root / FILE}: not the description of a bundle: {exc}"
        raise ConfigError(msg, hint="install the bundle again") from exc
