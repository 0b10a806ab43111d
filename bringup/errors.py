"""Every error that a user may meet, one class for each exit code.

The engine raises these; only the command line turns them into text and exit codes. An exception that is
none of these is a bug of ours and exits with 1.
"""

from __future__ import annotations


class BringupError(Exception):
    """Root of all errors that are not bugs.

    Args:
        message: what is wrong, with the file, key and value where there are any; one sentence or a short block.
        hint: the next move of the user, as a command where possible.
        log: path of a log file that holds the whole story, if there is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log


class UsageError(BringupError):
    """Unknown task, flag, GPU or stack, or TOML that does not pass validation."""

    exit_code = 2


class ConfigError(UsageError):
    """A data file is wrong; the message lists every problem found, one a line."""


class TargetError(BringupError):
    """The asked target cannot be built with this machine's or the stack's toolchain."""

    exit_code = 3


class FetchError(BringupError):
    """A source did not arrive, or what arrived has the wrong hash."""

    exit_code = 4


class PatchError(BringupError):
    """A patch does not apply; the tree is left clean."""

    exit_code = 5


class PrepareError(BringupError):
    """A toolchain or a build environment could not be made."""

    exit_code = 6


class BuildError(BringupError):
    """A build backend or a compiler failed."""

    exit_code = 7


class InstallError(BringupError):
    """The environment could not be made, or something replaced what was built."""

    exit_code = 8


class VerifyError(BringupError):
    """A verification level failed or a required one was skipped."""

    exit_code = 9


class BusyError(BringupError):
    """Another run holds the build directory."""

    exit_code = 13


class StorageError(BringupError):
    """Disk full, read-only, or no permission."""

    exit_code = 14


class Interrupted(BringupError):
    """Ctrl-C or SIGTERM; children have been ended and the state can be resumed."""

    exit_code = 130
