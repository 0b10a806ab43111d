"""What tests in more than one folder share: the writer of small ELF files, and a machine in a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from healthy_root import Machine

for name in ("formats", "doctor"):
    sys.path.append(str(Path(__file__).resolve().parent / name))


@pytest.fixture(scope="session")
def template() -> Iterator[Machine]:
    """Yield the healthy machine, made once; `copy_machine` puts it back as it was."""
    from healthy_root import make_machine, quick_folder  # noqa: PLC0415 - only doctor's tests want it

    with quick_folder() as folder:
        yield make_machine(folder / "root")
