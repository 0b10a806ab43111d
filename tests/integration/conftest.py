"""What integration tests of real packages share: one folder of downloads, so that nothing is fetched twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that BRINGUP_TEST_CACHE names, which is kept; else one that goes when the tests are over."""
    kept = os.environ.get("BRINGUP_TEST_CACHE")
    folder = Path(kept).absolute() if kept else tmp_path_factory.mktemp("downloads")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if not kept:
        shutil.rmtree(folder)
