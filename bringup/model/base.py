"""What all models read from TOML have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A TOML table: immutable, every key known. `kw_only` is not inherited and stands at each class."""


Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")]
"""Lower-case name of a recipe, stack, GPU or option."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hex."""

Commit = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{40}|unrecorded)$")]
"""Full git commit, or "unrecorded" where only the tag is known so far."""

Capability = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,2}\.[0-9][af]?$")]
"""CUDA compute capability, "9.0"; with suffix "9.0a" where code is meant that runs on that one only."""

CudaVersion = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,2}\.[0-9]{1,2}$")]
"""CUDA release line, "13.0"."""
