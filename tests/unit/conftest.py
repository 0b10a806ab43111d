"""What tests in more than one folder share: quick folders, the writer of small ELF files, and a machine in a folder."""

from __future__ import annotations

import gc
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.memory import quick_folder

if TYPE_CHECKING:
    from healthy_root import Machine

for name in ("formats", "doctor"):
    sys.path.append(str(Path(__file__).resolve().parent / name))

NUMBERS = itertools.count()


def pytest_collection_finish() -> None:
    """Let the garbage collector look no more at what stays to the end: modules and tests."""
    gc.freeze()


@pytest.fixture(scope="session")
def folders() -> Iterator[Path]:
    """Yield the folder that holds every test's own, since the tests make thousands of files."""
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def tmp_path(folders: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Yield an empty folder, removed after the test; `--basetemp` says where folders are to stay."""
    if request.config.option.basetemp:
        yield request.getfixturevalue("tmp_path_factory").mktemp(request.node.name.partition("[")[0])
        return
    folder = folders / f"{request.node.name[:30].partition('[')[0]}{next(NUMBERS)}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(folders: Path) -> Machine:
    """Return the healthy machine, made once; `copy_machine` puts it back as it was."""
    from healthy_root import make_machine  # noqa: PLC0415 - only doctor's tests want it

    return make_machine(folders / "machine" / "root")
