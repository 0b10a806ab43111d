"""What ends a task: errors as text and exit codes, and the one JSON document of --json."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bringup.errors import BringupError
from bringup.system.fs import storage_errors


def print_error(error: BringupError) -> None:
    """Write an error with its next move to stderr."""
    from bringup.report import as_typed  # noqa: PLC0415 - not needed where all is well

    lines = [f"error: {error.message}"]
    if error.hint:
        lines.append(f"  next: {error.hint}")
    if error.log:
        lines.append(f"  log:  {error.log}")
    print(as_typed("\n".join(lines)), file=sys.stderr)


def guarded(action: Callable[[], int | None], *, debug: bool = False) -> int:
    """Run what a task does; return the exit code.

    An error of ours becomes text, anything else is a bug and says so, or is raised with `debug`.
    """
    try:
        with storage_errors(Path("the build directory or the cache")):  # wherever nobody named the file
            return action() or 0
    except BringupError as exc:
        if debug:
            import traceback  # noqa: PLC0415

            traceback.print_exc()
        print_error(exc)
        return exc.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; what is finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - or Python complains once more at its end
        return 0
    except Exception as exc:
        if debug:
            raise
        print(f"error: a bug in bringup: {type(exc).__name__}: {exc}", file=sys.stderr)
        print("  next: run again with --debug and report what it prints", file=sys.stderr)
        return 1


def print_json(document: Any) -> None:
    """Write one document to stdout, in UTF-8 whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
