"""Tasks for a plain `invoke` in a checkout; ./invokew and `bringup` run the same ones with our own exit codes."""

from bringup.collection import ns

__all__ = ["ns"]
