"""Makes the target environment of an unpacked bundle, offline, by the same phases that made it where it was built."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from bringup.engine import execute
from bringup.errors import BringupError, Interrupted
from bringup.flags import bundle_flags, request_from, settings_from
from bringup.model.plan import Phase, Step
from bringup.output import print_error
from bringup.report import Console
from bringup.session import open_session
from bringup.system.fs import storage_errors

LOG_LINES = 20


def wanted(step: Step, *, sources: bool) -> bool:
    """Tell whether a step is part of an installation: the toolchain and the environment, nothing that builds.

    Of a bundle of sources only the toolchain is installed: there is nothing to make an environment of before the build.
    """
    return step.package in ("python", "gcc", "cuda") or (
        step.package in ("requirements", "environment") and step.phase is Phase.INSTALL and not sources
    )


def with_log(error: BringupError) -> BringupError:
    """Print the end of an error's log, which is gone a moment later, and return the error without its path."""
    if error.log:
        with contextlib.suppress(OSError):
            lines = Path(error.log).read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
            print("\n".join(["  the end of the log:", *(f"    {line}" for line in lines)]), file=sys.stderr)
        error.log = ""
    return error


def main() -> int:
    """Install and return the exit code."""
    try:
        flags = bundle_flags()
        settings = settings_from(flags)
        with storage_errors(settings.build):
            session = open_session(request_from(flags), settings, Console())
            frozen = session.context.frozen
            sources = frozen is not None and frozen.sources
            execute(session, only=lambda step: wanted(step, sources=sources))
    except (Interrupted, KeyboardInterrupt):
        return Interrupted.exit_code  # install.sh removes what was begun, so nothing is said of going on
    except BringupError as exc:
        print_error(with_log(exc))
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
