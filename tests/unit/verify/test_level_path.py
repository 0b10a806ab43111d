"""PATH of a level's child."""

from pathlib import Path

import pytest

from bringup.phases.verify import level_path


@pytest.mark.parametrize(
    ("smi", "more"),
    [
        (None, ""),
        ("/usr/bin/nvidia-smi", ""),
        ("/usr/local/nvidia/bin/nvidia-smi", ":/usr/local/nvidia/bin"),
        ("/opt/my tools/nvidia-smi", ":/opt/my tools"),
    ],
)
def test_the_drivers_programs_are_found_and_go_before_nothing(smi: str | None, more: str) -> None:
    assert level_path(Path("/e"), smi) == f"/e/bin:/usr/local/bin:/usr/bin:/bin{more}"
