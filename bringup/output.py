"""What ends a task: errors as text and exit codes, and the one JSON document of --json."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from invoke.exceptions import Exit

from bringup.errors import BringupError
from bringup.report import as_typed
from bringup.system.fs import storage_errors


def print_error(error: BringupError) -> None:
    """Write an error with its next move to stderr."""
    lines = [f"error: {error.message}"]
    if error.hint:
        lines.append(f"  next: {error.hint}")
    if error.log:
        lines.append(f"  log:  {error.log}")
    print(as_typed("\n".join(lines)), file=sys.stderr)


def guarded(action: Callable[[], int | None], *, debug: bool = False) -> None:
    """Run what a task does; an error of ours becomes text and exit code, anything else is a bug and says so.

    Raises:
        Exit: invoke's way to end with a code.
    """
    try:
        with storage_errors(Path("the build directory or the cache")):  # wherever nobody named the file
            code = action()
    except BringupError as exc:
        if debug:
            traceback.print_exc()
        print_error(exc)
        raise Exit(code=exc.exit_code) from None
    except KeyboardInterrupt:
        print("error: interrupted; what is finished is kept", file=sys.stderr)
        raise Exit(code=130) from None
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - or Python complains once more at its end
        raise Exit(code=0) from None
    except Exception as exc:
        if debug:
            raise
        print(f"error: a bug in bringup: {type(exc).__name__}: {exc}", file=sys.stderr)
        print("  next: run again with --debug and report what it prints", file=sys.stderr)
        raise Exit(code=1) from None
    if code:
        raise Exit(code=code)


def print_json(document: Any) -> None:
    """Write one document to stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
