"""docs/reference/exit-codes.md, from the classes of errors."""

from __future__ import annotations

import inspect

from bringup import errors
from bringup.diagnose import KNOWN_EXIT, UNKNOWN_EXIT
from bringup.doctor import FAIL_EXIT
from bringup.errors import BringupError

# What is no error of a class: how a run may end otherwise.
OTHERS = {
    0: "Done.",
    1: "A bug of bringup; `--debug` shows where.",
    KNOWN_EXIT: "`diagnose` knows every failure that it found.",
    UNKNOWN_EXIT: "`diagnose` found a failure that it does not know.",
    FAIL_EXIT: "`doctor` found something that will fail; a WARN alone ends with 0.",
}

PAGE = """\
# Exit codes

Made from `bringup/errors.py` by `invoke schema`; edit there. `./invokew` and `bringup` end with these codes. A plain
`invoke` maps what its own parser refuses (an unknown task or flag) to 1 instead of 2.

| code | means | error |
|---|---|---|
{rows}

An error names what is wrong (file, key and value where there are any), then the next move, then the log that holds the
whole story:

    error: unknown CUDA release '13.1'; known: 12.4, 12.6, 12.8, 12.9, 13.0
      next: --cuda 13.0

A level of verification that is SKIPPED is no failure: the code is 0. `verify --require LEVEL` ends with 9 unless that
level is OK. `./invokew` itself ends with 6 if it cannot make its environment, and says what is missing.
"""


def exit_codes_page() -> str:
    """Return the page."""
    found = {code: (text, "") for code, text in OTHERS.items()}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        own = "exit_code" in vars(kind)
        if issubclass(kind, BringupError) and kind is not BringupError and own:
            text = " ".join((inspect.getdoc(kind) or "").split())
            found[kind.exit_code] = (text, f"`{kind.__name__}`")
    rows = "\n".join(f"| {code} | {text} | {name} |" for code, (text, name) in sorted(found.items()))
    return PAGE.format(rows=rows)
