"""Several pytest processes share the test files: each takes the next one that no other has taken.

`./invokew test` starts one process for each processor with the same `--share FOLDER`, a new and empty folder. All of
them collect every test, and each leaves out the files that another one was first to claim. Nothing is sent between
them, so that a test costs what it costs in one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share",
        metavar="FOLDER",
        type=Path,
        help="run only test files that no other pytest process with the same FOLDER, empty at first, has taken",
    )


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests of the files that this process is first to take, one file after the other."""
    config = session.config
    folder = config.getoption("--share")
    if folder is None or session.testsfailed or config.option.collectonly:
        return None
    left = _taken(session.items, folder)
    item = next(left, None)
    while item is not None:
        following = next(left, None)  # what the next test does not want is torn down after this one
        config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following
    return True


def _taken(items: Iterable[pytest.Item], folder: Path) -> Iterator[pytest.Item]:
    for file, tests in groupby(items, key=lambda item: item.nodeid.partition("::")[0]):
        try:
            (folder / file.replace("/", "%")).open("x").close()
        except FileExistsError:
            continue
        yield from tests
