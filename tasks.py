"""Tasks for a plain `invoke` in a checkout; ./invokew and `bringup` run the same ones with our own exit codes."""

from bringup.tasks import ns

__all__ = ["ns"]
