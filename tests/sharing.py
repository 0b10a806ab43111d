"""Several pytest processes share the test files: each takes the next one that no other has taken.

`./invokew test` starts one process for each processor with the same `--share FOLDER`, a new and empty folder. All of
them collect every test, and each leaves out the files that another one was first to claim. Nothing is sent between
them, so that a test costs what it costs in one process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

CLAIMED = pytest.StashKey[dict[Path, bool]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share",
        metavar="FOLDER",
        type=Path,
        help="run only test files that no other pytest process with the same FOLDER, empty at first, has taken",
    )


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Leave a test to another process if that one was the first to reach its file."""
    folder = item.config.getoption("--share")
    if folder is None:
        return None
    claimed = item.config.stash.setdefault(CLAIMED, {})
    if item.path not in claimed:
        claimed[item.path] = _first(folder / item.nodeid.partition("::")[0].replace("/", "%"))
    return None if claimed[item.path] else True


def _first(mark: Path) -> bool:
    """Return whether this process is the one that makes a file."""
    try:
        mark.open("x").close()
    except FileExistsError:
        return False
    return True
